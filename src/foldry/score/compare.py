"""All scores of a model against a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from foldry.errors import InputError, check_type
from foldry.residues import CA
from foldry.score.atoms import AtomScores, score_atoms
from foldry.score.best_fit import FitSearch
from foldry.score.gdt import CUTOFFS, gdt
from foldry.score.lddt import lddt, name_symmetric_atoms
from foldry.score.match import Match, match_residues, residue_label
from foldry.score.superpose import Superposition, rmsd, rmsd_95, superpose
from foldry.score.tm import search_radius, tm_score
from foldry.store.hashes import Content
from foldry.structure import STRUCTURE_ADVICE, Structure


@dataclass(frozen=True, eq=False)
class CaScores(Content):
    """How well the Cα atoms of a model agree with those of a reference.

    Attributes:
        lddt_ca: lDDT-Cα, 0–1; NaN if no two Cα of the reference are nearer than 15 Å.
        lddt_ca_per_residue: lDDT-Cα of each residue of the input; NaN if the reference lacks it.
        rmsd_ca: RMSD of the matched residues after superposition, Å.
        rmsd_95: RMSD of the 95% of them that fit best, Å.
        gdt_ts, gdt_ha, tm_score: GDT_TS, GDT_HA and TM-score, 0–1; residues without a partner
            count as wrong.
        oligo_gdt_ts, oligo_gdt_ha: GDT in the superposition of lowest RMSD, as in OpenStructure;
            never above `gdt_ts` and `gdt_ha`.
        num_matched: Number of residues with a Cα in both.
        num_reference: Number of residues with a Cα in the reference.
        superposition: Motion of the model that gives the TM-score.
    """

    lddt_ca: float
    lddt_ca_per_residue: Float[np.ndarray, " N"]
    rmsd_ca: float
    rmsd_95: float
    gdt_ts: float
    gdt_ha: float
    oligo_gdt_ts: float
    oligo_gdt_ha: float
    tm_score: float
    num_matched: int
    num_reference: int
    superposition: Superposition


def compare_ca(
    model: Float[np.ndarray, "N 3"],
    reference: Float[np.ndarray, "N 3"],
    model_mask: Bool[np.ndarray, " N"] | None = None,
    reference_mask: Bool[np.ndarray, " N"] | None = None,
) -> CaScores:
    """Return the scores of Cα positions; residue n of the model is residue n of the reference.

    Args:
        model, reference: Cα positions, Å.
        model_mask: Residues that the model has; the others count as wrong. Default: all.
        reference_mask: Residues that the reference has; the others do not count. Default: all.

    Raises:
        InputError: No residue is in both, or a coordinate is not a finite number.

    Example:
        >>> helix = np.array([[2.3 * np.cos(n * 1.75), 2.3 * np.sin(n * 1.75), 1.5 * n]
        ...     for n in range(30)])
        >>> round(compare_ca(helix + 5, helix).tm_score, 3)
        1.0
    """
    everything = np.ones(len(reference), bool)
    there = everything if reference_mask is None else np.asarray(reference_mask, bool)
    known = everything if model_mask is None else np.asarray(model_mask, bool)
    both = there & known
    if not both.any():
        raise InputError("Model and reference share no Cα atom", "choose another reference")
    for name, points, mask in (("model", model, both), ("reference", reference, there)):
        broken = np.flatnonzero(mask & ~np.isfinite(points).all(axis=1))
        if len(broken):
            raise InputError(
                f"The Cα position of residue {broken[0] + 1} of the {name} is not a finite number",
                "fix the coordinates or leave the residue out",
            )
    local = lddt(np.where(known[:, None], model, 0)[there], reference[there], known[there])
    per_residue = np.full(len(reference), np.nan)
    per_residue[there] = local.per_residue
    mobile, target = (np.asarray(points[both], np.float64) for points in (model, reference))
    length = int(there.sum())
    rigid = superpose(mobile, target).apply(mobile)
    within = np.linalg.norm(rigid - target, axis=1) <= np.array(CUTOFFS)[:, None]
    rigid_fractions = within.sum(axis=1) / length
    search = FitSearch(mobile, target, search_radius(length))
    tm, distance = tm_score(search, length), gdt(search, length)
    return CaScores(
        lddt_ca=local.score,
        lddt_ca_per_residue=per_residue,
        rmsd_ca=rmsd(rigid, target),
        rmsd_95=rmsd_95(mobile, target)[0],
        gdt_ts=distance.ts,
        gdt_ha=distance.ha,
        oligo_gdt_ts=float(rigid_fractions[1:].mean()),
        oligo_gdt_ha=float(rigid_fractions[:4].mean()),
        tm_score=tm.score,
        num_matched=int(both.sum()),
        num_reference=length,
        superposition=tm.superposition,
    )


@dataclass(frozen=True, eq=False)
class Scores(CaScores, AtomScores):
    """How well a model agrees with a reference; residues are in the reference's order.

    Attributes:
        match: The residues that were compared, and those that were not.
    """

    match: Match

    def __repr__(self) -> str:
        about = f"lDDT {self.lddt:.3f}, TM-score {self.tm_score:.3f}"
        return f"Scores({about}, RMSD {self.rmsd_ca:.2f} Å, {self.num_matched} residues)"


def compare(
    model: Structure,
    reference: Structure,
    align: bool = False,
    sound: Bool[np.ndarray, "N 37"] | None = None,
) -> Scores:
    """Return all scores of a model; residues and atoms that it lacks count as wrong.

    Args:
        model, reference: The two structures.
        align: Match residues by sequence alignment instead of by number.
        sound: Atoms of the model that `lddt` and `ilddt` may use, e.g. from `keep_mask`. Default:
            all.

    Raises:
        InputError: The structures have no residue in common, or a coordinate is not a finite
            number.

    Example:
        >>> from foldry import read_structure
        >>> crystal = read_structure("examples/kunitz/1adz.cif")
        >>> round(compare(crystal, crystal).lddt, 3)
        1.0
    """
    for structure in (model, reference):
        check_type(structure, Structure, "a structure", STRUCTURE_ADVICE)
        _check_finite(structure)
    match = match_residues(model, reference, align)
    here, there = match.pairs.T
    positions = np.zeros_like(reference.atom_positions)
    mask = np.zeros_like(reference.atom_mask)
    positions[there], mask[there] = model.atom_positions[here], model.atom_mask[here]
    atoms = reference.atom_positions, reference.atom_mask
    judged = mask.copy()
    if sound is not None:
        judged[there] &= sound[here]
    named = name_symmetric_atoms((positions, judged), atoms, reference.aatype)
    of_atoms = score_atoms((positions, mask), named, atoms, reference.chain_id)
    of_ca = compare_ca(positions[:, CA], atoms[0][:, CA], mask[:, CA], atoms[1][:, CA])
    return Scores(**vars(of_ca), **vars(of_atoms), match=match)


def _check_finite(structure: Structure) -> None:
    broken = structure.atom_mask & ~np.isfinite(structure.atom_positions).all(axis=2)
    if broken.any():
        label = residue_label(structure, int(np.nonzero(broken)[0][0]))
        raise InputError(
            f"Residue {label} of {structure.name!r} has a coordinate that is not a finite number",
            "fix the file",
        )

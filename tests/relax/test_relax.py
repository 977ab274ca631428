"""Relaxed models checked with OpenMM, gemmi and Biopython, and broken models."""

from __future__ import annotations

import io
import math
import random
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import gemmi
import jaxtyping
import numpy as np
import pytest
from Bio.PDB import PDBParser

from foldry.errors import InputError, MissingError
from foldry.formats.coordinates import read_structure, to_pdb
from foldry.relax import relax as room
from foldry.relax.amber import Minimiser
from foldry.relax.atoms import bonded_runs, complete
from foldry.relax.platforms import find_platform
from foldry.relax.relax import relax_structure
from foldry.relax.result import Relaxation, number_text
from foldry.residues import ATOM37_MASK, ATOM37_ORDER, CA, CB, UNKNOWN, C, N, O
from foldry.score.stereochemistry import find_violations
from foldry.structure import Structure
from tests.relax.conftest import moved, without

openmm = pytest.importorskip("openmm", reason="needs pip install openmm pdbfixer")
from openmm import app, unit  # noqa: E402

OXT = ATOM37_ORDER["OXT"]


def none(structure: Structure) -> np.ndarray:
    """No residue of a structure."""
    return np.zeros(len(structure), bool)


@pytest.fixture(scope="module")
def clash(hairpin: Structure) -> Structure:
    """The hairpin with the side chain of one residue moved onto the other strand."""
    xyz = hairpin.atom_positions.copy()
    side = hairpin.atom_mask[5] & ~np.isin(np.arange(37), (N, CA, C, O))
    xyz[5, side] += xyz[14, CA] + 1.0 - xyz[5, side].mean(axis=0)
    return replace(hairpin, name="clash", atom_positions=xyz)


@pytest.fixture(scope="module")
def relaxation(clash: Structure) -> tuple[Structure, Relaxation]:
    """The relaxed structure of `clash`, and its record."""
    return relax_structure(clash, "cpu")


def test_clashes_are_removed_and_the_rest_stays(
    clash: Structure, relaxation: tuple[Structure, Relaxation]
) -> None:
    relaxed, result = relaxation
    assert result.relaxed and result.reason == "" and result.platform == "CPU"
    before, after = find_violations(clash), find_violations(relaxed)
    assert before.num_clashes > 3 and after.num_clashes == 0
    assert (result.clashes_before, result.clashes_after) == (before.num_clashes, 0)
    bad = before.bonds | before.angles | before.clashes
    assert (result.violations_before, result.violations_after) == (bad.sum(), 0)
    move = np.linalg.norm(relaxed.atom_positions[:, CA] - clash.atom_positions[:, CA], axis=1)
    assert result.median_move == pytest.approx(np.median(move))
    assert result.max_move == pytest.approx(move.max())
    assert np.median(move) < 0.3 and move.max() < 1.5
    assert result.energy_before is not None and result.energy_after is not None
    assert result.energy_after < 0 < result.energy_before


def test_numbers_names_and_plddt_stay(
    clash: Structure, relaxation: tuple[Structure, Relaxation]
) -> None:
    relaxed, _ = relaxation
    for name in ("name", "aatype", "residue_number", "insertion_code", "chain_id"):
        np.testing.assert_array_equal(getattr(relaxed, name), getattr(clash, name))
    added = relaxed.atom_mask & ~clash.atom_mask
    assert np.argwhere(added).tolist() == [[len(clash) - 1, OXT]]
    b_factor = clash.b_factor.max(axis=1)[:, None] * relaxed.atom_mask
    np.testing.assert_allclose(relaxed.b_factor, b_factor)
    text = to_pdb(relaxed)
    [model] = gemmi.read_pdb_string(text)
    [chain] = model
    assert [each.seqid.num for each in chain] == clash.residue_number.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = PDBParser().get_structure("", io.StringIO(text))
    atoms = list(theirs.get_atoms())
    assert len(atoms) == relaxed.atom_mask.sum() and {each.element for each in atoms} <= set("CNOS")
    ours = relaxed.atom_positions[relaxed.atom_mask]
    assert np.sort([each.coord for each in atoms], axis=0) == pytest.approx(
        np.sort(ours, axis=0), abs=1e-3
    )


def test_the_energy_is_that_of_a_system_made_from_the_file(
    relaxation: tuple[Structure, Relaxation],
) -> None:
    relaxed, result = relaxation
    file = app.PDBFile(io.StringIO(to_pdb(relaxed)))
    amber = app.ForceField("amber99sb.xml")
    modeller = app.Modeller(file.topology, file.positions)
    modeller.addHydrogens(amber)
    system = amber.createSystem(modeller.topology)
    for atom in modeller.topology.atoms():
        if atom.element.symbol != "H":
            system.setParticleMass(atom.index, 0.0)  # the minimiser does not move it
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(modeller.positions)
    openmm.LocalEnergyMinimizer.minimize(context)
    energy = context.getState(getEnergy=True).getPotentialEnergy()
    theirs = energy.value_in_unit(unit.kilocalories_per_mole)
    # Differences: free bonds to hydrogen, coordinates of three decimals, other hydroxyl angles.
    assert result.energy_after == pytest.approx(theirs, abs=40)


def test_stiffness_of_the_restraints(hairpin: Structure) -> None:
    model = complete(hairpin, find_platform("reference"))
    given = model.is_given
    assert given.sum() == hairpin.atom_mask.sum()
    np.testing.assert_array_equal(
        model.positions[given], hairpin.atom_positions[model.row[given], model.slot[given]]
    )
    minimiser = Minimiser(model, find_platform("reference"), none(hairpin))
    context = minimiser._context

    def restraint() -> float:
        energy = context.getState(getEnergy=True, groups={1}).getPotentialEnergy()
        return float(energy.value_in_unit(unit.kilocalories_per_mole))

    of_chi = restraint()
    context.setPositions((model.positions + np.array([2.0, 0, 0])) / 10)
    num_ca = hairpin.atom_mask[:, CA].sum()
    of_ca = 0.5 * 300 * 2.0**2 * num_ca
    others = 0.5 * 10 * 2.0**2 * (given.sum() - num_ca)
    assert restraint() == pytest.approx(of_chi + of_ca + others, rel=1e-6)
    freed = np.arange(len(hairpin)) < 15
    minimiser.free(freed)
    rest = 0.5 * 10 * 2.0**2 * (hairpin.atom_mask[~freed].sum() - (~freed).sum())
    assert restraint() == pytest.approx(of_chi + of_ca + rest, rel=1e-6)


def test_hands_and_peptides_are_corrected(hairpin: Structure) -> None:
    """A mirrored Cα, and a peptide rotated halfway to cis."""
    xyz = hairpin.atom_positions.copy()
    nitrogen, carbon, beta, alpha = xyz[6, [N, C, CB, CA]]
    normal = np.cross(carbon - nitrogen, beta - nitrogen)
    normal /= np.linalg.norm(normal)
    xyz[6, CA] -= 2 * np.dot(alpha - nitrogen, normal) * normal
    axis = xyz[12, CA] - xyz[11, CA]
    axis /= np.linalg.norm(axis)
    for row, slot in ((11, C), (11, O), (12, N)):
        arm = xyz[row, slot] - xyz[11, CA]
        xyz[row, slot] += (np.cross(axis, arm) if slot != N else np.cross(arm, axis)) * 0.8
    bent = replace(hairpin, atom_positions=xyz)
    before = find_violations(bent)
    assert np.flatnonzero(before.chirality).tolist() == [6] and before.twisted[12]
    relaxed, result = relax_structure(bent, "reference")
    after = find_violations(relaxed)
    assert result.relaxed and not after.chirality.any() and not after.twisted.any()
    assert result.violations_after == 0


def test_a_sound_model_is_left_to_amber(hairpin: Structure) -> None:
    model = complete(hairpin, find_platform("reference"))
    context = Minimiser(model, find_platform("reference"), none(hairpin))._context
    energy = context.getState(getEnergy=True, groups={2}).getPotentialEnergy()
    assert energy.value_in_unit(unit.kilocalories_per_mole) < 1.0


@pytest.mark.parametrize("target", [(15, "O"), (5, "CE1")], ids=["other residue", "1–4"])
def test_a_hydroxyl_hydrogen_does_not_fall_into_another_atom(
    hairpin: Structure, target: tuple[int, str]
) -> None:
    platform = find_platform("reference")
    model = complete(hairpin, platform)
    atoms = {(int(each.residue.id), each.name): each.index for each in model.topology.atoms()}
    assert hairpin.sequence[5] == "Y"
    positions = model.positions.copy()
    positions[atoms[5, "HH"]] = positions[atoms[target]] + np.array([0, 0, 0.02])
    assert Minimiser(replace(model, positions=positions), platform, none(hairpin)).energy() > 1e6


def test_the_same_model_gives_the_same_numbers(
    hairpin: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # checks draw from `random`
    state = random.getstate()
    one, other = (relax_structure(hairpin, "reference", max_rounds=1)[0] for _ in range(2))
    np.testing.assert_array_equal(one.atom_positions, other.atom_positions)
    assert random.getstate() == state


def test_missing_atoms_are_added(hairpin: Structure) -> None:
    torn = without(hairpin, [2, 3, 9], np.setdiff1d(np.arange(37), [N, CA, C]))
    torn = without(torn, [12], [O])
    relaxed, result = relax_structure(torn, "reference", max_rounds=1)
    assert result.relaxed, result.reason
    whole = ATOM37_MASK[hairpin.aatype] > 0
    whole[-1, OXT] = True
    np.testing.assert_array_equal(relaxed.atom_mask, whole)
    assert relaxed.b_factor[3, CB] == torn.b_factor[3, CA]
    assert find_violations(relaxed).num_clashes == 0


def test_unknown_residues_keep_their_atoms(hairpin: Structure) -> None:
    aatype = hairpin.aatype.copy()
    aatype[[4, 12]] = UNKNOWN
    phosphorus_like = ATOM37_ORDER["CG"]
    unknown = without(replace(hairpin, aatype=aatype), [12], np.arange(37))
    assert unknown.atom_mask[4, phosphorus_like]
    relaxed, result = relax_structure(unknown, "reference", max_rounds=1)
    assert result.relaxed, result.reason
    assert [rows.tolist() for rows in bonded_runs(unknown)] == [[*range(12)], [*range(13, 20)]]
    np.testing.assert_array_equal(relaxed.atom_mask[[4, 12]], unknown.atom_mask[[4, 12]])
    assert np.argwhere(relaxed.atom_mask[:, OXT]).tolist() == [[19]]
    # Atoms that Amber does not describe moved with the residue's backbone.
    bond = relaxed.atom_positions[4, phosphorus_like] - relaxed.atom_positions[4, CB]
    assert np.linalg.norm(bond) == pytest.approx(1.52, abs=0.15)
    assert (relaxed.atom_positions[4] != unknown.atom_positions[4])[unknown.atom_mask[4]].all()


def test_chains_that_pass_through_each_other(hairpin: Structure) -> None:
    half = len(hairpin) // 2
    first, other = hairpin.select(np.arange(half)), hairpin.select(np.arange(half))
    turned = other.atom_positions[..., [1, 0, 2]] * [1, 1, -1]
    turned += first.atom_positions[5, CA] - turned[5, CA]
    mask = other.atom_mask[..., None]
    other = replace(other, atom_positions=turned * mask, chain_id=np.full(half, "B"))
    both = Structure(
        name="knot",
        **{
            name: np.concatenate([getattr(first, name), getattr(other, name)])
            for name in vars(first)
            if name != "name"
        },
    )
    relaxed, result = relax_structure(both, "reference")
    assert find_violations(both).num_clashes > 5
    assert relaxed.chains == ("A", "B") and np.isfinite(relaxed.atom_positions).all()
    if result.relaxed:
        assert result.violations_after is not None and result.violations_before is not None
        assert result.violations_after < result.violations_before
        assert result.clashes_after == find_violations(relaxed).num_clashes
    else:
        assert relaxed is both and result.reason.endswith(".")


def on_ca(whole: Structure) -> Structure:
    """The structure with one Cβ on its Cα."""
    xyz = whole.atom_positions.copy()
    xyz[3, CB] = xyz[3, CA]
    return replace(whole, atom_positions=xyz)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda whole: whole.select(np.arange(1)), "no parameters for a single residue"),
        (lambda whole: without(whole, np.arange(len(whole)), [N]), "N, CA and C"),
        (lambda whole: moved(whole, 3, np.nan), "finite"),
        (lambda whole: replace(whole, atom_positions=whole.atom_positions * 0), "."),
        (on_ca, "the position of CA of residue A 28"),
    ],
    ids=["single residue", "no backbone", "not a number", "all in one point", "Cβ on Cα"],
)
def test_a_model_that_cannot_be_relaxed_stays_unchanged(
    hairpin: Structure, broken: object, reason: str
) -> None:
    structure = broken(hairpin)  # type: ignore[operator]
    relaxed, result = relax_structure(structure, "reference")
    assert relaxed is structure and not result.relaxed
    assert reason in result.reason and result.reason.endswith(".")
    assert "\n" not in result.reason and result.energy_after is None


def test_an_isolated_residue_stays_where_it_is(hairpin: Structure) -> None:
    alone = without(hairpin, [1], [C])
    relaxed, result = relax_structure(alone, "reference", max_rounds=1)
    assert result.relaxed, result.reason
    np.testing.assert_array_equal(relaxed.atom_positions[:2], alone.atom_positions[:2])
    np.testing.assert_array_equal(relaxed.atom_mask[:2], alone.atom_mask[:2])


def test_any_failure_is_reported(hairpin: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> object:
        raise openmm.OpenMMException("Particle coordinate\nis NaN")

    monkeypatch.setattr(room, "complete", fails)
    relaxed, result = relax_structure(hairpin, "reference")
    assert relaxed is hairpin
    assert result.reason == "OpenMMException: Particle coordinate is NaN."


def test_a_failure_after_the_first_round(clash: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    real, rounds = Minimiser.minimise, []

    def fails_once_done(self: Minimiser, deadline: float) -> bool:
        if rounds:
            raise openmm.OpenMMException("Particle coordinate is NaN")
        rounds.append(real(self, deadline))
        return rounds[0]

    monkeypatch.setattr(Minimiser, "minimise", fails_once_done)
    monkeypatch.setattr(room, "violating_residues", lambda found: found.clashes | True)
    relaxed, result = relax_structure(clash, "reference")
    assert result.relaxed and result.rounds == 1 and result.clashes_after == 0
    assert result.reason.startswith("Round 2 failed, so earlier rounds count: OpenMMException")
    assert relaxed is not clash


def test_a_freed_residue_stays_free(hairpin: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round has a violation in a new residue; the third frees the first two."""
    freed, rounds = [], []

    def minimised(*_: object) -> bool:
        rounds.append(len(rounds))
        return True

    monkeypatch.setattr(Minimiser, "minimise", minimised)
    monkeypatch.setattr(Minimiser, "free", lambda _, rows: freed.append(np.flatnonzero(rows)))
    monkeypatch.setattr(
        room, "violating_residues", lambda found: np.arange(len(found.bonds)) == 4 + 3 * len(rounds)
    )
    relax_structure(hairpin, "reference")
    assert [each.tolist() for each in freed] == [[7], [7, 10], [7, 10, 13]]


def test_a_chain_that_is_broken_has_two_ends(hairpin: Structure) -> None:
    broken = moved(hairpin, np.arange(10, 20), [25.0, 0, 0])
    assert [rows.tolist() for rows in bonded_runs(broken)] == [[*range(10)], [*range(10, 20)]]
    _, result = relax_structure(broken, "reference", max_rounds=1)
    assert result.relaxed and result.max_move is not None and result.max_move < 1


def test_the_time_limit(clash: Structure) -> None:
    relaxed, result = relax_structure(clash, "reference", max_seconds=1e-3)
    assert relaxed is clash
    reason = "The time limit was reached before the first minimisation: raise `max_seconds`."
    assert result.reason == reason


def test_a_worse_model_is_discarded(hairpin: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoils(self: Minimiser, _: float) -> bool:
        self._set_positions(self._model.positions * 0.8)
        return True

    monkeypatch.setattr(Minimiser, "minimise", spoils)
    relaxed, result = relax_structure(hairpin, "reference")
    assert relaxed is hairpin and result.reason.startswith("Minimisation made it worse (")


def test_a_higher_energy_alone_is_refused(
    hairpin: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    energies = iter([1.0, 2_441_060_000.0])
    monkeypatch.setattr(Minimiser, "minimise", lambda *_: True)
    monkeypatch.setattr(Minimiser, "energy", lambda _: next(energies))
    relaxed, result = relax_structure(hairpin, "reference")
    assert relaxed is hairpin
    assert result.reason == "Minimisation made it worse (energy in kcal/mol: 1.0 → 2.4 × 10⁹)."


def test_a_minimisation_ends_at_the_deadline(
    hairpin: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = find_platform("reference")
    minimiser = Minimiser(complete(hairpin, platform), platform, none(hairpin))
    assert not minimiser.minimise(deadline=0.0)  # long past
    assert minimiser.minimise(deadline=float("inf"))
    monkeypatch.setattr(Minimiser, "minimise", lambda *_: False)
    _, result = relax_structure(hairpin, "reference")
    assert result.relaxed and result.rounds == 1
    assert result.reason == (
        "The time limit was reached before the energy converged: raise `max_seconds`."
    )


def test_lack_of_memory_is_not_a_failed_relaxation(
    hairpin: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> object:
        raise MemoryError

    monkeypatch.setattr(room, "complete", fails)
    with pytest.raises(MemoryError):
        relax_structure(hairpin, "reference")


def test_without_the_relax_extra(hairpin: Structure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pdbfixer", None)
    with pytest.raises(MissingError, match="pip install openmm pdbfixer"):
        relax_structure(hairpin)


def test_platforms() -> None:
    assert find_platform("reference").getName() == "Reference"
    assert find_platform("auto").getName() in ("CUDA", "CPU")
    with pytest.raises(InputError, match="'tpu' is unknown"):
        find_platform("tpu")
    if find_platform("auto").getName() != "CUDA":
        with pytest.raises(MissingError) as error:
            find_platform("cuda")
        said = "OpenMM cannot compute on cuda here: run `pip install openmm[cuda12]`, or "
        assert str(error.value) == f"{said}choose cpu."


@pytest.mark.parametrize("value", [math.inf, math.nan, -math.inf, 0, -9_999_999, 12.34])
def test_numbers_below_ten_million_are_written_out(value: float) -> None:
    assert number_text(value) == f"{round(value, 1):,}"


@pytest.mark.slow
def test_a_real_dimer() -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "malate_dehydrogenase"
    dimer = read_structure(example / "1mld_AB.cif.gz")
    near = np.zeros(len(dimer), bool)
    for chain, other in (("A", "B"), ("B", "A")):
        partner = dimer.atom_positions[dimer.chain_id == other][:, CA]
        rows = np.flatnonzero(dimer.chain_id == chain)
        apart = dimer.atom_positions[rows][:, None, CA] - partner[None]
        near[rows[np.linalg.norm(apart, axis=-1).min(axis=1) < 8]] = True
    interface = dimer.select(near)
    is_a = interface.chain_id == "A"
    apart = interface.atom_positions[is_a, CA].mean(0) - interface.atom_positions[~is_a, CA].mean(0)
    pushed = moved(interface, ~is_a, 2.5 * apart / np.linalg.norm(apart))
    relaxed, result = relax_structure(pushed, "reference")
    assert result.relaxed, result.reason
    assert result.clashes_after is not None
    assert find_violations(pushed).num_clashes > 5 * max(result.clashes_after, 1)
    assert relaxed.chains == ("A", "B")

"""The assessment of one model, with or without a reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from foldry.assess.inputs import Model, read_model, read_reference
from foldry.score.compare import Scores, compare
from foldry.score.confidence import (
    MAX_PAE,
    PLDDT_EDGES,
    Calibration,
    InterfaceConfidence,
    aligned_errors,
    calibrate,
    interface_confidence,
    pae_calibration,
    predicted_tm,
    predicted_tm_d0,
    quoted,
)
from foldry.score.dockq import DockQ, dockq
from foldry.score.interface import ContactSimilarity, QSScore, contact_similarity, qs_score
from foldry.score.lddt import ALL_BUT_OXT
from foldry.score.ramachandran import FAVOURED, OUTLIER, UNKNOWN, ramachandran
from foldry.score.stereochemistry import Violations, find_violations, keep_mask
from foldry.score.tm import tm_term
from foldry.score.torsions import (
    TorsionAgreement,
    TorsionAngles,
    structure_torsions,
    torsion_agreement,
)
from foldry.structure import Structure


@dataclass(frozen=True)
class ScoreSettings:
    """How a model is scored.

    Attributes:
        align: Match residues by sequence alignment instead of by number.
        stereochemistry: Count distances of atoms with bad bonds, angles or clashes as lost in lDDT.
    """

    align: bool = False
    stereochemistry: bool = False


@dataclass(frozen=True)
class Complex:
    """How well a model reproduces the interfaces of a reference with several chains.

    Attributes:
        ilddt: lDDT of distances between chains, 0–1.
        dockq: DockQ of each interface.
        qs: QS-score of the contacts between Cβ.
        contacts: ICS and IPS of the contacts between residues.
    """

    ilddt: float
    dockq: DockQ
    qs: QSScore
    contacts: ContactSimilarity


@dataclass(frozen=True)
class Agreement:
    """How well a model agrees with a reference.

    Attributes:
        reference: The reference.
        scores: Scores of the whole structure.
        torsions: Agreement of torsion angles.
        complex: Scores of interfaces; None if the reference has a single chain.
        plddt: pLDDT against lDDT-Cα; None without pLDDT or without any lDDT.
        pae: PAE against true aligned errors; None without PAE.
        num_atoms: Number of the reference's atoms in the matched residues, without OXT.
        num_missing_atoms: Number of these atoms that the model lacks.
    """

    reference: Structure
    scores: Scores
    torsions: TorsionAgreement
    complex: Complex | None
    plddt: Calibration | None
    pae: Calibration | None
    num_atoms: int
    num_missing_atoms: int


@dataclass(frozen=True)
class Confidence:
    """Confidence of a prediction; None if unknown.

    All fields after `ptm` are None without PAE and for a single chain.

    Attributes:
        plddt: Mean pLDDT over the residues, 0–100.
        ptm: pTM estimated from the PAE, 0–1. The network computes its own pTM from its whole
            distribution of errors, of which the PAE is the mean, so the two differ.
        iptm: ipTM, estimated in the same way.
        iptm_best, ipsae, lis: Highest value of any pair of chains, 0–1
            (`foldry.score.confidence.quoted`).
        pdockq: Highest pDockQ of any pair of chains; None without pLDDT.
        pdockq2: Highest pDockQ2 of any chain; None without pLDDT.
        chains: Confidence in each pair of chains.
    """

    plddt: float | None
    ptm: float | None = None
    iptm: float | None = None
    iptm_best: float | None = None
    ipsae: float | None = None
    lis: float | None = None
    pdockq: float | None = None
    pdockq2: float | None = None
    chains: InterfaceConfidence | None = None


@dataclass(frozen=True)
class Assessment:
    """The assessment of one model.

    Attributes:
        model: The model.
        violations: Violations of its stereochemistry.
        favoured: Share (0–1) of residues in favoured regions of the Ramachandran plot; NaN if no
            residue has both angles.
        num_outliers: Number of residues in disallowed regions.
        confidence: Confidence of the prediction.
        agreement: Agreement with the reference; None without one.
    """

    model: Model
    violations: Violations
    favoured: float
    num_outliers: int
    confidence: Confidence
    agreement: Agreement | None


def assess_files(
    model: str, reference: str | None, settings: ScoreSettings, pae: Path | None = None
) -> Assessment:
    """Return the assessment of the model in a file, with a reference if one is given.

    Args:
        model, reference: Names for `read_model` and `read_reference`.
        settings: How the model is scored.
        pae: JSON file with the predicted aligned error of the model.

    Raises:
        InputError: A file cannot be read, or `assess` refuses the structures.
    """
    known = None if reference is None else read_reference(reference)
    return assess(read_model(model, pae), known, settings)


def assess(model: Model, reference: Structure | None, settings: ScoreSettings) -> Assessment:
    """Return the assessment of a model, with a reference if one is given.

    Raises:
        InputError: The structures have no residue in common, or a coordinate is not a finite
            number.
    """
    torsions = structure_torsions(model.structure)
    violations = find_violations(model.structure, torsions)
    agreement = None
    if reference is not None:
        sound = keep_mask(model.structure, violations) if settings.stereochemistry else None
        scores = compare(model.structure, reference, settings.align, sound)
        agreement = _agreement(model, reference, scores, torsions)
    region = ramachandran(torsions, model.structure.aatype)
    known = region[region != UNKNOWN]
    return Assessment(
        model=model,
        violations=violations,
        favoured=float((known == FAVOURED).mean()) if len(known) else float("nan"),
        num_outliers=int((known == OUTLIER).sum()),
        confidence=_confidence(model),
        agreement=agreement,
    )


def _agreement(
    model: Model, reference: Structure, scores: Scores, torsions: TorsionAngles
) -> Agreement:
    structure, match = model.structure, scores.match
    here, there = match.pairs.T
    lddt = scores.lddt_ca_per_residue[there]
    plddt = None if model.plddt is None or not np.isfinite(lddt).any() else model.plddt[here]
    expected = reference.atom_mask[there][:, ALL_BUT_OXT]
    complex = None
    if len(reference.chains) > 1:
        complex = Complex(
            scores.ilddt,
            dockq(match.scorer, match.chains),
            qs_score(structure, reference, match.pairs),
            contact_similarity(structure, reference, match.pairs),
        )
    return Agreement(
        reference=reference,
        scores=scores,
        torsions=torsion_agreement(
            torsions, structure_torsions(reference), match.pairs, reference.aatype
        ),
        complex=complex,
        plddt=None if plddt is None else calibrate(plddt, 100 * lddt, PLDDT_EDGES),
        pae=None if model.pae is None else _pae(model.pae, structure, reference, match.pairs),
        num_atoms=int(expected.sum()),
        num_missing_atoms=int((expected & ~structure.atom_mask[here][:, ALL_BUT_OXT]).sum()),
    )


def _pae(
    pae: Float[np.ndarray, "N N"], structure: Structure, reference: Structure, pairs: np.ndarray
) -> Calibration | None:
    """Return the PAE against true errors; None if only the diagonal of the errors is known."""
    here, there = pairs.T
    known = structure.atom_mask[here] & reference.atom_mask[there]
    true = aligned_errors(structure.atom_positions[here], reference.atom_positions[there], known)
    if np.isfinite(true).sum() == np.isfinite(np.diag(true)).sum():
        return None
    return pae_calibration(pae[np.ix_(here, here)], true, max(float(pae.max()), MAX_PAE))


def _confidence(model: Model) -> Confidence:
    structure, pae = model.structure, model.pae
    plddt = None if model.plddt is None else float(model.plddt.mean())
    if pae is None:
        return Confidence(plddt)
    terms = tm_term(pae, predicted_tm_d0(len(pae)))
    if len(structure.chains) == 1:
        return Confidence(plddt, predicted_tm(terms))
    found = interface_confidence(structure, pae, model.plddt)
    known = model.plddt is not None
    return Confidence(
        plddt=plddt,
        ptm=predicted_tm(terms),
        iptm=predicted_tm(terms, structure.chain_id),
        iptm_best=float(np.nanmax(quoted("iptm", found.iptm))),
        ipsae=float(np.nanmax(quoted("ipsae", found.ipsae))),
        lis=float(np.nanmax(quoted("lis", found.lis))),
        pdockq=float(np.nanmax(found.pdockq)) if known else None,
        pdockq2=float(found.pdockq2.max()) if known else None,
        chains=found,
    )

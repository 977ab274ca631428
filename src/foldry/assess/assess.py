"""Everything that can be told of one model, with a reference or without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from foldry.assess.inputs import Model, read_model, read_reference
from foldry.score.compare import Scores, compare
from foldry.score.confidence import (
    MAX_PAE,
    Calibration,
    InterfaceConfidence,
    aligned_errors,
    interface_confidence,
    pae_calibration,
    plddt_calibration,
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
        stereochemistry: Take distances of atoms with bad bonds, angles or clashes as lost in lDDT.
    """

    align: bool = False
    stereochemistry: bool = False


@dataclass(frozen=True)
class Complex:
    """How well the interfaces of a reference of several chains are kept.

    Attributes:
        ilddt: lDDT of distances between chains, 0–1.
        dockq: Of each interface.
        qs: Of all contacts of Cβ.
        contacts: Of all contacts of residues.
    """

    ilddt: float
    dockq: DockQ
    qs: QSScore
    contacts: ContactSimilarity


@dataclass(frozen=True)
class Agreement:
    """What a reference tells of a model.

    Attributes:
        reference: What was read.
        scores: Of the whole.
        torsions: Of torsion angles.
        complex: Of interfaces; None if the reference has a single chain.
        plddt: pLDDT against lDDT-Cα; None without pLDDT or without any lDDT.
        pae: PAE against true aligned errors; None without PAE.
        num_atoms: Atoms but OXT that the reference has in the matched residues.
        num_missing_atoms: Those of them that the model lacks.
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
class ComplexConfidence:
    """What a prediction of several chains says of its interfaces, 0–1.

    Attributes:
        iptm: Of all pairs of residues of different chains.
        iptm_best, ipsae, pdockq, lis: Of the two chains of which it is highest; of their directions
            what `foldry.score.confidence.QUOTED` says.
        pdockq2: Of the chain of which it is highest.
        chains: All of them, of each two chains.

    pDockQ and pDockQ2 are None without pLDDT.
    """

    iptm: float
    iptm_best: float
    ipsae: float
    pdockq: float | None
    pdockq2: float | None
    lis: float
    chains: InterfaceConfidence


@dataclass(frozen=True)
class Confidence:
    """What a prediction says of itself.

    Attributes:
        plddt: The mean over its residues, 0–100; None where unknown.
        ptm: From the expected errors of the PAE matrix, 0–1; None without PAE.
        complex: None without PAE or of a single chain.
    """

    plddt: float | None
    ptm: float | None
    complex: ComplexConfidence | None


@dataclass(frozen=True)
class Assessment:
    """What is known of one model.

    Attributes:
        model: What was read.
        violations: Of its stereochemistry.
        favoured: Share (0–1) of its residues in favoured regions of the Ramachandran plot; NaN if
            no residue has both angles.
        num_outliers: Residues outside its allowed regions.
        confidence: What it says of itself.
        agreement: What a reference says of it; None without one.
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
    """Reads and assesses a model, by a reference if there is one.

    Args:
        model, reference: As `read_model` and `read_reference` take them.
        pae: JSON with the predicted aligned error of the model.

    Raises:
        InputError: A file is not what it should be, or as `assess`.
    """
    known = None if reference is None else read_reference(reference)
    return assess(read_model(model, pae), known, settings)


def assess(model: Model, reference: Structure | None, settings: ScoreSettings) -> Assessment:
    """Everything of a model.

    Raises:
        InputError: Nothing of the two belongs together, or a coordinate is not a finite number.
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
    structure = model.structure
    here, there = scores.match.pairs.T
    lddt = scores.lddt_ca_per_residue[there]
    plddt = None if model.plddt is None else model.plddt[here]
    expected = reference.atom_mask[there][:, ALL_BUT_OXT]
    return Agreement(
        reference=reference,
        scores=scores,
        torsions=torsion_agreement(
            _laid_on(torsions, scores.match.pairs, len(reference)),
            structure_torsions(reference),
            reference.aatype,
        ),
        complex=_complex(structure, reference, scores) if len(reference.chains) > 1 else None,
        plddt=plddt_calibration(plddt, lddt) if plddt is not None and _known(lddt) else None,
        pae=None if model.pae is None else _pae(model.pae, structure, reference, scores),
        num_atoms=int(expected.sum()),
        num_missing_atoms=int((expected & ~structure.atom_mask[here][:, ALL_BUT_OXT]).sum()),
    )


def _laid_on(torsions: TorsionAngles, pairs: np.ndarray, num_residues: int) -> TorsionAngles:
    """The model's angles for each residue of the reference, NaN without a partner."""
    here, there = pairs.T
    laid = {}
    for name, angles in vars(torsions).items():
        laid[name] = np.full((num_residues, *angles.shape[1:]), np.nan)
        laid[name][there] = angles[here]
    return TorsionAngles(**laid)


def _complex(structure: Structure, reference: Structure, scores: Scores) -> Complex:
    pairs = scores.match.pairs
    return Complex(
        scores.ilddt,
        dockq(structure, reference, pairs),
        qs_score(structure, reference, pairs),
        contact_similarity(structure, reference, pairs),
    )


def _pae(
    pae: Float[np.ndarray, "N N"], structure: Structure, reference: Structure, scores: Scores
) -> Calibration | None:
    here, there = scores.match.pairs.T
    known = structure.atom_mask[here] & reference.atom_mask[there]
    true = aligned_errors(structure.atom_positions[here], reference.atom_positions[there], known)
    if not np.isfinite(true).sum() > np.isfinite(np.diag(true)).sum():
        return None
    return pae_calibration(pae[np.ix_(here, here)], true, max(float(pae.max()), MAX_PAE))


def _known(values: Float[np.ndarray, "*dims"]) -> bool:
    return bool(np.isfinite(values).any())


def _confidence(model: Model) -> Confidence:
    plddt = None if model.plddt is None else float(model.plddt.mean())
    if model.pae is None:
        return Confidence(plddt, ptm=None, complex=None)
    terms = tm_term(model.pae, predicted_tm_d0(len(model.pae)))
    several = len(model.structure.chains) > 1
    return Confidence(
        plddt=plddt,
        ptm=predicted_tm(terms),
        complex=_complex_confidence(model, model.pae, terms) if several else None,
    )


def _complex_confidence(
    model: Model, pae: Float[np.ndarray, "N N"], terms: Float[np.ndarray, "N N"]
) -> ComplexConfidence:
    found = interface_confidence(model.structure, pae, model.plddt)
    known = model.plddt is not None
    return ComplexConfidence(
        iptm=predicted_tm(terms, model.structure.chain_id),
        iptm_best=float(np.nanmax(quoted("iptm", found.iptm))),
        ipsae=float(np.nanmax(quoted("ipsae", found.ipsae))),
        pdockq=float(np.nanmax(found.pdockq)) if known else None,
        pdockq2=float(found.pdockq2.max()) if known else None,
        lis=float(np.nanmax(quoted("lis", found.lis))),
        chains=found,
    )

"""Assessments as rows of a table and as JSON, with the keys of `foldry.measures`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import permutations
from typing import Any, Final

import numpy as np

from foldry.assess.assess import Agreement, Assessment
from foldry.measures import rounded
from foldry.score.confidence import InterfaceConfidence
from foldry.score.dockq import DockQ
from foldry.score.match import residue_label
from foldry.structure import Structure

NUMBERS: Final = {
    "lddt": "agreement.scores.lddt",
    "bb_lddt": "agreement.scores.lddt_ca",
    "lddt_backbone": "agreement.scores.lddt_backbone",
    "foldscore": "agreement.scores.foldscore",
    "tm_score": "agreement.scores.tm_score",
    "gdt_ts": "agreement.scores.gdt_ts",
    "gdt_ha": "agreement.scores.gdt_ha",
    "oligo_gdtts": "agreement.scores.oligo_gdt_ts",
    "oligo_gdtha": "agreement.scores.oligo_gdt_ha",
    "rmsd": "agreement.scores.rmsd_ca",
    "rmsd_95": "agreement.scores.rmsd_95",
    "num_matched": "agreement.scores.num_matched",
    "num_reference": "agreement.scores.num_reference",
    "num_atoms": "agreement.num_atoms",
    "num_missing_atoms": "agreement.num_missing_atoms",
    "chi1": "agreement.torsions.chi1",
    "chi1_2": "agreement.torsions.chi1_2",
    "phi_psi": "agreement.torsions.phi_psi",
    "ilddt": "agreement.complex.ilddt",
    "dockq_ave": "agreement.complex.dockq.ave",
    "dockq_wave": "agreement.complex.dockq.wave",
    "dockq_ave_full": "agreement.complex.dockq.ave_full",
    "dockq_wave_full": "agreement.complex.dockq.wave_full",
    "qs_global": "agreement.complex.qs.total",
    "qs_best": "agreement.complex.qs.best",
    "ics": "agreement.complex.contacts.ics",
    "ics_precision": "agreement.complex.contacts.ics_precision",
    "ics_recall": "agreement.complex.contacts.ics_recall",
    "ips": "agreement.complex.contacts.ips",
    "ips_precision": "agreement.complex.contacts.ips_precision",
    "ips_recall": "agreement.complex.contacts.ips_recall",
    "plddt": "confidence.plddt",
    "plddt_pearson": "agreement.plddt.pearson",
    "plddt_error": "agreement.plddt.error",
    "ptm": "confidence.ptm",
    "iptm": "confidence.iptm",
    "iptm_best": "confidence.iptm_best",
    "ipsae": "confidence.ipsae",
    "pdockq": "confidence.pdockq",
    "pdockq2": "confidence.pdockq2",
    "lis": "confidence.lis",
    "pae_pearson": "agreement.pae.pearson",
    "pae_error": "agreement.pae.error",
    "num_clashes": "violations.num_clashes",
    "num_bad_bonds": "violations.num_bonds",
    "num_bad_angles": "violations.num_angles",
    "num_wrong_chirality": "violations.chirality",
    "num_cis_peptide": "violations.cis",
    "num_twisted_peptide": "violations.twisted",
    "num_breaks": "violations.breaks",
    "rama_favoured": "favoured",
    "rama_outliers": "num_outliers",
}
"""The path of each number in an `Assessment`, in display order; masks of residues are counted."""
_FAULTS: Final = {
    "clashes": "clashes",
    "bad_bonds": "bonds",
    "bad_angles": "angles",
    "wrong_chirality": "chirality",
    "cis_peptide": "cis",
    "twisted_peptide": "twisted",
    "break_before": "breaks",
}
"""The field of `Violations` with the residues, by name in JSON."""


def value(assessment: Assessment, key: str) -> float | None:
    """Return one of `NUMBERS`; NaN if it has no value, None if it does not apply."""
    found: Any = assessment
    for name in NUMBERS[key].split("."):
        found = None if found is None else getattr(found, name)
    return int(found.sum()) if isinstance(found, np.ndarray) else found


def numbers(assessment: Assessment) -> tuple[float | None, ...]:
    """Return all of `NUMBERS`, rounded as in files; None if one has no value."""
    return tuple(rounded(value(assessment, key)) for key in NUMBERS)


def plddt_from(assessment: Assessment) -> str:
    """Return `statement` if the file states its pLDDT, `b_factors` if not, or "" without pLDDT."""
    if assessment.model.plddt is None:
        return ""
    return "statement" if assessment.model.is_stated else "b_factors"


def to_json(assessment: Assessment, model: str, reference: str | None = None) -> dict[str, object]:
    """Return the assessment as JSON values, with OpenStructure's names if the meaning is the same.

    NaN becomes null; keys that do not apply are left out.

    Args:
        assessment: The assessment.
        model, reference: Names of the model and the reference, e.g. their paths.
    """
    structure, agreement = assessment.model.structure, assessment.agreement
    found: dict[str, object] = {"status": "SUCCESS", "model": model}
    if reference is not None:
        found["reference"] = reference
    for key in NUMBERS:
        number = value(assessment, key)
        if number is not None:
            found[key] = rounded(number)
    for key, field in _FAULTS.items():
        residues = np.flatnonzero(getattr(assessment.violations, field))
        found[f"residues_with_{key}"] = [residue_label(structure, n) for n in residues.tolist()]
    if source := plddt_from(assessment):
        found["plddt_from"] = source
    if agreement is not None:
        found |= _agreement(agreement, structure)
    if assessment.confidence.chains is not None:
        found["confidence_of_chains"] = _chain_pairs(assessment.confidence.chains)
    return found


def _agreement(agreement: Agreement, model: Structure) -> dict[str, object]:
    scores, match = agreement.scores, agreement.scores.match
    here, there = match.pairs[np.argsort(match.pairs[:, 1])].T
    labels = [residue_label(model, index) for index in here.tolist()]

    def local(values: np.ndarray) -> dict[str, float | None]:
        return dict(zip(labels, map(rounded, values[there]), strict=True))

    found: dict[str, object] = {
        "model_chains": [one for one, _ in match.chains],
        "reference_chains": [other for _, other in match.chains],
        "chain_mapping": {other: one for one, other in match.chains},
        "unmatched_model_chains": list(match.unmatched_model_chains),
        "unmatched_reference_chains": list(match.unmatched_reference_chains),
        "inconsistent_residues": list(match.mismatched),
        "unmatched_model": list(match.unmatched_model),
        "unmatched_reference": list(match.unmatched_reference),
        "local_lddt": local(scores.lddt_per_residue),
        "bb_local_lddt": local(scores.lddt_ca_per_residue),
    }
    if agreement.complex is not None:
        found |= _interfaces(agreement.complex.dockq)
    for name, calibration in (("plddt", agreement.plddt), ("pae", agreement.pae)):
        if calibration is not None:
            found[f"{name}_calibration"] = {
                key: list(map(rounded, each)) if isinstance(each, tuple) else rounded(each)
                for key, each in asdict(calibration).items()
            }
    return found


def _interfaces(dockq: DockQ) -> dict[str, object]:
    """Return lists with one entry per interface, as in OpenStructure."""
    found = dockq.interfaces
    return {
        "dockq_interfaces": [[*each.reference_chains, *each.model_chains] for each in found],
        **{
            name: [rounded(getattr(each, name)) for each in found]
            for name in ("dockq", "fnat", "irmsd", "lrmsd")
        },
        "dockq_clashes": [each.clashes for each in found],
        "dockq_missing": [list(chains) for chains, _ in dockq.missing],
    }


def _chain_pairs(found: InterfaceConfidence) -> list[dict[str, object]]:
    """Return each pair of chains in both directions, aligned on the first."""
    names = ("iptm", "ipsae", "ipsae_d0chn", "ipsae_d0dom", "pdockq", "lis")
    return [
        {
            "chains": [found.chains[a], found.chains[b]],
            **{name: rounded(getattr(found, name)[a, b]) for name in names},
        }
        for a, b in permutations(range(len(found.chains)), 2)
    ]

"""The names of all scores, and how they are handed on: JSON and rows of a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from foldry.assess.assess import Agreement, Assessment
from foldry.measures import rounded
from foldry.score.confidence import Calibration, InterfaceConfidence
from foldry.score.dockq import DockQ
from foldry.score.match import residue_label


@dataclass(frozen=True)
class Number:
    """One number of an assessment.

    Attributes:
        key: Its name in JSON and CSV, OpenStructure's where the meaning is the same.
        path: Where an `Assessment` has it; of a mask of residues it is their number.
        label: Its name for people; "" if it stands in files only.
        meaning: What people are told of it.
    """

    key: str
    path: str
    label: str = ""
    meaning: str = ""


NUMBERS: Final = (
    Number("lddt", "agreement.scores.lddt", "lDDT", "all atoms, 0–1"),
    Number("bb_lddt", "agreement.scores.lddt_ca", "lDDT-Cα", "Cα atoms, 0–1"),
    Number("lddt_backbone", "agreement.scores.lddt_backbone", "lDDT-backbone", "N, CA, C, O, 0–1"),
    Number(
        "foldscore",
        "agreement.scores.foldscore",
        "FoldScore",
        "0–1; 55% Cα, 30% backbone, 15% atoms",
    ),
    Number("tm_score", "agreement.scores.tm_score", "TM-score", "0–1; above 0.5 the same fold"),
    Number("gdt_ts", "agreement.scores.gdt_ts", "GDT_TS", "0–1, within 1, 2, 4, 8 Å"),
    Number("gdt_ha", "agreement.scores.gdt_ha", "GDT_HA", "0–1, within 0.5, 1, 2, 4 Å"),
    Number("oligo_gdtts", "agreement.scores.oligo_gdt_ts"),
    Number("oligo_gdtha", "agreement.scores.oligo_gdt_ha"),
    Number("rmsd", "agreement.scores.rmsd_ca", "RMSD", "Å, matched Cα atoms"),
    Number("rmsd_95", "agreement.scores.rmsd_95", "RMSD95", "Å, the 95% of them that fit best"),
    Number("num_matched", "agreement.scores.num_matched"),
    Number("num_reference", "agreement.scores.num_reference"),
    Number("num_atoms", "agreement.num_atoms"),
    Number("num_missing_atoms", "agreement.num_missing_atoms"),
    Number("chi1", "agreement.torsions.chi1", "chi1", "share within 40°, 0–1"),
    Number("chi1_2", "agreement.torsions.chi1_2", "chi1 and chi2", "share within 40°, 0–1"),
    Number("phi_psi", "agreement.torsions.phi_psi", "phi and psi", "share within 30°, 0–1"),
    Number("ilddt", "agreement.complex.ilddt", "ilDDT", "lDDT between chains, 0–1"),
    Number("dockq_ave", "agreement.complex.dockq.ave"),
    Number("dockq_wave", "agreement.complex.dockq.wave"),
    Number(
        "dockq_ave_full",
        "agreement.complex.dockq.ave_full",
        "DockQ",
        "mean of all interfaces of the reference, 0–1",
    ),
    Number("dockq_wave_full", "agreement.complex.dockq.wave_full"),
    Number("qs_global", "agreement.complex.qs.total", "QS-score", "all interfaces, 0–1"),
    Number("qs_best", "agreement.complex.qs.best"),
    Number("ics", "agreement.complex.contacts.ics", "ICS", "contacts between chains, F1, 0–1"),
    Number("ics_precision", "agreement.complex.contacts.ics_precision"),
    Number("ics_recall", "agreement.complex.contacts.ics_recall"),
    Number("ips", "agreement.complex.contacts.ips", "IPS", "residues of interfaces, Jaccard, 0–1"),
    Number("ips_precision", "agreement.complex.contacts.ips_precision"),
    Number("ips_recall", "agreement.complex.contacts.ips_recall"),
    Number("plddt", "confidence.plddt", "pLDDT", "mean confidence, 0–100"),
    Number("plddt_pearson", "agreement.plddt.pearson", "pLDDT, r", "correlation with lDDT-Cα"),
    Number("plddt_error", "agreement.plddt.error", "pLDDT, error", "mean |pLDDT − lDDT-Cα|, 0–100"),
    Number("ptm", "confidence.ptm", "pTM", "0–1, of the PAE"),
    Number("iptm", "confidence.complex.iptm", "ipTM", "0–1, all chains, of the PAE"),
    Number("iptm_best", "confidence.complex.iptm_best"),
    Number("ipsae", "confidence.complex.ipsae", "ipSAE", "0–1, best two chains"),
    Number("pdockq", "confidence.complex.pdockq", "pDockQ", "0–1, best two chains"),
    Number("pdockq2", "confidence.complex.pdockq2", "pDockQ2", "0–1, best chain"),
    Number("lis", "confidence.complex.lis", "LIS", "0–1, best two chains"),
    Number("pae_pearson", "agreement.pae.pearson", "PAE, r", "correlation with true errors"),
    Number("pae_error", "agreement.pae.error", "PAE, error", "mean |PAE − true error|, Å"),
    Number("num_clashes", "violations.num_clashes", "clashes", "atoms overlapping by > 1.5 Å"),
    Number("num_bad_bonds", "violations.num_bonds", "bad bonds", "more than 12 σ off"),
    Number("num_bad_angles", "violations.num_angles", "bad angles", "more than 12 σ off"),
    Number("num_wrong_chirality", "violations.chirality", "wrong chirality", "not L-amino acids"),
    Number("num_cis_peptide", "violations.cis", "cis peptides", "before others than proline"),
    Number("num_twisted_peptide", "violations.twisted", "twisted peptides", "|omega| 30–150°"),
    Number("num_breaks", "violations.breaks", "chain breaks", "Cα more than 5.3 Å apart"),
    Number("rama_favoured", "favoured", "Ramachandran", "share in favoured regions, 0–1"),
    Number("rama_outliers", "num_outliers", "outliers", "residues outside allowed regions"),
)
"""Every number, in the order in which it is shown."""


def value(assessment: Assessment, number: Number) -> float | None:
    """One number; NaN where it has no value, None where it has no meaning."""
    found: Any = assessment
    for name in number.path.split("."):
        if found is None:
            break
        found = getattr(found, name)
    result: float | None = int(found.sum()) if isinstance(found, np.ndarray) else found
    return result


def numbers(assessment: Assessment) -> tuple[float | None, ...]:
    """One for each of `NUMBERS`, with four decimals; None where it has no value."""
    return tuple(rounded(value(assessment, number)) for number in NUMBERS)


def to_json(assessment: Assessment, model: str, reference: str | None = None) -> dict[str, object]:
    """The assessment under OpenStructure's names where the meaning is the same; NaN is null.

    Keys of what the assessment does not have are left out.

    Args:
        model, reference: What was read, such as their paths.
    """
    agreement, violations = assessment.agreement, assessment.violations
    confidence = assessment.confidence.complex
    found: dict[str, object] = {
        "status": "SUCCESS",
        "model": model,
        **({} if reference is None else {"reference": reference}),
        **{
            number.key: rounded(known)
            for number in NUMBERS
            for known in [value(assessment, number)]
            if known is not None
        },
    }
    found |= {
        f"residues_with_{name}": [
            residue_label(assessment.model.structure, int(index))
            for index in np.flatnonzero(getattr(violations, field))
        ]
        for name, field in _FAULTS.items()
    }
    if agreement is not None:
        found |= _agreement(agreement)
    if confidence is not None:
        found["confidence_of_chains"] = _chain_pairs(confidence.chains)
    return found


_FAULTS: Final = {
    "clashes": "clashes",
    "bad_bonds": "bonds",
    "bad_angles": "angles",
    "wrong_chirality": "chirality",
    "cis_peptide": "cis",
    "twisted_peptide": "twisted",
    "break_before": "breaks",
}


def _agreement(agreement: Agreement) -> dict[str, object]:
    scores, match = agreement.scores, agreement.scores.match

    def local(values: np.ndarray) -> dict[str, float | None]:
        return {
            label: rounded(each)
            for label, each in zip(scores.local_labels, values, strict=True)
            if label
        }

    found: dict[str, object] = {
        "model_chains": [here for here, _ in match.chains],
        "reference_chains": [there for _, there in match.chains],
        "chain_mapping": {there: here for here, there in match.chains},
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
            found[f"{name}_calibration"] = _calibration(calibration)
    return found


def _interfaces(dockq: DockQ) -> dict[str, object]:
    """Lists of one entry an interface, as OpenStructure has them."""
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


def _chain_pairs(interfaces: InterfaceConfidence) -> list[dict[str, object]]:
    """Each two chains, aligned on the first."""
    return [
        {
            "chains": [one, other],
            **{
                name: rounded(getattr(interfaces, name)[a, b])
                for name in ("iptm", "ipsae", "ipsae_d0chn", "ipsae_d0dom", "pdockq", "lis")
            },
        }
        for a, one in enumerate(interfaces.chains)
        for b, other in enumerate(interfaces.chains)
        if a != b
    ]


def _calibration(calibration: Calibration) -> dict[str, object]:
    return {
        name: [rounded(each) for each in found] if isinstance(found, tuple) else rounded(found)
        for name, found in asdict(calibration).items()
    }

"""What every number is called: in tables, JSON and CSV files, ModelCIF, reports and pages.

Data only. A number has one key and one name wherever it stands, whether it is of a whole model, of
one of its chains or of the interface of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

SHARE: Final = "0–1"
YES: Final = "yes/no"


@dataclass(frozen=True)
class Measure:
    """One number.

    Attributes:
        key: Its name in JSON and CSV files; OpenStructure's where the meaning is the same.
        name: Its name for people.
        meaning: One line of explanation.
        unit: Å, a range such as 0–1, yes/no for a flag, or "" for a count.
        better: Whether a higher or a lower number is better; "" where neither is.
        decimals: How many people are shown.
        kind: Its type in ModelCIF's dictionary: `pLDDT`, `pTM`, `ipTM`, `PAE`, `normalized score`
            or `other`; "" where it is no quality metric.
        quoted: What one number of two chains is where each direction has its own: the higher,
            the mean or the sum of both; "" where the directions are equal.
    """

    key: str
    name: str
    meaning: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = "higher"
    decimals: int = 2
    kind: str = ""
    quoted: Literal["higher", "mean", "sum", ""] = ""

    def text(self, value: float | None) -> str:
        """A value for people; a dash for none.

        Example:
            >>> MEASURES["iptm"].text(0.8125)
            '0.81'
        """
        if value is None or not math.isfinite(value):
            return "–"
        if self.unit == YES:
            return "yes" if value else "no"
        return f"{value:.{self.decimals}f}"


_ALL: Final = (
    # What a prediction says of itself.
    Measure("ranking_confidence", "Ranking", "0.8 ipTM + 0.2 pTM, or the mean pLDDT", ""),
    Measure("plddt", "pLDDT", "Predicted lDDT-Cα", "0–100", decimals=1, kind="pLDDT"),
    Measure("mean_plddt", "pLDDT", "Mean predicted lDDT-Cα", "0–100", decimals=1, kind="pLDDT"),
    Measure("ptm", "pTM", "Predicted TM-score", SHARE, kind="pTM"),
    Measure(
        "iptm",
        "ipTM",
        "Predicted TM-score of the placement of chains; above 0.8 confident, below 0.6 often wrong",
        SHARE,
        kind="ipTM",
        quoted="higher",
    ),
    Measure("iptm_best", "ipTM, best", "ipTM of the best pair of chains", SHARE),
    Measure(
        "actifptm",
        "actifpTM",
        "ipTM of the residues in contact; disordered tails do not lower it",
        SHARE,
        kind="normalized score",
        quoted="higher",
    ),
    Measure(
        "ipsae",
        "ipSAE",
        "ipTM of the residue pairs with PAE below 10 Å",
        SHARE,
        kind="normalized score",
        quoted="higher",
    ),
    Measure("ipsae_d0chn", "ipSAE, d0chn", "ipSAE with the d₀ of both chains", SHARE),
    Measure("ipsae_d0dom", "ipSAE, d0dom", "ipSAE with the d₀ of the interface", SHARE),
    Measure(
        "lis",
        "LIS",
        "Local interaction score: mean of 1 − PAE / 12 Å over pairs with PAE below 12 Å",
        SHARE,
        kind="normalized score",
        quoted="mean",
    ),
    Measure(
        "pdockq",
        "pDockQ",
        "Expected DockQ from the contacts' number and pLDDT; above 0.23 mostly acceptable",
        SHARE,
        kind="normalized score",
    ),
    Measure(
        "pdockq2",
        "pDockQ2",
        "Expected DockQ from the contacts' pLDDT and PAE; above 0.23 mostly acceptable",
        SHARE,
        kind="other",
    ),
    Measure(
        "interface_pae",
        "Interface PAE",
        "Mean predicted aligned error of the residue pairs in contact",
        "Å",
        "lower",
        1,
        "PAE",
        "mean",
    ),
    Measure("contacts", "Contacts", "Residue pairs with Cβ at most 8 Å apart", decimals=0),
    Measure(
        "clashing_atoms",
        "Clashing atoms",
        "Atoms less than 1.1 Å from another chain",
        better="lower",
        decimals=0,
        quoted="sum",
    ),
    Measure(
        "clashing_share",
        "Clashing share",
        "Share of a chain's atoms that are less than 1.1 Å from other chains",
        SHARE,
        "lower",
    ),
    Measure(
        "has_clash",
        "Clash",
        "Whether a chain has more than 100, or over half, of its atoms in clashes",
        YES,
        "lower",
    ),
    # How well a model agrees with a reference.
    Measure("lddt", "lDDT", "Local distances, all atoms", SHARE),
    Measure("bb_lddt", "lDDT-Cα", "Local distances, Cα atoms", SHARE),
    Measure("lddt_backbone", "lDDT-backbone", "Local distances, N, CA, C and O", SHARE),
    Measure("foldscore", "FoldScore", "55% Cα, 30% backbone, 15% all atoms", SHARE),
    Measure("tm_score", "TM-score", "Above 0.5 the same fold", SHARE),
    Measure("gdt_ts", "GDT_TS", "Share of Cα within 1, 2, 4 and 8 Å", SHARE),
    Measure("gdt_ha", "GDT_HA", "Share of Cα within 0.5, 1, 2 and 4 Å", SHARE),
    Measure("oligo_gdtts", "Oligo-GDT_TS", "GDT_TS in the superposition of least RMSD", SHARE),
    Measure("oligo_gdtha", "Oligo-GDT_HA", "GDT_HA in the superposition of least RMSD", SHARE),
    Measure("rmsd", "RMSD", "Matched Cα atoms", "Å", "lower"),
    Measure("rmsd_95", "RMSD95", "The 95% of the Cα atoms that fit best", "Å", "lower"),
    Measure("num_matched", "Matched", "Residues compared", decimals=0),
    Measure("num_reference", "Reference", "Residues of the reference", better="", decimals=0),
    Measure("num_atoms", "Atoms", "Atoms of the matched residues", better="", decimals=0),
    Measure("num_missing_atoms", "Missing atoms", "Atoms that the model lacks", "", "lower", 0),
    Measure("chi1", "chi1", "Share of angles within 40°", SHARE),
    Measure("chi1_2", "chi1 and chi2", "Share of residues with both within 40°", SHARE),
    Measure("phi_psi", "phi and psi", "Share of residues with both within 30°", SHARE),
    Measure("ilddt", "ilDDT", "Local distances between chains", SHARE),
    Measure("dockq_ave", "DockQ, mean", "Mean of the interfaces of the model", SHARE),
    Measure("dockq_wave", "DockQ, weighted", "Mean weighted by contacts", SHARE),
    Measure("dockq_ave_full", "DockQ", "Mean of all interfaces of the reference", SHARE),
    Measure("dockq_wave_full", "DockQ, all weighted", "All, weighted by contacts", SHARE),
    Measure("dockq", "DockQ", "Quality of one interface", SHARE),
    Measure("fnat", "Fnat", "Share of the native contacts that are kept", SHARE),
    Measure("irmsd", "iRMSD", "Backbone of the interface", "Å", "lower"),
    Measure("lrmsd", "LRMSD", "Backbone of the smaller chain", "Å", "lower"),
    Measure("dockq_clashes", "Below 2 Å", "Contacts closer than 2 Å", "", "lower", 0),
    Measure("qs_global", "QS-score", "Contacts of all interfaces", SHARE),
    Measure("qs_best", "QS-score, best", "Contacts of the interfaces both have", SHARE),
    Measure("ics", "ICS", "Contacts between chains, F1", SHARE),
    Measure("ics_precision", "ICS, precision", "Share of the model's contacts", SHARE),
    Measure("ics_recall", "ICS, recall", "Share of the reference's contacts", SHARE),
    Measure("ips", "IPS", "Residues of interfaces, Jaccard index", SHARE),
    Measure("ips_precision", "IPS, precision", "Share of the model's residues", SHARE),
    Measure("ips_recall", "IPS, recall", "Share of the reference's residues", SHARE),
    # How well a prediction knows its own errors.
    Measure("plddt_pearson", "pLDDT, r", "Correlation of pLDDT and lDDT-Cα", "−1–1"),
    Measure("plddt_error", "pLDDT, error", "Mean |pLDDT − lDDT-Cα|", "0–100", "lower", 1),
    Measure("pae_pearson", "PAE, r", "Correlation of PAE and true errors", "−1–1"),
    Measure("pae_error", "PAE, error", "Mean |PAE − true error|", "Å", "lower"),
    # Stereochemistry of a model.
    Measure("num_clashes", "Clashes", "Atoms overlapping by over 1.5 Å", "", "lower", 0),
    Measure("num_bad_bonds", "Bad bonds", "More than 12 σ off", "", "lower", 0),
    Measure("num_bad_angles", "Bad angles", "More than 12 σ off", "", "lower", 0),
    Measure("num_wrong_chirality", "Wrong chirality", "Not L-amino acids", "", "lower", 0),
    Measure("num_cis_peptide", "Cis peptides", "Before other than proline", "", "lower", 0),
    Measure("num_twisted_peptide", "Twisted peptides", "|omega| 30–150°", "", "lower", 0),
    Measure("num_breaks", "Chain breaks", "Cα more than 5.3 Å apart", "", "lower", 0),
    Measure("rama_favoured", "Ramachandran", "Share in favoured regions", SHARE),
    Measure("rama_outliers", "Outliers", "Residues outside allowed regions", "", "lower", 0),
    # Of a query.
    Measure("residues", "Residues", "Of all chains", better="", decimals=0),
    Measure("seconds", "Seconds", "What the prediction took", "s", "lower", 0),
)
MEASURES: Final = {each.key: each for each in _ALL}
"""Every number by its key."""


def rounded(number: float | None) -> float | None:
    """As files have it: with four decimals, counts as they are; None where it is not finite."""
    if number is None or isinstance(number, int):
        return number
    return round(float(number), 4) if math.isfinite(number) else None

"""Names of all measures in tables, JSON and CSV files, ModelCIF, reports and pages.

Data only. A measure has one key and one name everywhere, whether it describes a whole model, one of
its chains or an interface of two chains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

SHARE: Final = "0–1"
YES: Final = "yes/no"
_Better: TypeAlias = Literal["higher", "lower", ""]
_Quoted: TypeAlias = Literal["higher", "mean", "sum", ""]


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        key: Name in JSON and CSV files; OpenStructure's name if the meaning is the same.
        name: Name in tables and pages.
        meaning: One line of explanation.
        unit: Å, a range such as 0–1, yes/no for a flag, or "" for a count.
        better: Whether higher or lower numbers are better; "" if neither.
        decimals: Number of decimals in tables and pages.
        kind: Type in the ModelCIF dictionary: `pLDDT`, `pTM`, `ipTM`, `PAE`, `normalized score` or
            `other`; "" if it is not a quality metric.
        quoted: How the numbers of both directions of a pair of chains are combined: the higher, the
            mean or the sum; "" if both directions are equal.
    """

    key: str
    name: str
    meaning: str
    unit: str = ""
    better: _Better = "higher"
    decimals: int = 4
    kind: str = ""
    quoted: _Quoted = ""

    def text(self, value: float | None) -> str:
        """Return a value as text for tables and pages; a dash if it is unknown.

        Example:
            >>> MEASURES["iptm"].text(0.8125)
            '0.81'
        """
        if value is None or not math.isfinite(value):
            return "–"
        if self.unit == YES:
            return "yes" if value else "no"
        return f"{value:.{self.decimals}f}"


def _count(
    key: str, name: str, meaning: str, better: _Better = "lower", quoted: _Quoted = ""
) -> Measure:
    return Measure(key, name, meaning, "", better, 0, "", quoted)


def _confidence(
    key: str, name: str, meaning: str, kind: str = "normalized score", quoted: _Quoted = ""
) -> Measure:
    return Measure(key, name, meaning, SHARE, "higher", 2, kind, quoted)


_ALL: Final = (
    # Confidence of a prediction.
    Measure("ranking_confidence", "Ranking", "0.8 ipTM + 0.2 pTM, or the mean pLDDT", decimals=2),
    Measure("plddt", "pLDDT", "Predicted lDDT-Cα", "0–100", decimals=1, kind="pLDDT"),
    Measure("mean_plddt", "pLDDT", "Mean predicted lDDT-Cα", "0–100", decimals=1, kind="pLDDT"),
    _confidence("ptm", "pTM", "Predicted TM-score", "pTM"),
    _confidence(
        "iptm",
        "ipTM",
        "Predicted TM-score of the placement of chains; above 0.8 confident, below 0.6 often wrong",
        "ipTM",
        "higher",
    ),
    _confidence("iptm_best", "ipTM, best", "ipTM of the best pair of chains", ""),
    _confidence(
        "actifptm",
        "actifpTM",
        "ipTM of residues in contact; tails do not lower it",
        quoted="higher",
    ),
    _confidence("ipsae", "ipSAE", "ipTM of residue pairs with PAE below 10 Å", quoted="higher"),
    _confidence("ipsae_d0chn", "ipSAE, d0chn", "ipSAE with the d₀ of both chains", ""),
    _confidence("ipsae_d0dom", "ipSAE, d0dom", "ipSAE with the d₀ of the interface", ""),
    _confidence(
        "lis", "LIS", "Local interaction score: mean of 1 − PAE / 12 Å below 12 Å", quoted="mean"
    ),
    _confidence(
        "pdockq", "pDockQ", "DockQ expected from contacts and pLDDT; above 0.23 mostly acceptable"
    ),
    _confidence(
        "pdockq2", "pDockQ2", "DockQ expected from pLDDT and PAE; above 0.23 acceptable", "other"
    ),
    Measure(
        "interface_pae", "Interface PAE", "Mean PAE of the contacts", "Å", "lower", 1, "PAE", "mean"
    ),
    _count("contacts", "Contacts", "Residue pairs with Cβ at most 8 Å apart", "higher"),
    _count("clashing_atoms", "Clashing atoms", "Atoms within 1.1 Å of another chain", quoted="sum"),
    Measure(
        "clashing_share", "Clashing share", "Share of a chain's atoms that clash", SHARE, "lower", 2
    ),
    Measure("has_clash", "Clash", "Over 100, or over half, of a chain's atoms clash", YES, "lower"),
    _count("paired_rows", "Paired rows", "Rows of both chains, paired by species", "higher"),
    # Agreement of a model with a reference.
    Measure("lddt", "lDDT", "Local distances of all atoms", SHARE),
    Measure("bb_lddt", "lDDT-Cα", "Local distances of Cα atoms", SHARE),
    Measure("lddt_backbone", "lDDT-backbone", "Local distances of N, CA, C and O", SHARE),
    Measure("foldscore", "FoldScore", "lDDT: 55% Cα, 30% backbone, 15% all atoms", SHARE),
    Measure("tm_score", "TM-score", "Fold similarity; above 0.5: same fold", SHARE),
    Measure("gdt_ts", "GDT_TS", "Share of Cα within 1, 2, 4 and 8 Å", SHARE),
    Measure("gdt_ha", "GDT_HA", "Share of Cα within 0.5, 1, 2 and 4 Å", SHARE),
    Measure("oligo_gdtts", "Oligo-GDT_TS", "GDT_TS in the superposition of least RMSD", SHARE),
    Measure("oligo_gdtha", "Oligo-GDT_HA", "GDT_HA in the superposition of least RMSD", SHARE),
    Measure("rmsd", "RMSD", "Distance of the matched Cα atoms", "Å", "lower"),
    Measure("rmsd_95", "RMSD95", "Distance of the 95% that fit best", "Å", "lower"),
    _count("num_matched", "Matched", "Residues of the reference compared", "higher"),
    _count("num_reference", "Reference", "Residues of the reference", ""),
    _count("num_atoms", "Atoms", "Atoms of the reference in matched residues", ""),
    _count("num_missing_atoms", "Missing atoms", "Atoms that the model lacks"),
    Measure("chi1", "chi1", "Share of angles within 40°", SHARE),
    Measure("chi1_2", "chi1 and chi2", "Share of residues with both within 40°", SHARE),
    Measure("phi_psi", "phi and psi", "Share of residues with both within 30°", SHARE),
    Measure("ilddt", "ilDDT", "Local distances between chains", SHARE),
    Measure("dockq_ave", "DockQ, found", "Mean of the interfaces that the model has", SHARE),
    Measure("dockq_wave", "DockQ, found, weighted", "The same weighted by contacts", SHARE),
    Measure("dockq_ave_full", "DockQ", "Mean of all interfaces of the reference", SHARE),
    Measure("dockq_wave_full", "DockQ, weighted", "The same weighted by contacts", SHARE),
    Measure("dockq", "DockQ", "Quality of one interface", SHARE),
    Measure("fnat", "Fnat", "Share of the reference's contacts that the model has", SHARE),
    Measure("irmsd", "iRMSD", "RMSD of the backbone of an interface", "Å", "lower"),
    Measure("lrmsd", "LRMSD", "RMSD of the backbone of the smaller chain", "Å", "lower"),
    _count("dockq_clashes", "Pairs below 2 Å", "Residue pairs of two chains below 2 Å apart"),
    Measure("qs_global", "QS-score", "Contacts of all interfaces", SHARE),
    Measure("qs_best", "QS-score, best", "Contacts of residues that both have", SHARE),
    Measure("ics", "ICS", "F1 of contacts between chains", SHARE),
    Measure("ics_precision", "ICS, precision", "Share of the model's contacts", SHARE),
    Measure("ics_recall", "ICS, recall", "Share of the reference's contacts", SHARE),
    Measure("ips", "IPS", "Jaccard index of residues at interfaces", SHARE),
    Measure("ips_precision", "IPS, precision", "Share of the model's residues", SHARE),
    Measure("ips_recall", "IPS, recall", "Share of the reference's residues", SHARE),
    Measure("plddt_pearson", "pLDDT, r", "Correlation of pLDDT and lDDT-Cα", "−1–1"),
    Measure("plddt_error", "pLDDT, error", "Mean |pLDDT − lDDT-Cα|", "0–100", "lower", 1),
    Measure("pae_pearson", "PAE, r", "Correlation of PAE and true errors", "−1–1"),
    Measure("pae_error", "PAE, error", "Mean |PAE − true error|", "Å", "lower"),
    # Stereochemistry of a model.
    _count("num_clashes", "Clashes", "Atoms overlapping by more than 1.5 Å"),
    _count("num_bad_bonds", "Bad bonds", "More than 12 σ from the ideal value"),
    _count("num_bad_angles", "Bad angles", "More than 12 σ from the ideal value"),
    _count("num_wrong_chirality", "Wrong chirality", "Residues that are not L-amino acids"),
    _count("num_cis_peptide", "Cis peptides", "Cis peptide bonds, proline not counted"),
    _count("num_twisted_peptide", "Twisted peptides", "|omega| 30–150°"),
    _count("num_breaks", "Chain breaks", "Cα more than 5.3 Å apart"),
    Measure("rama_favoured", "Ramachandran", "Share of residues in favoured regions", SHARE),
    _count("rama_outliers", "Outliers", "Residues in disallowed regions"),
    # The query and its alignment.
    _count("residues", "Residues", "Residues of all chains", ""),
    _count("depth", "Depth", "Distinct rows of the alignment, the query included", "higher"),
    Measure(
        "neff",
        "Neff",
        "Effective depth: sum of 1 / (rows at least 80% identical) over at most 2,000 rows",
        decimals=1,
    ),
    _count("median_depth", "Median depth", "Median of the rows that cover a residue", "higher"),
    Measure(
        "well_covered",
        "Well covered",
        "Share of residues that at least 10 rows cover",
        SHARE,
        decimals=2,
    ),
    _count("species", "Species", "Species named in the rows used for pairing", "higher"),
    Measure("seconds", "Seconds", "Time that the prediction took", "s", "lower", 1),
)
MEASURES: Final = {each.key: each for each in _ALL}
"""Every measure by its key."""


def rounded(number: float | None) -> float | None:
    """Return a number rounded to four decimals for files; None if it is not finite.

    Example:
        >>> rounded(0.123456)
        0.1235
    """
    if number is None or isinstance(number, int):
        return number
    return round(float(number), 4) if math.isfinite(number) else None

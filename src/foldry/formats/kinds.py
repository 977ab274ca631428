"""Formats that a reader may meet in place of its own, known by how a file begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from foldry.errors import InputError

ALIGNMENT: Final = "alignment"
DOWNLOADED: Final = "downloaded"
QUERY: Final = "query"
STRUCTURE: Final = "structure"
OTHER: Final = ""
_DOWNLOAD: Final = "download the file itself"
_PDB: Final = "(HEADER|TITLE|COMPND|EXPDTA) {4}|(REMARK|CRYST1|MODEL|ATOM|SEQRES) +\\d|HETATM *\\d"
_KINDS: Final = (
    (QUERY, r"\s*>", "a FASTA file or an alignment"),
    (QUERY, r"# STOCKHOLM", "a Stockholm alignment"),
    (QUERY, r"\s*[\[{]", "a JSON file"),
    (ALIGNMENT, r"(CLUSTAL|MUSCLE|PROBCONS|MSAPROBS|T-COFFEE|Kalign)\b", "a CLUSTAL alignment"),
    (ALIGNMENT, r"!!|PileUp\b|[^>\n]*\bMSF:\s*\d", "an alignment in GCG's MSF format"),
    (ALIGNMENT, r"\s*\d+[ \t]+\d+[ \t]*([isIS][ \t]*)?\n", "a PHYLIP alignment"),
    (ALIGNMENT, r"#(NEXUS|MEGA)\b", "a NEXUS or MEGA alignment"),
    (ALIGNMENT, r'"?key"?,"?sequence"?\s', "an alignment of Boltz"),
    ("profile", r"HMMER\d|HHsearch ", "a profile"),
    (STRUCTURE, r"(#.*\n|\s+)*+data_\S", "a structure in mmCIF"),
    (STRUCTURE, _PDB, "a structure in PDB format"),
    (OTHER, r"@.*\n[A-Za-z.]+\n\+", "a FASTQ file of reads"),
    (OTHER, r"Query +\S.*\nMatch_columns|T?BLAST[NPX] \d|PSIBLAST \d", "a list of hits"),
    ("profile", r"Last position-specific scoring matrix", "a profile"),
    (OTHER, r"LOCUS\s", "a GenBank file"),
    (OTHER, r"ID {3}\S", "an entry of UniProt or EMBL"),
    (OTHER, r"(---\s+)?(version|sequences):\s", "a YAML file"),
    ("text", r"\{\\rtf|%PDF", "a text document"),
    (DOWNLOADED, r"version https://git-lfs", "a pointer of Git LFS"),
    (DOWNLOADED, r"(?i:\s*<(!doctype\s+html|html|head|body)\b)", "a web page"),
    (OTHER, r"\s*<[?!\w]", "an XML file"),
    (OTHER, r"(?s:.{0,99})mmtfVersion", "an MMTF file"),
    ("session", "(\x80[\2-\5])?(\\}q|\\(dp)", "a PyMOL session"),
    (OTHER, r"(#.*\n|\s+)*+@<TRIPOS>", "a MOL2 file"),
    (OTHER, r"(.*\n){3}.*V[23]000", "an SDF or MOL file"),
    (OTHER, r"\s*\d+\s*\n.*\n\s*[A-Z][A-Za-z]?(\s+-?\d+\.\d+){3}", "an XYZ file"),
    (OTHER, r".*\n *\d+\s*\n[ \d-]{5}.{10}[ \d]{5}( *-?\d+\.\d+){3}", "a GRO file"),
    (OTHER, r"(\*.*\n)++ *\d+", "a CHARMM coordinate file"),
    (OTHER, r"==== Secondary Structure", "a DSSP file"),
    (OTHER, r"%VERSION|PSF\b", "a topology"),
)
"""For each format: its group, how its files begin, and what they are."""


def check_kind(start: str, own: str, advice: Mapping[str, str], default: str, source: str) -> None:
    """Check that a file does not begin as one of another format, which the error names.

    Args:
        start: The beginning of the file.
        own: The group of formats that the reader reads.
        advice: What to do, by group.
        default: What to do with files of other groups.
        source: Name of the file.

    Raises:
        InputError: It does.
    """
    for group, begins, what in _KINDS:
        if group != own and re.match(begins, start):
            do = advice.get(group, _DOWNLOAD if group == DOWNLOADED else default)
            raise InputError(f"is {what}", do, where=source)

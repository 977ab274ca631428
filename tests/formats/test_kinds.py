"""Files of other formats are named as what they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from Bio import AlignIO, SeqIO
from Bio.Align import MultipleSeqAlignment
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from foldry.errors import InputError
from foldry.formats.kinds import QUERY, check_kind
from foldry.inputs.queries import read_queries
from tests.conftest import ROOT

HTML = "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>\n"
PDB = "ATOM      1  N   MET A   1      11.104   6.134  -6.504  1.00 10.00           N\n"


def written(name: str, letters: str = "MKT-AY") -> str:
    """Two sequences as Biopython writes them in the format of this name."""
    rows = [
        SeqRecord(Seq(row), id=each, name=each, annotations={"molecule_type": "protein"})
        for each, row in (("one", letters), ("two", "MKTWAY"))
    ]
    text = io.StringIO()
    if name in ("genbank", "embl", "fastq"):
        for each in rows:
            each.letter_annotations["phred_quality"] = [30] * len(each)
        SeqIO.write(rows, text, name)
    else:
        AlignIO.write(MultipleSeqAlignment(rows), text, name)
    return text.getvalue()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (written("clustal"), "is a CLUSTAL alignment: convert it to Stockholm or a3m, with the"),
        ("MUSCLE (3.8) multiple sequence alignment\n\none MKT\n", "is a CLUSTAL alignment: "),
        (written("phylip"), "is a PHYLIP alignment: convert it"),
        (written("phylip-relaxed"), "is a PHYLIP alignment: convert it"),
        (written("nexus"), "is a NEXUS or MEGA alignment: convert it"),
        ("!!AA_MULTIPLE_ALIGNMENT 1.0\n", "is an alignment in GCG's MSF format: convert it"),
        (
            "PileUp\n\n MSF: 5  Type: P  Check: 1 ..\n",
            "is an alignment in GCG's MSF format: convert it",
        ),
        (
            " x.msf  MSF: 5  Type: P  Check: 1 ..\n",
            "is an alignment in GCG's MSF format: convert it",
        ),
        (written("genbank"), "is a GenBank file: give its sequence as FASTA"),
        (written("embl"), "is an entry of UniProt or EMBL: give its sequence as FASTA"),
        ("ID   CRAB_ANAPL   Reviewed;   173 AA.\n", "is an entry of UniProt or EMBL: "),
        (written("fastq", "MKTAYI"), "is a FASTQ file of reads: give its sequence as FASTA"),
        ("HMMER3/f [3.3]\nNAME x\n", "is a profile: give the alignment behind it"),
        ("HHsearch 1.5\nNAME x\n", "is a profile: give the alignment behind it"),
        ("Query         q\nMatch_columns 58\n", "is a list of hits: give its sequence as FASTA"),
        ("BLASTP 2.12.0+\n", "is a list of hits: "),
        ("Last position-specific scoring matrix computed\n", "is a profile: "),
        (PDB, "is a structure in PDB format: give its sequence as FASTA"),
        ("HEADER    HYDROLASE\n", "is a structure in PDB format: "),
        ("HETATM12345 ZN    ZN A   1\n", "is a structure in PDB format: "),
        ("# a comment\n#\ndata_1ABC\n_entry.id 1ABC\n", "is a structure in mmCIF: give its"),
        (HTML, "is a web page: download the file itself"),
        ('<!DOCTYPE html PUBLIC "-//W3C//DTD HTML">\n', "is a web page: "),
        ('<?xml version="1.0"?>\n<uniprot/>\n', "is an XML file: give its sequence as FASTA"),
        ("{\\rtf1\\ansi >q\\par MKT}", "is a text document: save its sequences as plain text"),
        ("%PDF-1.4\n", "is a text document: "),
        (
            "version: 1\nsequences:\n  - protein:\n",
            "is a YAML file: give its sequence as FASTA",
        ),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path: Path, text: str, says: str) -> None:
    for suffix in ("fasta", "a3m", "sto", "json", "txt"):
        path = tmp_path / f"q.{suffix}"
        path.write_text(f"\n{text}")
        with pytest.raises(InputError) as caught:
            read_queries([path])
        assert f"q.{suffix} {says}" in str(caught.value)


@pytest.mark.parametrize(
    "start",
    [
        ">LOCUS\nMKT\n",
        "# STOCKHOLM 1.0\n",
        "# comment\n>data_1\nMKT\n",
        "MODEL1 MKT\n",
        "ATOM MKT\n",
        "ID MKT\n",
        "#4,3\t1,1\n>101\t102\n",
        '{"name": "MSF"}',
        "# " * 500,
    ],
)
def test_files_of_queries_are_none_of_them(start: str) -> None:
    check_kind(start, QUERY, {}, "", "x")


def test_the_examples_are_none_of_them() -> None:
    for path in (ROOT / "examples").rglob("*.fasta"):
        check_kind(path.read_text()[:1000], QUERY, {}, "", str(path))

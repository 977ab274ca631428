"""Records of FASTA that are no proteins, have no residue, or are rows of an alignment."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.inputs.pairs import read_screen
from foldry.inputs.queries import read_queries
from foldry.query import Query

GENE = "ATGGCTAAGATTACGCCTGA"
PROTEIN = "MKTAYIAKQR"


def read(folder: Path, text: str, name: str = "q.fasta") -> list[Query]:
    (folder / name).write_text(text)
    return read_queries([folder / name])


def sequences(queries: list[Query]) -> dict[str, list[str]]:
    return {query.name: [chain.sequence for chain in query.chains] for query in queries}


# Molecules named in headers


@pytest.mark.parametrize(
    ("header", "sequence", "molecule"),
    [
        ("C|ccd", "SAH", "a ligand"),
        ("ligand|name=x", "CCO", "a ligand"),
        ("D|smiles", "N[C@@H](Cc1ccc(O)cc1)C(=O)O", "a ligand"),
        ("B|RNA", "ACGU", "RNA"),
        ("B|dna|", "ACGT", "DNA"),
        ("ligand|name=caffeine", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "a ligand"),
        ("glycan|two-sugar", "NAG(4-1 NAG)", "a glycan"),
        ("rna|name=a", "ACGU", "RNA"),
        ("DNA|a", "ACGT", "DNA"),
        ("1bna_A mol:na length:12  DNA", "CGCGAATTCGCG", "a nucleic acid"),
        ("1BNA_1|Chains A, B|DNA (5'-D(*CP*GP*C)-3')|", "CGC", "a nucleic acid"),
        ("4ABC_2|Chain B|RNA (12-MER)|", "CGC", "a nucleic acid"),
        ("DL;X01", "title\nACGT*", "DNA"),
        ("D1;X01", "title\nACGT*", "DNA"),
        ("N3;X01", "title\nACGU*", "RNA"),
    ],
)
def test_another_molecule_is_named(
    tmp_path: Path, header: str, sequence: str, molecule: str
) -> None:
    says = f"line 3, is {molecule}, but Foldry folds only proteins: remove it"
    with pytest.raises(InputError, match=says):
        read(tmp_path, f">A|protein\n{PROTEIN}\n>{header}\n{sequence}\n")


def test_proteins_of_boltz_and_chai_have_their_names(tmp_path: Path) -> None:
    text = f">A|protein|./msa/a.a3m\n{PROTEIN}\n> B|PROTEIN|empty\nMKV\n>C|protein\nMKW\n"
    assert sequences(read(tmp_path, text)) == {"A": [PROTEIN], "B": ["MKV"], "C": ["MKW"]}
    text = f">protein|name=a long-name\n{PROTEIN}\n>protein|1AC5\nMKV\n>protein|name=\nMKW\n"
    assert list(sequences(read(tmp_path, text))) == ["a_long-name", "1AC5", "q_3"]


@pytest.mark.parametrize(
    "header",
    ["x RNA|y", "P1234|RNA polymerase", "RNA polymerase|x", "RNA", "1ABC_1|A|RNA (adenine) kinase"],
)
def test_a_word_in_a_header_is_no_molecule(tmp_path: Path, header: str) -> None:
    [query] = read(tmp_path, f">{header}\n{PROTEIN}\n")
    assert query.chains[0].sequence == PROTEIN


@pytest.mark.parametrize(
    ("chain", "molecule"),
    [("CCD|ATP", "a ligand"), ("smiles|CC(=O)N", "a ligand"), ("rna|AC", "RNA")],
)
def test_other_molecules_in_a_complex_of_colabfold(
    tmp_path: Path, chain: str, molecule: str
) -> None:
    with pytest.raises(InputError, match=f"line 2, is {molecule}, but Foldry folds only proteins"):
        read(tmp_path, f">x\n{PROTEIN}:{chain}\n")


# Nucleotides


@pytest.mark.parametrize(
    ("sequence", "molecule"),
    [
        (GENE, "DNA"),
        (GENE.lower() * 3, "DNA"),
        (f"{GENE}{'N' * 20}R{GENE}", "DNA"),
        (GENE.replace("T", "U"), "RNA"),
    ],
)
def test_bases_are_refused(tmp_path: Path, sequence: str, molecule: str) -> None:
    says = f"looks like {molecule}: translate it; write a protein of such letters in JSON"
    with pytest.raises(InputError, match=f"q.fasta, line 4, {says}"):
        read(tmp_path, f">p\n{PROTEIN}\n>x\n{sequence[:8]}\n{sequence[8:]}\n")
    with pytest.raises(InputError, match=f"q.fasta, line 3, {says}"):
        read(tmp_path, f">p\n{PROTEIN}:\n{sequence}\n")
    with pytest.raises(InputError, match=f"q.a3m, first row, {says}"):
        read(tmp_path, f">x\n{sequence.upper()}\n", "q.a3m")
    with pytest.raises(InputError, match=f"q.sto, first row, {says}"):
        read(tmp_path, f"# STOCKHOLM 1.0\nx {sequence}\n//\n", "q.sto")
    (tmp_path / "t.csv").write_text(f"id,sequence\nx,{PROTEIN}:{sequence}\n")
    with pytest.raises(InputError, match=f"t.csv, line 2, {says}"):
        read_screen([tmp_path / "t.csv"])


@pytest.mark.parametrize("sequence", ["MET LYS\nTHR", "AlaGlyAlaSerAlaGly" * 9, "CYSASPMETX"])
def test_three_letter_codes_are_named(tmp_path: Path, sequence: str) -> None:
    says = "q.fasta, line 2, has three-letter codes of amino acids: write one letter for each"
    with pytest.raises(InputError, match=says):
        read(tmp_path, f">x\n{sequence}\n")


@pytest.mark.parametrize(
    "sequence",
    [
        "A" * 60,
        "ALA" * 30,
        "LYSALA",
        "ALAGLYSERPHQ",
        "GA" * 30,
        "GTC" * 20,
        "ACGT" * 4,
        f"{GENE}MKL",
    ],
)
def test_peptides_of_few_kinds_of_residues_are_read(tmp_path: Path, sequence: str) -> None:
    assert sequences(read(tmp_path, f">x\n{sequence}\n")) == {"x": [sequence]}


def test_a_protein_of_bases_is_read_from_json(tmp_path: Path) -> None:
    text = f'{{"name": "x", "sequences": [{{"protein": {{"id": "A", "sequence": "{GENE}"}}}}]}}'
    assert sequences(read(tmp_path, text, "q.json")) == {"x": [GENE]}


# Unknown residues


def test_records_and_chains_of_unknown_residues_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ProteinMPNN: a backbone without a sequence, and a complex with DNA."""
    found = read(tmp_path, ">bb, score=1\nXXXX\n>T=0.1, sample=1\nMKXX\n>T=0.1, sample=2\nMKXV\n")
    assert sequences(found) == {"q_2": ["MKXX"], "q_3": ["MKXV"]}
    [record] = [each for each in caplog.records if each.levelno == logging.WARNING]
    says = "q.fasta: records with only X, an unknown residue, are left out (1 of 3)"
    assert record.getMessage().endswith(says)
    caplog.clear()
    assert sequences(read(tmp_path, ">c, score=1\nMKX/\nXXxX/\nXMV\n")) == {"c": ["MKX", "XMV"]}
    [record] = caplog.records
    assert record.getMessage().endswith(
        "line 3: chain 2 has only unknown residues (X) and is left out"
    )


@pytest.mark.parametrize("text", ["XXX", "XXX/XX", "X\nX*"])
def test_a_file_of_unknown_residues_is_refused(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InputError, match=r"q\.fasta, line 1, contains only X"):
        read(tmp_path, f">a\n{text}\n")
    assert not caplog.records


# Alignments


@pytest.mark.parametrize(
    "text",
    [
        ">a\nMK-TAY\n>b\nMKVTAY\n",
        ">a\nMKVTAY\n>b\nMK-\nTAY\n",
        ">a\nmk-tay*\n>b\nmkvtay\n",
        ">P1;a\nstructureX:a:1 :A:6 :A::::\nMKVTAY*\n>P1;b\nsequence:b::::::::\nMK-TAY*\n",
    ],
)
def test_aligned_fasta_is_named(tmp_path: Path, text: str) -> None:
    says = r"q\.fasta is an alignment: convert it to a3m, e\.g\. with HH-suite's reformat\.pl fas"
    with pytest.raises(InputError, match=says):
        read(tmp_path, text)


def test_an_a3m_with_the_suffix_of_fasta_is_named(tmp_path: Path) -> None:
    text = ">a\nMKTAY\n>b\nMK-AkkY\n"
    with pytest.raises(InputError, match=r"q\.fasta is an alignment: give it the suffix \.a3m"):
        read(tmp_path, text)
    assert read(tmp_path, text, "q.a3m")[0].chains[0].alignment is not None


@pytest.mark.parametrize("text", [">a\nMK-TAY\n", ">a\nMK-TAY\n>b\nMKV\n"])
def test_a_gap_alone_makes_no_alignment(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"q\.fasta, line 2, has a gap at residue 3: remove it"):
        read(tmp_path, text)


def test_a_first_row_with_gaps_says_what_removes_them(tmp_path: Path) -> None:
    says = r"q\.a3m, first row, has gaps: put the query first, without gaps, as HH-suite's reformat"
    with pytest.raises(InputError, match=says):
        read(tmp_path, ">a\nMK-TAY\n>b\nMKVTAY\n", "q.a3m")


@pytest.mark.parametrize(
    ("header", "name"),
    [("4HHB_1|Chains A, C|Hemoglobin", "4HHB_1"), ("1ADZ_1|Chain A|TFPI|Homo", "1ADZ_1")],
)
def test_sequences_of_the_pdb_are_named_after_their_entity(
    tmp_path: Path, header: str, name: str
) -> None:
    [query] = read(tmp_path, f">{header}\nMKTAY\n")
    assert query.name == name


@pytest.mark.parametrize(
    ("headers", "are_chains"),
    [
        (("A|protein", "B|protein|b.a3m"), True),
        (("protein|name=x", "protein|name=y"), True),
        (("A|protein",), False),
        (("sp|P1|A", "sp|P2|B"), False),
        (("A|protein", "x"), False),
    ],
)
def test_chains_of_a_complex_are_not_folded_one_by_one_silently(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, headers: tuple[str, ...], are_chains: bool
) -> None:
    letters = ("MKTAY", "MKVLA")
    text = "".join(f">{each}\n{row}\n" for each, row in zip(headers, letters, strict=False))
    assert len(read(tmp_path, text)) == len(headers)
    assert ("folded one by one unless `together` is set" in caplog.text) == are_chains
    caplog.clear()
    read_queries([tmp_path / "q.fasta"], together=True)
    assert not caplog.records

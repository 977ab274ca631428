"""The examples match examples/README.md: all files of a protein have the same residues."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import gemmi
import pytest

from foldry.features.pairing import align_complex
from foldry.formats.a3m import parse_a3m
from foldry.inputs.queries import read_query

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FASTAS = sorted(EXAMPLES.glob("*/*.fasta"))


def records(path: Path) -> list[tuple[str, str]]:
    """Return header and letters of each record of a FASTA or a3m file."""
    lines = path.read_text().splitlines()
    return list(zip(lines[::2], lines[1::2], strict=True))


def structure(fasta: Path) -> gemmi.Structure:
    """Return the experimental structure beside a FASTA file."""
    path = fasta.with_suffix(".cif")
    packed = path.with_name(f"{path.name}.gz")
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())


def test_there_are_three() -> None:
    assert len(FASTAS) == 3


@pytest.mark.parametrize("fasta", FASTAS, ids=lambda path: path.stem)
def test_sequence_alignment_and_structure_agree(fasta: Path) -> None:
    sequences = [sequence for _, sequence in records(fasta)]
    chains = [
        gemmi.one_letter_code([residue.name for residue in chain]) for chain in structure(fasta)[0]
    ]
    assert chains == sequences
    (_, query), *rows = records(fasta.with_suffix(".a3m"))
    assert query == sequences[0]
    assert rows
    for header, row in rows:
        assert header.startswith((">sp|", ">tr|"))
        assert sum(not letter.islower() for letter in row) == len(query)


@pytest.mark.parametrize("fasta", FASTAS, ids=lambda path: path.stem)
def test_every_residue_has_a_backbone_and_follows_the_last(fasta: Path) -> None:
    for chain in structure(fasta)[0]:
        carbons = [residue.find_atom("CA", "*") for residue in chain]
        assert all({"N", "CA", "C", "O"} <= {atom.name for atom in residue} for residue in chain)
        pairs = pairwise(carbons)
        assert all(2.7 < one.pos.dist(two.pos) < 4.2 for one, two in pairs)


@pytest.mark.parametrize(
    ("job", "chains"),
    [
        ("malate_dehydrogenase/1mld_AB.json", {"malate_dehydrogenase/1mld_AB": ("A", "B")}),
        ("trypsin_kunitz.json", {"trypsin/1trn": ("A",), "kunitz/1adz": ("B",)}),
    ],
)
def test_a_complex_has_the_sequences_and_alignments_of_its_chains(
    job: str, chains: dict[str, tuple[str, ...]]
) -> None:
    query = read_query(EXAMPLES / job)
    assert [chain.ids for chain in query.chains] == list(chains.values())
    for chain, stem in zip(query.chains, chains, strict=True):
        path = EXAMPLES / stem
        assert chain.sequence == records(path.with_suffix(".fasta"))[0][1]
        assert chain.alignment == parse_a3m(path.with_suffix(".a3m").read_text())
    report = align_complex(query, "alphafold").report
    assert (len(report.rows) > 1) is (len(chains) > 1), "rows of different chains are paired"


def test_they_are_small_enough_for_git() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 600_000

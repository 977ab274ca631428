"""The examples match examples/README.md: all files of a protein have the same residues."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import gemmi
import pytest
from Bio.Align import PairwiseAligner, substitution_matrices

from foldry.features.pairing import align_complex
from foldry.formats.a3m import parse_a3m
from foldry.inputs.queries import read_query

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FASTAS = sorted(EXAMPLES.glob("*/*.fasta"))
LIBRARY = sorted((EXAMPLES / "database" / "structures").iterdir())
FAMILIES = {"1adz": 1, "1trn": 9, "1mld_AB": 6}
"""Number of chains in the library of known structures that are related to each example."""


def records(path: Path) -> list[tuple[str, str]]:
    """Return header and letters of each record of a FASTA or a3m file."""
    lines = path.read_text().splitlines()
    return list(zip(lines[::2], lines[1::2], strict=True))


def structure(path: Path) -> gemmi.Structure:
    """Return the experimental structure in a file or, packed, beside it."""
    packed = path if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())


def test_there_are_three() -> None:
    assert len(FASTAS) == 3


@pytest.mark.parametrize("fasta", FASTAS, ids=lambda path: path.stem)
def test_sequence_alignment_and_structure_agree(fasta: Path) -> None:
    sequences = [sequence for _, sequence in records(fasta)]
    chains = [
        gemmi.one_letter_code([residue.name for residue in chain])
        for chain in structure(fasta.with_suffix(".cif"))[0]
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
    for chain in structure(fasta.with_suffix(".cif"))[0]:
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


@pytest.mark.parametrize("fasta", FASTAS, ids=lambda path: path.stem)
def test_the_library_has_relatives_of_each_example_but_none_that_is_close(fasta: Path) -> None:
    aligner = PairwiseAligner(mode="local")
    aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
    aligner.open_gap_score, aligner.extend_gap_score = -11, -1
    query = records(fasta)[0][1]
    related = 0
    for path in LIBRARY:
        [[chain]] = structure(path)
        known = gemmi.one_letter_code([residue.name for residue in chain])
        best = aligner.align(query, known)[0]
        counts = best.counts()
        if best.score > 60:
            assert counts.identities < 0.45 * (counts.identities + counts.mismatches)
            related += 1
    assert related == FAMILIES[fasta.stem]


def test_the_chains_of_the_library_are_in_readme() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    for path in LIBRARY:
        [[chain]] = structure(path)
        assert all({"N", "CA", "C", "O"} <= {atom.name for atom in residue} for residue in chain)
        assert f"`{path.name.partition('.')[0]}_{chain.name}`" in text


def test_they_are_small_enough_for_git() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_300_000

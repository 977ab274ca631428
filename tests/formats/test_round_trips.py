"""a3m → Alignment → a3m and JSON → Query → JSON on every alignment of the real data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.chain_query import query_of

from foldry.dataset.packs import Library
from foldry.formats.a3m import parse_a3m, to_a3m
from foldry.formats.job import job_json, parse_jobs
from foldry.query import Chain, Hit, Query
from tests.dataset.test_packs import reader

MAX_BYTES_PER_LETTER = 1.3
LETTERS = np.frombuffer(b"ARNDCQEGHILKMFPSTWYVX-", np.uint8)


def alignments(data_dir: Path, split: str) -> Iterator[tuple[str, str]]:
    """The a3m text of every alignment, as the packs' own reader writes it, and its first letters.

    The reader's loops take minutes over all of them: this is the same by array operations.
    """
    folder = data_dir / "msas"
    pack = reader(folder / "read_msas.py").MsaPack(folder / f"msas-{split}.npz")
    for number, name in enumerate(pack.ids):
        found = pack[name]
        counts, msa = found["deletions_with_tail"], found["msa"]
        cells = np.concatenate([LETTERS[msa], np.full((len(msa), 1), ord("\n"), np.uint8)], axis=1)
        inserted = LETTERS[found["inserted"]] + np.uint8(32)
        places = np.repeat(np.arange(cells.size), counts.ravel())
        text = np.insert(cells.ravel(), places, inserted).tobytes().decode()
        names = [name, *(f"db{row} x" for row in found["target"][1:])]
        rows = zip(names, text.splitlines(), strict=True)
        text = "".join(f">{name}\n{row}\n" for name, row in rows)
        if number % 50 == 0:
            assert text.replace(" x\n", "\n") == pack.a3m(name)
        yield text, text.split("\n")[1]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "train", "train2"])
def test_alignments_and_jobs_are_written_as_they_were_read(data_dir: Path, split: str) -> None:
    for text, sequence in alignments(data_dir, split):
        alignment = parse_a3m(text)
        assert to_a3m(alignment) == text
        insertions = alignment.insertions
        arrays = alignment.letters, insertions.place, insertions.count, insertions.letters
        letters = alignment.letters.size + insertions.letters.size
        assert sum(array.nbytes for array in arrays) <= MAX_BYTES_PER_LETTER * letters
        protein = {"id": "A", "sequence": sequence, "unpairedMsa": text, "pairedMsa": text}
        job = {
            "name": "q",
            "modelSeeds": [3, 1],
            "sequences": [{"protein": {**protein, "templates": []}}],
            "dialect": "alphafold3",
            "version": 1,
        }
        written = json.dumps(job, indent=2)
        [query] = parse_jobs(written, Path("q.json"))
        assert job_json(query) == written
        chain = Chain(("A",), sequence, alignment, alignment)
        assert query.chains[0].alignment == alignment
        assert query == Query("q", (chain,), (3, 1))


def test_jobs_with_templates_are_written_as_they_were_read(data_dir: Path) -> None:
    library = Library(data_dir, ["val"])
    names = [name for name in library.alignments.place if library.hits(name)][::3]
    assert len(names) > 15
    for number, name in enumerate(names):
        query = query_of(library, name, num_templates=3)
        [chain] = query.chains
        # A residue without atoms, and numbers with insertion codes.
        hits = []
        for hit in chain.templates:
            structure = hit.known_structure()
            mask = structure.atom_mask.copy()
            mask[1] = False
            xyz = np.round(structure.atom_positions.astype(float), 3)
            codes = np.full(len(mask), "")
            codes[3] = "A"
            numbers = np.where(np.arange(len(mask)) == 1, 2, structure.residue_number + 7 * number)
            seen = replace(
                structure,
                name=hit.name + "_A",
                atom_mask=mask,
                atom_positions=np.where(mask[..., None], xyz, 0),
                b_factor=np.where(mask, 10.25 + np.arange(37), 0),
                residue_number=numbers,
                insertion_code=codes,
            )
            hits.append(Hit(seen.name, hit.pairs, seen, release_date="2001-10-11"))
        query = replace(query, chains=(replace(chain, templates=tuple(hits)),))
        text = job_json(query)
        [again] = parse_jobs(text, Path("q.json"))
        for ours, theirs in zip(again.chains[0].templates, hits, strict=True):
            assert ours.known_structure() == theirs.structure
        assert again == query
        assert job_json(again) == text

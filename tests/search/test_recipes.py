"""AlphaFold's recipes against recorded runs of its data pipeline, from the files of its tools."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from foldry.features.msa import merge_alignments
from foldry.features.pairing import align_complex
from foldry.formats.a3m import parse_a3m
from foldry.formats.stockholm import parse_stockholm
from foldry.query import Alignment, Chain, Query, Source
from foldry.residues import HHBLITS_ORDER, RESTYPES_WITH_X
from foldry.search.recipes import FULL, REDUCED, Recipe, Step
from foldry.search.search import Search
from foldry.store.cache import Cache
from tests.conftest import parity_root

CASES = sorted((parity_root() / "search").glob("*.npz"))
ALPHAFOLD_ORDER = f"{RESTYPES_WITH_X}-"
Record = Mapping[str, np.ndarray]


def paths(*starts: str) -> list[Path]:
    return [path for path in CASES if path.stem.startswith(starts)]


def read(record: Record, file: str) -> Alignment:
    text = record[f"file/{file}"].tobytes().decode()
    return parse_a3m(text) if file.endswith(".a3m") else parse_stockholm(text)


def recorded_recipe(record: Record) -> Recipe:
    """The recipe with the caps of the run, which are small so that they matter."""
    settings = json.loads(str(record["settings"].astype(str)))
    caps = {
        "uniref90_hits.sto": settings["uniref_max_hits"],
        "mgnify_hits.sto": settings["mgnify_max_hits"],
        "uniprot_hits.sto": settings.get("max_uniprot_hits"),
    }

    def cut(step: Step) -> Step:
        return replace(step, max_rows=caps.get(step.file))

    recipe = REDUCED if settings["small_bfd"] else FULL
    assert recipe.pairing is not None
    steps = tuple(map(cut, recipe.steps))
    return replace(recipe, steps=steps, pairing=cut(recipe.pairing))


@dataclass(frozen=True)
class Recorded:
    """An engine that finds for each sequence the recorded file of one step."""

    record: Record
    step: Step
    folders: Mapping[str, str]

    @property
    def identity(self) -> str:
        return self.step.file

    @property
    def source(self) -> Source:
        return Source("recorded", self.step.file)

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        return (read(self.record, self.folders[each] + self.step.file) for each in sequences)


def searched(record: Record, query: Query, folders: Mapping[str, str], cache: Path) -> Query:
    """The query as a search completes it that finds the recorded files of the run.

    The features do not show every row, as most are in several files; so the headers are checked.

    Args:
        record: The run.
        query: The query without alignments.
        folders: Start of the names of the files of each sequence.
        cache: An empty folder.
    """
    recipe = recorded_recipe(record)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Search, "_engine", lambda _, step: Recorded(record, step, folders))
        [result] = Search(recipe, {}, Cache(cache)).run([query])
    for chain in result.query.chains:
        folder = folders[chain.sequence]
        rows = [
            read(record, folder + step.file).headers[1 : step.max_rows] for step in recipe.steps
        ]
        assert chain.alignment is not None
        assert chain.alignment.headers[1:] == sum(rows, ())
    return result.query


def complex_of(record: Record) -> Query:
    """The complex of a run, whose chains are named A to Z, a to z, 0 to 9 in the input's order."""
    listed = json.loads(record["file/chain_id_map.json"].tobytes())
    copies: dict[str, list[str]] = {}
    for name in sorted(listed, key=lambda name: (name.isdigit(), name)):
        copies.setdefault(listed[name]["sequence"], []).append(name)
    return Query("q", tuple(Chain(tuple(names), each) for each, names in copies.items()))


@pytest.mark.parity
@pytest.mark.parametrize(
    "path", paths("reduced_", "full_", "template_"), ids=lambda path: path.stem
)
def test_the_alignment_of_a_protein(path: Path, tmp_path: Path) -> None:
    with np.load(path) as record:
        sequence = str(record["query"].astype(str))
        query = Query("q", (Chain(("A",), sequence),))
        [chain] = searched(record, query, {sequence: ""}, tmp_path).chains
        assert chain.alignment is not None
        rows = merge_alignments([chain.alignment])
        codes = [HHBLITS_ORDER.index(letter) for letter in ALPHAFOLD_ORDER]
        assert np.array_equal(np.array(codes)[rows.codes], record["msa"])
        assert np.array_equal(rows.deletions, record["deletion_matrix_int"])


@pytest.mark.parity
@pytest.mark.parametrize("path", paths("multimer_"), ids=lambda path: path.stem)
def test_the_alignment_of_a_complex(path: Path, tmp_path: Path) -> None:
    with np.load(path) as record:
        query = complex_of(record)
        assert query.num_residues == len(record["aatype"])
        folders = {chain.sequence: f"{chain.ids[0]}/" for chain in query.chains}
        found = align_complex(searched(record, query, folders, tmp_path))
        number = int(record["num_alignments"])
        assert len(found.msa) == number
        assert np.array_equal(found.msa, record["msa"][:number])
        assert np.array_equal(found.deletion_matrix, record["deletion_matrix"][:number])
        assert np.array_equal(found.covered, record["bert_mask"][:number])


def test_the_caps_are_those_of_alphafold() -> None:
    for recipe in (REDUCED, FULL):
        assert [step.max_rows for step in recipe.steps] == [10_000, None, 501]
        assert recipe.pairing == Step("jackhmmer", ("uniprot",), "uniprot_hits.sto", 50_000)

"""AlphaFold's recipes against recorded runs of its data pipeline, from the files of its tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.features.msa import merge_alignments
from foldry.features.pairing import align_complex
from foldry.formats.a3m import parse_a3m
from foldry.formats.stockholm import parse_stockholm
from foldry.query import Alignment, Chain, Query
from foldry.residues import HHBLITS_ORDER, RESTYPES_WITH_X
from foldry.search.recipes import FULL, REDUCED, Recipe, Step
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


def chain(record: Record, names: Sequence[str], sequence: str, folder: str = "") -> Chain:
    recipe = recorded_recipe(record)
    rows = recipe.joined([read(record, folder + step.file) for step in recipe.steps])
    pairing = recipe.pairing
    paired = None  # copies of one sequence are not paired
    if pairing is not None and f"file/{folder}{pairing.file}" in record:
        paired = pairing.kept(read(record, folder + pairing.file))
    return Chain(tuple(names), sequence, rows, paired)


def complex_of(record: Record) -> Query:
    """The complex of a run, whose chains are named A to Z, a to z, 0 to 9 in the input's order."""
    listed = json.loads(record["file/chain_id_map.json"].tobytes())
    copies: dict[str, list[str]] = {}
    for name in sorted(listed, key=lambda name: (name.isdigit(), name)):
        copies.setdefault(listed[name]["sequence"], []).append(name)
    chains = [chain(record, names, sequence, f"{names[0]}/") for sequence, names in copies.items()]
    return Query("q", tuple(chains))


@pytest.mark.parity
@pytest.mark.parametrize(
    "path", paths("reduced_", "full_", "template_"), ids=lambda path: path.stem
)
def test_the_alignment_of_a_protein(path: Path) -> None:
    with np.load(path) as record:
        rows = merge_alignments([chain(record, "A", str(record["query"].astype(str))).alignment])
        codes = [HHBLITS_ORDER.index(letter) for letter in ALPHAFOLD_ORDER]
        assert np.array_equal(np.array(codes)[rows.codes], record["msa"])
        assert np.array_equal(rows.deletions, record["deletion_matrix_int"])


@pytest.mark.parity
@pytest.mark.parametrize("path", paths("multimer_"), ids=lambda path: path.stem)
def test_the_alignment_of_a_complex(path: Path) -> None:
    with np.load(path) as record:
        query = complex_of(record)
        assert query.num_residues == len(record["aatype"])
        found = align_complex(query)
        number = int(record["num_alignments"])
        assert len(found.msa) == number
        assert np.array_equal(found.msa, record["msa"][:number])
        assert np.array_equal(found.deletion_matrix, record["deletion_matrix"][:number])
        assert np.array_equal(found.covered, record["bert_mask"][:number])


def test_a_cap_counts_the_query_and_nothing_else_is_left_out() -> None:
    one = Alignment.of(["q", "a", "b"], ["MKT", "MKV", "M-V"])
    other = Alignment.of(["q", "a"], ["MKT", "MKV"])
    steps = (Step("e", ("d",), "f", 2), Step("e", ("d",), "g"))
    assert Recipe("r", steps).joined([one, other]).headers == ("q", "a", "a")
    assert [step.max_rows for step in FULL.steps] == [10_000, None, 501]
    assert (
        REDUCED.pairing
        == FULL.pairing
        == Step("jackhmmer", ("uniprot",), "uniprot_hits.sto", 50_000)
    )

"""AlphaFold's folder `msas`: what is written is read back by Foldry, and fits AlphaFold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from foldry.formats.stockholm import parse_stockholm
from foldry.inputs.queries import read_query
from foldry.query import Alignment, Chain, Query
from foldry.search.msas import msa_files
from foldry.search.recipes import FULL, REDUCED, Recipe, Step
from foldry.search.result import Found, SearchResult

ONE, OTHER, THIRD = "MKTAYIAKQR", "MKVAYIGKW", "MKKLAVGE"


def rows(sequence: str, step: Step, number: int) -> Alignment:
    """Rows as a search finds them: names, letters and insertions differ between searches."""
    name = f"tr|{step.databases[0].upper():X<6.6}|{number}_HUMAN"
    relatives = [f"{name}{n}/{n}-{n + 8}" for n in range(3)]
    letters = [f"{sequence[:n]}acd{'-' * n}{sequence[2 * n :]}w" for n in range(1, 4)]
    return Alignment.of(["query", *relatives], [sequence, *letters])


def searched(recipe: Recipe, sequence: str, *, pairing: bool = False) -> tuple[Found, ...]:
    found = [Found(step, rows(sequence, step, n)) for n, step in enumerate(recipe.steps)]
    if pairing:
        assert recipe.pairing is not None
        found.append(Found(recipe.pairing, rows(sequence, recipe.pairing, 9), for_pairing=True))
    return tuple(found)


def aligned(ids: tuple[str, ...], sequence: str, found: tuple[Found, ...]) -> Chain:
    unpaired = Alignment.joined([each.alignment for each in found if not each.for_pairing])
    paired = next((each.alignment for each in found if each.for_pairing), None)
    return Chain(ids, sequence, unpaired, paired)


def written(folder: Path, texts: Mapping[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / "msas" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        (REDUCED, ["uniref90_hits.sto", "small_bfd_hits.sto", "mgnify_hits.sto"]),
        (FULL, ["uniref90_hits.sto", "bfd_uniref_hits.a3m", "mgnify_hits.sto"]),
    ],
    ids=lambda value: value.name if isinstance(value, Recipe) else "",
)
def test_the_folder_of_a_chain(recipe: Recipe, names: list[str], tmp_path: Path) -> None:
    found = searched(recipe, ONE)
    chain = aligned(("A",), ONE, found)
    texts = msa_files(SearchResult(Query("protein", (chain,)), recipe.name, (found,)))
    assert list(texts) == names
    assert texts[names[1]].startswith(">" if recipe is FULL else "# STOCKHOLM")
    query = read_query(written(tmp_path / "protein", texts))
    assert query == Query("protein", (chain,))
    assert query.chains[0].alignment is not None
    assert query.chains[0].alignment.insertions.count.sum() > 0


@pytest.mark.parametrize("recipe", [REDUCED, FULL], ids=lambda recipe: recipe.name)
def test_the_folders_of_a_complex(recipe: Recipe, tmp_path: Path) -> None:
    parts = [
        ((ids, sequence), searched(recipe, sequence, pairing=True))
        for ids, sequence in ((("A", "C"), ONE), (("B",), OTHER), (("D",), THIRD))
    ]
    chains = tuple(aligned(*chain, found) for chain, found in parts)
    result = SearchResult(Query("a_complex", chains), recipe.name, tuple(f for _, f in parts))
    texts = msa_files(result)
    files = [*(step.file for step in recipe.steps), "uniprot_hits.sto"]
    assert list(texts) == [*(f"{c}/{file}" for c in "ABD" for file in files), "chain_id_map.json"]
    listed = json.loads(texts["chain_id_map.json"])
    assert list(listed) == ["A", "B", "C", "D"]
    assert listed["C"] == {"description": "a_complex_C", "sequence": ONE}
    assert texts["chain_id_map.json"].startswith('{\n    "A": {\n        "description": "')
    assert read_query(written(tmp_path / "a_complex", texts)) == result.query


def test_the_folder_of_a_homomer(tmp_path: Path) -> None:
    found = searched(REDUCED, ONE)
    query = Query("dimer", (aligned(("A", "B"), ONE, found),))
    texts = msa_files(SearchResult(query, "reduced", (found,)))
    assert sorted({name.partition("/")[0] for name in texts}) == ["A", "chain_id_map.json"]
    assert read_query(written(tmp_path / "dimer", texts)) == query


def test_chains_that_are_listed_twice_have_one_folder(tmp_path: Path) -> None:
    found = searched(REDUCED, ONE)
    chains = tuple(aligned((name,), ONE, found) for name in "AB")
    texts = msa_files(SearchResult(Query("dimer", chains), "reduced", (found, found)))
    assert {name.partition("/")[0] for name in texts} == {"A", "chain_id_map.json"}
    merged = Query("dimer", (aligned(("A", "B"), ONE, found),))
    assert read_query(written(tmp_path / "dimer", texts)) == merged


def test_a_chain_that_came_with_its_alignment(tmp_path: Path) -> None:
    found = searched(REDUCED, ONE, pairing=True)
    own = Alignment.of(["q", "tr|A|A_HUMAN of mine OX=9606"], [OTHER, "MKcV------"[:10]])
    given = Chain(("B",), OTHER, own, own.rows([0, 1, 1]))
    alone = Chain(("C",), "MKK")
    chains = (aligned(("A",), ONE, found), given, alone)
    result = SearchResult(Query("mixed", chains), "reduced", (found, (), ()))
    texts = msa_files(result)
    assert [name for name in texts if name.startswith("B")] == [
        "B/bfd_uniref_hits.a3m",
        "B/uniprot_hits.a3m",
    ]
    read = read_query(written(tmp_path / "mixed", texts)).chains
    assert read[:2] == chains[:2]
    assert read[2] == Chain(("C",), "MKK", Alignment.of(["query"], ["MKK"]))
    single = Query("single", (Chain(("A",), OTHER, own),))
    texts = msa_files(SearchResult(single, "reduced", ((),)))
    assert read_query(written(tmp_path / "single", texts)).chains == single.chains


def test_rows_for_pairing_never_replace_others(tmp_path: Path) -> None:
    """One search may find both, as ColabFold's does; a recipe may search any database for them."""
    step = Step("mine", ("mine",), "mine_hits.a3m")
    recipe = Recipe("mine", (step,), step)
    parts = {each: searched(recipe, each, pairing=True) for each in (ONE, OTHER)}
    chains = tuple(aligned((name,), *part) for name, part in zip("AB", parts.items(), strict=True))
    result = SearchResult(Query("pair", chains), "mine", tuple(parts.values()))
    texts = msa_files(result)
    assert list(texts)[:2] == ["A/mine_hits.a3m", "A/uniprot_hits.a3m"]
    assert read_query(written(tmp_path / "pair", texts)) == result.query


def test_a_name_that_occurs_twice(tmp_path: Path) -> None:
    step = REDUCED.steps[0]
    twice = Alignment.of(["query", "r/1-9", "r/1-9", "query"], [ONE, "-" * 10, ONE, ONE])
    found = (Found(step, twice),)
    chain = aligned(("A",), ONE, found)
    texts = msa_files(SearchResult(Query("q", (chain,)), "reduced", (found,)))
    read = parse_stockholm(texts[step.file])
    assert read.headers == ("query", "r/1-9", "r/1-9/2", "query/2")
    assert read.texts == twice.texts

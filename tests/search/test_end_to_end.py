"""AlphaFold's data pipeline and Foldry's on the same databases: the same rows in the same order.

AlphaFold's half is written from its description: Debian's `jackhmmer` and `hhblits` with its
command lines, and its reading, cutting and joining of their files.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from foldry.features.msa import merge_alignments
from foldry.inputs.queries import read_query
from foldry.query import Alignment, Chain, Query
from foldry.search.databases import Database, inspect
from foldry.search.msas import msa_files
from foldry.search.recipes import FULL, REDUCED, Recipe, Step
from foldry.search.result import SearchResult
from foldry.search.search import Search
from foldry.store.cache import Cache
from tests.dataset.test_packs import reader
from tests.search.hhsuite import build, need_hhsuite

JACKHMMER = "jackhmmer -o /dev/null -A {out} --noali --F1 0.0005 --F2 5e-05 --F3 5e-07"
JACKHMMER += " --incE 0.0001 -E 0.0001 --cpu 1 -N 1 {query} {uniref90}"
HHBLITS = "hhblits -i {query} -cpu 1 -oa3m {out} -o /dev/null -n 3 -e 0.001 -maxseq 1000000"
HHBLITS += " -realign_max 100000 -maxfilt 100000 -min_prefilter_hits 1000 -d {bfd} -d {uniref30}"
FILES = {
    "uniref90_hits.sto": JACKHMMER,
    "bfd_uniref_hits.a3m": HHBLITS,
    "small_bfd_hits.sto": JACKHMMER.replace("uniref90", "small_bfd"),
    "mgnify_hits.sto": JACKHMMER.replace("uniref90", "mgnify"),
    "uniprot_hits.sto": JACKHMMER.replace("uniref90", "uniprot"),
}
ORDER = {
    "reduced": ("uniref90_hits.sto", "small_bfd_hits.sto", "mgnify_hits.sto"),
    "full": ("uniref90_hits.sto", "bfd_uniref_hits.a3m", "mgnify_hits.sto"),
}
CAPS = {"uniref90_hits.sto": 10_000, "mgnify_hits.sto": 501, "uniprot_hits.sto": 50_000}
TIGHT = {"uniref90_hits.sto": 9, "mgnify_hits.sto": 5, "uniprot_hits.sto": 7}
AMINO = "ARNDCQEGHILKMFPSTWYVX-"
STANDS_FOR = str.maketrans("UBZJO", "CDEXX")
CHAINS = ("4jcq_A", "2d7j_A", "1io2_A")
MAX_TEXT = 24_000_000
MAX_ROWS = 101
NUM_ALIGNMENTS = 30


@dataclass(frozen=True)
class Row:
    """One row as AlphaFold reads it."""

    name: str
    letters: str
    deletions: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """The databases of the tests, the proteins, and what the programs found for them."""

    databases: Mapping[str, Database]
    sequences: Sequence[str]
    found: Mapping[str, Mapping[str, Sequence[Row]]]


def from_stockholm(text: str) -> list[Row]:
    """Rows of a Stockholm file; columns in which the query has a gap are insertions."""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "//")):
            name, letters = line.split()
            rows[name] = rows.get(name, "") + letters
    query = next(iter(rows.values()))
    return [
        from_a3m_row(name, "".join(map(in_a3m, query, letters))) for name, letters in rows.items()
    ]


def in_a3m(ours: str, theirs: str) -> str:
    """The letter of a row in a3m where the query has `ours`: "" for a gap in an insertion."""
    return theirs if ours != "-" else theirs.lower().replace("-", "")


def from_a3m(text: str) -> list[Row]:
    """Rows of an a3m file."""
    records = [record.split("\n", 1) for record in text[1:].split("\n>")]
    return [from_a3m_row(name, letters.replace("\n", "")) for name, letters in records]


def from_a3m_row(name: str, text: str) -> Row:
    """A row of a3m; insertions after the last residue do not count."""
    letters, deletions, waiting = [], [], 0
    for letter in text:
        if letter.islower():
            waiting += 1
            continue
        letters.append(letter)
        deletions.append(waiting)
        waiting = 0
    return Row(name, "".join(letters), tuple(deletions))


def joined(parts: Sequence[Sequence[Row]]) -> list[Row]:
    """The first of the rows with the same letters, in the order of the files."""
    first: dict[str, Row] = {}
    for row in (row for part in parts for row in part):
        first.setdefault(row.letters, row)
    return list(first.values())


def kept(found: Mapping[str, Sequence[Row]], name: str, caps: Mapping[str, int]) -> list[list[Row]]:
    """The rows that AlphaFold keeps of each file of a recipe, in its order."""
    return [list(found[file][: caps.get(file)]) for file in ORDER[name]]


def every(parts: Sequence[Sequence[Row]]) -> list[Row]:
    """The query, and the other rows of all files."""
    return [*parts[0], *(row for part in parts[1:] for row in part[1:])]


def rows_of(alignment: Alignment) -> list[Row]:
    deletions = map(tuple, alignment.deletions.tolist())
    return list(map(Row, alignment.headers, alignment.sequences, deletions))


@pytest.fixture(scope="module")
def place(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    if shutil.which("jackhmmer") is None:
        pytest.skip("needs jackhmmer (Debian: apt install hmmer)")
    need_hhsuite()
    folder = tmp_path_factory.mktemp("databases")
    with gzip.open(data_dir / "seqdb" / "demo_db.fasta.gz", "rt") as file:
        records = file.read(MAX_TEXT)[1:].split("\n>")[:-1]
    # They overlap, so that some rows are found twice.
    parts = {
        "uniref90": records[::2],
        "small_bfd": records[::3],
        "mgnify": records[1::3],
        "uniprot": [f"tr|A{n:05}|A{n:05}_SP{n % 7} {each}" for n, each in enumerate(records[::2])],
    }
    for name, some in parts.items():
        (folder / f"{name}.fasta").write_text("".join(f">{record}\n" for record in some))
    msas = data_dir / "msas"
    pack = reader(msas / "read_msas.py").MsaPack(msas / "msas-val.npz")
    others = [name for name in pack.ids if name not in CHAINS and 30 < len(pack[name]["msa"]) < 100]
    halves: dict[str, dict[str, str]] = {"bfd": {}, "uniref30": {}}
    sequences = []
    for name in (*CHAINS, *others[: NUM_ALIGNMENTS // 2 - len(CHAINS)]):
        query, *rows = pack.a3m(name)[1:].split("\n>")[:MAX_ROWS]
        sequences.append(query.split("\n")[1])
        for first, half in enumerate(halves.values()):
            half[name] = "".join(f">{row.strip()}\n" for row in (query, *rows[first::2]))
    paths = {name: folder / f"{name}.fasta" for name in parts}
    paths |= {name: build(folder / name, half) for name, half in halves.items()}
    databases = {name: inspect(path, name) for name, path in paths.items()}
    sequences = sequences[: len(CHAINS)]
    places = {name: str(path) for name, path in paths.items()}
    found = {each: official_files(each, places, tmp_path_factory) for each in sequences}
    return Place(databases, sequences, found)


def official_files(
    sequence: str, places: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Sequence[Row]]:
    """The rows of each file of AlphaFold's folder."""
    folder = tmp_path_factory.mktemp("official")
    query = folder / "query.fasta"
    query.write_text(f">query\n{sequence}\n")
    found: dict[str, Sequence[Row]] = {}
    for name, command in FILES.items():
        words = command.format(query=query, out=folder / name, **places).split()
        subprocess.run(words, check=True, capture_output=True)
        text = (folder / name).read_text()
        found[name] = from_a3m(text) if name.endswith(".a3m") else from_stockholm(text)
    return found


def searched(
    place: Place, recipe: Recipe, caps: Mapping[str, int], queries: Sequence[Query], cache: Path
) -> list[SearchResult]:
    """The results of a search that finds nothing in its cache, and the same from its cache."""

    def cut(step: Step) -> Step:
        return replace(step, max_rows=caps.get(step.file))

    pairing = recipe.pairing and cut(recipe.pairing)
    recipe = replace(recipe, steps=tuple(map(cut, recipe.steps)), pairing=pairing)
    search = Search(recipe, place.databases, Cache(cache))
    results, again = list(search.run(queries)), list(search.run(queries))
    assert [each.query for each in again] == [each.query for each in results]
    found = [each for result in again for chain in result.found for each in chain]
    assert {each.seconds for each in found} == {None}
    return results


def check_folder(
    texts: Mapping[str, str],
    found: Mapping[str, Sequence[Row]],
    caps: Mapping[str, int],
    start: str = "",
) -> None:
    """Check that files have the rows that AlphaFold keeps of its own, of all searches."""
    names = [name for name in texts if name.startswith(start) and not name.endswith(".json")]
    assert len(names) == len(ORDER["reduced"]) + bool(start)
    for name in names:
        rows = from_a3m(texts[name]) if name.endswith(".a3m") else from_stockholm(texts[name])
        file = name.removeprefix(start)
        assert rows == list(found[file][: caps.get(file)])


def written(folder: Path, texts: Mapping[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / "msas" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("caps", [CAPS, TIGHT], ids=["AlphaFold's caps", "tight caps"])
@pytest.mark.parametrize("recipe", [REDUCED, FULL], ids=lambda recipe: recipe.name)
def test_proteins(recipe: Recipe, caps: Mapping[str, int], place: Place, tmp_path: Path) -> None:
    assert {step.file: step.max_rows for step in recipe.steps if step.max_rows} == {
        name: cap for name, cap in CAPS.items() if name != "uniprot_hits.sto"
    }
    queries = [Query("protein", (Chain(("A",), each),)) for each in place.sequences]
    results = searched(place, recipe, caps, queries, tmp_path / "cache")
    depths = set()
    for sequence, result in zip(place.sequences, results, strict=True):
        [chain] = result.query.chains
        assert chain.sequence == sequence
        assert chain.alignment is not None
        assert chain.paired is None
        official = place.found[sequence]
        parts = kept(official, recipe.name, caps)
        assert rows_of(chain.alignment) == every(parts)
        expected = joined(parts)
        merged = merge_alignments([chain.alignment])
        codes = [[AMINO.index(a) for a in row.letters.translate(STANDS_FOR)] for row in expected]
        assert np.array_equal(merged.codes, codes)
        assert np.array_equal(merged.deletions, [row.deletions for row in expected])
        assert len(expected) < len(every(parts)), "a row is found twice"
        depths.add(len(expected))
        texts = msa_files(result)
        check_folder(texts, official, caps)
        assert read_query(written(tmp_path / sequence[:9] / "protein", texts)) == result.query
    assert len(depths) == len(place.sequences)


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("caps", [CAPS, TIGHT], ids=["AlphaFold's caps", "tight caps"])
def test_a_complex(caps: Mapping[str, int], place: Place, tmp_path: Path) -> None:
    first, second, _ = place.sequences
    chains = (Chain(("A", "C"), first), Chain(("B",), second))
    queries = [Query("a_complex", chains)]
    [result] = searched(place, REDUCED, caps, queries, tmp_path / "cache")
    for chain in result.query.chains:
        official = place.found[chain.sequence]
        assert chain.alignment is not None
        assert chain.paired is not None
        assert rows_of(chain.alignment) == every(kept(official, "reduced", caps))
        rows = official["uniprot_hits.sto"]
        assert rows_of(chain.paired) == list(rows[: caps["uniprot_hits.sto"]])
        assert chain.paired.num_rows > 6
        check_folder(msa_files(result), official, caps, f"{chain.ids[0]}/")
    assert read_query(written(tmp_path / "a_complex", msa_files(result))) == result.query


@pytest.mark.tools
@pytest.mark.slow
def test_a_homomer_is_not_searched_for_pairing(place: Place, tmp_path: Path) -> None:
    query = Query("dimer", (Chain(("A", "B"), place.sequences[0]),))
    [result] = searched(place, REDUCED, CAPS, [query], tmp_path / "cache")
    assert result.query.chains[0].paired is None
    assert [name for name in msa_files(result) if "uniprot" in name] == []
    assert read_query(written(tmp_path / "dimer", msa_files(result))) == result.query

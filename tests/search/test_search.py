"""Which chains are searched for, in which databases, and what becomes of the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from foldry.errors import DiskFullError, InputError, MissingError, OutsideError
from foldry.formats.job import job_json, parse_jobs
from foldry.query import Alignment, Chain, Query, Source
from foldry.search import databases
from foldry.search.databases import FASTA, HHSUITE, MMSEQS, Database, Registry
from foldry.search.engines import engine_of
from foldry.search.hmmer import Hmmer, HmmerSettings
from foldry.search.recipes import COLABFOLD, FULL, REDUCED, Recipe, Step
from foldry.search.result import SearchResult
from foldry.search.search import Search, find_search, unaligned
from foldry.store.cache import Cache
from tests.conftest import ROOT

ONE, TWO, THREE = "MKTAYIAKQR", "MKVAYI", "GGSAYIPQ"


@dataclass
class Fake:
    """An engine that finds two rows for each sequence, and notes what it was asked for."""

    name: str
    passes: list[tuple[str, tuple[str, ...]]]
    source: Source = field(default_factory=lambda: Source("fake", "none"))

    @property
    def identity(self) -> str:
        return self.name

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        self.passes.append((self.name, tuple(sequences)))
        for each in sequences:
            yield Alignment.of(["query", f"{self.name}1", f"{self.name}2"], [each, each, each])

    def pairs(self, complexes: Sequence[Sequence[str]]) -> Iterator[tuple[Alignment, ...]]:
        for each in complexes:
            self.passes.append((f"{self.name} pairs", tuple(each)))
            yield tuple(Alignment.of(["query", "pair"], [one, one]) for one in each)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    noted: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(Search, "_engine", lambda _, step: Fake(step.databases[0], noted))
    monkeypatch.setattr(Search, "check", lambda *_: None)
    return noted


def search(recipe: Recipe, tmp_path: Path) -> Search:
    return Search(recipe, {}, Cache(tmp_path / "cache"))


def chain(name: str, sequence: str, *rows: str) -> Chain:
    alignment = Alignment.of(["q"] * (1 + len(rows)), [sequence, *rows]) if rows else None
    return Chain((name,), sequence, alignment)


def headers(alignment: Alignment | None) -> tuple[str, ...]:
    return alignment.headers[1:] if alignment else ()


def test_each_sequence_is_searched_for_once_in_one_pass(
    passes: list[tuple[str, tuple[str, ...]]], tmp_path: Path
) -> None:
    queries = [
        Query("one", (chain("A", ONE),)),
        Query("dimer", (Chain(("A", "B"), ONE),)),
        Query("two", (chain("A", TWO),)),
        Query("own", (chain("A", THREE, THREE),)),
    ]
    begun: list[Step] = []
    results = list(search(REDUCED, tmp_path).run(queries, begun.append))
    assert begun[:3] == list(REDUCED.steps)
    names = ("uniref90", "small_bfd", "mgnify")
    assert passes == [(name, (ONE, TWO)) for name in names]
    rows = tuple(f"{name}{number}" for name in names for number in (1, 2))
    assert [headers(each.query.chains[0].alignment) for each in results] == [
        *[rows] * 3,
        ("q",),
    ]
    assert [each.query.name for each in results] == ["one", "dimer", "two", "own"]
    assert [len(each.found[0]) for each in results] == [3, 3, 3, 0]
    assert {found.seconds is None for each in results for found in each.found[0]} == {False}
    again = list(search(REDUCED, tmp_path).run(queries[:1]))
    assert len(passes) == 3
    assert again[0].query == results[0].query
    assert [found.seconds for found in again[0].found[0]] == [None] * 3


def test_rows_beyond_the_cap_are_left_out(
    passes: list[tuple[str, tuple[str, ...]]], tmp_path: Path
) -> None:
    steps = (Step("jackhmmer", ("a",), "a.sto", 2), Step("jackhmmer", ("b",), "b.sto", 1))
    [result] = search(Recipe("r", steps), tmp_path).run([Query("q", (chain("A", ONE),))])
    assert headers(result.query.chains[0].alignment) == ("a1",)
    assert [each.alignment.num_rows for each in result.found[0]] == [2, 1]
    assert len(passes) == 2


def test_only_complexes_of_different_chains_are_searched_for_pairs(
    passes: list[tuple[str, tuple[str, ...]]], tmp_path: Path
) -> None:
    queries = [
        Query("alone", (chain("A", ONE),)),
        Query("copies", (Chain(("A", "B"), TWO),)),
        Query("complex", (chain("A", ONE), chain("B", THREE), chain("C", TWO, TWO))),
    ]
    alone, copies, complexed = search(FULL, tmp_path).run(queries)
    assert passes[-1] == ("uniprot", (ONE, THREE))
    assert alone.query.chains[0].paired is copies.query.chains[0].paired is None
    assert [headers(each.paired) for each in complexed.query.chains] == [
        ("uniprot1", "uniprot2"),
        ("uniprot1", "uniprot2"),
        (),
    ]
    assert [len(each) for each in complexed.found] == [4, 4, 0]
    assert not complexed.query.paired_by_row


def test_pairs_are_cut_too(passes: list[tuple[str, tuple[str, ...]]], tmp_path: Path) -> None:
    step = Step(COLABFOLD, ("uniref30",), "colabfold.a3m", 1)
    query = Query("complex", (chain("A", ONE), chain("B", TWO)))
    [result] = search(Recipe("r", (step,), step), tmp_path).run([query])
    assert [headers(each.paired) for each in result.query.chains] == [(), ()]
    assert [name for name, _ in passes] == ["uniref30", "uniref30 pairs"]


def test_colabfold_pairs_rows_by_their_number(
    passes: list[tuple[str, tuple[str, ...]]], tmp_path: Path
) -> None:
    step = Step(COLABFOLD, ("uniref30",), "colabfold.a3m")
    recipe = Recipe("colabfold", (step,), step)
    queries = [
        Query("complex", (Chain(("A", "B"), ONE), chain("C", TWO))),
        Query("partly", (chain("A", ONE), chain("B", THREE, THREE))),
    ]
    complexed, partly = search(recipe, tmp_path).run(queries)
    assert passes == [("uniref30", (ONE, TWO)), ("uniref30 pairs", (ONE, TWO))]
    assert complexed.query.paired_by_row
    assert [headers(each.paired) for each in complexed.query.chains] == [("pair",), ("pair",)]
    assert not partly.query.paired_by_row, "the other chain has no rows to pair with"
    assert [each.paired for each in partly.query.chains] == [None, None]
    assert headers(partly.query.chains[0].alignment) == ("uniref301", "uniref302")
    again = [each.query for each in search(recipe, tmp_path).run(queries)]
    assert again == [complexed.query, partly.query]
    assert len(passes) == 2


def test_a_query_for_which_a_program_fails_does_not_stop_the_others(
    passes: list[tuple[str, tuple[str, ...]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Fake.query

    def fails(engine: Fake, sequences: Sequence[str]) -> Iterator[Alignment]:
        if TWO in sequences:
            raise OutsideError("hhblits failed", "run it again")
        yield from asked(engine, sequences)

    monkeypatch.setattr(Fake, "query", fails)
    queries = [Query(f"q{n}", (chain("A", each),)) for n, each in enumerate((ONE, TWO, THREE))]
    found = search(REDUCED, tmp_path).attempt(queries)
    assert [type(each) for each in found] == [SearchResult, OutsideError, SearchResult]
    assert {each for _, each in passes} == {(ONE,), (THREE,)}

    def is_missing(*_: object) -> None:
        raise MissingError("is missing", "restore it", where="The database")

    with monkeypatch.context() as patch:
        patch.setattr(Search, "check", is_missing)
        found = search(REDUCED, tmp_path / "third").attempt(queries)
    assert [str(each) for each in found] == ["The database is missing: restore it."] * 3

    def is_full(*_: object) -> Iterator[Alignment]:
        raise DiskFullError("is full", where="The disk")

    monkeypatch.setattr(Fake, "query", is_full)
    with pytest.raises(DiskFullError):
        search(FULL, tmp_path / "other").attempt(queries)


def test_an_empty_alignment_is_kept_and_a_missing_one_is_searched_for(tmp_path: Path) -> None:
    def protein(name: str, **more: object) -> str:
        return json.dumps({"protein": {"id": name, "sequence": ONE, **more}})

    entries = [
        protein("A", unpairedMsa=""),
        protein("B", unpairedMsa=None),
        protein("C"),
        protein("D", unpairedMsaPath="empty.a3m"),
        protein("E", unpairedMsa=f">q\n{ONE}\n"),
        protein("F", pairedMsa=f">q\n{ONE}\n"),
    ]
    (tmp_path / "empty.a3m").touch()
    text = f'{{"name": "q", "sequences": [{", ".join(entries)}]}}'
    [query] = parse_jobs(text, tmp_path / "q.json")
    assert [each.ids[0] for each in unaligned(query)] == ["B", "C", "F"]
    [again] = parse_jobs(job_json(query), tmp_path / "q.json")
    assert again.chains == query.chains
    by_row = replace(query, chains=query.chains[1:2], paired_by_row=True)
    assert unaligned(by_row) == []


def database(name: str, kind: str) -> Database:
    is_clustered = kind == MMSEQS and name != "plain"
    return Database(name, kind, f"/nowhere/{name}", 1, 1, 1, "0", is_clustered=is_clustered)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def register(
    registry: Registry, databases: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {name: database(name, kind) for name, kind in databases.items()}
    monkeypatch.setattr(registry, "databases", lambda: found)


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        ({}, None),
        ({"b": FASTA, "u": MMSEQS, "a": FASTA}, ("small", ["b", "a"])),
        ({"plain": MMSEQS, "h": HHSUITE}, None),
        ({"my_env": MMSEQS, "u": MMSEQS, "plain": MMSEQS}, ("colabfold", ["u", "my_env"])),
        ({"my_env": MMSEQS}, None),
    ],
)
def test_the_default_depends_on_what_is_registered(
    databases: Mapping[str, str],
    expected: tuple[str, list[str]] | None,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(registry, databases, monkeypatch)
    found = find_search(registry=registry)
    assert expected == (
        found and (found.recipe.name, [n for each in found.recipe.steps for n in each.databases])
    )


def test_what_is_missing_is_named(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    register(registry, {"uniref90": FASTA, "mgnify": FASTA}, monkeypatch)
    reduced = find_search("reduced", registry=registry)
    assert reduced is not None
    query = Query("q", (chain("A", ONE),))
    with pytest.raises(MissingError, match="reduced searches small_bfd, which is not registered"):
        reduced.check([query])
    pair = Query("p", (chain("A", ONE), chain("B", TWO)))
    with pytest.raises(MissingError, match="small_bfd, uniprot, which are not registered"):
        reduced.check([query, pair])
    says = "colabfold has nothing to search: no clustered MMseqs2 database is registered"
    with pytest.raises(MissingError, match=says):
        find_search("colabfold", registry=registry)
    assert find_search("none", registry=registry) is None
    with pytest.raises(InputError, match=r"There is no recipe 'mine': choose one of none, .*"):
        find_search("mine", registry=registry)
    for name in ("fold.lab.org", "fold.lab.org:80", "fold.lab.org/api", "localhost:80"):
        says = f"There is no recipe '{name}': if it is a server, write https:// before it; "
        with pytest.raises(InputError, match=says):
            find_search(name, registry=registry)
    with pytest.raises(InputError, match=r"\./fold\.lab\.org does not exist"):
        find_search("../fold.lab.org", registry=registry)
    with pytest.raises(InputError, match="give one that begins with https:// or http://, such as"):
        find_search("ftp://fold.lab.org", registry=registry)
    with pytest.raises(InputError, match=r"There is no recipe '\.hidden': choose"):
        find_search(".hidden", registry=registry)
    register(registry, {"a": MMSEQS, "b": MMSEQS}, monkeypatch)
    says = "small has nothing to search: no FASTA file for alignments is registered"
    with pytest.raises(MissingError, match=says):
        find_search("small", registry=registry)
    with pytest.raises(InputError, match="colabfold could search a, b"):
        find_search(registry=registry)


def test_a_database_of_another_kind_is_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("uniref90", "small_bfd", "mgnify")
    register(registry, dict.fromkeys(names, FASTA) | {"mgnify": MMSEQS}, monkeypatch)
    reduced = find_search("reduced", registry=registry)
    assert reduced is not None
    with pytest.raises(InputError, match="is the MMseqs2 database mgnify: give jackhmmer"):
        reduced.check([Query("q", (chain("A", ONE),))])


RECIPE = """
[[search]]
engine = "jackhmmer"
databases = ["lab"]
max_rows = 30
E = 1

[[search]]
engine = "hhblits"
databases = ["bfd", "uniref30"]

[pairing]
engine = "jackhmmer"
databases = ["uniprot"]
"""


def test_a_recipe_of_the_user(registry: Registry, tmp_path: Path) -> None:
    folder = registry.folder / "recipes"
    folder.mkdir(parents=True)
    (folder / "lab.toml").write_text(RECIPE)
    found = find_search("lab", registry=registry)
    assert found is not None
    assert found.recipe == Recipe(
        "lab",
        (
            Step("jackhmmer", ("lab",), "lab_hits.sto", 30, (("E", 1),), described=True),
            Step("hhblits", ("bfd", "uniref30"), "bfd_uniref30_hits.a3m"),
        ),
        Step("jackhmmer", ("uniprot",), "uniprot_hits.sto", described=True),
    )
    by_path = find_search(str(folder / "lab.toml"), registry=registry)
    assert by_path is not None
    assert by_path.recipe == found.recipe


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[[search]]", "[[search", "is not valid TOML"),
        ("[pairing]", "[pairs]", "has the unknown key 'pairs': use only"),
        ('engine = "hhblits"', "", r"search 2, has no engine: choose one of jackhmmer"),
        ('"hhblits"', '"blast"', r"search 2, has the engine 'blast': choose one of"),
        ('["lab"]', "[]", r"search 1, has the databases \[\]"),
        ('["lab"]', '["../lab"]', r"search 1, has the databases \['\.\./lab'\]"),
        ('["uniprot"]', "5", r"pairing, has the databases 5"),
        ("= 30", "= 0", r"has the max_rows 0: give a whole number from 1 to"),
        ("E = 1", "e = 1", r"has the unknown key 'e': use only E, F1"),
        ('["bfd", "uniref30"]', '["lab"]', None),
        ('"hhblits"\ndatabases = ["bfd", "uniref30"]', '"jackhmmer"\ndatabases = ["lab"]', "twice"),
        (RECIPE, "", "is not a recipe: write"),
        (RECIPE, 'search = ["jackhmmer"]', r"search 1, is not a table: write"),
        (RECIPE, f"a = {'9' * 5000}", "is not valid TOML"),
        (RECIPE, f"a = {'[' * 100_000}", "is nested too deeply|is not valid TOML"),
    ],
)
def test_what_is_not_a_recipe(
    before: str, after: str, says: str | None, registry: Registry, tmp_path: Path
) -> None:
    assert before in RECIPE
    path = tmp_path / "lab.toml"
    path.write_text(RECIPE.replace(before, after))
    if says is None:
        assert find_search(str(path), registry=registry) is not None
        return
    with pytest.raises(InputError, match=says):
        find_search(str(path), registry=registry)


def test_the_settings_of_a_recipe_reach_its_engine(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "lab.fasta"
    path.write_text(">a\nMKT\n")
    step = Step("jackhmmer", ("lab",), "lab_hits.sto", 30, (("E", 1), ("F1", 0.5)))
    engine = engine_of(step, {"lab": registry.add(path)}, 3)
    assert isinstance(engine, Hmmer)
    assert engine.settings == replace(HmmerSettings(), E=1.0, F1=0.5)
    assert (engine.num_threads, engine.max_rows) == (3, 30)


@pytest.mark.parametrize("value", ['"1"', "-1", "true", "nan", "[1]", f"1{'0' * 400}", "inf"])
def test_settings_of_engines_are_numbers(value: str, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "lab.fasta").write_text(">a\nMKT\n")
    registry.add(tmp_path / "lab.fasta")
    path = tmp_path / "r.toml"
    text = f'[[search]]\nengine = "jackhmmer"\ndatabases = ["lab"]\nE = {value}\n'
    path.write_text(text)
    found = find_search(str(path), registry=registry)
    assert found is not None
    with pytest.raises(
        InputError, match=r"The recipe sets E of jackhmmer to .*: give a value such as"
    ):
        found.check([])


def test_a_folder_of_fasta_files(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(InputError, match="mine is a folder without a FASTA file or a structure"):
        find_search(str(folder), registry=registry)
    (folder / "b.faa").write_text(f">b\n{TWO}\n")
    (folder / "a.fasta").write_text(f">a\n{ONE}\n")
    (folder / ".hidden.fasta").write_text("nonsense")
    (folder / "notes.txt").write_text("nonsense")
    found = find_search(str(folder), registry=registry)
    assert found is not None
    assert (found.recipe.name, list(found.databases)) == ("mine", ["a", "b"])
    assert registry.databases() == {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    full = find_search("full", registry=registry)
    assert full is not None
    assert full.recipe is FULL, "not the folder"
    (folder / "a.fa").write_text(f">a\n{ONE}\n")
    with pytest.raises(InputError, match="several FASTA files that would have one name"):
        find_search(str(folder), registry=registry)
    with pytest.raises(InputError, match="nowhere does not exist"):
        find_search(str(tmp_path / "nowhere"), registry=registry)


def test_the_example_finds_its_homologues(tmp_path: Path) -> None:
    examples = ROOT / "examples"
    cache = Cache(tmp_path)
    found = find_search(str(examples / "database"), cache=cache, registry=Registry(tmp_path))
    assert found is not None
    text = (examples / "kunitz" / "1adz.fasta").read_text().splitlines()
    [result] = found.run([Query("1adz", (chain("A", text[1]),))])
    alignment = result.query.chains[0].alignment
    assert alignment is not None
    assert 15 < alignment.num_rows < 40
    assert alignment.headers[1].startswith(("sp|", "tr|"))
    assert {" OS=" in header for header in alignment.headers[1:]} == {True}
    assert "/" in alignment.headers[1].split()[0]


def test_without_a_home_folder_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("FOLDRY_DATABASES")
    monkeypatch.setattr(Path, "home", homeless)
    assert find_search() is None
    assert find_search("none") is None
    with pytest.raises(InputError, match="no home folder for the list of databases"):
        find_search("small")


def test_kept_searches_have_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDRY_SEARCHES", "/lab/searches")
    assert databases.default_cache() == Path("/lab/searches")
    monkeypatch.delenv("FOLDRY_SEARCHES")
    monkeypatch.setenv("HOME", "/home/someone")
    assert databases.default_cache() == Path("/home/someone/.cache/foldry/searches")

"""Which chains are searched for templates, with which rows, and what is kept of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError, MemoryShortError, MissingError, OutsideError
from foldry.formats.job import job_json, parse_jobs
from foldry.query import Alignment, Chain, Hit, Query, Source
from foldry.search import realign, recipes
from foldry.search.databases import FASTA, HHSUITE, MMSEQS, STRUCTURES, Database, Registry
from foldry.search.engines import SETTINGS, template_search
from foldry.search.hhsearch import HHSearch
from foldry.search.hits import AlignedHit
from foldry.search.hmmsearch import HmmSearch
from foldry.search.realign import realigner
from foldry.search.recipes import COLABFOLD, FULL, HHSEARCH, HMMSEARCH, REDUCED, Recipe, Step
from foldry.search.result import SearchResult
from foldry.search.search import Search, find_search, lacks_templates
from foldry.search.template_search import JoinedLibraries, TemplateSearch
from foldry.search.templates import Rules
from foldry.store.cache import Cache
from foldry.store.files import names
from tests.search.test_templates import HIT, SEQUENCE, Entries, deposited, hit

OTHER = SEQUENCE[::-1]
NO_TEXT = b'{"hits": [{"name": "1abc_A", "mmcif": 5, "pairs": []}], "left_out": []}'


@dataclass
class Finder:
    """An engine that finds the same hits for every alignment, and notes what it was asked for."""

    found: Sequence[AlignedHit] = (hit(), hit("9xyz_A"))
    passes: list[list[Alignment]] = field(default_factory=list)
    identity: str = "finder"
    source: Source = field(default_factory=lambda: Source("finder", "library"))

    def hits(self, alignments: Sequence[Alignment]) -> Iterator[list[AlignedHit]]:
        self.passes.append(list(alignments))
        for each in alignments:
            if each.query.startswith("GGG"):
                raise OutsideError("hhsearch failed", "run it again")
            yield list(self.found)


def library() -> Entries:
    return Entries({"1abc": deposited({"A": HIT})})


def finder(tmp_path: Path, engine: Finder) -> TemplateSearch:
    return TemplateSearch(engine, library(), {"lab": "1"}, Rules(), Cache(tmp_path / "cache"))


def rows(*sequences: str) -> Alignment:
    return Alignment.of([f"row{number}" for number in range(len(sequences))], sequences)


# What is kept


def test_equal_alignments_are_searched_for_once(tmp_path: Path) -> None:
    engine = Finder()
    asked = [rows(SEQUENCE), rows(SEQUENCE, HIT), rows(SEQUENCE), rows(SEQUENCE, HIT, HIT)]
    found = list(finder(tmp_path, engine).run(asked))
    assert [[each.num_rows for each in one] for one in engine.passes] == [[1, 2]]
    assert all(seconds is not None for _, seconds in found)
    for templates, _ in found:
        [template] = templates.hits
        assert (template.name, template.how, template.coverage) == ("1abc_A", "same chain", 1.0)
        assert template.release_date == "2005-11-20"
        assert [each.name for each in templates.left_out] == ["9xyz_A"]
    again = list(finder(tmp_path, engine).run(asked))
    assert len(engine.passes) == 1
    assert [seconds for _, seconds in again] == [None] * 4
    for (new, _), (kept, _) in zip(found, again, strict=True):
        assert new.hits == kept.hits
        scores = ("e_value", "probability", "identity", "coverage", "how")
        for one, other in zip(new.hits, kept.hits, strict=True):
            assert [getattr(one, each) for each in scores] == [
                getattr(other, each) for each in scores
            ]
        assert new.left_out == kept.left_out


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": Finder(identity="another")},
        {"versions": {"lab": "2"}},
        {"rules": Rules("2005-11-19")},
        {"rules": Rules(max_hits=1)},
    ],
    ids=["engine", "library", "date", "rules"],
)
def test_what_a_kept_search_depends_on(tmp_path: Path, changes: dict[str, object]) -> None:
    list(finder(tmp_path, Finder()).run([rows(SEQUENCE)]))
    other = replace(finder(tmp_path, Finder()), **changes)  # type: ignore[arg-type]
    [(templates, seconds)] = other.run([rows(SEQUENCE)])
    assert seconds is not None
    if "date" in str(changes) and other.rules.max_date:
        assert templates.hits == ()
        assert templates.left_out[0].reason == "was released on 2005-11-20, after 2005-11-19"


def test_kept_templates_are_those_of_the_program_that_realigns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Finder()
    before = realigner()
    list(finder(tmp_path, engine).run([rows(SEQUENCE)]))
    monkeypatch.setattr(realign, "find_spec", lambda _: None)
    for place in (None, "/bin/kalign"):
        monkeypatch.setattr(shutil, "which", lambda _, place=place: place)
        assert realigner() == ((place and "kalign") or "Foldry") != before
        list(finder(tmp_path, engine).run([rows(SEQUENCE)]))
    assert len(engine.passes) == 3


@pytest.mark.parametrize(
    "damaged", [b"", b"[]", b'{"hits": [{}], "left_out": []}', NO_TEXT, b"{" * 99]
)
def test_what_is_damaged_is_searched_for_again(tmp_path: Path, damaged: bytes) -> None:
    engine, cache = Finder(), Cache(tmp_path / "cache")
    [(before, _)] = finder(tmp_path, engine).run([rows(SEQUENCE)])
    [entry] = cache.entries()
    cache.put(entry.key, damaged)
    [(after, seconds)] = finder(tmp_path, engine).run([rows(SEQUENCE)])
    assert after.hits == before.hits
    assert seconds is not None


def test_a_cache_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    [(templates, _)] = finder(tmp_path, Finder()).run([rows(SEQUENCE)])
    assert len(templates.hits) == 1
    assert "The search is not kept." in caplog.text


def test_a_template_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> object:
        raise InputError("has no atoms", where="The text")

    monkeypatch.setattr("foldry.search.template_search.parse_template", refuse)
    [(templates, _)] = finder(tmp_path, Finder()).run([rows(SEQUENCE)])
    assert templates.hits == ()
    reasons = [each.reason for each in templates.left_out]
    assert reasons[1] == "cannot be kept, as its structure has no atoms"


def test_a_file_that_is_broken_for_a_while_is_read_again(tmp_path: Path) -> None:
    search, whole = finder(tmp_path, Finder()), library()
    broken = replace(whole, errors={"1abc": InputError("does not exist", where="1abc.cif")})
    [(before, _)] = replace(search, library=broken).run([rows(SEQUENCE)])
    assert [each.name for each in before.left_out] == ["1abc_A", "9xyz_A"]
    [(after, _)] = search.run([rows(SEQUENCE)])
    assert [each.name for each in after.hits] == ["1abc_A"]


def test_the_first_sound_file_of_an_entry_counts() -> None:
    broken = Entries(errors={"1abc": InputError("is cut off")}, replaced={"1old": "1abc"})
    other = Entries(
        {"1abc": deposited({"A": HIT}), "2xyz": deposited({"B": HIT})}, dates={"2xyz": "x"}
    )
    both = JoinedLibraries((broken, other))
    assert list(both.read("1abc").chains) == ["A"]
    assert list(both.read("2xyz").chains) == ["B"]
    assert (both.successor("1old"), both.successor("2xyz")) == ("1abc", "2xyz")
    assert (both.listed_date("2xyz"), both.listed_date("1abc")) == ("x", None)
    with pytest.raises(InputError, match="is cut off"):
        JoinedLibraries((broken, Entries())).read("1abc")
    with pytest.raises(MissingError, match="have no entry 3abc"):
        both.read("3abc")
    short = Entries(errors={"1abc": MemoryShortError("needs more memory")})
    with pytest.raises(MemoryShortError):
        JoinedLibraries((short, other)).read("1abc")


# Which chains are searched for


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finder:
    """The engine of every step; alignments consist of the query and a row named by the step."""
    found = Finder()

    @dataclass
    class Rows:
        step: Step
        source: Source = field(default_factory=lambda: Source("rows", "none"))

        @property
        def identity(self) -> str:
            return self.step.databases[0]

        def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
            for each in sequences:
                yield Alignment.of(["query", self.step.databases[0]], [each, f"A{each[1:]}"])

    monkeypatch.setattr(Search, "_engine", lambda _, step: Rows(step))
    monkeypatch.setattr(Search, "_finder", lambda *_: finder(tmp_path, found))
    monkeypatch.setattr(Search, "check", lambda *_: None)
    return found


def search(recipe: Recipe, tmp_path: Path, databases: Sequence[str] = ("lab",)) -> Search:
    known = {name: Database(name, STRUCTURES, "/", 1, 1, 1, "7") for name in databases}
    complete = recipes.with_templates(recipe, known, has_hhsearch=False)
    return Search(complete, known, Cache(tmp_path / "rows"))


def test_chains_with_templates_or_an_empty_list_of_them_keep_these(
    engine: Finder, tmp_path: Path
) -> None:
    own = Hit("own_A", np.array([[0, 0]]))
    queries = [
        Query("bare", (Chain(("A",), SEQUENCE),)),
        Query("copies", (Chain(("A", "B"), SEQUENCE),)),
        Query("aligned", (Chain(("A",), SEQUENCE, rows(SEQUENCE, HIT)),)),
        Query("given", (Chain(("A",), SEQUENCE, templates=(own,)),)),
        Query("none", (Chain(("A",), SEQUENCE, templates_known=True),)),
        Query("mixed", (Chain(("A",), SEQUENCE, templates_known=True), Chain(("B",), OTHER))),
    ]
    wanted = search(REDUCED, tmp_path)
    assert [wanted.wants(each) for each in queries] == [True] * 6
    begun: list[Step] = []
    results = list(wanted.run(queries, begun.append))
    assert begun[-1].engine == HMMSEARCH
    [asked] = engine.passes
    assert [each.headers for each in asked] == [
        ("query", "uniref90"),  # not the rows of the other databases
        ("row0", "row1"),
        ("query", "uniref90"),
    ]
    assert [each.query for each in asked] == [SEQUENCE, SEQUENCE, OTHER]
    found = [[[t.name for t in c.templates] for c in r.query.chains] for r in results]
    assert found == [[["1abc_A"]], [["1abc_A"]], [["1abc_A"]], [["own_A"]], [[]], [[], ["1abc_A"]]]
    assert results[0].query.chains[0].left_out == (("9xyz_A", "has no file with its structure"),)
    assert [bool(each.templates_of(0)) for each in results] == [True] * 3 + [False] * 3
    assert results[0].versions == {"lab": "1"}, "as it was opened"
    assert not any(wanted.wants(each.query) for each in results)


def test_all_rows_find_templates_without_a_profile(engine: Finder, tmp_path: Path) -> None:
    steps = tuple(Step("jackhmmer", (name,), f"{name}.sto") for name in "ab")
    [_] = search(Recipe("small", steps), tmp_path).run([Query("q", (Chain(("A",), SEQUENCE),))])
    assert engine.passes[0][0].headers == ("query", "a"), "the row of b is the same"


def test_structures_alone_are_searched_with_the_sequence(engine: Finder, tmp_path: Path) -> None:
    bare = search(Recipe("small", ()), tmp_path)
    [result] = bare.run([Query("q", (Chain(("A",), SEQUENCE),))])
    list(bare.run([Query("pair", (Chain(("A",), OTHER), Chain(("B",), SEQUENCE)))]))
    assert [each.sequences for one in engine.passes for each in one] == [(SEQUENCE,), (OTHER,)]
    assert result.query.chains[0].alignment is None
    assert len(result.query.chains[0].templates) == 1


def test_a_failing_program_fails_only_its_queries(engine: Finder, tmp_path: Path) -> None:
    sequences = {"one": SEQUENCE, "bad": f"GGG{SEQUENCE}", "two": OTHER}
    queries = [Query(name, (Chain(("A",), each),)) for name, each in sequences.items()]
    own = Query(
        "own", (Chain(("A",), sequences["bad"], rows(sequences["bad"]), templates_known=True),)
    )
    found = search(REDUCED, tmp_path).attempt([*queries, own])
    assert [type(each) for each in found] == [
        SearchResult,
        OutsideError,
        SearchResult,
        SearchResult,
    ]


def test_chains_of_complexes_have_their_own_search() -> None:
    recipe = replace(FULL, templates=Step("a", (), ""), complex_templates=Step("b", (), ""))
    assert [recipe.template_step(n) for n in (1, 2)] == [recipe.templates, recipe.complex_templates]
    alone = replace(recipe, complex_templates=None)
    assert [alone.template_step(n) for n in (1, 2)] == [recipe.templates] * 2


KINDS = {"pdb70": HHSUITE, "pdb_seqres": FASTA, "lab": STRUCTURES, "pdb": STRUCTURES, "u": MMSEQS}


@pytest.mark.parametrize(
    ("recipe", "registered", "has_hhsearch", "expected"),
    [
        (REDUCED, "pdb70 pdb_seqres", True, None),
        (REDUCED, "lab pdb", True, ("hmmsearch: lab pdb", "hmmsearch: lab pdb")),
        (
            FULL,
            "pdb70 pdb_seqres pdb",
            True,
            ("hhsearch: pdb70 pdb", "hmmsearch: pdb_seqres pdb"),
        ),
        (
            FULL,
            "pdb70 pdb_seqres pdb",
            False,
            ("hmmsearch: pdb_seqres pdb", "hmmsearch: pdb_seqres pdb"),
        ),
        (FULL, "pdb70 pdb", False, ("hmmsearch: pdb", "hmmsearch: pdb")),
        (Recipe("small", ()), "pdb70 pdb_seqres pdb", True, ("hmmsearch: pdb", None)),
        (Recipe(COLABFOLD, ()), "pdb", True, ("mmseqs: pdb", None)),
        (
            Recipe("lab", (), templates=Step(HHSEARCH, ("pdb70",), "")),
            "pdb lab",
            False,
            ("hhsearch: pdb70 pdb lab", None),
        ),
        (
            Recipe("lab", (), templates=Step(HMMSEARCH, ("lab",), "")),
            "pdb lab",
            False,
            ("hmmsearch: lab", None),
        ),
    ],
)
def test_each_recipe_has_its_search_for_templates(
    recipe: Recipe, registered: str, has_hhsearch: bool, expected: tuple[str, str] | None
) -> None:
    databases = {n: Database(n, KINDS[n], "/", 1, 1, 1, "0") for n in registered.split()}
    found = recipes.with_templates(recipe, databases, has_hhsearch=has_hhsearch)
    steps = (found.templates, found.complex_templates)
    said = tuple(each and f"{each.engine}: {' '.join(each.databases)}" for each in steps)
    assert said == (expected or (None, None))


def test_sequences_without_structures_are_not_searched_for_templates() -> None:
    kinds = KINDS | {"proteins": FASTA}
    databases = {name: Database(name, kind, "/", 1, 1, 1, "0") for name, kind in kinds.items()}
    for named in (("proteins",), ("pdb_seqres", "proteins")):
        recipe = Recipe("lab", (), templates=Step(HMMSEARCH, named, ""))
        with pytest.raises(InputError, match="lab finds templates in proteins, which has no struc"):
            recipes.with_templates(recipe, databases, has_hhsearch=False)
        beside = replace(recipe, templates=Step(HMMSEARCH, ("proteins", "lab"), ""))
        assert recipes.with_templates(beside, databases, has_hhsearch=False) == beside


# Recipes of the user


def test_a_recipe_may_choose_its_engine(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    text = '[[search]]\nengine = "jackhmmer"\ndatabases = ["a"]\n'
    path.write_text(f'{text}[templates]\nengine = "hmmsearch"\ndatabases = ["pdb"]\nE = 1\n')
    step = recipes.read_recipe(path, SETTINGS).templates
    assert step == Step(HMMSEARCH, ("pdb",), "pdb_hits", None, (("E", 1),))
    for wrong in ('"jackhmmer"', '"blast"'):
        path.write_text(f'{text}[templates]\nengine = {wrong}\ndatabases = ["pdb"]\n')
        with pytest.raises(
            InputError, match=r"templates, has the engine .*: choose one of hmmsearch"
        ):
            recipes.read_recipe(path, SETTINGS)
    path.write_text('[templates]\nengine = "hmmsearch"\ndatabases = ["pdb"]\n')
    alone = recipes.read_recipe(path, SETTINGS)
    assert (alone.steps, alone.templates) == ((), replace(step, settings=()))
    few = 'engine = "hmmsearch"\ndatabases = ["pdb"]\nmax_rows = 4\n'
    path.write_text(f"{text}[templates]\n{few}")
    with pytest.raises(InputError, match=r"templates, has the key 'max_rows': leave it out"):
        recipes.read_recipe(path, SETTINGS)
    path.write_text(text.replace("jackhmmer", "hhsearch"))
    with pytest.raises(InputError, match="search 1, has the engine 'hhsearch': choose one of jack"):
        recipes.read_recipe(path, SETTINGS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a FASTA file and, further down, a structure; indices are kept elsewhere."""
    monkeypatch.setenv("FOLDRY_SEARCHES", str(tmp_path / "searches"))
    made = tmp_path / "lab"
    (made / "below").mkdir(parents=True)
    (made / "lab.fasta").write_text(f">a\n{HIT}\n")
    chain = Chain(("A",), HIT, templates=(Hit("1abc_A", np.array([[0, 0]]), known()),))
    text = json.loads(job_json(Query("q", (chain,))))
    mmcif = text["sequences"][0]["protein"]["templates"][0]["mmcif"]
    (made / "below" / "1abc.cif").write_text(mmcif)
    return made


def known() -> object:
    return deposited({"A": HIT}).chains["A"]


def test_the_structures_below_a_folder_are_searched(folder: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    query = Query("q", (Chain(("A",), SEQUENCE),))
    found = find_search(str(folder), registry=registry)
    assert found is not None
    assert found.recipe.templates == Step(HMMSEARCH, ("lab_structures",), "pdb_hits")
    assert list(found.databases) == ["lab", "lab_structures"]
    found.check([query])
    [result] = found.run([query])
    [chain] = result.query.chains
    assert [each.name for each in chain.templates] == ["1abc_A"]
    assert chain.alignment is not None
    assert chain.alignment.num_rows == 2
    assert result.databases() == ["lab", "lab_structures"]
    without = find_search(str(folder), registry=registry, search_templates=False)
    assert without is not None
    assert without.recipe.templates is None
    [result] = without.run([query])
    assert lacks_templates(result.query.chains[0]), "the next search may find some"
    (folder / "lab.fasta").unlink()
    alone = find_search(str(folder), registry=registry)
    assert alone is not None
    [result] = alone.run([query])
    assert [each.name for each in result.query.chains[0].templates] == ["1abc_A"]
    with pytest.raises(InputError, match="is a folder without a FASTA file: name another"):
        find_search(str(folder), registry=registry, search_templates=False)


def test_broken_structures_leave_the_alignment(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "below" / "1abc.cif").write_text("nonsense")
    found = find_search(str(folder), registry=Registry(tmp_path / "registry"))
    assert found is not None
    assert found.recipe.templates is None
    assert "No templates are searched for: " in caplog.text
    caplog.clear()
    (folder / "below").rename(folder / ".hidden")
    assert find_search(str(folder), registry=Registry(tmp_path / "registry")) == found
    assert caplog.text == ""
    (folder / ".hidden").rename(folder / "below")
    (folder / "lab.fasta").unlink()
    with pytest.raises(InputError, match="has no PDB, mmCIF or BinaryCIF file with a protein"):
        find_search(str(folder), registry=Registry(tmp_path / "registry"))


def test_registered_structures_belong_to_every_other_search(folder: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    registry.add_structures(folder, "pdb")
    alone = find_search(registry=registry)
    assert alone is not None
    assert (alone.recipe.name, alone.recipe.steps) == ("templates", ())
    assert alone.recipe.templates == Step(HMMSEARCH, ("pdb",), "pdb_hits")
    explicit = find_search("small", registry=registry)
    assert explicit is not None
    assert explicit.recipe == replace(alone.recipe, name="small")
    for search_templates in (True, False):
        by_name = find_search("pdb", registry=registry, search_templates=search_templates)
        assert (by_name and by_name.recipe) == (
            replace(alone.recipe, name="pdb") if search_templates else None
        )
    with pytest.raises(MissingError, match="no FASTA file for alignments is registered"):
        find_search("small", registry=registry, search_templates=False)
    assert find_search(registry=registry, search_templates=False) is None
    by_file = find_search(str(folder / "lab.fasta"), registry=registry)
    assert by_file is not None
    assert list(by_file.databases) == ["lab", "pdb"]
    assert by_file.recipe.templates == alone.recipe.templates
    assert find_search("none", registry=registry) is None
    # The sequences of the PDB are for templates, unless they are named.
    registry.add(folder / "lab.fasta", "pdb_seqres")
    for name in (None, "small"):
        found = find_search(name, registry=registry)
        assert found is not None
        assert found.recipe == replace(alone.recipe, name=name or "templates")
    with pytest.raises(InputError, match=r"choose one of none, .*, colabfold, pdb, pdb_seqres, "):
        find_search("pbd", registry=registry)
    with pytest.raises(InputError, match=r"1abc\.cif is a structure, not a place to search: give"):
        find_search(str(folder / "below" / "1abc.cif"), registry=registry)
    named = find_search("pdb_seqres", registry=registry)
    assert named is not None
    assert [each.databases for each in named.recipe.steps] == [("pdb_seqres",)]


def test_the_engine_of_each_step(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "check", lambda _: None)
    registry = Registry(tmp_path / "registry")
    registry.add_structures(folder, "pdb")
    databases = registry.databases() | {
        "pdb70": Database("pdb70", HHSUITE, "/nowhere", 1, 1, 1, "3"),
        "seqres": registry.add(folder / "lab.fasta", "seqres"),
    }
    cache = Cache(tmp_path / "cache")

    def made(engine: str, *named: str) -> TemplateSearch:
        return template_search(Step(engine, named, ""), databases, "2020-01-01", cache, 2)

    of_library = made(HMMSEARCH, "pdb")
    assert isinstance(of_library.engine, HmmSearch)
    [target] = of_library.engine.targets
    assert target.fasta.read_text().startswith(">1abc_A mol:protein")
    assert of_library.versions == {"pdb": target.version} == {"pdb": databases["pdb"].version}
    assert of_library.rules == Rules("2020-01-01", unique_sequences=True)
    of_seqres = made(HMMSEARCH, "seqres", "pdb").engine
    assert isinstance(of_seqres, HmmSearch)
    assert [each.fasta for each in of_seqres.targets] == [folder / "lab.fasta"]
    by_profile = made(HHSEARCH, "pdb70", "pdb")
    assert isinstance(by_profile.engine, HHSearch)
    assert by_profile.rules == Rules("2020-01-01", by_sum_probs=True)
    with pytest.raises(InputError, match="hhsearch needs a database of profiles"):
        made(HHSEARCH, "pdb")
    with pytest.raises(InputError, match="is the FASTA database seqres: give hhsearch a database"):
        made(HHSEARCH, "seqres", "pdb")
    with pytest.raises(MissingError, match="no library of structures is registered"):
        made(HHSEARCH, "pdb70")


def test_a_database_that_changes_between_two_passes_is_not_searched(
    folder: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    registry.add_structures(folder, "pdb")
    seqres = tmp_path / "pdb_seqres.fasta"
    seqres.write_text(f">1abc_A mol:protein\n{HIT}\n")
    registry.add(seqres)
    step = Step(HMMSEARCH, ("pdb_seqres", "pdb"), "pdb_hits")
    recipe = Recipe("lab", (), templates=step)
    search = Search(recipe, registry.databases(), Cache(tmp_path / "cache"))
    one, two = (Query("q", (Chain(("A",), each),)) for each in (SEQUENCE, OTHER))
    [result] = search.run([one])
    assert [each.name for each in result.query.chains[0].templates] == ["1abc_A"]
    seqres.write_text(f">1abc_A mol:protein\n{OTHER}\n>2abc_A\n{OTHER}\n")
    [error] = search.attempt([two])
    assert "pdb_seqres.fasta is not the database that was recorded" in str(error)


@pytest.mark.parametrize("wrong", ["", "2020", "20200101", "2020-13-01", "today", "2020-02-30"])
def test_a_date_is_checked_first(wrong: str) -> None:
    with pytest.raises(InputError, match="`max_template_date` is "):
        find_search("none", max_template_date=wrong)


def test_an_empty_list_of_templates_is_kept_and_a_missing_one_is_searched_for(
    tmp_path: Path,
) -> None:
    def protein(name: str, **more: object) -> str:
        return json.dumps({"protein": {"id": name, "sequence": SEQUENCE, **more}})

    entries = [
        protein("A", templates=[]),
        protein("B", templates=None),
        protein("C"),
        protein("D", templates=[], unpairedMsa=f">q\n{SEQUENCE}\n"),
        protein("E", templates=None, unpairedMsa=f">q\n{SEQUENCE}\n"),
    ]
    text = f'{{"name": "q", "sequences": [{", ".join(entries)}]}}'
    [query] = parse_jobs(text, tmp_path / "q.json")
    assert [each.ids[0] for each in query.chains if lacks_templates(each)] == ["B", "C", "E"]
    [again] = parse_jobs(job_json(query), tmp_path / "q.json")
    assert [each.ids[0] for each in again.chains if lacks_templates(each)] == ["B", "C", "E"]
    server = {
        "name": "q",
        "modelSeeds": [],
        "dialect": "alphafoldserver",
        "version": 1,
        "sequences": [
            {"proteinChain": {"sequence": SEQUENCE, "count": 1, "useStructureTemplate": wanted}}
            for wanted in (False, True)
        ],
    }
    [query] = parse_jobs(json.dumps(server), tmp_path / "q.json")
    assert [lacks_templates(each) for each in query.chains] == [False, True]


def test_an_address_is_that_of_a_server(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    found = find_search("https://example.org/api/", cache=cache)
    assert found is not None
    assert found.recipe.name == found.recipe.steps[0].databases[0]
    assert "example.org" in found.recipe.name
    assert found.recipe.templates is not None
    without = find_search("http://example.org", cache=cache, search_templates=False)
    assert without is not None
    assert without.recipe.templates is None
    with pytest.raises(InputError, match="has a user name or a password"):
        find_search("https://me:secret@example.org", cache=cache)
    assert names(tmp_path) == [], "nothing was sent or kept"

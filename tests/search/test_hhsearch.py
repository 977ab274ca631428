"""hhsearch: AlphaFold's call, and one sentence for whatever may go wrong."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from foldry.errors import FoldryError, InputError, MissingError, OutsideError
from foldry.query import Alignment, Source
from foldry.search import hhsuite
from foldry.search.databases import Database, inspect
from foldry.search.hhsearch import HHSearch, HHSearchSettings
from tests.search.hhsuite import build, need_hhsuite
from tests.search.mmseqs_databases import protein, relative
from tests.search.template_world import need

NEAR = protein(random.Random(2), 60)
ROWS = Alignment.of(["query"], ["MKT"])
SHOWS_VERSION = 'if [ "$2" = "" ]; then echo "HHsearch 3.3.0"; exit; fi\n'
RESULT = """Query         query
Match_columns 3

No 1
>1abc_A Words
Probab=99.9  E-value=1e-30  Score=190.1  Aligned_cols=3  Identities=81%  Sum_probs=2.5

Q query             {first} MKT    {last} (9)
Q Consensus         {first} mkt    {last} (9)
T 1abc_A            3 MKT    5 (30)


"""


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Database, ...]:
    """Two databases of few proteins; the names are in capital letters, as in `pdb70`."""
    need_hhsuite()
    need("hhsearch")
    chance, folder = random.Random(3), tmp_path_factory.mktemp("databases")
    found = []
    for part, entries in {"pdb70": ["1abc", "2def", "3ghi"], "own": ["4jkl", "5mno"]}.items():
        texts = {
            f"{name}_A": f">{name.upper()}_A Protein\n{relative(chance, NEAR, 0.2)}\n"
            for name in entries
        }
        found.append(inspect(build(folder / part, texts)))
    return tuple(found)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that puts a shell script in the place of hhsearch."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(script: str) -> None:
        hhsuite.version.cache_clear()
        (folder / "hhsearch").write_text(f"#!/bin/sh\n{SHOWS_VERSION}{script}\n")
        (folder / "hhsearch").chmod(0o755)

    return write


@pytest.fixture
def pretended(tmp_path: Path) -> Database:
    """A database for tests of what surrounds the search."""
    for part in ("a3m", "cs219"):
        (tmp_path / f"pdb70_{part}.ffindex").write_text("a\t0\t4\n")
        (tmp_path / f"pdb70_{part}.ffdata").write_text("data")
    return inspect(tmp_path / "pdb70")


@pytest.mark.tools
def test_all_databases_are_searched(databases: tuple[Database, ...], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    [hits] = HHSearch(databases, scratch=scratch).hits([Alignment.of(["q"], [NEAR])])
    names = {hit.name for hit in hits if (hit.probability or 0) > 0.99}
    assert names == {"1abc_A", "2def_A", "3ghi_A", "4jkl_A", "5mno_A"}
    assert {hit.title for hit in hits} == {"Protein"}
    assert list(scratch.iterdir()) == []


@pytest.mark.tools
@pytest.mark.parametrize("rows", [["M"], ["X"], ["X" * 60], ["MKT", "-k-T"], ["A" * 40, "-" * 40]])
def test_sequences_without_homologues(rows: list[str], databases: tuple[Database, ...]) -> None:
    alignment = Alignment.of(["Consensus"] * len(rows), rows)
    [hits] = HHSearch(databases).hits([alignment])
    assert all((hit.probability or 0) < 0.9 for hit in hits)


def test_names_of_rows_are_not_passed_on(
    pretended: Database, program: Callable[[str], None], tmp_path: Path
) -> None:
    program(f'echo "$@" > {tmp_path}/arguments; cp "$2" {tmp_path}/rows; echo "Query q"')
    rows = Alignment.of(["secret", "ss_pred x"], ["MKT", "M-cT"])
    assert list(HHSearch((pretended,), num_threads=3).hits([rows])) == [[]]
    assert (tmp_path / "rows").read_text() == ">query\nMKT\n>1\nM-cT\n"
    given = " ".join((tmp_path / "arguments").read_text().split()[2:])
    assert given == f"-o stdout -maxseq 1000000 -cpu 3 -v 1 -d {pretended.path}"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("kill -9 $$", r"^hhsearch failed \(exit code 137\): run .* check the files of .*/pdb70\."),
        ("echo no luck >&2; exit 1", r"^hhsearch failed \(no luck\): run the same command again, "),
        ("exit 0", "^hhsearch did not return the hits of the query"),
        (f"cat <<'EOF'\n{RESULT.format(first=2, last=4)}EOF", "^hhsearch did not return the hits"),
        ("echo Query q; echo No 1", "^The result of hhsearch in pdb70, hit 1, has no title"),
        ("touch -d 2100-01-01 {path}_a3m.ffdata", "pdb70 is not .* its files changed"),
        ("rm {path}_cs219.ffindex; exit 1", r"pdb70_cs219\.ffindex does not exist"),
    ],
)
def test_what_the_program_may_do(
    script: str, says: str, pretended: Database, program: Callable[[str], None], tmp_path: Path
) -> None:
    program(script.replace("{path}", pretended.path))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(FoldryError, match=says) as failed:
        list(HHSearch((pretended,), scratch=scratch).hits([ROWS]))
    assert "\n" not in str(failed.value)
    assert list(scratch.iterdir()) == []


def test_a_hit_of_the_program(pretended: Database, program: Callable[[str], None]) -> None:
    program(f"cat <<'EOF'\n{RESULT.format(first=1, last=3)}EOF")
    [[hit]] = HHSearch((pretended,)).hits([ROWS])
    assert (hit.name, hit.begin, hit.sequence, hit.sum_probs) == ("1abc_A", 2, "MKT", 2.5)
    assert hit.pairs.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_the_key_of_what_is_kept(pretended: Database, program: Callable[[str], None]) -> None:
    program("")
    engine = HHSearch((pretended,))
    assert engine.source == Source("hhsearch", "pdb70")
    assert engine.identity == HHSearch((replace(pretended, path="/a"),), num_threads=8).identity
    others = [
        HHSearch((replace(pretended, version="new"),)).identity,
        HHSearch((pretended, pretended)).identity,
        replace(engine, settings=HHSearchSettings(maxseq=10)).identity,
    ]
    assert len({engine.identity, *others}) == 4


def test_what_is_missing(
    pretended: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.fasta"
    path.write_text(">a\nMKT\n")
    with pytest.raises(InputError, match=r"a\.fasta is a FASTA database, and hhsearch reads"):
        list(HHSearch((inspect(path),)).hits([ROWS]))
    monkeypatch.setenv("PATH", "")
    says = r"hhsearch is not installed: install HH-suite \(Debian: apt install hhsuite\)\.$"
    with pytest.raises(MissingError, match=says):
        list(HHSearch((pretended,)).hits([ROWS]))
    with pytest.raises(MissingError, match=says):
        _ = HHSearch((pretended,)).identity


def test_another_program_of_that_name(
    pretended: Database, program: Callable[[str], None], tmp_path: Path
) -> None:
    program("")
    (tmp_path / "bin" / "hhsearch").write_text("#!/bin/sh\necho other\n")
    with pytest.raises(OutsideError, match="hhsearch does not print its version as hhsearch does"):
        _ = HHSearch((pretended,)).identity

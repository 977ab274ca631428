"""MMseqs2's profile search: the hits of its own commands, under the names of the chains."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import FoldryError, InputError, MissingError, OutsideError
from foldry.formats.m8 import COLUMNS
from foldry.query import Alignment, Source
from foldry.search import mmseqs
from foldry.search.engine import Targets
from foldry.search.mmseqs_templates import MmseqsTemplates, MmseqsTemplatesSettings
from foldry.search.template_input import template_input
from tests.search.mmseqs_databases import fake_program, run
from tests.search.template_world import NO_PROTEIN, World, make_world

MSA = 11
"""The type of a database of alignments."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    if not mmseqs.is_here():
        pytest.skip("needs MMseqs2")
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module", params=["first", "last"])
def program(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of the installed programs, which may be of different versions."""
    known = list(mmseqs._programs())
    if request.param == "last" and len(known) < 2:
        pytest.skip("one MMseqs2 is installed")
    with pytest.MonkeyPatch.context() as patch:
        chosen = known[0 if request.param == "first" else -1]
        patch.setattr(mmseqs, "_programs", lambda: iter([chosen]))
        yield chosen


def official(
    program: str, alignments: list[Alignment], targets: Path, folder: Path
) -> list[list[str]]:
    """The table of MMseqs2's commands, from a database of alignments that is written by hand.

    An alignment is FASTA without insertions.
    """
    data, index = b"", ""
    for number, each in enumerate(alignments):
        rows = "".join(f">{n}\n{row}\n" for n, row in enumerate(each.sequences)).encode() + b"\0"
        index += f"{number}\t{len(data)}\t{len(rows)}\n"
        data += rows
    (folder / "rows").write_bytes(data)
    (folder / "rows.index").write_text(index)
    (folder / "rows.dbtype").write_bytes(struct.pack("<i", MSA))
    run(program, "msa2profile", folder / "rows", folder / "profiles", "--threads", 1)
    run(program, "createdb", targets, folder / "targets")
    places = [folder / name for name in ("profiles", "targets", "hits")]
    options = ["-s", 7.5, "-a", "-e", 0.1, "--threads", 1]
    run(program, "search", *places, folder / "tmp", *options)
    columns = ["--format-output", ",".join(("query", *COLUMNS[1:]))]
    run(program, "convertalis", *places, folder / "table", *columns, "--threads", 1)
    found = [line.split("\t") for line in (folder / "table").read_text().splitlines()]
    assert any(row[1] == NO_PROTEIN for row in found)
    return [row for row in found if row[1] != NO_PROTEIN]


@pytest.mark.tools
def test_the_hits_are_those_of_the_programs_commands(
    world: World, program: str, tmp_path: Path
) -> None:
    alignments = [template_input(each) for each in world.alignments()]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    engine = MmseqsTemplates((world.targets,), scratch=scratch)
    assert engine.program == program
    found = list(engine.hits(alignments))
    rows = official(program, alignments, world.targets.fasta, tmp_path)
    ours = [
        [hit.name, hit.pairs[0, 0] + 1, hit.pairs[-1, 0] + 1, hit.begin + 1, hit.e_value]
        for hits in found
        for hit in hits
    ]
    assert ours == [[r[1], int(r[6]), int(r[7]), int(r[8]), float(r[10])] for r in rows]
    assert [len(hits) > 12 for hits in found] == [True, True, False]
    for hit in (each for hits in found for each in hits):
        assert hit.sequence == world.chains[hit.name][hit.begin :][: len(hit.sequence)]
        assert hit.title.startswith(f"mol:protein length:{len(world.chains[hit.name])} ")
        assert hit.pairs[0, 1] == 0 and hit.pairs[-1, 1] == len(hit.sequence) - 1
        assert (np.diff(hit.pairs, axis=0) > 0).all()
    lengths = [int(r[9]) - int(r[8]) + 1 for r in rows]
    assert [len(hit.sequence) for hits in found for hit in hits] == lengths
    assert list(scratch.iterdir()) == []


@pytest.mark.tools
def test_sequences_without_homologues(world: World) -> None:
    every = [["M"], ["MK", "M-"], ["X" * 30], ["MKUOBZJ"], ["A" * 40] * 2, ["MKTAYIAKQRQISF"]]
    alignments = [Alignment.of(["#=GC"] * len(rows), rows) for rows in every]
    alignments.insert(3, Alignment.of(["q"], [world.queries[1]]))
    found = list(MmseqsTemplates((world.targets,)).hits(alignments))
    assert [len(hits) > 4 for hits in found] == [number == 3 for number in range(7)]


@pytest.mark.tools
def test_names_that_mmseqs2_would_change(world: World, tmp_path: Path) -> None:
    query = world.queries[0]
    headers = (
        "sp|P12345|X_A the first",
        "a,b;c",
        "tr|Q|",
        "9abc_A  mol:protein",
        "gi|1|pdb|1ABC|A",
    )
    parts = []
    for number, some in enumerate((headers[:2], headers[2:])):
        path = tmp_path / f"{number}.fasta.gz"
        path.write_bytes(gzip.compress("".join(f">{h}\n{query}\n" for h in some).encode()))
        parts.append(Targets(path, str(number), "1"))
    [hits] = MmseqsTemplates(tuple(parts)).hits([Alignment.of(["q"], [query])])
    assert {" ".join(f"{hit.name} {hit.title}".split()) for hit in hits} == {
        " ".join(header.split()) for header in headers
    }
    assert {hit.sequence for hit in hits} == {query}


@pytest.mark.tools
def test_no_alignment_and_no_chain(world: World, tmp_path: Path) -> None:
    assert list(MmseqsTemplates((world.targets,)).hits([])) == []
    rows = Alignment.of(["q"], [world.queries[0]])
    assert list(MmseqsTemplates(()).hits([rows, rows])) == [[], []]
    missing = Targets(tmp_path / "a.fasta", "a", "1")
    with pytest.raises(MissingError, match=r"a\.fasta does not exist"):
        list(MmseqsTemplates((missing,)).hits([rows]))


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("echo no luck >&2; exit 1", OutsideError, r"^mmseqs failed \(no luck\): run the same"),
        ("echo 0 0 1 >> $5", InputError, "^MMseqs2's table of hits, line 1, has 1 column instead"),
        (
            r"printf '0\t7\t1\t1\t0\t0\t1\t1\t1\t1\t0\t9\t1M\n' >> $5",
            InputError,
            "^MMseqs2's table of hits names a query or a chain that it was not given",
        ),
        (
            r"printf '5\t0\t1\t1\t0\t0\t1\t1\t1\t1\t0\t9\t1M\n' >> $5",
            InputError,
            "^MMseqs2's table of hits names a query or a chain that it was not given",
        ),
        (
            r"printf '0\t0\t1\t1\t0\t0\t4\t4\t1\t1\t0\t9\t1M\n' >> $5",
            InputError,
            "^MMseqs2's table of hits names residues that the query or the chain does not have",
        ),
        (
            r"printf '0\t0\t1\t1\t0\t0\t1\t1\t5\t5\t0\t9\t1M\n' >> $5",
            InputError,
            "^MMseqs2's table of hits names residues that the query or the chain does not have",
        ),
    ],
)
def test_what_the_program_may_do(
    script: str,
    error: type[FoldryError],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only = f'if [ "$1" = convertalis ]; then {script}; fi'
    path = fake_program(tmp_path / "bin" / "mmseqs", only)
    monkeypatch.setattr(mmseqs, "_programs", lambda: iter([str(path)]))
    (tmp_path / "a.fasta").write_text(">a\nMKTV\n")
    targets = Targets(tmp_path / "a.fasta", "a", "1")
    with pytest.raises(error, match=says) as failed:
        list(MmseqsTemplates((targets,)).hits([Alignment.of(["q"], ["MKT"])]))
    assert "\n" not in str(failed.value)


def test_the_key_of_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = Targets(tmp_path / "a.fasta", "chains", "1")
    programs = [fake_program(tmp_path / n / "mmseqs", f"echo version {n}") for n in ("one", "two")]
    monkeypatch.setattr(mmseqs, "_programs", lambda: iter([str(programs[0])]))
    engine = MmseqsTemplates((targets,))
    assert engine.source == Source("mmseqs", "chains")
    elsewhere = replace(targets, fasta=Path("/elsewhere"), name="other")
    assert engine.identity == MmseqsTemplates((elsewhere,), num_threads=3).identity
    others = [
        MmseqsTemplates((replace(targets, version="2"),)).identity,
        MmseqsTemplates((targets,), MmseqsTemplatesSettings(sensitivity=4)).identity,
        MmseqsTemplates((targets,), MmseqsTemplatesSettings(max_e_value=10)).identity,
    ]
    monkeypatch.setattr(mmseqs, "_programs", lambda: iter([str(programs[1])]))
    others.append(MmseqsTemplates((targets,)).identity)
    assert len({engine.identity, *others}) == 5
    monkeypatch.setattr(mmseqs, "_programs", lambda: iter([]))
    with pytest.raises(MissingError, match="mmseqs is not installed"):
        MmseqsTemplates((targets,))

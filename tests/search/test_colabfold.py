"""ColabFold's search: the files of `colabfold_search`, byte for byte."""

from __future__ import annotations

import gzip
import random
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import pytest

from foldry.errors import InputError, MissingError, OutsideError
from foldry.formats.a3m import parse_complex_a3m, to_a3m, to_complex_a3m
from foldry.formats.fasta import parse_fasta
from foldry.formats.sequence import chain_names
from foldry.query import Chain, Query
from foldry.search import mmseqs
from foldry.search.colabfold import NEEDED, ColabFold, ColabFoldSettings
from foldry.search.databases import inspect
from tests.conftest import ROOT
from tests.search.mmseqs_databases import (
    add_taxonomy,
    clustered,
    fake_program,
    family,
    protein,
)

CLIENT = ROOT / ".clients" / "bin" / "python"


@dataclass(frozen=True)
class World:
    """A database, an environmental one, and the sequences whose relatives they have."""

    program: str
    uniref: Path
    environment: Path
    sequences: Mapping[str, str]

    def engine(self, settings: ColabFoldSettings, num_threads: int = 1) -> ColabFold:
        databases = tuple(map(inspect, (self.uniref, self.environment)))
        return ColabFold(databases, settings, num_threads)


@pytest.fixture(scope="module")
def program() -> str:
    try:
        return mmseqs.find(NEEDED)
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def world(program: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    chance = random.Random(7)
    sequences = {
        name: protein(chance, length) for name, length in zip("ABC", (70, 60, 50), strict=True)
    }
    sequences["D"] = "GS" * 20  # too simple to find anything
    folder = tmp_path_factory.mktemp("clustered")

    def database(name: str, counts: Sequence[int]) -> tuple[Path, dict[str, str]]:
        found = {f"o{n}": protein(chance, chance.randint(30, 200)) for n in range(200)}
        for each, number, num_species in zip("ABC", counts, (40, 30, 15), strict=True):
            found |= family(chance, each, sequences[each], number, num_species)
        found = dict(chance.sample(sorted(found.items()), len(found)))
        return clustered(program, folder, name, found), found

    environment, _ = database("env", (150, 40, 0))
    uniref, found = database("uniref", (1400, 300, 60))
    species = {name: int(name[1:].split("_")[0]) + 100 for name in found if name[0] != "o"}
    add_taxonomy(program, uniref, species)
    return World(program, uniref, environment, sequences)


def colabfold_search(
    world: World, folder: Path, queries: Mapping[str, str], *more: object
) -> dict[str, str]:
    """Return what ColabFold's own program writes for FASTA records, by their names."""
    if not CLIENT.exists():
        pytest.skip("ColabFold's search is not installed: run `make clients`")
    fasta = folder / "queries.fasta"
    fasta.write_text("".join(f">{name}\n{row}\n" for name, row in queries.items()))
    places = [fasta, world.uniref.parent, folder / "out", "--mmseqs", world.program]
    names = ["--db1", world.uniref.name, "--db3", world.environment.name]
    command = [CLIENT, "-m", "colabfold.mmseqs.search", *places, *names, "-s", 8, "--threads", 1]
    done = subprocess.run(
        list(map(str, [*command, *more])), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {name: (folder / "out" / f"{name}.a3m").read_text() for name in queries}


def complexes(engine: ColabFold, queries: Mapping[str, Sequence[str]]) -> dict[str, Query]:
    """Return queries with the rows that are found for them, paired if there are several chains."""
    distinct = [tuple(dict.fromkeys(sequences)) for sequences in queries.values()]
    each = sorted({sequence for sequences in distinct for sequence in sequences})
    unpaired = dict(zip(each, engine.query(each), strict=True))
    found = {}
    for (name, sequences), rows in zip(queries.items(), engine.pairs(distinct), strict=True):
        ids, chains = iter(chain_names(len(sequences))), []
        for number, (sequence, paired) in enumerate(
            zip(dict.fromkeys(sequences), rows, strict=True)
        ):
            own = tuple(islice(ids, sequences.count(sequence)))
            first, alignment = str(101 + number), unpaired[sequence]
            headers = tuple(first if each == "101" else each for each in alignment.headers)
            alignment = replace(alignment, headers=headers)
            is_alone = len(sequences) == 1
            chains.append(Chain(own, sequence, alignment, None if is_alone else paired))
        found[name] = Query(name, tuple(chains), paired_by_row=len(chains) > 1)
    return found


def test_single_chains_are_those_of_colabfold_search(world: World, tmp_path: Path) -> None:
    engine = world.engine(ColabFoldSettings(), num_threads=2)
    found = dict(zip(world.sequences, engine.query([*world.sequences.values()]), strict=True))
    assert {name: found[name].query for name in found} == world.sequences
    assert found["A"].num_rows > 500
    assert found["D"].num_rows == 2, "the sequence itself, once for each database"
    expected = colabfold_search(world, tmp_path, world.sequences)
    assert {name: to_a3m(each) for name, each in found.items()} == expected
    source = found["A"].source
    assert source is not None
    assert (source.engine, source.database) == ("mmseqs", "uniref, env")


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        (ColabFoldSettings(), ("--use-env", 0)),
        pytest.param(
            ColabFoldSettings(filter=False, pairing_strategy=1),
            ("--filter", 0, "--pairing_strategy", 1),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_complexes_are_those_of_colabfold_search(
    world: World, tmp_path: Path, settings: ColabFoldSettings, more: Sequence[object]
) -> None:
    names = {"pair": "AB", "trimer": "CAB", "copies": "BAB", "alone": "B", "dimer": "AA"}
    queries = {name: [world.sequences[each] for each in names[name]] for name in names}
    engine = world.engine(settings)
    if "--use-env" in more:
        engine = replace(engine, databases=engine.databases[:1])
    found = complexes(engine, queries)
    records = {name: ":".join(sequences) for name, sequences in queries.items()}
    expected = colabfold_search(world, tmp_path, records, *more)
    assert {name: to_complex_a3m(query) for name, query in found.items()} == expected
    for name in ("pair", "trimer", "copies", "alone"):
        chains = tuple(parse_complex_a3m(expected[name]))
        assert Query(name, chains, paired_by_row=len(chains) > 1) == found[name]
    chains = found["trimer"].chains
    depths = {chain.paired.num_rows for chain in chains if chain.paired}
    assert depths == {16 if settings.pairing_strategy else 31}


def first_of(path: Path) -> str:
    """Return the first sequence of a FASTA file."""
    return parse_fasta(path.read_text())[0].sequence


@pytest.mark.slow
def test_real_proteins_are_those_of_colabfold_search(program: str, tmp_path: Path) -> None:
    examples = ROOT / "examples"
    with gzip.open(examples / "database" / "proteins.fasta.gz", "rt") as file:
        records = parse_fasta(file.read())
    found = {f"s{number}": record.sequence for number, record in enumerate(records)}
    path = clustered(program, tmp_path, "uniprot", found)
    chance = random.Random(3)
    add_taxonomy(program, path, {name: chance.randint(100, 110) for name in found})
    pair = [first_of(examples / name) for name in ("trypsin/1trn.fasta", "kunitz/1adz.fasta")]
    alone = first_of(examples / "malate_dehydrogenase/1mld_AB.fasta")
    engine = ColabFold((inspect(path),), num_threads=2)
    whole = complexes(engine, {"pair": pair, "alone": [alone]})
    world = World(program, path, path, {})
    queries = {"pair": ":".join(pair), "alone": alone}
    expected = colabfold_search(world, tmp_path, queries, "--use-env", 0)
    assert {name: to_complex_a3m(query) for name, query in whole.items()} == expected
    paired = whole["pair"].chains[0].paired
    assert paired is not None
    assert paired.num_rows > 4


def files(path: Path) -> Path:
    """Write files with the names of a clustered database with taxonomy."""
    for part in ("", "_h", "_seq", "_seq_h", "_aln"):
        for end in ("", ".index", ".dbtype"):
            path.with_name(f"{path.name}{part}{end}").write_text(f"{part}\n")
    for end in ("_mapping", "_taxonomy"):
        path.with_name(f"{path.name}{end}").write_text("1\t1\n")
    return path


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ColabFold:
    """An engine with files for a database and a program that does nothing."""
    fake = fake_program(tmp_path / "bin" / "mmseqs", "echo 18")
    monkeypatch.setattr(mmseqs, "find", lambda needed: str(fake))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return ColabFold((inspect(files(tmp_path / "uniref")),), scratch=scratch)


def test_nothing_is_run_for_no_sequences(engine: ColabFold) -> None:
    fake_program(Path(engine.program), "exit 1")
    assert list(engine.query([])) == list(engine.pairs([])) == []


def test_the_identity_is_that_of_everything_the_rows_depend_on(
    engine: ColabFold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = replace(engine, num_threads=8, scratch=None)
    assert copy.identity == engine.identity
    [database] = engine.databases
    for name, value in {
        "sensitivity": 7.5,
        "max_e_value": 0.001,
        "filter": False,
        "pairing_strategy": 1,
    }.items():
        other = replace(engine, settings=replace(engine.settings, **{name: value}))
        assert other.identity != engine.identity, name
    assert replace(engine, databases=(database, database)).identity != engine.identity
    for part in ("_seq", "_aln", "_seq_h", "_mapping"):
        files(tmp_path / "uniref").with_name(f"uniref{part}").write_text("other\n")
        changed = inspect(tmp_path / "uniref")
        assert replace(engine, databases=(changed,)).identity != engine.identity, part
    fake_program(tmp_path / "bin" / "mmseqs", "echo 19")
    assert replace(engine).identity != engine.identity


@pytest.mark.parametrize("index", ["", ".idx", ".idx.index"])
def test_an_index_is_used_if_there_is_one(engine: ColabFold, tmp_path: Path, index: str) -> None:
    log = tmp_path / "log"
    unpack = 'case "$1" in unpackdb) printf ">101\\nMKT\\n" > "$3/0.a3m";; esac'
    fake_program(Path(engine.program), f'echo "$@" >> {log}\n{unpack}')
    path = tmp_path / "uniref"
    if index:
        path.with_name(f"uniref{index}").touch()
    [found] = engine.query(["MKT"])
    assert found.texts == ("MKT",)
    parts, mode = ([f"{path}.idx"] * 2, 2) if index else ([f"{path}_seq", f"{path}_aln"], 0)
    lines = [line.split() for line in log.read_text().splitlines()]
    for words in lines:
        if words[0] not in ("createdb", "mergedbs", "unpackdb"):
            assert words[words.index("--db-load-mode") + 1] == str(mode)
            target = str(path) if words[0] == "search" else parts[0]
            assert words[2] == target
    [expanded] = [words for words in lines if words[0] == "expandaln"]
    assert expanded[4] == parts[1]


def test_a_program_that_is_killed_leaves_nothing(engine: ColabFold) -> None:
    fake_program(Path(engine.program), 'case "$1" in search) kill -9 $$;; esac')
    with pytest.raises(OutsideError, match=r"mmseqs failed \(exit code 137\): run the same"):
        list(engine.query(["MKT"]))
    assert engine.scratch is not None
    assert list(engine.scratch.iterdir()) == []


@pytest.mark.parametrize("failing", ["", "exit 1"])
def test_a_database_that_changes_meanwhile(engine: ColabFold, tmp_path: Path, failing: str) -> None:
    change = f'case "$1" in align) : > {tmp_path}/uniref_seq; {failing};; esac'
    fake_program(Path(engine.program), change)
    with pytest.raises(InputError, match=r"uniref is not the database .*its files changed"):
        list(engine.query(["MKT"]))


def test_databases_that_cannot_be_searched(engine: ColabFold, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes one or two databases, not 0"):
        ColabFold(())
    for end in ("_taxonomy", "_aln.dbtype"):
        (tmp_path / f"uniref{end}").unlink()
        with pytest.raises(InputError, match="its files changed"):
            list(engine.pairs([["MKT", "MKV"]]))
        engine = replace(engine, databases=(inspect(tmp_path / "uniref"),))
        what = "has no taxonomy" if end == "_taxonomy" else "is not a clustered MMseqs2 database"
        with pytest.raises(InputError, match=f"uniref {what}"):
            list(engine.pairs([["MKT", "MKV"]]))
    (tmp_path / "uniref").unlink()
    with pytest.raises(MissingError, match="uniref does not exist"):
        list(engine.query(["MKT"]))


def test_a_wrong_strategy_of_pairing() -> None:
    with pytest.raises(InputError, match="`pairing_strategy` is 2: give 0 or 1"):
        ColabFoldSettings(pairing_strategy=2)


def test_parts_of_a_database_belong_to_it(tmp_path: Path) -> None:
    path = files(tmp_path / "uniref")
    whole = inspect(path)
    assert (whole.is_clustered, whole.has_taxonomy) == (True, True)
    (tmp_path / "uniref_seq.index").write_text("0\t0\t4\n1\t4\t4\n")
    data = tmp_path / "uniref_seq"
    data.rename(tmp_path / "uniref_seq.0")
    (tmp_path / "uniref_seq.1").write_text("MKT\n")
    numbered = inspect(path)
    assert numbered.num_sequences == 2
    assert numbered.size == whole.size + 12 - 5 + 4
    (tmp_path / "uniref_seq.1").unlink()
    with pytest.raises(InputError, match="its files changed"):
        numbered.check()
    fasta = tmp_path / "a.fasta"
    fasta.write_text(">a\nMKT\n")
    assert not inspect(fasta).is_clustered
    assert not inspect(fasta).has_taxonomy

"""Tickets: what ColabFold's own client makes of them, and what is left if they fail."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qs

import pytest

from foldry.errors import DiskFullError, InputError, MissingError, OutsideError
from foldry.formats.a3m import parse_a3m, to_a3m
from foldry.formats.coordinates import (
    parse_deposition,
    read_deposition,
    read_structure,
    to_pdb,
)
from foldry.formats.m8 import parse_m8
from foldry.formats.template import deposition_mmcif
from foldry.search import mmseqs, tickets
from foldry.search.colabfold import NEEDED
from foldry.search.databases import Database, inspect, of_structures
from foldry.search.engine import Targets
from foldry.search.hmmer import Hmmer
from foldry.search.hmmsearch import HmmSearch
from foldry.search.template_input import template_input
from foldry.search.ticket_files import Ticket
from foldry.search.tickets import (
    COMPLETE,
    ERROR,
    MAX_RESIDUES,
    MAX_SEQUENCES,
    MAX_TEMPLATES,
    RUNNING,
    UNKNOWN,
    State,
    Tickets,
    read_ticket,
)
from tests.conftest import ROOT
from tests.search.mmseqs_databases import (
    add_taxonomy,
    clustered,
    fake_program,
    family,
    protein,
)
from tests.search.test_colabfold import CLIENT, files

UNIREF, ENVIRONMENT = "uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m"
EXAMPLES = ROOT / "examples"
NO_TEMPLATES = ("--use-templates", 0)
ARTIFICIAL = 28384
"""A taxon whose members are left out of the list of taxa."""

CLIENTS_PROGRAM = """
import json, sys, time
import colabfold.colabfold
from colabfold.input import msa_to_str
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.2))  # it waits for 5-10 s
url, folder, calls = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
found = [
    colabfold.colabfold.run_mmseqs2(
        sequences, f"{folder}/{number}", host_url=url, user_agent="foldry-test", **options
    )
    for number, (sequences, options) in enumerate(calls)
]
rows = [each[0] if isinstance(each, tuple) else each for each in found]
paired = [each[1].get("use_pairing") for each in calls]
sequences = list(dict.fromkeys(calls[0][0]))
unpaired = None if paired[0] else rows[0][: len(sequences)]
whole = ""
if paired[-1]:
    copies = [1] * len(sequences)
    whole = msa_to_str(unpaired, rows[-1][: len(sequences)], sequences, copies)
print(json.dumps([found, whole]))
"""


class App(BaseHTTPRequestHandler):
    """A server of one `Tickets`, which is all that the library leaves to a server."""

    tickets: Tickets

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        is_paired = self.path == "/ticket/pair"
        ticket = read_ticket(form["q"][0], form["mode"][0], is_paired=is_paired)
        identifier = self.tickets.identifier(ticket)
        state = self.tickets.state(identifier)
        if state.status != COMPLETE:
            threading.Thread(target=self.tickets.run, args=(ticket,)).start()
        status = "PENDING" if state.status == UNKNOWN else state.status
        self.answer(json.dumps({"id": identifier, "status": status}).encode())

    def do_GET(self) -> None:
        kind, _, name = self.path[1:].rpartition("/")
        if kind == "ticket":
            state = self.tickets.state(name)
            self.answer(json.dumps({"id": name, "status": state.status}).encode())
        elif kind == "result/download":
            self.answer(self.tickets.file(name).read_bytes())
        else:
            assert kind == "template"
            self.answer()
            self.tickets.write_templates(name.split(","), cast(BinaryIO, self.wfile))

    def answer(self, body: bytes = b"") -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(served: Tickets) -> Iterator[str]:
    handler = type("Handler", (App,), {"tickets": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def ask(served: Tickets, folder: Path, *calls: tuple[Sequence[str], Mapping[str, object]]) -> Any:
    """Return what ColabFold's `run_mmseqs2` returns for each call, and the a3m of a complex."""
    if not CLIENT.exists():
        pytest.skip("ColabFold's client is not installed: run `make clients`")
    folder.mkdir(exist_ok=True)
    with serving(served) as url:
        command = [CLIENT, "-c", CLIENTS_PROGRAM, url, folder, json.dumps(calls)]
        environment = {**os.environ, "MPLBACKEND": "agg", "MPLCONFIGDIR": str(folder)}
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, env=environment
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class World:
    """Databases, and the sequences whose relatives they have."""

    folder: Path
    program: str
    uniref: Database
    environment: Database
    library: Database
    sequences: tuple[str, str]

    def tickets(self, folder: Path) -> Tickets:
        return Tickets((self.uniref, self.environment, self.library), folder, num_threads=2)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Structures in two formats, one of a name that is no entry of the PDB, and a broken one."""
    folder = tmp_path_factory.mktemp("library")
    structures = folder / "structures"
    structures.mkdir()
    kunitz = EXAMPLES / "kunitz" / "1adz.cif"
    (structures / "1ADZ.cif").write_bytes(kunitz.read_bytes())
    (structures / "my_model.cif").write_bytes(kunitz.read_bytes())
    trypsin = read_structure(EXAMPLES / "trypsin" / "1trn.cif").chain("A")
    (structures / "pdb1trn.ent").write_text(to_pdb(trypsin))
    (structures / "2bad.cif").write_text("data_2BAD\nloop_\n")
    return of_structures(structures, folder / "index", "known")


@pytest.fixture(scope="module")
def sequences() -> tuple[str, str]:
    """Parts of proteins whose structures are known."""
    kunitz, trypsin = (
        read_structure(EXAMPLES / name).chain("A").sequence
        for name in ("kunitz/1adz.cif", "trypsin/1trn.cif")
    )
    return kunitz[3:60], trypsin[20:90]


@pytest.fixture(scope="module")
def world(
    library: Database, sequences: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> World:
    try:
        program = mmseqs.find(NEEDED)
    except MissingError as error:
        pytest.skip(str(error))
    chance, folder = random.Random(5), tmp_path_factory.mktemp("clustered")

    def database(name: str, counts: Sequence[int]) -> Database:
        place = folder / name
        place.mkdir()
        found = {f"o{n}": protein(chance, chance.randint(30, 200)) for n in range(60)}
        for letter, sequence, number in zip("AB", sequences, counts, strict=True):
            found |= family(chance, letter, sequence, number, 25)
        path = clustered(program, place, name, found)
        species = {name: int(name[1:].split("_")[0]) + 100 for name in found if name[0] != "o"}
        species[next(name for name in found if name[0] == "A")] = ARTIFICIAL
        add_taxonomy(program, path, species)
        return inspect(path)

    parts = database("uniref", (160, 80)), database("env", (60, 40))
    return World(folder, program, *parts, library, sequences)


def colabfold_search(world: World, folder: Path, record: str, *more: object) -> tuple[str, str]:
    """Return the a3m and the m8 that ColabFold's own program writes for a FASTA record."""
    fasta, structures = folder / "query.fasta", folder / "structures.fasta"
    fasta.write_text(f">query\n{record}\n")
    [index] = (world.folder.parent / world.library.index).glob("*.fasta")
    structures.write_bytes(index.read_bytes())
    base = folder / "databases"
    base.mkdir()
    for database in (world.uniref, world.environment):
        path = Path(database.path)
        for file in path.parent.glob(f"{path.name}*"):
            (base / file.name).symlink_to(file)
    command: list[object] = [world.program, "createdb", structures, base / "known", "-v", 1]
    subprocess.run(list(map(str, command)), check=True)
    command = [CLIENT, "-m", "colabfold.mmseqs.search", fasta, base, folder / "out"]
    command += ["--mmseqs", world.program, "--db1", "uniref", "--db2", "known", "--db3", "env"]
    command += ["--db4", "env", "--use-templates", 1, "-s", 8, "--threads", 1, *more]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    out = folder / "out"
    table = out / "query_known.m8"
    return (out / "query.a3m").read_text(), table.read_text() if table.exists() else ""


def members(archive: Path | bytes) -> dict[str, bytes]:
    source = BytesIO(archive if isinstance(archive, bytes) else archive.read_bytes())
    with tarfile.open(fileobj=source, mode="r|gz") as tar:  # as clients read it
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def test_the_files_are_those_of_colabfold_search(world: World, tmp_path: Path) -> None:
    served, [*both] = world.tickets(tmp_path / "served"), world.sequences
    calls = {"use_env": True, "use_templates": True}, {"use_env": True, "use_pairing": True}
    found, whole = ask(served, tmp_path / "client", *(([*both, both[0]], each) for each in calls))
    expected, table = colabfold_search(world, tmp_path, ":".join(both), "--use-env-pairing", 1)
    assert whole == expected
    assert expected.count("\n>") > 100
    (rows, places), paired = found
    assert rows[0] == rows[2] != rows[1]
    assert rows[1].startswith(f">102\n{both[1]}\n")
    assert paired[0].count(">101\n") == 2, "the rows of both databases"
    assert paired[0].count(">") > 20
    lines = [each for each in table.splitlines(keepends=True) if "my_model" not in each]
    assert (tmp_path / "client" / "0_env" / "pdb70.m8").read_text() == "".join(lines)
    assert len(lines) == 2 < table.count("\n"), "clients know no entries of other names"
    assert places[0] == places[2]
    assert {file.name for file in Path(places[0]).iterdir()} == {
        *("1adz.cif", "pdb70_a3m.ffdata", "pdb70_a3m.ffindex"),
        *("pdb70_cs219.ffdata", "pdb70_cs219.ffindex"),  # made by the client
    }
    assert Path(places[1], "1trn.cif").is_file()
    names = ["uniref.a3m", "pdb70.m8", ENVIRONMENT, "msa.sh"], ["pair.a3m", "pair.sh"]
    archives = map(members, served.folder.iterdir())
    assert sorted(map(list, archives)) == sorted(names)


@pytest.mark.slow
def test_a_chain_without_filters_is_that_of_colabfold_search(world: World, tmp_path: Path) -> None:
    served, [first, _] = world.tickets(tmp_path / "served"), world.sequences
    [[rows]], _ = ask(served, tmp_path / "client", (first, {"use_env": True, "use_filter": False}))
    expected, _ = colabfold_search(world, tmp_path, first, "--filter", 0, *NO_TEMPLATES)
    assert rows == expected


@pytest.mark.slow
def test_pairs_of_all_chains_are_those_of_colabfold_search(world: World, tmp_path: Path) -> None:
    served, [*both] = world.tickets(tmp_path / "served"), world.sequences
    options = {"use_env": False, "use_pairing": True, "pairing_strategy": "complete"}
    _, whole = ask(served, tmp_path / "client", (both, options))
    more = "--pair-mode", "paired", "--pairing_strategy", 1
    expected, _ = colabfold_search(world, tmp_path, ":".join(both), *more, *NO_TEMPLATES)
    assert whole == expected


def test_tables_and_taxa_are_those_of_the_rows(world: World, tmp_path: Path) -> None:
    served, [first, _] = world.tickets(tmp_path / "served"), world.sequences
    taxa, table = (
        members(served.run(read_ticket(f">a b\n{first}\n", f"all-notemplates-{word}")))
        for word in ("taxonomy", "m8output")
    )
    assert list(taxa) == [UNIREF, "uniref_tax.tsv", "msa.sh"]
    rows = parse_a3m(taxa[UNIREF].decode().rstrip("\0"))
    names = [header.split("\t")[0] for header in rows.headers]
    assert names[0] == "a b"
    found = dict(line.split("\t")[1::-1] for line in taxa["uniref_tax.tsv"].decode().splitlines())
    assert {name for name in names[1:] if name not in found} == {"A0_0"}, "which is artificial"
    assert all(taxon == str(100 + int(name[1:].split("_")[0])) for name, taxon in found.items())
    lines = [line.split("\t") for line in table["uniref.m8"].decode().splitlines()]
    assert [line[1] for line in lines] == names[1:]
    assert {(line[0], len(line)) for line in lines} == {("a", 13)}


# Without MMseqs2


@pytest.fixture
def fasta(sequences: tuple[str, str], tmp_path: Path) -> Database:
    """Relatives of two proteins in a FASTA file."""
    chance = random.Random(3)
    found = dict[str, str]()
    for letter, sequence in zip("AB", sequences, strict=True):
        found |= family(chance, letter, sequence, 30, 10)
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">{name} of a lab\n{row}\n" for name, row in found.items()))
    return inspect(path)


def test_fasta_files_serve_too(
    fasta: Database, library: Database, sequences: tuple[str, str], tmp_path: Path
) -> None:
    served = Tickets((fasta, library), tmp_path / "served")
    calls = {"use_env": True, "use_templates": True}, {"use_env": True, "use_pairing": True}
    [rows, places], paired = ask(
        served, tmp_path / "client", *((sequences, each) for each in calls)
    )[0]
    engine, opened = Hmmer(fasta, described=True), served._libraries[0]
    alignments = list(engine.query(sequences))
    assert min(each.num_rows for each in alignments) > 10
    for number, (sequence, found) in enumerate(zip(sequences, alignments, strict=True)):
        query = f">{101 + number}\n{sequence}\n"
        others = found.rows(slice(1, None))
        assert rows[number] == query + to_a3m(others) + query
        assert paired[number] == query
    assert Path(places[0], "1adz.cif").is_file()
    assert Path(places[1], "1trn.cif").is_file()
    text = (tmp_path / "client" / "0_env" / "pdb70.m8").read_text()
    targets = (Targets(opened.fasta, "", ""),)
    hits = list(HmmSearch(targets).hits([template_input(each) for each in alignments]))
    expected = {
        (hit.name, number)
        for number, each in enumerate(hits, 101)
        for hit in each
        if (hit.e_value or 0) < 0.1
    }
    lines = list(parse_m8(text))
    assert {(each.target, int(each.query)) for each in lines} == {
        each for each in expected if each[0] != "my_model_A"
    }
    assert expected - {(each.target, int(each.query)) for each in lines} != set()
    for line in lines:
        chain = opened.sequence(line.target)
        assert chain is not None
        equal = [sequences[int(line.query) - 101][i] == chain[j] for i, j in line.pairs]
        assert line.identity == pytest.approx(sum(equal) / len(equal), abs=6e-4)


@pytest.mark.tools
def test_hhsearch_finds_the_structures_that_are_sent(
    fasta: Database, library: Database, sequences: tuple[str, str], tmp_path: Path
) -> None:
    served, target = Tickets((fasta, library), tmp_path / "served"), BytesIO()
    served.write_templates(["1trn_A", "1adz_A", "2bad_A", "none_A", "x", "../../x_A"], target)
    found = members(target.getvalue())
    assert list(found) == ["1adz.cif", "1trn.cif", "pdb70_a3m.ffdata", "pdb70_a3m.ffindex"]
    for name in ("1adz", "1trn"):
        sent = parse_deposition(found[f"{name}.cif"], name)
        assert sent.release_date == "1971-01-01", "there is none in the file"
        for chain, whole in served._libraries[0].read(name).chains.items():
            assert replace(sent.chains[chain], name=whole.name) == whole
    for name, content in found.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "pdb70_cs219.ffindex").symlink_to("pdb70_a3m.ffindex")  # as the client does
    (tmp_path / "pdb70_cs219.ffdata").touch()
    query = tmp_path / "query.a3m"
    query.write_text(f">101\n{sequences[1]}\n")
    command = ["hhsearch", "-i", query, "-d", tmp_path / "pdb70", "-o", tmp_path / "out.hhr"]
    subprocess.run([*map(str, command), "-v", "0"], check=True)
    text = (tmp_path / "out.hhr").read_text()
    assert re.search(r"^Searched_HMMs 2\n", text.replace("  ", ""), re.MULTILINE)
    assert re.search(r"^No 1\n>1trn_A\n.*Aligned_cols=70 .*Identities=100%", text, re.MULTILINE)


def test_all_chains_of_a_structure_are_sent() -> None:
    whole = read_deposition(EXAMPLES / "malate_dehydrogenase" / "1mld_AB.cif.gz")
    sent = parse_deposition(deposition_mmcif(whole, "1mld").encode(), "1mld_AB")
    assert sent.chain_to_seqres == whole.chain_to_seqres
    assert sent.chains == whole.chains


def test_structures_that_cannot_be_sent(fasta: Database, library: Database, tmp_path: Path) -> None:
    served, target = Tickets((fasta, library), tmp_path / "served"), BytesIO()
    with pytest.raises(InputError, match="No structure of these names is in the libraries"):
        served.write_templates(["none_A", ""], target)
    with pytest.raises(InputError, match=f"are asked for: ask for at most {MAX_TEMPLATES} at once"):
        served.write_templates(map(str, range(MAX_TEMPLATES + 1)), target)
    assert target.getvalue() == b""


# What is asked


def test_a_ticket() -> None:
    found = read_ticket(">one\nmkt\nAYU*\n>two  words\nC\n", "nofilter-env")
    expected = Ticket(("one", "two words"), ("MKTAYX", "C"), ("env", "nofilter"), False)
    assert found == expected
    assert read_ticket(">one\nMK\n", "pairgreedy", is_paired=True).is_paired


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        (">a\nMK\n", "pairgreedy", "The ticket has the mode 'pairgreedy': use only all, env"),
        (">a\nMK\n", "env-\x1b[2J", r"has the mode '\\x1b\[2J': use only"),
        ("", "env", "The ticket has 0 sequences: give 1 to 200"),
        ("MKT", "env", "The ticket, line 1, is not a FASTA header"),
        (">a\n\n", "env", "has no sequence"),
        (">a\nMK1\n", "env", "The ticket, line 2, has '1' at residue 3"),
        (">a\nMK\n>\nMK\n", "env", "The ticket, line 3, has no usable name, or that of another"),
        (">a b\nMK\n>a c\nMV\n", "env", "The ticket, line 3, has no usable name, or that of"),
        (">a\x1b[2J\nMK\n", "env", "The ticket, line 1, has no usable name"),
        ("".join(f">{n}\nMK\n" for n in range(MAX_SEQUENCES + 1)), "env", "has 201 sequences"),
        (f">a\n{'MKTAY' * (MAX_RESIDUES // 5)}\n>b\nM\n", "env", "has 20001 residues: give"),
        (f">a\n{'MKTAY ' * MAX_RESIDUES * 2}\n", "env", "has more than 200000 characters"),
    ],
)
def test_what_is_no_ticket(text: str, mode: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_ticket(text, mode)
    assert str(caught.value).count("\n") == 0


def test_modes_of_pairs() -> None:
    for mode in ("", "-env", "pairgreedy-env", "paircomplete"):
        read_ticket(">a\nMK\n", mode, is_paired=True)
    for mode in ("pairgreedy-paircomplete", "nofilter"):
        with pytest.raises(InputError, match="The ticket has the mode"):
            read_ticket(">a\nMK\n", mode, is_paired=True)


# With a program that only pretends to search


ROWS = r"""
case "$1" in unpackdb) for n in 0 1; do printf ">101\nMK\n>r\nM-\n" > "$3/$n$7"; done;; esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that finds one row for each of two sequences."""
    program = fake_program(tmp_path / "bin" / "mmseqs", f"echo 18\n{ROWS}")
    monkeypatch.setattr(mmseqs, "find", lambda *_: str(program))
    return program


@pytest.fixture
def served(fake: Path, tmp_path: Path) -> Tickets:
    return Tickets((inspect(files(tmp_path / "uniref")),), tmp_path / "served")


BOTH = read_ticket(">first one\nMK\n>x|2\nMV\n", "env")


def test_names_are_those_of_the_ticket(served: Tickets, tmp_path: Path) -> None:
    path = served.run(BOTH)
    assert served.state(served.identifier(BOTH)) == State(COMPLETE)
    assert path == served.file(served.identifier(BOTH))
    found = members(path)
    assert list(found) == [UNIREF, "pdb70.m8", ENVIRONMENT, "msa.sh"]
    assert found[UNIREF] == b">first one\nMK\n>r\nM-\n\0>x|2\nMK\n>r\nM-\n\0"
    assert found[ENVIRONMENT] == b">first one\nMK\n\0>x|2\nMV\n\0", "there is no such database"
    assert found["pdb70.m8"] == b""
    assert str(tmp_path) not in found["msa.sh"].decode()
    [file] = served.folder.iterdir()
    again = replace(served, folder=tmp_path / "again", num_threads=2).run(BOTH)
    assert again.name == file.name == f"mmseqs_results_{served.identifier(BOTH)}.tar.gz"
    assert again.read_bytes() == file.read_bytes()


def test_pairs_without_a_taxonomy_have_no_rows(served: Tickets, tmp_path: Path) -> None:
    ticket = read_ticket(">a\nMK\n>b\nMV\n", "pairgreedy-env", is_paired=True)
    both = members(served.run(ticket))
    assert both["pair.a3m"] == b">a\nMK\n>r\nM-\n\0>b\nMK\n>r\nM-\n\0"
    (tmp_path / "uniref_taxonomy").unlink()
    without = replace(served, databases=(inspect(tmp_path / "uniref"),))
    assert members(without.run(ticket))["pair.a3m"] == b">a\nMK\n\0>b\nMV\n\0"
    assert b"no rows are paired" in members(without.run(ticket))["pair.sh"]
    with pytest.raises(InputError, match="asks for taxonomy, which uniref does not have"):
        without.run(read_ticket(">a\nMK\n", "all-taxonomy"))


def test_the_identifier_is_that_of_all_that_counts(
    served: Tickets, fasta: Database, library: Database, fake: Path
) -> None:
    text = ">a\nMK\n"
    same = served.identifier(read_ticket(text, "env"))
    assert served.identifier(read_ticket(">a \nm\nk\n", "env")) == same
    pairs = (read_ticket(text, "env", is_paired=True),)
    texts = ((">b\nMK\n", "env"), (">a\nMV\n", "env"), (text, "all"), (text, "env-nofilter"))
    others = [*(read_ticket(*each) for each in texts), *pairs]
    [database] = served.databases
    found = {same, *map(served.identifier, others)}
    ticket = read_ticket(text, "env")
    for databases in ((fasta,), (database, library), (fasta, library)):
        found.add(replace(served, databases=databases).identifier(ticket))
    for version in ("1", "2"):
        changed = replace(database, version=version)
        found.add(replace(served, databases=(changed, fasta)).identifier(ticket))
    fake_program(fake, "echo 19")
    found.add(served.identifier(ticket))
    assert len(found) == 12
    notemplates = read_ticket(text, "env-notemplates")
    known = {
        replace(served, databases=each).identifier(notemplates)
        for each in ((database,), (database, library))
    }
    assert len(known) == 1


def test_what_is_not_registered(fasta: Database, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"No FASTA file .* is registered") as caught:
        Tickets((), tmp_path).identifier(BOTH)
    assert caught.value.code == "no_database"
    for word in ("m8output", "taxonomy"):
        with pytest.raises(InputError, match=f"The ticket asks for {word}, but no clustered"):
            Tickets((fasta,), tmp_path).identifier(read_ticket(">a\nMK\n", f"all-{word}"))


@pytest.mark.parametrize("name", ["", "../x", "0" * 63, "0" * 64, "A" * 64])
def test_what_is_not_known(served: Tickets, name: str) -> None:
    assert served.state(name) == State(UNKNOWN)
    served.folder.mkdir()
    assert served.state(name) == State(UNKNOWN)
    if name != "0" * 64:
        with pytest.raises(InputError, match="is not a ticket: send the query again"):
            served.file(name)


# What fails


def check_nothing_is_left(served: Tickets, *expected: str) -> None:
    assert sorted(each.name for each in served.folder.iterdir()) == sorted(expected)


def test_a_failure_is_told_and_the_ticket_run_again(served: Tickets, fake: Path) -> None:
    fake_program(fake, 'case "$1" in version) echo 18;; *) echo "broken data"; exit 1;; esac')
    with pytest.raises(OutsideError, match=r"mmseqs failed \(broken data\)"):
        served.run(BOTH)
    name = served.identifier(BOTH)
    assert served.state(name) == State(
        ERROR, "mmseqs failed (broken data): run the same command again."
    )
    check_nothing_is_left(served, f"{name}.json")
    fake_program(fake, f"echo 18\n{ROWS}")
    served.run(BOTH)
    assert served.state(name) == State(COMPLETE)
    check_nothing_is_left(served, f"mmseqs_results_{name}.tar.gz")
    (served.folder / f"{'0' * 64}.json").write_text("[")
    assert served.state("0" * 64) == State(UNKNOWN)


def test_a_damaged_database(served: Tickets, tmp_path: Path) -> None:
    name = served.identifier(BOTH)
    (tmp_path / "uniref_seq").write_text("other\n")
    with pytest.raises(InputError, match="its files changed"):
        served.run(BOTH)
    state = served.state(name)
    assert state.status == ERROR
    assert state.reason.startswith(f"{tmp_path / 'uniref'} is not the database that was recorded")
    check_nothing_is_left(served, f"{name}.json")


@pytest.mark.parametrize("is_program", [True, False])
def test_a_full_disk(
    served: Tickets, fake: Path, is_program: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_program:
        fake_program(fake, 'case "$1" in version) echo 18;; *) exit 1;; esac')
        usage = type(shutil.disk_usage("/"))(1 << 41, 1 << 41, 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    else:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tickets, "write_tar", full)
    with pytest.raises(DiskFullError, match="free some space"):
        served.run(BOTH)
    state = served.state(served.identifier(BOTH))
    assert (state.status, "space" in state.reason) == (ERROR, True)
    check_nothing_is_left(served, f"{served.identifier(BOTH)}.json")


RUN = """
import signal, sys
from pathlib import Path
from foldry.search import mmseqs
from foldry.search.databases import inspect
from foldry.search.tickets import Tickets, read_ticket
signal.signal(signal.SIGINT, signal.default_int_handler)
mmseqs.find = lambda *_: sys.argv[1]
served = Tickets((inspect(Path(sys.argv[2])),), Path(sys.argv[3]))
print(served.run(read_ticket(">first one\\nMK\\n>x|2\\nMV\\n", "env")))
"""


def start(served: Tickets, fake: Path) -> subprocess.Popen[bytes]:
    """Run the ticket in another process."""
    places = [fake, served.databases[0].path, served.folder]
    command = [sys.executable, "-c", RUN, *map(str, places)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def wait_for(path: Path) -> str:
    end = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    return path.read_text()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_ticket_that_is_ended_can_be_run_again(
    served: Tickets, fake: Path, tmp_path: Path, how: signal.Signals
) -> None:
    running = tmp_path / "running"
    slow = f'case "$1" in search) echo $$ > {running}; exec sleep 600;; esac'
    fake_program(fake, f"{slow}\necho 18\n{ROWS}")
    with start(served, fake) as process:
        number, name = int(wait_for(running)), served.identifier(BOTH)
        assert served.state(name) == State(RUNNING)
        process.send_signal(how)
        assert process.wait(60) != 0
    assert served.state(name) == State(UNKNOWN)
    end = time.monotonic() + 60
    while Path(f"/proc/{number}").exists():
        assert time.monotonic() < end, "the program outlives the process that started it"
        time.sleep(0.02)
    fake_program(fake, f"echo 18\n{ROWS}")
    assert members(served.run(BOTH))[UNIREF].startswith(b">first one\n")
    check_nothing_is_left(served, f"mmseqs_results_{name}.tar.gz")


def test_of_two_at_once_one_waits(served: Tickets, fake: Path, tmp_path: Path) -> None:
    log, running, go = (tmp_path / name for name in ("log", "running", "go"))
    wait = f"echo $$ > {running}; while [ ! -e {go} ]; do sleep 0.05; done"
    slow = f'case "$1" in search) echo search >> {log}; {wait};; esac'
    fake_program(fake, f"{slow}\necho 18\n{ROWS}")
    with start(served, fake) as first, start(served, fake) as second:
        wait_for(running)
        time.sleep(1)  # so that the other waits
        assert (first.poll(), second.poll()) == (None, None)
        go.touch()
        printed = {each.communicate(timeout=60)[0] for each in (first, second)}
    assert (first.returncode, second.returncode, len(printed)) == (0, 0, 1)
    assert log.read_text() == "search\n"
    check_nothing_is_left(served, f"mmseqs_results_{served.identifier(BOTH)}.tar.gz")

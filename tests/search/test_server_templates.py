"""Templates of a server: its hits, the structures that it sends, and what it may do wrong."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foldry.errors import InputError, MissingError, OutsideError
from foldry.formats.coordinates import parse_deposition
from foldry.formats.fasta import FastaRecord, fasta_records
from foldry.formats.template import deposition_mmcif
from foldry.query import Alignment
from foldry.search import server_templates
from foldry.search.client import Patience
from foldry.search.engines import server_templates as server_templates_search
from foldry.search.hits import AlignedHit
from foldry.search.server import TicketServer
from foldry.search.server_templates import ServerTemplates
from foldry.search.templates import Rules, choose
from foldry.store.cache import Cache
from tests.search.ticket_host import (
    Fault,
    Host,
    Members,
    Request,
    answer,
    archive,
    download,
    found,
    hosted,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENT = Patience(10, 20, 20, 60, pause=0.001, max_pause=0.002, spacing=0, attempts=3)
PLAIN = (EXAMPLES / "kunitz" / "1adz.cif").read_bytes()
KUNITZ = "LKPDFCFLEEDPGICRGYITRYFYNNQTKQCERFKYGGCLGNMNNFETLEECKNICEDGPNGF"
QUERY = f"MK{KUNITZ[10:50]}ACDEFGHIKL"


@pytest.fixture
def host() -> Iterator[Host]:
    with hosted() as running:
        running.structures = structures
        yield running


def structures(names: Sequence[str]) -> Members:
    """Return the structures that a server of ColabFold sends, with the sequences of chains."""
    entries = {f"{name.partition('_')[0]}.cif": PLAIN for name in sorted(names)}
    return {**database(dict.fromkeys(names, KUNITZ)), **entries}


def database(chains: Mapping[str, str]) -> dict[str, bytes]:
    """Return an HH-suite database of chains, with annotation before and homologues after each."""
    data, index = b"", ""
    for name, sequence in chains.items():
        rows = f">ss_pred\n{'C' * len(sequence)}\n>{name} A title\n{sequence}\n"
        rows += f">9xyz_A\n{sequence[::-1]}\n"
        index += f"{name}\t{len(data)}\t{len(rows) + 1}\n"
        data += rows.encode() + b"\0"
    return {"pdb70_a3m.ffdata": data, "pdb70_a3m.ffindex": index.encode()}


def of(host: Host, tmp_path: Path) -> ServerTemplates:
    cache = Cache(tmp_path / "kept")
    return ServerTemplates(TicketServer(host.url, cache, patience=PATIENT, announce=lambda _: None))


def finds(host: Host, *rows: str) -> None:
    """Let a server find hits of templates."""
    host.result = lambda request: {**found(request), "pdb70.m8": "".join(rows).encode()}


def hits(templates: ServerTemplates, *queries: str) -> list[list[AlignedHit]]:
    return list(templates.hits([Alignment.of(["q"], [each]) for each in queries or (QUERY,)]))


def hit_of(target: str, query: str = "101") -> str:
    """Return a hit that aligns residues 3–42 of the query to residues 11–50 of the chain."""
    cells = [query, target, 1, 40, 0, 0, 3, 42, 11, 50, 1e-20, 90, "40M"]
    return "\t".join(map(str, cells)) + "\n"


def asked(host: Host) -> list[list[str]]:
    """Return the names that each request for structures has."""
    paths = [each.path for each in host.requests if each.path.startswith("/template/")]
    return [path.removeprefix("/template/").split(",") for path in paths]


def test_a_hit_becomes_a_template(host: Host, tmp_path: Path) -> None:
    finds(host, hit_of("1adz_A"))
    templates = of(host, tmp_path)
    [[hit]] = hits(templates)
    assert (hit.name, hit.begin, hit.sequence) == ("1adz_A", 10, KUNITZ[10:50])
    assert hit.pairs.tolist() == [[number + 2, number] for number in range(40)]
    assert hit.e_value == 1e-20
    chosen = choose(QUERY, [hit], templates, Rules())
    assert chosen.left_out == ()
    [template] = chosen.hits
    assert template.identity == 1.0 and template.name == "1adz_A"
    assert template.structure is not None
    assert template.structure.sequence[template.pairs[0, 1] :].startswith(KUNITZ[10:50])


def test_the_ticket_of_the_alignment_serves_its_templates(host: Host, tmp_path: Path) -> None:
    finds(host, hit_of("1adz_A"), hit_of("2bcd_B", "102"), hit_of("1adz_A", "102"))
    templates = of(host, tmp_path)
    other = QUERY[::-1]
    list(templates.server.query([QUERY, other]))
    found = hits(templates, other, QUERY)
    assert [[hit.name for hit in each] for each in found] == [["2bcd_B", "1adz_A"], ["1adz_A"]]
    assert host.asked == ["POST /ticket/msa", "GET /result/download", "GET /template/2bcd_B,1adz_A"]
    assert [len(each) for each in hits(of(host, tmp_path), other, QUERY)] == [2, 1]
    assert len(host.requests) == 3  # kept for the next run


def test_twenty_hits_are_used_in_their_order(host: Host, tmp_path: Path) -> None:
    names = [f"{number}abc_A" for number in range(1, 31)]
    finds(host, *map(hit_of, names))
    [found] = hits(of(host, tmp_path))
    assert [each.name for each in found] == names[:20]
    assert asked(host) == [names[:20]]


def test_letters_of_the_structure_replace_those_of_the_database(host: Host, tmp_path: Path) -> None:
    finds(host, hit_of("1adz_A"), hit_of("1adz_B"))
    host.structures = lambda names: {"1adz.cif": PLAIN}
    [[hit]] = hits(of(host, tmp_path))  # there is no chain B
    assert hit.sequence == KUNITZ[10:50]


def test_what_is_sent_is_announced(host: Host, tmp_path: Path) -> None:
    finds(host, hit_of("1adz_A"))
    said: list[str] = []
    server = TicketServer(host.url, Cache(tmp_path), patience=PATIENT, announce=said.append)
    hits(ServerTemplates(server))
    assert [each.partition(" sent to ")[0] for each in said] == [
        f"1 sequence of {len(QUERY)} residues is",
        "Names of known structures are",
    ]


def test_a_server_that_lacks_one_structure_sends_the_others(host: Host, tmp_path: Path) -> None:
    """The official server breaks off in the middle of its archive."""
    names = [f"{number}abc_A" for number in range(1, 10)]
    finds(host, *map(hit_of, names))
    missing = "4abc_A"
    sends, usual = host.structures, host._usual

    def breaking(path: str, request: Request) -> Fault:
        if path.startswith("/template/") and missing in path:
            return download(archive(sends([missing]))[:-30] + b"open 4abc.cif.gz: no such file")
        return usual(path, request)

    host._usual = breaking  # type: ignore[method-assign]
    templates = of(host, tmp_path)
    [found] = hits(templates)
    assert [each.name for each in found] == names
    assert [each.name for each in found if set(each.sequence) == {"X"}] == [missing]
    assert len(asked(host)) <= 9
    with pytest.raises(MissingError, match="was not sent by"):
        templates.read("4abc")
    assert templates.read("5abc").chain_to_seqres == {"A": KUNITZ}
    chosen = choose(QUERY, found, templates, Rules())
    assert [each.name for each in chosen.left_out] == [missing]


def member(kind: bytes, name: str, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


BAD: dict[str, Members | bytes] = {
    "half": archive(structures(["1adz_A"]))[:-20],
    "web page": b"<html></html>",
    "empty": b"",
    "parent": {"../1adz.cif": PLAIN},
    "link": {"1adz.cif": member(tarfile.SYMTYPE, "1adz.cif", "/etc/passwd")},
    "link inside": {
        "other": b"_atom_site.",
        "1adz.cif": member(tarfile.SYMTYPE, "1adz.cif", "other"),
    },
    "device": {"1adz.cif": member(tarfile.BLKTYPE, "1adz.cif")},
    "page as structure": {"1adz.cif": b"<html>not found</html>"},
    "another structure": {"9xyz.cif": PLAIN},
    "nothing": {},
}


@pytest.mark.parametrize("name", BAD)
def test_no_damaged_structure_is_kept(host: Host, tmp_path: Path, name: str) -> None:
    finds(host, hit_of("1adz_A"))
    host.always["GET /template/"] = download(BAD[name])
    templates = of(host, tmp_path)
    [found] = hits(templates)
    [left] = choose(QUERY, found, templates, Rules()).left_out
    assert left.reason == "has no file with its structure"
    kept = [gzip.decompress(each.read_bytes()) for each in tmp_path.rglob("*.gz")]
    assert not any(b"_atom_site" in each or b"html" in each for each in kept)
    del host.always["GET /template/"]
    assert choose(QUERY, hits(templates)[0], templates, Rules()).hits  # it is asked for again


@pytest.mark.parametrize(
    "files",
    [
        {"pdb70_a3m.ffindex": b"1adz_A\t0\t999999999\n"},
        {"pdb70_a3m.ffindex": b"\xff\xfe"},
        {"pdb70_a3m.ffindex": b"1adz_A\tx\ty\n"},
        {"pdb70_a3m.ffdata": b"\xff" * 300},
        {"pdb70_a3m.ffdata": b"no header\n"},
        {"pdb70_a3m.ffdata": b">1adz_A\nSHORT\n\0"},
        {"pdb70_a3m.ffdata": member(tarfile.SYMTYPE, "pdb70_a3m.ffdata", "1adz.cif")},
    ],
)
def test_a_damaged_database_of_chains_is_not_needed(
    host: Host, tmp_path: Path, files: Members
) -> None:
    finds(host, hit_of("1adz_A"))
    host.structures = lambda names: {**structures(names), **files}
    [[hit]] = hits(of(host, tmp_path))
    assert hit.sequence == KUNITZ[10:50]


def test_a_database_of_chains_is_read_no_more_often_than_needed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def noted(text: str, name: str, *more: Any) -> Iterator[FastaRecord]:
        read.append(name)
        return fasta_records(text, name, *more)

    monkeypatch.setattr(server_templates, "fasta_records", noted)
    finds(host, hit_of("1adz_A"))
    index = database({"1adz_A": KUNITZ, "9xyz_A": KUNITZ})["pdb70_a3m.ffindex"]
    host.structures = lambda names: {**structures(names), "pdb70_a3m.ffindex": index * 1000}
    hits(of(host, tmp_path))
    assert read == ["1adz_A"]


def test_a_structure_that_is_too_large_is_left_out(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_templates, "_MAX_STRUCTURE", len(PLAIN))
    finds(host, hit_of("1abc_A"), hit_of("1adz_A"))
    host.structures = lambda names: {**structures(names), "1abc.cif": PLAIN + b"#"}
    templates = of(host, tmp_path)
    chosen = choose(QUERY, hits(templates)[0], templates, Rules())
    assert [each.name for each in chosen.hits] == ["1adz_A"]
    assert [each.name for each in chosen.left_out] == ["1abc_A"]


def test_templates_are_kept_once_all_structures_have_arrived(host: Host, tmp_path: Path) -> None:
    finds(host, hit_of("1adz_A"), hit_of("1abc_A"))
    alignment = Alignment.of(["q"], [QUERY])

    def found_now() -> list[str]:
        templates = of(host, tmp_path)
        search = server_templates_search(templates.server, None, templates.server.cache)
        [(chosen, _)] = search.run([alignment])
        return [each.name for each in chosen.hits]

    whole = archive(structures(["1adz_A", "1abc_A"]))
    host.faults["GET /template/1adz_A,1abc_A"] = [download(whole[:-20])]
    host.faults["GET /template/1abc_A"] = [download(whole[:-20])]
    assert found_now() == ["1adz_A"]
    assert found_now() == ["1adz_A", "1abc_A"]
    requests = len(host.requests)
    assert found_now() == ["1adz_A", "1abc_A"]
    assert len(host.requests) == requests


@pytest.mark.parametrize(("date", "known"), [("1971-01-01", None), ("2001-02-03", "2001-02-03")])
def test_a_date_that_stands_for_none_is_none(
    host: Host, tmp_path: Path, date: str, known: str | None
) -> None:
    finds(host, hit_of("1adz_A"))
    dated = replace(parse_deposition(PLAIN, "1adz"), release_date=date)
    host.structures = lambda names: {"1adz.cif": deposition_mmcif(dated, "1adz").encode()}
    templates = of(host, tmp_path)
    [found] = hits(templates)
    [hit] = choose(QUERY, found, templates, Rules()).hits
    assert hit.release_date == known
    assert bool(choose(QUERY, found, templates, Rules("2020-01-01")).hits) is bool(known)


def test_the_longer_names_of_the_pdb(host: Host, tmp_path: Path) -> None:
    finds(host, hit_of("pdb_00001adz_A"))
    host.structures = lambda names: {"pdb_00001adz.cif": PLAIN}
    templates = of(host, tmp_path)
    [hit] = choose(QUERY, hits(templates)[0], templates, Rules()).hits
    assert hit.name == "pdb_00001adz_A"


def test_a_damaged_structure_is_left_out(host: Host, tmp_path: Path) -> None:
    finds(host, hit_of("1adz_A"), hit_of("1abc_A"))
    damaged = {"1abc.cif": b"data_x\nloop_\n_atom_site.id\n_atom_site.x\n1\n"}
    host.structures = lambda names: {**structures(names), **damaged}
    templates = of(host, tmp_path)
    chosen = choose(QUERY, hits(templates)[0], templates, Rules())
    assert [each.name for each in chosen.hits] == ["1adz_A"]
    assert [each.name for each in chosen.left_out] == ["1abc_A"]
    with pytest.raises(InputError):
        templates.read("1abc")


@pytest.mark.parametrize(
    "target", ["../x_A", "a/b_A", "a,b_A", "1adz", "_A", "1adz_", "1adz_A?x", "x" * 60 + "_A"]
)
def test_names_that_are_none_are_not_asked_for(host: Host, tmp_path: Path, target: str) -> None:
    finds(host, hit_of(target), hit_of("1adz_A"))
    [found] = hits(of(host, tmp_path))
    assert [each.name for each in found] == ["1adz_A"]
    assert asked(host) == [["1adz_A"]]


@pytest.mark.parametrize(
    "rows",
    [
        b"<html>",
        b"101\t1adz_A\t1\n",
        hit_of("1adz_A", "999").encode(),
        hit_of("1adz_A").replace("\t3\t42\t", "\t43\t82\t").encode(),
        hit_of("1adz_A").replace("40M", "41M").encode(),
        hit_of("1adz_A").encode() + b"\xff",
        b"\0" * 100,
    ],
)
def test_hits_that_cannot_be_read_do_not_cost_the_alignment(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: bytes
) -> None:
    host.result = lambda request: {**found(request), "pdb70.m8": rows}
    templates = of(host, tmp_path)
    [alignment] = templates.server.query([QUERY])
    assert alignment.num_rows == 4
    assert hits(templates) == [[]]
    assert f"{host.url} sent no templates that can be used: " in caplog.text
    assert len(host.requests) == 2


def test_a_server_without_templates(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.result = lambda request: {
        name: data for name, data in found(request).items() if name.endswith("a3m")
    }
    assert hits(of(host, tmp_path)) == [[]]
    assert caplog.records == []


@pytest.mark.parametrize("fault", [answer("", 503), answer({"status": "RATELIMIT"}, 429)])
def test_structures_that_cannot_be_reached_now_are_not_called_missing(
    host: Host, tmp_path: Path, fault: Fault
) -> None:
    finds(host, hit_of("1adz_A"), hit_of("1abc_A"))
    host.always["GET /template/"] = fault
    with pytest.raises(OutsideError, match="could not send a file"):
        hits(of(host, tmp_path))
    assert len(asked(host)) == PATIENT.attempts
    del host.always["GET /template/"]
    assert len(hits(of(host, tmp_path))[0]) == 2


def test_a_folder_that_cannot_be_written_stops_nothing(host: Host, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    finds(host, hit_of("1adz_A"))
    templates = of(host, tmp_path)
    assert choose(QUERY, hits(templates)[0], templates, Rules()).hits

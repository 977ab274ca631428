"""A search by a server: what it may do wrong, and what is made of it."""

from __future__ import annotations

import base64
import gzip
import logging
import re
import socket
import struct
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from foldry.errors import InputError, OutsideError
from foldry.search import client, kept, ticket_client
from foldry.search import server as server_module
from foldry.search.client import HEADER, LOGIN, Client, Patience, check_server
from foldry.search.server import ServerSettings, TicketServer
from foldry.store.cache import Cache
from tests.search.ticket_host import (
    CERTIFICATE,
    ENVIRONMENTAL,
    UNIREF,
    Fault,
    Handler,
    Host,
    Members,
    Request,
    answer,
    archive,
    bomb,
    chunked,
    download,
    entries,
    found,
    hosted,
)

ONE, OTHER = "MKTAYIAKQR", "MKVAYIA"
SENT = {"101": ONE, "102": OTHER}
PATIENT = Patience(10, 20, 20, 60, pause=0.001, max_pause=0.002, spacing=0, attempts=4)
HASTY = replace(PATIENT, timeout=0.5, max_request=0.7, max_download=0.7, max_wait=5)
"""For servers that would otherwise be waited for."""
BRIEF = replace(PATIENT, max_wait=0.7)
USUAL = ServerSettings()
POST, POLL, GET = "POST /ticket/msa", "GET /ticket/", "GET /result/download/"


@pytest.fixture
def host() -> Iterator[Host]:
    with hosted() as running:
        yield running


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (LOGIN, HEADER):
        monkeypatch.delenv(name, raising=False)


def of(
    host: Host,
    tmp_path: Path,
    settings: ServerSettings = USUAL,
    patience: Patience = PATIENT,
    url: str = "",
) -> TicketServer:
    """Return an engine that asks a host and says nothing."""
    cache = Cache(tmp_path / "kept")
    place = url or host.url
    return TicketServer(place, cache, settings, patience=patience, announce=lambda _: None)


def texts(server: TicketServer, *sequences: str) -> list[tuple[str, ...]]:
    return [each.texts for each in server.query(sequences)]


def failure(server: TicketServer, *sequences: str) -> str:
    """Return the sentence with which a search fails, which is one line without secrets."""
    begin = time.monotonic()
    with pytest.raises(OutsideError) as caught:
        list(server.query(sequences or (ONE, OTHER)))
    assert time.monotonic() - begin < 10
    said = str(caught.value)
    assert said.isprintable() and said.startswith(server.url) and said.endswith(".")
    return said


def homologue(sequence: str) -> str:
    return f"-{sequence[1:-1]}aaX"


# What is asked


def test_rows_of_both_databases_are_those_of_the_sequence(host: Host, tmp_path: Path) -> None:
    one, other, again = of(host, tmp_path).query([ONE, OTHER, ONE])
    assert one.texts == (ONE, homologue(ONE)) * 2
    assert one.headers == ("101", "uniref_hit\tx", "101", "environmental_hit\tx")
    assert other.texts == (OTHER, homologue(OTHER)) * 2
    assert again == one
    assert one.source is not None and one.source.database == host.url
    assert host.asked == ["POST /ticket/msa", "GET /result/download"]
    request = host.requests[0]
    assert request.form == {"q": f">101\n{ONE}\n>102\n{OTHER}\n", "mode": "env"}
    assert request.headers["User-Agent"].startswith("foldry/")
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        (ServerSettings(environmental=False), "all"),
        (ServerSettings(filter=False), "env-nofilter"),
        (ServerSettings(environmental=False, filter=False), "nofilter"),
    ],
)
def test_modes(host: Host, tmp_path: Path, settings: ServerSettings, mode: str) -> None:
    texts(of(host, tmp_path, settings), ONE)
    assert host.requests[0].form["mode"] == mode


@pytest.mark.parametrize(
    ("settings", "mode", "num_rows"),
    [
        (ServerSettings(), "pairgreedy", 2),
        (ServerSettings(pairing_strategy=1), "paircomplete", 2),
        (ServerSettings(environmental_pairs=True), "pairgreedy-env", 4),
    ],
)
def test_pairs(
    host: Host, tmp_path: Path, settings: ServerSettings, mode: str, num_rows: int
) -> None:
    [rows] = of(host, tmp_path, settings).pairs([(ONE, OTHER)])
    assert [each.num_rows for each in rows] == [num_rows] * 2
    assert [each.query for each in rows] == [ONE, OTHER]
    assert host.asked == ["POST /ticket/pair", "GET /result/download"]
    assert host.requests[0].form["mode"] == mode


def test_pairs_of_unequal_numbers_are_refused(host: Host, tmp_path: Path) -> None:
    settings = ServerSettings(environmental_pairs=True)
    first = entries({"101": ONE}, "a", "b") + entries({"102": OTHER}, "a")
    second = entries({"101": ONE}, "a") + entries({"102": OTHER}, "a", "b")
    host.result = lambda request: {"pair.a3m": first + second}  # as many in all
    with pytest.raises(OutsideError, match="pairs unequal numbers of rows"):
        list(of(host, tmp_path, settings).pairs([(ONE, OTHER)]))


def test_many_sequences_are_sent_in_tickets_of_bounded_size(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_SEQUENCES", 3)
    monkeypatch.setattr(server_module, "MAX_RESIDUES", 50)
    sequences = ["A" * length + "MK" for length in (5, 6, 7, 8, 60, 9, 30)]
    assert [each[0] for each in texts(of(host, tmp_path), *sequences)] == sequences
    sizes = [len(each.sequences) for each in host.requests if each.method == "POST"]
    assert sizes == [3, 1, 1, 2]


def test_one_sentence_says_what_leaves_before_it_does(host: Host, tmp_path: Path) -> None:
    said: list[tuple[str, int]] = []
    server = TicketServer(
        host.url,
        Cache(tmp_path),
        patience=PATIENT,
        announce=lambda text: said.append((text, len(host.requests))),
    )
    list(server.query([ONE, OTHER]))
    list(server.pairs([(ONE, OTHER)]))
    [(text, requests)] = said
    assert requests == 0
    assert text.startswith(f"2 sequences of 17 residues are sent to {host.url}; ")


def test_the_sentence_is_logged_unless_it_goes_elsewhere(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        list(TicketServer(host.url, Cache(tmp_path), patience=PATIENT).query([ONE]))
    assert f"1 sequence of 10 residues is sent to {host.url}" in caplog.text


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("given", ["", "/", "/api", "/api/"])
@pytest.mark.parametrize("page", ["missing", "web"])
def test_the_prefix_may_be_given_or_not(tmp_path: Path, prefix: str, given: str, page: str) -> None:
    with hosted(prefix) as host:
        if page == "web" and not prefix:
            host.always["POST /api/"] = answer("<html></html>", kind="text/html")
        server = of(host, tmp_path, url=host.url + given)
        assert texts(server, ONE)[0][0] == ONE
        posts = [each.path for each in host.requests if each.method == "POST"]
        assert posts[-1] == f"{prefix}/ticket/msa" and len(posts) <= 2
        assert server.identity == of(host, tmp_path).identity


# What is kept


def test_a_search_is_made_once_a_month(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    for _ in range(2):
        list(kept.search(of(host, tmp_path), [ONE], cache))
    assert host.asked == ["POST /ticket/msa", "GET /result/download"]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 86400)
    list(kept.search(of(host, tmp_path), [ONE], cache))
    assert len(host.requests) == 4


def test_another_run_asks_for_the_same_ticket(host: Host, tmp_path: Path) -> None:
    host.last = "RUNNING"
    assert "did not finish" in failure(of(host, tmp_path, patience=BRIEF))
    del host.requests[:]
    host.last = "COMPLETE"
    assert texts(of(host, tmp_path), ONE, OTHER)[0][0] == ONE
    assert host.asked == [f"GET /ticket/{next(iter(host.tickets))}", "GET /result/download"]


@pytest.mark.parametrize("state", ["", "UNKNOWN", "ERROR"])
def test_a_forgotten_ticket_is_asked_for_again(host: Host, tmp_path: Path, state: str) -> None:
    host.last = "RUNNING"
    failure(of(host, tmp_path, patience=BRIEF))
    del host.requests[:]
    host.last, host.states = "COMPLETE", [state] * bool(state)
    [name] = host.tickets
    if not state:
        host.tickets.clear()
    assert texts(of(host, tmp_path), ONE, OTHER)[0][0] == ONE
    assert host.asked == [f"GET /ticket/{name}", "POST /ticket/msa", "GET /result/download"]


@pytest.mark.parametrize(
    ("state", "most"),
    [("RATELIMIT", PATIENT.attempts), ("UNKNOWN", PATIENT.attempts + 1), ("ERROR", 2)],
)
def test_a_kept_ticket_is_not_asked_for_for_ever(
    host: Host, tmp_path: Path, state: str, most: int
) -> None:
    host.last = "RUNNING"
    failure(of(host, tmp_path, patience=BRIEF))
    host.last = state
    del host.requests[:]
    failure(of(host, tmp_path))
    assert len(host.requests) == most


def test_a_folder_that_cannot_be_written_stops_nothing(host: Host, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    assert texts(of(host, tmp_path), ONE)[0][0] == ONE


# States


def test_a_search_is_waited_for(host: Host, tmp_path: Path) -> None:
    host.states = ["PENDING", "PENDING", "RUNNING", "RUNNING"]
    assert texts(of(host, tmp_path), ONE)[0][0] == ONE
    assert [each.partition("/")[0] for each in host.asked] == ["POST ", *["GET "] * 5]


@pytest.mark.parametrize(
    "limited",
    [
        answer({"status": "RATELIMIT", "reason": "slowly"}, 429),
        answer({"status": "RATELIMIT"}),
        answer("slow down", 429, "text/plain"),
        answer({"id": "t", "status": "UNKNOWN"}),
        answer("busy", 503, "text/html"),
        answer("", 500),
        answer("no JSON"),
        answer("[" * 100_000),
        answer("[1]"),
        answer(b"\xff\xfe\x00"),
        answer({"status": 3}),
    ],
)
def test_what_may_pass_is_tried_again_but_not_for_ever(
    host: Host, tmp_path: Path, limited: Fault
) -> None:
    host.faults[POST] = [limited, limited]
    assert texts(of(host, tmp_path), ONE)[0][0] == ONE
    assert host.asked.count("POST /ticket/msa") == 3
    host.always[POST] = limited
    server = of(host, tmp_path)
    del host.requests[:]
    assert "could not be asked (" in failure(server, OTHER)
    assert len(host.requests) <= PATIENT.attempts
    del host.requests[:]
    failure(server, ONE[1:])  # it was given up
    assert host.requests == []
    with pytest.raises(OutsideError):
        server.check()


@pytest.mark.parametrize("broken", [answer("", 502), answer("<html>", 200, "text/html")])
def test_a_poll_that_fails_is_repeated(host: Host, tmp_path: Path, broken: Fault) -> None:
    host.states = ["PENDING", "RUNNING"]
    host.faults[POLL] = [broken, broken]
    assert texts(of(host, tmp_path), ONE)[0][0] == ONE
    assert host.asked.count("POST /ticket/msa") == 1


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "UNKNOWN", "RATELIMIT"])
def test_no_state_lasts_for_ever(host: Host, tmp_path: Path, state: str) -> None:
    host.last = state
    failure(of(host, tmp_path, patience=BRIEF))


@pytest.mark.parametrize(
    ("reply", "part"),
    [
        (answer({"id": "t", "status": "ERROR"}), "could not search"),
        (answer({"status": "MAINTENANCE"}), "is under maintenance"),
        (answer({"id": "t", "status": "DANCING"}), "the state DANCING, which is unknown"),
        (answer("too many sequences", 400, "text/plain"), "400, 'too many sequences'"),
        (answer("<h1>no</h1>", 413, "text/html"), "refuses the sequences (the server answers 413"),
        (answer("<html></html>", 200, "text/html"), "does not answer as ColabFold's server"),
        (answer("", 404), "does not answer as ColabFold's server"),
        (answer("", 401), f"set ${LOGIN} to USER:PASSWORD"),
        (answer("", 403), f"set ${LOGIN} to USER:PASSWORD"),
        (answer({"id": "../../etc/passwd", "status": "COMPLETE"}), "without a usable name"),
        (answer({"id": "a/../b", "status": "PENDING"}), "without a usable name"),
        (answer({"id": "a%2fb", "status": "PENDING"}), "without a usable name"),
        (answer({"id": ["a"], "status": "PENDING"}), "without a usable name"),
        (answer({"status": "PENDING"}), "without a usable name"),
        (answer(b"x" * (2**20 + 1)), "sends an answer of more than 1,048,576 bytes"),
        (answer("a\x1b[2J\u202eb", 400, "text/plain"), "refuses the sequences"),
    ],
)
def test_a_refusal_ends_the_search_at_once(
    host: Host, tmp_path: Path, reply: Fault, part: str
) -> None:
    host.always["POST /"] = reply
    assert part in failure(of(host, tmp_path))
    assert len(host.requests) <= 2  # with the prefix and without


def test_a_query_that_fails_does_not_stop_the_next(host: Host, tmp_path: Path) -> None:
    host.faults[POST] = [answer({"id": "t", "status": "ERROR"})]
    server = of(host, tmp_path)
    failure(server, ONE)
    assert texts(server, OTHER)[0][0] == OTHER


@pytest.mark.parametrize("when", ["1", "date"])
def test_the_server_says_when_to_come_back(host: Host, tmp_path: Path, when: str) -> None:
    stated = when if when == "1" else formatdate(time.time() + 1.9, usegmt=True)
    host.faults[POST] = [answer({"status": "RATELIMIT"}, 429, Retry_After=stated)]
    begin = time.monotonic()
    assert texts(of(host, tmp_path, patience=PATIENT), ONE)[0][0] == ONE
    assert time.monotonic() - begin > 0.7


def test_a_server_that_asks_to_wait_for_long_is_left_alone(host: Host, tmp_path: Path) -> None:
    host.always[POST] = answer({"status": "RATELIMIT"}, 429, Retry_After="3600")
    assert "asks to wait for 3,600 seconds" in failure(of(host, tmp_path))
    assert len(host.requests) == 1


# Connections


def silent(handler: Handler) -> None:
    time.sleep(1)


def reset(handler: Handler) -> None:
    linger = struct.pack("ii", 1, 0)  # close sends a reset
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()


def dripping(handler: Handler) -> None:
    """Send a header, one letter at a time, with which no timeout of a socket ends."""
    with suppress(OSError):
        for _ in range(100):
            handler.connection.sendall(b"H")
            time.sleep(0.05)


def dripping_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        for _ in range(100):
            handler.connection.sendall(b" ")
            time.sleep(0.05)


def not_http(handler: Handler) -> None:
    handler.connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")


CONNECTIONS = [silent, reset, dripping, dripping_body, not_http]


@pytest.mark.parametrize("fault", CONNECTIONS)
def test_a_connection_that_fails_is_tried_again(host: Host, tmp_path: Path, fault: Fault) -> None:
    host.faults[POST] = [fault]
    host.faults[GET] = [fault]
    assert texts(of(host, tmp_path, patience=HASTY), ONE)[0][0] == ONE


@pytest.mark.parametrize("fault", CONNECTIONS)
def test_a_connection_that_fails_is_not_tried_for_ever(
    host: Host, tmp_path: Path, fault: Fault
) -> None:
    host.always["POST "] = fault
    said = failure(of(host, tmp_path, patience=HASTY))
    assert "could not be asked (" in said
    assert ("(it took longer than 0.7 seconds)" in said) is (fault in (dripping, dripping_body))
    assert len(host.requests) == 3


@pytest.mark.parametrize("code", [400, 404, 405, 410, 418, 501, 505])
def test_a_web_page_is_not_such_a_server(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    lines = [f"<p>line {number} of this page</p>\n\t" for number in range(999)]
    page = f"<html><style>p {{}}</style>\n<h1>Error\n{code}</h1>{''.join(lines)}</html>"
    host.always["POST "] = answer(page, code, "text/html;charset=utf-8")
    with caplog.at_level(logging.INFO):
        said = failure(of(host, tmp_path), ONE)
    begin = f"{host.url} does not answer as ColabFold's server ({code}, 'Error {code} line 0 of"
    assert said.startswith(begin) and said.endswith("'): check the address.")
    assert len(said) < len(begin) + 90 and "\\" not in said
    assert {each.path for each in host.requests} == {"/ticket/msa", "/api/ticket/msa"}
    assert len(host.requests) == 2 and host.url not in caplog.text


def test_a_server_that_never_worked_may_have_another_address(host: Host, tmp_path: Path) -> None:
    host.always["POST "] = answer("<h1>Service\n\nUnavailable</h1>", 503, "text/html")
    said = failure(of(host, tmp_path), ONE)
    assert "(the server answers 503, 'Service Unavailable'): check the address; if " in said
    address = host.url.replace("http:", "https:")
    said = failure(of(host, tmp_path, url=address), ONE)
    assert said.startswith(f"{address} cannot be reached (")
    assert said.endswith("the server seems to expect http:// in place of https://.")


def test_a_server_that_is_not_there_is_given_up_soon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    server = TicketServer(url, Cache(tmp_path), patience=PATIENT, announce=lambda _: None)
    said = failure(server)
    assert said.startswith(f"{url} cannot be reached (Connection refused): check the address; ")
    assert "answers" not in caplog.text and f"{url} cannot be reached (Conn" in caplog.text


def test_connections_are_encrypted_with_those_that_can_prove_who_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_text(CERTIFICATE)
    with hosted(certificate=certificate) as host:
        said = failure(of(host, tmp_path), ONE)
        assert "cannot be reached (" in said and "certificate" in said.lower()
        assert host.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        client._certificates.cache_clear()
        try:
            host.faults[GET] = [dripping, silent]
            assert texts(of(host, tmp_path, patience=HASTY), ONE)[0][0] == ONE
            host.always["POST "] = answer("", 307, Location=host.url.replace("s:", ":") + "/a")
            assert "which is another place" in failure(of(host, tmp_path), OTHER)
        finally:
            client._certificates.cache_clear()


@pytest.mark.parametrize(
    "place",
    [
        "http://other.invalid/",
        "http://127.0.0.1:1/",
        "//other.invalid/x",
        "file:///etc/passwd",
        "http://user:word@127.0.0.1/",
        "http://[::1/",
        "https://127.0.0.2/",
    ],
)
def test_no_other_place_is_asked(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv(LOGIN, "me:secret word")
    for code in (301, 302, 303, 307, 308):
        host.always["POST "] = answer("", code, Location=place)
        assert "which is another place" in failure(of(host, tmp_path))


def test_redirects_within_a_host_are_followed(host: Host, tmp_path: Path) -> None:
    host.faults[POST] = [answer("", 308, Location="/ticket/msa?again")]
    host.always["POST /ticket/msa?again"] = answer("", 301, Location="/ticket/msa")
    host.faults[GET] = [answer("", 302, Location="/else")]
    host.always["GET /else"] = download(
        found(Request("", "", {}, {"q": f">101\n{ONE}\n", "mode": "env"}))
    )
    assert texts(of(host, tmp_path), ONE)[0][0] == ONE
    assert [each.form["q"] for each in host.requests if each.method == "POST"] == [
        f">101\n{ONE}\n"
    ] * 3


def test_redirects_in_a_circle_end(host: Host, tmp_path: Path) -> None:
    host.always["POST "] = answer("", 307, Location="/ticket/msa")
    assert "redirects a request more than 4 times" in failure(of(host, tmp_path))
    assert len(host.requests) == 5


# Results


def link(kind: bytes, target: str, name: str = UNIREF) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def huge() -> tarfile.TarInfo:
    info = tarfile.TarInfo(UNIREF)
    info.size = 2**40
    return info


GOOD = entries(SENT, "hit")
BOTH = {UNIREF: GOOD, ENVIRONMENTAL: GOOD}
UNUSABLE: dict[str, tuple[Members | bytes, str]] = {
    "web page": (b"<html>Bad gateway</html>", "not a complete tar archive"),
    "nothing": (b"", "sent an archive"),
    "JSON": (b'{"status": "ERROR"}', "not a complete tar archive"),
    "half": (archive(BOTH)[:-40], "is a damaged gzip file"),
    "cut early": (archive(BOTH)[:20], "is a damaged gzip file"),
    "changed": (archive(BOTH)[:-6] + b"\0\0" + archive(BOTH)[-4:], "is a damaged gzip file"),
    "packed twice": (gzip.compress(archive(BOTH)), "not a complete tar archive"),
    "parent": ({**BOTH, "../../evil": b"x"}, "leads out of its folder"),
    "absolute": ({**BOTH, "/tmp/evil": b"x"}, "leads out of its folder"),
    "link": ({**BOTH, "l": link(tarfile.SYMTYPE, "/etc/passwd", "l")}, "is a link elsewhere"),
    "link as file": (
        {ENVIRONMENTAL: GOOD, UNIREF: link(tarfile.SYMTYPE, ENVIRONMENTAL)},
        "has no uniref.a3m",
    ),
    "hard link": ({**BOTH, "l": link(tarfile.LNKTYPE, "../x", "l")}, "is a link elsewhere"),
    "device": ({**BOTH, "d": link(tarfile.CHRTYPE, "", "d")}, "is a device"),
    "fifo": ({**BOTH, "d": link(tarfile.FIFOTYPE, "", "d")}, "is a device"),
    "twice": ({**BOTH, f"again/{UNIREF}": GOOD}, "occurs twice"),
    "bomb": (bomb(2**27), "larger than 0.0 GB"),
    "huge": ({UNIREF: huge()}, "larger than"),
    "no alignment": ({ENVIRONMENTAL: GOOD}, "has no uniref.a3m"),
    "no environment": ({UNIREF: GOOD}, f"has no {ENVIRONMENTAL}"),
    "empty": ({UNIREF: b"", ENVIRONMENTAL: GOOD}, "has no alignment of a sequence"),
    "one missing": ({**BOTH, UNIREF: entries({"101": ONE})}, "has no alignment of a sequence"),
    "wrong name": ({**BOTH, UNIREF: entries({"101": ONE, "103": OTHER})}, "with '>103'"),
    "names swapped": ({**BOTH, UNIREF: entries({"101": OTHER, "102": ONE})}, "with '>101'"),
    "another query": ({**BOTH, UNIREF: entries({"101": ONE, "102": "MKVAYIC"})}, "with '>102'"),
    "no NUL": ({**BOTH, UNIREF: GOOD.replace(b"\0", b"")}, "does not separate alignments"),
    "one name": ({**BOTH, UNIREF: GOOD.replace(b"\0>102", b">101")}, "has no alignment of a"),
    "not UTF-8": ({**BOTH, UNIREF: GOOD.replace(b"hit", b"h\xfft")}, "is not UTF-8"),
    "binary": ({**BOTH, UNIREF: bytes(range(256))}, "uniref.a3m"),
    "short row": ({**BOTH, UNIREF: GOOD.replace(b"aaX", b"")}, "cannot be read"),
    "no letters": ({**BOTH, UNIREF: GOOD.replace(b"aaX", b"?<X")}, "cannot be read"),
    "mail": ({**BOTH, UNIREF: b"An error occurred\n"}, "begins an alignment with 'An error"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_nothing_is_kept_of_a_result_that_cannot_be_used(
    host: Host, tmp_path: Path, name: str
) -> None:
    members, part = UNUSABLE[name]
    host.always[GET] = download(members)
    cache = Cache(tmp_path / "kept")
    server = of(host, tmp_path)
    with pytest.raises(OutsideError) as caught:
        list(kept.search(server, [ONE, OTHER], cache))
    assert part in str(caught.value) and str(caught.value).startswith(host.url)
    assert host.asked.count("GET /result/download") <= 3
    tickets = [cache.get(each.key) or b"" for each in cache.entries()]
    assert [each.decode() for each in tickets] == list(host.tickets)
    assert not list(tmp_path.glob("**/evil")) and not Path("/tmp/evil").exists()
    server.check()  # it was not given up
    del host.always[GET]
    assert [each.query for each, _ in kept.search(server, [ONE, OTHER], cache)] == [ONE, OTHER]


@pytest.mark.parametrize(
    "fault",
    [
        download(archive(BOTH)[:-9]),
        download(BOTH, Content_Length=str(len(archive(BOTH)) + 9)),
        download(BOTH, Content_Length=str(len(archive(BOTH)) - 9)),
        answer("Job is not complete", 400, "text/plain"),
        chunked(archive(BOTH), is_whole=False),
        chunked(archive(BOTH)[:-9]),
        answer("", 502),
        answer({"status": "RATELIMIT"}, 429),
        reset,
    ],
)
def test_a_download_that_breaks_off_is_repeated(host: Host, tmp_path: Path, fault: Fault) -> None:
    host.faults[GET] = [fault, fault]
    assert texts(of(host, tmp_path), ONE)[0][0] == ONE
    assert host.asked.count("GET /result/download") == 3


def test_a_download_of_unstated_length(host: Host, tmp_path: Path) -> None:
    host.faults[GET] = [chunked(archive(BOTH))]
    assert [each[0] for each in texts(of(host, tmp_path), ONE, OTHER)] == [ONE, OTHER]


def test_a_reset_in_the_middle_of_a_download(host: Host, tmp_path: Path) -> None:
    def broken(handler: Handler) -> None:
        data = archive(BOTH)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        reset(handler)

    host.always[GET] = broken
    assert "could not send a file (" in failure(of(host, tmp_path))
    assert host.asked.count("GET /result/download") == PATIENT.attempts


@pytest.mark.parametrize(
    "page",
    [
        answer("<html>ok</html>", 200, "text/html"),
        answer({"status": "ERROR"}),
        answer("", 404),
        answer("plain", 200, "text/plain"),
    ],
)
def test_a_page_is_not_an_archive(host: Host, tmp_path: Path, page: Fault) -> None:
    host.always[GET] = page
    assert "sends no archive (the server answers" in failure(of(host, tmp_path))
    assert host.asked.count("GET /result/download") == 1


def test_an_archive_without_end_is_left(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticket_client, "_MAX_ARCHIVE", 10_000)

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            while True:
                handler.wfile.write(bytes(4096))

    host.always[GET] = endless
    assert "more than 10,000 bytes" in failure(of(host, tmp_path))


# Credentials


ECHO = f"Bad header: me:swordfish, {base64.b64encode(b'me:swordfish').decode()}, opensesame"


@pytest.mark.parametrize(
    "echo",
    [
        None,
        answer(ECHO, 400, "text/plain"),
        answer({"id": "t", "status": ECHO}),
        answer("", 307, Location="https://example.org/?key=opensesame"),
    ],
)
def test_credentials_are_sent_and_told_to_nobody(
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    echo: Fault | None,
) -> None:
    plain = of(host, tmp_path).identity
    monkeypatch.setenv(LOGIN, "me:swordfish")
    monkeypatch.setenv(HEADER, "X-API-Key: opensesame")
    packed = base64.b64encode(b"me:swordfish").decode()
    said: list[str] = []
    cache = Cache(tmp_path / "kept")
    with caplog.at_level(logging.DEBUG):
        server = TicketServer(host.url, cache, patience=PATIENT, announce=said.append)
        list(kept.search(server, [ONE], cache))
        if echo is not None:
            host.always["POST "] = echo
            said.append(failure(server, OTHER))
    assert host.requests[0].headers["Authorization"] == f"Basic {packed}"
    assert {each.headers["X-Api-Key"] for each in host.requests} == {"opensesame"}
    assert f" with the credentials in ${LOGIN} and ${HEADER}; " in said[0]
    everything = [*said, caplog.text, repr(server), str(vars(server.client)), str(server.source)]
    everything += [gzip.decompress(each.read_bytes()).decode() for each in tmp_path.rglob("*.gz")]
    everything += [str(each) for each in tmp_path.rglob("*")]
    for secret in ("swordfish", "opensesame", packed):
        assert not any(secret in text for text in everything)
    assert server.identity == plain


@pytest.mark.parametrize(
    ("login", "header", "text", "shown"),
    [
        (
            "u:p",
            "",
            "a puppet upset u:p menu:pot dTpw dTpwx p",
            "a puppet upset … menu:pot … dTpwx p",
        ),
        ("user:word", "", "a word, words, swords of user", "a …, words, swords of user"),
        ("user:word", "", "user:wordy", "…y"),
        ("u:a+(b", "", "not a+(b or aab", "not … or aab"),
        ("user:pass word", "", "pass word: userpass wordy", "…: user…y"),
        ("u:", "", "u menu: x", "u menu: x"),
        ("", "X: 1", "1 of 11, X: 1", "1 of 11, …"),
        ("", "Authorization: Bearer opensesame", "token=opensesame!", "token=…!"),
    ],
)
def test_credentials_are_masked_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, login: str, header: str, text: str, shown: str
) -> None:
    monkeypatch.setenv(LOGIN, login)
    monkeypatch.setenv(HEADER, header)
    reply = client.Reply(400, "text/plain", 0, text.encode())
    assert Client("https://example.org", PATIENT).said(reply) == f"400, '{shown}'"


@pytest.mark.parametrize(
    ("url", "is_readable"),
    [
        ("http://example.org", True),
        ("http://10.0.0.1:8080/api", True),
        ("https://example.org", False),
        ("http://localhost:8080", False),
        ("http://[::1]:8080", False),
    ],
)
def test_a_connection_that_others_can_read_is_announced(
    tmp_path: Path, url: str, is_readable: bool
) -> None:
    said: list[str] = []
    server = TicketServer(url, Cache(tmp_path), announce=said.append)
    server.client.say("1 sequence is", [ONE])
    assert ("as it is not encrypted" in said[0]) is is_readable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (LOGIN, "secret"),
        (LOGIN, "me:sec\nret"),
        (LOGIN, "me:sécret"),
        (HEADER, "secret"),
        (HEADER, "X Y: secret"),
        (HEADER, "X: secret\r\nY: z"),
        (HEADER, ": secret"),
    ],
)
def test_credentials_of_another_form_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        TicketServer("https://example.org", Cache(tmp_path))
    assert f"${name} is not of the form" in str(caught.value)
    assert not re.search("s[eé]c", str(caught.value))


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("ftp://example.org", "is not the address of a server"),
        ("example.org", "is not the address of a server"),
        ("http://", "is not the address of a server"),
        ("https://exa mple.org", "is not the address of a server"),
        ("https://example.org/\r\nX: y", "is not the address of a server"),
        ("https://example.org:99999", "is not the address of a server"),
        ("https://[::1", "is not the address of a server"),
        ("https://example.org/?key=1", "is not the address of a server"),
        ("https://example.org/#x", "is not the address of a server"),
        ("https://example.org/../x", "is not the address of a server"),
        ("file:///etc/passwd", "is not the address of a server"),
        ("https://me:swordfish@example.org", "has a user name or a password"),
        ("https://swordfish@example.org", "has a user name or a password"),
    ],
)
def test_only_plain_addresses_are_used(url: str, part: str) -> None:
    with pytest.raises(InputError) as caught:
        check_server(url)
    assert part in str(caught.value) and "swordfish" not in str(caught.value)


def test_requests_have_a_distance(host: Host) -> None:
    asking = Client(host.url, replace(PATIENT, spacing=0.2))
    begin = time.monotonic()
    for _ in range(3):
        asking.ask("queue")
    assert time.monotonic() - begin >= 0.4


def test_pauses_grow_up_to_a_limit_and_differ() -> None:
    patience = Patience(pause=5, max_pause=60)
    pauses = [patience.before(number) for number in range(1, 1000)]
    assert 5 <= pauses[0] <= 7.5 and 60 <= pauses[-1] <= 90
    assert len(set(pauses[-20:])) > 10

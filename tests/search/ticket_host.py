"""A local server of ColabFold's ticket protocol, which can be told to fail in any way."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import ssl
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

UNIREF, ENVIRONMENTAL = "uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m"

CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRoX2X3aMA4SKWmgu
Sm5cgCV/XxbVaTAYuEjB+n7l0JKhRANCAASCL0RMak3G+XCbsFdVWQK+t0evCca7
ld5x0VqDG1jm0L+IHPE65/5aer2Tbrsf1SQjsdhFjOcEv5daU2STalmd
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBbTCCARKgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIIvRExqTcb5cJuw
V1VZAr63R68JxruV3nHRWoMbWObQv4gc8Trn/lp6vZNuux/VJCOx2EWM5wS/l1pT
ZJNqWZ2jUzBRMA8GA1UdEwEB/wQFMAMBAf8wDwYDVR0RBAgwBocEfwAAATAOBgNV
HQ8BAf8EBAMCAoQwHQYDVR0OBBYEFHzdpRFe0BURpE5nTDbYIHTJuFS8MAoGCCqG
SM49BAMCA0kAMEYCIQDOTqAoOP5dBx1rA7c7LzNFHTZkGSfw3EytRDkuoDKmKAIh
ALBNn3lZvkl7kGG2b/1RBTGvTxEOHsc1YwtoBRyb5eHp
-----END CERTIFICATE-----
"""
"""A certificate of 127.0.0.1 that nobody vouches for, and its key, made for these tests alone."""

Handler = BaseHTTPRequestHandler
Fault = Callable[[Handler], None]
"""Answers one request."""
Members = Mapping[str, bytes | tarfile.TarInfo]


def answer(
    body: object = b"", code: int = 200, kind: str = "application/json", **headers: str
) -> Fault:
    """Return an answer; text and bytes are sent as they are, everything else as JSON."""
    data = body.encode() if isinstance(body, str) else body
    data = data if isinstance(data, bytes) else json.dumps(data).encode()

    def send(handler: Handler) -> None:
        handler.send_response(code)
        named = {"Content-Type": kind, "Content-Length": str(len(data))}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in named.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return send


def archive(members: Members) -> bytes:
    """Return a packed tar archive as the protocol's servers send it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def download(members: Members | bytes, **headers: str) -> Fault:
    """Return the answer with an archive."""
    data = members if isinstance(members, bytes) else archive(members)
    return answer(data, kind="application/octet-stream", **headers)


def chunked(data: bytes, *, is_whole: bool = True) -> Fault:
    """Return the answer with an archive of unstated length, which may break off."""

    def send(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for begin in range(0, len(data), 100):
            part = data[begin : begin + 100]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        if is_whole:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return send


def entries(sequences: Mapping[str, str], *headers: str) -> bytes:
    """Return the alignments of sequences by name: each has a row of gaps and X for each header."""
    return b"".join(
        "".join(
            [f">{name}\n{each}\n", *(f">{row}\tx\n-{each[1:-1]}aaX\n" for row in headers), "\0"]
        ).encode()
        for name, each in sequences.items()
    )


def m8(query: str, target: str, size: int, start: int = 1) -> str:
    """Return a line of m8: the first residues of a query, aligned to a target without gaps."""
    end = start + size - 1
    cells = [query, target, 0.9, size, 0, 0, 1, size, start, end, 1e-9, 80, f"{size}M"]
    return "\t".join(map(str, cells)) + "\n"


@dataclass
class Request:
    """A request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    form: Mapping[str, str]

    @property
    def sequences(self) -> dict[str, str]:
        return dict(re.findall(r">(\d+)\n(\w+)\n", self.form.get("q", "")))


@dataclass
class Host:
    """A server.

    Attributes:
        prefix: The path below which the protocol is.
        faults: For each beginning of `METHOD /path` without prefix, answers to the first requests.
        always: The same, for all requests after these.
        states: The states of tickets in the first answers.
        last: The state in all answers after these.
        result: The files that a search for the sequences of a request finds.
        structures: The archive that is sent for names of templates.
        requests: What arrived.
    """

    prefix: str = ""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    last: str = "COMPLETE"
    result: Callable[[Request], Members] = field(default_factory=lambda: found)
    structures: Callable[[list[str]], Members] = lambda names: {}
    requests: list[Request] = field(default_factory=list)
    tickets: dict[str, Request] = field(default_factory=dict)
    url: str = ""

    @property
    def asked(self) -> list[str]:
        """The methods and the first parts of the paths of all requests."""
        return [f"{each.method} /{'/'.join(each.path.split('/')[1:3])}" for each in self.requests]

    def reply(self, request: Request) -> Fault:
        """Return the answer to a request."""
        self.requests.append(request)
        if not request.path.startswith(f"{self.prefix}/"):
            return answer("<html>404</html>", 404, "text/html")
        path = request.path.removeprefix(self.prefix)
        place = f"{request.method} {path}"
        for start, waiting in self.faults.items():
            if place.startswith(start) and waiting:
                return waiting.pop(0)
        for start, fault in self.always.items():
            if place.startswith(start):
                return fault
        return self._usual(path, request)

    def _state(self) -> str:
        return self.states.pop(0) if self.states else self.last

    def _usual(self, path: str, request: Request) -> Fault:
        name = path.rpartition("/")[2]
        is_known = re.match("/(ticket|result/download|template)/", path)
        usual = answer("not found", 400 if is_known else 404, "text/plain")
        if path in ("/ticket/msa", "/ticket/pair") and request.method == "POST":
            whole = json.dumps([path, dict(request.form)]).encode()
            name = hashlib.sha256(whole).hexdigest()[:38]
            self.tickets[name] = request
            usual = answer({"id": name, "status": self._state()})
        elif path == f"/ticket/{name}" and name in self.tickets:
            usual = answer({"id": name, "status": self._state()})
        elif path == f"/result/download/{name}" and name in self.tickets:
            usual = download(self.result(self.tickets[name]))
        elif path == f"/template/{name}":
            usual = download(self.structures(name.split(",")))
        return usual


def found(request: Request) -> Members:
    """Return the files of a search of one homologue in each database."""
    sequences, mode = request.sequences, request.form["mode"]
    if mode.startswith("pair"):
        parts = ["one", "two"] if mode.endswith("-env") else ["one"]
        return {"pair.a3m": b"".join(entries(sequences, part) for part in parts), "pair.sh": b""}
    files = {UNIREF: entries(sequences, "uniref_hit"), "pdb70.m8": b"", "msa.sh": b"echo\n"}
    if mode.startswith("env"):
        files[ENVIRONMENTAL] = entries(sequences, "environmental_hit")
    return files


@contextmanager
def hosted(prefix: str = "", certificate: Path | None = None) -> Iterator[Host]:
    """Run a server on a port of this machine within the `with` block.

    Args:
        prefix: The path below which the protocol is.
        certificate: A file with a certificate and its key, with which connections are encrypted.
    """
    host = Host(prefix)

    class Replies(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply("")

        def do_POST(self) -> None:
            self.reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def reply(self, form: str) -> None:
            named = {name: values[0] for name, values in parse_qs(form).items()}
            host.reply(Request(self.command, self.path, dict(self.headers), named))(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # the client leaves a server that fails

    with Quiet(("127.0.0.1", 0), Replies) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        scheme = "http" if certificate is None else "https"
        host.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


def bomb(size: int) -> bytes:
    """Return an archive whose only file consists of zeros, packed a thousandfold."""
    info = tarfile.TarInfo(UNIREF)
    info.size = size
    return gzip.compress(info.tobuf() + bytes(size))

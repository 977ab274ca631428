"""A local server that publishes several files, with the faults of `tests.weights.archive.Site`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.weights.archive import Site


@dataclass
class Publisher:
    """A server's files by name.

    Attributes:
        files: The files; another name is not found.
        statuses: Answers instead of the file, one for each request in turn; 0 sends the file.
        asked: Names whose size was asked for so far.
        url: The address of the folder.
    """

    files: dict[str, Site]
    statuses: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def fetched(self) -> list[tuple[str, str | None]]:
        """The name and the Range header of each request for a file, by file."""
        return [(name, each) for name, site in self.files.items() for each in site.requests]


@contextmanager
def publish(**files: bytes | Site) -> Iterator[Publisher]:
    """Serve files on a port of this machine within the `with` block; `__` in a name means a dot."""
    sites = {
        name.replace("__", "."): each if isinstance(each, Site) else Site(each)
        for name, each in files.items()
    }
    publisher = Publisher(sites)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            name = self.path.rpartition("/")[2]
            publisher.asked.append(name)
            site = sites.get(name)
            self.send_response(404 if site is None else site.status or 200)
            if site is not None:
                self.send_header("Content-Length", str(len(site.body) + site.wrong_length))
                if site.hash_header is not None:
                    self.send_header("x-goog-hash", site.hash_header)
            self.end_headers()

        def do_GET(self) -> None:
            site = sites.get(self.path.rpartition("/")[2])
            status = publisher.statuses.pop(0) if publisher.statuses else 0
            if site is None or status:
                self.send_error(status or 404)
            else:
                site.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        publisher.url = f"http://127.0.0.1:{server.server_address[1]}/files"
        try:
            yield publisher
        finally:
            server.shutdown()
            thread.join()

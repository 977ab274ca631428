"""Requests to somebody else's server: few, slow to repeat, bounded in time and size.

Redirects are followed to the same host alone. Credentials come from the environment; they are in no
message, and no other host receives them.
"""

from __future__ import annotations

import base64
import os
import random
import re
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

from foldry.errors import FoldryError, InputError, OutsideError, quoted
from foldry.store.download import CHUNK, why
from foldry.store.files import new_file, writing

LOGIN: Final = "FOLDRY_SERVER_LOGIN"
"""Variable with the user name and the password for a server, as `USER:PASSWORD`."""
HEADER: Final = "FOLDRY_SERVER_HEADER"
"""Variable with a header for a server, e.g. `X-API-Key: KEY`."""
_FORMS: Final = {LOGIN: r"[^:]+:.*", HEADER: r"[A-Za-z0-9-]+:\s*\S.*"}
_MAX_ANSWER: Final = CHUNK
"""Maximum size of an answer that is not a file, bytes."""
_MAX_REDIRECTS: Final = 4
_PORTS: Final = {"http": 80, "https": 443}
_MOVED: Final = (301, 302, 303, 307, 308)
_BUSY: Final = (408, 425, 429)
_REFUSED: Final = (401, 403, 413)
_UNKNOWN: Final = (404, 405, 410, 415, 501, 505)
"""Statuses of servers that do not know such a request."""
_MARKUP: Final = re.compile(r"<(script|style)\b.*?</\1>|<[^<>]*>", re.DOTALL | re.IGNORECASE)
_MAX_PAGE: Final = 4000
"""Number of characters of a web page that are searched for words."""
_MAX_SHOWN: Final = 80
_LONG_SECRET: Final = 8
"""Length from which credentials are masked within words too."""
_MIN_PART: Final = 4
"""Length from which a part of them, such as the password, is masked alone."""


@dataclass(frozen=True)
class Patience:
    """How long and how often a server is asked; all times are in seconds.

    Attributes:
        timeout: Longest silence within a request.
        max_request: Longest duration of a request for anything but a file.
        max_download: Longest duration of a download.
        max_wait: Longest time until a search ends, or until a download succeeds.
        pause: First pause before a request is repeated; each further one is longer. Up to a half
            is added by chance.
        max_pause: Longest of these pauses, unless the server asks for a longer one.
        spacing: Shortest time between two requests.
        attempts: Number of failures in a row after which the server is given up.
    """

    timeout: float = 30.0
    max_request: float = 120.0
    max_download: float = 1800.0
    max_wait: float = 7200.0
    pause: float = 5.0
    max_pause: float = 60.0
    spacing: float = 0.5
    attempts: int = 10

    def before(self, number: int) -> float:
        """Return the pause before the repetition of a request with this number, from 1."""
        return min(self.pause * 1.2 ** min(number - 1, 20), self.max_pause) * random.uniform(1, 1.5)


class BrokenError(Exception):
    """A request failed, but another attempt may succeed.

    Args:
        what: What happened, as part of a sentence.
        after: Seconds that the server asks to wait.
    """

    def __init__(self, what: str, after: float = 0.0) -> None:
        super().__init__(what)
        self.after = after


class UnreachedError(BrokenError):
    """No connection was made, so that nothing was sent."""


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        code: Its HTTP status.
        kind: Its content type.
        after: Seconds that the server asks to wait.
        body: Its content; empty if it was written to a file.
    """

    code: int
    kind: str
    after: float
    body: bytes = b""

    @property
    def is_broken(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in _BUSY or (self.code >= 500 and self.code not in _UNKNOWN)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the address seems to be that of a web site instead of the protocol."""
        may_be = "html" in self.kind and self.code < 500
        return self.code in _UNKNOWN or (may_be and self.code not in (*_BUSY, *_REFUSED))


class Client:
    """Sends requests to one server.

    Attributes:
        url: The address below which everything is.
        patience: How long and how often it is asked.
        credentials: The variables of the environment whose credentials are sent too.
        is_private: Whether nobody between here and the server can read what is sent.

    Raises:
        InputError: The address or the credentials are not usable.
    """

    def __init__(self, url: str, patience: Patience) -> None:
        self.url, self.patience = check_server(url), patience
        self._headers = {"User-Agent": f"foldry/{version('foldry')}", "Accept-Encoding": "identity"}
        self._secrets: list[str] = []
        if login := _variable(LOGIN):
            packed = base64.b64encode(login.encode()).decode()
            self._headers["Authorization"] = f"Basic {packed}"
            self._secrets += [login, packed, *_parts(login.partition(":")[2])]
        if header := _variable(HEADER):
            name, _, value = header.partition(":")
            self._headers[name] = value.strip()
            self._secrets += [header, *_parts(value.strip(), value.rpartition(" ")[2])]
        self.credentials = [name for name in (LOGIN, HEADER) if _variable(name)]
        parts = urlsplit(self.url)
        self.is_private = parts.scheme == "https" or _is_here(parts.hostname or "")
        self._last = -float("inf")

    def ask(self, path: str, form: Mapping[str, str] | None = None) -> Reply:
        """Return the answer to one request; a form is posted.

        Raises:
            BrokenError: The connection failed.
            OutsideError: The answer is too large, or a redirect elsewhere.
        """
        return self._reply(path, form, None, _MAX_ANSWER, self.patience.max_request)

    def download(self, path: str, file: Path, max_bytes: int) -> Reply:
        """Write the file that a server sends for a path; if it sends none, `file` stays empty.

        Raises:
            BrokenError: The connection failed.
            OutsideError: As for `ask`.
        """
        with new_file(file) as target:
            return self._reply(path, None, target, max_bytes, self.patience.max_download)

    def said(self, reply: Reply) -> str:
        """Return what an answer says, for a message."""
        text = self._shown(reply.body.decode(errors="replace"))
        return f"{reply.code}, {text}" if text else f"{reply.code}"

    def _shown(self, text: str) -> str:
        """Return a server's text quoted for a message, without the credentials; "" if empty."""
        for secret in self._secrets:
            ends = ("", "") if len(secret) >= _LONG_SECRET else (r"(?<!\w)", r"(?!\w)")
            text = re.sub(re.escape(secret).join(ends), "…", text)
        if text.lstrip().startswith("<"):
            text = _MARKUP.sub(" ", text[:_MAX_PAGE])
        text = " ".join(text.split())
        return quoted(text, _MAX_SHOWN) if text else ""

    def _reply(
        self,
        path: str,
        form: Mapping[str, str] | None,
        target: BinaryIO | None,
        max_bytes: int,
        seconds: float,
    ) -> Reply:
        url = f"{self.url}/{path}"
        data = urlencode(form).encode() if form is not None else None
        for _ in range(_MAX_REDIRECTS + 1):
            time.sleep(max(0.0, self._last + self.patience.spacing - time.monotonic()))
            self._last = time.monotonic()
            request = urllib.request.Request(url, data, self._headers)
            with _answered(request, self.patience.timeout, seconds) as response:
                location = response.headers.get("Location", "")
                if response.status in _MOVED and location:
                    url = self._moved(url, location)
                    data = None if response.status == 303 else data
                    continue
                is_file = target is not None and response.status == 200
                kind = response.headers.get("Content-Type", "").lower()
                is_file &= not re.match(r"text/|application/json", kind)
                found = bytearray()
                most, size = max_bytes if is_file else _MAX_ANSWER, 0
                for chunk in _chunks(response):
                    size += len(chunk)
                    if size > most:
                        what = f"sends an answer of more than {most:,} bytes"
                        raise OutsideError(what, "ask its operator", where=self.url)
                    if is_file and target is not None:
                        with writing(Path(target.name)):
                            target.write(chunk)
                    else:
                        found += chunk
                return Reply(response.status, kind, _after(response), bytes(found))
        what = f"redirects a request more than {_MAX_REDIRECTS} times"
        raise OutsideError(what, "check the address", where=self.url)

    def _moved(self, url: str, location: str) -> str:
        """Return the address that a redirect names.

        Raises:
            OutsideError: It is on another host, or is not encrypted as this one is.
        """
        try:
            target = urljoin(url, location)
            here, there = urlsplit(url), urlsplit(target)
            is_safer = (here.scheme, there.scheme) == ("http", "https")
            is_same = here.hostname == there.hostname and "@" not in there.netloc
            is_same &= is_safer or _place(here) == _place(there)
        except ValueError:
            is_same = False
        if not is_same or not re.fullmatch(r"[!-~]+", target):
            what = f"redirects to {self._shown(location)}, which is another place"
            raise OutsideError(what, "give that address if you trust it", where=self.url)
        return target


def check_server(url: str) -> str:
    """Return the address of a server without a slash at its end.

    Raises:
        InputError: It is not an http or https address, or has a user name, a password or a query.
    """
    if "@" in url:  # the address is not repeated
        what = "The address of the server has a user name or a password"
        raise InputError(what, f"give it without, and set ${LOGIN} to USER:PASSWORD")
    with suppress(ValueError):
        parts = urlsplit(url)
        is_bare = not parts.query and not parts.fragment and ".." not in parts.path.split("/")
        if re.fullmatch(r"https?://[!-~]+", url) and _place(parts)[1] and is_bare:
            return url.rstrip("/")
    what = f"{quoted(url)} is not the address of a server"
    advice = "give one that begins with https:// or http://, such as https://example.org/api"
    raise InputError(what, advice)


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _is_here(host: str) -> bool:
    """Return whether the name of a host is that of this machine."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _parts(*texts: str) -> list[str]:
    """Return those parts of credentials that are not short enough to occur in any text."""
    return [each for each in texts if len(each) >= _MIN_PART]


def _variable(name: str) -> str:
    """Return a variable with credentials, "" if it is not set.

    Raises:
        InputError: It is not of its form; the message does not repeat it.
    """
    value = os.environ.get(name, "")
    is_plain = value.isprintable() and value.isascii()
    if value and not (is_plain and re.fullmatch(_FORMS[name], value)):
        form = "USER:PASSWORD" if name == LOGIN else "NAME: VALUE"
        raise InputError(f"${name} is not of the form {form}", "set it again, in ASCII letters")
    return value


def _after(response: HTTPResponse) -> float:
    """Return the seconds that an answer asks to wait, which it may state as a date."""
    stated = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,6}", stated):
        return float(stated)
    with suppress(ValueError, TypeError, OverflowError):
        return max(parsedate_to_datetime(stated).timestamp() - time.time(), 0.0)
    return 0.0


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the content as it arrives.

    Raises:
        BrokenError: It is shorter than stated.
    """
    arrived = 0
    while chunk := response.read1(CHUNK):
        arrived += len(chunk)
        yield chunk
    stated = "" if response.chunked else response.headers.get("Content-Length", "")
    if stated.isdecimal() and arrived != int(stated[:20]):
        raise BrokenError(f"{arrived:,} of {stated[:20]} bytes arrived")


@contextmanager
def _answered(
    request: urllib.request.Request, timeout: float, seconds: float
) -> Iterator[HTTPResponse]:
    """Return the answer of a server, of any status, which is read within the `with` block.

    A timer ends the connection of a server that sends a byte now and then.

    Raises:
        UnreachedError: No connection was made.
        BrokenError: The connection failed.
    """
    sockets: list[socket.socket] = []
    ended = threading.Event()
    too_slow = f"it took longer than {seconds:.3g} seconds"

    def end() -> None:
        ended.set()
        for each in sockets:
            with suppress(OSError):
                # That of TLS would take the connection from the thread that reads.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    opener = urllib.request.OpenerDirector()
    handlers = (urllib.request.ProxyHandler(), _Plain(sockets), _Secure(sockets))
    for handler in handlers:
        opener.add_handler(handler)
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        with cast(HTTPResponse, opener.open(request, timeout=timeout)) as response:
            yield response
        if ended.is_set():
            raise BrokenError(too_slow)
    except FoldryError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        said = too_slow if ended.is_set() else why(error)
        raise (BrokenError if sockets else UnreachedError)(said) from error
    finally:
        timer.cancel()


@cache
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


def _noting(kind: type[HTTPConnection], sockets: list[socket.socket]) -> Any:
    """Return a kind of connection that notes its socket."""

    class Connection(kind):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    return Connection


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._kind = _noting(HTTPConnection, sockets)

    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._kind, request)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__(context=_certificates())
        self._kind = _noting(HTTPSConnection, sockets)

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._kind, request, context=_certificates())

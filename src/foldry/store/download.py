"""Downloads over HTTP that go on where they broke off, and take their name when they are whole."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Final, cast

from foldry.errors import DiskFullError, InputError, OutsideError, write_error
from foldry.store.files import free_space, remove, write_text
from foldry.store.hashes import file_digest, file_sha256

PAUSES: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds before each further attempt after the connection broke off."""
TIMEOUT: Final = 60.0
CHUNK: Final = 1 << 20
NO_ADDRESS: Final = "download_address"
"""Code of the errors that another address may avoid."""
_AGAIN: Final = "run the same command again to go on where it stopped, or give another address"

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes of the whole."""


class _BrokenError(Exception):
    """The transfer failed in a way that another attempt may not."""


@dataclass(frozen=True)
class _Remote:
    """What the server says of a file; `md5` and `crc32c` in base64, as Google's servers do."""

    url: str
    size: int
    etag: str | None
    md5: str | None
    crc32c: str | None


def check_address(url: str) -> None:
    """Make sure that this may be the address of a file.

    Raises:
        InputError: It is not one.
    """
    if not re.fullmatch(r"https?://[!-~]+", url):
        raise InputError(f"{url!r} is not an address such as https://example.org/archive.tar")


def check_digest(digest: str | None) -> None:
    """Make sure that this may be a SHA-256, or None.

    Raises:
        InputError: It is not one.
    """
    if digest is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise InputError(f"{digest!r} is not a SHA-256", "give 64 hexadecimal digits")


def check_space(folder: Path, needed: int) -> None:
    """Make sure that so many bytes are free.

    Raises:
        DiskFullError: They are not.
    """
    free = free_space(folder)
    if free < needed:
        raise DiskFullError(
            f"has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed",
            "free some, or choose another folder",
            where=folder,
        )


def check_sha256(path: Path, expected: str | None) -> str:
    """Compare a file with its hash; returns what it was compared with, or "" without a hash.

    Raises:
        InputError: The file has another hash.
    """
    if expected is None:
        return ""
    found = file_sha256(path)
    if found != expected.lower():
        raise InputError(
            f"has the SHA-256 {found} and not {expected.lower()}",
            "check the hash, or delete the file and fetch it again",
            where=path,
        )
    return f"sha256 {found}, as you gave it"


def part_of(path: Path) -> Path:
    """Where the beginning of a download is kept until it is whole."""
    return path.with_name(path.name + ".part")


def fetch(
    url: str,
    path: Path,
    *,
    max_bytes: int,
    sha256: str | None = None,
    spare: int = 0,
    progress: Progress | None = None,
) -> str:
    """Download a file; go on where an earlier attempt broke off.

    What has arrived is in `<path>.part`, and what the server said of it in `<path>.part.json`; the
    file gets its name when it is whole and equals every hash that is known. Only one process at a
    time may fetch a file: the caller holds its folder.

    Args:
        url: http or https.
        path: The file to make.
        max_bytes: A larger file is refused.
        sha256: Its hash, where the caller knows it.
        spare: Bytes to be left free on the disk.
        progress: Called after every megabyte.

    Returns:
        What the file was compared with, or `unknown` with the reason.

    Raises:
        InputError: The address or the hash is wrong.
        DiskFullError: The disk is too small.
        OutsideError: The network or the server failed; what has arrived is kept.
    """
    check_address(url)
    check_digest(sha256)
    part = part_of(path)
    for pause in (*PAUSES, None):
        try:
            remote = _receive(url, part, max_bytes, spare, progress)
            break
        except _BrokenError as error:
            # Where nothing has arrived yet, the address or the network is at fault.
            if pause is None or not part.exists():
                what = f"could not be fetched ({error})"
                raise OutsideError(what, _AGAIN, where=url, code=NO_ADDRESS) from error
            time.sleep(pause)
    checksum = check_sha256(part, sha256) or _check_stated(remote, part)
    part.replace(path)
    remove(_notes(part))
    return checksum


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _receive(
    url: str, part: Path, max_bytes: int, spare: int, progress: Progress | None
) -> _Remote:
    """One attempt: a whole file in `part`, or an error with what has arrived."""
    begun = _begun(url, part)
    headers = {"User-Agent": "foldry", "Accept-Encoding": "identity"}
    offset = 0
    if begun is not None and begun.etag is not None:
        # The last byte is asked for again, since a server cannot send the rest of a whole file.
        offset = max(part.stat().st_size - 1, 0)
        headers |= {"Range": f"bytes={offset}-", "If-Range": begun.etag}
    with _open(url, headers) as response:
        if response.status != 206:
            offset = 0
        remote = _read_headers(url, response, offset, max_bytes)
        if offset and not _continues(response, offset, begun, remote):
            remove(part)
            raise OutsideError(
                "has changed since the download began, and what had arrived was removed",
                "run the command again",
                where=url,
            )
        check_space(part.parent, remote.size - offset + spare)
        write_text(_notes(part), json.dumps({"url": url, "etag": remote.etag, "size": remote.size}))
        arrived = _write(part, offset, _chunks(response), remote.size, progress)
    if arrived != remote.size:
        raise _BrokenError(f"it broke off after {arrived:,} of {remote.size:,} bytes")
    return remote


def _write(
    part: Path, offset: int, chunks: Iterator[bytes], size: int, progress: Progress | None
) -> int:
    """Add what arrives to `part` from `offset` on; returns how many bytes it has then."""
    arrived = offset
    try:
        with part.open("r+b" if offset else "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            for chunk in chunks:
                file.write(chunk)
                arrived += len(chunk)
                if progress is not None:
                    progress(arrived, size)
    except OSError as error:
        raise write_error(error, part) from error
    return arrived


def _continues(response: HTTPResponse, offset: int, begun: _Remote | None, remote: _Remote) -> bool:
    """Whether the answer is the rest of the file that was begun."""
    expected = f"bytes {offset}-{remote.size - 1}/{remote.size}"
    return (
        begun is not None
        and response.headers.get("Content-Range") == expected
        and (remote.etag, remote.size) == (begun.etag, begun.size)
    )


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"it broke off: {error}") from error


def _begun(url: str, part: Path) -> _Remote | None:
    """What the server said when an earlier attempt began, or None where nothing can be resumed."""
    try:
        notes = json.loads(_notes(part).read_text())
        begun = _Remote(notes["url"], int(notes["size"]), notes["etag"], None, None)
        return begun if begun.url == url and 0 < part.stat().st_size <= begun.size else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    """The server's answer, if it is a file."""
    try:
        request = urllib.request.Request(url, headers=headers)
        response = cast(HTTPResponse, urllib.request.urlopen(request, timeout=TIMEOUT))
    except urllib.error.HTTPError as error:
        with error:
            what = f"the server answers {error.code} {error.reason}"
            if error.code >= 500 or error.code in (408, 429):
                raise _BrokenError(what) from error
            raise OutsideError(
                f"{what} for {url}", "check the address, or give another", code=NO_ADDRESS
            ) from error
    except urllib.error.URLError as error:
        raise _BrokenError(str(error.reason)) from error
    except (InvalidURL, ValueError) as error:
        raise InputError(f"{url!r} is not an address ({error})") from error
    except (OSError, HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from error
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise OutsideError(
            f"leads to {response.url}, which is not encrypted",
            "give another address",
            where=url,
            code=NO_ADDRESS,
        )
    return response


def _read_headers(url: str, response: HTTPResponse, offset: int, max_bytes: int) -> _Remote:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise OutsideError(
            "is a web page and not the file",
            "check the address, or give another",
            where=url,
            code=NO_ADDRESS,
        )
    length = headers.get("Content-Length", "")
    if not length.isdecimal() or not 0 < int(length) + offset <= max_bytes:
        raise OutsideError(
            f"the server gives {length or 'nothing'} as the size of {url}, which is not that of "
            "the file",
            "give another address",
            code=NO_ADDRESS,
        )
    size = int(length) + offset
    etag = headers.get("ETag")
    stated = {}
    for part in ",".join(headers.get_all("x-goog-hash", [])).split(","):
        kind, _, value = part.strip().partition("=")
        stated[kind] = value
    return _Remote(
        url=url,
        size=size,
        # A weak tag does not promise the same bytes.
        etag=etag if etag and etag.startswith('"') else None,
        md5=stated.get("md5"),
        crc32c=stated.get("crc32c"),
    )


def _check_stated(remote: _Remote, part: Path) -> str:
    """Compare with the hash that the server states, if it does."""
    if remote.md5 is None:
        other = "only a CRC-32C, which is not checked" if remote.crc32c else "none"
        return f"unknown: the server states {other}"
    digest = file_digest(part, "md5")
    if base64.b64encode(digest).decode() != remote.md5:
        remove(part)
        remove(_notes(part))
        raise OutsideError(
            f"what came from {remote.url} is not what the server says it is (MD5 {remote.md5} in "
            "base64) and was removed",
            "run the command again, or give another address",
            code=NO_ADDRESS,
        )
    return f"md5 {digest.hex()}, as the server states it"

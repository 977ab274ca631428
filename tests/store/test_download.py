"""What servers say of files before they are fetched; tests/weights/test_download.py fetches."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from foldry.errors import InputError, OutsideError
from foldry.store.download import Remote, ask, fetch, read_address
from tests.search.publisher import publish
from tests.weights.archive import Site, md5

BODY = bytes(range(256)) * 20
DIGEST = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


def test_a_server_is_asked_for_the_size() -> None:
    with publish(a=Site(BODY, hash_header=md5(BODY)), b=BODY) as site:
        first, other = ask(f"{site.url}/a", 10_000), ask(f"{site.url}/b", len(BODY))
        assert site.asked == ["a", "b"] and site.fetched == []
    assert (first.size, first.md5) == (len(BODY), DIGEST)
    assert (other.size, other.md5) == (len(BODY), None)


def test_what_a_server_cannot_say() -> None:
    with publish(a=BODY, b=Site(BODY, status=503)) as site:
        with pytest.raises(OutsideError, match=r"cannot have the size .* \(5120\)"):
            ask(f"{site.url}/a", len(BODY) - 1)
        with pytest.raises(OutsideError, match=r"could not be fetched .*503 Service Unavailable"):
            ask(f"{site.url}/b", 10_000)
        with pytest.raises(OutsideError, match="404 Not Found"):
            ask(f"{site.url}/c", 10_000)
    with pytest.raises(OutsideError, match="Connection refused"):
        ask(f"{site.url}/a", 10_000)
    with pytest.raises(InputError, match="is not an address"):
        ask("file:///etc/passwd", 10_000)


@pytest.mark.parametrize("text", ["", "!", "AAAA", base64.b64encode(bytes(17)).decode()])
def test_a_hash_that_is_none(text: str) -> None:
    assert Remote("", 1, "", {"md5": text}).md5 is None


def test_a_small_file_is_read_up_to_a_bound() -> None:
    with publish(a=BODY) as site:
        assert read_address(f"{site.url}/a", 10_000) == BODY
        assert read_address(f"{site.url}/a", 700) == BODY[:700]
        with pytest.raises(OutsideError, match="404 Not Found"):
            read_address(f"{site.url}/c", 10_000)


def test_the_hash_that_a_publisher_states_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with publish(a=Site(BODY, hash_header=md5(BODY))) as site:
        url = f"{site.url}/a"
        with pytest.raises(OutsideError, match="the MD5 that its publisher states"):
            fetch(url, path, max_bytes=10_000, md5="0" * 32)
        assert list(tmp_path.iterdir()) == []
        checksum = fetch(url, path, max_bytes=10_000, md5=DIGEST.upper())
    assert checksum == f"md5 {DIGEST}, as the publisher states it"
    assert path.read_bytes() == BODY

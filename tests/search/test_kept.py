"""Kept searches: nothing is searched for twice, and damage is not believed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.query import Alignment, Source
from foldry.search.kept import KeptSearch
from foldry.store.cache import Cache

ONE, OTHER = "MKTAYIAKQR", "MKVAYI"


@dataclass
class Slow:
    """An engine that notes what it was asked for."""

    identity: str = "slow"
    source: Source = field(default_factory=lambda: Source("slow", "none"))
    asked: list[str] = field(default_factory=list)
    wait: float = 0.0

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        self.asked += sequences
        for each in sequences:
            time.sleep(self.wait)
            if each == "BROKEN":
                raise InputError("is damaged", "replace it", where="The database")
            found = Alignment.of(["query", "a b|c"], [each, f"{each[:-1]}xx-"])
            yield replace(found, source=self.source)


def texts(
    found: Iterator[Alignment],
) -> list[tuple[tuple[str, ...], tuple[str, ...], Source | None]]:
    return [(each.headers, each.texts, each.source) for each in found]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_what_is_kept_is_not_searched_for(cache: Cache) -> None:
    engine = Slow()
    kept = KeptSearch(engine, cache)
    first = texts(kept.query([ONE, OTHER, ONE]))
    assert engine.asked == [ONE, OTHER], "each distinct sequence once"
    assert first == texts(KeptSearch(Slow(asked=engine.asked), cache).query([ONE, OTHER, ONE]))
    assert engine.asked == [ONE, OTHER]
    assert first[0] == (("query", "a b|c"), (ONE, "MKTAYIAKQxx-"), engine.source)
    other = Slow(identity="another version")
    assert texts(KeptSearch(other, cache).query([OTHER])) == first[1:2]
    assert other.asked == [OTHER]
    assert len(list(cache.entries())) == cache.clear() == 3
    assert list(cache.entries()) == []
    assert texts(kept.query([])) == []


@pytest.mark.parametrize("damage", [b"", b">query\nMKTAYIAKQ", b"\x1f\x8b\x08damaged", None])
def test_a_damaged_entry_is_replaced(damage: bytes | None, cache: Cache) -> None:
    engine = Slow()
    kept = KeptSearch(engine, cache)
    before = texts(kept.query([ONE]))
    [entry] = cache.entries()
    [path] = cache.folder.glob("??/*.gz")
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    assert texts(kept.query([ONE])) == before
    assert engine.asked == [ONE, ONE]
    assert texts(kept.query([ONE])) == before
    assert (engine.asked, [each.key for each in cache.entries()]) == ([ONE, ONE], [entry.key])


def test_one_searches_and_the_others_wait(cache: Cache) -> None:
    engine = Slow(wait=0.2)
    begin = threading.Barrier(4)

    def search(order: Sequence[str]) -> list[str]:
        begin.wait()
        return [each.query for each in KeptSearch(engine, cache).query(order)]

    orders = [[ONE, OTHER], [OTHER, ONE], [ONE], [OTHER]]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(search, orders)) == orders
    assert sorted(engine.asked) == sorted([ONE, OTHER])


def test_a_failure_keeps_what_was_found_before(cache: Cache) -> None:
    engine = Slow()
    with pytest.raises(InputError, match="is damaged"):
        list(KeptSearch(engine, cache).query([ONE, "BROKEN", OTHER]))
    engine.asked.clear()
    assert len(list(KeptSearch(engine, cache).query([ONE, OTHER]))) == 2
    assert engine.asked == [OTHER]
    assert not [path for path in cache.folder.rglob("*") if path.name.endswith(".lock")]

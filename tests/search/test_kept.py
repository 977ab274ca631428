"""Kept searches: nothing is searched for twice, and damage is not believed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from foldry.errors import DiskFullError, InputError
from foldry.query import Alignment, Source
from foldry.search import kept
from foldry.search.engine import Engine
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
    engine: Engine, sequences: Sequence[str], cache: Cache
) -> list[tuple[tuple[str, ...], tuple[str, ...], Source | None]]:
    found = [each for each, _ in kept.search(engine, sequences, cache)]
    return [(each.headers, each.texts, each.source) for each in found]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_what_is_kept_is_not_searched_for(cache: Cache) -> None:
    engine = Slow()
    first = texts(engine, [ONE, OTHER, ONE], cache)
    assert engine.asked == [ONE, OTHER], "each distinct sequence once"
    assert first == texts(Slow(asked=engine.asked), [ONE, OTHER, ONE], cache)
    assert engine.asked == [ONE, OTHER]
    assert first[0] == (("query", "a b|c"), (ONE, "MKTAYIAKQxx-"), engine.source)
    other = Slow(identity="another version")
    assert texts(other, [OTHER], cache) == first[1:2]
    assert other.asked == [OTHER]
    assert len(list(cache.entries())) == cache.clear() == 3
    assert list(cache.entries()) == []
    assert texts(engine, [], cache) == []


@pytest.mark.parametrize("damage", [b"", b">query\nMKTAYIAKQ", b"\x1f\x8b\x08damaged", None])
def test_a_damaged_entry_is_replaced(damage: bytes | None, cache: Cache) -> None:
    engine = Slow()
    before = texts(engine, [ONE], cache)
    [entry] = cache.entries()
    [path] = cache.folder.glob("??/*.gz")
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    assert texts(engine, [ONE], cache) == before
    assert engine.asked == [ONE, ONE]
    assert texts(engine, [ONE], cache) == before
    assert (engine.asked, [each.key for each in cache.entries()]) == ([ONE, ONE], [entry.key])


def test_one_searches_and_the_others_wait(cache: Cache) -> None:
    engine = Slow(wait=0.2)
    begin = threading.Barrier(4)

    def search(order: Sequence[str]) -> list[str]:
        begin.wait()
        return [each.query for each, _ in kept.search(engine, order, cache)]

    orders = [[ONE, OTHER], [OTHER, ONE], [ONE], [OTHER]]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(search, orders)) == orders
    assert sorted(engine.asked) == sorted([ONE, OTHER])


def test_a_failure_keeps_what_was_found_before(cache: Cache) -> None:
    engine = Slow()
    with pytest.raises(InputError, match="is damaged"):
        list(kept.search(engine, [ONE, "BROKEN", OTHER], cache))
    engine.asked.clear()
    assert len(list(kept.search(engine, [ONE, OTHER], cache))) == 2
    assert engine.asked == [OTHER]
    assert not [path for path in cache.folder.rglob("*") if path.name.endswith(".lock")]


def test_seconds_are_those_of_new_searches(cache: Cache) -> None:
    engine = Slow(wait=0.01)
    list(kept.search(engine, [ONE], cache))
    found = {each.query: seconds for each, seconds in kept.search(engine, [OTHER, ONE], cache)}
    assert found[ONE] is None
    assert found[OTHER] is not None
    assert found[OTHER] >= 0.01


def test_a_full_disk_is_one_sentence(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DiskFullError, match="cannot be written because no space is left"):
        list(kept.search(Slow(), [ONE], cache))
    monkeypatch.undo()
    assert [path for path in cache.folder.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_written_only_keeps_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "cache")
    assert [each.query for each, _ in kept.search(Slow(), [ONE], cache)] == [ONE]
    [says] = caplog.messages
    assert says.endswith("The search is not kept.")


def test_what_is_found_equals_what_is_read_later(cache: Cache) -> None:
    class Untidy(Slow):
        def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
            for each in sequences:
                yield Alignment.of(["query ", "a  b\t|c "], [each, each])

    assert texts(Untidy(), [ONE], cache) == texts(Slow(), [ONE], cache)


PROGRAM = """
import sys, time
from pathlib import Path
from foldry.query import Alignment, Source
from foldry.search import kept
from foldry.store.cache import Cache

folder = Path(sys.argv[1])

class Slow:
    identity, source = "slow", Source("slow", "none")
    def query(self, sequences):
        for each in sequences:
            with (folder / "asked").open("a") as file:
                file.write(each + "\\n")
            time.sleep(float(sys.argv[2]))
            yield Alignment.of(["query"], [each])

for found, seconds in kept.search(Slow(), sys.argv[3:], Cache(folder / "cache")):
    print(found.query, seconds is None)
"""


def start(folder: Path, seconds: float, *sequences: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(seconds), *sequences]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def asked(folder: Path) -> list[str]:
    path = folder / "asked"
    return path.read_text().split() if path.exists() else []


def test_of_two_processes_one_searches_and_the_other_reads(tmp_path: Path) -> None:
    with start(tmp_path, 1, ONE) as one:
        while asked(tmp_path) != [ONE]:
            assert one.poll() is None
            time.sleep(0.01)
        with start(tmp_path, 1, ONE) as other:
            assert one.communicate(timeout=60)[0] == f"{ONE} False\n"
            assert other.communicate(timeout=60)[0] == f"{ONE} True\n"
    assert asked(tmp_path) == [ONE]


def test_a_search_that_was_killed_is_taken_up_by_the_next(tmp_path: Path) -> None:
    with start(tmp_path, 0.3, ONE, OTHER, "MKKLV") as killed:
        while asked(tmp_path) != [ONE, OTHER]:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
    with start(tmp_path, 0, ONE, OTHER, "MKKLV") as again:
        said = again.communicate(timeout=60)[0]
    assert said == f"{ONE} True\n{OTHER} False\nMKKLV False\n"
    assert asked(tmp_path) == [ONE, OTHER, OTHER, "MKKLV"]
    left = {path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert left - {".lock"} == {".gz"}

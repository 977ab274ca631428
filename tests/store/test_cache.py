"""Kept results: many keys are held with few open files, and folders are cleared together."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foldry.store.cache import Cache
from foldry.store.hashes import sha256

KEYS = [sha256(str(number).encode()) for number in range(320)]
HOLDER = """
import sys
from pathlib import Path
from foldry.store.cache import Cache
with Cache(Path(sys.argv[1])).hold(sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(cache: Cache, *keys: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that holds keys until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(cache.folder), *keys]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def files(cache: Cache) -> list[Path]:
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def test_many_keys_need_few_open_files(cache: Cache) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(64, lowest + 16), hard))
    try:
        with cache.hold(KEYS):
            cache.put(KEYS[0], b"MKT")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(files(cache)) == 1, "no lock is left"


def test_keys_of_others_are_not_waited_for(cache: Cache) -> None:
    """A search may take hours: keys that begin alike are apart too."""
    one, other = "ab" + "0" * 62, "ab" + "0" * 10 + "1" * 52
    with holder(cache, one, *KEYS[:9]), cache.hold([other, *KEYS[9:]]):
        pass
    with cache.hold([]):
        pass


def test_a_key_is_held_by_one_process_until_it_ends(cache: Cache) -> None:
    order: list[str] = []

    def wait() -> None:
        with cache.hold([KEYS[1], KEYS[0]]):
            order.append("held here")

    with holder(cache, *KEYS[:3]) as process:
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        waiting.join(0.3)
        order.append("killed")
        process.kill()
        waiting.join(60)
    assert order == ["killed", "held here"]
    assert files(cache) == []


def test_many_threads_exclude_each_other(cache: Cache) -> None:
    """The lock file is removed and made again all the time."""
    inside = dict.fromkeys(KEYS[:4], 0)
    wrong: list[str] = []

    def work(first: int) -> None:
        for number in range(60):
            mine = [KEYS[(first + number) % 4], KEYS[(first + number * 3) % 4]]
            with cache.hold(mine):
                for key in {*mine}:
                    inside[key] += 1
                wrong.extend(key for key in mine if inside[key] != 1)
                for key in {*mine}:
                    inside[key] -= 1

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not any(each.is_alive() for each in threads)
    assert (wrong, files(cache)) == ([], [])


def test_what_killed_processes_left_is_removed(cache: Cache) -> None:
    cache.put(KEYS[0], b"MKT")
    [kept] = files(cache)
    left = kept.with_name(f".{kept.name}.0123abcd.partial")
    left.touch()
    with cache.hold([KEYS[0]]):
        assert not left.exists()
    assert files(cache) == [kept]


def test_two_processes_clear_a_folder_at_once(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in KEYS[:3]:
        cache.put(key, b"MKT")
    found = sorted(cache.folder.glob("??/*.gz"))
    found[0].unlink()
    monkeypatch.setattr(Path, "glob", lambda *_: iter(found))
    assert cache.clear() == 2
    assert files(cache) == []

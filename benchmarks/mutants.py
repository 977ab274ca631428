"""Count the small faults in a room's source, made one at a time, that its tests notice.

python benchmarks/mutants.py [ROOM ...] [--per-room 25] [--seed 0] [--jobs 1] [--slow]

A mutant is the source with one small change: `<` for `<=`, a bound that is never checked, a call
or a keyword left out. For each room of src/foldry the script draws mutants, applies each to a copy
of the checkout and runs the room's tests until one fails; tests that execute the changed line run
first. A test that takes five times as long as usual and 30 seconds more has noticed the mutant
too. The script prints a table, then the mutants that no test noticed:

    | room | mutants | noticed | noticed (%) |
    |---|---|---|---|
    | query | 25 | 24 | 96 |
    | all | 25 | 24 | 96 |

    src/foldry/query.py:88: if len(chains) > most: → if len(chains) >= most:
        accepted: both give the same text at that length

The draw depends on the seed and on the text of the changed lines: an edit elsewhere changes
little. benchmarks/mutants_accepted.toml lists survivors that no test can notice, each with its
reason; they count as not noticed. The exit code is 1 if fewer than 90 % are noticed in all rooms
together. A room takes minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import Final

import coverage
import pytest

from script import run_script
from source_changes import Changes, Mutant

ROOT: Final = Path(__file__).resolve().parents[1]
ACCEPTED: Final = Path(__file__).with_name("mutants_accepted.toml")
ENOUGH: Final = 90
"""Minimum percentage of the mutants that the tests must notice."""
ELSEWHERE: Final = {
    "inputs": ["tests/cli/test_fold_templates.py"],
    "kernels": ["tests/model"],
    "predict": ["tests/cli/test_screen.py", "tests/cli/test_fold_templates.py"],
    "results": ["tests/predict/test_screen.py"],
    "store": ["tests/weights/test_download.py", "tests/search/test_download.py"],
}
"""Tests of a room that do not have its name."""
WARM: Final = ("torch", "gemmi", "modelcif", "safetensors.torch", "typer", "rich", "beartype.door")
"""Packages that are imported once, before the process forks for each mutant."""
MOST_MEMORY: Final = 8 << 30


def draw(root: Path, room: str, most: int, seed: int) -> list[Mutant]:
    """Return mutants of a room in a checkout: of each kind in turn, at most one per line."""
    package = root / "src" / "foldry"
    kinds: dict[str, list[tuple[str, int, Mutant]]] = defaultdict(list)
    for path in sorted([*(package / room).rglob("*.py"), *package.glob(f"{room}.py")]):
        file = path.relative_to(root).as_posix()
        for mutant in Changes(file, path.read_bytes()).found:
            key = hashlib.sha256(repr((seed, file, mutant.texts)).encode()).hexdigest()
            kinds[mutant.kind].append((key, mutant.start, mutant))
    waiting = [
        [mutant for *_, mutant in sorted(kinds[kind], key=itemgetter(0, 1))]
        for kind in sorted(kinds)
    ]
    drawn: dict[tuple[str, int], Mutant] = {}
    while any(waiting) and len(drawn) < most:
        for mutants in filter(None, waiting):
            mutant = mutants.pop(0)
            place = (mutant.file, mutant.lines[0])
            if len(drawn) < most and place not in drawn and mutant.makes_another_program:
                drawn[place] = mutant
    return list(drawn.values())


# How the tests run on them


class Record:
    """A pytest plugin that records the time of every test and the lines that it executes."""

    def __init__(self, copy: Path, path: Path) -> None:
        self.copy, self.path = copy, path
        self.seconds: dict[str, float] = {}
        self.coverage = coverage.Coverage(data_file=None, source=[str(copy / "src" / "foldry")])

    def pytest_configure(self) -> None:
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.coverage.switch_context(item.nodeid)
        start = time.monotonic()
        result = yield
        self.seconds[item.nodeid] = time.monotonic() - start
        return result

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        assert Path(sys.modules["foldry"].__file__ or "").is_relative_to(self.copy)
        data = self.coverage.get_data()
        tests = {
            Path(file).relative_to(self.copy).as_posix(): data.contexts_by_lineno(file)
            for file in data.measured_files()
        }
        self.path.write_text(json.dumps({"seconds": self.seconds, "tests": tests}))


class Order:
    """A pytest plugin that runs the tests of some lines first, and ends a test that hangs."""

    def __init__(self, seconds: dict[str, float], first: set[str]) -> None:
        self.seconds, self.first = seconds, first

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # Files stay together because tests share fixtures; the quickest file comes first.
        files: dict[Path, float] = defaultdict(float)
        for item in items:
            files[item.path] += self.seconds.get(item.nodeid, 0) * (item.nodeid in self.first)

        def key(item: pytest.Item) -> tuple[bool, float, Path, float]:
            late = item.nodeid not in self.first
            return late, files[item.path], item.path, self.seconds.get(item.nodeid, 0)

        items.sort(key=key)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        signal.alarm(int(5 * self.seconds.get(item.nodeid, 0)) + 30)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        os._exit(exitstatus)  # quicker than to clean up


def run_tests(copy: Path, arguments: list[str], plugin: Record | Order) -> int:
    """Run pytest in a fork of this process, in a copy of the checkout; return its exit code."""
    scratch = copy.parent / "scratch"
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(copy)
        # A process that a test spawns would import this script.
        sys.modules["__main__"] = ModuleType("__main__")
        sys.dont_write_bytecode = isinstance(plugin, Order)
        log = os.open(copy.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, resource.RLIM_INFINITY))
        signal.alarm(120 if isinstance(plugin, Order) else 3600)  # until the first test
        options = [f"--basetemp={scratch}", "--hypothesis-seed=0", "-p", "no:cacheprovider"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = pytest.main(["-q", "-x", "--tb=short", *options, *arguments], plugins=[plugin])
        os._exit(code)
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


def tests_of(room: str) -> list[str]:
    """Return the paths of the tests of a room."""
    paths = [f"tests/{room}", f"tests/test_{room}.py", *ELSEWHERE.get(room, [])]
    return [path for path in paths if (ROOT / path).exists()]


def examine(room: str, most: int, seed: int, marks: str) -> list[tuple[Mutant, bool]]:
    """Return the mutants of a room, each with whether the tests of the room notice it."""
    with tempfile.TemporaryDirectory(prefix=f"foldry-mutants-{room}-") as folder:
        copy = Path(folder, ROOT.name)
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        if (ROOT.parent / "shared").is_dir():
            (copy.parent / "shared").symlink_to((ROOT.parent / "shared").resolve())
        os.environ["PYTHONPATH"] = str(copy / "src")
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(copy.parent / "scratch" / "hypothesis")
        here = str(Path(__file__).parent)
        sys.path[:] = [str(copy / "src"), str(copy), *(path for path in sys.path if path != here)]
        # Those of the checkout, which script.py has imported.
        for name in [name for name in sys.modules if name.partition(".")[0] == "foldry"]:
            del sys.modules[name]
        for package in WARM:
            with suppress(ImportError):
                importlib.import_module(package)
        compiled = importlib.import_module("tests.checked").compiled
        for path in (copy / "src" / "foldry").rglob("*.py"):
            compiled(path.read_text("utf-8"), str(path))
        arguments = [*tests_of(room), "-m", marks]
        path = Path(folder, "record.json")
        if run_tests(copy, arguments, Record(copy, path)) != 0:
            log = Path(folder, "log.txt").read_text()
            raise SystemExit(f"{room}: the tests fail without a mutant:\n{log[-4000:]}")
        record = json.loads(path.read_text())
        results = []
        for mutant in draw(copy, room, most, seed):
            lines = record["tests"].get(mutant.file, {})
            tests = {test for line in mutant.lines for test in lines.get(str(line), []) if test}
            start = time.monotonic()
            target = copy / mutant.file
            before = target.stat()
            target.write_bytes(mutant.changed)
            files = sorted({test.partition("::")[0] for test in tests})
            order = Order(record["seconds"], tests)
            code = run_tests(copy, [*files, "-m", marks], order) if files else 0
            code = code or run_tests(copy, arguments, order)
            target.write_bytes(mutant.source)
            # With its old time, the compiled file of the source is valid again.
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
            results.append((mutant, code != 0))
            how = f"exit code {code} after {time.monotonic() - start:.1f} s, {len(tests)} tests"
            print(f"{mutant}: {how}", file=sys.stderr, flush=True)
        return results


def rooms() -> list[str]:
    """Return the rooms of src/foldry."""
    paths = (ROOT / "src" / "foldry").iterdir()
    return sorted(
        path.stem for path in paths if path.suffix in ("", ".py") and path.stem[:1].isalpha()
    )


def reasons() -> dict[tuple[str, str, str], str]:
    """Return why survivors are accepted, by file, old and new text."""
    if not ACCEPTED.exists():
        return {}
    entries = tomllib.loads(ACCEPTED.read_text())["accepted"]
    return {(each["file"], each["old"], each["new"]): each["reason"] for each in entries}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rooms", nargs="*", default=rooms(), metavar="ROOM")
    parser.add_argument("--per-room", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--slow", action="store_true", help="run slow tests too")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.rooms) - set(rooms())):
        parser.error(f"unknown room {unknown[0]!r}: choose from {', '.join(rooms())}")
    marks = "" if arguments.slow else "not slow and not browser"
    # For the processes that run the tests.
    os.environ |= {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    context = multiprocessing.get_context("spawn")
    every: list[tuple[Mutant, bool]] = []
    print("| room | mutants | noticed | noticed (%) |\n|---|---|---|---|", flush=True)
    with ProcessPoolExecutor(arguments.jobs, context, max_tasks_per_child=1) as pool:
        running = [
            pool.submit(examine, room, arguments.per_room, arguments.seed, marks)
            for room in arguments.rooms
        ]
        for room, future in zip(arguments.rooms, running, strict=True):
            every += future.result()
            print(row(room, future.result()), flush=True)
    print(row("all", every), end="\n\n")
    reason_of = reasons()
    for mutant, noticed in every:
        if not noticed:
            print(mutant)
            reason = reason_of.get((mutant.file, *mutant.texts))
            print(f"    accepted: {reason}" if reason else "    no test notices it")
    sys.exit(share(every) < ENOUGH)


def share(examined: list[tuple[Mutant, bool]]) -> float:
    """Return the percentage of mutants that are noticed."""
    return 100 * sum(noticed for _, noticed in examined) / max(len(examined), 1)


def row(room: str, examined: list[tuple[Mutant, bool]]) -> str:
    """Return a row of the table."""
    count = sum(noticed for _, noticed in examined)
    return f"| {room} | {len(examined)} | {count} | {share(examined):.0f} |"


if __name__ == "__main__":
    run_script(main)

"""Kill commands at random moments, repeat them, and compare the results.

    python benchmarks/kill.py [--moments 30] [--writes 10] [--commands fold,screen,prepare]
                              [--seed 0] [--no-mmseqs] [--work FOLDER]

Every command first runs undisturbed. Then, for each moment, it starts afresh, its main process
receives SIGKILL, and the same command runs again to its end. `--moments` of the moments are uniform
over the command's duration; `--writes` are just before a file operation of any process in the
output folder, because the time between two operations is too short for a clock. The script checks
that:

- two seconds after the kill, no process of the run is left;
- the rerun succeeds, and every output file, hidden ones included, has the same bytes and mode as
  after the undisturbed run, except for the listed fields;
- together, both runs compute every pass of the network of the undisturbed run, and repeat only
  passes of one prediction. `train prepare` has no network: the records of structures read before
  the kill are not written again;
- MMseqs2, which `train prepare` runs, ends with it.

The exit code is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import base64
import csv
import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from script import check_names, run_script

MARK: Final = "FOLDRY_KILL_RUN"
"""Environment variable shared by all processes of a run."""
WATCH: Final = "FOLDRY_KILL_WATCH"
MAIN: Final = "FOLDRY_KILL_MAIN"
"""Environment variables: the settings of `watch_writes`, and the main process's id."""
GRACE: Final = 2.0
"""Seconds after a kill by which all processes of the run must have ended."""
LONGEST: Final = 300.0
"""Longest duration of a run in seconds."""
NUM_RECYCLES: Final = 7
CHANGES: Final = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate")
"""Audit events of operations that change a folder; `open` counts if it may write."""


@dataclass(frozen=True)
class Command:
    """A command to disturb.

    Attributes:
        name: Name in the table.
        arguments: Arguments of `foldry` for an output folder.
        passes: Passes of the network per prediction; 0 without a network.
        kept: Files of finished work, which a rerun does not change; "" for none.
        path: Search path for programs; None for the path of this process.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    passes: int = 0
    kept: str = ""
    path: str | None = None


@dataclass(frozen=True)
class Moment:
    """When a run is killed: after a share of its duration, or before its operation `write`."""

    share: float = 0.0
    write: int = 0

    def __str__(self) -> str:
        return f"file operation {self.write}" if self.write else f"{self.share:.1%}"


@dataclass(frozen=True)
class Done:
    """A run that ended or was killed.

    Attributes:
        code: The exit code.
        seconds: Duration from the start of its work.
        passes: A hash of the inputs of each pass of the network.
        writes: File operations in the output folder.
        output: Printed text.
        left: Command lines of the run's processes that still existed `GRACE` later.
    """

    code: int
    seconds: float
    passes: list[str]
    writes: int
    output: str
    left: list[str]

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


@dataclass(frozen=True)
class Result:
    """The outcome of one moment: differing files, repeated passes, and all faults."""

    moment: Moment
    first: Done
    different: int
    again: int
    faults: list[str]


# The process that is killed


def launch(log: str, arguments: Sequence[str], *, counted: bool) -> int:
    """Run a command in this process.

    Args:
        log: A file to which each pass of the network adds a line; created when the command starts.
        arguments: Arguments of `foldry`.
        counted: Whether the command has passes to count.

    Returns:
        The command's exit code.
    """
    from foldry.cli.main import main  # noqa: PLC0415

    if counted:
        from foldry.model.alphafold import AlphaFold  # noqa: PLC0415

        forward = AlphaFold.forward

        def noted(self: AlphaFold, *inputs: Any) -> Any:
            os.write(file, f"{self.config.name}:{_hash_of(inputs)}\n".encode())
            return forward(self, *inputs)

        AlphaFold.forward = noted  # type: ignore[assignment, method-assign]
    sys.modules["__main__"].__file__ = __file__  # whose end workers of multiprocessing run
    os.environ[MAIN] = str(os.getpid())
    watch_writes()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return main(arguments)


def watch_writes() -> None:
    """Count the file operations of all processes of a run, and kill the main process before one."""
    writes, out, stop_at = json.loads(os.environ[WATCH])
    file = os.open(writes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def count(event: str, details: tuple[Any, ...]) -> None:
        if not _changes(event, details, out):
            return
        os.write(file, b".")
        if os.lseek(file, 0, os.SEEK_CUR) == stop_at:
            os.kill(int(os.environ[MAIN]), signal.SIGKILL)
            time.sleep(GRACE)  # a worker ends meanwhile, before its operation

    sys.addaudithook(count)


def _hash_of(values: object) -> str:
    digest = hashlib.sha256()
    for tensor in _tensors(values):
        digest.update(tensor.numpy(force=True).tobytes())
    return digest.hexdigest()[:16]


def _tensors(value: Any) -> Iterator[Any]:
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif value is not None:
        yield value


def _changes(event: str, details: tuple[Any, ...], out: str) -> bool:
    """Return whether an audit event changes the output folder or a lock."""
    if event in ("fcntl.flock", "fcntl.lockf"):
        return True
    if event == "open":
        path, _, flags = details
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return False
    elif event in CHANGES:
        path, last = details[0], details[-1]
        if isinstance(last, int) and last >= 0 and event in ("os.remove", "os.rmdir"):
            return True  # relative to an open folder, which is being removed with its content
    else:
        return False
    return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(out)


# The processes that kill


def run(
    command: Command,
    folder: Path,
    seconds: float = LONGEST,
    write: int = 0,
    at: Callable[[], bool] = lambda: False,
) -> Done:
    """Run a command with the output `folder / "out"`, and kill it at a given moment.

    Args:
        command: What to run.
        folder: Folder of the output, the log and temporary files.
        seconds: The moment, in seconds from the start of its work.
        write: The file operation before which to kill it; 0 for none.
        at: Returns whether the moment has come.
    """
    mark, log, out = uuid.uuid4().hex, folder / "log", folder / "out"
    writes = folder / "writes"
    for each in (log, writes):
        each.unlink(missing_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    arguments = [str(log), command.arguments(out)]
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent)!r}); "
        f"from kill import launch; sys.exit(launch(*{arguments!r}, counted={command.passes > 0}))"
    )
    variables = {
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(folder / "tmp"),
        MARK: mark,
        WATCH: json.dumps([str(writes), str(out), write]),
    }
    if command.path is not None:
        variables["PATH"] = command.path
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while not log.exists() and process.poll() is None:
        time.sleep(0.002)
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() < begun + seconds and not at():
        time.sleep(0.001)
    if process.poll() is None:
        process.kill()
    code = process.wait()
    took = time.monotonic() - begun
    left = end_all(mark)
    return Done(
        code,
        took,
        log.read_text().split() if log.exists() else [],
        writes.stat().st_size if writes.exists() else 0,
        (folder / "output").read_text("utf-8", "replace"),
        left,
    )


def end_all(mark: str, grace: float = GRACE) -> list[str]:
    """End the remaining processes of a run after some seconds; return their command lines."""
    end = time.monotonic() + grace
    while (found := processes(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    for number in found:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return list(found.values())


def processes(mark: str) -> dict[int, str]:
    """Return the command lines of all living processes of a run, by id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended, or is another user's
            continue
        if f"{MARK}={mark}".encode() in variables:
            found[int(folder.name)] = words.strip()
    return found


# Comparison


def _without(pattern: bytes) -> Callable[[bytes], bytes]:
    """Return a function that replaces the text after the pattern's first group by a dash."""
    return lambda content: re.sub(pattern, rb"\1-", content)


def _model_texts(page: bytes) -> bytes:
    """Return a page with its ModelCIF texts unpacked and without their dates."""

    def unpacked(found: re.Match[bytes]) -> bytes:
        text = gzip.decompress(base64.b64decode(found[1]))
        return b'"model":' + json.dumps(_cif_date(text).decode()).encode()

    return re.sub(rb'"model":"(H4sI[^"]*)"', unpacked, page)


def _no_seconds(table: bytes) -> bytes:
    rows = list(csv.reader(io.StringIO(table.decode())))
    place = rows[0].index("seconds")
    return json.dumps([row[:place] + row[place + 1 :] for row in rows]).encode()


def _no_hashes(record: bytes) -> bytes:
    """Return a query's record without file hashes, which `wrong_hashes` checks."""
    known = json.loads(record)
    return json.dumps({**known, "files": sorted(known["files"])}).encode()


_cif_date = _without(rb"(\bcreated )\S+")
LEFT_OUT: Final[Sequence[tuple[str, str, Callable[[bytes], bytes]]]] = (
    ("*.cif", "created", _cif_date),
    ("scores_*.json", "provenance.created", _without(rb'("created": )"[^"]*"')),
    ("report.html", "created in each provenance", _without(rb'("created":)"[^"]*"')),
    ("report.html", "created in each packed ModelCIF text", _model_texts),
    ("report.html", "the nonce, which follows from the data", _without(rb"(nonce\W+)\w{64}")),
    ("fold.json", "files: SHA-256 (of files with dates; checked separately)", _no_hashes),
    ("screen.csv", "seconds", _no_seconds),
    (
        "screen.html",
        "Seconds",
        # The column before the depths, which are before the state.
        _without(rb'(<td data-value=)"[^"]*">[^<]*(?=</td><td data-[^<]*</td><td class="state)'),
    ),
)
"""Files, their fields that are not compared, and functions that remove these."""


def tree(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return type, mode and contents, without `LEFT_OUT`, of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        for pattern, _, clean in LEFT_OUT:
            if fnmatch(path.name, pattern) and content:
                with suppress(ValueError, LookupError):  # a damaged file is compared as it is
                    content = clean(content)
        found[str(path.relative_to(folder))] = (f"{path.lstat().st_mode:o}", content)
    return found


def differences(
    expected: dict[str, tuple[str, bytes]], found: dict[str, tuple[str, bytes]]
) -> list[str]:
    """Return a sentence for each missing, additional or different file."""
    sentences = [f"{name} is missing" for name in expected if name not in found]
    sentences += [f"{name} is left over" for name in found if name not in expected]
    for name, (mode, content) in expected.items():
        if name not in found:
            continue
        if found[name][0] != mode:
            sentences.append(f"{name} has the mode {found[name][0]} and not {mode}")
        elif found[name][1] != content:
            sentences.append(f"{name} differs")
    return sentences


def wrong_hashes(folder: Path) -> list[str]:
    """Return a sentence for each file whose recorded hash is wrong."""
    sentences = []
    for record in folder.rglob("fold.json"):
        try:
            known = json.loads(record.read_bytes())["files"]
        except (ValueError, LookupError):
            sentences.append(f"{record.relative_to(folder)} is damaged")
            continue
        for name, digest in known.items():
            path = record.parent / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                sentences.append(f"{path.relative_to(folder)} does not have the hash in fold.json")
    return sentences


def pass_faults(per_prediction: int, whole: list[str], first: list[str], again: list[str]) -> str:
    """Return the fault in the passes of a killed run and its rerun; "" if there is none."""
    computed = Counter(first) + Counter(again)
    if set(computed) != set(whole):
        strange, missing = len(set(computed) - set(whole)), len(set(whole) - set(computed))
        return f"{strange} passes are not in the undisturbed run, {missing} were not computed"
    twice = {place // per_prediction for place, each in enumerate(whole) if computed[each] > 1}
    if len(twice) > 1 or max(computed.values(), default=0) > 2:
        return f"passes of {len(twice)} predictions were computed again"
    return ""


# The study


@dataclass(frozen=True)
class Undisturbed:
    """A command's undisturbed run and its output."""

    done: Done
    tree: dict[str, tuple[str, bytes]]


def undisturbed(command: Command, folder: Path) -> Undisturbed:
    """Run a command undisturbed, for comparison.

    Raises:
        RuntimeError: It failed, or two of its passes are equal.
    """
    done = run(command, folder)
    if done.code or done.left:
        raise RuntimeError(
            f"{command.name} ended with {done.code}, left {done.left}: {done.output}"
        )
    if len(set(done.passes)) != len(done.passes) or bool(done.passes) != bool(command.passes):
        raise RuntimeError(f"{command.name} had {len(done.passes)} passes, not all of them unique")
    found = tree(folder / "out")
    _clear(folder)
    return Undisturbed(done, found)


def examine(
    command: Command, expected: Undisturbed, moment: Moment, seconds: float, folder: Path
) -> Result:
    """Kill a command at a fraction of its duration, and run it again."""
    out = folder / "out"
    at = LONGEST if moment.write else moment.share * seconds
    first = run(command, folder, at, moment.write)
    faults = [f"still there {GRACE:.0f} s later: {words}" for words in first.left]
    kept = {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (out.glob(command.kept) if command.kept else ())
        if str(path.relative_to(out)) in expected.tree
    }
    again = run(command, folder)
    if again.code:
        faults.append(f"the rerun ended with {again.code}: {again.output[-500:]}")
    different = differences(expected.tree, tree(out)) + wrong_hashes(out)
    faults += different
    faults += [
        f"{path.name} was written again"
        for path, known in kept.items()
        if not path.exists() or (path.stat().st_ino, path.stat().st_mtime_ns) != known
    ]
    if command.passes:
        wrong = pass_faults(command.passes, expected.done.passes, first.passes, again.passes)
        faults += [wrong] if wrong else []
    more = len(first.passes) + len(again.passes) - len(expected.done.passes)
    _clear(folder, f"fault at {moment}" if faults else "")
    return Result(moment, first, len(different), more, faults)


def _clear(folder: Path, keep_as: str = "") -> None:
    """Remove a run's files, or keep its output under another name."""
    if keep_as and (folder / "out").exists():
        shutil.rmtree(folder / keep_as, ignore_errors=True)
        (folder / "out").rename(folder / keep_as)
    shutil.rmtree(folder / "out", ignore_errors=True)
    shutil.rmtree(folder / "tmp", ignore_errors=True)


def moments(expected: Undisturbed, number: int, writes: int, seed: int) -> list[Moment]:
    """Return random moments: some by the clock, some before file operations."""
    draw = random.Random(seed)
    by_clock = [Moment(share=draw.random()) for _ in range(number)]
    known = range(1, expected.done.writes + 1)
    return by_clock + [Moment(write=each) for each in draw.sample(known, min(writes, len(known)))]


def left_by_tool(command: Command, folder: Path) -> list[str]:
    """Return the remaining processes of a command that is killed while its program runs.

    Raises:
        RuntimeError: The command ended without running it.
    """
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    started, program = folder / "started", programs / "mmseqs"
    # Debian's mmseqs is also a script that runs scripts that run programs.
    lines = ["#!/bin/sh", f"touch '{started}'", "sh -c 'sleep 60; true'", "true"]
    program.write_text("\n".join(lines) + "\n", "utf-8")
    program.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    done = run(replace(command, path=path), folder, at=started.exists)
    _clear(folder)
    if not done.killed:
        raise RuntimeError(f"{command.name} ended with {done.code}: {done.output}")
    return done.left


def made_commands(folder: Path, *, mmseqs: bool) -> dict[str, Command]:
    """Return the commands by name; with `mmseqs`, `train prepare` uses an installed MMseqs2."""
    # Imported late because it imports PyTorch, which the killed process may not need.
    from commands import Inputs  # noqa: PLC0415

    inputs = Inputs(folder)
    recycles = ["--num-recycles", str(NUM_RECYCLES)]

    def fold(out: Path) -> list[str]:
        return inputs.fold(out, "alpha", "beta", seeds="0,1", more=recycles)

    def prepare(out: Path) -> list[str]:
        arguments = inputs.prepare(out, workers=2)
        if mmseqs and shutil.which("mmseqs"):  # the program then clusters too
            place = arguments.index("--clusters")
            del arguments[place : place + 2]
        return arguments

    known = (
        Command("fold", fold, NUM_RECYCLES + 1),
        Command("screen", lambda out: inputs.screen(out, more=recycles), NUM_RECYCLES + 1),
        Command("prepare", prepare, kept="work/*", path=None if mmseqs else ""),
    )
    return {command.name: command for command in known}


def study(command: Command, folder: Path, number: int, writes: int, seed: int) -> list[str]:
    """Disturb a command at random moments, print a line, and return the faults."""
    expected = undisturbed(command, folder)
    seconds, results = expected.done.seconds, []
    for moment in moments(expected, number, writes, seed):
        results.append(examine(command, expected, moment, seconds, folder))
        if not results[-1].first.killed:  # the machine is less busy than before
            seconds = min(seconds, results[-1].first.seconds)
    faults = [f"{command.name}, killed at {r.moment}: {each}" for r in results for each in r.faults]
    killed = sum(each.first.killed for each in results)
    if 2 * killed < len(results):
        faults.append(
            f"{command.name} was still running at only {killed} of {len(results)} moments"
        )
    left = sum(len(each.first.left) for each in results)
    different = sum(each.different for each in results)
    if command.name == "prepare":
        by_tool = left_by_tool(command, folder)
        left += len(by_tool)
        faults += [f"prepare, killed while MMseqs2 ran: still there: {each}" for each in by_tool]
    passes = again = "–"
    if command.passes:
        passes = str(len(expected.done.passes))
        again = f"{max(each.again for each in results)} of {command.passes}"
    print(
        f"{command.name:8} {expected.done.seconds:>8.2f} {len(results):>8} {killed:>7} {left:>6} "
        f"{len(expected.tree) * len(results):>9} {different:>10} {passes:>7} {again:>14}",
        flush=True,
    )
    return faults


def main() -> int:
    """Print the fields that are not compared, a table and the faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=30, help="moments by the clock, per command")
    parser.add_argument("--writes", type=int, default=10, help="moments before file operations")
    parser.add_argument("--commands", default="fold,screen,prepare")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="new folder, kept; faulty outputs stay in it")
    parser.add_argument("--no-mmseqs", action="store_true", help="prepare without MMseqs2")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.work or Path(temporary)
        commands = made_commands((folder / "inputs").resolve(), mmseqs=not given.no_mmseqs)
        check_names(given.commands.split(","), commands)
        print("Not compared:")
        for pattern, field, _ in LEFT_OUT:
            print(f"  {pattern:14} {field}")
        print(
            f"\n{'command':8} {'seconds':>8} {'moments':>8} {'killed':>7} {'left':>6} "
            f"{'compared':>9} {'different':>10} {'passes':>7} {'again at most':>14}"
        )
        faults = []
        for name in given.commands.split(","):
            place = (folder / name).resolve()
            place.mkdir(parents=True)
            faults += study(commands[name], place, given.moments, given.writes, given.seed)
    for fault in faults:
        print(fault)
    return int(bool(faults))


if __name__ == "__mp_main__" and WATCH in os.environ:
    watch_writes()
if __name__ == "__main__":
    run_script(main)

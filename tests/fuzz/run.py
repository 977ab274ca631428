"""Read many damaged files in a separate process, which a hang or lack of memory may end.

python -m tests.fuzz.run READER [--mutations N] [--seed S] [--only N] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from foldry.errors import MemoryShortError, as_foldry_error
from tests.fuzz.readers import READERS

MAX_SECONDS: Final = 5
"""Maximum processor time for one file, in seconds."""
MAX_BYTES: Final = 1 << 30
"""Maximum memory for one file, in bytes."""
_WALL: Final = 120
_MAX_RESTARTS: Final = 30


@dataclass
class Tally:
    """The outcomes of the damaged files of one reader."""

    read: int = 0
    refused: int = 0
    seconds: float = 0.0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


def fuzz(reader: str, mutations: int, seed: int = 0) -> Tally:
    """Read damaged files with a reader in other processes, and return the outcomes."""
    total, start = Tally(), 0
    for _ in range(_MAX_RESTARTS):
        with tempfile.TemporaryDirectory() as scratch:
            words = [reader, f"--mutations={mutations}", f"--seed={seed}", f"--start={start}"]
            ended = subprocess.run(
                [sys.executable, "-m", "tests.fuzz.run", *words, f"--scratch={scratch}"],
                check=False,
                capture_output=True,
                text=True,
            )
            log = Path(scratch) / "log"
            lines = log.read_text().splitlines() if log.is_file() else []
        for line in lines[1:]:
            part: dict[str, Any] = json.loads(line)
            total.read += part["read"]
            total.refused += part["refused"]
            total.seconds = max(total.seconds, part["seconds"])
            total.bytes = max(total.bytes, part["bytes"])
            total.faults += part["faults"]
        if not ended.returncode:
            return total
        if not lines:
            raise RuntimeError(ended.stderr)
        # The process died while it read this file.
        start += len(lines)
        reason = {-signal.SIGPROF: "hangs", -signal.SIGALRM: "hangs"}.get(ended.returncode, "dies")
        total.faults.append(f"{start - 1}: {reason} ({ended.stderr.strip()[-200:]})")
        if start >= mutations:
            return total
    return total


def damaged(reader: str, mutations: int, seed: int, root: Path) -> Iterator[int]:
    """Write one damaged file at a time into a folder of valid ones, and yield its number."""
    known = READERS[reader]
    root.mkdir()
    targets = known.write(root)
    sound = {path: path.read_bytes() for path in targets}
    known.read(root)
    yield -1
    for number in range(mutations):
        rng = Random(f"{reader} {seed} {number}")
        path = rng.choice(targets)
        path.write_bytes(rng.choice(known.mutators)(rng, sound[path]))
        yield number
        path.write_bytes(sound[path])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("reader")
    parser.add_argument("--mutations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--only", type=int, help="read only this file and show the outcome")
    parser.add_argument("--keep", type=Path, help="folder that keeps the files of --only")
    arguments = parser.parse_args()
    scratch = arguments.scratch or Path(tempfile.mkdtemp())
    if arguments.only is not None:
        _show(arguments, scratch)
    elif arguments.scratch is None:
        tally = fuzz(arguments.reader, arguments.mutations, arguments.seed)
        print(json.dumps(asdict(tally), indent=1))  # noqa: T201
    else:
        _read_all(arguments, scratch)


def _show(arguments: argparse.Namespace, scratch: Path) -> None:
    root = scratch / "root"
    for number in damaged(arguments.reader, arguments.only + 1, arguments.seed, root):
        if number == arguments.only:
            if arguments.keep:
                shutil.copytree(root, arguments.keep, dirs_exist_ok=True)
            print(READERS[arguments.reader].read(root))  # noqa: T201


def _read_all(arguments: argparse.Namespace, scratch: Path) -> None:
    known = READERS[arguments.reader]
    root = scratch / "root"
    with (scratch / "log").open("w", buffering=1) as log:
        for number in damaged(arguments.reader, arguments.mutations, arguments.seed, root):
            if number < 0:
                log.write("begun\n")
                _bound_memory()
                before = _most_memory()
            if number < arguments.start:
                continue
            tally = Tally()
            signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
            signal.setitimer(signal.ITIMER_REAL, _WALL)
            begun = time.process_time()
            try:
                known.read(root)
                tally.read = 1
            except known.errors as error:
                tally.refused = 1
                if not _is_a_sentence(str(error)):
                    tally.faults.append(f"{number}: {error!r}")
            except Exception as error:
                tally.faults.append(f"{number}: {type(error).__name__}: {error}")
                if isinstance(as_foldry_error(error), MemoryShortError):
                    tally.faults.append(f"{number}: too much memory")
            signal.setitimer(signal.ITIMER_PROF, 0)
            tally.seconds = time.process_time() - begun
            now = _most_memory()
            tally.bytes, before = now - before, now
            if tally.bytes > MAX_BYTES:
                tally.faults.append(f"{number}: takes {tally.bytes >> 20} MiB")
            log.write(json.dumps(asdict(tally)) + "\n")
            shutil.rmtree(root / "out", ignore_errors=True)


def _is_a_sentence(text: str) -> bool:
    """Return whether a message is one printable line."""
    return text.endswith(".") and "\n" not in text and "\x1b" not in text and len(text) < 1000


def _most_memory() -> int:
    """Return the peak memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _bound_memory() -> None:
    """Limit the memory of this process, to protect the machine."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * MAX_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()

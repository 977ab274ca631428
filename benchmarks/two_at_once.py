"""Runs two commands at once into one place, many times, and compares what is there at last.

    python benchmarks/two_at_once.py [--rounds 40] [--commands fold,queries,screen,…] [--seed 0]

Both processes import everything, wait for one file and begin at the same moment, one of them up to
0.3 s later. While they run, a thread reads every result file again and again. A round is right if

- each process is done, exit code 0, or says that the place is busy, exit code 4;
- every file is that of one undisturbed run, of a command that was done and, where both were, of the
  one that ended last, but for dates and seconds; commands of different queries or networks are
  both there;
- the hashes in every fold.json are those of the files beside it;
- no file was ever seen torn, and no temporary file and no lock is left.

Everything else is a fault:

    torn      a file was read that was not whole
    lost      a command was done, and its files are not there
    mixture   files of both, or of neither
    at once   both were done, though the second must have begun before the first had ended
    failed    a command ended with another exit code, or without the word "busy"
    left      a temporary file, a lock, or another file that no undisturbed run writes

The exit code is 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from kill import differences, tree, wrong_hashes

if TYPE_CHECKING:
    from commands import Inputs

BUSY: Final = 4
"""Exit code of a command that finds its place taken."""
FAULTS: Final = ("torn", "lost", "mixture", "at once", "failed", "left")
MAX_DELAY: Final = 0.3
"""Seconds that the second process begins later at most."""
LEAST: Final = 0.3
"""Share of its time that a command needs at least once it has found its place free."""
WAIT: Final = 120.0
"""Seconds that a process waits for the others, and a round may last."""
SHOWN: Final = 5
ROOMS: Final = {
    "fold": ("foldry.predict.runner",),
    "screen": ("foldry.predict.screen",),
    "weights": ("foldry.model.download",),
    "train": ("foldry.train.loop", "foldry.train.prepare"),
    "score": ("foldry.score.batch",),
}
"""What the commands import when they run."""

Tree = dict[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Case:
    """Two commands into one place.

    Attributes:
        name: For people.
        commands: The two argument lists for a folder, which exists.
        exclusive: Whether one of them must wait for the other, or be refused.
        adds: Whether a second command keeps what the first has written.
        resumes: Whether a second command finds the work of the first done.
        tiny: Whether the official networks' names mean tiny ones.
    """

    name: str
    commands: Callable[[Path], tuple[list[str], list[str]]]
    exclusive: bool = True
    adds: bool = False
    resumes: bool = False
    tiny: bool = False


@dataclass(frozen=True)
class Undisturbed:
    """What each of two commands writes alone, and how long it takes."""

    trees: tuple[Tree, Tree]
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Ended:
    """How one process ended: its exit code, when it began and ended, and what it printed."""

    code: int
    begun: float
    ended: float
    output: str

    @property
    def done(self) -> bool:
        return self.code == 0

    @property
    def busy(self) -> bool:
        return self.code == BUSY and "busy" in self.output


@dataclass
class Result:
    """What many rounds of a case led to; `faults` has a kind and a sentence of each."""

    rounds: int = 0
    both_done: int = 0
    one_busy: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


# The processes


def launch(gate: str, delay: float, tiny: bool, commands: Sequence[Sequence[str]]) -> int:
    """Import what the commands need, wait for the gate, run them one after the other.

    Args:
        gate: A folder: gets `PID.ready`, then `PID.times` with a line of two times a command.
        delay: Seconds between the opening of the gate and the first command.
        tiny: As of `Case`.
        commands: Argument lists of `foldry`.

    Returns:
        The highest exit code.
    """
    from foldry.cli.main import main  # noqa: PLC0415

    for room in {room for each in commands for room in ROOMS[each[0]]}:
        import_module(room)
    if tiny:
        from commands import use_tiny_networks  # noqa: PLC0415

        use_tiny_networks()
    Path(gate, f"{os.getpid()}.ready").touch()
    end = time.monotonic() + WAIT
    while not Path(gate, "go").exists() and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(delay)
    codes = []
    for arguments in commands:
        begun = time.monotonic()
        codes.append(main(arguments))
        with Path(gate, f"{os.getpid()}.times").open("a") as file:
            file.write(f"{begun} {time.monotonic()}\n")
    return max(codes)


def start(
    gate: Path, delay: float, tiny: bool, commands: Sequence[Sequence[str]]
) -> subprocess.Popen[str]:
    """A process that waits at a gate to `launch` the commands."""
    from commands import environment  # noqa: PLC0415

    given = (str(gate), delay, tiny, [list(each) for each in commands])
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent)!r}); "
        f"from two_at_once import launch; sys.exit(launch(*{given!r}))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        # Without MMseqs2 the packs are the same everywhere, and made sooner.
        env=environment(PATH="", COLUMNS="200"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_together(gate: Path, processes: Sequence[subprocess.Popen[str]]) -> list[Ended]:
    """Open the gate once all processes are at it, and wait until all have ended."""
    end = time.monotonic() + WAIT
    for process in processes:
        ready = gate / f"{process.pid}.ready"
        while not ready.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
    (gate / "go").touch()
    ended = []
    for process in processes:
        try:
            output, _ = process.communicate(timeout=WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        times = _times(gate, process)[-1:] or [(0.0, 0.0)]
        ended.append(Ended(process.returncode, *times[0], output))
    return ended


def _times(gate: Path, process: subprocess.Popen[str]) -> list[tuple[float, float]]:
    path = gate / f"{process.pid}.times"
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.split() for line in lines)
    return [(float(begun), float(ended)) for begun, ended in pairs]


# What is read


def fault_of(name: str, data: bytes) -> str:
    """Why a file of this name cannot be whole; "" if it can."""
    try:
        return _fault_of(Path(name).suffix, data)
    except (ValueError, IndexError, KeyError, zipfile.BadZipFile) as error:
        return f"{type(error).__name__}: {error}"


def _fault_of(suffix: str, data: bytes) -> str:
    ends = {".cif": b"#", ".pdb": b"END", ".html": b"</html>"}
    if suffix in ends:
        return "" if data.rstrip().endswith(ends[suffix]) else f"it ends in {data[-20:]!r}"
    if suffix == ".json":
        json.loads(data)
    elif suffix == ".jsonl":  # a line that is being added may lack its end
        for line in data.splitlines(keepends=True):
            if line.endswith(b"\n"):
                json.loads(line)
    elif suffix in (".csv", ".tsv"):
        text = io.StringIO(data.decode(), newline="")
        widths = {len(row) for row in csv.reader(text, delimiter="\t" if suffix == ".tsv" else ",")}
        return "" if len(widths) == 1 and data.endswith(b"\n") else f"rows have {widths} cells"
    elif suffix == ".npz":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()
        return f"its member {damaged} is damaged" if damaged else ""
    elif suffix == ".safetensors":
        header, size = _header(data)
        last = max(each["data_offsets"][1] for each in header.values() if "data_offsets" in each)
        return "" if len(data) == size + last else f"it has {len(data)} bytes of {size + last}"
    return ""


def _header(data: bytes) -> tuple[dict[str, dict[str, list[int]]], int]:
    """The header of a safetensors file, and where its arrays begin."""
    size = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, dict[str, list[int]]] = json.loads(data[8:size])
    return header, size


def is_temporary(name: str) -> bool:
    """Whether this is the name of a file that is being written, or of a lock."""
    hidden = any(part.startswith(".") for part in Path(name).parts)
    return hidden or any(mark in name for mark in (".partial", ".part", ".lock", ".tmp"))


@contextmanager
def watching(folder: Path) -> Iterator[dict[str, str]]:
    """Read all result files below a folder again and again; gives those that were torn, and why."""
    torn: dict[str, str] = {}
    ended = Event()

    def read() -> None:
        while not ended.wait(0.001):
            with suppress(OSError):  # a folder that was there is not any more
                for path in folder.rglob("*"):
                    name = str(path.relative_to(folder))
                    if is_temporary(name):
                        continue
                    with suppress(OSError):
                        fault = fault_of(name, path.read_bytes())
                        if fault:
                            torn.setdefault(name, fault)

    thread = Thread(target=read)
    thread.start()
    try:
        yield torn
    finally:
        ended.set()
        thread.join()


def contents(folder: Path) -> Tree:
    """`kill.tree`, with the seconds of logs and the order of a file's notes left out too."""
    found = tree(folder)
    for name, (mode, data) in found.items():
        cleaned = data
        if name.endswith(".jsonl"):
            lines = [json.loads(line) for line in data.splitlines()]
            cleaned = json.dumps([{**line, "seconds": None} for line in lines]).encode()
        elif name.endswith(".safetensors") and not fault_of(name, data):
            header, size = _header(data)
            cleaned = json.dumps(header, sort_keys=True).encode() + data[size:]
        found[name] = mode, cleaned
    # What `train prepare` keeps of each structure stays for the next run, whatever its settings.
    return {name: each for name, each in found.items() if "/work/" not in name}


# What is compared


def undisturbed(cases: Sequence[Case], folder: Path) -> dict[str, Undisturbed]:
    """Run all commands one after the other, in one process.

    Raises:
        RuntimeError: One failed.
    """
    places = [folder / f"{case.name}_{number}" for case in cases for number in (0, 1)]
    for place in [*places, gate := folder / "gate"]:
        place.mkdir(parents=True)
    commands = [
        case.commands(folder / f"{case.name}_{number}")[number]
        for case in cases
        for number in (0, 1)
    ]
    process = start(gate, 0.0, True, commands)
    [ended] = run_together(gate, [process])
    if not ended.done:
        raise RuntimeError(f"the undisturbed runs ended with {ended.code}: {ended.output}")
    trees = [contents(place) for place in places]
    seconds = [ended - begun for begun, ended in _times(gate, process)]
    return {
        case.name: Undisturbed(
            (trees[2 * place], trees[2 * place + 1]), (seconds[2 * place], seconds[2 * place + 1])
        )
        for place, case in enumerate(cases)
    }


def judge(
    case: Case, alone: Undisturbed, ended: Sequence[Ended], folder: Path
) -> Iterator[tuple[str, str]]:
    """The faults of a round by what is there after it: each one's kind and a sentence."""
    for number, each in enumerate(ended):
        if not each.done and not (each.busy and case.exclusive):
            said = " ".join(each.output.split())
            yield "failed", f"command {number} ended with {each.code}: {said[-300:]}"
    done = sorted((k for k, each in enumerate(ended) if each.done), key=lambda k: ended[k].ended)
    if not done:
        yield "failed", "neither command was done"
        return
    last = done[-1]
    if len(done) == 2 and case.exclusive and not case.resumes:
        took = ended[last].ended - ended[done[0]].ended
        if took < LEAST * alone.seconds[last]:
            yield "at once", f"command {last} ended {took:.2f} s after the other and both were done"
    expected, other = alone.trees[last], alone.trees[1 - last]
    if case.adds:
        expected = {name: each for k in done for name, each in alone.trees[k].items()}
    found = contents(folder)
    wrong = differences(expected, found)
    if wrong and not case.adds and found == other:
        yield "lost", f"the files are those of command {1 - last}, and {last} was done last"
        return
    for sentence in wrong:
        name = sentence.split()[0]
        if name not in found:
            yield "lost", sentence
        elif name not in expected and found[name] != other.get(name):
            yield "left", sentence
        else:
            whose = "the other's" if found[name] == other.get(name) else "of neither"
            yield "mixture", f"{sentence}: {whose}"
    for sentence in wrong_hashes(folder):
        yield "mixture", sentence


def study(case: Case, alone: Undisturbed, folder: Path, rounds: int, seed: int = 0) -> Result:
    """So many rounds of a case; the folder is left empty."""
    draw = random.Random(f"{seed} {case.name}")
    result = Result()
    for number in range(rounds):
        place, gate = folder / "place", folder / "gate"
        place.mkdir(parents=True)
        gate.mkdir()
        # Mostly short: what two processes do to each other they do in the same few milliseconds.
        delay = draw.random() ** 3 * min(MAX_DELAY, min(alone.seconds))
        delays = draw.sample([0.0, delay], 2)
        commands = zip(delays, case.commands(place), strict=True)
        processes = [start(gate, after, case.tiny, [each]) for after, each in commands]
        with watching(place) as torn:
            ended = run_together(gate, processes)
        faults = [("torn", f"{name}: {why}") for name, why in torn.items()]
        faults += judge(case, alone, ended, place)
        result.rounds += 1
        result.both_done += all(each.done for each in ended)
        result.one_busy += sum(each.busy for each in ended) == 1 and any(e.done for e in ended)
        result.faults += [(kind, f"round {number}: {sentence}") for kind, sentence in faults]
        shutil.rmtree(place)
        shutil.rmtree(gate)
    return result


def made_cases(inputs: Inputs, mirror: str) -> dict[str, Case]:
    """All cases by name.

    Args:
        inputs: What the commands read.
        mirror: Address of `inputs.archive`.
    """
    table_a, table_b = inputs.score_table("a", 0), inputs.score_table("b", 1)
    known = (
        Case(  # two of four predictions of either are called the same
            "fold",
            lambda out: (inputs.fold(out, seeds="0,1"), inputs.fold(out, seeds="1,2")),
        ),
        Case(
            "queries",
            lambda out: (inputs.fold(out, "alpha"), inputs.fold(out, "beta")),
            exclusive=False,
            adds=True,
        ),
        Case("screen", lambda out: (inputs.screen(out, seeds="0"), inputs.screen(out, seeds="1"))),
        Case(
            "weights",
            lambda out: (
                inputs.get(out / "weights", ["model_1_ptm"], mirror),
                inputs.get(out / "weights", ["model_2_ptm"], mirror),
            ),
            adds=True,
            tiny=True,
        ),
        Case(
            "prepare",
            lambda out: (
                inputs.prepare(out / "packs", more=["--rows", "4"]),
                inputs.prepare(out / "packs", more=["--rows", "6"]),
            ),
        ),
        Case(
            "train",
            lambda out: (inputs.train(out / "run"), inputs.train(out / "run")),
            resumes=True,
        ),
        Case(
            "score",
            lambda out: (
                inputs.score(table_a, out / "scores.csv"),
                inputs.score(table_b, out / "scores.csv"),
            ),
        ),
    )
    return {case.name: case for case in known}


def main() -> int:
    """Print a table and the first faults."""
    from commands import Inputs, serve  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="of each command")
    parser.add_argument("--commands", default="fold,queries,screen,weights,prepare,train,score")
    parser.add_argument("--seed", type=int, default=0, help="of the delays")
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        inputs = Inputs(folder / "inputs")
        with serve(inputs.archive.parent) as address:
            known = made_cases(inputs, f"{address}/{inputs.archive.name}")
            cases = [known[name] for name in given.commands.split(",")]
            alone = undisturbed(cases, folder / "undisturbed")
            print(f"{'command':9}{'rounds':>7}{'both done':>10}{'one busy':>9}", end="")
            print("".join(f"{kind:>9}" for kind in FAULTS))
            for case in cases:
                result = study(case, alone[case.name], folder / case.name, given.rounds, given.seed)
                print(f"{case.name:9}{result.rounds:7}{result.both_done:10}", end="")
                print(f"{result.one_busy:9}", end="")
                # A round counts once for each kind of fault.
                seen = {(kind, sentence.split(":")[0]) for kind, sentence in result.faults}
                counts = Counter(kind for kind, _ in seen)
                print("".join(f"{counts[kind]:9}" for kind in FAULTS), flush=True)
                for kind, sentence in result.faults[:SHOWN]:
                    print(f"  {kind}, {sentence}", flush=True)
                wrong += len(result.faults)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

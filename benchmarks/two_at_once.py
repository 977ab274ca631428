"""Run two commands at once in one place, many times, and compare the results.

    python benchmarks/two_at_once.py [--rounds 40] [--commands fold,queries,screen,…] [--seed 0]

Both processes are forked from one that has imported everything. They start at the same moment, or
one starts up to 0.3 s later. Meanwhile a thread keeps reading every result file. A round is correct
if

- each process ends with exit code 0, or reports that the place is busy with exit code 4;
- every file, apart from dates and seconds, equals the file of an undisturbed run of the command
  that succeeded or, if both did, of the one that ended last; results of different queries or
  networks must both exist;
- the hashes in every fold.json match the files beside it;
- no incomplete file was ever read, and no temporary file or lock is left.

Everything else is a fault:

    torn      an incomplete file was read
    lost      a command succeeded, but its files are missing
    mixture   files of both commands, or of neither
    at once   both succeeded, although they must have overlapped
    failed    a command ended with another exit code, or without the words "is in use"
    left      a temporary file, a lock, or another file that no undisturbed run writes

The exit code is 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import csv
import gc
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from kill import LEFT_OUT, differences, wrong_hashes
from script import check_names, run_script

if TYPE_CHECKING:
    from commands import Inputs

BUSY: Final = 4
"""Exit code of a command whose place is busy."""
FAULTS: Final = ("torn", "lost", "mixture", "at once", "failed", "left")
MAX_DELAY: Final = 0.3
"""Largest delay of the second process in seconds."""
LEAST: Final = 0.3
"""Fraction of its computation that remains once a command has found its place free."""
HEAD_START: Final = 0.05
"""Seconds until two forked processes start."""
LONGEST: Final = 120
"""Longest duration of a process in seconds."""
SHOWN: Final = 5
ROOMS: Final = (
    "commands",
    "foldry.weights.download",
    "foldry.predict.runner",
    "foldry.predict.screen",
    "foldry.assess.batch",
    "foldry.train.loop",
    "foldry.dataset.prepare",
    "rich.progress",
    "rich.table",
    "torch._dynamo",
)
"""Modules that the commands import when they run."""

Tree = dict[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Case:
    """Two commands in one place.

    Attributes:
        name: Name in the table.
        commands: The two argument lists for an existing folder.
        exclusive: Whether one of them must wait or be refused.
        adds: Whether a second command keeps the files of the first.
        resumes: Whether a second command reuses the work of the first.
        tiny: Whether tiny networks replace the official ones.
    """

    name: str
    commands: Callable[[Path], tuple[list[str], list[str]]]
    exclusive: bool = True
    adds: bool = False
    resumes: bool = False
    tiny: bool = False


@dataclass(frozen=True)
class Undisturbed:
    """The files that each of two commands writes alone, and its computing time."""

    trees: tuple[Tree, Tree]
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Ended:
    """The end of a command: exit code, time, processor seconds, and printed text."""

    code: int
    ended: float = 0.0
    seconds: float = 0.0
    output: str = ""

    @property
    def done(self) -> bool:
        return self.code == 0

    @property
    def busy(self) -> bool:
        return self.code == BUSY and "is in use" in self.output


@dataclass
class Result:
    """The outcome of many rounds of a case; `faults` has kinds and sentences."""

    rounds: int = 0
    both_done: int = 0
    one_busy: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


# The processes


@dataclass(frozen=True)
class Planned:
    """Commands that one process runs in turn: argument lists and the delay."""

    commands: Sequence[Sequence[str]]
    delay: float = 0.0
    tiny: bool = False


class Launcher:
    """A process that has imported everything and forks the processes that run commands.

    It has a single thread and has computed nothing, so its copies behave like new processes;
    importing in each of thousands of processes would take far longer than the commands.
    """

    def __enter__(self) -> Launcher:
        from commands import environment  # noqa: PLC0415

        here = str(Path(__file__).resolve().parent)
        program = f"import sys; sys.path.insert(0, {here!r}); import two_at_once as program; "
        self.process = subprocess.Popen(
            [sys.executable, "-c", program + "program.launch_all()"],
            # Without MMseqs2 the packs are the same everywhere, and are made sooner.
            env=environment(PATH="", COLUMNS="200"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def run(self, folder: Path, plans: Sequence[Planned]) -> list[list[Ended]]:
        """Run processes at once and wait; return the ends of the commands of each.

        Args:
            folder: New folder for their output.
            plans: The commands of each.
        """
        folder.mkdir(parents=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"folder": str(folder), "plans": [asdict(plan) for plan in plans]}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that launches commands has ended")
        return [_ended(folder, number, code) for number, code in enumerate(json.loads(answer))]


def launch_all() -> None:
    """Fork the processes requested on standard input; print their exit codes."""
    for room in ROOMS:
        import_module(room)
    if len(list(Path("/proc/self/task").glob("*"))) > 1:
        sys.exit("A process of several threads cannot be copied.")
    gc.freeze()  # otherwise each copy would, at its end, visit all imported objects
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.monotonic() + HEAD_START
        children = []
        for number, plan in enumerate(request["plans"]):
            child = os.fork()
            if not child:
                sys.exit(launch(Path(request["folder"]), number, begin, Planned(**plan)))
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


def launch(folder: Path, number: int, begin: float, plan: Planned) -> int:
    """Run commands in this process from a given moment, and record how each ends.

    Args:
        folder: Gets `NUMBER.K.output`, and `NUMBER.K.json` once command K has ended.
        number: Number of this process.
        begin: Start of all processes on the clock of `time.monotonic`.
        plan: The commands.

    Returns:
        The highest exit code.
    """
    from commands import use_tiny_networks  # noqa: PLC0415
    from foldry.cli.main import main  # noqa: PLC0415

    signal.alarm(LONGEST)
    if plan.tiny:
        use_tiny_networks()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    time.sleep(max(begin + plan.delay - time.monotonic(), 0))
    codes = []
    for place, arguments in enumerate(plan.commands):
        output = os.open(folder / f"{number}.{place}.output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        begun = time.process_time()
        codes.append(main(arguments))
        seconds = time.process_time() - begun
        ended = {"code": codes[-1], "ended": time.monotonic(), "seconds": seconds}
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        (folder / f"{number}.{place}.json").write_text(json.dumps(ended), "utf-8")
    return max(codes)


def _ended(folder: Path, number: int, code: int) -> list[Ended]:
    """Return how the commands of a process ended, the last one by the process's exit code."""
    ended: list[Ended] = []
    while (output := folder / f"{number}.{len(ended)}.output").exists():
        said, notes = output.read_text("utf-8", "replace"), output.with_suffix(".json")
        known = json.loads(notes.read_text("utf-8")) if notes.exists() else {"code": code}
        ended.append(Ended(**known, output=said))
    if code != max((each.code for each in ended), default=-1):
        ended[-1:] = [replace(ended[-1], code=code) if ended else Ended(code)]
    return ended


# Reading


def fault_of(name: str, data: bytes) -> str:
    """Return why a file is incomplete; "" if it may be complete."""
    try:
        return _fault_of(Path(name).suffix, data)
    except Exception as error:  # reading a damaged archive raises a dozen kinds
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
    """Return the header of a safetensors file and the offset of its arrays."""
    size = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, dict[str, list[int]]] = json.loads(data[8:size])
    return header, size


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is temporary or a lock."""
    hidden = any(part.startswith(".") for part in Path(name).parts)
    return hidden or any(mark in name for mark in (".partial", ".part", ".lock", ".tmp"))


@contextmanager
def watching(folder: Path) -> Iterator[dict[str, str]]:
    """Keep reading all result files below a folder; yield the incomplete ones and why."""
    torn: dict[str, str] = {}
    ended = Event()

    def read() -> None:
        while not ended.wait(0.01):
            with suppress(OSError):  # a folder may have been removed meanwhile
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
    """Return the compared files of a folder, by path.

    They are those of `kill.tree` without the seconds of logs, the order of notes, and the records
    of `train prepare`.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if "work" not in Path(name).parts:
            data = path.read_bytes() if path.is_file() else b""
            found[name] = f"{path.lstat().st_mode:o}", _cleaned(name, data)
    return found


def _cleaned(name: str, data: bytes) -> bytes:
    """Return the compared part of a file, or an incomplete file unchanged."""
    if not data or fault_of(name, data):
        return data
    for pattern, _, clean in LEFT_OUT:
        if fnmatch(Path(name).name, pattern):
            data = clean(data)
    if name.endswith(".jsonl"):
        lines = [json.loads(line) for line in data.splitlines()]
        data = json.dumps([{**line, "seconds": None} for line in lines]).encode()
    elif name.endswith(".safetensors"):
        header, size = _header(data)
        data = json.dumps(header, sort_keys=True).encode() + data[size:]
    return data


# Comparison


def undisturbed(launcher: Launcher, cases: Sequence[Case], folder: Path) -> dict[str, Undisturbed]:
    """Run all commands one after the other.

    Raises:
        RuntimeError: One failed.
    """
    places, commands = [], []
    for case in cases:
        for number in (0, 1):
            places.append(folder / f"{case.name}_{number}")
            places[-1].mkdir(parents=True)
            commands.append(case.commands(places[-1])[number])
    [ended] = launcher.run(folder / "output", [Planned(commands, tiny=True)])
    if len(ended) < len(commands) or not all(each.done for each in ended):
        raise RuntimeError(f"an undisturbed run ended with {ended[-1].code}: {ended[-1].output}")
    trees = [contents(place) for place in places]
    seconds = [each.seconds for each in ended]
    return {
        case.name: Undisturbed(
            (trees[place], trees[place + 1]), (seconds[place], seconds[place + 1])
        )
        for place, case in zip(range(0, len(places), 2), cases, strict=True)
    }


def judge(
    case: Case, alone: Undisturbed, ended: Sequence[Ended], folder: Path
) -> Iterator[tuple[str, str]]:
    """Yield the kind of each fault in the files after a round, and a sentence about it."""
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
        path = folder / name
        if name not in found:
            yield "lost", sentence
        elif path.is_file() and (why := fault_of(name, path.read_bytes())):
            yield "torn", f"{name}: {why}"
        elif name not in expected and found[name] != other.get(name):
            yield "left", sentence
        else:
            whose = "the other's" if found[name] == other.get(name) else "of neither"
            yield "mixture", f"{sentence}: {whose}"
    yield from (("mixture", sentence) for sentence in wrong_hashes(folder))


def study(
    launcher: Launcher, case: Case, alone: Undisturbed, folder: Path, rounds: int, seed: int = 0
) -> Result:
    """Run rounds of a case; the new folder is left empty."""
    draw = random.Random(f"{seed} {case.name}")
    result = Result()
    for number in range(rounds):
        place, output = folder / "place", folder / "output"
        place.mkdir(parents=True)
        # Mostly short delays: processes interfere within the same few milliseconds.
        delay = draw.random() ** 3 * min(MAX_DELAY, *alone.seconds)
        delays = draw.sample([0.0, delay], 2)
        commands = zip(delays, case.commands(place), strict=True)
        plans = [Planned([each], after, case.tiny) for after, each in commands]
        with watching(place) as torn:
            ended = [each[-1] for each in launcher.run(output, plans)]
        faults = [("torn", f"{name}: {why}") for name, why in torn.items()]
        faults += judge(case, alone, ended, place)
        result.rounds += 1
        result.both_done += all(each.done for each in ended)
        result.one_busy += sorted((each.done, each.busy) for each in ended) == [
            (False, True),
            (True, False),
        ]
        result.faults += [(kind, f"round {number}: {sentence}") for kind, sentence in faults]
        shutil.rmtree(place)
        shutil.rmtree(output)
    return result


def made_cases(inputs: Inputs, mirror: str) -> dict[str, Case]:
    """Return all cases by name.

    Args:
        inputs: Inputs of the commands.
        mirror: Address of `inputs.archive`.
    """
    table_a, table_b = inputs.score_table("a", 0), inputs.score_table("b", 1)
    known = (
        Case(  # two of the four predictions of each have the same names
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
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each command")
    parser.add_argument("--commands", default="fold,queries,screen,weights,prepare,train,score")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the delays")
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        inputs = Inputs(folder / "inputs")
        with serve(inputs.archive.parent) as address, Launcher() as launcher:
            known = made_cases(inputs, f"{address}/{inputs.archive.name}")
            check_names(given.commands.split(","), known)
            cases = [known[name] for name in given.commands.split(",")]
            alone = undisturbed(launcher, cases, folder / "undisturbed")
            print(f"{'command':9}{'rounds':>7}{'both done':>10}{'one busy':>9}", end="")
            print("".join(f"{kind:>9}" for kind in FAULTS))
            for case in cases:
                result = study(
                    launcher, case, alone[case.name], folder / case.name, given.rounds, given.seed
                )
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
    run_script(main)

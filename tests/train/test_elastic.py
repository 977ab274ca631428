"""A run that shrinks, pauses and grows gives the same result; failures are reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from foldry.cli.main import main
from foldry.dataset.samples import TrainingSet
from foldry.train import loop
from foldry.train.elastic import (
    STOPPED,
    SUPERVISOR,
    Supervisor,
    WorkerError,
    asked_to_stop,
    read_wanted,
    write_wanted,
)
from foldry.train.power import Meter, Slot
from tests.train.synthetic import write_world
from tests.train.tiny import read_log, shared_stages, tiny_config

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120

WORKER = """
import os, sys, time
from pathlib import Path
from foldry.train.elastic import STOPPED, asked_to_stop
folder, size = Path(sys.argv[1]), int(os.environ["WORLD_SIZE"])
with (folder / "seen").open("a") as seen:
    seen.write(f"{os.environ['RANK']} of {size}\\n")
for _ in range(int(sys.argv[2])):
    time.sleep(0.05)
    if asked_to_stop(folder, size):
        sys.exit(STOPPED)
sys.exit(int(sys.argv[3]))
"""


def supervisor(folder: Path, steps: int = 10_000, code: int = 0, **others: object) -> Supervisor:
    """Return a supervisor of workers that only wait, and stop on request."""
    known = {"workers": 2, "max_workers": 3, "meter": Meter(folder, 100.0)} | others
    command = (sys.executable, "-c", WORKER, str(folder), str(steps), str(code))
    return Supervisor(command=command, folder=folder, **known)  # type: ignore[arg-type]


@contextmanager
def meanwhile(*acts: Callable[[], None]) -> Iterator[None]:
    """Do these acts in a thread while the body runs, and raise their errors here."""
    faults: list[BaseException] = []

    def run() -> None:
        try:
            for act in acts:
                act()
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()
    assert not faults, faults


def seen(folder: Path, *lines: str) -> Callable[[], None]:
    """Return a function that waits until the workers wrote exactly these lines, in any order."""

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        path = folder / "seen"
        while not path.is_file() or sorted(path.read_text().split("\n")[:-1]) != sorted(lines):
            assert time.monotonic() < deadline, path.read_text() if path.is_file() else "nothing"
            time.sleep(0.05)

    return wait


@pytest.mark.slow
def test_a_run_grows_and_shrinks_without_losing_a_step(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    data = TrainingSet(write_world(tmp_path / "world").folder, splits=("train",))
    stages = shared_stages(4)
    one, changed = tmp_path / "one", tmp_path / "changed"
    loop.train_stages(tiny_config(), stages, data, loop.Run(one))

    def when_done(count: int, workers: int) -> Callable[[], None]:
        def act() -> None:
            deadline = time.monotonic() + PATIENCE
            while not (changed / loop.LOG).is_file() or len(read_log(changed)) < count:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            write_wanted(changed, workers)

        return act

    program = ("-m", "tests.train.tiny", str(tmp_path / "world"), str(changed))
    command = (sys.executable, *program, "--steps=4", "--save-every=100", "--wait=0.2")
    meter = Meter(changed)
    with pytest.MonkeyPatch.context() as patch, meanwhile(when_done(2, 2), when_done(5, 1)):
        patch.chdir(ROOT)
        patch.setenv("OMP_NUM_THREADS", "1")
        assert Supervisor(command, changed, workers=1, max_workers=3, meter=meter).run()
    lines = (changed / loop.LOG).read_text().splitlines()
    assert len(lines) == 8  # no step was made twice
    for ours, theirs in zip(read_log(changed), read_log(one), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    sizes = [line["workers"] for line in power_lines(changed)]
    assert [size for size in sizes if size] == [1, 2, 1]


def power_lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "power.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_command_keeps_workers_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "world").mkdir()
    write_world(tmp_path / "world")
    run = tmp_path / "run"
    arguments = ["train", "--data", str(tmp_path / "world"), "-o", str(run), "--workers", "2"]
    arguments += ["--watts", "50", "--stage", "main", "--steps", "1"]
    arguments += ["--set", "micro_batch=1", "--set", "crop_size=16"]
    command = [sys.executable, "-m", "foldry.cli.main", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("done")) == (0, 1), done.stderr
    (line,) = read_log(run)
    assert (line["step"], line["num_samples"]) == (1, 2)
    assert (run / loop.WEIGHTS).is_file()
    assert power_lines(run)[0]["watts_from"] == "given"
    assert main([*arguments, "--set", "batch_size=1"]) == 2
    refused = capsys.readouterr().err
    assert refused.count("\n") == 1
    assert "at most 1 worker:" in refused


def test_signals_pause_and_resume(tmp_path: Path) -> None:
    def send(number: signal.Signals) -> Callable[[], None]:
        return lambda: os.kill(os.getpid(), number)

    def paused() -> None:
        deadline = time.monotonic() + PATIENCE
        while read_wanted(tmp_path) != 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.5)

    before = signal.getsignal(signal.SIGUSR1)
    with meanwhile(
        seen(tmp_path, "0 of 1"),
        send(signal.SIGUSR1),
        paused,
        send(signal.SIGUSR2),
        seen(tmp_path, "0 of 1", "0 of 1"),
    ):
        run = supervisor(tmp_path, steps=60, workers=1)
        assert run.run()
    assert signal.getsignal(signal.SIGUSR1) == before
    paused_line = next(line for line in power_lines(tmp_path) if line["workers"] == 0)
    assert (paused_line["kwh"], paused_line["watts_from"]) == (0.0, "paused")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, even if the tests were started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with (
        pytest.raises(KeyboardInterrupt),
        meanwhile(seen(tmp_path, "0 of 1"), lambda: os.kill(os.getpid(), number)),
    ):
        supervisor(tmp_path, workers=1).run()
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("workers", "times"), [(0, 1), (1, 1), (2, 1)])
def test_a_pause_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int, times: int
) -> None:
    started = [f"{rank} of {workers}" for rank in range(workers)]

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        while "Paused" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.5)

    begun = [seen(tmp_path, *started)] if workers else []
    with (
        caplog.at_level("INFO"),
        meanwhile(
            *begun,
            lambda: write_wanted(tmp_path, 0),
            wait,
            lambda: write_wanted(tmp_path, 1),
            seen(tmp_path, *started, "0 of 1"),
        ),
    ):
        assert supervisor(tmp_path, workers=workers, steps=40).run()
    said = f"Paused: write a number of workers into {tmp_path / 'workers'} to continue."
    assert caplog.messages.count(said) == times


def test_a_signal_while_a_number_is_written_counts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace
    wanted = []

    def interrupted(path: Path, target: Path) -> Path:
        wanted.append(path.read_text().strip())
        if len(wanted) == 2:
            signal.raise_signal(signal.SIGUSR2)
        return rename(path, target)

    def ready() -> None:
        deadline = time.monotonic() + PATIENCE
        while not callable(signal.getsignal(signal.SIGUSR2)):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    monkeypatch.setattr(Path, "replace", interrupted)
    with meanwhile(ready, lambda: os.kill(os.getpid(), signal.SIGUSR2)):
        assert supervisor(tmp_path, steps=1, workers=0).run()
    assert wanted == ["0", "1", "2"]
    seen(tmp_path, "0 of 2", "1 of 2")()


def test_a_half_written_file_is_ignored(tmp_path: Path) -> None:
    run = supervisor(tmp_path, steps=1, workers=1)
    (tmp_path / "workers").touch()  # as a shell leaves it before it writes
    crew, done = run._look_after([], ())
    for worker in crew:
        worker.wait()
    assert (len(crew), done) == (1, False)
    assert (tmp_path / "workers").read_bytes() == b""


def test_a_file_without_a_number_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    run = supervisor(tmp_path)
    for text in (b"two\n", b"two\n", b"2", b"", b"two\n", b"-1\n", b"\xff\n"):
        (tmp_path / "workers").write_bytes(text)
        run._look_after([worker], ())
    monkeypatch.setenv(SUPERVISOR, str(os.getppid()))
    (tmp_path / "workers").write_text("four")
    assert not asked_to_stop(tmp_path, 1)  # a worker leaves the warning to its supervisor
    worker.kill()
    worker.wait()
    said = [f"workers contains {text}, which is ignored" for text in ("'two'", "'-1'", "'\ufffd'")]
    assert len(caplog.messages) == len(said)
    assert all(each in line for each, line in zip(said, caplog.messages, strict=True))


def test_a_plan_sets_the_workers_up_to_the_maximum(tmp_path: Path) -> None:
    now = datetime.now().astimezone()
    plan = (
        Slot(now - timedelta(seconds=5), 1, 200.0, 360.0),
        Slot(now + timedelta(seconds=3), 2, 100.0, 360.0),
    )
    with meanwhile(
        seen(tmp_path, "0 of 1", "0 of 2", "1 of 2"),
        lambda: write_wanted(tmp_path, 9),
        seen(tmp_path, "0 of 1", "0 of 2", "1 of 2", "0 of 3", "1 of 3", "2 of 3"),
    ):
        assert supervisor(tmp_path, steps=100, plan=plan).run()
    assert read_wanted(tmp_path) == 3
    lines = power_lines(tmp_path)
    for line in lines:
        expected = line["workers"] * 360.0 * line["seconds"] / 3.6e6
        assert line["kwh"] == pytest.approx(expected)
        assert line["gco2"] == pytest.approx(expected * line["gco2_per_kwh"])
    assert lines[-1]["total_gco2"] == pytest.approx(sum(line["gco2"] for line in lines))


def test_a_worker_that_fails_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="ended with code 2"):
        supervisor(tmp_path, steps=1, code=2).run()


def test_the_run_pauses_when_the_time_is_up(tmp_path: Path) -> None:
    assert not supervisor(tmp_path, minutes=0.02).run()
    assert supervisor(tmp_path, steps=1).run()  # the pause does not outlast the command


def test_workers_stop_for_another_number_and_without_their_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SUPERVISOR, str(os.getppid()))
    assert not asked_to_stop(tmp_path, 2)
    write_wanted(tmp_path, 2)
    assert not asked_to_stop(tmp_path, 2)
    for text in ("", "two", "-1", "²", "1e3", "9" * 30):  # half written, or nonsense
        (tmp_path / "workers").write_text(text)
        assert not asked_to_stop(tmp_path, 2)
    write_wanted(tmp_path, 1)
    assert asked_to_stop(tmp_path, 2)
    write_wanted(tmp_path, 2)
    monkeypatch.setenv(SUPERVISOR, "1" if os.getppid() != 1 else "2")
    assert asked_to_stop(tmp_path, 2)
    assert STOPPED not in (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "workers"),
    [("3\n", 3), ("0", 0), ("", None), ("two", None), ("-1", None), ("²", None), ("100000", None)],
)
def test_only_a_number_of_workers_is_read(tmp_path: Path, text: str, workers: int | None) -> None:
    (tmp_path / "workers").write_text(text, "utf-8")
    assert read_wanted(tmp_path) == workers

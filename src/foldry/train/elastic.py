"""A run whose number of workers changes while it goes: it shrinks, pauses, grows, loses no step.

The number wanted stands in the file `workers` of the run's folder: whoever writes another there,
0 to pause, changes it. SIGUSR1 takes one worker away and SIGUSR2 adds one; a power plan writes the
number of each slot when it begins. Workers that see another number than theirs stop after the step
they are at, with a checkpoint, and the supervisor starts as many as are wanted from it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from foldry.errors import INTERRUPTED, FaultError, FoldryError, OutsideError
from foldry.store.files import write_text
from foldry.store.locks import hold
from foldry.train.power import Meter, Slot, slot_at

logger = logging.getLogger(__name__)

CONTROL: Final = "workers"
SUPERVISOR: Final = "FOLDRY_SUPERVISOR"
"""The environment variable that gives a worker its supervisor's process."""
STOPPED: Final = 75
"""A worker's exit code after a stop that was asked for; it is not done."""
POLL_SECONDS: Final = 0.5


def read_wanted(folder: Path) -> int | None:
    """The number of workers wanted; None where the file is missing or holds no number."""
    try:
        text = (folder / CONTROL).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def write_wanted(folder: Path, workers: int) -> None:
    """Ask for a number of workers; 0 pauses."""
    write_text(folder / CONTROL, f"{workers}\n")


def is_supervised() -> bool:
    """Whether a supervisor started this process."""
    return SUPERVISOR in os.environ


def asked_to_stop(folder: Path, size: int) -> bool:
    """Whether another number of workers is wanted, or the supervisor is gone; False without one."""
    return is_supervised() and (
        read_wanted(folder) not in (None, size) or str(os.getppid()) != os.environ[SUPERVISOR]
    )


class WorkerError(FoldryError):
    """A worker failed and has said why; the exit code is the worker's where it is one of ours."""

    code = "worker"
    exit_code = OutsideError.exit_code

    def __init__(self, code: int) -> None:
        advice = "see its message above; the same command goes on from the last checkpoint"
        super().__init__(f"A worker ended with code {code}", advice)
        if code in (*range(1, 6), FaultError.exit_code, INTERRUPTED):
            self.exit_code = code


@dataclass(frozen=True)
class Supervisor:
    """Keeps as many workers running as are wanted, until the run is done.

    Attributes:
        command: What starts a worker; all else it learns from its environment.
        folder: The run's.
        workers: How many are wanted outside the plan.
        max_workers: More are never started.
        meter: Counts the energy.
        plan: Slots in order; may be empty.
        minutes: Ask the workers to stop after so many; None never.
    """

    command: Sequence[str]
    folder: Path
    workers: int
    max_workers: int
    meter: Meter
    plan: Sequence[Slot] = ()
    minutes: float | None = None

    def run(self) -> bool:
        """Supervise until the run is done or the time is over.

        Returns:
            Whether the run is done.

        Raises:
            WorkerError: A worker failed.
            BusyError: Another command runs in the folder.
        """
        started = last = time.monotonic()
        crew: list[subprocess.Popen[bytes]] = []
        slot = None
        with hold(self.folder) as lock, _signals() as changes:
            write_wanted(self.folder, self.workers)
            try:
                while True:
                    now = datetime.now().astimezone()
                    while changes:
                        wanted = self._bounded(read_wanted(self.folder)) + changes.pop()
                        write_wanted(self.folder, self._bounded(wanted))
                    over = self.minutes is not None and last - started > 60 * self.minutes
                    if over:
                        write_wanted(self.folder, 0)
                    elif slot != (slot := slot_at(self.plan, now)):
                        write_wanted(self.folder, slot.workers if slot else self.workers)
                    crew, done = self._look_after(crew, lock)
                    if done or (over and not crew):
                        return done
                    time.sleep(POLL_SECONDS)
                    elapsed, last = time.monotonic() - last, time.monotonic()
                    self.meter.add(now, elapsed, len(crew), slot)
            finally:
                for worker in crew:  # the checkpoint on disk is always whole
                    worker.kill()
                for worker in crew:
                    worker.wait()
                self.meter.close()

    def _bounded(self, wanted: int | None) -> int:
        return min(self.workers if wanted is None else max(wanted, 0), self.max_workers)

    def _look_after(
        self, crew: list[subprocess.Popen[bytes]], lock: tuple[int, ...]
    ) -> tuple[list[subprocess.Popen[bytes]], bool]:
        """The workers after a look at them, started anew where that is due; whether all are done.

        Raises:
            WorkerError: A worker failed.
        """
        codes = [worker.poll() for worker in crew]
        failed = [code for code in codes if code not in (None, 0, STOPPED)]
        if failed:
            raise WorkerError(failed[0])
        if None in codes:
            return crew, False
        if codes and set(codes) == {0}:
            return [], True
        asked = read_wanted(self.folder)
        wanted = self._bounded(asked)
        if asked not in (None, wanted):  # a file without a number may be half written
            write_wanted(self.folder, wanted)
        return (self._start(wanted, lock) if wanted else []), False

    def _start(self, size: int, lock: tuple[int, ...]) -> list[subprocess.Popen[bytes]]:
        logger.info("%d %s", size, "worker runs" if size == 1 else "workers run")
        threads = max(1, (os.cpu_count() or 1) // size)
        shared = {"OMP_NUM_THREADS": str(threads), **os.environ, SUPERVISOR: str(os.getpid())}
        shared["WORLD_SIZE"] = str(size)
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        return [
            subprocess.Popen(
                list(self.command),
                env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                pass_fds=lock,
            )
            for rank in range(size)
        ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGTERM ends the supervisor in order; SIGUSR1 and SIGUSR2 are noted, as -1 and 1.

    They may come at any moment, also while the number of workers is being written.
    """
    changes: list[int] = []

    actions: dict[int, Any] = {
        signal.SIGUSR1: lambda *_: changes.append(-1),
        signal.SIGUSR2: lambda *_: changes.append(1),
        signal.SIGTERM: lambda number, _: sys.exit(128 + number),
    }
    before = {number: signal.signal(number, action) for number, action in actions.items()}
    try:
        yield changes
    finally:
        for number, action in before.items():
            signal.signal(number, action)

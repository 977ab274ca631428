"""A training run whose number of workers may change: it shrinks, pauses and grows between steps.

The file `workers` in the run's folder contains the requested number; 0 pauses the run. A user edits
it, SIGUSR1 and SIGUSR2 decrease and increase it by one, and a power plan writes it when a slot
begins. Workers that read a number other than theirs finish the current step, write a checkpoint
and exit with the code `STOPPED`; the supervisor then starts the requested number of workers.

Processes are restarted rather than reconnected because the communication between them and the
division of parameters are fixed when they start. A checkpoint does not depend on the number of
workers and neither does a step, so a change of the number costs a start of the processes but no
step. A file is the interface because it works for people, scripts and schedulers alike, even
from another machine. The supervisor holds the folder's lock and passes it on to the workers. They
check that it is still their parent, and stop if it is not.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from foldry.errors import (
    INTERRUPTED,
    FaultError,
    FoldryError,
    OutsideError,
    counted,
    quoted,
)
from foldry.processes import tuning
from foldry.store.files import write_text
from foldry.store.locks import hold
from foldry.train.power import Meter, Slot, slot_at

logger = logging.getLogger(__name__)

CONTROL: Final = "workers"
SUPERVISOR: Final = "FOLDRY_SUPERVISOR"
"""Environment variable with the process id of a worker's supervisor."""
STOPPED: Final = 75
"""Exit code of a worker that stopped on request before the run was done."""
POLL_SECONDS: Final = 0.5


def read_wanted(folder: Path) -> int | None:
    """Return the requested number of workers; None if the file is missing or has no number.

    The supervisor warns of a text that is not a number, once for each text.
    """
    try:
        text = (folder / CONTROL).read_text("utf-8", "replace").strip()
    except OSError:
        return None
    if text.isascii() and text.isdigit() and len(text) < 6:
        return int(text)
    if text and not is_supervised():
        _warn(folder / CONTROL, text)
    return None


@functools.cache
def _warn(path: Path, text: str) -> None:
    advice = "write a number of workers, or 0 to pause"
    logger.warning("%s contains %s, which is ignored: %s.", path, quoted(text), advice)


def write_wanted(folder: Path, workers: int) -> None:
    """Request a number of workers; 0 pauses the run."""
    write_text(folder / CONTROL, f"{workers}\n")


def is_supervised() -> bool:
    """Return whether a supervisor started this process."""
    return SUPERVISOR in os.environ


def asked_to_stop(folder: Path, size: int) -> bool:
    """Return whether another number of workers is requested, or the supervisor has ended.

    Args:
        folder: The run's folder.
        size: The present number of workers.

    Returns:
        Whether to stop; always False without a supervisor.
    """
    return is_supervised() and (
        read_wanted(folder) not in (None, size) or str(os.getppid()) != os.environ[SUPERVISOR]
    )


class WorkerError(FoldryError):
    """Raised if a worker failed; takes the worker's exit code if that is one of Foldry's."""

    code = "worker"
    exit_code = OutsideError.exit_code

    def __init__(self, code: int) -> None:
        advice = "see its message above; the same command resumes from the last checkpoint"
        super().__init__(f"A worker ended with code {code}", advice)
        if code in (*range(1, 6), FaultError.exit_code, INTERRUPTED):
            self.exit_code = code


@dataclass(frozen=True)
class Supervisor:
    """Keeps the requested number of workers running until the run is done.

    Attributes:
        command: Command of a worker, which gets everything else from its environment.
        folder: The run's folder.
        workers: Number of workers outside the plan.
        max_workers: Maximum number of workers.
        meter: Meter of the energy.
        plan: Slots in order of time; may be empty.
        minutes: Time after which the workers are asked to stop; None for no limit.
    """

    command: Sequence[str]
    folder: Path
    workers: int
    max_workers: int
    meter: Meter
    plan: Sequence[Slot] = ()
    minutes: float | None = None

    def run(self) -> bool:
        """Supervise until the run is done or the time is up.

        Returns:
            Whether the run is done.

        Raises:
            WorkerError: A worker failed.
            BusyError: Another command runs in the folder.
        """
        started = last = time.monotonic()
        crew: list[subprocess.Popen[bytes]] = []
        slot, paused = None, False
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
                    if not (crew or paused):
                        path = self.folder / CONTROL
                        logger.info("Paused: write a number of workers into %s to continue.", path)
                    paused = not crew
                    time.sleep(POLL_SECONDS)
                    elapsed, last = time.monotonic() - last, time.monotonic()
                    self.meter.add(now, elapsed, len(crew), slot)
            finally:
                for worker in crew:  # the checkpoint on disk is always complete
                    worker.kill()
                for worker in crew:
                    worker.wait()
                self.meter.close()

    def _bounded(self, wanted: int | None) -> int:
        return min(self.workers if wanted is None else max(wanted, 0), self.max_workers)

    def _look_after(
        self, crew: list[subprocess.Popen[bytes]], lock: tuple[int, ...]
    ) -> tuple[list[subprocess.Popen[bytes]], bool]:
        """Return the workers, restarted if all have stopped, and whether the run is done.

        Raises:
            WorkerError: A worker failed.
        """
        asked = read_wanted(self.folder)
        codes = [worker.poll() for worker in crew]
        failed = [code for code in codes if code not in (None, 0, STOPPED)]
        if failed:
            raise WorkerError(failed[0])
        if None in codes:
            return crew, False
        if codes and set(codes) == {0}:
            return [], True
        wanted = self._bounded(asked)
        if asked not in (None, wanted):  # a file without a number may be incomplete
            write_wanted(self.folder, wanted)
        return (self._start(wanted, lock) if wanted else []), False

    def _start(self, size: int, lock: tuple[int, ...]) -> list[subprocess.Popen[bytes]]:
        logger.info("Running %s.", counted(size, "worker"))
        threads = max(1, tuning.num_cores() // size)
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
    """Let SIGTERM interrupt the supervisor; yield a list of changes by SIGUSR1 (-1), SIGUSR2 (1).

    A handler only appends to the list, because a signal may arrive while the number is written.
    """
    changes: list[int] = []

    actions: dict[int, Any] = {
        signal.SIGUSR1: lambda *_: changes.append(-1),
        signal.SIGUSR2: lambda *_: changes.append(1),
        signal.SIGTERM: signal.default_int_handler,
    }
    before = {number: signal.signal(number, action) for number, action in actions.items()}
    try:
        yield changes
    finally:
        for number, action in before.items():
            signal.signal(number, action)

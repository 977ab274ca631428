"""Power plans, which set the number of workers by the clock, and the energy of a run.

A power plan is a CSV file with a line for each slot, which is 15 minutes in the electricity market:

    start,workers,gco2_per_kwh,watts_per_worker
    2026-03-01T00:00,4,310,420
    2026-03-01T00:15,8,95,420

`start` is an ISO 8601 time, in local time unless it has a zone. The last two columns are optional
and may be empty. A slot lasts until the next one begins, and the last slot 15 minutes.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from foldry.errors import InputError, quoted
from foldry.formats.table import read_table
from foldry.store.files import append_line, last_line

SLOT: Final = timedelta(minutes=15)
LOG: Final = "power.jsonl"
MEASURE_SECONDS: Final = 10.0
"""Time between two power readings."""
MAX_WORKERS: Final = 4096
COLUMNS: Final = ("start", "workers", "gco2_per_kwh", "watts_per_worker")


@dataclass(frozen=True)
class Slot:
    """One slot of a plan.

    Attributes:
        start: Start with time zone.
        workers: Number of workers; 0 pauses the run.
        gco2_per_kwh: Grams of CO₂ per kilowatt-hour; None if the plan does not give it.
        watts_per_worker: Power of one worker in watts; None if the plan does not give it.
    """

    start: datetime
    workers: int
    gco2_per_kwh: float | None = None
    watts_per_worker: float | None = None


def read_plan(path: Path) -> tuple[Slot, ...]:
    """Return the slots of a plan in order of time.

    Raises:
        InputError: The file cannot be read, a line is wrong, or the slots are not in order.
    """
    columns, rows = read_table(path, COLUMNS)
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        advice = f"use the columns {', '.join(COLUMNS)}"
        raise InputError(f"has an unknown column {quoted(unknown[0])}", advice, where=path)
    slots: list[Slot] = []
    for row in rows:
        where = f"{path}, line {row.line}"
        slot = _slot(row.cells, where)
        if slots and slot.start <= slots[-1].start:
            advice = "sort the slots by start, without repeating one"
            raise InputError("does not start after the slot above it", advice, where=where)
        slots.append(slot)
    if not slots:
        advice = "add lines with a start and a number of workers"
        raise InputError("has no slot", advice, where=path)
    return tuple(slots)


def _slot(cells: Mapping[str, str], where: str) -> Slot:
    try:
        start = datetime.fromisoformat(cells["start"]).astimezone()
        workers = int(cells["workers"])
        carbon, watts = (float(cells[name]) if cells.get(name) else None for name in COLUMNS[2:])
    except (KeyError, ValueError, OverflowError) as error:
        advice = (
            "give a start such as 2026-03-01T00:15, a number of workers and, optionally, numbers "
            "for carbon and watts"
        )
        raise InputError("is not a valid slot", advice, where=where) from error
    known = all(each is None or 0 <= each < math.inf for each in (carbon, watts))
    if not 0 <= workers <= MAX_WORKERS or not known:
        advice = f"give 0 to {MAX_WORKERS} workers, and carbon and watts of 0 or more"
        raise InputError("has a number out of range", advice, where=where)
    return Slot(start, workers, carbon, watts)


def slot_at(plan: Sequence[Slot], now: datetime) -> Slot | None:
    """Return the slot of a moment; None before the first and after the last slot."""
    begun = [slot for slot in plan if slot.start <= now]
    if not begun or (begun[-1] is plan[-1] and now >= begun[-1].start + SLOT):
        return None
    return begun[-1]


def gpu_watts(num_gpus: int) -> float | None:
    """Return the present power of the first GPUs by `nvidia-smi`, or None if it fails.

    Args:
        num_gpus: Number of GPUs.
    """
    command = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    command.append(f"--id={','.join(map(str, range(num_gpus)))}")
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        return sum(float(line) for line in said.stdout.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


@dataclass
class Meter:
    """Energy and carbon of a run, with a line in its `power.jsonl` for each change and slot.

    The power is taken from the plan, then `watts_per_worker`, then `measure`. If it is
    unknown, the line says so and the totals do not include the energy of that time.

    Attributes:
        folder: The run's folder.
        watts_per_worker: Power of one worker in watts, if the user gave it.
        measure: Returns the power of a number of workers in watts, or None if it is unknown.
    """

    folder: Path
    watts_per_worker: float | None = None
    measure: Callable[[int], float | None] = gpu_watts
    _line: dict[str, Any] = field(default_factory=dict)
    _reading: tuple[datetime, int, float | None] | None = None

    def add(self, now: datetime, seconds: float, workers: int, slot: Slot | None) -> None:
        """Count a few seconds that end now.

        Args:
            now: The present time.
            seconds: Length of the time.
            workers: Number of workers during that time.
            slot: The slot of the plan, if any.
        """
        watts, source = self._watts(now, workers, slot)
        carbon = slot.gco2_per_kwh if slot else None
        what = {"workers": workers, "watts_from": source, "gco2_per_kwh": carbon}
        what["slot"] = slot.start.isoformat() if slot else None
        line = self._line
        if not what.items() <= line.items() or line["seconds"] >= SLOT.total_seconds():
            self.close()
            start = (now - timedelta(seconds=seconds)).isoformat()
            line = self._line = {"start": start, **what, "seconds": 0.0, "kwh": None, "gco2": None}
        line["end"] = now.isoformat()
        line["seconds"] += seconds
        if watts is not None:
            line["kwh"] = (line["kwh"] or 0.0) + watts * seconds / 3.6e6
            if carbon is not None:
                line["gco2"] = line["kwh"] * carbon

    def close(self) -> None:
        """Write the last line, with the totals of the whole run."""
        if not self._line:
            return
        line, self._line = self._line, {}
        before = last_line(self.folder / LOG)
        for name in ("kwh", "gco2"):
            line[f"total_{name}"] = before.get(f"total_{name}", 0.0) + (line[name] or 0.0)
        append_line(self.folder / LOG, line)

    def _watts(self, now: datetime, workers: int, slot: Slot | None) -> tuple[float | None, str]:
        if workers == 0:
            return 0.0, "paused"
        if slot is not None and slot.watts_per_worker is not None:
            return workers * slot.watts_per_worker, "plan"
        if self.watts_per_worker is not None:
            return workers * self.watts_per_worker, "given"
        read_at, read_for, watts = self._reading or (now, None, None)
        if read_for != workers or (now - read_at).total_seconds() >= MEASURE_SECONDS:
            watts = self.measure(workers)
            self._reading = now, workers, watts
        return watts, "unknown" if watts is None else "nvidia-smi"

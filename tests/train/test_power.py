"""Power plans are read and refused; energy and carbon are counted, never invented."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.store.files import last_line
from foldry.train import power
from foldry.train.power import Meter, Slot, gpu_watts, read_plan, slot_at

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_plan_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(
        "start,workers,gco2_per_kwh,watts_per_worker\n"
        "2026-03-01T12:00+00:00,4,310,\n"
        "2026-03-01T12:15+00:00,0,,420.5\n"
    )
    quarter = timedelta(minutes=15)
    assert read_plan(path) == (
        Slot(NOON, 4, 310.0, None),
        Slot(NOON + quarter, 0, None, 420.5),
    )
    path.write_text("start,workers\n2026-03-01T12:00,4\n")
    (slot,) = read_plan(path)
    assert slot.start.utcoffset() == datetime(2026, 3, 1, 12).astimezone().utcoffset()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is an empty table"),
        ("start,workers\n", "has no slot"),
        ("start,workers\nnoon,1\n", "line 2, is not a valid slot: give a start"),
        ("start,workers\n2026-03-01T12:00,1.5\n", "line 2"),
        ("start,workers\n2026-03-01T12:00,-1\n", "line 2, has a number out of range: give 0 to"),
        ("start,workers,gco2_per_kwh\n2026-03-01T12:00,1,nan\n", "line 2, has a number out of"),
        ("start,workers\n2026-03-01T12:00,99999\n", "line 2"),
        ("start,workers\n2026-03-01T12:00\n", "line 2"),
        ("start,workers\n2026-03-01T12:00,1,5\n", "line 2, has 3 cells in 2 columns"),
        ("start,workers,price\n2026-03-01T12:00,1,5\n", "column 'price'"),
        ("start,workers,gco2_per_kwh\n2026-03-01T12:00,1,-5\n", "line 2"),
        ("start,workers,gco2_per_kwh\n2026-03-01T12:00,1,inf\n", "line 2"),
        (
            "start,workers\n2026-03-01T12:00,1\n2026-03-01T12:00,2\n",
            "line 3, does not start after the slot above it",
        ),
        ("\x00", "plan.csv"),
    ],
)
def test_a_wrong_plan_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as error:
        read_plan(path)
    assert "\n" not in str(error.value)


def test_a_missing_and_a_huge_plan_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_plan(tmp_path / "none.csv")
    monkeypatch.setattr("foldry.formats.lines.MAX_TEXT", 10)
    (tmp_path / "plan.csv").write_text("start,workers\n2026-03-01T12:00,4\n")
    with pytest.raises(InputError, match="give a smaller file"):
        read_plan(tmp_path / "plan.csv")


@given(
    steps=st.lists(st.integers(1, 7200), min_size=1, max_size=6), moment=st.integers(-10000, 50000)
)
def test_a_slot_lasts_until_the_next(steps: list[int], moment: int) -> None:
    starts = [sum(steps[:number]) for number in range(len(steps))]
    plan = [Slot(NOON + timedelta(seconds=start), number) for number, start in enumerate(starts)]
    ends = [*starts[1:], starts[-1] + 900]
    expected = [
        slot for slot, start, end in zip(plan, starts, ends, strict=True) if start <= moment < end
    ]
    found = slot_at(plan, NOON + timedelta(seconds=moment))
    assert ([found] if found else []) == expected
    last = plan[-1]
    assert slot_at(plan, last.start + timedelta(seconds=899)) == last
    assert slot_at(plan, last.start + timedelta(seconds=900)) is None
    assert slot_at((), NOON) is None


def test_energy_and_carbon_are_counted(tmp_path: Path) -> None:
    meter = Meter(tmp_path, watts_per_worker=500.0)
    plan = (Slot(NOON, 2, 300.0), Slot(NOON + HOUR, 4, 100.0, 1000.0))
    # 2 × 500 W for an hour are 1 kWh and 300 g; 4 × 1000 W for half an hour 2 kWh and 200 g.
    for minute in range(90):
        end = NOON + timedelta(minutes=minute + 1)
        slot = plan[minute >= 60]
        meter.add(end, 60.0, slot.workers, slot)
    meter.close()
    line = last_line(meter.folder / power.LOG)
    assert line["total_kwh"] == pytest.approx(3)
    assert line["total_gco2"] == pytest.approx(500)
    assert (line["watts_from"], line["workers"]) == ("plan", 4)
    assert len((tmp_path / power.LOG).read_text().splitlines()) == 6  # one each 15 minutes
    again = Meter(tmp_path, watts_per_worker=500.0)
    again.add(NOON + 2 * HOUR, 3600.0, 1, None)
    again.close()
    assert last_line(again.folder / power.LOG)["total_kwh"] == pytest.approx(3.5)
    assert last_line(again.folder / power.LOG)["gco2"] is None  # no plan, no carbon


def test_an_incomplete_line_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    log = tmp_path / power.LOG
    for number, torn in enumerate((b"", b"{", b'{"start": "2026-', b'{"total_kwh": 9.0'), 1):
        with log.open("ab") as file:
            file.write(torn)
        meter = Meter(tmp_path, watts_per_worker=500.0)
        meter.add(NOON + number * HOUR, 3600.0, 2, None)
        meter.close()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["total_kwh"] for line in lines] == list(range(1, number + 1))


def test_unknown_power_is_not_invented(tmp_path: Path) -> None:
    meter = Meter(tmp_path, measure=lambda _: None)
    meter.add(NOON, 60.0, 2, Slot(NOON, 2, 100.0))
    meter.close()
    line = last_line(meter.folder / power.LOG)
    assert (line["watts_from"], line["kwh"], line["gco2"]) == ("unknown", None, None)
    assert (line["total_kwh"], line["total_gco2"]) == (0, 0)


def test_a_meter_is_read_every_ten_seconds(tmp_path: Path) -> None:
    asked = []

    def measure(workers: int) -> float:
        asked.append(workers)
        return 300.0 * workers

    meter = Meter(tmp_path, measure=measure)
    for second in range(1, 21):
        meter.add(NOON + timedelta(seconds=second), 1.0, 2, None)
    meter.close()
    assert asked == [2, 2]
    assert last_line(meter.folder / power.LOG)["kwh"] == pytest.approx(600 * 20 / 3.6e6)
    assert last_line(meter.folder / power.LOG)["watts_from"] == "nvidia-smi"


def test_gpus_are_read_by_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_watts(2) is None
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\n[ "$3" = "--id=0,1" ] && echo 310.5 && echo 89.5\n')
    program.chmod(0o755)
    assert gpu_watts(2) == 400
    assert gpu_watts(3) is None  # it failed
    program.write_text("#!/bin/sh\necho '[N/A]'\n")
    assert gpu_watts(1) is None

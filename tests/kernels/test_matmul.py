"""The library for float32 matrices: chosen by speed and error, kept, and restored after use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from foldry.kernels import matmul
from foldry.kernels.matmul import (
    DEFAULT,
    ONEDNN,
    fast_matmul,
    process_settings,
    threads_for,
    tuned_process,
)
from foldry.processes import tuning

SETTING = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HOME", str(tmp_path))
    matmul.chosen.cache_clear()
    yield
    matmul.chosen.cache_clear()
    assert SETTING.fp32_precision == DEFAULT


@pytest.fixture
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which oneDNN is the better choice."""
    monkeypatch.setattr(matmul, "measure", lambda: ONEDNN)


@pytest.mark.usefixtures("onednn")
def test_the_setting_is_restored_also_after_an_error() -> None:
    with pytest.raises(KeyError), fast_matmul():
        assert process_settings()["matmul"] == "onednn"
        raise KeyError
    assert process_settings()["matmul"] == "default"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.usefixtures("onednn")
def test_results_on_a_gpu_do_not_change() -> None:
    with fast_matmul():
        assert not torch.backends.cuda.matmul.allow_tf32


def test_mkl_stays_where_onednn_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "measure", lambda: DEFAULT)
    with fast_matmul():
        assert process_settings()["matmul"] == "default"


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("precision", ["ieee", "tf32", "bf16"])
def test_a_precision_of_the_user_is_kept(precision: str) -> None:
    SETTING.fp32_precision = precision
    try:
        with fast_matmul():
            assert SETTING.fp32_precision == precision
        assert SETTING.fp32_precision == precision
    finally:
        SETTING.fp32_precision = DEFAULT


@pytest.mark.usefixtures("onednn")
def test_a_precision_that_the_user_sets_meanwhile_is_kept() -> None:
    try:
        with fast_matmul():
            SETTING.fp32_precision = "tf32"
        assert SETTING.fp32_precision == "tf32"
    finally:
        SETTING.fp32_precision = DEFAULT


@pytest.mark.usefixtures("onednn")
def test_the_last_of_several_threads_restores_the_setting() -> None:
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with fast_matmul():
            entered.set()
            leave.wait(60)

    with fast_matmul():
        thread = threading.Thread(target=work)
        thread.start()
        assert entered.wait(60)
    assert SETTING.fp32_precision == ONEDNN
    leave.set()
    thread.join()
    assert SETTING.fp32_precision == DEFAULT


def compared(monkeypatch: pytest.MonkeyPatch, faster: float, error: float) -> str:
    """Return the choice if oneDNN is faster by one factor and less exact by another."""

    def compare(*_: object) -> tuple[dict[str, float], dict[str, float]]:
        return {DEFAULT: faster, ONEDNN: 1.0}, {DEFAULT: 1e-6, ONEDNN: error * 1e-6}

    monkeypatch.setattr(matmul, "_compare", compare)
    return matmul.measure()


@pytest.mark.parametrize(
    ("faster", "error", "choice"),
    [
        (2.3, 1.0, ONEDNN),
        (1.21, 1.9, ONEDNN),
        (1.01, 1.0, ONEDNN),
        (1.0, 1.0, DEFAULT),
        (0.5, 1.0, DEFAULT),
        (1.1, 2.1, DEFAULT),
        (9.0, 1000.0, DEFAULT),
    ],
)
def test_speed_and_error_decide(
    faster: float, error: float, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compared(monkeypatch, faster, error) == choice


def test_bfloat16_is_seen_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor where PyTorch's setting rounds to bfloat16, the error is far too large."""

    def rounding(left: Tensor, right: Tensor) -> Tensor:
        if left.dtype == torch.float64 or SETTING.fp32_precision == DEFAULT:
            return left @ right
        return (left.bfloat16() @ right.bfloat16()).float()

    try:
        _, errors = matmul._compare(rounding, [torch.ones(8, 8) * 1.001, torch.ones(8, 8)])
    finally:
        SETTING.fp32_precision = DEFAULT
    assert errors[ONEDNN] > 100 * errors[DEFAULT]


def test_a_measurement_changes_nothing_else() -> None:
    state = torch.random.get_rng_state()
    assert matmul.measure() in (DEFAULT, ONEDNN)
    assert torch.equal(torch.random.get_rng_state(), state)


def kept_files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


def test_a_machine_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "measure", lambda: ONEDNN)
    assert matmul.chosen(1) == ONEDNN
    monkeypatch.setattr(matmul, "measure", lambda: DEFAULT)
    matmul.chosen.cache_clear()
    assert matmul.chosen(1) == ONEDNN
    assert matmul.chosen(2) == DEFAULT, "another number of threads is another measurement"
    assert len(kept_files(tmp_path)) == 2


def test_one_of_several_measures_and_the_others_use_its_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lock belongs to an open file, so that threads stand for processes here."""
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def measure() -> str:
        calls.append(1)
        begun.set()
        go_on.wait(60)
        return ONEDNN

    monkeypatch.setattr(matmul, "measure", measure)
    with ThreadPoolExecutor(3) as threads:
        found = [threads.submit(matmul.chosen.__wrapped__, 1) for _ in range(3)]
        assert begun.wait(60)
        begun.clear()
        again = begun.wait(0.3)
        go_on.set()
        assert not again
        assert [each.result() for each in found] == [ONEDNN] * 3
    assert len(calls) == 1


def test_a_damaged_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "measure", lambda: ONEDNN)
    matmul.chosen(1)
    [file] = kept_files(tmp_path)
    for damage in (b"", b"fast\n", b"\xff\x00" * 20, b"bf16" * 1000, b"\x1f\x8b\x08bad"):
        file.write_bytes(damage)
        matmul.chosen.cache_clear()
        assert matmul.chosen(1) == ONEDNN
        assert file.read_text() == f"{ONEDNN}\n"


def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "measure", lambda: ONEDNN)
    (tmp_path / ".cache").write_text("a file")
    assert matmul.chosen(1) == ONEDNN


def test_a_user_without_a_home_folder_is_measured_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(matmul, "measure", lambda: ONEDNN)
    assert matmul.chosen(1) == ONEDNN


@pytest.mark.usefixtures("onednn")
def test_a_command_runs_with_its_threads_and_records_them(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    kept: list[int] = []
    monkeypatch.setattr(tuning, "keep_memory", kept.append)
    monkeypatch.setattr(tuning, "num_threads", lambda: before + 1)
    monkeypatch.setattr(tuning, "record", lambda: {"malloc": "keeps blocks"})
    with tuned_process():
        settings = {"malloc": "keeps blocks", "threads": before + 1, "matmul": "onednn"}
        assert process_settings() == settings
    assert kept == [], "malloc belongs to the program that calls Foldry"
    monkeypatch.setattr(tuning, "is_command", lambda: True)
    with tuned_process(), tuned_process(tuning.KEPT_FOR_GRADIENTS):
        assert kept == [2**22, 2**25]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("is_command", "c_pair", "num_residues", "is_one"),
    [
        (True, 64, 256, True),
        (True, 64, 257, False),
        (True, 128, 20, False),
        (False, 64, 20, False),
    ],
)
def test_a_small_network_computes_short_queries_with_one_thread(
    is_command: bool, c_pair: int, num_residues: int, is_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(tuning, "is_command", lambda: is_command)
    try:
        torch.set_num_threads(3)
        with threads_for(c_pair, num_residues):
            assert torch.get_num_threads() == (1 if is_one else 3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_command_begins_only_if_its_libraries_find_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(num_bytes: int) -> None:
        assert num_bytes >= 2**25, "OpenBLAS takes so many"
        raise MemoryError

    monkeypatch.setattr(tuning, "check_room", none_left)
    with tuned_process():
        pass
    monkeypatch.setattr(tuning, "is_command", lambda: True)
    monkeypatch.setattr(tuning, "keep_memory", lambda _: None)
    with pytest.raises(MemoryError), tuned_process():
        pass


def test_a_busy_machine_does_not_change_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the quickest of several calls counts."""
    clock = [0.0]
    took = iter([9.0, 2.0, 1.0, 8.0, *[3.0] * 100])

    def work(one: torch.Tensor) -> torch.Tensor:
        if one.dtype == torch.float32:
            clock[0] += next(took)
        return one

    monkeypatch.setattr(matmul, "_setting", SimpleNamespace(fp32_precision=DEFAULT))
    monkeypatch.setattr(matmul.time, "perf_counter", lambda: clock[0])
    seconds, errors = matmul._compare(work, [torch.ones(2)])
    assert seconds == {DEFAULT: 1.0, ONEDNN: 2.0}
    assert errors == {DEFAULT: 0.0, ONEDNN: 0.0}

"""The library that multiplies float32 matrices on a CPU, chosen by a measurement on this machine.

PyTorch multiplies with MKL. On AMD processors oneDNN is up to twice as fast, and PyTorch uses it if
oneDNN may round to bfloat16. Only some processors then do so: both speed and error decide.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from foldry.errors import FoldryError
from foldry.processes import tuning
from foldry.store.files import make_folder, read_bytes, write_text
from foldry.store.flock import locked
from foldry.store.hashes import content_key

DEFAULT: Final = "none"
ONEDNN: Final = "bf16"
"""Values of PyTorch's setting: its default, and the one with which it uses oneDNN."""
MAX_ERROR: Final = 2.0
"""oneDNN may have at most this many times the error of the default."""
NARROW: Final = 64
"""Width of the pair representation up to which a network is small, as `mini` is."""
SHORT: Final = 256
"""Number of residues up to which such a network computes with one thread."""
_REPEATS: Final = 9
_BUFFER: Final = 32 * 2**20
"""Bytes that OpenBLAS takes for one thread."""

_setting: Final[Any] = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


class _Switch:
    """Turns oneDNN on while any thread needs it."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0

    def on(self) -> bool:
        """Return whether oneDNN is on now and `off` must be called."""
        with self.lock:
            if not self.users:
                if _setting.fp32_precision != DEFAULT:  # the user's choice
                    return False
                if chosen(torch.get_num_threads()) != ONEDNN:
                    return False
                _setting.fp32_precision = ONEDNN
            self.users += 1
            return True

    def off(self) -> None:
        with self.lock:
            self.users -= 1
            if not self.users and _setting.fp32_precision == ONEDNN:  # not the user's by now
                _setting.fp32_precision = DEFAULT


_switch: Final = _Switch()


@contextmanager
def fast_matmul() -> Iterator[None]:
    """Multiply float32 matrices on the CPU with the faster library in the `with` block.

    All threads share the setting, which the last of their blocks restores. A precision that the
    user chose is kept. `torch.get_float32_matmul_precision` raises an error meanwhile: it belongs
    to PyTorch's older setting, which would change results on a GPU too.
    """
    is_on = _switch.on()
    try:
        yield
    finally:
        if is_on:
            _switch.off()


@contextmanager
def tuned_process(kept: int = tuning.KEPT) -> Iterator[None]:
    """Run networks with all settings that a command makes for its process.

    In another program's process, malloc is left alone.

    Args:
        kept: Size of the largest blocks that malloc keeps, bytes.

    Raises:
        MemoryError: There is too little for the libraries.
    """
    if tuning.is_command():
        tuning.keep_memory(kept)
        _reserve_memory()
    num_threads, before = tuning.num_threads(), torch.get_num_threads()
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    try:
        with fast_matmul():
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_for(c_pair: int, num_residues: int) -> Iterator[None]:
    """Compute with one thread in the `with` block if a network and a query are small.

    The second thread would gain nothing on a quiet machine, and on a busy one the first would wait
    for it half of the time. In another program's process, the number of threads is left alone.

    Args:
        c_pair: Width of the pair representation.
        num_residues: Number of residues of the query.
    """
    if not tuning.is_command() or c_pair > NARROW or num_residues > SHORT:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _reserve_memory() -> None:
    """Let OpenBLAS allocate its buffer while there is room; later it might end the process."""
    tuning.check_room(2 * _BUFFER)
    matrix = np.ones((256, 256))  # smaller ones are multiplied without a buffer
    np.matmul(matrix, matrix)


def process_settings() -> dict[str, str | int]:
    """Return the settings of this process that change its speed, for the provenance."""
    precision = _setting.fp32_precision
    matmul = {DEFAULT: "default", ONEDNN: "onednn"}.get(precision, precision)
    return {**tuning.record(), "threads": torch.get_num_threads(), "matmul": matmul}


@cache
def chosen(num_threads: int) -> str:
    """Return the value of the setting for this machine, which is measured once.

    The result is kept in `~/.cache/foldry/matmul`, because another choice would change the rounding
    of results; a damaged file is replaced. Other processes wait for the measurement and use it.
    """
    known = tuning.processor()
    names = ("model name", "flags", "CPU implementer", "CPU part", "Features")
    machine = [[known.get(name) for name in names], torch.__version__, num_threads]
    try:
        folder = Path.home() / ".cache" / "foldry" / "matmul"
    except RuntimeError:  # this user has no home folder
        return measure()
    file = folder / content_key(machine)[:16]
    if kept := _kept(file):
        return kept
    with suppress(FoldryError):
        make_folder(folder)
    with suppress(OSError), locked(folder, wait=True):
        return _kept(file) or _measured(file)
    return measure()  # there is no folder


def _kept(file: Path) -> str | None:
    """Return the choice that a file holds, or None."""
    with suppress(FoldryError, OSError):
        value = read_bytes(file, max_bytes=100).decode(errors="replace").strip()
        if value in (DEFAULT, ONEDNN):
            return value
    return None


def _measured(file: Path) -> str:
    """Measure, and keep the choice in a file."""
    value = measure()
    with suppress(FoldryError):  # it is measured again next time
        write_text(file, f"{value}\n")
    return value


def measure() -> str:
    """Return the faster value of the setting on this machine.

    It is `ONEDNN` only if that is faster with at most `MAX_ERROR` times the error.
    """
    random = torch.Generator().manual_seed(0)
    shapes: tuple[tuple[int, ...], ...] = (
        *((1024, 128), (512, 128), (512,)),
        *((512, 256), (1024, 256), (1024,)),
        *((8, 256, 32), (8, 32, 256)),
    )
    arrays = [
        torch.randn(shape, generator=random, dtype=torch.float32, device="cpu") for shape in shapes
    ]
    works: list[tuple[Callable[..., Tensor], list[Tensor]]] = [
        (functional.linear, arrays[:3]),  # of a transition of pairs
        (functional.linear, arrays[3:6]),  # of a transition of the MSA
        (torch.bmm, arrays[6:]),  # of attention with heads of 32 channels
    ]
    gain = 1.0
    before = _setting.fp32_precision
    try:
        with torch.inference_mode():
            for function, inputs in works:
                seconds, errors = _compare(function, inputs)
                if errors[ONEDNN] > MAX_ERROR * errors[DEFAULT]:
                    return DEFAULT
                gain *= seconds[DEFAULT] / seconds[ONEDNN]
    finally:
        _setting.fp32_precision = before
    return ONEDNN if gain > 1 else DEFAULT


def _compare(
    function: Callable[..., Tensor], inputs: list[Tensor]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the shortest time in seconds and the largest error of each value of the setting."""
    exact = function(*(each.double() for each in inputs))
    seconds: dict[str, float] = {}
    errors: dict[str, float] = {}
    for repeat, value in product(range(_REPEATS), (DEFAULT, ONEDNN)):
        _setting.fp32_precision = value
        start = time.perf_counter()
        found = function(*inputs)
        elapsed = time.perf_counter() - start
        seconds[value] = min(seconds.get(value, elapsed), elapsed)
        if repeat == 0:
            errors[value] = float((found - exact).abs().max())
    return seconds, errors

"""Settings of a process that computes: the allocator, threads that wait, the number of threads.

The command line makes them for its own process; a Python program is left alone. None overrides what
the user set, and `record` returns those in force.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT: Final = {_M_MMAP_THRESHOLD: 2**25, _M_TRIM_THRESHOLD: 2**31 - 1}
"""Bytes: smaller blocks stay in the heap, which never shrinks by less. With larger blocks, of which
there are few, the heap would be full of holes, and older versions of glibc take no more."""
_WAITING: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_NUM_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_BLAS_THREADS: Final = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS")
_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})

_made: dict[str, str | int] = {}


def record() -> dict[str, str | int]:
    """Return the settings in force in this process, whoever made them."""
    variables = ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS")
    return _made | {name: os.environ[name] for name in variables if name in os.environ}


def begin() -> None:
    """Make the settings that libraries read once: call it before NumPy and torch are imported.

    A thread of OpenMP that waits for the others spins. On a busy processor it takes the time that
    they need, so it sleeps instead. OpenBLAS, which multiplies for NumPy, uses one thread: the
    matrices are small, and its threads spin as well.
    """
    gc.set_threshold(100_000)  # the many objects of modules and tables are no garbage
    _set("OMP_WAIT_POLICY", "PASSIVE", _WAITING)
    _set("OPENBLAS_NUM_THREADS", "1", _BLAS_THREADS)


def _set(variable: str, value: str, unless: tuple[str, ...]) -> None:
    """Set an environment variable, unless one of several is set."""
    if not any(name in os.environ for name in unless):
        os.environ[variable] = value


def keep_memory() -> None:
    """Let malloc keep freed blocks, on glibc, which otherwise returns large ones to the system.

    Each operation of a network would get its result in fresh pages, whose first use costs more
    than the operation itself.
    """
    names = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")  # the last may load another allocator
    if any(name.startswith(names) for name in os.environ) or not _is_glibc():
        return
    mallopt = ctypes.CDLL(None).mallopt
    if all(mallopt(*each) for each in _KEPT.items()):
        _made["malloc"] = "keeps blocks"


def _is_glibc() -> bool:
    name = "CS_GNU_LIBC_VERSION"
    return name in getattr(os, "confstr_names", {}) and "glibc" in (os.confstr(name) or "")


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import large packages without garbage collection, which finds nothing in modules.

    The modules are also left out of later collections, and of the one when the process ends.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


# Processors


def num_threads() -> int | None:
    """Return the number of threads to compute with; None leaves the choice to the libraries."""
    chosen = any(name in os.environ for name in _NUM_THREADS)
    return None if chosen or sys.platform != "linux" else num_cores()


def num_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    On Linux these are the physical cores on which it may run, because two threads of one core share
    its arithmetic units, or as many as its control group gets time for.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    cores = {_read(topology.format(n)) or str(n) for n in os.sched_getaffinity(0)}
    return max(1, min([len(cores), *map(int, _cpu_limits(Path("/")))]))


def _cpu_limits(root: Path) -> Iterator[float]:
    """Yield the processors that each control group around this process gets the time of.

    Args:
        root: The folder of `proc` and `sys`.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container, the path may be that of the host, where only the root can be read.
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            folder = root / "sys/fs/cgroup" / ("cpu" if controllers else "") / str(group)[1:]
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            with suppress(ValueError):  # no file, or `max` or -1 for no limit
                q, p = map(int, (_read(folder / "cpu.max") or f"{quota} {period}").split())
                if q > 0:
                    yield q / p


def _read(path: str | Path) -> str:
    """Return the text of a file of the system, or ""."""
    try:
        return Path(path).read_text("ascii", "replace").strip()
    except OSError:
        return ""


@cache
def processor() -> dict[str, str]:
    """Return what `/proc/cpuinfo` says of the first processor; empty if there is no such file."""
    with suppress(OSError), Path("/proc/cpuinfo").open() as file:
        lines = iter(file.readline, "\n")
        pairs = (line.partition(":") for line in lines if line)
        return {name.strip(): value.strip() for name, _, value in pairs}
    return {}


def has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 numbers; True if it does not say."""
    known = processor()
    flags = known.get("flags") or known.get("Features")
    return flags is None or not _BFLOAT16.isdisjoint(flags.split())

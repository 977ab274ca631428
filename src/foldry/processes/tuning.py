"""Settings of a process that computes: the allocator, threads that wait, the number of threads.

The command line makes them for its own process; a Python program is left alone. None overrides what
the user set, and `record` returns those in force.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import takewhile
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
KEPT: Final = 2**22
"""Bytes of the largest blocks that malloc keeps. Most temporary arrays of the kernels are smaller;
larger arrays are returned to the system, because the heap would be full of holes of their size."""
KEPT_FOR_GRADIENTS: Final = 2**25
"""The same for training, which has many large arrays; older versions of glibc accept no larger
value."""
NUM_THREADS: Final = ("MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""Variables with the number of PyTorch's threads; the first one takes precedence."""
_WAITING: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_BLAS_THREADS: Final = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS")
TORCH: Final = 580 * 2**20
"""Bytes of address space that the import of torch takes."""
OPTIMIZERS: Final = 100 * 2**20
"""The same for torch's first optimizer, which imports a compiler."""
_PRIVATE: Final = {"flags": mmap.MAP_PRIVATE} if hasattr(mmap, "MAP_PRIVATE") else {}
_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})

_made: dict[str, str | int] = {}
_process: Final = SimpleNamespace(is_command=False)


def record() -> dict[str, str | int]:
    """Return the settings in force in this process, whoever made them."""
    variables = ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS")
    return _made | {name: os.environ[name] for name in variables if name in os.environ}


def begin() -> None:
    """Make the settings that libraries read once: call it before NumPy and torch are imported.

    A thread of OpenMP that waits for the others spins. On a busy processor it takes the time that
    they need, so it sleeps instead. OpenBLAS, which multiplies for NumPy, uses one thread: the
    matrices are small, and its threads spin as well, also as many as OMP_NUM_THREADS says.
    """
    _process.is_command = True
    gc.set_threshold(100_000)  # the many objects of modules and tables are not garbage
    _set("OMP_WAIT_POLICY", "PASSIVE", _WAITING)
    _set("OPENBLAS_NUM_THREADS", "1", _BLAS_THREADS)


def is_command() -> bool:
    """Return whether this process did `begin`, so that it is not another program's."""
    return bool(_process.is_command)


def _set(variable: str, value: str, unless: tuple[str, ...]) -> None:
    """Set an environment variable, unless one of several is set."""
    if not any(name in os.environ for name in unless):
        os.environ[variable] = value


def keep_memory(largest: int = KEPT) -> None:
    """Let malloc keep freed blocks, on glibc, which otherwise returns large ones to the system.

    Each operation of a network would get its result in fresh pages, whose first use costs more
    than the operation itself.

    Args:
        largest: Size of the largest blocks that are kept, bytes.
    """
    names = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")  # the last may load another allocator
    if any(name.startswith(names) for name in os.environ) or not _is_glibc():
        return
    mallopt = ctypes.CDLL(None).mallopt
    if mallopt(_M_MMAP_THRESHOLD, largest) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1):
        _made["malloc"] = "keeps blocks"


def release_memory() -> None:
    """Return to the system what malloc keeps by `keep_memory`; otherwise it does so itself."""
    if "malloc" in _made:
        ctypes.CDLL(None).malloc_trim(0)


def check_room(num_bytes: int) -> None:
    """Check that so much address space is free: libraries may crash where they find none.

    Raises:
        MemoryError: It is not free.
    """
    try:
        mmap.mmap(-1, num_bytes, **_PRIVATE).close()
    except (OSError, ValueError) as error:
        raise MemoryError from error


def _is_glibc() -> bool:
    name = "CS_GNU_LIBC_VERSION"
    return name in getattr(os, "confstr_names", {}) and "glibc" in (os.confstr(name) or "")


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import torch and what uses it without garbage collection, which finds nothing in modules.

    In a command's process, the modules are also left out of later collections, and of the one when
    the process ends.

    Raises:
        MemoryError: There is no room for torch.
    """
    if "torch" not in sys.modules:
        check_room(TORCH)
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_command():
            gc.freeze()
        if enabled:
            gc.enable()


# Processors and memory


def num_threads() -> int | None:
    """Return the number of threads to compute with; None leaves the choice to the libraries."""
    chosen = any(name in os.environ for name in NUM_THREADS)
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
    for folder in _control_groups(root, "cpu"):
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        with suppress(ValueError):  # no file, or `max` or -1 for no limit
            q, p = map(int, (_read(folder / "cpu.max") or f"{quota} {period}").split())
            if q > 0:
                yield q / p


def memory_limits(root: Path = Path("/")) -> Iterator[int]:
    """Yield the bytes that each control group around this process may still use.

    File caches that the system would give up count as unused, as in `MemAvailable`.

    Args:
        root: The folder of `proc` and `sys`.
    """
    for folder in _control_groups(root, "memory"):
        limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
        with suppress(ValueError):  # no file, or `max` for no limit
            known = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
            cached = known.get("total_inactive_file") or known.get("inactive_file") or 0
            yield max(int(limit) - int(used) + int(cached), 0)


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups around this process that have a controller."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # In a container, the path may be that of the host, where only the root can be read.
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            yield root / "sys/fs/cgroup" / (controller if controllers else "") / str(group)[1:]


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
        pairs = (line.partition(":") for line in takewhile(str.strip, file))
        return {name.strip(): value.strip() for name, _, value in pairs}
    return {}


def has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 numbers; True if it does not say."""
    known = processor()
    flags = known.get("flags") or known.get("Features")
    return flags is None or not _BFLOAT16.isdisjoint(flags.split())

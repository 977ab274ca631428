"""OpenFold and the official AlphaFold beside Foldry, each in a process that is asked in turn.

peers.md says how a checkout is made to run. What is compared alternates: every process is built
once, waits without using the processor, and measures one thing whenever it is asked.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from foldry.errors import InputError, MissingError
from foldry.processes import tuning

SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


class Worker:
    """A process of the calling script that measures what it is asked, with one thread."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", sys.argv[0], *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | SINGLE_THREAD,
        )

    def ask(self, **question: object) -> dict[str, Any]:
        """Return the worker's answer; it has no other work while the caller asks other workers."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its own error follows
        line = self.process.stdout.readline()
        if not line:
            raise subprocess.CalledProcessError(self.process.wait() or 1, self.process.args)
        return dict(json.loads(line))

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def serve(answer: Callable[..., Mapping[str, object]]) -> None:
    """Answer the questions on standard input; whatever else is printed goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            answers.write(json.dumps(answer(**json.loads(line))) + "\n")
            answers.flush()


def measure(function: Callable[[], object]) -> dict[str, float]:
    """Return the CPU-seconds of all threads (user and system) and the seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def resident(kind: str) -> int:
    """Return bytes of memory in use (VmRSS) or the most since `forget_peak` (VmHWM); Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) * 1024
    raise MissingError("This system does not report the memory in use", "use Linux")


def forget_peak() -> None:
    """Let the peak start again from the memory in use."""
    Path("/proc/self/clear_refs").write_text("5")


def release_memory() -> None:
    """Give memory that is free in this process back to the system, with glibc."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def apply_settings(kept: int = tuning.KEPT) -> None:
    """Make the process settings of Foldry's command line; malloc keeps blocks of up to `kept`."""
    tuning.begin()
    tuning.keep_memory(kept)
    import torch  # noqa: PLC0415

    from foldry.kernels import matmul  # noqa: PLC0415

    torch.backends.mkldnn.matmul.fp32_precision = matmul.chosen(1)


def machine() -> str:
    """Return the processor's name, the number of cores, and the version of torch."""
    import torch  # noqa: PLC0415

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line[:10] == "model name"), "CPU")
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__}"


def use_openfold(folder: Path) -> None:
    """Make `import openfold` read a checkout.

    OpenFold imports its CUDA softmax even where it does not use it: torch's stands in for it.

    Raises:
        InputError: The folder has no OpenFold.
        MissingError: A package that OpenFold imports is missing.
    """
    _use(folder, "openfold", "openfold/model/evoformer.py")
    import torch  # noqa: PLC0415

    def forward_(logits: torch.Tensor, rows: int, columns: int) -> None:
        logits.copy_(torch.softmax(logits, -1))

    stand_in = ModuleType("attn_core_inplace_cuda")
    vars(stand_in)["forward_"] = forward_
    sys.modules[stand_in.__name__] = stand_in
    try:
        import openfold.model.model  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise MissingError(f"OpenFold needs {error.name}", "see benchmarks/peers.md") from error


def use_alphafold(folder: Path) -> None:
    """Make `import alphafold` read a checkout of the official implementation.

    JAX 0.10 calls two arguments of `clip` `min` and `max`, the checkout `a_min` and `a_max`.

    Raises:
        InputError: The folder has no AlphaFold.
        MissingError: A package that AlphaFold imports is missing.
    """
    _use(folder, "alphafold", "alphafold/model/modules.py")
    try:
        import jax.numpy as jnp  # noqa: PLC0415

        clip = jnp.clip

        def clip_by_any_name(
            array: Any, low: Any = None, high: Any = None, *, a_min: Any = None, a_max: Any = None
        ) -> Any:
            return clip(array, a_min if low is None else low, a_max if high is None else high)

        jnp.clip = clip_by_any_name
        import alphafold.model.modules_multimer  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise MissingError(f"AlphaFold needs {error.name}", "see benchmarks/peers.md") from error


def _use(folder: Path, name: str, file: str) -> None:
    if not (folder / file).is_file():
        raise InputError(f"is not a checkout of {name}", "see benchmarks/peers.md", where=folder)
    sys.path.insert(0, str(folder.resolve()))

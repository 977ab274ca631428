"""Seconds, speed and peak memory per sample of a training step, on real chains.

    python benchmarks/train_step.py --data ../shared/data [--device cpu] [--steps 8]

On a CPU: mini in float32 and bfloat16, in one process with one and with two threads, and in two
processes with one thread each. On a GPU: mini and model_1_ptm in bfloat16, the latter at the size
of the paper's initial training (crop 256, 128 rows, 1024 extra rows, one sample at a time), with
and without recomputed blocks. The number of passes is drawn as in training; the table has its mean.
The first two steps are a warm-up and do not count. Torch counts the operations, forward and
backward. Each row runs in separate processes, so that its peak memory is measured alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from foldry.errors import InputError
from script import run_script

WARM_UP = 2
OPENFOLD = "OpenFold, initial training at this size, published: 10.3 s a step on one A100"


@dataclass(frozen=True)
class Row:
    """One configuration; the slowest of several processes determines the time."""

    network: str
    stage: str
    micro_batch: int
    dtype: str = "bfloat16"
    threads: int | None = None
    processes: int = 1
    recompute: bool = False


ROWS = {
    "cpu": (
        Row("mini", "main", 1, "float32", threads=1),
        Row("mini", "main", 2, "float32", threads=1),
        Row("mini", "main", 2, "float32", threads=2),
        Row("mini", "main", 2, "float32", threads=1, processes=2),
        Row("mini", "main", 2, "bfloat16", threads=1),
        Row("mini", "main", 2, "bfloat16", threads=2),
        Row("mini", "main", 2, "bfloat16", threads=1, processes=2),
        Row("mini", "long", 2, "bfloat16", threads=2),
    ),
    "cuda": (
        Row("mini", "main", 1),
        Row("mini", "main", 32),
        Row("model_1_ptm", "initial", 1),
        Row("model_1_ptm", "initial", 1, recompute=True),
    ),
}


def measure(row: Row, data: Path, device: str, num_steps: int) -> None:
    """Measure in this process and print passes, seconds, CPU seconds, loading, GFLOP, GiB."""
    import torch  # noqa: PLC0415
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    from foldry.dataset.samples import TrainingSet  # noqa: PLC0415
    from foldry.model.alphafold import AlphaFold  # noqa: PLC0415
    from foldry.model.config import preset  # noqa: PLC0415
    from foldry.model.runtime import fastest  # noqa: PLC0415
    from foldry.train import loop  # noqa: PLC0415
    from foldry.train.config import choose_stages  # noqa: PLC0415

    on_gpu = device != "cpu"
    half = row.dtype == "bfloat16"
    runtime = fastest(
        torch.device(device),
        dtype=torch.bfloat16 if half else torch.float32,
        autocast=half,
        checkpoint=row.recompute,
    )
    if row.threads:
        torch.set_num_threads(row.threads)
    config = preset(row.network)
    (stage,) = choose_stages(config, row.stage)
    size = max(row.micro_batch, 2) if row.network == "mini" else 1
    stage = replace(
        stage, batch_size=size, micro_batch=row.micro_batch, num_steps=WARM_UP + num_steps
    )
    torch.manual_seed(0)
    model = AlphaFold(config, runtime).train()
    optimizer = loop.make_optimizer(model, stage)
    training = TrainingSet(data, features=config.features)
    run = loop.Run(Path("unused"), runtime=runtime)
    seconds, cpu_seconds, passes = [], [], []
    # Samples are made beforehand, because training makes them while the device computes.
    started = time.perf_counter()
    steps = list(loop.prefetch(training, stage, config.heads, run, 0))
    loading = (time.perf_counter() - started) / (len(steps) * size)
    with FlopCounterMode(display=False) as counter:
        loop.train_step(model, optimizer, steps[0][1], stage, 0, 0, run.workers)
    for step, batches in steps[1:]:
        started, cpu_started = time.perf_counter(), time.process_time()
        line = loop.train_step(model, optimizer, batches, stage, 0, step, run.workers)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
        passes.append(int(str(line["passes"])))
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**30
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    counted = slice(WARM_UP - 1, None)
    found = [sum(each[counted]) / (num_steps * size) for each in (seconds, cpu_seconds)]
    gflop = counter.get_total_flops() / 1e9 / size
    print(stage.crop_size, stage.num_rows, stage.num_extra_rows, sum(passes[counted]) / num_steps)
    print(*found, loading, gflop, peak)


def run(row: Row, arguments: list[str]) -> str:
    """Return the line of one row, measured by its processes."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(row.threads)} if row.threads else {})
    started = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(row.processes)
    ]
    printed = [process.communicate()[0].split() for process in started]
    if any(process.returncode for process in started):
        return f"{row.network:12s} failed"
    crop, rows, extra, passes = printed[0][:4]
    measured = [[float(word) for word in each[4:]] for each in printed]
    seconds = max(each[0] for each in measured) / row.processes
    _, cpu_seconds, loading, gflop, _ = measured[0]
    peak = sum(each[-1] for each in measured)
    threads = f"{row.processes} × {row.threads}" if row.threads else ""
    return (
        f"{row.network:12s} {row.dtype:9s} {threads:6s} {crop:>4s} {rows:>4s} {extra:>5s} "
        f"{row.micro_batch:5d} {'yes' if row.recompute else 'no':9s} {float(passes):6.2f} "
        f"{seconds:9.3f} {cpu_seconds:9.3f} {loading:6.3f} {gflop / seconds:8.0f} {peak:9.2f}"
    )


def machine(device: str) -> str:
    """Return the machine's name."""
    import torch  # noqa: PLC0415

    if device != "cpu":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--row", type=int, help="only this row, in this process")
    arguments = parser.parse_args()
    from foldry.model.runtime import find_device  # noqa: PLC0415

    rows = ROWS[find_device(arguments.device).type]
    if arguments.row is not None:
        measure(rows[arguments.row], arguments.data, arguments.device, arguments.steps)
        return
    if not arguments.data.is_dir():
        raise InputError("does not exist", "give the folder of the packs", where=arguments.data)
    print(machine(arguments.device))
    print(
        "network      dtype    procs × thr crop rows extra micro recompute passes  s/sample "
        "CPU s/smp   load  GFLOP/s  peak GiB",
        flush=True,
    )
    for number, row in enumerate(rows):
        own = [sys.executable, __file__, *sys.argv[1:], "--row", str(number)]
        print(run(row, own), flush=True)
    print(OPENFOLD)


if __name__ == "__main__":
    run_script(main)

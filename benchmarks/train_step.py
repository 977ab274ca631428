"""Seconds and peak memory per sample of a training step, on real chains.

    python benchmarks/train_step.py --data ../shared/data [--device cpu] [--steps 4]

On a CPU: mini in float32. On a GPU: mini and model_1_ptm in bfloat16, the latter at the paper's
size of initial training (crop 256, 128 rows, 1024 extra rows, a sample at a time), with and without
recomputed blocks. The passes of a step are drawn as in training; their mean is in the table. The
first two steps warm up and are not counted. Each row runs in a process of its own, so that its
peak memory is its own.
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

WARM_UP = 2
OPENFOLD = "OpenFold, initial training at this size, published: 10.3 s a step on one A100"


@dataclass(frozen=True)
class Row:
    """What one process measures."""

    network: str
    stage: str
    micro_batch: int
    recompute: bool = False


ROWS = {
    "cpu": (Row("mini", "main", 1), Row("mini", "main", 2)),
    "cuda": (
        Row("mini", "main", 1),
        Row("mini", "main", 32),
        Row("model_1_ptm", "initial", 1),
        Row("model_1_ptm", "initial", 1, recompute=True),
    ),
}


def measure(row: Row, data: Path, device: str, num_steps: int) -> None:
    """Print one row of the table."""
    import torch  # noqa: PLC0415

    from foldry.model.alphafold import AlphaFold  # noqa: PLC0415
    from foldry.model.config import preset  # noqa: PLC0415
    from foldry.model.runtime import Runtime  # noqa: PLC0415
    from foldry.train import loop  # noqa: PLC0415
    from foldry.train.config import choose_stages  # noqa: PLC0415
    from foldry.train.data import TrainingSet  # noqa: PLC0415
    from foldry.train.distributed import Workers  # noqa: PLC0415

    on_gpu = device != "cpu"
    runtime = Runtime(
        device=torch.device(device),
        dtype=torch.bfloat16 if on_gpu else torch.float32,
        autocast=on_gpu,
        checkpoint=row.recompute,
    )
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
    alone = Workers()
    seconds, cpu_seconds, passes = [], [], []
    # Samples are made beforehand: the loop makes them while the device computes.
    for step, batches in list(loop.prefetch(training, stage, 0, 0, alone, runtime)):
        started, cpu_started = time.perf_counter(), time.process_time()
        line = loop.train_step(model, optimizer, batches, stage, 0, step, alone)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
        passes.append(int(str(line["passes"])))
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**30
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    mean, cpu_mean = (sum(each[WARM_UP:]) / (num_steps * size) for each in (seconds, cpu_seconds))
    print(
        f"{row.network:12s} {stage.crop_size:4d} {stage.num_rows:4d} {stage.num_extra_rows:5d} "
        f"{row.micro_batch:5d} {'yes' if row.recompute else 'no':9s} "
        f"{sum(passes[WARM_UP:]) / num_steps:6.2f} {mean:9.3f} {cpu_mean:9.3f} {peak:9.2f}",
        flush=True,
    )


def machine(device: str) -> str:
    """What the numbers were taken on."""
    import torch  # noqa: PLC0415

    if device != "cpu":
        return f"{torch.cuda.get_device_name(device)}, bfloat16, torch {torch.__version__}"
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor()
    return (
        f"{name}, {torch.get_num_threads()} of {os.cpu_count()} cores, float32, "
        f"torch {torch.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--row", type=int, help="only this row, in this process")
    arguments = parser.parse_args()
    rows = ROWS[arguments.device.split(":")[0]]
    if arguments.row is not None:
        measure(rows[arguments.row], arguments.data, arguments.device, arguments.steps)
        return
    print(machine(arguments.device))
    print(
        "network      crop rows extra micro recompute passes  s/sample CPU s/smp  peak GiB",
        flush=True,
    )
    for number in range(len(rows)):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--row", str(number)], check=False)
    print(OPENFOLD)


if __name__ == "__main__":
    main()

"""A run small enough for a test, as a module and as a program of one or several processes.

python -m tests.train.tiny DATA OUT [--shard] [--steps N] [--save-every N] [--wait SECONDS]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from foldry.dataset.samples import TrainingSet
from foldry.model.config import ModelConfig, preset
from foldry.train import elastic, loop
from foldry.train.config import StageConfig, mini_stages
from foldry.train.distributed import join_workers

IGNORED = ("seconds",)


def tiny_config() -> ModelConfig:
    """Return a smaller mini that starts at the origin: distogram medians would amplify rounding."""
    config = preset("mini")
    return replace(
        config,
        evoformer=replace(config.evoformer, num_blocks=1, c_msa=16),
        structure=replace(
            config.structure, num_layers=2, c=32, num_heads=2, initial_frames="origin"
        ),
        c_pair=16,
        c_single=32,
    )


def tiny_stage(name: str, num_steps: int) -> StageConfig:
    """Return a smaller stage of mini."""
    known = {stage.name: stage for stage in mini_stages()}
    return replace(known[name], num_steps=num_steps, crop_size=24, num_rows=4, warmup_steps=2)


def shared_stages(num_steps: int) -> list[StageConfig]:
    """Return two stages whose three micro-batches per step do not divide evenly by two workers.

    Adam trains them: Muon makes rounding errors of small gradients as large as the gradients.
    """
    stages = [tiny_stage("fold", num_steps), tiny_stage("main", num_steps)]
    adam = {"optimizer": "adam", "learning_rate": 1e-3, "final_learning_rate": 1e-3}
    shared = {"batch_size": 3, "micro_batch": 1, "max_passes": 3}
    return [replace(stage, **shared, **adam) for stage in stages]


def read_log(folder: Path, name: str = loop.LOG) -> list[dict[str, object]]:
    """Return the lines of a log; the last of each step if a run was interrupted."""
    read = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    kept = [{key: line[key] for key in line if key not in IGNORED} for line in read]
    return list({(line["stage"], line["step"]): line for line in kept}.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shard", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--save-every", type=int, default=2)
    parser.add_argument("--wait", type=float, default=0.0)
    arguments = parser.parse_args()
    data = TrainingSet(arguments.data, splits=("train",))
    stages = shared_stages(arguments.steps)
    with join_workers(torch.device("cpu"), shard=arguments.shard) as workers:
        run = loop.Run(
            arguments.out,
            save_every=arguments.save_every,
            workers=workers,
            watch=lambda _: time.sleep(arguments.wait),
            asked_to_stop=lambda: elastic.asked_to_stop(arguments.out, workers.size),
        )
        done = loop.train_stages(tiny_config(), stages, data, run)
    sys.exit(0 if done else elastic.STOPPED)


if __name__ == "__main__":
    main()

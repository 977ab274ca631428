"""Floating-point operations of one training sample of mini, by stage, as torch counts them.

    python benchmarks/training_flops.py [--data ../shared/data] [--set crop_size=128]

`--set` works as in `foldry train`. The figures are for one pass forward and backward; each further
pass without gradient costs a third more.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from foldry.dataset.samples import TrainingSet
from foldry.model.config import ModelConfig, mini
from foldry.train.config import StageConfig, choose_stages
from foldry.train.data import make_batch
from foldry.train.loop import Run, build, run_passes
from script import run_script


def gigaflop(config: ModelConfig, stage: StageConfig, data: TrainingSet) -> float:
    """Return the GFLOP of one sample's last pass, forward and backward."""
    stage = replace(stage, batch_size=1, micro_batch=None)
    # Nothing is written: the folder is only a name.
    model = build(config, stage, Run(Path("unused")))
    batch = make_batch(data, stage, config.heads, 0, 0)
    with FlopCounterMode(display=False) as counter:
        total = run_passes(model, batch, 1, stage).total
        total.backward()  # type: ignore[no-untyped-call]
    return counter.get_total_flops() / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    data = TrainingSet(arguments.data)
    for stage in choose_stages(mini(), settings=arguments.set):
        sys.stdout.write(f"{stage.name:12s} {gigaflop(mini(), stage, data):6.1f} GFLOP\n")


if __name__ == "__main__":
    run_script(main)

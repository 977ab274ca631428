"""Cα RMSD by step while mini overfits one real protein, and the time it takes.

    python benchmarks/overfit.py [--steps 400] [--threads 2]

The Kunitz domain of examples/ is learnt from its sequence alone, starting from random parameters.
Correct losses and optimisation reach less than 1 Å within 400 steps. The RMSD is measured without
dropout.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from foldry.dataset.packs import KnownChain
from foldry.dataset.samples import Sample
from foldry.features.msa import draw_msa
from foldry.features.pipeline import make_features
from foldry.formats.coordinates import read_structure
from foldry.model.alphafold import AlphaFold
from foldry.model.config import mini
from foldry.query import Chain, Query
from foldry.residues import CA
from foldry.score.superpose import rmsd, superpose
from foldry.train.config import StageConfig, mini_stages
from foldry.train.data import collate
from foldry.train.distributed import MicroBatch, Workers
from foldry.train.loop import make_optimizer, train_step
from foldry.train.targets import Batch
from script import run_script

EXAMPLE = Path(__file__).parents[1] / "examples/kunitz/1adz.cif"
CHECK_EVERY = 20


def stage(num_steps: int) -> StageConfig:
    """Return mini's main stage for one sample, with structure losses only."""
    main = next(each for each in mini_stages() if each.name == "main")
    losses = replace(main.losses, masked_msa=0.0, unclamped_fraction=0.0)
    rate = main.learning_rate
    return replace(
        main, losses=losses, num_steps=num_steps, batch_size=1, final_learning_rate=rate / 20
    )


def batch(plan: StageConfig) -> Batch:
    """Return the protein as one training sample."""
    structure = read_structure(EXAMPLE)
    structure = structure.select(structure.atom_mask[:, CA])
    mask = structure.atom_mask.astype(np.float32)
    known = KnownChain(
        aatype=structure.aatype,
        residue_index=structure.residue_number,
        positions=np.where(mask[..., None] > 0, structure.atom_positions, 0).astype(np.float32),
        mask=mask,
        resolution=2.0,
        plddt=np.full(len(structure), 100.0, np.float32),
    )
    query = Query("1adz", (Chain(("A",), structure.sequence),))
    features = make_features(query, replace(mini().features, num_templates=0), 0)
    sample = Sample(features, (draw_msa(features, 0),), known)
    return collate([sample], replace(plan, crop_size=len(known)), mini().heads)


def learn(num_steps: int) -> Iterator[tuple[int, float]]:
    """Train; yield the step and the Cα RMSD (Å) every 20 steps."""
    plan = stage(num_steps)
    sample = batch(plan)
    config = replace(mini(), template=None)
    torch.manual_seed(0)
    model = AlphaFold(config)
    optimizer = make_optimizer(model, plan)
    micro = MicroBatch(0, range(1), 1.0)
    truth = sample.targets.ca[0].double().numpy()
    for step in range(num_steps):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate_at(step)
        train_step(model, optimizer, [(micro, sample)], plan, 0, step, Workers())
        if (step + 1) % CHECK_EVERY == 0:
            model.eval()
            with torch.no_grad():
                made = model(sample.inputs, [sample.draws[0]], model.first_recycled(sample.inputs))
            ca = made.structure.frames.translation[-1][0].double().numpy()
            yield step + 1, float(rmsd(superpose(ca, truth).apply(ca), truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sys.stdout.write(f"{platform.machine()}, {arguments.threads} of {os.cpu_count()} cores\n")
    started = time.monotonic()
    for step, found in learn(arguments.steps):
        seconds = time.monotonic() - started
        sys.stdout.write(f"step {step:4d}  Cα RMSD {found:6.2f} Å  {seconds:6.1f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run_script(main)

"""Samples of the data set as one batch of tensors of fixed shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from foldry.dataset.samples import Sample, TrainingSet
from foldry.model.inputs import pad, stack_draws, stack_features
from foldry.train.config import StageConfig
from foldry.train.targets import Batch, make_targets


def make_batch(
    data: TrainingSet,
    stage: StageConfig,
    seed: int,
    step: int,
    numbers: Sequence[int] | None = None,
) -> Batch:
    """Some samples of one step, by their numbers in it, as one batch; all if left out."""
    samples, num_damaged = data.samples(stage, seed, step, numbers)
    return replace(collate(samples, stage), num_damaged=num_damaged)


def collate(samples: Sequence[Sample], stage: StageConfig) -> Batch:
    """Samples as one batch of a stage's shapes; what is missing is 0 and masked."""
    size, config = stage.crop_size, samples[0].features.config
    rows = config.num_msa
    sizes = {"N": size, "S": rows, "E": config.num_extra_msa}
    passes = list(zip(*(sample.draws for sample in samples), strict=True))
    truths = [sample.truth for sample in samples]
    names = ("aatype", "positions", "mask")
    aatype, positions, mask = (_stacked(truths, name, size) for name in names)
    resolution = np.array([truth.resolution for truth in truths])
    targets = make_targets(aatype, positions, mask, resolution)
    # A residue without atoms is not confident: it does not tell what an experiment resolves.
    counted = targets.atom37_mask.amax(-1, keepdim=True)
    true_msa = [_stacked(draws, "true_msa", rows, size) for draws in passes]
    bert_mask = [_stacked(draws, "bert_mask", rows, size) for draws in passes]
    clamped = [float(each.chance >= stage.losses.unclamped_fraction) for each in samples]
    return Batch(
        inputs=stack_features([sample.features for sample in samples], sizes=sizes),
        draws=tuple(stack_draws(draws, sizes=sizes) for draws in passes),
        true_msa=tuple(map(torch.from_numpy, true_msa)),
        bert_mask=tuple(map(torch.from_numpy, bert_mask)),
        targets=replace(targets, atom37_exists=targets.atom37_exists * counted),
        clamped=torch.tensor(clamped),
    )


def _stacked(items: Sequence[object], name: str, *sizes: int) -> np.ndarray:
    return np.stack([pad(getattr(item, name), *sizes) for item in items])

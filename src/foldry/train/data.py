"""Samples of the data set as a batch of tensors of fixed shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from foldry.dataset.samples import Sample, TrainingSet
from foldry.model.config import HeadsConfig
from foldry.model.inputs import pad, stack_draws, stack_features
from foldry.train.config import StageConfig
from foldry.train.targets import Batch, make_targets


def make_batch(
    data: TrainingSet,
    stage: StageConfig,
    heads: HeadsConfig,
    seed: int,
    step: int,
    numbers: Sequence[int] | None = None,
) -> Batch:
    """Return samples of one step as a batch.

    Args:
        data: The chains.
        stage: The stage.
        heads: Heads of the network.
        seed: The run's seed.
        step: The step, counted from 0.
        numbers: Numbers of the samples in the step; by default all.
    """
    samples, num_damaged = data.samples(stage, seed, step, numbers)
    return replace(collate(samples, stage, heads), num_damaged=num_damaged)


def collate(samples: Sequence[Sample], stage: StageConfig, heads: HeadsConfig) -> Batch:
    """Return samples as a batch of a stage's shapes, with targets in the bins of the heads.

    Padding is 0 and masked.
    """
    size, config = stage.crop_size, samples[0].features.config
    rows = config.num_msa
    sizes = {"N": size, "S": rows, "E": config.num_extra_msa}
    passes = list(zip(*(sample.draws for sample in samples), strict=True))
    truths = [sample.truth for sample in samples]
    names = ("aatype", "positions", "mask")
    aatype, positions, mask = (_stacked(truths, name, size) for name in names)
    resolution = np.array([truth.resolution for truth in truths])
    targets = make_targets(aatype, positions, mask, resolution, heads)
    # Residues below the minimum pLDDT have no atoms here, though an experiment might resolve them.
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

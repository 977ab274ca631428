"""A training stage: how long, on what, with which losses."""

from __future__ import annotations

from dataclasses import dataclass, replace

from foldry.train.losses import LossConfig


@dataclass(frozen=True)
class StageConfig:
    """One stage of a training run.

    Attributes:
        name: What the stage is called.
        losses: Weights of the loss terms.
        num_steps: Optimiser steps.
        chains: Which part of the chains: `train`, or `confidence`, which the others never see.
        batch_size: Samples in a step.
        crop_size: Residues in a sample.
        num_rows: Alignment rows at most; fewer are drawn at random.
        learning_rate, final_learning_rate: Adam's, falling in a straight line over the stage.
        warmup_steps: Steps over which the learning rate rises from zero.
        max_passes: Passes of the network in a sample, drawn evenly from 1 up to this.
        max_gradient_norm: The batch's gradient is scaled down to this length.
        ema_decay: Of the average that is kept.
        template_fraction: Samples with a template of the chain's hits, where it has one.
        self_template_fraction: Samples whose template is the chain itself with noise.
        single_row_fraction: Samples with a template that have no alignment.
        trained: Prefixes of the parameters that are trained; the others stay as they are.
    """

    name: str
    losses: LossConfig
    num_steps: int
    chains: str = "train"
    batch_size: int = 2
    crop_size: int = 64
    num_rows: int = 32
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-3
    warmup_steps: int = 100
    max_passes: int = 1
    max_gradient_norm: float = 0.1
    ema_decay: float = 0.995
    template_fraction: float = 0.6
    self_template_fraction: float = 0.0
    single_row_fraction: float = 0.2
    trained: tuple[str, ...] = ("",)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        share = step / max(self.num_steps - 1, 1)
        return warm * (self.learning_rate + share * (self.final_learning_rate - self.learning_rate))


def mini_stages() -> tuple[StageConfig, ...]:
    """How `mini` is trained: what moves first, the main stage, longer crops, the confidence.

    The loss weights of the first two follow small networks' needs: losses on realised Cα distances
    lead, FAPE keeps the hand of the structure, and the distogram weighs more than in the paper.
    """
    bootstrap = StageConfig(
        name="bootstrap",
        losses=LossConfig(
            distogram=1.0,
            masked_msa=0.5,
            backbone=0.5,
            sidechain=0.0,
            chi=0.25,
            plddt=0.0,
            smooth_lddt=1.0,
            ca_distance=0.15,
            unclamped_fraction=0.5,
        ),
        num_steps=900,
        self_template_fraction=0.3,
    )
    main = replace(
        bootstrap,
        name="main",
        losses=LossConfig(
            distogram=1.0,
            masked_msa=0.3,
            backbone=1.0,
            sidechain=0.3,
            chi=0.3,
            plddt=0.0,
            smooth_lddt=1.0,
            ca_distance=0.05,
        ),
        num_steps=1000,
        final_learning_rate=6.7e-4,
        warmup_steps=1,
        max_passes=2,
        self_template_fraction=0.25,
    )
    long = replace(
        main,
        name="long",
        num_steps=650,
        crop_size=96,
        learning_rate=6.7e-4,
        final_learning_rate=5e-5,
        self_template_fraction=0.0,
    )
    confidence = replace(
        main,
        name="confidence",
        losses=LossConfig(
            distogram=0.0,
            masked_msa=0.0,
            backbone=0.0,
            sidechain=0.0,
            chi=0.0,
            angle_norm=0.0,
            plddt=1.0,
            pae=1.0,
        ),
        num_steps=320,
        chains="confidence",
        ema_decay=0.95,
        crop_size=128,
        learning_rate=2e-3,
        self_template_fraction=0.0,
        trained=("heads.plddt", "heads.pae"),
    )
    return bootstrap, main, long, confidence

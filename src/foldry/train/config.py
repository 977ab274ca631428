"""Training stages: their samples, steps, optimiser and losses."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final, Literal

import numpy as np

from foldry.dataset.samples import PARTS, SampleConfig
from foldry.errors import InputError, printable, quoted
from foldry.model.config import ModelConfig
from foldry.train.losses import LossConfig, fine_tuning

FROM_NOTHING: Final = "fold"
"""The first stage of `mini`, which trains the structure module alone; only for random weights."""
_BOUNDS: Final[dict[str, tuple[int, float]]] = {
    **dict.fromkeys(("num_steps", "batch_size", "micro_batch", "crop_size"), (1, math.inf)),
    **dict.fromkeys(("num_rows", "max_passes"), (1, math.inf)),
    **dict.fromkeys(("num_extra_rows", "deleted_blocks", "num_blocks"), (0, math.inf)),
    **dict.fromkeys(("learning_rate", "final_learning_rate"), (0, math.inf)),
    **dict.fromkeys(("adam_beta2", "ema_decay"), (0, 1)),
    "min_plddt": (0, 100),
}
"""The lowest and highest values of fields; a field `…_fraction` is from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class StageConfig(SampleConfig):
    """One stage of a training run.

    Attributes:
        losses: Weights of the loss terms.
        num_steps: Optimiser steps.
        micro_batch: Samples that pass through the network together; None for the whole batch. A
            worker takes whole micro-batches.
        num_blocks: Evoformer blocks that run; None for all. With 0 only the structure module
            learns.
        optimizer: `adam`, or `muon`, which trains the matrices with Muon.
        learning_rate, final_learning_rate: Learning rates at the start and the end of the stage,
            with a linear change between them.
        warmup_steps: Steps over which the learning rate rises from zero.
        decay_step: Step from which the learning rate is multiplied by 0.95; None for never.
        adam_beta2: Adam's decay of the squared gradient.
        max_gradient_norm: Norm to which longer gradients are scaled down.
        clipping: Whether the gradient of the `batch` or of each `sample` is scaled down.
        ema_decay: Decay of the averaged weights.
        trained: Prefixes of the names of trained parameters; the others do not change.
    """

    losses: LossConfig
    num_steps: int
    micro_batch: int | None = None
    num_blocks: int | None = None
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-3
    warmup_steps: int = 100
    decay_step: int | None = None
    adam_beta2: float = 0.99
    max_gradient_norm: float = 0.1
    clipping: Literal["batch", "sample"] = "batch"
    ema_decay: float = 0.995
    trained: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        for name, value in {**vars(self), **vars(self.losses)}.items():
            least, most = (0, 1) if name.endswith("_fraction") else _BOUNDS.get(name, (None, 0))
            if least is not None and value is not None and not least <= value <= most:
                bounds = f"{least} or more" if most == math.inf else f"from {least} to {most}"
                raise ValueError(f"{name} must be {bounds}")
        if self.clipping not in ("batch", "sample") or self.chains not in PARTS:
            raise ValueError(f"clipping is batch or sample, chains is {' or '.join(PARTS)}")
        if self.optimizer not in ("adam", "muon"):
            raise ValueError("the optimizer is adam or muon")
        if max(self.adam_beta2, self.ema_decay) >= 1 or self.max_gradient_norm <= 0:
            raise ValueError("adam_beta2 and ema_decay must be below 1, max_gradient_norm above 0")
        if self.clipping == "sample" and self.micro_batch != 1:
            raise ValueError("clipping=sample needs micro_batch=1, one gradient per sample")

    def learning_rate_at(self, step: int, warmup_steps: int = 0) -> float:
        """Return the learning rate of a step.

        Args:
            step: The step, counted from 0.
            warmup_steps: Minimum length of the warm-up.
        """
        warm = min(1.0, (step + 1) / max(self.warmup_steps, warmup_steps, 1))
        share = step / max(self.num_steps - 1, 1)
        rate = self.learning_rate + share * (self.final_learning_rate - self.learning_rate)
        decayed = self.decay_step is not None and step >= self.decay_step
        return warm * rate * (0.95 if decayed else 1.0)

    def num_passes_at(self, seed: int, step: int) -> int:
        """Return the number of passes in a step, uniform from 1 to the maximum (SI Algorithm 31).

        All samples of a step have the same number, and the same on every worker.
        """
        return int(self._stream(seed, step).integers(1, self.max_passes + 1))

    def dropout_seed(self, seed: int, step: int, number: int) -> int:
        """Return the random seed of dropout in a micro-batch, the same on any worker."""
        return int(self._stream(seed, step, number).integers(2**62))

    def micro_batches(self) -> tuple[range, ...]:
        """Return the numbers of the samples of each micro-batch of a step."""
        size = self.micro_batch or self.batch_size
        starts = range(0, self.batch_size, size)
        return tuple(range(start, min(start + size, self.batch_size)) for start in starts)

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([zlib.crc32(self.name.encode()), *key])


def paper_stages(pae: bool = False) -> tuple[StageConfig, StageConfig]:
    """Return initial training and fine-tuning of AlphaFold 2 (Jumper 2021, SI Table 4, 1.11.3).

    Table 4 gives crop size, rows, extra rows, violation loss and learning rates of both stages;
    1.11.3 gives Adam with β₂ = 0.999, batches of 128 samples, clipping of each sample's gradient to
    0.1, warm-up over the first 128,000 samples, and a decay by 0.95 after 6.4 million; 1.11.7 gives
    the decay of the average. Initial training takes 10 million samples and fine-tuning 1.5
    million, at half the learning rate.

    Args:
        pae: Whether fine-tuning trains the head for aligned errors, as in the pTM models.
    """
    initial = StageConfig(
        name="initial",
        losses=LossConfig(by_length=True),
        num_steps=78_125,
        batch_size=128,
        micro_batch=1,
        crop_size=256,
        num_rows=128,
        num_extra_rows=1024,
        deleted_blocks=5,
        warmup_steps=1000,
        decay_step=50_000,
        adam_beta2=0.999,
        max_passes=4,
        clipping="sample",
        ema_decay=0.999,
        template_fraction=1.0,
        single_row_fraction=0.0,
    )
    finetuning = replace(
        initial,
        name="finetuning",
        losses=replace(fine_tuning(pae), by_length=True),
        num_steps=11_719,
        crop_size=384,
        num_rows=512,
        num_extra_rows=5120,
        learning_rate=5e-4,
        final_learning_rate=5e-4,
        warmup_steps=0,
        decay_step=None,
    )
    return initial, finetuning


def all_stages(config: ModelConfig) -> tuple[StageConfig, ...]:
    """Return all stages of a network's training in order."""
    return mini_stages() if config.name == "mini" else paper_stages(config.heads.pae)


def choose_stages(
    config: ModelConfig,
    name: str | None = None,
    settings: Sequence[str] = (),
    *,
    from_weights: bool = False,
) -> list[StageConfig]:
    """Return the stages of a network's training: those of the paper, or those of `mini`.

    Args:
        config: The network.
        name: A stage, or `all`; by default every stage that the starting weights still need.
        settings: Values to replace in the stages, see `with_values`.
        from_weights: Whether training starts from weights, so that `FROM_NOTHING` is left out.

    Raises:
        InputError: The network has no such stage, or a setting is wrong.
    """
    stages = all_stages(config)
    names = [stage.name for stage in stages]
    if name in names:
        names = [name]
    elif name is None and from_weights:
        names = [each for each in names if each != FROM_NOTHING]
    elif name not in (None, "all"):
        what = f"Network {config.name} has no stage {quoted(name)}"
        raise InputError(what, f"choose {', '.join(names)} or all")
    return [with_values(stage, settings) for stage in stages if stage.name in names]


def with_values(stage: StageConfig, settings: Sequence[str]) -> StageConfig:
    """Return a stage with some values replaced.

    Args:
        stage: The stage.
        settings: Values such as `crop_size=128`, or `losses.chi=0.3` for the weight of a loss.

    Raises:
        InputError: A stage has no such field, or a value is wrong.
    """
    values: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    known = vars(stage) | {f"losses.{name}": value for name, value in vars(stage.losses).items()}
    for setting in settings:
        name, _, text = setting.partition("=")
        if "=" not in setting:
            raise InputError("is not a setting", "write FIELD=VALUE", where=printable(setting))
        if name not in known or name in ("name", "losses"):
            like = ["losses.chi"] if name == "losses" else get_close_matches(name, known, 1)
            hint = f"the nearest is {like[0]}" if like else "docs/train.md lists the fields"
            what = f"cannot be set because a stage has no field {quoted(name)}"
            raise InputError(what, hint, where=printable(setting))
        try:
            value = _value(text, known[name])
        except ValueError as error:
            advice = "set each field separately" if "=" in text else ""
            what = f"cannot be set ({error})"
            raise InputError(what, advice, where=printable(setting)) from error
        (weights if "." in name else values)[name.removeprefix("losses.")] = value
    try:
        return replace(stage, losses=replace(stage.losses, **weights), **values)
    except ValueError as error:
        wrong = [each for each in settings if _field(each) in str(error).split()]
        where = printable(" ".join(wrong or settings))
        raise InputError(f"cannot be set ({error})", where=where) from error


def _field(setting: str) -> str:
    return setting.partition("=")[0].removeprefix("losses.")


_KINDS: Final[dict[type, tuple[Callable[[str], object], str, str]]] = {
    bool: (lambda text: text == "True", "True|False", "True or False"),
    float: (float, r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", "a finite number"),
    int: (int, r"-?\d{1,15}", "a whole number"),
}
"""For each type: the function that reads a value, its pattern, and its name in messages."""


def _value(text: str, known: object) -> object:
    """Return text as a value of the type of `known`; if that is None, as a whole number."""
    if isinstance(known, str):
        return text
    if isinstance(known, tuple):
        return tuple(text.split(","))
    if known is None and text == "None":
        return None
    read, pattern, what = _KINDS.get(type(known), _KINDS[int])
    if not re.fullmatch(pattern, text):
        raise ValueError(f"{what} is needed")
    return read(text)


def mini_stages() -> tuple[StageConfig, ...]:
    """Return the stages of `mini`: `fold`, `main`, `long` and `confidence`.

    docs/train.md describes the stages, docs/training-log.md the experiments behind the values,
    which are Foldry's own. Losses on realised Cα distances dominate, FAPE ensures the right
    handedness, and the distogram has a larger weight than in the paper.
    """
    fold = StageConfig(
        name=FROM_NOTHING,
        losses=LossConfig(
            masked_msa=0.0,
            backbone=1.0,
            sidechain=0.0,
            chi=0.1,
            plddt=0.0,
            smooth_lddt=1.0,
            ca_distance=0.05,
            unclamped_fraction=0.5,
        ),
        num_steps=500,
        batch_size=4,
        num_rows=2,
        num_blocks=0,
        optimizer="muon",
        learning_rate=1.5e-2,
        final_learning_rate=4.5e-3,
        warmup_steps=20,
        self_template_fraction=1.0,
    )
    main = replace(
        fold,
        name="main",
        losses=replace(
            fold.losses,
            distogram=1.0,
            masked_msa=0.3,
            sidechain=0.3,
            chi=0.3,
            unclamped_fraction=0.3,
        ),
        num_steps=2800,
        batch_size=2,
        num_rows=16,
        num_blocks=None,
        learning_rate=1e-2,
        final_learning_rate=1e-2,
        self_template_fraction=0.2,
    )
    long = replace(
        main,
        name="long",
        losses=replace(main.losses, distogram=0.5, sidechain=0.5, unclamped_fraction=0.1),
        num_steps=750,
        crop_size=96,
        num_rows=32,
        final_learning_rate=3e-4,
        self_template_fraction=0.0,
    )
    confidence = replace(
        long,
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
        optimizer="adam",
        ema_decay=0.95,
        crop_size=128,
        learning_rate=2e-3,
        final_learning_rate=5e-4,
        trained=("heads.plddt", "heads.pae"),
    )
    return fold, main, long, confidence

"""What a user may choose about a prediction."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Final, get_args

from foldry.errors import InputError
from foldry.features.pairing import DEFAULT_PAIRING, Pairing
from foldry.relax.platforms import PLATFORMS
from foldry.relax.result import MAX_ROUNDS, MAX_SECONDS

DTYPES: Final = ("float32", "bfloat16")
RELAX: Final = ("none", "best", "all")
_OF_RELAXATION: Final = ("relax", "relax_platform", "relax_rounds", "relax_seconds")


@dataclass(frozen=True)
class Settings:
    """The choices of a prediction; None leaves a choice to the network's own configuration.

    Attributes:
        weights: `mini`, or the path of a file or folder of parameters.
        models: Numbers (`1`) or names (`model_1_ptm`), in the order in which they run.
        num_recycles: Passes after the first.
        recycle_tolerance: Å; recycling stops when the Cα distances change by less.
        seeds: One prediction a model and seed; empty takes the query's own seeds, or 0.
        max_msa: Rows of the (clustered, extra) alignment.
        pairing: Which rows of the alignments of several chains are paired.
        dropout: Whether dropout stays on, to sample diverse structures.
        num_ensemble: Draws of the alignment averaged in each pass.
        save_representations: Whether the single and pair representations are kept.
        device: `auto`, `cpu`, `cuda` or one of several, such as `cuda:0`.
        dtype: `float32` or `bfloat16`.
        relax: Which predictions are relaxed: `none`, the `best` or `all`.
        relax_platform: What computes it: `auto`, `cuda`, `cpu` or `reference`.
        relax_rounds: Minimisations of one prediction at most.
        relax_seconds: Time for one prediction.
        force: Whether finished predictions are computed again.

    Raises:
        InputError: A number is too small or not finite, a list is none, or the pairing, the
            device, the dtype or what to relax is unknown.
    """

    weights: str = "mini"
    models: tuple[str, ...] | None = None
    num_recycles: int | None = None
    recycle_tolerance: float | None = None
    seeds: tuple[int, ...] = ()
    max_msa: tuple[int, int] | None = None
    pairing: Pairing = DEFAULT_PAIRING
    dropout: bool = False
    num_ensemble: int | None = None
    save_representations: bool = False
    device: str = "auto"
    dtype: str = "float32"
    relax: str = "none"
    relax_platform: str = "auto"
    relax_rounds: int = MAX_ROUNDS
    relax_seconds: float = MAX_SECONDS
    force: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple | list) else (value,)
            if any(isinstance(each, float) and not math.isfinite(each) for each in numbers):
                raise InputError(f"`{name}` is {value!r}", "give a finite number")
        least_values = {
            "num_recycles": 0,
            "recycle_tolerance": 0,
            "num_ensemble": 1,
            "relax_rounds": 1,
            "relax_seconds": 1,
        }
        for name, least in least_values.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise InputError(f"`{name}` is {value!r}", f"give {least} or more")
        for name in ("seeds", "models"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, tuple | list):
                raise InputError(
                    f"`{name}` is {value!r}", "give several, such as (0, 1) or ('1', '2')"
                )
        if self.max_msa is not None and (self.max_msa[0] < 1 or self.max_msa[1] < 0):
            raise InputError(
                f"`max_msa` is {self.max_msa!r}", "give at least 1 cluster and 0 extra rows"
            )
        if self.pairing not in get_args(Pairing):
            raise InputError(
                f"`pairing` is {self.pairing!r}", f"write {', '.join(get_args(Pairing))}"
            )
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise InputError(f"`device` is {self.device!r}", "write auto, cpu, cuda or cuda:1")
        if self.dtype not in DTYPES:
            raise InputError(f"`dtype` is {self.dtype!r}", f"write {' or '.join(DTYPES)}")
        if self.relax not in RELAX:
            raise InputError(f"`relax` is {self.relax!r}", f"write {', '.join(RELAX)}")
        if self.relax_platform not in ("auto", *PLATFORMS):
            raise InputError(
                f"`relax_platform` is {self.relax_platform!r}",
                f"write auto, {', '.join(PLATFORMS)}",
            )

    def numbers(self) -> dict[str, object]:
        """The settings that change what a network predicts or keeps of it, as plain values."""
        chosen = asdict(self)
        for name in ("weights", "models", "seeds", "device", "force", *_OF_RELAXATION):
            del chosen[name]
        return chosen

    def relaxation(self) -> dict[str, object]:
        """The settings that change what is relaxed and how, nothing where nothing is."""
        if self.relax == "none":
            return {}
        numbers = (name for name in _OF_RELAXATION if name != "relax_platform")
        return {name: getattr(self, name) for name in numbers}

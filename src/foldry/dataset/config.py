"""Settings of the preparation of data, each declared once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foldry.errors import InputError
from foldry.predict.settings import Number, Read, Setting, check_settings


def _setting(value: Any, text: str, read: Read = bool, flag: str = "") -> Any:
    return field(default=value, metadata={"setting": Setting(text, "run", read, flag=flag)})


@dataclass(frozen=True)
class PrepareConfig:
    """Criteria that chains must meet to be trained on.

    The length of a chain is its number of residues with a Cα. Each field carries its help text.
    """

    min_length: int = _setting(30, "Minimum residues of a chain.", Number(int, 1))
    max_length: int = _setting(2000, "Maximum residues of a chain.", Number(int, 1))
    max_resolution: float = _setting(3.5, "Maximum resolution in Å, if known.", Number(float, 0))
    max_unknown: float = _setting(0.05, "Maximum share of X residues.", Number(float, 0, 1))
    min_backbone: float = _setting(
        0.8, "Minimum share of residues with N, CA and C.", Number(float, 0, 1)
    )
    min_steps: float = _setting(
        0.95,
        "Minimum share of neighbours with CA as far apart as in a peptide.",
        Number(float, 0, 1),
    )
    max_rows: int = _setting(256, "Maximum rows of an alignment.", Number(int, 1), flag="rows")
    predictions: bool = _setting(False, "Read B factors as pLDDT even if files do not say so.")

    def __post_init__(self) -> None:
        check_settings(self)
        if self.min_length > self.max_length:
            what = f"`min_length` is {self.min_length} and `max_length` {self.max_length}"
            raise InputError(what, "give a higher `max_length`")


@dataclass(frozen=True)
class SplitConfig:
    """How chains are divided into training and validation.

    Attributes:
        clusters: Table of cluster and chain, separated by a tab; if None, MMseqs2 clusters them.
        identity: Minimum sequence identity within a cluster, 0–1.
        val_share: Share of the clusters in the validation split, 0–1.
        seed: Random seed that selects these clusters.
    """

    clusters: Path | None = None
    identity: float = 0.3
    val_share: float = 0.05
    seed: int = 0

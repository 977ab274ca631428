"""Settings of the preparation of data, each declared once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foldry.predict.settings import Number, Read, Setting


def _setting(value: Any, text: str, read: Read = bool, flag: str = "") -> Any:
    return field(default=value, metadata={"setting": Setting(text, "run", read, flag=flag)})


@dataclass(frozen=True)
class PrepareConfig:
    """Which chains are good enough to train on.

    The length of a chain is its number of residues with a Cα. Each field carries its help text.
    """

    min_length: int = _setting(30, "Fewest residues of a chain.", Number(int, 1))
    max_length: int = _setting(2000, "Most residues of a chain.", Number(int, 1))
    max_resolution: float = _setting(3.5, "Worst resolution, Å, where known.", Number(float, 0))
    max_unknown: float = _setting(0.05, "Largest share of X.", Number(float, 0, 1))
    min_backbone: float = _setting(
        0.8, "Smallest share of residues that have N, CA and C.", Number(float, 0, 1)
    )
    min_steps: float = _setting(
        0.95,
        "Smallest share of neighbours with CA as far apart as in a peptide.",
        Number(float, 0, 1),
    )
    max_rows: int = _setting(256, "Most rows of an alignment.", Number(int, 1), flag="rows")
    predictions: bool = _setting(False, "B factors are pLDDT even where a file doesn't say so.")


@dataclass(frozen=True)
class SplitConfig:
    """How chains are divided.

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

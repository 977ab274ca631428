"""Configuration of how a model reads alignments and templates; data only, without NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Pairing = Literal["alphafold", "greedy", "complete", "none"]
"""Which rows of a species are paired.

`alphafold`: as many rows of each chain as the chain with the fewest has; a species needs rows in at
least two chains. `greedy`: the best row of each chain; at least two chains. `complete`: the best
row of each chain; all chains. `none`: no row.
"""
DEFAULT_PAIRING: Final = "alphafold"


@dataclass(frozen=True)
class FeatureConfig:
    """How much of an alignment and how many templates a model reads (SI 1.2.6–1.2.9).

    Attributes:
        num_msa: Rows of the clustered alignment (the cluster centres).
        num_extra_msa: Rows of the extra alignment; further rows are not read.
        num_templates: Maximum number of templates; 0 for a model without templates.
        num_ensemble: Draws that are averaged within one recycle.
        resample_msa: Whether each recycle has a new draw.
        masked_fraction: Fraction of cluster positions that are replaced (SI 1.2.7).
        uniform_probability, profile_probability, same_probability: Probabilities that a replaced
            position becomes any amino acid, a letter of the column's profile, or stays unchanged;
            otherwise it becomes the mask token.
        cluster_extra_rows: Number of rows beyond the clusters that are assigned to clusters; None
            assigns all, as the official implementation does, even if the network reads fewer.
        share_rows: Whether a row is shared among all clusters with the highest agreement, and
            counts once for each residue (multimer). Otherwise the first of them has it, and it
            counts once.
        pad_templates: Whether there are always `num_templates` templates; missing ones have no
            atoms (multimer, which averages over templates).
        profile, coevolution: Whether the network reads these statistics of the whole alignment
            (`mini`; see `foldry.features.coevolution`).
    """

    num_msa: int
    num_extra_msa: int
    num_templates: int
    num_ensemble: int = 1
    resample_msa: bool = True
    masked_fraction: float = 0.15
    uniform_probability: float = 0.1
    profile_probability: float = 0.1
    same_probability: float = 0.1
    cluster_extra_rows: int | None = None
    share_rows: bool = False
    pad_templates: bool = False
    profile: bool = False
    coevolution: bool = False

"""How a model reads alignments and templates; data only, without NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Pairing = Literal["alphafold", "greedy", "complete", "none"]
"""How many rows of a species are paired, and when.

`alphafold`: as many as the chain with the fewest has, in two chains or more. `greedy`: the best of
each chain, in two chains or more. `complete`: the best of each chain, in all chains. `none`: none.
"""
DEFAULT_PAIRING: Final = "alphafold"


@dataclass(frozen=True)
class FeatureConfig:
    """How much of an alignment and how many templates a model reads (SI 1.2.6–1.2.9).

    Attributes:
        num_msa: Rows of the clustered alignment (the cluster centres).
        num_extra_msa: Rows of the extra alignment; the rest of the alignment is left out.
        num_templates: Templates read at most; 0 for a model without templates.
        num_ensemble: Draws that are averaged within one recycle.
        resample_msa: Whether each recycle has its own draw.
        masked_fraction: Share of cluster positions that are replaced (SI 1.2.7).
        uniform_probability, profile_probability, same_probability: What a replaced position
            becomes: any amino acid, one of the column's profile, itself; else the mask token.
        cluster_extra_rows: How many of the rows beyond the clusters are assigned to them; None
            assigns all, as the official implementation does, however few the network reads.
        share_rows: Whether a row is shared among all clusters that it agrees with equally, and
            counts once for each residue (multimer); else the first of them has it, once.
        pad_templates: Whether there are always `num_templates` templates, missing ones without
            atoms (multimer, which reads their mean).
        profile, coevolution: Whether the network reads these of the whole alignment (`mini`; see
            `foldry.features.coevolution`).
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

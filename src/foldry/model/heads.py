"""The output heads (SI 1.9) and the expected values of their distributions.

Axes: B batch, S sequences, N residues, C channels (E, F those of the single representation of the
Evoformer and of the structure module), K bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foldry.model.config import HeadsConfig, ModelConfig
from foldry.model.layers import Layer, LayerNorm, Linear


@dataclass(frozen=True)
class HeadLogits:
    """Logits of all heads; `pae` is None for networks without this head."""

    distogram: Float[Tensor, "B N N bins"]
    masked_msa: Float[Tensor, "B S N letters"]
    plddt: Float[Tensor, "B N levels"]
    resolved: Float[Tensor, "B N 37"]
    pae: Float[Tensor, "B N N errors"] | None


class PLDDTHead(Layer):
    """Algorithm 29: per-residue lDDT-Cα, as logits of 50 bins (SI 1.9.6).

    ::

        logits_i = Linear(relu(Linear(relu(Linear(LayerNorm(s_i))))))

    Shapes: s [B, N, C], the structure module's → [B, N, K]. `plddt` computes the expected value.
    """

    def __init__(self, c_structure: int, config: HeadsConfig) -> None:
        super().__init__()
        self.norm = LayerNorm(c_structure)
        self.first = Linear(c_structure, config.c_plddt, init="relu")
        self.second = Linear(config.c_plddt, config.c_plddt, init="relu")
        self.output = Linear(config.c_plddt, config.num_plddt_bins, init="zero")

    def forward(self, single: Float[Tensor, "B N C"]) -> Float[Tensor, "B N K"]:
        hidden = torch.relu(self.second(torch.relu(self.first(self.norm(single)))))
        return self.output(hidden)


class Heads(nn.Module):
    """All heads: distogram, masked MSA, pLDDT, experimentally resolved, PAE (SI 1.9.6–1.9.10).

    Logits, for the final representations m, z and s::

        distogram_ij  = Linear(z_ij) + Linear(z_ji)     one map (SI 1.9.8)
        masked_msa_si = Linear(m_si)                    (SI 1.9.9)
        plddt_i       = PLDDTHead(s_i), s of the structure module (SI 1.9.6)
        resolved_i    = Linear(s_i), one logit per atom37 atom (SI 1.9.10)
        pae_ij        = Linear(z_ij), where the network has this head (SI 1.9.7)

    Shapes: m [B, S, N, C], z [B, N, N, C], s [B, N, E] and [B, N, F] → `HeadLogits`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        heads = config.heads
        self.distogram = Linear(config.c_pair, heads.num_distogram_bins, init="zero")
        self.masked_msa = Linear(config.evoformer.c_msa, heads.num_masked_msa, init="zero")
        self.plddt = PLDDTHead(config.structure.c, heads)
        self.resolved = Linear(config.c_single, 37, init="zero")
        self.pae = Linear(config.c_pair, heads.num_pae_bins, init="zero") if heads.pae else None

    def forward(
        self,
        msa: Float[Tensor, "B S N C"],
        pair: Float[Tensor, "B N N D"],
        single: Float[Tensor, "B N E"],
        structure_single: Float[Tensor, "B N F"],
    ) -> HeadLogits:
        return HeadLogits(
            distogram=self.distogram_logits(pair),
            masked_msa=self.masked_msa(msa),
            plddt=self.plddt(structure_single),
            resolved=self.resolved(single),
            pae=None if self.pae is None else self.pae(pair),
        )

    def distogram_logits(self, pair: Float[Tensor, "B N N C"]) -> Float[Tensor, "B N N K"]:
        """Return the symmetric logits of Cβ–Cβ distances (Cα for glycine; SI 1.9.8)."""
        half = self.distogram(pair)
        return half + half.transpose(1, 2)


def expectation(logits: Float[Tensor, "*B K"], values: Float[Tensor, " K"]) -> Float[Tensor, "*B"]:
    """Return the expected value Σ_k softmax(logits)_k · values_k."""
    return (logits.softmax(-1) * values.to(logits)).sum(-1)


def plddt(logits: Float[Tensor, "*B N K"]) -> Float[Tensor, "*B N"]:
    """Return the expected lDDT-Cα, 0–100 (Algorithm 29): 50 bins have centres 1, 3, …, 99."""
    num_bins = logits.shape[-1]
    return 100 * expectation(logits, (torch.arange(num_bins) + 0.5) / num_bins)


def pae_bin_centers(num_bins: int, max_break: float) -> Float[Tensor, " K"]:
    """Return the centres of the aligned-error bins in Å (SI 1.9.7).

    The open last bin counts as wide as the others: 64 bins up to a break at 31 Å have the centres
    0.25, 0.75, …, 31.75 Å.
    """
    step = max_break / (num_bins - 2)
    return (torch.arange(num_bins) + 0.5) * step

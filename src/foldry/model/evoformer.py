"""The Evoformer and the modules it is made of (SI 1.6, 1.7.2).

Axes: B batch, S sequences, N residues, H heads, C channels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from foldry.kernels.choose import choose
from foldry.model.config import StackConfig
from foldry.model.layers import Layer, LayerNorm, Linear, SharedDropout, by_rows, split_heads
from foldry.model.runtime import Runtime


class Attention(Layer):
    """Gated multi-head attention, the core of Algorithms 7, 8, 13, 14 and 17.

    Args:
        c_query, c_key: Widths of what queries and what keys and values are made of.
        c_hidden: Width over all heads.
        c_out: Width of the result.
    """

    def __init__(
        self,
        c_query: int,
        c_key: int,
        c_hidden: int,
        num_heads: int,
        c_out: int,
        runtime: Runtime,
        *,
        gating: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = Linear(c_query, c_hidden, bias=False, init="glorot")
        self.key = Linear(c_key, c_hidden, bias=False, init="glorot")
        self.value = Linear(c_key, c_hidden, bias=False, init="glorot")
        self.gate = Linear(c_query, c_hidden, init="gate") if gating else None
        self.output = Linear(c_hidden, c_out, init="zero")
        self.attend = choose(runtime.kernels).attention
        self.chunk_size = runtime.chunk_size

    def forward(
        self,
        query_data: Float[Tensor, "B R Q C"],
        key_data: Float[Tensor, "B R K D"],
        mask: Float[Tensor, "B R K"],
        bias: Float[Tensor, "B H Q K"] | None = None,
    ) -> Float[Tensor, "B R Q O"]:
        def rows(query_data: Tensor, key_data: Tensor, mask: Tensor) -> Tensor:
            out = self.attend(
                split_heads(self.query(query_data), self.num_heads),
                split_heads(self.key(key_data), self.num_heads),
                split_heads(self.value(key_data), self.num_heads),
                mask,
                bias,
            ).flatten(-2)
            if self.gate is not None:
                out = out * torch.sigmoid(self.gate(query_data))
            return self.output(out)

        num_logits = query_data.shape[2] * key_data.shape[2]
        size = max(self.chunk_size**3 // max(num_logits, 1), 1)
        return by_rows(rows, size, query_data, key_data, mask)


class MSARowAttention(Layer):
    """Algorithm 7. MSA row-wise gated self-attention with pair bias (SI 1.6.1)."""

    def __init__(self, c_msa: int, c_pair: int, num_heads: int, runtime: Runtime) -> None:
        super().__init__()
        self.norm = LayerNorm(c_msa)
        self.norm_pair = LayerNorm(c_pair)
        self.bias = Linear(c_pair, num_heads, bias=False)
        self.attention = Attention(c_msa, c_msa, c_msa, num_heads, c_msa, runtime)

    def forward(
        self,
        msa: Float[Tensor, "B S N C"],
        pair: Float[Tensor, "B N N D"],
        msa_mask: Float[Tensor, "B S N"],
    ) -> Float[Tensor, "B S N C"]:
        bias = self.bias(self.norm_pair(pair)).permute(0, 3, 1, 2)
        msa = self.norm(msa)
        return self.attention(msa, msa, msa_mask, bias)


class MSAColumnAttention(Layer):
    """Algorithm 8. MSA column-wise gated self-attention (SI 1.6.2)."""

    def __init__(self, c_msa: int, num_heads: int, runtime: Runtime) -> None:
        super().__init__()
        self.norm = LayerNorm(c_msa)
        self.attention = Attention(c_msa, c_msa, c_msa, num_heads, c_msa, runtime)

    def forward(
        self, msa: Float[Tensor, "B S N C"], msa_mask: Float[Tensor, "B S N"]
    ) -> Float[Tensor, "B S N C"]:
        columns = self.norm(msa).transpose(1, 2)
        update = self.attention(columns, columns, msa_mask.transpose(1, 2))
        return update.transpose(1, 2)


class MSAColumnGlobalAttention(Layer):
    """Algorithm 19. MSA global column-wise gated self-attention (SI 1.7.2)."""

    def __init__(self, c_msa: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = LayerNorm(c_msa)
        self.query = Linear(c_msa, c_msa, bias=False, init="glorot")
        self.key = Linear(c_msa, c_msa // num_heads, bias=False, init="glorot")
        self.value = Linear(c_msa, c_msa // num_heads, bias=False, init="glorot")
        self.gate = Linear(c_msa, c_msa, init="gate")
        self.output = Linear(c_msa, c_msa, init="zero")

    def forward(
        self, msa: Float[Tensor, "B S N C"], msa_mask: Float[Tensor, "B S N"]
    ) -> Float[Tensor, "B S N C"]:
        msa = self.norm(msa)
        weight = msa_mask[..., None]
        mean = (msa * weight).sum(1) / (weight.sum(1) + 1e-10)
        query = split_heads(self.query(mean), self.num_heads)
        query = query * query.shape[-1] ** -0.5
        logits = torch.einsum("bnhc,bsnc->bnhs", query, self.key(msa)).float()
        logits = logits.masked_fill(msa_mask.transpose(1, 2)[:, :, None] == 0, -1e9)
        average = torch.einsum("bnhs,bsnc->bnhc", logits.softmax(-1).to(msa.dtype), self.value(msa))
        return self.output(torch.sigmoid(self.gate(msa)) * average.flatten(-2)[:, None])


class Transition(Layer):
    """Algorithms 9 and 15. MSA and pair transition (SI 1.6.3, 1.6.7)."""

    def __init__(self, c: int, factor: int, runtime: Runtime) -> None:
        super().__init__()
        self.norm = LayerNorm(c)
        self.widen = Linear(c, c * factor, init="relu")
        self.narrow = Linear(c * factor, c, init="zero")
        self.chunk_size = runtime.chunk_size

    def forward(self, x: Float[Tensor, "B X Y C"]) -> Float[Tensor, "B X Y C"]:
        def rows(x: Tensor) -> Tensor:
            return self.narrow(torch.relu(self.widen(self.norm(x))))

        return by_rows(rows, self.chunk_size, x)


class OuterProductMean(Layer):
    """Algorithm 10. Outer product mean (SI 1.6.4)."""

    def __init__(self, c_msa: int, c_outer: int, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        self.norm = LayerNorm(c_msa)
        self.left = Linear(c_msa, c_outer)
        self.right = Linear(c_msa, c_outer)
        self.output = Linear(c_outer * c_outer, c_pair, init="zero")
        self.outer_product = choose(runtime.kernels).outer_product
        self.chunk_size = runtime.chunk_size

    def forward(
        self, msa: Float[Tensor, "B S N C"], msa_mask: Float[Tensor, "B S N"]
    ) -> Float[Tensor, "B N N D"]:
        msa = self.norm(msa)
        weight = msa_mask[..., None]
        right = weight * self.right(msa)

        def rows(left: Tensor, rows_mask: Tensor) -> Tensor:
            outer = self.outer_product(left.transpose(1, 2), right, self.output.weight)
            count = torch.einsum("bis,bsj->bij", rows_mask, msa_mask)
            # The bias is added before the division, as in the official implementation.
            return (outer + self.output.bias) / (1e-3 + count[..., None])

        left = (weight * self.left(msa)).transpose(1, 2)
        return by_rows(rows, self.chunk_size, left, msa_mask.transpose(1, 2))


class TriangleMultiplication(Layer):
    """Algorithms 11 and 12. Triangle multiplicative update (SI 1.6.5)."""

    def __init__(self, c_pair: int, c_hidden: int, runtime: Runtime, *, outgoing: bool) -> None:
        super().__init__()
        self.outgoing = outgoing
        self.norm = LayerNorm(c_pair)
        self.left = Linear(c_pair, c_hidden)
        self.right = Linear(c_pair, c_hidden)
        self.left_gate = Linear(c_pair, c_hidden, init="gate")
        self.right_gate = Linear(c_pair, c_hidden, init="gate")
        self.norm_product = LayerNorm(c_hidden)
        self.output = Linear(c_hidden, c_pair, init="zero")
        self.gate = Linear(c_pair, c_pair, init="gate")
        self.multiply = choose(runtime.kernels).triangle_multiplication

    def forward(
        self, pair: Float[Tensor, "B N N C"], pair_mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        pair = self.norm(pair)
        mask = pair_mask[..., None]
        left = mask * self.left(pair) * torch.sigmoid(self.left_gate(pair))
        right = mask * self.right(pair) * torch.sigmoid(self.right_gate(pair))
        product = self.multiply(left, right, self.outgoing)
        return self.output(self.norm_product(product)) * torch.sigmoid(self.gate(pair))


class TriangleAttention(Layer):
    """Algorithms 13 and 14. Triangle self-attention around the starting or ending node."""

    def __init__(
        self, c_pair: int, c_hidden: int, num_heads: int, runtime: Runtime, *, starting: bool
    ) -> None:
        super().__init__()
        self.starting = starting
        self.norm = LayerNorm(c_pair)
        self.bias = Linear(c_pair, num_heads, bias=False)
        self.attention = Attention(c_pair, c_pair, c_hidden, num_heads, c_pair, runtime)

    def forward(
        self, pair: Float[Tensor, "B N N C"], pair_mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        if not self.starting:
            pair, pair_mask = pair.transpose(1, 2), pair_mask.transpose(1, 2)
        pair = self.norm(pair)
        bias = self.bias(pair).permute(0, 3, 1, 2)
        update = self.attention(pair, pair, pair_mask, bias)
        return update if self.starting else update.transpose(1, 2)


class PairBlock(nn.Module):
    """What a block of the Evoformer and one of the template pair stack do to pairs alike.

    A subclass adds the modules in its own order, which seeded initialisation follows.
    """

    triangle_attention = False

    def add_multiplications(self, c_pair: int, c_hidden: int, runtime: Runtime) -> None:
        """Add both triangle multiplications."""
        self.triangle_multiplication_outgoing = TriangleMultiplication(
            c_pair, c_hidden, runtime, outgoing=True
        )
        self.triangle_multiplication_incoming = TriangleMultiplication(
            c_pair, c_hidden, runtime, outgoing=False
        )

    def add_attentions(self, c_pair: int, c_hidden: int, num_heads: int, runtime: Runtime) -> None:
        """Add both triangle attentions."""
        self.triangle_attention = True
        self.triangle_attention_starting = TriangleAttention(
            c_pair, c_hidden, num_heads, runtime, starting=True
        )
        self.triangle_attention_ending = TriangleAttention(
            c_pair, c_hidden, num_heads, runtime, starting=False
        )

    def add_transition(self, c_pair: int, factor: int, dropout: float, runtime: Runtime) -> None:
        """Add the pair transition and the dropouts of the updates before it."""
        self.pair_transition = Transition(c_pair, factor, runtime)
        self.dropout_rows = SharedDropout(dropout, axis=1)
        self.dropout_columns = SharedDropout(dropout, axis=2)

    def multiply(
        self, pair: Float[Tensor, "B N N C"], mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        """Both triangle multiplications, each with its residual."""
        pair = pair + self.dropout_rows(self.triangle_multiplication_outgoing(pair, mask))
        return pair + self.dropout_rows(self.triangle_multiplication_incoming(pair, mask))

    def attend(
        self, pair: Float[Tensor, "B N N C"], mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        """Both triangle attentions, each with its residual, where the config has them."""
        if not self.triangle_attention:
            return pair
        pair = pair + self.dropout_rows(self.triangle_attention_starting(pair, mask))
        return pair + self.dropout_columns(self.triangle_attention_ending(pair, mask))


class EvoformerBlock(PairBlock):
    """Algorithm 6, one block; with global column attention, of Algorithm 18 (extra MSA)."""

    def __init__(self, config: StackConfig, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        c_msa, heads = config.c_msa, config.num_heads_msa
        self.outer_product_first = config.outer_product_first
        self.msa_row_attention = MSARowAttention(c_msa, c_pair, heads, runtime)
        self.msa_column_attention: nn.Module
        if config.global_column_attention:
            self.msa_column_attention = MSAColumnGlobalAttention(c_msa, heads)
        else:
            self.msa_column_attention = MSAColumnAttention(c_msa, heads, runtime)
        self.msa_transition = Transition(c_msa, config.transition_factor_msa, runtime)
        self.outer_product_mean = OuterProductMean(c_msa, config.c_outer, c_pair, runtime)
        self.add_multiplications(c_pair, config.c_triangle, runtime)
        if config.triangle_attention:
            self.add_attentions(c_pair, c_pair, config.num_heads_pair, runtime)
        self.add_transition(c_pair, config.transition_factor_pair, config.dropout_pair, runtime)
        self.dropout_msa = SharedDropout(config.dropout_msa, axis=1)

    def forward(
        self,
        msa: Float[Tensor, "B S N C"],
        pair: Float[Tensor, "B N N D"],
        msa_mask: Float[Tensor, "B S N"],
        pair_mask: Float[Tensor, "B N N"],
    ) -> tuple[Float[Tensor, "B S N C"], Float[Tensor, "B N N D"]]:
        if self.outer_product_first:
            pair = pair + self.outer_product_mean(msa, msa_mask)
        msa = msa + self.dropout_msa(self.msa_row_attention(msa, pair, msa_mask))
        msa = msa + self.msa_column_attention(msa, msa_mask)
        msa = msa + self.msa_transition(msa)
        if not self.outer_product_first:
            pair = pair + self.outer_product_mean(msa, msa_mask)
        pair = self.attend(self.multiply(pair, pair_mask), pair_mask)
        return msa, pair + self.pair_transition(pair)


class EvoformerStack(nn.Module):
    """Algorithm 6. The Evoformer stack; Algorithm 18 for the extra MSA.

    Attributes:
        depth: Blocks that run, from the first on; None runs all. Training sets it, where what
            stands behind the stack is taught first.
    """

    def __init__(self, config: StackConfig, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            EvoformerBlock(config, c_pair, runtime) for _ in range(config.num_blocks)
        )
        self.depth: int | None = None
        self.checkpoint = runtime.checkpoint

    def forward(
        self,
        msa: Float[Tensor, "B S N C"],
        pair: Float[Tensor, "B N N D"],
        msa_mask: Float[Tensor, "B S N"],
        pair_mask: Float[Tensor, "B N N"],
    ) -> tuple[Float[Tensor, "B S N C"], Float[Tensor, "B N N D"]]:
        for block in self.blocks[: self.depth]:
            if self.checkpoint and torch.is_grad_enabled():
                msa, pair = checkpoint(block, msa, pair, msa_mask, pair_mask, use_reentrant=False)
            else:
                msa, pair = block(msa, pair, msa_mask, pair_mask)
        return msa, pair

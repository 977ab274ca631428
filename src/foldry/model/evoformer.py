"""The Evoformer and its modules (SI 1.6, 1.7.2).

Every module returns a representation with its update. When no gradients are recorded, it may write
the result into its first argument (`foldry.kernels.interface`), so only the result is to be used
afterwards. In the equations `Linear` is a learned affine map, another one at each mention,
`LinearNoBias` the same without bias, ⊙ the product of channels, and m_si and z_ij are the MSA and
the pair representation.

Axes: B batch, S sequences, N residues, H heads, C channels (D channels of the pair representation
where both occur).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from foldry.kernels.interface import (
    AttentionWeights,
    OuterProductWeights,
    TransitionWeights,
    TriangleWeights,
)
from foldry.model.config import StackConfig
from foldry.model.layers import Layer, LayerNorm, Linear, SharedDropout
from foldry.model.runtime import Runtime


class AttentionMaps(nn.Module):
    """The maps of gated multi-head self-attention, the core of Algorithms 7, 8, 13, 14 and 19.

    Args:
        c: Channels of the representation.
        c_hidden: Channels of queries and gates, over all heads.
        c_key: Channels of keys and values, over all heads, or of one head that all share.
        num_heads: Number of heads.
    """

    def __init__(self, c: int, c_hidden: int, c_key: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = Linear(c, c_hidden, bias=False, init="glorot")
        self.key = Linear(c, c_key, bias=False, init="glorot")
        self.value = Linear(c, c_key, bias=False, init="glorot")
        self.gate = Linear(c, c_hidden, init="gate")
        self.output = Linear(c_hidden, c, init="zero")

    def weights(self, norm: LayerNorm) -> AttentionWeights:
        """Return the parameters, with those of the norm before."""
        return AttentionWeights(
            norm=norm.affine,
            query=self.query.affine,
            key=self.key.affine,
            value=self.value.affine,
            gate=self.gate.affine,
            output=self.output.affine,
            num_heads=self.num_heads,
        )


class MSARowAttention(Layer):
    """Algorithm 7: MSA row-wise gated self-attention with pair bias (SI 1.6.1).

    ::

        y_si = LayerNorm(m_si)
        q_si^h, k_si^h, v_si^h = LinearNoBias(y_si);  b_ij^h = LinearNoBias(LayerNorm(z_ij))
        g_si^h = sigmoid(Linear(y_si))
        a_sij^h = softmax_j(q_si^h · k_sj^h / √c + b_ij^h)
        m_si + dropout(Linear(concat_h(g_si^h ⊙ Σ_j a_sij^h v_sj^h)))

    Shapes: m [B, S, N, C], z [B, N, N, D], msa_mask [B, S, N] → m [B, S, N, C].
    """

    def __init__(
        self, c_msa: int, c_pair: int, num_heads: int, dropout: float, runtime: Runtime
    ) -> None:
        super().__init__()
        self.norm = LayerNorm(c_msa)
        self.norm_pair = LayerNorm(c_pair)
        self.bias = Linear(c_pair, num_heads, bias=False)
        self.attention = AttentionMaps(c_msa, c_msa, c_msa, num_heads)
        self.dropout = SharedDropout(dropout, axis=1)
        self.runtime = runtime

    def forward(
        self,
        msa: Float[Tensor, "B S N C"],
        pair: Float[Tensor, "B N N D"],
        msa_mask: Float[Tensor, "B S N"],
    ) -> Float[Tensor, "B S N C"]:
        kernels, size = self.runtime.now(), self.runtime.chunk_size
        bias = kernels.norm_projection(pair, self.norm_pair.affine, self.bias.affine, size)
        weights = self.attention.weights(self.norm)
        return kernels.attention(msa, msa_mask, bias, weights, self.dropout(msa), size)


class MSAColumnAttention(Layer):
    """Algorithm 8: MSA column-wise gated self-attention (SI 1.6.2).

    ::

        y_si = LayerNorm(m_si)
        q_si^h, k_si^h, v_si^h = LinearNoBias(y_si);  g_si^h = sigmoid(Linear(y_si))
        a_sti^h = softmax_t(q_si^h · k_ti^h / √c)
        m_si + Linear(concat_h(g_si^h ⊙ Σ_t a_sti^h v_ti^h))

    Shapes: m [B, S, N, C], msa_mask [B, S, N] → m [B, S, N, C].
    """

    def __init__(self, c_msa: int, num_heads: int, runtime: Runtime) -> None:
        super().__init__()
        self.norm = LayerNorm(c_msa)
        self.attention = AttentionMaps(c_msa, c_msa, c_msa, num_heads)
        self.runtime = runtime

    def forward(
        self, msa: Float[Tensor, "B S N C"], msa_mask: Float[Tensor, "B S N"]
    ) -> Float[Tensor, "B S N C"]:
        columns, mask = msa.transpose(1, 2), msa_mask.transpose(1, 2)
        weights = self.attention.weights(self.norm)
        attention = self.runtime.now().attention
        updated = attention(columns, mask, None, weights, None, self.runtime.chunk_size)
        return updated.transpose(1, 2)


class MSAColumnGlobalAttention(AttentionMaps):
    """Algorithm 19: MSA column-wise global self-attention (SI 1.7.2).

    ::

        y_si = LayerNorm(m_si)
        q_i^h = LinearNoBias(mean_s y_si);  k_si, v_si = LinearNoBias(y_si)    shared by all heads
        g_si^h = sigmoid(Linear(y_si))
        a_ti^h = softmax_t(q_i^h · k_ti / √c)
        m_si + Linear(concat_h(g_si^h ⊙ Σ_t a_ti^h v_ti))

    Shapes: m [B, S, N, C], msa_mask [B, S, N] → m [B, S, N, C].

    One query per column makes the cost linear in S, which the thousands of extra sequences need.
    The paper averages the queries; the average of y gives the same, because the map has no bias.
    Masked places are left out of both the mean and the softmax: in the mean alone, padding an
    alignment with masked rows would change every query and hence the result.
    """

    def __init__(self, c_msa: int, num_heads: int, runtime: Runtime) -> None:
        super().__init__(c_msa, c_msa, c_msa // num_heads, num_heads)
        self.norm = LayerNorm(c_msa)
        self.runtime = runtime

    def forward(
        self, msa: Float[Tensor, "B S N C"], msa_mask: Float[Tensor, "B S N"]
    ) -> Float[Tensor, "B S N C"]:
        attention = self.runtime.now().global_attention
        return attention(msa, msa_mask, self.weights(self.norm), self.runtime.chunk_size)


class Transition(Layer):
    """Algorithms 9 and 15: MSA and pair transition (SI 1.6.3, 1.6.7).

    For the MSA (x = m) or the pair representation (x = z)::

        x_ij + Linear(relu(Linear(LayerNorm(x_ij))))    n · C hidden channels, n = `factor`

    Shapes: [B, S, N, C] → the same, or [B, N, N, C] → the same. No mask is needed: every place is
    computed from itself alone.
    """

    def __init__(self, c: int, factor: int, runtime: Runtime) -> None:
        super().__init__()
        self.norm = LayerNorm(c)
        self.widen = Linear(c, c * factor, init="relu")
        self.narrow = Linear(c * factor, c, init="zero")
        self.runtime = runtime

    def forward(self, x: Float[Tensor, "B X Y C"]) -> Float[Tensor, "B X Y C"]:
        weights = TransitionWeights(self.norm.affine, self.widen.affine, self.narrow.affine)
        return self.runtime.now().transition(x, weights, self.runtime.chunk_size)


class OuterProductMean(Layer):
    """Algorithm 10: outer product mean (SI 1.6.4).

    ::

        a_si, b_si = Linear(LayerNorm(m_si))
        z_ij + Linear(flatten(mean_s(a_si ⊗ b_sj)))

    Shapes: z [B, N, N, D], m [B, S, N, C], msa_mask [B, S, N] → z [B, N, N, D].

    The mean is over the sequences in which both residues are present. As in the official
    implementation the sum is mapped before it is divided, ε = 1e-3 is added to the count, and the
    bias is divided too: (W Σ_s a_si ⊗ b_sj + bias) / (ε + count_ij).

    Memory: the outer products have c² channels (1,024 for c = 32) at every pair of residues, so
    only those of a few residues i are computed at once.
    """

    def __init__(self, c_msa: int, c_outer: int, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        self.norm = LayerNorm(c_msa)
        self.left = Linear(c_msa, c_outer)
        self.right = Linear(c_msa, c_outer)
        self.output = Linear(c_outer * c_outer, c_pair, init="zero")
        self.runtime = runtime

    def forward(
        self,
        pair: Float[Tensor, "B N N D"],
        msa: Float[Tensor, "B S N C"],
        msa_mask: Float[Tensor, "B S N"],
    ) -> Float[Tensor, "B N N D"]:
        maps = (self.norm, self.left, self.right, self.output)
        weights = OuterProductWeights(*(each.affine for each in maps))
        outer_product_mean = self.runtime.now().outer_product_mean
        return outer_product_mean(pair, msa, msa_mask, weights, self.runtime.chunk_size)


class TriangleMultiplication(Layer):
    """Algorithms 11 and 12: triangle multiplicative update (SI 1.6.5).

    Along outgoing edges (Algorithm 11) or incoming edges (Algorithm 12)::

        y_ij = LayerNorm(z_ij)
        a_ij, b_ij = sigmoid(Linear(y_ij)) ⊙ Linear(y_ij);  g_ij = sigmoid(Linear(y_ij))
        outgoing: z_ij + dropout(g_ij ⊙ Linear(LayerNorm(Σ_k a_ik ⊙ b_jk)))
        incoming: z_ij + dropout(g_ij ⊙ Linear(LayerNorm(Σ_k a_ki ⊙ b_kj)))

    Shapes: z [B, N, N, C], pair_mask [B, N, N] → z [B, N, N, C]. Masked edges have a = b = 0.

    `left` and `right` are a and b for outgoing edges, b and a for incoming ones: the official
    parameters name them so.
    """

    def __init__(
        self, c_pair: int, c_hidden: int, dropout: float, runtime: Runtime, *, outgoing: bool
    ) -> None:
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
        self.dropout = SharedDropout(dropout, axis=1)
        self.runtime = runtime

    def forward(
        self, pair: Float[Tensor, "B N N C"], pair_mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        maps = (self.norm, self.left, self.left_gate, self.right, self.right_gate)
        after = (self.norm_product, self.output, self.gate)
        return self.runtime.now().triangle_multiplication(
            pair,
            pair_mask,
            TriangleWeights(*(each.affine for each in (*maps, *after))),
            self.dropout(pair),
            self.runtime.chunk_size,
            outgoing=self.outgoing,
        )


class TriangleAttention(Layer):
    """Algorithms 13 and 14: triangle self-attention around the starting or ending node (SI 1.6.6).

    ::

        y_ij = LayerNorm(z_ij)
        q_ij^h, k_ij^h, v_ij^h, b_ij^h = LinearNoBias(y_ij);  g_ij^h = sigmoid(Linear(y_ij))
        starting: a_ijk^h = softmax_k(q_ij^h · k_ik^h / √c + b_jk^h);  o_ij^h = Σ_k a_ijk^h v_ik^h
        ending:   a_ijk^h = softmax_k(q_ij^h · k_kj^h / √c + b_ki^h);  o_ij^h = Σ_k a_ijk^h v_kj^h
        z_ij + dropout(Linear(concat_h(g_ij^h ⊙ o_ij^h)))

    Shapes: z [B, N, N, C], pair_mask [B, N, N] → z [B, N, N, C].

    The ending node is the starting node of the transposed pair representation.
    """

    def __init__(
        self,
        c_pair: int,
        c_hidden: int,
        num_heads: int,
        dropout: float,
        runtime: Runtime,
        *,
        starting: bool,
    ) -> None:
        super().__init__()
        self.starting = starting
        self.norm = LayerNorm(c_pair)
        self.bias = Linear(c_pair, num_heads, bias=False)
        self.attention = AttentionMaps(c_pair, c_hidden, c_hidden, num_heads)
        # Along the rows that attend, which are columns of z for the ending node.
        self.dropout = SharedDropout(dropout, axis=1)
        self.runtime = runtime

    def forward(
        self, pair: Float[Tensor, "B N N C"], pair_mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        if not self.starting:
            pair, pair_mask = pair.transpose(1, 2), pair_mask.transpose(1, 2)
        kernels, size = self.runtime.now(), self.runtime.chunk_size
        bias = kernels.norm_projection(pair, self.norm.affine, self.bias.affine, size)
        weights = self.attention.weights(self.norm)
        updated = kernels.attention(pair, pair_mask, bias, weights, self.dropout(pair), size)
        return updated if self.starting else updated.transpose(1, 2)


class PairBlock(nn.Module):
    """The pair updates that Algorithms 6 and 16 share: triangle modules and transition.

    A subclass adds the modules in its order of initialisation, because a seed gives the same
    parameters only in the same order.
    """

    triangle_attention = False

    def add_multiplications(
        self, c_pair: int, c_hidden: int, dropout: float, runtime: Runtime
    ) -> None:
        """Add both triangle multiplications."""
        self.triangle_multiplication_outgoing = TriangleMultiplication(
            c_pair, c_hidden, dropout, runtime, outgoing=True
        )
        self.triangle_multiplication_incoming = TriangleMultiplication(
            c_pair, c_hidden, dropout, runtime, outgoing=False
        )

    def add_attentions(
        self, c_pair: int, c_hidden: int, num_heads: int, dropout: float, runtime: Runtime
    ) -> None:
        """Add both triangle attentions."""
        self.triangle_attention = True
        self.triangle_attention_starting = TriangleAttention(
            c_pair, c_hidden, num_heads, dropout, runtime, starting=True
        )
        self.triangle_attention_ending = TriangleAttention(
            c_pair, c_hidden, num_heads, dropout, runtime, starting=False
        )

    def multiply(
        self, pair: Float[Tensor, "B N N C"], mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        """Return z after the triangle multiplications (Alg. 6, lines 6–7)."""
        pair = self.triangle_multiplication_outgoing(pair, mask)
        return self.triangle_multiplication_incoming(pair, mask)

    def attend(
        self, pair: Float[Tensor, "B N N C"], mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        """Return z after the triangle attentions (Alg. 6, lines 8–9).

        Without triangle attention (`mini`), z is returned unchanged.
        """
        if not self.triangle_attention:
            return pair
        pair = self.triangle_attention_starting(pair, mask)
        return self.triangle_attention_ending(pair, mask)


class EvoformerBlock(PairBlock):
    """Algorithm 6, lines 2 to 10: one block of the Evoformer; or of Algorithm 18 (extra MSA).

    Every module adds its update to the representation::

        m = MSARowAttention(m, z)
        m = MSAColumnAttention(m)             MSAColumnGlobalAttention in Algorithm 18
        m = Transition(m)
        z = OuterProductMean(z, m)
        z = TriangleMultiplication(z, outgoing)
        z = TriangleMultiplication(z, incoming)
        z = TriangleAttention(z, starting)
        z = TriangleAttention(z, ending)
        z = Transition(z)

    Shapes: m [B, S, N, C], z [B, N, N, D], msa_mask [B, S, N], pair_mask [B, N, N] → m, z.

    With `outer_product_first` (AlphaFold-Multimer, Evans 2021) the outer product mean comes before
    the row attention. `mini` has no triangle attention and more blocks instead.
    """

    def __init__(self, config: StackConfig, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        c_msa, heads = config.c_msa, config.num_heads_msa
        dropout = config.dropout_pair
        self.outer_product_first = config.outer_product_first
        self.msa_row_attention = MSARowAttention(c_msa, c_pair, heads, config.dropout_msa, runtime)
        self.msa_column_attention = (
            MSAColumnGlobalAttention(c_msa, heads, runtime)
            if config.global_column_attention
            else MSAColumnAttention(c_msa, heads, runtime)
        )
        self.msa_transition = Transition(c_msa, config.transition_factor_msa, runtime)
        self.outer_product_mean = OuterProductMean(c_msa, config.c_outer, c_pair, runtime)
        self.add_multiplications(c_pair, config.c_triangle, dropout, runtime)
        if config.triangle_attention:
            self.add_attentions(c_pair, c_pair, config.num_heads_pair, dropout, runtime)
        self.pair_transition = Transition(c_pair, config.transition_factor_pair, runtime)

    def forward(
        self,
        msa: Float[Tensor, "B S N C"],
        pair: Float[Tensor, "B N N D"],
        msa_mask: Float[Tensor, "B S N"],
        pair_mask: Float[Tensor, "B N N"],
    ) -> tuple[Float[Tensor, "B S N C"], Float[Tensor, "B N N D"]]:
        if self.outer_product_first:
            pair = self.outer_product_mean(pair, msa, msa_mask)
        msa = self.msa_row_attention(msa, pair, msa_mask)
        msa = self.msa_column_attention(msa, msa_mask)
        msa = self.msa_transition(msa)
        if not self.outer_product_first:
            pair = self.outer_product_mean(pair, msa, msa_mask)
        pair = self.attend(self.multiply(pair, pair_mask), pair_mask)
        return msa, self.pair_transition(pair)


class EvoformerStack(nn.Module):
    """Algorithm 6: the Evoformer stack; Algorithm 18 for the extra MSA.

    ::

        for each block:  m, z = block(m, z)

    Shapes: m [B, S, N, C], z [B, N, N, D], msa_mask [B, S, N], pair_mask [B, N, N] → m, z. The
    single representation (line 12) is computed by `foldry.model.alphafold.AlphaFold.represent`.

    Memory: for the backward pass, a block keeps many arrays of the size of its logits. With
    `Runtime.checkpoint` only its inputs are kept and the block runs a second time (SI 1.11.8).

    Attributes:
        depth: Number of blocks that run, counted from the first; None runs all. Training sets it to
            train the modules after the stack before the whole stack.
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

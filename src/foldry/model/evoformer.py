"""The Evoformer and its modules (SI 1.6, 1.7.2).

Every module computes an update; the block adds it to the representation. In the equations `Linear`
is a learned affine map, another one at each mention, `LinearNoBias` the same without bias, ⊙ the
product of channels, and m_si and z_ij are the MSA and the pair representation.

Axes: B batch, S sequences, N residues, H heads, C channels (D channels of the pair representation
where both occur); R rows that attend separately, Q queries and K keys in a row, O output channels.
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

    For each row r, query i and head h, where x is `query_data` and y is `key_data`::

        q_ri^h = LinearNoBias(x_ri);  k_rj^h, v_rj^h = LinearNoBias(y_rj)
        a_rij^h = softmax_j(q_ri^h · k_rj^h / √c + b_ij^h)    over keys j with mask_rj = 1
        o_ri^h = sigmoid(Linear(x_ri))^h ⊙ Σ_j a_rij^h v_rj^h
        output_ri = Linear(concat_h(o_ri^h))

    Shapes: x [B, R, Q, C], y [B, R, K, D], mask [B, R, K], b [B, H, Q, K] → [B, R, Q, O].
    Algorithm 17 has no gate (`gating=False`).

    Memory: the logits of all rows take R · H · Q · K numbers, which grows with the cube of the
    residues, so only a few rows are computed at once. Their number keeps Q · K · rows near
    `chunk_size`³, whatever the shape: many short rows or a few long ones.

    Args:
        c_query, c_key: Channels of `query_data` and of `key_data`.
        c_hidden: Channels of queries, keys and values, over all heads.
        num_heads: Number of heads.
        c_out: Channels of the output.
        runtime: Which kernel runs, and how many rows at once.
        gating: Whether the output of each head is gated.
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
    """Algorithm 7: MSA row-wise gated self-attention with pair bias (SI 1.6.1).

    ::

        m_si ← LayerNorm(m_si)
        q_si^h, k_si^h, v_si^h = LinearNoBias(m_si);  b_ij^h = LinearNoBias(LayerNorm(z_ij))
        g_si^h = sigmoid(Linear(m_si))
        a_sij^h = softmax_j(q_si^h · k_sj^h / √c + b_ij^h)
        update_si = Linear(concat_h(g_si^h ⊙ Σ_j a_sij^h v_sj^h))

    Shapes: m [B, S, N, C], z [B, N, N, D], msa_mask [B, S, N] → [B, S, N, C].
    """

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
    """Algorithm 8: MSA column-wise gated self-attention (SI 1.6.2).

    ::

        m_si ← LayerNorm(m_si)
        q_si^h, k_si^h, v_si^h = LinearNoBias(m_si);  g_si^h = sigmoid(Linear(m_si))
        a_sti^h = softmax_t(q_si^h · k_ti^h / √c)
        update_si = Linear(concat_h(g_si^h ⊙ Σ_t a_sti^h v_ti^h))

    Shapes: m [B, S, N, C], msa_mask [B, S, N] → [B, S, N, C].
    """

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
    """Algorithm 19: MSA column-wise global self-attention (SI 1.7.2).

    ::

        m_si ← LayerNorm(m_si)
        q_i^h = LinearNoBias(mean_s m_si);  k_si, v_si = LinearNoBias(m_si)    shared by all heads
        g_si^h = sigmoid(Linear(m_si))
        a_ti^h = softmax_t(q_i^h · k_ti / √c)
        update_si = Linear(concat_h(g_si^h ⊙ Σ_t a_ti^h v_ti))

    Shapes: m [B, S, N, C], msa_mask [B, S, N] → [B, S, N, C].

    One query per column makes the cost linear in S, which the thousands of extra sequences need.
    The paper averages the queries; the average of m gives the same, because the map has no bias.
    Masked places are left out of both the mean and the softmax: in the mean alone, padding an
    alignment with masked rows would change every query and hence the result.
    """

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
    """Algorithms 9 and 15: MSA and pair transition (SI 1.6.3, 1.6.7).

    For the MSA (x = m) or the pair representation (x = z)::

        update_ij = Linear(relu(Linear(LayerNorm(x_ij))))    n · C hidden channels, n = `factor`

    Shapes: [B, S, N, C] → the same, or [B, N, N, C] → the same. No mask is needed: every place is
    computed from itself alone.
    """

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
    """Algorithm 10: outer product mean (SI 1.6.4).

    ::

        m_si ← LayerNorm(m_si)
        a_si, b_si = Linear(m_si)
        update_ij = Linear(flatten(mean_s(a_si ⊗ b_sj)))

    Shapes: m [B, S, N, C], msa_mask [B, S, N] → [B, N, N, D].

    The mean is over the sequences in which both residues are present. As in the official
    implementation the sum is mapped before it is divided, ε = 1e-3 is added to the count, and the
    bias is divided too: (W Σ_s a_si ⊗ b_sj + bias) / (ε + count_ij).

    Memory: the outer products have c² channels (1,024 for c = 32) at every pair of residues, so
    only `chunk_size` residues i are computed at once.
    """

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
            return (outer + self.output.bias) / (1e-3 + count[..., None])

        left = (weight * self.left(msa)).transpose(1, 2)
        return by_rows(rows, self.chunk_size, left, msa_mask.transpose(1, 2))


class TriangleMultiplication(Layer):
    """Algorithms 11 and 12: triangle multiplicative update (SI 1.6.5).

    Along outgoing edges (Algorithm 11) or incoming edges (Algorithm 12)::

        z_ij ← LayerNorm(z_ij)
        a_ij, b_ij = sigmoid(Linear(z_ij)) ⊙ Linear(z_ij);  g_ij = sigmoid(Linear(z_ij))
        outgoing: update_ij = g_ij ⊙ Linear(LayerNorm(Σ_k a_ik ⊙ b_jk))
        incoming: update_ij = g_ij ⊙ Linear(LayerNorm(Σ_k a_ki ⊙ b_kj))

    Shapes: z [B, N, N, C], pair_mask [B, N, N] → [B, N, N, C]. Masked edges have a = b = 0.

    `left` and `right` are a and b for outgoing edges, b and a for incoming ones: the official
    parameters name them so.
    """

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
    """Algorithms 13 and 14: triangle self-attention around the starting or ending node (SI 1.6.6).

    ::

        z_ij ← LayerNorm(z_ij)
        q_ij^h, k_ij^h, v_ij^h, b_ij^h = LinearNoBias(z_ij);  g_ij^h = sigmoid(Linear(z_ij))
        starting: a_ijk^h = softmax_k(q_ij^h · k_ik^h / √c + b_jk^h);  o_ij^h = Σ_k a_ijk^h v_ik^h
        ending:   a_ijk^h = softmax_k(q_ij^h · k_kj^h / √c + b_ki^h);  o_ij^h = Σ_k a_ijk^h v_kj^h
        update_ij = Linear(concat_h(g_ij^h ⊙ o_ij^h))

    Shapes: z [B, N, N, C], pair_mask [B, N, N] → [B, N, N, C].

    The ending node is the starting node of the transposed pair representation.
    """

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
    """The pair updates that Algorithms 6 and 16 share: triangle modules and transition.

    A subclass adds the modules in its order of initialisation, because a seed gives the same
    parameters only in the same order.
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
        """Return z after the triangle multiplications, each a residual (Alg. 6, lines 6–7)."""
        pair = pair + self.dropout_rows(self.triangle_multiplication_outgoing(pair, mask))
        return pair + self.dropout_rows(self.triangle_multiplication_incoming(pair, mask))

    def attend(
        self, pair: Float[Tensor, "B N N C"], mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        """Return z after the triangle attentions, each a residual (Alg. 6, lines 8–9).

        Without triangle attention (`mini`), z is returned unchanged.
        """
        if not self.triangle_attention:
            return pair
        pair = pair + self.dropout_rows(self.triangle_attention_starting(pair, mask))
        return pair + self.dropout_columns(self.triangle_attention_ending(pair, mask))


class EvoformerBlock(PairBlock):
    """Algorithm 6, lines 2 to 10: one block of the Evoformer; or of Algorithm 18 (extra MSA).

    ::

        m += dropout_rows(MSARowAttention(m, z))
        m += MSAColumnAttention(m)             MSAColumnGlobalAttention in Algorithm 18
        m += Transition(m)
        z += OuterProductMean(m)
        z += dropout_rows(TriangleMultiplication(z, outgoing))
        z += dropout_rows(TriangleMultiplication(z, incoming))
        z += dropout_rows(TriangleAttention(z, starting))
        z += dropout_columns(TriangleAttention(z, ending))
        z += Transition(z)

    Shapes: m [B, S, N, C], z [B, N, N, D], msa_mask [B, S, N], pair_mask [B, N, N] → m, z.

    With `outer_product_first` (AlphaFold-Multimer, Evans 2021) the outer product mean comes before
    the row attention. `mini` has no triangle attention and more blocks instead.
    """

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

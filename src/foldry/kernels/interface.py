"""The operations that cost time: the parameters and the signature of each.

An operation is a whole update of a representation, with its layer norm, projections, gate, mask and
residual, so that an implementation decides what it keeps in a processor's cache. The folder of an
operation has `reference.py`, which specifies it, and the fast implementations.

When no gradients are recorded, an implementation may write the result into `x`: only the returned
tensor is to be used afterwards. `keep` is the dropout's factor of the update (SI 1.11.6), 1 / (1 −
rate) or 0, with an axis of length 1 along which it is shared; None stands for 1. `chunk_size` is
the number of numbers that the largest temporary array of a chunk should have.

Axes: B batch, S sequences, N residues, H heads, P points, C channels, D channels of the pair
representation; X and Y are the axes of either representation, R rows that attend separately.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from jaxtyping import Float
from torch import Tensor


class Affine(NamedTuple):
    """The parameters of a linear map (W [out, in] and b) or of a layer norm (γ and β)."""

    weight: Tensor
    bias: Tensor | None = None


class AttentionWeights(NamedTuple):
    """The maps of gated attention; `query`, `key` and `value` have no bias."""

    norm: Affine
    query: Affine
    key: Affine
    value: Affine
    gate: Affine
    output: Affine
    num_heads: int


class TransitionWeights(NamedTuple):
    """The maps of a transition."""

    norm: Affine
    widen: Affine
    narrow: Affine


class OuterProductWeights(NamedTuple):
    """The maps of an outer product mean; the input of `output` is (channel of left, of right)."""

    norm: Affine
    left: Affine
    right: Affine
    output: Affine


class TriangleWeights(NamedTuple):
    """The maps of a triangle multiplication."""

    norm: Affine
    left: Affine
    left_gate: Affine
    right: Affine
    right_gate: Affine
    norm_product: Affine
    output: Affine
    gate: Affine


class Points(NamedTuple):
    """The inputs of invariant point attention, points in global coordinates.

    Attributes:
        query, key, value: Scalars; the queries are scaled by w_L / √c.
        query_points, key_points, value_points: Points.
        weights: w_L w_C γ^h / 2 of each head.
        bias: w_L b_ij^h.
    """

    query: Float[Tensor, "B N H C"]
    key: Float[Tensor, "B N H C"]
    value: Float[Tensor, "B N H V"]
    query_points: Float[Tensor, "B N H P 3"]
    key_points: Float[Tensor, "B N H P 3"]
    value_points: Float[Tensor, "B N H Q 3"]
    weights: Float[Tensor, " H"]
    bias: Float[Tensor, "B H N N"]


class Attention(Protocol):
    """Gated self-attention within rows: Algorithms 7, 8, 13 and 14 without the map to the bias."""

    def __call__(
        self,
        x: Float[Tensor, "B R N C"],
        mask: Float[Tensor, "B R N"],
        bias: Float[Tensor, "B H N N"] | None,
        weights: AttentionWeights,
        keep: Float[Tensor, " B #R #N C"] | None,
        chunk_size: int,
    ) -> Float[Tensor, "B R N C"]: ...


class GlobalAttention(Protocol):
    """MSA column-wise global self-attention: Algorithm 19."""

    def __call__(
        self,
        msa: Float[Tensor, "B S N C"],
        mask: Float[Tensor, "B S N"],
        weights: AttentionWeights,
        chunk_size: int,
    ) -> Float[Tensor, "B S N C"]: ...


class Transition(Protocol):
    """MSA and pair transition: Algorithms 9 and 15."""

    def __call__(
        self, x: Float[Tensor, "B X Y C"], weights: TransitionWeights, chunk_size: int
    ) -> Float[Tensor, "B X Y C"]: ...


class OuterProductMean(Protocol):
    """Outer product mean: Algorithm 10, added to the pair representation."""

    def __call__(
        self,
        pair: Float[Tensor, "B N N D"],
        msa: Float[Tensor, "B S N C"],
        mask: Float[Tensor, "B S N"],
        weights: OuterProductWeights,
        chunk_size: int,
    ) -> Float[Tensor, "B N N D"]: ...


class TriangleMultiplication(Protocol):
    """Triangle multiplicative update along outgoing or incoming edges: Algorithms 11 and 12."""

    def __call__(
        self,
        pair: Float[Tensor, "B N N D"],
        mask: Float[Tensor, "B N N"],
        weights: TriangleWeights,
        keep: Float[Tensor, " B #N #N D"] | None,
        chunk_size: int,
        *,
        outgoing: bool,
    ) -> Float[Tensor, "B N N D"]: ...


class NormProjection(Protocol):
    """The bias of an attention from the pair representation: LinearNoBias(LayerNorm(z_ij))."""

    def __call__(
        self, pair: Float[Tensor, "B N N D"], norm: Affine, projection: Affine, chunk_size: int
    ) -> Float[Tensor, "B H N N"]: ...


class PointAttention(Protocol):
    """Invariant point attention between its maps: Algorithm 22, lines 7 to 10.

    Returns the sums over values, over their points in global coordinates, and over pairs.
    """

    def __call__(
        self,
        points: Points,
        pair: Float[Tensor, "B N N D"],
        mask: Float[Tensor, "B N"],
        chunk_size: int,
    ) -> tuple[Float[Tensor, "B N H V"], Float[Tensor, "B N H Q 3"], Float[Tensor, "B N H D"]]: ...

"""The implementations of the operations, chosen once for each."""

from __future__ import annotations

from dataclasses import dataclass, fields

from foldry.kernels import interface
from foldry.kernels.attention import cpu as attention_cpu
from foldry.kernels.attention import reference as attention_reference
from foldry.kernels.global_attention import cpu as global_cpu
from foldry.kernels.global_attention import reference as global_reference
from foldry.kernels.norm_projection import cpu as projection_cpu
from foldry.kernels.norm_projection import reference as projection_reference
from foldry.kernels.outer_product_mean import cpu as outer_cpu
from foldry.kernels.outer_product_mean import reference as outer_reference
from foldry.kernels.point_attention import cpu as point_cpu
from foldry.kernels.point_attention import reference as point_reference
from foldry.kernels.transition import cpu as transition_cpu
from foldry.kernels.transition import reference as transition_reference
from foldry.kernels.triangle_multiplication import cpu as triangle_cpu
from foldry.kernels.triangle_multiplication import reference as triangle_reference


@dataclass(frozen=True)
class Kernels:
    """One implementation of every operation; `dataclasses.replace` changes some of them."""

    attention: interface.Attention
    global_attention: interface.GlobalAttention
    transition: interface.Transition
    outer_product_mean: interface.OuterProductMean
    triangle_multiplication: interface.TriangleMultiplication
    norm_projection: interface.NormProjection
    point_attention: interface.PointAttention

    def names(self) -> dict[str, str]:
        """Return which implementation of each operation this is, such as `reference`."""
        return {
            each.name: getattr(self, each.name).__module__.rpartition(".")[2]
            for each in fields(self)
        }


REFERENCE = Kernels(
    attention=attention_reference.attention,
    global_attention=global_reference.global_attention,
    transition=transition_reference.transition,
    outer_product_mean=outer_reference.outer_product_mean,
    triangle_multiplication=triangle_reference.triangle_multiplication,
    norm_projection=projection_reference.norm_projection,
    point_attention=point_reference.point_attention,
)
"""The specifications; they alone record gradients."""

CPU = Kernels(
    attention=attention_cpu.attention,
    global_attention=global_cpu.global_attention,
    transition=transition_cpu.transition,
    outer_product_mean=outer_cpu.outer_product_mean,
    triangle_multiplication=triangle_cpu.triangle_multiplication,
    norm_projection=projection_cpu.norm_projection,
    point_attention=point_cpu.point_attention,
)
"""The fastest on a processor, without gradients."""

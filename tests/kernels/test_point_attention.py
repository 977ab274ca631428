"""Invariant point attention by its definition."""

from __future__ import annotations

import numpy as np
import torch

from foldry.kernels.choose import Kernels
from tests.kernels.cases import Size, both_kernels, cast, drawn, run


@both_kernels
def test_point_attention_by_its_definition(kernels: Kernels) -> None:
    """Algorithm 22, lines 7 to 10, one residue and one head at a time; padding has no effect."""
    size = Size(5, 0, 2)
    arguments = cast(drawn("point attention", size), torch.float32)
    points, pair, mask = arguments["points"], arguments["pair"], arguments["mask"]
    with torch.no_grad():
        scalars, in_space, pairs = run(kernels, "point attention", arguments, 50)
    for b, i, h in np.ndindex(2, size.length, size.heads):
        if not mask[b, i]:
            continue
        present = mask[b] == 1
        apart = points.key_points[b, present, h] - points.query_points[b, i, h]
        logits = (
            points.key[b, present, h] @ points.query[b, i, h]
            + points.bias[b, h, i, present]
            - points.weights[h] * apart.square().sum((-1, -2))
        )
        shares = logits.softmax(0)
        for ours, values in (
            (scalars, points.value[b, present, h]),
            (in_space, points.value_points[b, present, h]),
            (pairs, pair[b, i, present]),
        ):
            torch.testing.assert_close(ours[b, i, h], torch.tensordot(shares, values, 1))

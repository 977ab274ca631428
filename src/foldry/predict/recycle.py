"""Recycling: the network reads its previous output (SI 1.10, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foldry import residues
from foldry.model.alphafold import AlphaFold, Pass
from foldry.model.inputs import Inputs, MSAInputs

Begin = Callable[[int, int], object]
"""Called with the number of a pass, from 1, and the largest possible number of passes."""


class Recycling(NamedTuple):
    """The last pass and the number of recycles, which is the number of passes minus one."""

    result: Pass
    num_recycles: int


def recycle(
    model: AlphaFold,
    inputs: Inputs,
    draw: Callable[[int], Sequence[MSAInputs]],
    num_recycles: int,
    tolerance: float | None = None,
    begin: Begin = lambda number, most: None,
) -> Recycling:
    """Run the network `num_recycles` + 1 times, or until its structure stops changing.

    Args:
        model: The network.
        inputs: Inputs that all passes share.
        draw: Returns the alignment draws for a pass, one per ensemble member; called for the next
            pass in another thread while the network runs.
        num_recycles: Maximum number of recycles.
        tolerance: Stop when Cα distances change by at most this between passes, Å; as in
            AlphaFold-Multimer, one more pass follows. None never stops early.
        begin: Called before each pass.
    """
    recycled = model.first_recycled(inputs)
    done = 0
    with ThreadPoolExecutor(1) as ahead:  # NumPy draws while the network runs
        drawn = ahead.submit(draw, 0)
        while done < num_recycles:
            begin(done + 1, num_recycles + 1)
            members, drawn = drawn.result(), ahead.submit(draw, done + 1)
            result: Pass = model(inputs, members, recycled)
            before, recycled = recycled, result.recycled()
            done += 1
            if tolerance is None:
                continue
            if distance_change(before.atom37, recycled.atom37, inputs.seq_mask) <= tolerance:
                break
        begin(done + 1, num_recycles + 1)
        return Recycling(model(inputs, drawn.result(), recycled), done)


def distance_change(
    before: Float[Tensor, "B N 37 3"],
    now: Float[Tensor, "B N 37 3"],
    seq_mask: Float[Tensor, "B N"],
) -> float:
    """Return the root mean square change of all Cα–Cα distances, Å, the largest of the batch."""

    def distances(atom37: Tensor) -> Tensor:
        ca = atom37[..., residues.CA, :]
        return (ca[:, :, None] - ca[:, None]).square().sum(-1).sqrt()

    mask = seq_mask[:, :, None] * seq_mask[:, None]
    squared = (distances(before) - distances(now)).square()
    mean = (squared * mask).sum((1, 2)) / mask.sum((1, 2))
    return float(torch.sqrt(mean + 1e-8).max())

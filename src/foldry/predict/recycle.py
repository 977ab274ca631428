"""Recycling: the network reads its previous output (SI 1.10, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foldry import residues
from foldry.model.alphafold import AlphaFold, Pass
from foldry.model.inputs import Inputs, MSAInputs
from foldry.processes import tuning

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
) -> Iterator[tuple[Recycling, list[int]]]:
    """Run the network `num_recycles` + 1 times, or until all structures stop changing.

    Args:
        model: The network.
        inputs: Inputs that all passes share.
        draw: Returns the alignment draws for a pass, one per ensemble member; called for the next
            pass in another thread while the network runs.
        num_recycles: Maximum number of recycles.
        tolerance: Stop when Cα distances change by at most this between passes, Å; as in
            AlphaFold-Multimer, one more pass follows. None never stops early.
        begin: Called before each pass.

    Yields:
        The last pass of some members of the batch, and their numbers from 0.
    """
    recycled = model.first_recycled(inputs)
    going = list(range(len(inputs.aatype)))
    ending: list[int] = []  # the next pass is their last
    with ThreadPoolExecutor(1) as ahead:  # NumPy draws while the network runs
        drawn = ahead.submit(draw, 0)
        for done in range(num_recycles + 1):
            begin(done + 1, num_recycles + 1)
            tuning.release_memory()  # of features, or of the last pass
            draws = drawn.result()
            if done == num_recycles:
                ending = going
            if ending != going:
                drawn = ahead.submit(draw, done + 1)
            result: Pass = model(inputs, draws, recycled)
            before, recycled = recycled.atom37, result.recycled()
            if ending:
                yield Recycling(result, done), ending
            del result  # only `recycled` stays in memory during the next pass
            going = [member for member in going if member not in ending]
            if not going:
                return
            ending = []
            if tolerance is not None:
                change = distance_change(before, recycled.atom37, inputs.seq_mask).tolist()
                ending = [member for member in going if change[member] <= tolerance]


def distance_change(
    before: Float[Tensor, "B N 37 3"],
    now: Float[Tensor, "B N 37 3"],
    seq_mask: Float[Tensor, "B N"],
) -> Float[Tensor, " B"]:
    """Return the root mean square change of all Cα–Cα distances, Å."""

    def distances(atom37: Tensor) -> Tensor:
        ca = atom37[..., residues.CA, :]
        return (ca[:, :, None] - ca[:, None]).square().sum(-1).sqrt()

    mask = seq_mask[:, :, None] * seq_mask[:, None]
    squared = (distances(before) - distances(now)).square()
    mean = (squared * mask).sum((1, 2)) / mask.sum((1, 2))
    return torch.sqrt(mean + 1e-8)

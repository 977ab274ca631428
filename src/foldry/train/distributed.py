"""Several processes that train one network, each on its share of a step's micro-batches.

What a step computes does not depend on how many there are: its samples, their dropout and the
weight of each are fixed by the step; only the order of a sum changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

from foldry.errors import InputError
from foldry.model.evoformer import EvoformerStack

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class MicroBatch:
    """Samples of a step that pass through the network together.

    Attributes:
        number: Which micro-batch of the step.
        samples: Numbers of its samples in the step.
        weight: Of its mean loss in the step's.
    """

    number: int
    samples: range
    weight: float


@dataclass(frozen=True)
class Workers:
    """This process among those that train together.

    Attributes:
        rank: Which of them, from 0; the first writes.
        size: How many there are.
        shard: Whether the blocks' parameters are divided among them, instead of copied.
    """

    rank: int = 0
    size: int = 1
    shard: bool = False

    def share(self, groups: Sequence[range]) -> list[MicroBatch]:
        """This worker's micro-batches of a step.

        Where parameters are divided, all workers run equally many, for they gather each block
        together; what is added weighs nothing.

        Raises:
            InputError: There are more workers than micro-batches.
        """
        if len(groups) < self.size:
            what = f"{self.size} workers share {len(groups)} micro-batches a step"
            raise InputError(what, "start fewer, or make the micro-batches smaller")
        total = sum(map(len, groups))
        mine = [
            MicroBatch(number, groups[number], len(groups[number]) / total)
            for number in range(self.rank, len(groups), self.size)
        ]
        most = -(-len(groups) // self.size)
        if self.shard and len(mine) < most:
            mine.append(MicroBatch(0, groups[0], 0.0))
        return mine

    def sum_(self, tensor: Tensor) -> Tensor:
        """The sum over all workers, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Until all workers are here."""
        if self.size > 1:
            dist.barrier()

    def first_says(self, flag: bool, device: torch.device) -> bool:
        """What the first worker says, on all workers."""
        if self.size == 1:
            return flag
        said = torch.tensor(int(flag), device=device)
        dist.broadcast(said, 0)
        return bool(said)


@contextmanager
def join_workers(device: torch.device, *, shard: bool = False) -> Iterator[Workers]:
    """Meet the other workers that the environment names, as `torchrun` sets it, or be alone.

    Raises:
        InputError: Parameters shall be divided and there is nobody to divide them with.
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        if shard:
            advice = "start several, or leave `shard` out"
            raise InputError("one process has nothing to shard", advice)
        yield Workers()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), dist.get_world_size(), shard)
    finally:
        dist.destroy_process_group()


def device_of_worker(device: torch.device) -> torch.device:
    """This worker's GPU where there are several."""
    local = os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or device.index is not None or local is None:
        return device
    return torch.device("cuda", int(local))


def shard_blocks(model: nn.Module) -> None:
    """Divide the parameters of all Evoformer blocks among the workers (FSDP2).

    They are most of the parameters; the others stay whole on every worker.
    """
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415  (half a second)

    for stack in model.modules():
        if isinstance(stack, EvoformerStack):
            for block in stack.blocks:
                fully_shard(block)
            fully_shard(stack)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that is on this worker, which is all of one that is not divided."""
    return tensor.to_local() if _is_divided(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every worker must ask for it."""
    return tensor.full_tensor() if _is_divided(tensor) else tensor


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor where `pattern` is, and divided as it is; every worker must ask for it."""
    tensor = tensor.to(pattern.device)
    if not _is_divided(pattern):
        return tensor
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415

    return distribute_tensor(tensor, pattern.device_mesh, pattern.placements)


def _is_divided(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether a tensor is a DTensor, without the import of those where there are none."""
    return hasattr(tensor, "device_mesh")

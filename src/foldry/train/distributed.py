"""Several processes that train one network, each on its share of a step's micro-batches.

The result of a step does not depend on the number of processes: the step determines its samples,
their dropout and their weights, and only the order of sums changes.
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

from foldry.errors import InputError, MissingError
from foldry.model.evoformer import EvoformerStack

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class MicroBatch:
    """Samples of a step that pass through the network together.

    Attributes:
        number: Number of the micro-batch in the step.
        samples: Numbers of its samples in the step.
        weight: Weight of its mean loss in the loss of the step.
    """

    number: int
    samples: range
    weight: float


@dataclass(frozen=True)
class Workers:
    """One of several processes that train together: this one.

    Attributes:
        rank: Number of this process, from 0; the first writes files.
        size: Number of processes.
        shard: Whether the blocks' parameters are divided among them instead of copied.
    """

    rank: int = 0
    size: int = 1
    shard: bool = False

    def share(self, groups: Sequence[range]) -> list[MicroBatch]:
        """Return this worker's micro-batches of a step.

        Workers that divide parameters gather each block together, so all must run the same number
        of micro-batches; those that are added have weight 0.

        Args:
            groups: Numbers of the samples of each micro-batch of the step.

        Raises:
            InputError: There are more workers than micro-batches.
        """
        if len(groups) < self.size:
            what = f"{self.size} workers need as many micro-batches, and a step has {len(groups)}"
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
        """Sum a tensor over all workers, in place, and return it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Wait until all workers call this."""
        if self.size > 1:
            dist.barrier()

    def first_says(self, flag: bool, device: torch.device) -> bool:
        """Return the first worker's flag on all workers."""
        if self.size == 1:
            return flag
        said = torch.tensor(int(flag), device=device)
        dist.broadcast(said, 0)
        return bool(said)


@contextmanager
def join_workers(device: torch.device, *, shard: bool = False) -> Iterator[Workers]:
    """Join the workers that the environment describes, as `torchrun` sets it; yield this one.

    Args:
        device: The device, which determines how workers communicate.
        shard: Whether parameters are divided among them.

    Raises:
        InputError: Parameters are to be divided, but there is only one process.
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        if shard:
            advice = "set `workers` to 2 or more, or leave out `shard`"
            raise InputError("`shard` needs several processes", advice)
        yield Workers()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), dist.get_world_size(), shard)
    finally:
        dist.destroy_process_group()


def device_of_worker(device: torch.device) -> torch.device:
    """Return this worker's GPU if there are several workers, otherwise the device itself.

    Raises:
        MissingError: There are fewer GPUs than workers.
    """
    local = os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or device.index is not None or local is None:
        return device
    if int(local) >= (num_gpus := torch.cuda.device_count()):
        what = f"Each worker needs its own GPU, and this machine has {num_gpus}"
        raise MissingError(what, "start fewer workers, or set `device` to cpu")
    return torch.device("cuda", int(local))


def shard_blocks(model: nn.Module) -> None:
    """Divide the parameters of all Evoformer blocks among the workers (FSDP2).

    These are most of the parameters; the others stay whole on every worker.
    """
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415  (half a second)

    for stack in model.modules():
        if isinstance(stack, EvoformerStack):
            for block in stack.blocks:
                fully_shard(block)
            fully_shard(stack)


def local(tensor: Tensor) -> Tensor:
    """Return the part of a divided tensor that is on this worker, or a whole tensor itself."""
    return tensor.to_local() if _is_divided(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor gathered from all workers, which must all call this."""
    return tensor.full_tensor() if _is_divided(tensor) else tensor


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """Return a whole tensor on the device of `pattern` and divided like it.

    All workers must call this.

    Raises:
        ValueError: The tensor has another shape or no floating-point numbers.
    """
    if tensor.shape != pattern.shape or not tensor.is_floating_point():
        raise ValueError(f"a tensor has the shape {list(tensor.shape)} or another type")
    tensor = tensor.to(pattern.device)
    if not _is_divided(pattern):
        return tensor
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415

    return distribute_tensor(tensor, pattern.device_mesh, pattern.placements)


def _is_divided(tensor: Tensor) -> TypeGuard[DTensor]:
    """Return whether a tensor is a DTensor, without importing DTensor if no tensor is one."""
    return hasattr(tensor, "device_mesh")

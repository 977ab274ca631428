"""How a network runs: decided once and never passed to `forward`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from foldry.errors import MissingError


@dataclass(frozen=True)
class Runtime:
    """Where and how the network computes; except for rounding, the result is always the same.

    Attributes:
        device: Device of the parameters and of all computation.
        dtype: Precision of the embedders and the Evoformer. The structure module, the heads,
            softmax, layer norms and the embedder of the extra MSA always compute in float32.
        autocast: Whether the parameters stay float32 and each operation of the embedders and the
            Evoformer casts its inputs to `dtype`, for training in mixed precision.
        kernels: Name of the implementation of the operations in `foldry.kernels`.
        chunk_size: Rows that transitions and outer products compute at a time when no gradients
            are recorded; attention computes as many rows as have `chunk_size`³ logits per head. A
            smaller value needs less memory.
        checkpoint: Whether each block runs a second time in the backward pass instead of keeping
            its temporary arrays (SI 1.11.8), which saves memory and costs time.
    """

    device: torch.device = torch.device("cpu")  # noqa: RUF009
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    kernels: str = "reference"
    chunk_size: int = 64
    checkpoint: bool = False


def find_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the first GPU, or the CPU if there is no GPU.

    Raises:
        MissingError: This machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    index = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", name)
    num_gpus = torch.cuda.device_count() if name != "cpu" else 1
    if index is None or int(index[1] or 0) >= num_gpus:
        raise MissingError(f"There is no device {name!r} here", "set `device` to cpu")
    return torch.device(name)

"""How a network runs: decided once and never passed to `forward`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch

from foldry.errors import MissingError
from foldry.kernels.choose import CPU, REFERENCE, Kernels


@dataclass(frozen=True)
class Runtime:
    """Where and how the network computes; except for rounding, the result is always the same.

    Attributes:
        device: Device of the parameters and of all computation.
        dtype: Precision of the embedders and the Evoformer. The structure module, the heads,
            softmax, layer norms and the embedder of the extra MSA always compute in float32.
        autocast: Whether the parameters stay float32 and each operation of the embedders and the
            Evoformer casts its inputs to `dtype`, for training in mixed precision.
        kernels: The implementation of each operation when no gradients are recorded.
        chunk_size: Numbers in the largest temporary array of an operation when no gradients are
            recorded: as many as fit a processor's cache, or as keep a GPU busy.
        checkpoint: Whether each block runs a second time in the backward pass instead of keeping
            its temporary arrays (SI 1.11.8), which saves memory and costs time.
    """

    device: torch.device = torch.device("cpu")  # noqa: RUF009
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    kernels: Kernels = REFERENCE
    chunk_size: int = 2**19
    checkpoint: bool = False

    def now(self) -> Kernels:
        """Return the kernels for a call: the references where gradients or autocast need them."""
        plain = torch.is_grad_enabled() or torch.is_autocast_enabled(self.device.type)
        return REFERENCE if plain else self.kernels


def fastest(device: torch.device, **options: Any) -> Runtime:
    """Return a runtime with the fastest kernels of a device.

    Args:
        device: Device of the network.
        options: Other attributes of the runtime.
    """
    # Large chunks keep a GPU busy; small chunks stay in a processor's cache.
    on_cpu = device.type == "cpu"
    kernels, chunk_size = (CPU, 2**19) if on_cpu else (REFERENCE, 2**27)
    return Runtime(device=device, kernels=kernels, chunk_size=chunk_size, **options)


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

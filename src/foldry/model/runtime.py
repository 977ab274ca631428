"""How a network is run: decided once, never an argument of `forward`."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Runtime:
    """Where and how the numbers are computed; no value changes what is computed.

    Attributes:
        device: Where the network runs.
        dtype: Of the embedders and the Evoformer; the structure module, the heads, softmax, layer
            norms and the extra MSA's embedder are always float32.
        autocast: Whether the parameters stay float32 and each operation of the trunk is brought to
            `dtype` when it runs, as training needs it.
        kernels: Which implementation of the operations in `foldry.kernels` runs.
        chunk_size: Rows that transitions and outer products handle at a time when no gradient is
            asked for; attention takes as many as have the cube of it in logits a head. It bounds
            memory, and what stays in a processor's cache is several times as fast.
        checkpoint: Whether blocks are recomputed in the backward pass, which saves memory.
    """

    device: torch.device = torch.device("cpu")  # noqa: RUF009
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    kernels: str = "reference"
    chunk_size: int = 64
    checkpoint: bool = False

"""A training run on disk: parameters, their average, the optimiser, and how far it got."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from foldry.errors import InputError
from foldry.train.ema import EMA

NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far a run got: steps of the present stage, and samples over all stages."""

    stage: str
    step: int
    num_samples: int


def save_checkpoint(
    folder: Path, model: nn.Module, ema: EMA, optimizer: torch.optim.Adam, progress: Progress
) -> None:
    """Write everything that the next step depends on; all that is random follows from the step."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"adam.{key}.{name}"] = value
    tensors |= {f"ema.{name}": tensor for name, tensor in ema.state.items()}
    data = safetensors_bytes(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
        metadata={"progress": json.dumps(asdict(progress))},
    )
    partial = folder / f"{NAME}.partial"
    partial.write_bytes(data)
    partial.replace(folder / NAME)


def load_checkpoint(
    folder: Path, model: nn.Module, ema: EMA, optimizer: torch.optim.Adam
) -> Progress:
    """Put a run back to where `save_checkpoint` left it.

    Raises:
        InputError: The file is damaged, or of another network.
    """
    path = folder / NAME
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads((file.metadata() or {})["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        device = next(model.parameters()).device
        for name, parameter in model.named_parameters():
            parameter.data.copy_(tensors[f"model.{name}"])
            state = {
                key: tensors[f"adam.{key}.{name}"].to("cpu" if key == "step" else device)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{key}.{name}" in tensors
            }
            if state:
                optimizer.state[parameter] = state
        for name in ema.state:
            ema.state[name].copy_(tensors[f"ema.{name}"])
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be resumed ({error}): give another --out or remove the folder."
        ) from error
    return progress

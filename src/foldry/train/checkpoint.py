"""A training run on disk: parameters, their average, the optimiser, and how far it got."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from foldry.errors import InputError
from foldry.model.config import ModelConfig
from foldry.store.files import write_bytes
from foldry.train.config import StageConfig
from foldry.train.distributed import like, whole
from foldry.train.ema import EMA
from foldry.weights.state_file import safetensors_bytes

NAME = "checkpoint.safetensors"
ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps of a parameter; Muon keeps `exp_avg` alone."""
MAY_CHANGE: Final = ("num_steps", "micro_batch")
"""Settings of a stage that a run may go on with others of."""
_NETWORK: Final = "network"


@dataclass(frozen=True)
class Progress:
    """How far a run got.

    Attributes:
        stage: The present stage.
        step: Its steps that are done.
        num_samples: Samples over all stages.
        num_skipped: Those of them whose gradient was not finite and was left out.
        from_weights: Whether the stage began with weights alone, without their optimiser.
    """

    stage: str
    step: int
    num_samples: int
    num_skipped: int = 0
    from_weights: bool = False


def settings(config: ModelConfig, stage: StageConfig, seed: int) -> dict[str, object]:
    """The settings, by name, that may not change while a stage goes on."""
    known = {"seed": seed, _NETWORK: config.to_dict()} | asdict(stage)
    flat = _flat({name: value for name, value in known.items() if name not in MAY_CHANGE})
    read: dict[str, object] = json.loads(json.dumps(flat))
    return read


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    ema: EMA,
    optimizer: torch.optim.Adam,
    progress: Progress,
    fixed: Mapping[str, object],
) -> None:
    """Write everything that the next step depends on; all that is random follows from the step.

    The file is whole or the one before, whenever the process is killed. It does not depend on how
    many workers there are; all must call this where parameters are divided, and the first writes.
    `fixed` are the run's `settings`.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = whole(parameter.detach())
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"adam.{key}.{name}"] = whole(value)
    tensors |= {f"ema.{name}": tensor for name, tensor in ema.whole().items()}
    if dist.is_initialized() and dist.get_rank() > 0:
        return
    data = safetensors_bytes(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
        {"progress": json.dumps(asdict(progress)), "settings": json.dumps(fixed)},
    )
    write_bytes(folder / NAME, data, sync=True)


def read_progress(folder: Path) -> Progress | None:
    """How far the run in a folder got; None where there is none.

    Raises:
        InputError: Its checkpoint is damaged.
    """
    path = folder / NAME
    return _read_notes(path)[0] if path.is_file() else None


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    ema: EMA,
    optimizer: torch.optim.Adam,
    fixed: Mapping[str, object],
) -> Progress:
    """Put a run back to where `save_checkpoint` left it.

    Raises:
        InputError: The file is damaged, or the run was begun with other `settings`: of the network
            or, where its stage goes on, at all.
    """
    path = folder / NAME
    progress, before = _read_notes(path)
    goes_on = progress.stage == fixed["name"]
    # What an earlier version of Foldry did not note is not compared.
    changed = [
        f"{name} {before[name]}, not {value}"
        for name, value in fixed.items()
        if (goes_on or name.startswith(f"{_NETWORK}.")) and before.get(name, value) != value
    ]
    if changed:
        more = f" and {len(changed) - 3} others" if len(changed) > 3 else ""
        what = f"holds a run that was begun with {', '.join(changed[:3])}{more}"
        raise InputError(what, "give the same settings, or another `out`", where=folder)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        groups = [group for group in optimizer.param_groups if group.get("muon")]
        by_muon = {id(parameter) for group in groups for parameter in group["params"]}
        for name, parameter in model.named_parameters():
            parameter.data.copy_(like(tensors[f"model.{name}"], parameter))
            kept = {key: tensors.get(f"adam.{key}.{name}") for key in ADAM_STATE}
            # What Muon kept is not enough for a stage of Adam, which begins anew.
            if kept["step"] is not None or id(parameter) in by_muon:
                optimizer.state[parameter] = {
                    key: tensor if key == "step" else like(tensor, parameter)
                    for key, tensor in kept.items()
                    if tensor is not None
                }
        for name, tensor in ema.state.items():
            tensor.copy_(like(tensors[f"ema.{name}"], tensor))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _refused(path, error) from error
    return progress


def _read_notes(path: Path) -> tuple[Progress, dict[str, object]]:
    """How far a run got, and its settings, which an earlier version of Foldry did not note."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
        return Progress(**json.loads(notes["progress"])), json.loads(notes.get("settings", "{}"))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> InputError:
    what = f"cannot be resumed ({error})"
    return InputError(what, "give another `out` or remove the folder", where=path)

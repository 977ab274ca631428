"""A training run on disk: parameters, their average, the optimiser's state, and progress.

A checkpoint is read in two phases. The notes in its header, which are small, say how far the run
got and with which settings; they decide whether and at which stage the run continues. Only then are
the tensors read, into a network that has been built for that stage. So a run with other settings is
refused at once, before any parameter is overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_type_hints

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from foldry.errors import FoldryError, InputError, OutsideError, printable, quoted, reason
from foldry.model.config import ModelConfig
from foldry.store.files import write_bytes
from foldry.train.config import StageConfig
from foldry.train.distributed import like, whole
from foldry.train.ema import EMA
from foldry.weights.state_file import safetensors_bytes

NAME = "checkpoint.safetensors"
ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")
"""Adam's state of a parameter; Muon's is `exp_avg` alone."""
MAY_CHANGE: Final = ("num_steps", "micro_batch")
"""Settings of a stage that may change when it is resumed."""
_NETWORK: Final = "network"
_DATA: Final = "data"


@dataclass(frozen=True)
class Progress:
    """How far a run got.

    Attributes:
        stage: The present stage.
        step: Steps of this stage that are done.
        num_samples: Samples of all stages.
        num_skipped: Samples that were left out because the gradient was not finite.
        from_weights: Whether the stage started from weights without an optimiser's state.
    """

    stage: str
    step: int
    num_samples: int
    num_skipped: int = 0
    from_weights: bool = False


def settings(config: ModelConfig, stage: StageConfig, seed: int, data: str) -> dict[str, object]:
    """Return the settings, by name, that must not change when a stage is resumed.

    Args:
        config: The network.
        stage: The stage.
        seed: The run's seed.
        data: The `key` of the training set.
    """
    known = {"seed": seed, _DATA: data, _NETWORK: config.to_dict()} | asdict(stage)
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
    """Write everything that the next step depends on.

    If the process is killed, the previous file remains. The file does not depend on the number of
    workers: divided parameters are gathered, so all workers must call this, and the first writes.

    Args:
        folder: The run's folder.
        model: The network.
        ema: The average of its parameters.
        optimizer: The optimiser.
        progress: How far the run got.
        fixed: The run's `settings`.
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
    """Return how far the run in a folder got; None without a checkpoint.

    Raises:
        InputError: The checkpoint is damaged.
        OutsideError: It cannot be read.
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
    """Restore the state that `save_checkpoint` wrote.

    Args:
        folder: The run's folder.
        model, ema, optimizer: Objects to restore, of the same network.
        fixed: The run's `settings`.

    Returns:
        How far the run got.

    Raises:
        InputError: The file is damaged, or its `settings` differ: those of the network or, if the
            same stage is resumed, any of them.
    """
    path = folder / NAME
    progress, before = _read_notes(path)
    same_stage = progress.stage == fixed["name"]
    # Settings that an earlier version of Foldry did not write are not compared.
    changed = [
        f"{name}={printable(str(before[name]))[:60]} (now {value})"
        for name, value in fixed.items()
        if (same_stage or name.startswith(f"{_NETWORK}.")) and before.get(name, value) != value
    ]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        what = f"contains a run that was started with {', '.join(changed[:3])}{more}"
        if changed[0].startswith(f"{_DATA}="):
            what = "contains a run that was started on other data"
        raise InputError(what, "give the same settings, or another `out`", where=folder)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        groups = [group for group in optimizer.param_groups if group.get("muon")]
        by_muon = {id(parameter) for group in groups for parameter in group["params"]}
        number = torch.zeros(())
        for name, parameter in model.named_parameters():
            parameter.data.copy_(like(tensors[f"model.{name}"], parameter))
            kept = {key: tensors.get(f"adam.{key}.{name}") for key in ADAM_STATE}
            # Muon's state is not enough for a stage of Adam, which then starts without a state.
            if kept["step"] is not None or id(parameter) in by_muon:
                optimizer.state[parameter] = {
                    key: like(tensor, number if key == "step" else parameter)
                    for key, tensor in kept.items()
                    if tensor is not None
                }
        for name, tensor in ema.state.items():
            tensor.copy_(like(tensors[f"ema.{name}"], tensor))
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise _refused(path, error) from error
    return progress


def _read_notes(path: Path) -> tuple[Progress, dict[str, object]]:
    """Return a run's progress and settings; earlier versions of Foldry did not write settings."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
        progress = Progress(**json.loads(notes["progress"]))
        before = json.loads(notes.get("settings", "{}"))
        for name, kind in get_type_hints(Progress).items():
            value = getattr(progress, name)
            if type(value) is not kind or (kind is int and not 0 <= value < 1 << 62):
                raise ValueError(f"{name} is {quoted(value)}")
        if not isinstance(before, dict):
            raise ValueError("the settings are not an object")
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _refused(path, error) from error
    return progress, before


def _refused(path: Path, error: Exception) -> FoldryError:
    if isinstance(error, OSError):  # the file itself may be sound
        what = f"cannot be read ({reason(error)})"
        return OutsideError(what, "check its disk and its permissions", where=path)
    what = f"cannot be resumed ({reason(error)})"
    return InputError(what, "remove the folder, or set `out` to another one", where=path)

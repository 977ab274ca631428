"""Foldry's own weights files: a network's state and its configuration in one safetensors file.

A file may come from anywhere. Its configuration is checked value by value, and the network that it
describes is compared with the shapes in the file's header, before memory is taken for either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from foldry.errors import InputError, counted, quoted, reason
from foldry.model.config import ModelConfig, StackConfig, TemplateConfig
from foldry.store.files import write_bytes
from foldry.weights.layout import check_shapes, state_shapes

_MIN_ARRAYS: Final = 30
"""Minimum number of arrays per block: a file with fewer cannot have the blocks that it claims."""
_AGAIN: Final = "get or make the file again"


def save(
    path: Path,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a state and its configuration as safetensors.

    Args:
        path: The file to write; after a power cut it is complete or unchanged.
        state: The network's state, in any floating dtype.
        config: Kept as JSON in the file's metadata.
        metadata: Further notes, such as the licence.
    """
    notes = {**(metadata or {}), "config": json.dumps(config.to_dict())}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(path, safetensors_bytes(tensors, notes), sync=True)


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file whose bytes depend on its content alone.

    The safetensors package writes the notes in an order that differs between processes, so that
    equal weights would have different hashes.
    """
    data = save_tensors(dict(tensors), metadata=dict(metadata))
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    notes = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": notes, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the numbers to 8 bytes
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[end:]])


def load(path: Path) -> tuple[dict[str, Tensor], ModelConfig, dict[str, str]]:
    """Return the state in float32, the configuration and the other notes that `save` wrote.

    Raises:
        InputError: The file is damaged, of another kind, or does not match its configuration.
    """
    stored, config, notes = load_stored(path)
    return {name: stored[name].float() for name in state_shapes(config)}, config, notes


def load_stored(path: Path) -> tuple[dict[str, Tensor], ModelConfig, dict[str, str]]:
    """Return the same as `load`, with the state in the dtypes of the file.

    Raises:
        InputError: The file is damaged, of another kind, or does not match its configuration.
    """
    config, notes = load_config(path)
    try:
        state = load_file(path)
    except Exception as error:  # foreign bytes make the package raise nearly anything
        raise InputError(f"is damaged ({reason(error)})", _AGAIN, where=path) from error
    for name in state_shapes(config):
        if not state[name].is_floating_point():
            kind = str(state[name].dtype).removeprefix("torch.")
            raise InputError(f"holds {quoted(name)} as {kind}, not as floats", _AGAIN, where=path)
    return state, config, notes


def load_config(path: Path) -> tuple[ModelConfig, dict[str, str]]:
    """Return the configuration and the notes that `save` wrote, without reading parameters.

    Raises:
        InputError: The file is damaged, of another kind, or does not match its configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
        if "progress" in notes:
            what = "is the checkpoint of a training run"
            raise InputError(what, "give ema.safetensors, the weights beside it", where=path)
        if "config" not in notes:
            raise ValueError("it has no configuration")
        config = ModelConfig.from_dict(json.loads(notes.pop("config")))
        stacks: tuple[StackConfig | TemplateConfig | None, ...]
        stacks = (config.evoformer, config.extra, config.template)
        num_blocks = sum(stack.num_blocks for stack in stacks if stack is not None)
        if num_blocks * _MIN_ARRAYS > len(shapes):
            arrays = counted(len(shapes), "array")
            raise ValueError(f"it has {arrays}, too few for its number of blocks")
    except InputError:
        raise
    except Exception as error:
        what = f"is not a weights file of Foldry ({reason(error)})"
        raise InputError(what, "give another", where=path, code="foreign_weights") from error
    check_shapes(shapes, state_shapes(config), config.name, path)
    return config, notes

"""Our own weights files: a network's state and its configuration in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from foldry.errors import InputError
from foldry.model.config import ModelConfig
from foldry.store.files import write_bytes
from foldry.weights.layout import check_arrays, state_shapes


def save(
    path: Path,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a state with its configuration inside, as safetensors.

    Args:
        path: The file is whole or the one before, even after a power cut.
        state: The network's state, in any floating dtype.
        config: Kept as JSON in the file's metadata, with `metadata`.
        metadata: Further notes, such as the licence.
    """
    notes = {**(metadata or {}), "config": json.dumps(config.to_dict())}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(path, safetensors_bytes(tensors, notes), sync=True)


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file whose bytes follow from its content alone.

    The safetensors package writes the notes in an order that differs from process to process, so
    that hashes of equal files would differ.
    """
    data = save_tensors(dict(tensors), metadata=dict(metadata))
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    notes = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": notes, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the numbers to 8 bytes
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[end:]])


def load(path: Path) -> tuple[dict[str, Tensor], ModelConfig, dict[str, str]]:
    """Read what `save` wrote: the state in float32, the configuration, the other notes.

    Raises:
        InputError: The file is no such file, or not that of its configuration's network.
    """
    stored, config, notes = load_stored(path)
    return {name: tensor.float() for name, tensor in stored.items()}, config, notes


def load_stored(path: Path) -> tuple[dict[str, Tensor], ModelConfig, dict[str, str]]:
    """As `load`, with the state in the dtypes of the file.

    Raises:
        InputError: The file is no such file, or not that of its configuration's network.
    """
    config, notes = load_config(path)
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        what = f"is damaged ({error})"
        raise InputError(what, "get or make the file again", where=path) from error
    check_arrays(state, state_shapes(config), config.name, path)
    return state, config, notes


def load_config(path: Path) -> tuple[ModelConfig, dict[str, str]]:
    """The configuration and the notes of what `save` wrote, without reading the parameters.

    Raises:
        InputError: The file is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
        return ModelConfig.from_dict(json.loads(notes.pop("config"))), notes
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        what = f"is not a weights file of Foldry ({error})"
        raise InputError(what, "give another", where=path, code="foreign_weights") from error

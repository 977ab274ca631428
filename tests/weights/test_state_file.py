"""Foldry's weights files contain their configuration, and equal files have equal bytes."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from foldry.errors import DiskFullError, InputError
from foldry.model.alphafold import AlphaFold
from foldry.model.config import preset
from foldry.weights.bundled import MINI
from foldry.weights.networks import find_networks
from foldry.weights.read import load_weights
from foldry.weights.state_file import load, load_config, safetensors_bytes, save


def test_saved_weights_are_loaded(tmp_path: Path) -> None:
    config = preset("mini")
    model = AlphaFold(config)
    save(tmp_path / "w.safetensors", model.state_dict(), config, {"licence": "CC BY 4.0"})
    state, read, notes = load(tmp_path / "w.safetensors")
    assert read == config == load_config(tmp_path / "w.safetensors")[0]
    assert notes == {"licence": "CC BY 4.0"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_wrong_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    text = tmp_path / "w.safetensors"
    text.write_text("no weights at all")
    with pytest.raises(InputError, match=r"w\.safetensors is not a weights file of Foldry"):
        load(text)
    config = preset("mini")
    state = AlphaFold(config).state_dict()
    save(text, {**state, "single.bias": torch.zeros(3)}, config)
    with pytest.raises(InputError, match=r"'single\.bias' has shape \(3,\) and not \(128,\)"):
        load(text)
    del state["single.bias"]
    save(text, state, config)
    with pytest.raises(
        InputError, match=r"w\.safetensors does not hold .*missing arrays: 1 of \d+"
    ):
        load(text)


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    config = preset("mini")
    state = AlphaFold(config).state_dict()
    notes = {f"note {number}": "é" * number for number in range(8)}
    files = []
    for number, order in enumerate((notes, dict(reversed(notes.items()))) * 3):
        save(tmp_path / str(number), state, config, order)
        files.append((tmp_path / str(number)).read_bytes())
    assert len(set(files)) == 1
    kept, same, known = load(tmp_path / "0")
    assert (same, known) == (config, notes)
    assert all(torch.equal(kept[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("note", range(9))
def test_numbers_are_aligned_to_8_bytes(note: int) -> None:
    data = safetensors_bytes({"w": torch.ones(1)}, {"note": "x" * note})
    assert int.from_bytes(data[:8], "little") % 8 == 0
    assert len(data) - int.from_bytes(data[:8], "little") == 8 + 4


def changed(source: Path, target: Path, header: dict[str, object], **notes: str) -> Path:
    """Write a copy of a weights file with other header entries and notes, and return its path."""
    data = source.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    whole = json.loads(data[8:end]) | header
    whole["__metadata__"] = {**whole["__metadata__"], **notes}
    text = json.dumps(whole).encode()
    target.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    return target


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ((), []),
        (("name",), ["mini"]),
        (("evoformer", "num_blocks"), 10**7),
        (("evoformer", "num_blocks"), 1000),
        (("evoformer", "num_blocks"), -1),
        (("evoformer", "c_msa"), 65_536),
        (("c_pair",), "64"),
        (("evoformer",), None),
    ],
    ids=str,
)
def test_a_crafted_configuration_is_refused_at_once(
    tmp_path: Path, part: tuple[str, ...], value: object
) -> None:
    values: Any = preset("mini").to_dict()
    holder = values
    for name in part[:-1]:
        holder = holder[name]
    if part:
        holder[part[-1]] = value
    path = changed(MINI, tmp_path / "w.safetensors", {}, config=json.dumps(values if part else []))
    start = time.process_time()
    for read in (load_config, load, load_weights):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(str(path)) and len(str(caught.value)) < 400
    assert time.process_time() - start < 5


@pytest.mark.parametrize("config", ["", "{", "null", "[" * 100_000, "9" * 5000, "\x1b\n"], ids=len)
def test_notes_that_are_not_a_configuration_are_refused(tmp_path: Path, config: str) -> None:
    path = changed(MINI, tmp_path / "w.safetensors", {}, config=config)
    with pytest.raises(InputError, match="is not a weights file of Foldry") as caught:
        load_config(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
    with pytest.raises(InputError, match="is not a weights file of Foldry"):
        load_config(changed(MINI, path, {"__metadata__": {"config": config, "other": 3}}))


@pytest.mark.parametrize("read", [load_config, load, load_weights, find_networks])
def test_a_checkpoint_is_known_as_such(tmp_path: Path, read: Callable[[Any], object]) -> None:
    path = changed(MINI, tmp_path / "checkpoint.safetensors", {}, progress="{}", settings="{}")
    with pytest.raises(InputError, match=r"of a training run: give ema\.safetensors") as caught:
        read(str(path) if read is find_networks else path)
    assert caught.value.code == "input"  # no hint to convert it


def test_arrays_that_are_not_floats_are_refused(tmp_path: Path) -> None:
    config = preset("mini")
    state = AlphaFold(config).state_dict()
    save(tmp_path / "w.safetensors", {**state, "single.bias": torch.zeros(128).int()}, config)
    with pytest.raises(InputError, match=r"holds 'single\.bias' as int32, not as floats"):
        load(tmp_path / "w.safetensors")


def test_arrays_that_the_network_lacks_are_left_out(tmp_path: Path) -> None:
    path, config = tmp_path / "w.safetensors", preset("mini")
    state = AlphaFold(config).state_dict()
    more = {"alignment.more": torch.zeros(3), "alignment.steps": torch.tensor(3)}
    save(path, {**state, **more}, config)
    weights = load_weights(path)
    assert weights.unread == tuple(more)
    for found in (weights.state, load(path)[0]):
        AlphaFold(config).load_state_dict(found)


def test_a_writer_leaves_the_old_file_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, config = tmp_path / "w.safetensors", preset("mini")
    state = AlphaFold(config).state_dict()
    save(path, state, config)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DiskFullError):
        save(path, {name: tensor + 1 for name, tensor in state.items()}, config)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [before]

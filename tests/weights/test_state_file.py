"""Our own weights files say what they hold, and equal ones have equal bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foldry.errors import InputError
from foldry.model.alphafold import AlphaFold
from foldry.model.config import preset
from foldry.weights.state_file import load, load_config, save


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
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
        InputError, match=r"w\.safetensors does not hold .*1 of \d+ arrays are missing"
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

"""Parameters for commands that fold complexes."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldry.weights.official import from_official
from foldry.weights.state_file import save
from tests.model.parity import Case, arrays


@pytest.fixture
def weights(parity_dir: Path, tmp_path: Path) -> Path:
    """A recorded case's parameters and configuration; the test is skipped without them."""
    folder = parity_dir / "model" / "multi_hetero_r1"
    if not (folder / "config.json").is_file():
        pytest.skip(f"not among the recorded numbers: {folder}")
    case = Case(folder)
    config = case.model_config()
    path = tmp_path / "multimer.safetensors"
    save(path, from_official(arrays(folder / case.config["params"]), config), config)
    return path

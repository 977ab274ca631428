"""The network, its losses and its optimiser together overfit a real protein."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks/overfit.py"


@pytest.mark.slow
def test_a_real_protein_is_learnt_to_below_one_angstrom_in_400_steps() -> None:
    spec = importlib.util.spec_from_file_location("overfit", PATH)
    assert spec is not None and spec.loader is not None
    overfit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(overfit)
    learning = overfit.learn(400)
    assert next(learning)[1] > 5
    assert any(found < 1 for _, found in learning)

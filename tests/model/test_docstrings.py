"""Every network class states its source, its update as an equation and its shapes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from torch import nn

import foldry.model

MODULES = [
    importlib.import_module(f"foldry.model.{found.name}")
    for found in pkgutil.iter_modules(foldry.model.__path__)
]
NETWORK_CLASSES = {
    f"{module.__name__}.{name}": kind
    for module in MODULES
    for name, kind in vars(module).items()
    if inspect.isclass(kind) and issubclass(kind, nn.Module)
    if kind.__module__ == module.__name__ and "forward" in vars(kind)
}
GENERAL = {"LayerNorm", "SharedDropout", "SummedLinear"}
"""Layers that are not an algorithm of the supplement."""


@pytest.mark.parametrize("name", NETWORK_CLASSES)
def test_a_network_class_opens_with_algorithm_equation_and_shapes(name: str) -> None:
    text = inspect.getdoc(NETWORK_CLASSES[name]) or ""
    first = text.partition("\n")[0]
    if NETWORK_CLASSES[name].__name__ not in GENERAL:
        assert "Algorithm" in first or "Foldry's own" in first or "heads" in first
    assert "Shapes: " in text
    assert " = " in text or " += " in text

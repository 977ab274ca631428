"""Foldry: the AlphaFold system, whole and open.

The public names are imported when they are first used, so that `import foldry` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foldry.errors import InputError as InputError
    from foldry.predict.runner import fold as fold
    from foldry.query import Query as Query
    from foldry.results.prediction import Prediction as Prediction
    from foldry.structure import Structure as Structure

__version__ = "0.1.0"
__all__ = ["InputError", "Prediction", "Query", "Structure", "fold"]

_HOME = {
    "InputError": "foldry.errors",
    "Prediction": "foldry.results.prediction",
    "Query": "foldry.query",
    "Structure": "foldry.structure",
    "fold": "foldry.predict.runner",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'foldry' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Foldry: the complete AlphaFold system as one open-source package.

Example:
    >>> import foldry
    >>> query = foldry.read_query("examples/kunitz/1adz.a3m")
    >>> best = foldry.fold(query, seeds=(0, 1))[0]
    >>> reference = foldry.read_structure("examples/kunitz/1adz.cif")
    >>> scores = foldry.compare(best.structure, reference, align=True)
    >>> scores.num_matched
    63

`help(foldry.fold)` lists the settings; docs/predict.md lists all public names. They are imported at
first use, which keeps `import foldry` fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foldry.errors import BusyError as BusyError
    from foldry.errors import DiskFullError as DiskFullError
    from foldry.errors import FaultError as FaultError
    from foldry.errors import FoldryError as FoldryError
    from foldry.errors import InputError as InputError
    from foldry.errors import MemoryShortError as MemoryShortError
    from foldry.errors import MissingError as MissingError
    from foldry.errors import OutsideError as OutsideError
    from foldry.formats.coordinates import read_structure as read_structure
    from foldry.formats.coordinates import to_pdb as to_pdb
    from foldry.inputs.queries import read_query as read_query
    from foldry.predict.runner import fold as fold
    from foldry.predict.settings import Settings as Settings
    from foldry.query import Alignment as Alignment
    from foldry.query import Chain as Chain
    from foldry.query import Hit as Hit
    from foldry.query import Query as Query
    from foldry.relax.relax import relax_structure as relax_structure
    from foldry.relax.result import Relaxation as Relaxation
    from foldry.results.prediction import Prediction as Prediction
    from foldry.results.prediction import Provenance as Provenance
    from foldry.results.search import search_query as search_query
    from foldry.score.compare import Scores as Scores
    from foldry.score.compare import compare as compare
    from foldry.structure import Structure as Structure
    from foldry.weights.read import Weights as Weights
    from foldry.weights.read import load_weights as load_weights

__version__ = "0.1.0"

_HOME = {
    "errors": (
        "BusyError",
        "DiskFullError",
        "FaultError",
        "FoldryError",
        "InputError",
        "MemoryShortError",
        "MissingError",
        "OutsideError",
    ),
    "inputs.queries": ("read_query",),
    "formats.coordinates": ("read_structure", "to_pdb"),
    "predict.runner": ("fold",),
    "predict.settings": ("Settings",),
    "query": ("Alignment", "Chain", "Hit", "Query"),
    "relax.relax": ("relax_structure",),
    "relax.result": ("Relaxation",),
    "results.prediction": ("Prediction", "Provenance"),
    "results.search": ("search_query",),
    "score.compare": ("Scores", "compare"),
    "structure": ("Structure",),
    "weights.read": ("Weights", "load_weights"),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}
__all__ = tuple(_MODULES)


def __getattr__(name: str) -> object:
    if name in ("errors", "measures"):
        return import_module(f"foldry.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'foldry' has no attribute {name!r}")
    return getattr(import_module(f"foldry.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

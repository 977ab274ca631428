"""Check the shapes and types of arrays in tests, in every room.

This is jaxtyping's import hook, limited to functions and dataclasses with array types: checking
everything makes the tests a quarter slower.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from functools import cache, wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType
from typing import Any, TypeVar

import numpy as np
from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import jaxtyped

Kind = TypeVar("Kind")

# As in mypy, an int is a float; NumPy's scalars count as Python's.
_NUMBERS = FrozenDict(
    {int: int | np.integer, float: float | int | np.floating | np.integer, bool: bool | np.bool_}
)
_ARRAYS = {"ndarray", "Tensor"}

_typed: Any = jaxtyped(typechecker=beartype(conf=BeartypeConf(hint_overrides=_NUMBERS)))
_MAX_CALLS = 20
"""Calls of one function that are checked per test: calls in a loop are alike."""
_calls: Counter[object] = Counter()


def checked(kind: Any) -> Any:
    """Return a function or dataclass that refuses values of other types."""
    if isinstance(kind, type):
        return _typed(kind)
    typed = _typed(kind)

    @wraps(kind)
    def called(*arguments: Any, **named: Any) -> Any:
        _calls[typed] += 1
        return (typed if _calls[typed] <= _MAX_CALLS else kind)(*arguments, **named)

    return called


def begin_test() -> None:
    """Reset the number of calls."""
    _calls.clear()


def check_arrays(code: str) -> ast.Module:
    """Return the code of a module, with everything that has array types decorated by `checked`."""
    tree = ast.parse(code)
    names = _ARRAYS | {
        target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and _mentions(node.annotation, {"TypeAlias"})
        for target in [node.target]
        if isinstance(target, ast.Name) and _mentions(node.value, _ARRAYS)
    }
    for node in ast.walk(tree):
        decorator = ast.Name("_checked", ast.Load())
        if isinstance(node, ast.FunctionDef):
            if _mentions(node.args, names) or _mentions(node.returns, names):
                node.decorator_list.append(decorator)
        elif isinstance(node, ast.ClassDef) and any(
            _mentions(each, {"dataclass"}) for each in node.decorator_list
        ):
            fields = [each.annotation for each in node.body if isinstance(each, ast.AnnAssign)]
            if any(_mentions(each, names) for each in fields):
                node.decorator_list.insert(0, decorator)
    [imported] = ast.parse("from tests.checked import checked as _checked").body
    place = next((n for n, each in enumerate(tree.body) if not _comes_first(each)), 0)
    tree.body.insert(place, imported)
    return ast.fix_missing_locations(tree)


@cache
def compiled(code: str, path: str) -> CodeType:
    """Return the compiled `check_arrays(code)`; benchmarks/mutants.py keeps it for many runs."""
    made: CodeType = compile(check_arrays(code), path, "exec", dont_inherit=True)
    return made


def _mentions(node: ast.AST | None, names: set[str]) -> bool:
    parts = ast.walk(node) if node is not None else ()
    return any(getattr(part, "id", getattr(part, "attr", "")) in names for part in parts)


def _comes_first(node: ast.stmt) -> bool:
    """Return whether a statement is a module's docstring or its import from `__future__`."""
    return isinstance(node, ast.Expr) or getattr(node, "module", "") == "__future__"


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        return compiled(self.get_data(self.path).decode(), self.path)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "foldry":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Check all modules of Foldry that are imported from now on."""
    sys.meta_path.insert(0, _Finder())


def stand_in(kind: type[Kind], **attributes: Any) -> Kind:
    """Return an object that passes for an instance of a class, with only these attributes."""
    made = object.__new__(kind)
    made.__dict__.update(attributes)
    return made

"""Shapes and types are checked in the tests of every room."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from foldry.formats.afdb import pae_json
from foldry.score.superpose import rmsd
from foldry.structure import Structure
from tests.checked import check_arrays


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(TypeCheckError):
        pae_json(np.zeros((2, 3)), 31.75)
    with pytest.raises(TypeCheckError):
        rmsd(np.zeros((5, 3)), np.zeros((4, 3)))


def test_a_wrong_type_is_refused() -> None:
    names = np.array(["A", "A"])
    atoms = np.zeros((2, 37))
    with pytest.raises(TypeCheckError, match="aatype"):
        Structure("a", atoms[:, 0], np.arange(2), names, names, atoms, atoms > 0, atoms)


@pytest.mark.parametrize(
    ("code", "times"),
    [
        ("def f(a: Float[np.ndarray, ' N']): ...", 1),
        ("def f() -> Float[Tensor, ' N']: ...", 1),
        ("def f(a: int) -> str: ...", 0),
        ("class A:\n    def f(self, a: np.ndarray): ...", 1),
        ("@dataclass(frozen=True)\nclass A:\n    a: np.ndarray", 1),
        ("class A:\n    a: np.ndarray", 0),
        ("_Mask: TypeAlias = Bool[np.ndarray, 'N 37']\ndef f(a: _Mask): ...", 1),
    ],
)
def test_functions_and_dataclasses_with_arrays_are_checked(code: str, times: int) -> None:
    changed = ast.unparse(check_arrays(f"'''Text.'''\nfrom __future__ import annotations\n{code}"))
    assert changed.count("@_checked") == times
    assert changed.splitlines()[1] == "from __future__ import annotations"

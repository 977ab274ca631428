"""Predicted aligned error in all the JSON forms in which it is passed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from foldry.errors import InputError
from foldry.store.files import read_text

_NAMES: Final = ("predicted_aligned_error", "pae")
_ADVICE: Final = "give the file of predicted aligned errors"


def read_pae(path: Path) -> Float[np.ndarray, "N N"]:
    """PAE in Å, row i aligned on residue i.

    Read are AlphaFold DB's list of one object, ColabFold's and AlphaFold 3's bare object (its key
    is `predicted_aligned_error` or `pae`), and the lists `residue1`, `residue2` and `distance` of
    AlphaFold DB's first version.

    Raises:
        InputError: The file is none of these, or the matrix is not square, finite and above 0.
    """
    text = read_text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("is not valid JSON", _ADVICE, where=path) from None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    try:
        pae = _matrix(found)
    except (ValueError, TypeError, KeyError, OverflowError):
        pae = None
    if pae is None or pae.ndim != 2 or pae.shape[0] != pae.shape[1] or not len(pae):
        what = "has no square matrix called predicted_aligned_error or pae"
        raise InputError(what, _ADVICE, where=path)
    if not (np.isfinite(pae) & (pae >= 0)).all():
        raise InputError("has an error that is not a number from 0 up", "fix the file", where=path)
    return pae


def _matrix(found: Any) -> Float[np.ndarray, "N N"] | None:
    name = next((name for name in _NAMES if name in found), None)
    if name is not None:
        return np.array(found[name], np.float32)
    residues = np.array([found["residue1"], found["residue2"]], np.int64)
    num = int(np.sqrt(residues.shape[1]))
    if residues.min(initial=1) < 1 or residues.max(initial=0) > num:
        return None
    pae = np.full((num, num), np.nan, np.float32)
    pae[residues[0] - 1, residues[1] - 1] = found["distance"]
    return pae

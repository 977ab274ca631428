"""Structure → atoms in the PDB format, in the layout of the official program."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Int, UInt8

from foldry.errors import InputError
from foldry.formats.digits import digits, in_units
from foldry.residues import ATOM37, RESNAMES
from foldry.structure import Structure

_PDB_LINE: Final = 80
_NAMES: Final = np.array(
    [list(f"{name if len(name) == 4 else ' ' + name:<4}".encode()) for name in ATOM37], np.uint8
)
"""Names of atoms in the columns of the PDB format."""
_ELEMENTS: Final = np.array([ord(name[0]) for name in ATOM37], np.uint8)


def atom_records(structure: Structure) -> str:
    """Return the ATOM records of a structure, with TER after each chain.

    Raises:
        InputError: As for `coordinates.to_pdb`.
    """
    row, slot = np.nonzero(structure.atom_mask)
    is_end = np.append(structure.chain_id[1:] != structure.chain_id[:-1], True)
    ends = np.flatnonzero(is_end[: len(structure)])
    # TER follows the last atom of a chain: `place` has the lines of atoms, `ter` those of TER.
    place = np.arange(len(row)) + np.searchsorted(ends, row)
    ter = np.searchsorted(row, ends, "right") + np.arange(len(ends))
    of_line = np.zeros(len(row) + len(ends), np.int64)
    of_line[place], of_line[ter] = row, ends
    lines = np.full((len(of_line), _PDB_LINE + 1), ord(" "), np.uint8)
    lines[place, :6], lines[ter, :6] = _ascii("ATOM  "), _ascii("TER   ")
    lines[place, 12:16] = _NAMES[slot]
    try:
        lines[:, 6:11] = _field(np.arange(1, len(of_line) + 1), 5)
        lines[:, 17:20] = _ascii(*RESNAMES)[structure.aatype[of_line]]
        lines[:, 21:22] = _letters(structure.chain_id)[of_line]
        lines[:, 22:26] = _field(structure.residue_number, 4)[of_line]
        lines[:, 26:27] = _letters(structure.insertion_code)[of_line]
        for axis, start in enumerate((30, 38, 46)):
            values = structure.atom_positions[row, slot, axis]
            lines[place, start : start + 8] = _field(in_units(values, 3), 8, 3)
        lines[place, 54:60] = _ascii("  1.00")
        lines[place, 60:66] = _field(in_units(structure.b_factor[row, slot], 2), 6, 2)
    except _TooWideError:
        limits = "chain names of one letter, residue numbers and atoms up to 9999 and 99999"
        what = f"{structure.name} does not fit into the PDB format ({limits})"
        raise InputError(what, "use its mmCIF file") from None
    lines[place, 77] = _ELEMENTS[slot]
    lines[:, -1] = ord("\n")
    return lines.tobytes().decode("ascii")


class _TooWideError(ValueError):
    """A value does not fit into its columns."""


def _ascii(*names: str) -> UInt8[np.ndarray, "R W"]:
    """Return names of equal length as ASCII codes."""
    return np.array([list(name.encode()) for name in names], np.uint8)


def _field(
    values: Int[np.ndarray, " R"], width: int, decimals: int = 0
) -> UInt8[np.ndarray, "R W"]:
    """Return numbers as ASCII codes, aligned right in a field of the PDB format."""
    found = digits(values, decimals, b" ")
    if found.shape[1] > width:
        raise _TooWideError
    field = np.full((len(found), width), ord(" "), np.uint8)
    field[:, width - found.shape[1] :] = found
    return field


def _letters(names: np.ndarray) -> UInt8[np.ndarray, "R 1"]:
    """Return names of at most one letter as ASCII codes, with a blank for none."""
    distinct, codes = np.unique(names, return_inverse=True)
    found = [name or " " for name in distinct.tolist()]
    if not all(len(name) == 1 and name.isascii() for name in found):
        raise _TooWideError
    return _ascii(*found)[codes]

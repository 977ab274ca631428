"""Atoms and PAE as small integers in byte planes, which zlib and lzma compress well.

Positions are rounded to a grid with a spacing of `step` Å. Each atom is stored as the difference
between its grid point and the grid point of the atom it is bonded to; these differences are exact,
so rounding errors do not accumulate. Each residue is stored relative to the anchor of the residue
before it: Cα, or another atom if Cα is missing. With `step=None` nothing is rounded, and float32
and float64 come back bit for bit.

All functions take and return plain arrays, whose sizes follow from the mask; none needs pickle.
Decoding damaged arrays raises ValueError and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, UInt8

from foldry.residues import ATOM37, ATOM37_ORDER, CA, UNKNOWN
from foldry.structure import Structure

B_FACTOR_STEP: Final = 0.01
"""Grid spacing of B factors and pLDDT, if they are rounded."""
MAX_STEPS: Final = 10**9
"""Largest grid point; the difference of two points then fits into four balanced digits."""
_MAX_PLANES: Final = 4
_MAX_STEP: Final = 1000.0
_FLOATS: Final[dict[int, np.dtype[Any]]] = {4: np.dtype("<f4"), 8: np.dtype("<f8")}
_OTHER_MASK: Final = "the number of atoms does not match the mask"
_BONDED: Final[tuple[Mapping[str, Sequence[str]], ...]] = (
    {"N": ("CA",), "C": ("CA",), "CB": ("CA",)},
    {"O": ("C",), "OXT": ("C",)} | dict.fromkeys(("CG", "CG1", "CG2", "OG", "OG1", "SG"), ("CB",)),
    {"CD1": ("CG", "CG1")}
    | dict.fromkeys(("CD", "CD2", "ND1", "ND2", "OD1", "OD2", "SD"), ("CG",)),
    {"CE": ("CD", "SD"), "CE1": ("CD1", "ND1"), "NE1": ("CD1",), "NE2": ("CD", "CD2")}
    | dict.fromkeys(("CE2", "CE3"), ("CD2",))
    | dict.fromkeys(("NE", "OE1", "OE2"), ("CD",)),
    {"CZ": ("CE1", "NE"), "CZ2": ("CE2",), "CZ3": ("CE3",), "NZ": ("CE",)},
    {"CH2": ("CZ2",)} | dict.fromkeys(("NH1", "NH2", "OH"), ("CZ",)),
)
"""Atoms one, two … bonds from Cα, each with the one or two atoms to which it may be bonded."""

_Arrays: TypeAlias = Mapping[str, np.ndarray]
_Mask: TypeAlias = Bool[np.ndarray, "N 37"]
_Values: TypeAlias = Float[np.ndarray, "N 37 K"]


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order, depth = [CA], [0]
    bonded = np.full((len(ATOM37), 2), CA)
    for bonds, level in enumerate(_BONDED, start=1):
        for name, others in level.items():
            order.append(ATOM37_ORDER[name])
            depth.append(bonds)
            bonded[order[-1]] = [ATOM37_ORDER[others[0]], ATOM37_ORDER[others[-1]]]
    return np.array(order), np.array(depth), bonded


_ORDER, _DEPTH, _PARENTS = _tables()


class _Tree:
    """The atom from which each atom of a mask is stored as a difference.

    Attributes:
        residues, anchors: Residues that have atoms, and the flat index of the anchor of each.
        atoms, parents: Flat indices of all other atoms, nearest to Cα first, and of their parents.
        ends: Number of atoms up to each depth.
    """

    def __init__(self, mask: _Mask) -> None:
        ordered = mask[:, _ORDER]
        first = _ORDER[ordered.argmax(axis=1)]
        self.residues = np.flatnonzero(ordered.any(axis=1))
        self.anchors = self.residues * len(ATOM37) + first[self.residues]
        others = ordered.T.copy()
        others[ordered.argmax(axis=1), np.arange(len(mask))] = False
        place, rows = np.nonzero(others)
        slots = _ORDER[place]
        parents = first[rows]
        for candidate in _PARENTS[slots].T[::-1]:
            parents = np.where(mask[rows, candidate], candidate, parents)
        self.atoms = rows * len(ATOM37) + slots
        self.parents = rows * len(ATOM37) + parents
        self.ends = np.searchsorted(_DEPTH[place], np.arange(_DEPTH[-1] + 1), side="right")


def encode_atoms(values: _Values, mask: _Mask, step: float | None) -> dict[str, np.ndarray]:
    """Return atoms as byte planes; values outside `mask` are kept only with `step=None`.

    With a step, the planes are `step`, `anchors` [P, K, N], 0 for residues without atoms, and
    `others` [P, K, all other atoms]. Without one, they are `exact` [bytes of a float, K, atoms] and
    `beyond`, the values outside the mask, which is empty if all of them are zero.

    Args:
        values: K numbers for each atom, e.g. its position (Å); float32 or float64 if `step=None`.
        mask: Which atoms are present.
        step: Grid spacing in Å, or None to keep the positions bit for bit.

    Raises:
        ValueError: An atom is not finite or is more than `MAX_STEPS` steps from the origin, or the
            step or the type is not supported.
    """
    if step is None:
        beyond = split_floats(values[~mask].T)
        # Values outside the mask are usually zero; -0.0 and other numbers are kept too.
        beyond = beyond if beyond.any() else beyond[..., :0]
        return {"exact": split_floats(values[mask].T), "beyond": beyond}
    tree = _Tree(mask)
    flat = np.zeros((mask.size, values.shape[2]))
    flat[mask.ravel()] = _on_grid(values[mask], step)
    anchors = np.zeros((values.shape[2], len(mask)))
    anchors[:, tree.residues] = np.diff(flat[tree.anchors], axis=0, prepend=0).T
    return {
        "step": np.array(step, float),
        "anchors": _split(anchors),
        "others": _split((flat[tree.atoms] - flat[tree.parents]).T),
    }


def decode_atoms(arrays: _Arrays, mask: _Mask, width: int = 3) -> _Values:
    """Return the K = `width` numbers of each atom from `encode_atoms`, to half a step.

    Rounded numbers come back as float64, and as 0 where `mask` is false.

    Raises:
        ValueError: The arrays do not encode atoms with this mask.
    """
    return (_decode_exact if "exact" in arrays else _decode_grid)(arrays, mask, width)


def join_planes(parts: Sequence[Int8[np.ndarray, "_ K _"]]) -> Int8[np.ndarray, "P K M"]:
    """Return planes joined along the last axis; each slice can be decoded separately."""
    deepest = max(map(len, parts))
    deep = [np.pad(part, ((0, deepest - len(part)), (0, 0), (0, 0))) for part in parts]
    return np.concatenate(deep, axis=2)


def encode_pae(pae: Float[np.ndarray, "N N"], step: float | None) -> dict[str, np.ndarray]:
    """Return PAE as byte planes: `pae.rows` [P, N, N], the steps along rows, or `pae.exact`.

    Args:
        pae: Å; float32 or float64 if `step=None`.
        step: Grid spacing in Å, or None to keep the values bit for bit.

    Raises:
        ValueError: The matrix is not square, or a value is not finite or is out of range.
    """
    if pae.ndim != 2 or pae.shape[0] != pae.shape[1]:
        raise ValueError("PAE is not a square matrix")
    if step is None:
        return {"pae.exact": split_floats(pae)}
    rows = np.diff(_on_grid(pae, step), axis=1, prepend=0)
    return {"pae.step": np.array(step, float), "pae.rows": _split(rows)}


def decode_pae(arrays: _Arrays) -> Float[np.ndarray, "N N"]:
    """Return the matrix from `encode_pae`, to half a step.

    Raises:
        ValueError: The arrays do not encode a PAE matrix.
    """
    name = "pae.exact" if "pae.exact" in arrays else "pae.rows"
    planes = _get(arrays, name)
    if planes.ndim != 3 or planes.shape[1] != planes.shape[2]:
        raise ValueError(f"{name} is not a square matrix")
    if name == "pae.exact":
        return join_floats(planes)
    points = np.cumsum(_join(planes), axis=1, dtype=float)
    return _off_grid(points, _step(arrays, "pae.step"))


def encode_structure(structure: Structure, step: float | None) -> dict[str, np.ndarray]:
    """Return a structure, without its name, as arrays.

    Args:
        structure: The structure.
        step: Grid spacing in Å; B factors are then rounded to `B_FACTOR_STEP`. None keeps every
            array and its type bit for bit.

    Raises:
        ValueError: As for `encode_atoms`, or the chain names or insertion codes are not text.
    """
    names = {"insertion_code": structure.insertion_code, "chain_id": structure.chain_id}
    for name, array in names.items():
        if array.dtype.kind != "U":
            raise ValueError(f"{name} is not an array of text")
    mask, numbers = structure.atom_mask, structure.residue_number
    positions = encode_atoms(structure.atom_positions, mask, step)
    b_factor = encode_atoms(structure.b_factor[..., None], mask, step and B_FACTOR_STEP)
    return {
        "aatype": structure.aatype,
        # Differences wrap around just as sums do, so all integers come back.
        "residue_step": np.diff(numbers, prepend=numbers.dtype.type(0)),
        **names,
        "atom_mask": np.packbits(mask, axis=1),
        **{f"atom_positions.{name}": array for name, array in positions.items()},
        **{f"b_factor.{name}": array for name, array in b_factor.items()},
    }


def decode_structure(arrays: _Arrays, name: str) -> Structure:
    """Return the structure from `encode_structure`; other arrays are ignored.

    Raises:
        ValueError: The arrays do not encode a structure.
    """
    mask = unpack_mask(_get(arrays, "atom_mask"))
    size = len(mask)
    aatype = _of_residues(arrays, "aatype", "i", size)
    if size and (aatype.min() < 0 or aatype.max() > UNKNOWN):
        raise ValueError("aatype has codes that are not residues")
    steps = _of_residues(arrays, "residue_step", "i", size)
    return Structure(
        name=name,
        aatype=aatype,
        residue_number=np.cumsum(steps, dtype=steps.dtype),
        insertion_code=_of_residues(arrays, "insertion_code", "U", size),
        chain_id=_of_residues(arrays, "chain_id", "U", size),
        atom_positions=decode_atoms(_within(arrays, "atom_positions"), mask),
        atom_mask=mask,
        b_factor=decode_atoms(_within(arrays, "b_factor"), mask, 1)[..., 0],
    )


def unpack_mask(packed: np.ndarray) -> _Mask:
    """Return the mask that `np.packbits` packed residue by residue into uint8 [N, 5].

    Raises:
        ValueError: It is not a packed mask.
    """
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-len(ATOM37) // 8):
        raise ValueError("atom_mask is not a packed mask")
    return np.unpackbits(packed, axis=1, count=len(ATOM37)).view(bool)


def split_floats(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "P ..."]:
    """Return the bytes of float32 or float64 as planes, the lowest byte first.

    Raises:
        ValueError: The values are of another type.
    """
    if values.dtype not in _FLOATS.values():
        raise ValueError(f"{values.dtype} is neither float32 nor float64")
    little = np.ascontiguousarray(values, _FLOATS[values.dtype.itemsize])
    planes = little.reshape(-1).view(np.uint8).reshape(-1, little.itemsize).T
    return np.ascontiguousarray(planes).reshape(little.itemsize, *values.shape)


def join_floats(planes: np.ndarray) -> Float[np.ndarray, "*shape"]:
    """Return the values from `split_floats`, bit for bit; `planes` are uint8 [P, …].

    Raises:
        ValueError: The planes are not the bytes of float32 or float64.
    """
    if planes.dtype != np.uint8 or not planes.ndim or len(planes) not in _FLOATS:
        raise ValueError("these are not the bytes of floating-point numbers")
    rows = np.ascontiguousarray(planes.reshape(len(planes), -1).T)
    return rows.view(_FLOATS[len(planes)]).reshape(planes.shape[1:])


def _decode_exact(arrays: _Arrays, mask: _Mask, width: int) -> _Values:
    present, beyond = (join_floats(_get(arrays, name)) for name in ("exact", "beyond"))
    kept = int(mask.sum())
    if (
        present.shape != (width, kept)
        or beyond.shape not in ((width, 0), (width, mask.size - kept))
        or beyond.dtype != present.dtype
    ):
        raise ValueError(_OTHER_MASK)
    values = np.zeros((*mask.shape, width), present.dtype)
    values[mask] = present.T
    if beyond.size:
        values[~mask] = beyond.T
    return values


def _decode_grid(arrays: _Arrays, mask: _Mask, width: int) -> _Values:
    tree = _Tree(mask)
    step = _step(arrays, "step")
    anchors, others = _get(arrays, "anchors"), _get(arrays, "others")
    sizes = anchors.shape[1:], others.shape[1:]
    if sizes != ((width, len(mask)), (width, len(tree.atoms))):
        raise ValueError(_OTHER_MASK)
    flat = np.zeros((mask.size, width))  # integers, which float64 adds exactly
    flat[tree.anchors] = np.cumsum(_join(anchors), axis=1).T[tree.residues]
    steps = _join(others).T
    start = 0
    for end in tree.ends.tolist():
        flat[tree.atoms[start:end]] = flat[tree.parents[start:end]] + steps[start:end]
        start = end
    return _off_grid(flat, step).reshape(*mask.shape, width)


def _on_grid(values: Float[np.ndarray, "*shape"], step: float) -> Float[np.ndarray, "*shape"]:
    if not 0 < step <= _MAX_STEP:
        raise ValueError(f"a step of {step} is not above 0 and up to {_MAX_STEP}")
    points: np.ndarray = np.rint(values.astype(float) / step)
    _check_range(points)
    return points


def _off_grid(points: Float[np.ndarray, "*shape"], step: float) -> Float[np.ndarray, "*shape"]:
    _check_range(points)
    points *= step
    return points


def _check_range(points: Float[np.ndarray, "*shape"]) -> None:
    if points.size and not (points.min() >= -MAX_STEPS and points.max() <= MAX_STEPS):
        raise ValueError("a value is not finite or is out of range")  # NaN compares as false


def _split(values: Float[np.ndarray, "*shape"]) -> Int8[np.ndarray, "P ..."]:
    """Return digits to the base 256, from -128 to 127, lowest first, as few as suffice.

    With balanced digits, small numbers of either sign have zeros in all planes after the first.
    """
    planes: list[np.ndarray] = []
    rest = values.astype(np.int64)
    while not planes or rest.any():
        planes.append(rest.astype(np.int8))  # the low byte
        rest = (rest - planes[-1]) >> 8
    return np.stack(planes)


def _join(planes: np.ndarray) -> Int[np.ndarray, "*shape"]:
    """Return the integers from the planes of `_split`, int8 [P, …]."""
    if planes.dtype != np.int8 or not 1 <= len(planes) <= _MAX_PLANES:
        raise ValueError("these are not the digits of integers")
    values: np.ndarray = planes[-1].astype(np.int64)
    for plane in planes[-2::-1]:
        values = (values << 8) + plane
    return values


def _step(arrays: _Arrays, name: str) -> float:
    step = _get(arrays, name)
    if step.dtype.kind != "f" or step.shape or not 0 < float(step) <= _MAX_STEP:
        raise ValueError(f"{name} is not a step")
    return float(step)


def _get(arrays: _Arrays, name: str) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    return arrays[name]


def _of_residues(arrays: _Arrays, name: str, kinds: str, size: int) -> np.ndarray:
    array = _get(arrays, name)
    if array.dtype.kind not in kinds or array.shape != (size,):
        raise ValueError(f"{name} has the wrong number of residues or the wrong type")
    return array


def _within(arrays: _Arrays, name: str) -> _Arrays:
    """Return the arrays whose names start with this one and a dot, by the rest of the name."""
    pairs = [(key.partition("."), array) for key, array in arrays.items()]
    return {rest: array for (start, _, rest), array in pairs if start == name}

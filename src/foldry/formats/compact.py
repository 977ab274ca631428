"""Atoms and PAE as small integers in byte planes, which zlib and lzma compress well.

Positions are rounded onto one grid of `step` Å. Every atom is then kept as the exact difference of
its grid point from that of the atom it is bonded to, so that rounding does not add up. Residues
follow each other by their anchors: the Cα, or where it is missing another atom. With `step=None`
nothing is rounded: float32 and float64 come back bit for bit.

All functions take and return plain arrays, whose sizes follow from the mask; none needs pickle.
Decoding arrays that are damaged raises ValueError and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, UInt8

from foldry.residues import ATOM37, ATOM37_ORDER, CA, UNKNOWN
from foldry.structure import Structure

B_FACTOR_STEP: Final = 0.01
"""Grid of B-factors and pLDDT, where they are rounded."""
MAX_STEPS: Final = 10**9
"""Largest grid point: differences of two then fit in four balanced digits."""
_MAX_PLANES: Final = 4
_MAX_STEP: Final = 1000.0
_FLOATS: Final[dict[int, np.dtype[Any]]] = {4: np.dtype("<f4"), 8: np.dtype("<f8")}
_OTHER_MASK: Final = "atoms are not as many as the mask says"
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
"""By the number of bonds from Cα: the atoms that each may be bonded to, at most two."""

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
    """Which atom each atom of a mask is kept as the difference from.

    Attributes:
        residues, anchors: The residues that have atoms, and the flat index of the anchor of each.
        atoms, parents: Flat indices of all other atoms, nearest to Cα first, and of their parents.
        ends: Of each depth, the number of atoms up to it.
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
    """Atoms as byte planes; what `mask` leaves out is kept only with `step=None`.

    With a step these are `step`, `anchors` [P, K, N], 0 for residues without atoms, and `others`
    [P, K, all other atoms]; without one `exact` [bytes of a float, K, atoms] and `beyond`, what
    the mask leaves out, empty where that is all zero.

    Args:
        values: K numbers of each atom, as its position (Å); with `step=None` float32 or float64.
        mask: Which atoms are present.
        step: Å between two grid points, or None to keep the positions bit for bit.

    Raises:
        ValueError: An atom is not finite or is more than `MAX_STEPS` steps from the origin, or the
            step or the type is none that can be kept.
    """
    if step is None:
        beyond = split_floats(values[~mask].T)
        # Beyond the mask all is zero as a rule, though -0.0 or a number is kept too.
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
    """The K = `width` numbers of each atom that `encode_atoms` was given, to half a step.

    Rounded ones come back as float64, and as 0 where `mask` is false.

    Raises:
        ValueError: The arrays are not those of atoms with this mask.
    """
    return (_decode_exact if "exact" in arrays else _decode_grid)(arrays, mask, width)


def join_planes(parts: Sequence[Int8[np.ndarray, "_ K _"]]) -> Int8[np.ndarray, "P K M"]:
    """Planes of several masks in a row, of which a slice of the last axis is decoded by itself."""
    deepest = max(map(len, parts))
    deep = [np.pad(part, ((0, deepest - len(part)), (0, 0), (0, 0))) for part in parts]
    return np.concatenate(deep, axis=2)


def encode_pae(pae: Float[np.ndarray, "N N"], step: float | None) -> dict[str, np.ndarray]:
    """PAE as byte planes `pae.rows` [P, N, N] of the steps along rows, or `pae.exact` [P, N, N].

    Args:
        pae: Å; with `step=None` float32 or float64.
        step: Å between two values that are told apart, or None to keep them bit for bit.

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
    """The matrix that `encode_pae` was given, to half a step.

    Raises:
        ValueError: The arrays are not those of a PAE matrix.
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
    """All of a structure but its name.

    Args:
        structure: The structure.
        step: Å between two grid points; B-factors are then rounded to `B_FACTOR_STEP`. None keeps
            every array and its type bit for bit.

    Raises:
        ValueError: As for `encode_atoms`; or names of chains are no arrays of text.
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
        # Differences wrap around as sums do: all integers come back.
        "residue_step": np.diff(numbers, prepend=numbers.dtype.type(0)),
        **names,
        "atom_mask": np.packbits(mask, axis=1),
        **{f"atom_positions.{name}": array for name, array in positions.items()},
        **{f"b_factor.{name}": array for name, array in b_factor.items()},
    }


def decode_structure(arrays: _Arrays, name: str) -> Structure:
    """The structure that `encode_structure` was given; other arrays are passed over.

    Raises:
        ValueError: The arrays are not those of a structure.
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
    """The mask that `np.packbits` packed residue by residue, as uint8 [N, 5].

    Raises:
        ValueError: It is not a packed mask.
    """
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-len(ATOM37) // 8):
        raise ValueError("atom_mask is not a packed mask")
    return np.unpackbits(packed, axis=1, count=len(ATOM37)).view(bool)


def split_floats(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "P ..."]:
    """The bytes of float32 or float64, the lowest of all values first.

    Raises:
        ValueError: The values are of another type.
    """
    if values.dtype not in _FLOATS.values():
        raise ValueError(f"{values.dtype} is neither float32 nor float64")
    little = np.ascontiguousarray(values, _FLOATS[values.dtype.itemsize])
    planes = little.reshape(-1).view(np.uint8).reshape(-1, little.itemsize).T
    return np.ascontiguousarray(planes).reshape(little.itemsize, *values.shape)


def join_floats(planes: np.ndarray) -> Float[np.ndarray, "*shape"]:
    """The values that `split_floats` was given, bit for bit; `planes` are its uint8 [P, …].

    Raises:
        ValueError: These are no planes of float32 or float64.
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
    flat = np.zeros((mask.size, width))  # whole numbers, which float64 adds exactly
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
    """Digits from -128 to 127 to the base 256, the lowest first, no more than are needed.

    Small numbers of either sign have a first digit and zeros.
    """
    planes: list[np.ndarray] = []
    rest = values.astype(np.int64)
    while not planes or rest.any():
        planes.append(rest.astype(np.int8))  # the low byte
        rest = (rest - planes[-1]) >> 8
    return np.stack(planes)


def _join(planes: np.ndarray) -> Int[np.ndarray, "*shape"]:
    """The whole numbers of `_split`'s int8 [P, …]."""
    if planes.dtype != np.int8 or not 1 <= len(planes) <= _MAX_PLANES:
        raise ValueError("these are not the digits of whole numbers")
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
        raise ValueError(f"{name} is not of so many residues, or of another type")
    return array


def _within(arrays: _Arrays, name: str) -> _Arrays:
    """The arrays whose names begin with this one and a dot, by the rest of their names."""
    pairs = [(key.partition("."), array) for key, array in arrays.items()]
    return {rest: array for (start, _, rest), array in pairs if start == name}

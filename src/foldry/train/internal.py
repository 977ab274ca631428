"""Atoms as distances and angles from the atoms before them: small integers, which compress well.

An atom is placed in the frame of three atoms that were placed before it, as a distance from the
third, an angle from the line of the second and third, and an angle about that line. Each is a whole
number of steps of `STEP` on its own arc, so that no atom is further than about `STEP`·√3/2 from
where it was. The frames are those of the rounded atoms: rounding does not add up along a chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from foldry.errors import InputError
from foldry.features.known_atoms import frames_from_points
from foldry.residues import ATOM37_GROUP, ATOM37_MASK, CA, CB, CHI_ATOM_INDICES, C, N, O

STEP: Final = 0.02
"""Å between two places that are told apart."""
KINDS: Final = ("first", "n", "ca", "c", "o", "cb", "chi", "rigid", "other")
"""Atoms of one kind have similar numbers and are kept together."""
_BACKBONE: Final = (
    ("n", N, ((-1, N), (-1, CA), (-1, C))),
    ("ca", CA, ((-1, CA), (-1, C), (0, N))),
    ("c", C, ((-1, C), (0, N), (0, CA))),
)
"""Kind, atom and its references: the step to their residue, and the atom."""
_FIRST_SIDE_GROUP: Final = 4


@dataclass(frozen=True)
class Chains:
    """What is known of some chains beside the places of their atoms.

    Attributes:
        aatype: Codes of the residues of all chains.
        residue_index: One more along a peptide bond.
        mask: Which atoms are known; every residue has a Cα.
        offsets: Where each chain begins, and the end of the last.
    """

    aatype: Int[np.ndarray, " R"]
    residue_index: Int[np.ndarray, " R"]
    mask: Bool[np.ndarray, "R 37"]
    offsets: Int[np.ndarray, " C1"]


@dataclass(frozen=True)
class _Places:
    """Atoms that are placed at once: residues, atoms, and three atoms of earlier places for each.

    The references are (residue, atom) pairs of arrays: one towards which the angle about the line
    is zero, the line's beginning, and its end, from which distances are measured.
    """

    kind: str
    residues: Int[np.ndarray, " P"]
    atoms: Int[np.ndarray, " P"]
    references: tuple[tuple[np.ndarray, np.ndarray], ...]


def encode(
    positions: Float[np.ndarray, "R 37 3"], chains: Chains
) -> tuple[Float[np.ndarray, "C 3"], dict[str, UInt8[np.ndarray, "3 2 P"]]]:
    """The first Cα of each chain (Å), and the numbers of all other atoms by kind.

    Of the numbers of one kind come first all distances, then both angles; of each all low bytes,
    then all high ones.

    Raises:
        InputError: Two atoms are further apart than the numbers reach, about 200 Å.
    """
    start = positions[chains.offsets[:-1], CA].astype(np.float32)
    placed = _begin(start, chains)
    numbers: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for places in _order(chains):
        rotation, origin = _frames(placed, chains.mask, places)
        local = np.einsum("pji,pj->pi", rotation, positions[places.residues, places.atoms] - origin)
        steps = _steps(local)
        placed[places.residues, places.atoms] = origin + np.einsum(
            "pij,pj->pi", rotation, _local(steps)
        )
        numbers[places.kind].append(steps)
    planes = {}
    for kind, parts in numbers.items():
        whole = np.concatenate([np.zeros((3, 0)), *parts], axis=1)
        if np.abs(whole).max(initial=0) > np.iinfo(np.int16).max:
            raise InputError("Atoms that follow each other are too far apart: leave the chain out.")
        short = whole.astype("<i2")
        planes[kind] = np.moveaxis(short.view(np.uint8).reshape(*short.shape, 2), 2, 1)
    return start, planes


def decode(
    start: Float[np.ndarray, "C 3"],
    planes: dict[str, UInt8[np.ndarray, "3 2 P"]],
    chains: Chains,
) -> Float[np.ndarray, "R 37 3"]:
    """The atoms (Å) that `encode` was given, to about `STEP`·√3/2; 0 where `mask` is false."""
    numbers = {
        kind: np.ascontiguousarray(np.moveaxis(planes[kind], 1, 2)).view("<i2")[..., 0]
        for kind in KINDS
    }
    read = dict.fromkeys(KINDS, 0)
    placed = _begin(start, chains)
    for places in _order(chains):
        rotation, origin = _frames(placed, chains.mask, places)
        first = read[places.kind]
        read[places.kind] += len(places.residues)
        steps = numbers[places.kind][:, first : read[places.kind]].astype(float)
        placed[places.residues, places.atoms] = origin + np.einsum(
            "pij,pj->pi", rotation, _local(steps)
        )
    return placed


def _begin(start: np.ndarray, chains: Chains) -> np.ndarray:
    placed = np.zeros((*chains.mask.shape, 3))
    placed[chains.offsets[:-1], CA] = start
    return placed


def _order(chains: Chains) -> Iterator[_Places]:
    """Every atom but the first Cα of each chain, after the atoms that it is placed by."""
    mask, first = chains.mask, chains.offsets[:-1]
    for atom in (N, C):
        yield _within("first", first[mask[first, atom]], atom, (CA, CA, CA))
    lengths = np.diff(chains.offsets)
    for place in range(1, lengths.max(initial=0)):
        present = first[lengths > place] + place
        for kind, atom, steps in _BACKBONE:
            rows = present[mask[present, atom]]
            pairs = tuple((rows + step, np.full(len(rows), other)) for step, other in steps)
            yield _Places(kind, rows, np.full(len(rows), atom), pairs)

    bonded = np.append(np.diff(chains.residue_index) == 1, False)
    bonded[chains.offsets[1:] - 1] = False
    bonded &= np.append(mask[1:, N], False)
    rows = np.flatnonzero(mask[:, O] & bonded)
    here = _within("o", rows, O, (N, CA, C))
    yield _Places("o", rows, here.atoms, ((rows + 1, here.references[0][1]), *here.references[1:]))
    yield _within("o", np.flatnonzero(mask[:, O] & ~bonded), O, (N, CA, C))
    yield _within("cb", np.flatnonzero(mask[:, CB]), CB, (N, C, CA))

    rest = mask.copy()
    rest[:, [N, CA, C, O, CB]] = False
    for kind, code, atom, references in _SIDE_CHAINS:
        rows = np.flatnonzero(rest[:, atom] & (chains.aatype == code))
        rest[rows, atom] = False
        yield _within(kind, rows, atom, references)
    for atom in np.flatnonzero(rest.any(axis=0)).tolist():
        yield _within("other", np.flatnonzero(rest[:, atom]), atom, (N, C, CA))


def _within(kind: str, rows: np.ndarray, atom: int, references: tuple[int, int, int]) -> _Places:
    """One atom of some residues, placed by three others of the same residue."""
    pairs = tuple((rows, np.full(len(rows), other)) for other in references)
    return _Places(kind, rows, np.full(len(rows), atom), pairs)


def _side_chains() -> list[tuple[str, int, int, tuple[int, int, int]]]:
    """Kind, amino acid, atom and references of all side-chain atoms after CB.

    The atom that a chi angle turns is placed by the other three of the angle, the rest of its
    rigid group by it and the two atoms of the angle's bond.
    """
    table = []
    for group in range(_FIRST_SIDE_GROUP, 8):
        for kind in ("chi", "rigid"):
            for code, atom in np.argwhere((ATOM37_MASK > 0) & (group == ATOM37_GROUP)).tolist():
                before, second, third, turned = CHI_ATOM_INDICES[code, group - 4].tolist()
                if (atom == turned) == (kind == "chi"):
                    seen_from = before if kind == "chi" else turned
                    table.append((kind, code, atom, (seen_from, second, third)))
    return table


_SIDE_CHAINS: Final = _side_chains()


def _frames(
    placed: np.ndarray, mask: np.ndarray, places: _Places
) -> tuple[Float[np.ndarray, "P 3 3"], Float[np.ndarray, "P 3"]]:
    """Axes and origin of each place; where a reference is unknown, the world's axes at a Cα."""
    towards, begin, end = (placed[pair] for pair in places.references)
    known = np.logical_and.reduce([mask[pair] for pair in places.references])
    frames = frames_from_points(begin, end, towards)
    rotation, origin = frames[..., :3], frames[..., 3]
    # Atoms on one line have no frame.
    known &= (rotation[..., 1] ** 2).sum(-1) > 0.99
    rotation[~known] = np.eye(3)
    nearest = places.residues - (places.kind in ("n", "ca"))
    return rotation, np.where(known[:, None], origin, placed[nearest, CA])


def _steps(local: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "3 P"]:
    """Distance, angle from the x-axis and angle about it, in steps along their own arcs."""
    x, y, z = local.T
    distance = np.rint(np.linalg.norm(local, axis=1) / STEP)
    angle = np.rint(np.arctan2(np.hypot(y, z), x) * np.maximum(distance, 1))
    radius = _radius(distance, angle)
    return np.stack([distance, angle, np.rint(np.arctan2(z, y) % (2 * np.pi) * radius)])


def _radius(distance: np.ndarray, angle: np.ndarray) -> Float[np.ndarray, " P"]:
    """Distance from the x-axis, in steps, at least one."""
    radius: np.ndarray = np.maximum(distance * np.sin(angle / np.maximum(distance, 1)), 1.0)
    return radius


def _local(steps: Float[np.ndarray, "3 P"]) -> Float[np.ndarray, "P 3"]:
    """Å in the frame, of what `_steps` gives."""
    distance, angle, turn = steps
    from_x = angle / np.maximum(distance, 1)
    about_x = turn / _radius(distance, angle)
    across = distance * np.sin(from_x)
    local = [distance * np.cos(from_x), across * np.cos(about_x), across * np.sin(about_x)]
    scaled: np.ndarray = np.stack(local, axis=1) * STEP
    return scaled

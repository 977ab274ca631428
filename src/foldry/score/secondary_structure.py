"""Secondary structure by the rules of Kabsch and Sander, as the program DSSP applies them.

The rules are those of the paper (Biopolymers 1983, 22, 2577) with the two changes that DSSP has
made since: π-helices take precedence over α-helices, and loops in the conformation of polyproline
are κ-helices, also called P-II (Hekkelman et al., Protein Sci. 2025, 34, e70208).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.errors import InputError
from foldry.features.known_atoms import torsion_sin_cos
from foldry.residues import CA, RESTYPE_ORDER, C, N, O
from foldry.score.neighbours import near_pairs
from foldry.structure import Structure

_LONGEST_PEPTIDE_BOND: Final = 2.5
"""A larger distance of C and N breaks the chain, Å."""
_NEAR: Final = 9.0
"""Residues with Cα further apart have no hydrogen bond, Å."""
_CROWDED: Final = 50.0
"""Residues in a cube of 9 Å; proteins have about 5, and more take memory without bounds."""
_TOO_NEAR: Final = 0.5
"""Atoms nearer than this count as a bond of the lowest energy, Å."""
_LOWEST: Final = -9.9
_HIGHEST: Final = -0.5
"""Bounds of the energy of a hydrogen bond, kcal/mol."""
_COUPLING: Final = 0.42 * 0.20 * 332
"""Product of the partial charges of CO and NH times the conversion to kcal/mol, in Å·kcal/mol."""
_BEND: Final = 70.0
"""Smallest angle of the directions of Cα i−2 → i and i → i+2 in a bend, degrees."""
_PHI_PSI: Final = (-75.0, 145.0)
_WIDTH: Final = 29.0
_STRETCH: Final = 3
"""A polyproline helix is this many residues whose phi and psi are within 29° of `_PHI_PSI`."""
_SHORTEST: Final = 1e-6
"""Lengths below this are set to it, Å."""
_PROLINE: Final = RESTYPE_ORDER["P"]


def secondary_structure(structure: Structure) -> str:
    """Return the secondary structure, one letter of DSSP for each residue.

    The letters are H (α-helix), B (isolated β-bridge), E (strand of a ladder), G (3₁₀-helix),
    I (π-helix), P (polyproline helix), T (hydrogen-bonded turn), S (bend) and - (none of these).
    A residue that lacks N, CA, C or O has the letter -, and breaks the chain. A structure whose
    residues lie on top of each other has no other letters.

    Raises:
        InputError: A coordinate is not finite.

    Example:
        >>> from foldry import read_structure
        >>> secondary_structure(read_structure("examples/kunitz/1adz.cif"))[16:40]
        '----EEEEEGGGTEEEEE----SS'
    """
    whole = np.flatnonzero(structure.atom_mask[:, [N, CA, C, O]].all(axis=1))
    letters = np.full(len(structure), "-")
    atoms = structure.atom_positions[whole][:, [N, CA, C, O]].astype(np.float64)
    if not np.isfinite(atoms).all():
        raise InputError("A coordinate is not a finite number", "fix the structure")
    ca = atoms[:, 1]
    if len(whole) and _crowding(ca) < _CROWDED:
        chain = structure.chain_id[whole]
        broken = _length(atoms[1:, 0] - atoms[:-1, 2]) > _LONGEST_PEPTIDE_BOND
        segment = np.append(0, np.cumsum(broken | (chain[1:] != chain[:-1])))
        near = np.stack(near_pairs(ca, _NEAR)[:2])
        donor = structure.aatype[whole] != _PROLINE
        bonds = _hydrogen_bonds(atoms, segment, donor, near)
        turns = {length: _turns(bonds, segment, length) for length in (3, 4, 5)}
        found = _helices(_strands(bonds, segment, near), turns)
        inside = np.any([_repeated(starts, 1, length) for length, starts in turns.items()], axis=0)
        loops = inside, _bends(ca, segment), _polyproline(atoms, segment)
        letters[whole] = np.where(found == "-", np.select(loops, ["T", "S", "P"], "-"), found)
    return "".join(letters.tolist())


def _crowding(ca: Float[np.ndarray, "M 3"]) -> float:
    """Return the mean number of residues in the cube of a residue, whose edges are 9 Å long."""
    cubes = np.floor(ca / _NEAR) @ (1.0, 1e4, 1e8)
    _, counts = np.unique(cubes, return_counts=True)
    return float(np.square(counts).sum() / len(ca))


def _hydrogen_bonds(
    atoms: Float[np.ndarray, "M 4 3"],
    segment: Int[np.ndarray, " M"],
    donor: Bool[np.ndarray, " M"],
    near: Int[np.ndarray, "2 P"],
) -> Int[np.ndarray, "M 2"]:
    """Return the residues whose CO the NH of each residue is bound to; −1 for none.

    The hydrogen is 1 Å from N, opposite to the CO of the residue before. Of several bonds the two
    of the lowest energy count.
    """
    n, _, c, o = atoms.transpose(1, 0, 2)
    donor = donor & (np.append(-1, segment[:-1]) == segment)
    back = c[:-1] - o[:-1]
    hydrogen = n.copy()
    hydrogen[1:] += back / _length(back)[:, None]
    first, second = near
    forward = second != first + 1  # NH to the CO of the residue before is the peptide bond itself
    one = np.concatenate([first, second[forward]])
    other = np.concatenate([second, first[forward]])
    kept = donor[one]
    one, other = one[kept], other[kept]
    nh_co = hydrogen[one], n[one], c[other], o[other]
    inverse = [1 / _length(nh_co[a] - nh_co[b]) for a, b in ((0, 2), (0, 3), (1, 3), (1, 2))]
    hc, ho, no, nc = inverse
    energy = _COUPLING * (hc - ho + no - nc)
    energy[np.maximum.reduce(inverse) > 1 / _TOO_NEAR] = _LOWEST
    energy = np.maximum(np.round(energy, 3), _LOWEST)
    bound = energy < _HIGHEST
    one, other, energy = one[bound], other[bound], energy[bound]
    order = np.lexsort((other, energy, one))
    one, other = one[order], other[order]
    place = np.arange(len(one)) - np.searchsorted(one, one)
    bonds = np.full((len(n), 2), -1)
    bonds[one[place < 2], place[place < 2]] = other[place < 2]
    return bonds


def _strands(
    bonds: Int[np.ndarray, "M 2"], segment: Int[np.ndarray, " M"], near: Int[np.ndarray, "2 P"]
) -> list[str]:
    """Return E for residues of ladders, B for those of single bridges, and - for all others."""
    num = len(bonds)
    inner = np.zeros(num, bool)
    inner[1:-1] = segment[2:] == segment[:-2]
    i, j = near[:, np.lexsort(near[::-1])]
    kept = (j >= i + 3) & inner[i] & inner[j]
    i, j = i[kept], j[kept]

    def bound(one: Int[np.ndarray, " P"], other: Int[np.ndarray, " P"]) -> Bool[np.ndarray, " P"]:
        return np.asarray((bonds[one, 0] == other) | (bonds[one, 1] == other))

    parallel = bound(i + 1, j) & bound(j, i - 1) | bound(j + 1, i) & bound(i, j - 1)
    anti = bound(i + 1, j - 1) & bound(j + 1, i - 1) | bound(j, i) & bound(i, j)
    letters = ["-"] * num
    ladders = []
    for is_parallel, chosen in ((True, parallel), (False, anti & ~parallel)):
        ladders += _joined(_ladders(i[chosen], j[chosen], is_parallel), segment, is_parallel)
    for letter in "BE":
        for first, last, low, high in ladders:
            if (first < last) == (letter == "E"):
                letters[first : last + 1] = letter * (last + 1 - first)
                letters[low : high + 1] = letter * (high + 1 - low)
    return letters


_Ladder = tuple[int, int, int, int]
"""First and last residue of one strand, and of the other."""


def _ladders(
    i: Int[np.ndarray, " B"], j: Int[np.ndarray, " B"], is_parallel: bool
) -> list[_Ladder]:
    """Return the ladders of consecutive bridges i–j, which are sorted."""
    step = 1 if is_parallel else -1
    started: dict[tuple[int, int], tuple[int, int]] = {}
    for bridge in zip(i.tolist(), j.tolist(), strict=True):
        before = bridge[0] - 1, bridge[1] - step
        started[bridge] = started.pop(before, bridge)
    ladders = [
        (first, last, min(one, other), max(one, other))
        for (last, other), (first, one) in started.items()
    ]
    return sorted(ladders, key=lambda ladder: ladder[0])


def _joined(
    ladders: list[_Ladder], segment: Int[np.ndarray, " M"], is_parallel: bool
) -> list[_Ladder]:
    """Join ladders that a bulge divides: at most four residues of one strand, one of the other."""
    joined = []
    while ladders:
        (first, last, low, high), *others = ladders
        ladders = []
        for number, (start, end, bottom, top) in enumerate(others):
            if start >= last + 6:
                ladders += others[number:]
                break
            gap = bottom - high if is_parallel else low - top
            is_bulge = 0 <= gap < 3 or (0 <= gap < 6 and start - last < 3)
            whole = segment[first] == segment[max(last, end)]
            whole &= segment[min(low, bottom)] == segment[max(high, top)]
            if start > last and is_bulge and whole:
                last = end
                low, high = (low, top) if is_parallel else (bottom, high)
            else:
                ladders.append((start, end, bottom, top))
        joined.append((first, last, low, high))
    return joined


def _bends(ca: Float[np.ndarray, "M 3"], segment: Int[np.ndarray, " M"]) -> Bool[np.ndarray, " M"]:
    """Return which residues are in the middle of a bend of five."""
    bends = np.zeros(len(ca), bool)
    steps = ca[2:] - ca[:-2]
    one, other = steps[:-2], steps[2:]
    cosine = np.einsum("mi,mi->m", one, other) / (_length(one) * _length(other))
    bends[2:-2] = (cosine < np.cos(np.radians(_BEND))) & (segment[4:] == segment[:-4])
    return bends


def _turns(
    bonds: Int[np.ndarray, "M 2"], segment: Int[np.ndarray, " M"], length: int
) -> Bool[np.ndarray, " M"]:
    """Return where turns start: the NH of residue i + `length` is bound to the CO of i."""
    starts = np.zeros(len(bonds), bool)
    found = (bonds[length:] == np.arange(len(bonds[length:]))[:, None]).any(axis=1)
    starts[: len(found)] = found & (segment[length:] == segment[: len(found)])
    return starts


def _repeated(starts: Bool[np.ndarray, " M"], first: int, end: int) -> Bool[np.ndarray, " M"]:
    """Return which residues are `first` to `end` − 1 residues after a start."""
    found = np.zeros_like(starts)
    for shift in range(first, end):
        found[shift:] |= starts[: max(len(starts) - shift, 0)]
    return found


def _helices(letters: list[str], turns: Mapping[int, Bool[np.ndarray, " M"]]) -> np.ndarray:
    """Add helices to strands: two consecutive turns, from the second one's start on."""
    for length, letter, over in ((4, "H", {*"-BEH"}), (3, "G", {*"-G"}), (5, "I", {*"-IH"})):
        starts = turns[length]
        for start in (np.flatnonzero(starts[1:] & starts[:-1]) + 1).tolist():
            inside = slice(start, start + length)
            if over.issuperset(letters[inside]):
                letters[inside] = letter * length
    return np.array(letters)


def _polyproline(
    atoms: Float[np.ndarray, "M 4 3"], segment: Int[np.ndarray, " M"]
) -> Bool[np.ndarray, " M"]:
    """Return which residues are in a stretch of three with phi and psi of polyproline."""
    n, ca, c, _ = atoms.transpose(1, 0, 2)
    inner = np.zeros(len(n), bool)
    phi = np.stack([c[:-2], n[1:-1], ca[1:-1], c[1:-1]], axis=1)
    psi = np.stack([n[1:-1], ca[1:-1], c[1:-1], n[2:]], axis=1)
    sin_cos = torsion_sin_cos(np.stack([phi, psi], axis=1))
    angles = np.degrees(np.arctan2(sin_cos[..., 0], sin_cos[..., 1]))
    inner[1:-1] = (np.abs(angles - _PHI_PSI) <= _WIDTH).all(axis=1)
    inner[1:-1] &= segment[2:] == segment[:-2]
    starts = np.zeros(len(n), bool)
    starts[:-2] = inner[2:] & inner[1:-1] & inner[:-2]
    return _repeated(starts, 0, _STRETCH)


def _length(vectors: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, " P"]:
    """Return the lengths, which are never 0."""
    return np.asarray(np.maximum(np.sqrt(np.einsum("pi,pi->p", vectors, vectors)), _SHORTEST))

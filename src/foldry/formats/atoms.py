"""The amino acids of a structure file, whose atoms are put in order by chain and residue.

Programs interrupt chains by others, write alternates in blocks, put solvent between residues, and
give several chains one name. The atoms of a chain are therefore collected first: a second chain of
the same name begins only where an atom occurs twice. Equal atoms at the same place are one atom,
and atoms that share their occupancy are alternates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain as chained
from itertools import groupby, pairwise
from typing import Final, NamedTuple, TypeAlias

import gemmi

from foldry.residues import ATOM_SYNONYMS, SYNONYMS

_BACKBONE: Final = {"N", "CA", "C"}
_FULL: Final = 1.01
"""Limit on the occupancies of two alternates together."""
_Run: TypeAlias = "list[int]"
"""Neighbouring rows of one residue."""


@dataclass
class Atoms:
    """Columns of the atoms of a file, as texts.

    Attributes:
        model: Name or number of the model.
        chain: Chain name.
        part: Part of the file in which the chain stands, which ends at TER in PDB files and is
            label_asym_id in mmCIF; "" for atoms that may follow TER, which are HETATM.
        number: Residue number and insertion code.
        monomer: Residue name.
        atom: Atom name.
        altloc: Name of the alternate location.
        occupancy: Occupancy.
        position: The three coordinates.
    """

    model: Sequence[str] = field(default_factory=list)
    chain: Sequence[str] = field(default_factory=list)
    part: Sequence[str] = field(default_factory=list)
    number: Sequence[str] = field(default_factory=list)
    monomer: list[str] = field(default_factory=list)
    atom: list[str] = field(default_factory=list)
    altloc: Sequence[str] = field(default_factory=list)
    occupancy: Sequence[str] = field(default_factory=list)
    position: Sequence[tuple[str, ...]] = field(default_factory=list)


class ChainRows(NamedTuple):
    """A chain of a model, and the rows of its atoms in order."""

    model: str
    name: str
    rows: list[int]


@lru_cache(10_000)
def is_amino_acid(name: str) -> bool:
    """Return whether a residue name is an amino acid's in gemmi's table."""
    return bool(gemmi.find_tabulated_residue(name).is_amino_acid())


def amino_acids(atoms: Atoms, sequence: Collection[str]) -> tuple[list[int], set[int], set[str]]:
    """Give residues and atoms their standard names, and choose the amino acids.

    An amino acid has a known name, is listed in `sequence`, or has the atoms N, CA and C.

    Returns:
        The rows of amino acids, the rows of renamed residues, and the synonyms for which residues
        of the sequence that have no atoms are renamed, too.
    """
    names = set(atoms.monomer)
    plain = {name for name in names if is_amino_acid(name) or name in sequence} - SYNONYMS.keys()
    residues: dict[tuple[str, str, str, str], list[int]] = {}
    if plain < names:
        keys = zip(atoms.model, atoms.chain, atoms.number, atoms.monomer, strict=True)
        for row, key in enumerate(keys):
            if key[3] not in plain:
                residues.setdefault(key, []).append(row)
    kept = [name in plain for name in atoms.monomer]
    renamed, other = set(), set()
    for (*_, name), rows in residues.items():
        has = {atoms.atom[row] for row in rows}
        # In the chemical component dictionary, HSE is homoserine, with OD.
        if name in SYNONYMS and "CA" in has and not (name == "HSE" and "OD" in has):
            renamed.update(rows)
            for row in rows:
                atoms.monomer[row] = SYNONYMS[name]
        else:
            other.add(name)
            known = gemmi.find_tabulated_residue(name).found()
            if name not in sequence and (known or not has >= _BACKBONE):
                continue
        for row in rows:
            kept[row] = True
    if not ATOM_SYNONYMS.keys().isdisjoint(zip(atoms.monomer, atoms.atom, strict=True)):
        for row, pair in enumerate(zip(atoms.monomer, atoms.atom, strict=True)):
            atoms.atom[row] = ATOM_SYNONYMS.get(pair, pair[1])
    rows = [row for row, keep in enumerate(kept) if keep]
    return rows, renamed, SYNONYMS.keys() - other


def arrange(atoms: Atoms, rows: Sequence[int], labelled: bool = False) -> list[ChainRows]:
    """Return the chains of each model, in the order in which they begin, with unique names.

    Args:
        atoms: Columns of the file.
        rows: The rows to arrange.
        labelled: Whether the parts are chains by another name, and thus not in one numbering.
    """
    latest: dict[tuple[str, str], _Chain] = {}
    made: list[tuple[str, str, _Chain]] = []

    def begin(place: tuple[str, str]) -> _Chain:
        latest[place] = chain = _Chain(atoms)
        made.append((*place, chain))
        return chain

    for interrupted, piece in _pieces(atoms, rows):
        first = piece[0][0]
        place = atoms.model[first], atoms.chain[first]
        chain = latest[place] if place in latest else begin(place)
        part = atoms.part[first]
        other = part not in ("", chain.part)
        earlier = _value(atoms.number[first]) < chain.last
        if (earlier or other) and any(chain.has(row, other) for run in piece for row in run):
            chain = begin(place)
        elif earlier:
            chain.backward = True
            chain.mixed |= not interrupted or (other and labelled)
        for row in (row for run in piece for row in run):
            if chain.has(row, anywhere=False):
                chain = begin(place)
            chain.add(row)
        if part:
            chain.last, chain.part = _value(atoms.number[piece[-1][0]]), part
    models = {model: place for place, model in enumerate(dict.fromkeys(atoms.model))}
    made.sort(key=lambda each: models[each[0]])
    names: dict[str, dict[str, int]] = {}
    for model, name in latest:
        names.setdefault(model, {})[name] = 2
    seen: set[tuple[str, str]] = set()
    found = []
    for model, name, chain in made:
        free = unused(name, names[model]) if (model, name) in seen else name
        seen.add((model, name))
        found.append(ChainRows(model, free, list(chain.rows())))
    return found


def unused(name: str, names: dict[str, int]) -> str:
    """Return the name with the first number appended that gives a new name, and add it to `names`.

    `names` has the first number to try after each name.
    """
    while (free := f"{name}{names[name]}") in names:
        names[name] += 1
    names[free] = 2
    return free


class _Chain:
    """A chain that is being collected."""

    def __init__(self, atoms: Atoms) -> None:
        self.last, self.part = float("-inf"), ""
        """Number and part of its last residue that is not HETATM."""
        self.backward = False
        """Whether a piece begins before the end of the piece before it."""
        self.mixed = False
        """Whether its numbers decrease without an interruption, or in a chain of another label."""
        self._atoms = atoms
        self._residues: dict[str, dict[int, None]] = {}
        self._seen: dict[tuple[str, str, str], int] = {}

    def has(self, row: int, anywhere: bool = True) -> bool:
        """Return whether the chain has this atom at another place, and not as an alternate.

        With `anywhere`, also at the same place.
        """
        atoms = self._atoms
        other = self._seen.get((atoms.number[row], atoms.atom[row], atoms.altloc[row]))
        if other is None or (not anywhere and atoms.position[row] == atoms.position[other]):
            return False
        shares = [_share(atoms.occupancy[each]) for each in (row, other)]
        return not (min(shares) > 0 and max(shares) < 1 and sum(shares) <= _FULL)

    def add(self, row: int) -> None:
        """Add an atom; among equal ones, the one with the highest occupancy remains."""
        atoms = self._atoms
        key = atoms.number[row], atoms.atom[row], atoms.altloc[row]
        other = self._seen.setdefault(key, row)
        residue = self._residues.setdefault(key[0], {})
        if other != row and atoms.monomer[other] == atoms.monomer[row]:
            if _share(atoms.occupancy[row]) <= _share(atoms.occupancy[other]):
                return
            residue.pop(other, None)
            self._seen[key] = row
        residue[row] = None

    def rows(self) -> Iterator[int]:
        """Yield the rows by residue, and within a residue by residue name.

        Later pieces are moved to their place by number, e.g. modified residues after TER.
        """
        numbers: Iterable[str] = self._residues
        if self.backward and not self.mixed:
            numbers = sorted(self._residues, key=_value)
        for number in numbers:
            by_name: dict[str, list[int]] = {}
            for row in self._residues[number]:
                by_name.setdefault(self._atoms.monomer[row], []).append(row)
            yield from chained.from_iterable(by_name.values())


def _pieces(atoms: Atoms, rows: Sequence[int]) -> Iterator[tuple[bool, list[_Run]]]:
    """Yield the pieces of chains, and whether another chain or part is before each.

    A piece ends where the chain, the part of the file or the model changes, or the residue number
    decreases.
    """

    def place(row: int) -> tuple[str, str, str]:
        return atoms.model[row], atoms.chain[row], atoms.part[row]

    before: tuple[str, str, str] | None = None
    for here, group in groupby(rows, key=place):
        runs = [list(run) for _, run in groupby(group, key=atoms.number.__getitem__)]
        values = [_value(atoms.number[run[0]]) for run in runs]
        cuts = [at for at, (one, next_) in enumerate(pairwise(values), start=1) if next_ < one]
        for start, end in pairwise((0, *cuts, len(runs))):
            yield not start and here != before, runs[start:end]
        if here[2]:
            before = here


def _value(number: str) -> float:
    """Return the number of a residue without its insertion code; infinity if it is not decimal."""
    digits = number.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return int(digits) if digits.lstrip("-").isdecimal() else float("inf")


def _share(occupancy: str) -> float:
    """Return an occupancy; 1 if there is none."""
    try:
        return float(occupancy.partition("(")[0])
    except ValueError:
        return 1.0

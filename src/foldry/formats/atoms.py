"""The amino acids of a structure file, whose atoms are put in order by chain and residue.

Programs interrupt chains by others, write alternates in blocks, put solvent between residues, and
give several chains one name. The atoms of a chain are therefore collected first: a second chain of
the same name begins only where an atom occurs twice. Equal atoms at the same place are one atom,
and atoms that share their occupancy are alternates. Free amino acids, which are ligands, are left
out.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain as chained
from itertools import compress, groupby, pairwise
from typing import Final, NamedTuple, TypeAlias

import gemmi

from foldry.errors import InputError
from foldry.residues import ATOM14, ATOM_SYNONYMS, RESNAME_TO_CODE, SYNONYMS

MAX_CHAINS: Final = 10_000
"""Limit on chains, models and data blocks; gemmi compares each with all others."""
FEWER: Final = "give a smaller part of it"
"""Advice on files that are too large."""
GIVE: Final = "give a PDB, mmCIF or BinaryCIF file with the atoms of a protein"
"""Advice on other files."""
_HYDROGEN: Final = re.compile(r"\s*\d*[HD]")
_BACKBONE: Final = {"N", "CA", "C"}
_BOND: Final = 2.0
"""Longest peptide bond, Å."""
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
        fixed: Whether the file says that the atom, if it is an amino acid's, is in a chain.
        number: Residue number and insertion code.
        monomer: Residue name.
        atom: Atom name.
        altloc: Name of the alternate location.
        occupancy: Occupancy.
        position: The three coordinates of a row.
    """

    model: Sequence[str]
    chain: Sequence[str]
    part: Sequence[str]
    fixed: Sequence[bool]
    number: Sequence[str]
    monomer: list[str]
    atom: list[str]
    altloc: Sequence[str]
    occupancy: Sequence[str]
    position: Callable[[int], tuple[str, ...]]


class ChainRows(NamedTuple):
    """A chain of a model, and the rows of its atoms in order."""

    model: str
    name: str
    rows: list[int]


def too_many(most: int, what: str, source: str) -> InputError:
    """Return the error for a file with more than `most` of something."""
    return InputError(f"has more than {most} {what}", FEWER, where=source)


def shared(texts: Iterable[str]) -> list[str]:
    """Return a list in which equal texts are one object, which takes less memory."""
    return list(map(sys.intern, texts))


@lru_cache(10_000)
def is_amino_acid(name: str) -> bool:
    """Return whether a residue name is an amino acid's in gemmi's table."""
    return bool(gemmi.find_tabulated_residue(name).is_amino_acid())


def amino_acids(atoms: Atoms, sequence: Collection[str]) -> tuple[list[int], set[str]]:
    """Give residues and atoms their standard names, and choose the amino acids.

    An amino acid has a known name, is listed in `sequence`, or has the atoms N, CA and C.

    Returns:
        The rows of amino acids, and the synonyms for which residues of the sequence that have no
        atoms are renamed, too.
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
    other = set()
    for (*_, name), rows in residues.items():
        has = {atoms.atom[row] for row in rows}
        if name in SYNONYMS and _is_variant(name, has):
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
    return rows, SYNONYMS.keys() - other


def _is_variant(name: str, has: set[str]) -> bool:
    """Return whether a residue with these atoms is the amino acid of which its name is a synonym.

    Components with the same name, e.g. homoserine (HSE), have other atoms in place of some of its.
    """
    standard = SYNONYMS[name]
    has = {ATOM_SYNONYMS.get((standard, atom), atom) for atom in has}
    own = set(ATOM14[RESNAME_TO_CODE[standard]]) - {"O"}
    others = {atom for atom in has - own - {"O", "OXT"} if atom.lstrip("0123456789")[:1] in "CNOPS"}
    if name == "CYT" and not has >= _BACKBONE:  # cytosine in CHARMM
        return False
    return "CA" in has and (has >= own or not others)


def arrange(atoms: Atoms, rows: Sequence[int], labelled: bool = False) -> list[ChainRows]:
    """Return the chains of each model, in the order in which they begin, with unique names.

    Hydrogens are left out: in old files, several of a residue have one name (1HG of ILE).

    Args:
        atoms: Columns of the file.
        rows: The rows to arrange.
        labelled: Whether the parts are chains by another name, and thus not in one numbering.
    """
    hydrogens = set(filter(_HYDROGEN.match, set(atoms.atom)))
    rows = [row for row in rows if atoms.atom[row] not in hydrogens]
    latest: dict[tuple[str, str], _Chain] = {}
    made: list[tuple[str, str, _Chain]] = []

    def begin(place: tuple[str, str]) -> _Chain:
        latest[place] = chain = _Chain(atoms)
        made.append((*place, chain))
        return chain

    for interrupted, piece in _pieces(atoms, rows):
        first = piece[0][0]
        place = atoms.model[first], atoms.chain[first]
        known = place in latest
        chain = latest[place] if known else begin(place)
        part = atoms.part[first]
        other = part not in ("", chain.part)
        earlier = _value(atoms.number[first]) < chain.last
        if (
            known
            and (earlier or other)
            and any(chain.has(row, other) for run in piece for row in run)
        ):
            chain = begin(place)
        elif earlier:
            chain.backward = True
            chain.mixed |= not interrupted or (other and labelled)
        if not known and _is_plain(atoms, piece):
            chain.start(piece)
        else:
            for row in chained.from_iterable(piece):
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
        if rows := _bound(atoms, list(chain.rows())):
            free = unused(name, names[model]) if (model, name) in seen else name
            seen.add((model, name))
            found.append(ChainRows(model, free, rows))
    return found


def _bound(atoms: Atoms, rows: list[int]) -> list[int]:
    """Return the rows of a chain without free amino acids.

    These stand behind its last fixed atom in the file, and have no peptide bond.
    """
    last = max(compress(rows, map(atoms.fixed.__getitem__, rows)), default=-1)
    if max(rows) <= last:
        return rows
    runs: list[list[_Run]] = []
    for _, group in groupby(rows, key=atoms.number.__getitem__):
        residue = list(group)
        if not runs or not _is_bonded(atoms, runs[-1][-1], residue):
            runs.append([])
        runs[-1].append(residue)
    kept = [run for run in runs if len(run) > 1 or min(run[0]) <= last]
    return [row for run in kept for residue in run for row in residue]


def _is_bonded(atoms: Atoms, before: _Run, after: _Run) -> bool:
    """Return whether there is a peptide bond between two residues, by their first alternates."""

    def place(rows: _Run, name: str) -> list[float]:
        row = next((row for row in rows if atoms.atom[row] == name), None)
        texts = () if row is None else atoms.position(row)
        return [float(text.partition("(")[0]) for text in texts] or [math.inf] * 3

    return math.dist(place(before, "C"), place(after, "N")) <= _BOND


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
        self._start: list[int] = []
        self._residues: dict[str, dict[int, None]] = {}
        self._seen: dict[tuple[str, str, str], int] = {}

    def start(self, piece: list[_Run]) -> None:
        """Begin with a plain piece, most often the whole chain: its atoms need no comparison."""
        self._start = list(chained.from_iterable(piece))

    def _compare(self) -> None:
        """Prepare the comparison of further atoms with those of the start."""
        rows, self._start = self._start, []
        for row in rows:
            self.add(row)

    def has(self, row: int, anywhere: bool = True) -> bool:
        """Return whether the chain has this atom at another place, and not as an alternate.

        With `anywhere`, also at the same place.
        """
        self._compare()
        atoms = self._atoms
        other = self._seen.get((atoms.number[row], atoms.atom[row], atoms.altloc[row]))
        if other is None or (not anywhere and atoms.position(row) == atoms.position(other)):
            return False
        shares = [_share(atoms.occupancy[each]) for each in (row, other)]
        return not (min(shares) > 0 and max(shares) < 1 and sum(shares) <= _FULL)

    def add(self, row: int) -> None:
        """Add an atom; among equal ones, the one with the highest occupancy remains."""
        self._compare()
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

        Later pieces are moved to their place by number, e.g. modified residues after TER. Numbers
        that decrease without an interruption, as in fusion proteins, are left in the order of the
        file unless the order of numbers has more peptide bonds.
        """
        yield from self._start
        numbers = list(self._residues)
        if self.backward:
            ordered = sorted(numbers, key=_value)
            if not self.mixed or self._num_bonds(ordered) > self._num_bonds(numbers):
                numbers = ordered
        for number in numbers:
            by_name: dict[str, list[int]] = {}
            for row in self._residues[number]:
                by_name.setdefault(self._atoms.monomer[row], []).append(row)
            yield from chained.from_iterable(by_name.values())

    def _num_bonds(self, numbers: Iterable[str]) -> int:
        residues = (list(self._residues[number]) for number in numbers)
        return sum(_is_bonded(self._atoms, *pair) for pair in pairwise(residues))


def _pieces(atoms: Atoms, rows: Sequence[int]) -> Iterator[tuple[bool, list[_Run]]]:
    """Yield the pieces of chains, and whether another chain or part is before each.

    A piece ends where the chain, the part of the file or the model changes, or the residue number
    decreases.
    """

    places = list(zip(atoms.model, atoms.chain, atoms.part, strict=True))
    before: tuple[str, str, str] | None = None
    for here, group in groupby(rows, key=places.__getitem__):
        runs = [list(run) for _, run in groupby(group, key=atoms.number.__getitem__)]
        values = [_value(atoms.number[run[0]]) for run in runs]
        cuts = [at for at, (one, next_) in enumerate(pairwise(values), start=1) if next_ < one]
        for start, end in pairwise((0, *cuts, len(runs))):
            yield not start and here != before, runs[start:end]
        if here[2]:
            before = here


def _is_plain(atoms: Atoms, piece: list[_Run]) -> bool:
    """Return whether no residue, and in a residue no atom, occurs twice."""
    rows = list(chained.from_iterable(piece))

    def count(*columns: Sequence[str]) -> int:
        return len(set(zip(*(map(each.__getitem__, rows) for each in columns), strict=True)))

    numbers = {atoms.number[run[0]] for run in piece}
    return len(numbers) == count(atoms.number, atoms.monomer) == len(piece) and (
        count(atoms.number, atoms.atom, atoms.altloc) == len(rows)
    )


@lru_cache(100_000)
def _value(number: str) -> float:
    """Return the number of a residue without its insertion code; infinity if it is not decimal."""
    digits = number.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return int(digits) if digits.lstrip("-").isdecimal() else float("inf")


@lru_cache(1000)
def _share(occupancy: str) -> float:
    """Return an occupancy; 1 if there is none."""
    try:
        return float(occupancy.partition("(")[0])
    except ValueError:
        return 1.0

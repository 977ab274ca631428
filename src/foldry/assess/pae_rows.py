"""Which rows of predicted aligned errors belong to the residues of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from jaxtyping import Int

from foldry.errors import InputError, counted, quoted
from foldry.formats.coordinates import Deposition
from foldry.formats.pae import TokenPae
from foldry.formats.tokens import Molecule
from foldry.structure import Structure

_ADVICE: Final = "give the errors of this prediction, and its file as the program wrote it"


def pae_rows(
    pae: TokenPae,
    structure: Structure,
    whole: Structure,
    deposition: Deposition,
    source: str,
    molecules_of: Callable[[], Sequence[Molecule]],
) -> Int[np.ndarray, " N"]:
    """Return the row of each residue of a structure.

    Rows that the errors name are found by chain and residue number. Otherwise they belong, in the
    order of the file, to its residues alone, to its tokens, or to its residues and those that have
    no atoms.

    Args:
        pae: The errors.
        structure: The chosen residues.
        whole: All residues with atoms of the structure file.
        deposition: All residues of its sequences.
        source: Name of the file of the errors, for messages.
        molecules_of: Returns all molecules of the structure file, in its order; called if needed.

    Raises:
        InputError: The rows of the residues are not known.
    """
    if pae.places is not None:
        return _named_rows(pae.places, structure, molecules_of, source)
    num_rows = len(pae.errors)
    if num_rows == len(structure):
        return np.arange(num_rows)
    chosen = np.isin(whole.chain_id, structure.chains)
    if num_rows == len(whole):
        return np.flatnonzero(chosen)
    molecules = molecules_of()
    sizes = [_sizes(molecules, _keys(whole), by_atom) for by_atom in (True, False)]
    for each in sizes:
        if sum(each) == num_rows:
            return _token_rows(molecules, each, structure, source)
    rows = _rows_with_gaps(deposition, whole, num_rows)
    if rows is not None:
        return rows[chosen]
    what = f"has {counted(num_rows, 'row')} and the model {counted(len(whole), 'residue')}"
    if sum(sizes[0]) > len(whole):
        tokens = " or ".join(map(str, sorted({sum(each) for each in sizes})))
        what += f" ({tokens} tokens with nucleotides and the atoms of other molecules)"
    if num_rows > len(whole):
        what += ", and the model does not show which rows belong to residues without atoms"
    raise InputError(what, _ADVICE, where=source)


def _keys(structure: Structure) -> list[tuple[str, str]]:
    """Return chain name and residue number, with insertion code, of each residue."""
    numbers = map("{}{}".format, structure.residue_number.tolist(), structure.insertion_code)
    return list(zip(structure.chain_id.tolist(), numbers, strict=True))


def _sizes(
    molecules: Sequence[Molecule], residues: Sequence[tuple[str, str]], by_atom: bool
) -> list[int]:
    """Return the number of tokens of each molecule.

    A standard residue is one token, and so is each atom of a ligand. A modified residue has a token
    for each atom in AlphaFold 3, Boltz-1, Chai-1 and Protenix, and one token in Boltz-2.
    """
    polymers = {each.chain for each in molecules if each.is_standard}
    known = set(residues)
    return [
        1
        if each.is_standard
        or (not by_atom and (each.chain in polymers or (each.chain, each.number) in known))
        else len(each.atoms)
        for each in molecules
    ]


def _token_rows(
    molecules: Sequence[Molecule], sizes: Sequence[int], structure: Structure, source: str
) -> Int[np.ndarray, " N"]:
    """Return the row of each residue's token, or of its Cα, where rows are tokens of the file."""
    found: dict[tuple[str, str], int] = {}
    end = 0
    for each, size in zip(molecules, sizes, strict=True):
        if size == 1 or "CA" in each.atoms:
            token = each.atoms.index("CA") if size > 1 else 0
            found.setdefault((each.chain, each.number), end + token)
        end += size
    for chain, number in _keys(structure):
        if (chain, number) not in found:
            what = f"has no row for residue {number} of chain {quoted(chain)}"
            raise InputError(what, _ADVICE, where=source)
    return np.array([found[key] for key in _keys(structure)])


def _named_rows(
    places: Sequence[tuple[str, int]],
    structure: Structure,
    molecules_of: Callable[[], Sequence[Molecule]],
    source: str,
) -> Int[np.ndarray, " N"]:
    """Return the row of each residue's token, or of its Cα, by chain name and residue number.

    If chains were renamed, the order of the file counts, provided that all its numbers agree.
    """
    tokens: dict[tuple[str, str], list[int]] = {}
    for token, (name, position) in enumerate(places):
        tokens.setdefault((name, str(position)), []).append(token)
    keys = _keys(structure)
    missing = [key for key in keys if key not in tokens]
    if not missing and all(len(tokens[key]) == 1 for key in keys):
        return np.array([tokens[key][0] for key in keys])
    molecules = molecules_of()
    if missing:
        sizes = _sizes(molecules, keys, by_atom=True)
        if _is_renamed(places, molecules, sizes):
            return _token_rows(molecules, sizes, structure, source)
        chain, number = missing[0]
        what = f"has no token for residue {number} of chain {quoted(chain)}"
        advice = "give the errors of this prediction, or its chain names and residue numbers"
        raise InputError(what, advice, where=source)
    atoms = {(each.chain, each.number): each.atoms for each in reversed(molecules)}
    return np.array([_ca_token(tokens[key], atoms.get(key, []), key, source) for key in keys])


def _is_renamed(
    places: Sequence[tuple[str, int]], molecules: Sequence[Molecule], sizes: Sequence[int]
) -> bool:
    """Return whether the tokens are those of the file, but with other names of chains."""
    own = [
        (each.chain, each.number)
        for each, size in zip(molecules, sizes, strict=True)
        for _ in range(size)
    ]
    if [number for _, number in own] != [str(number) for _, number in places]:
        return False
    pairs = {(mine, its) for (mine, _), (its, _) in zip(own, places, strict=True)}
    return len({mine for mine, _ in pairs}) == len(pairs) == len({its for _, its in pairs})


def _ca_token(tokens: list[int], atoms: list[str], key: tuple[str, str], source: str) -> int:
    """Return the token of Cα among those of a residue, which may have a token for each atom.

    Their order is that of the file. If it lacks atoms, Cα is the second, as in most residues,
    unless the file begins the residue with other atoms.
    """
    if len(tokens) == 1:
        return tokens[0]
    if len(tokens) == len(atoms) and "CA" in atoms:
        return tokens[atoms.index("CA")]
    if atoms[:2] in (["N", "CA"], ["CA"]):
        return tokens[1]
    chain, number = key
    what = f"has {len(tokens)} tokens for residue {number} of chain {quoted(chain)}, of which "
    what += f"the model has {counted(len(atoms), 'atom')}, so that the token of Cα is not known"
    raise InputError(what, _ADVICE, where=source)


def _rows_with_gaps(
    deposition: Deposition, whole: Structure, num_rows: int
) -> Int[np.ndarray, " N"] | None:
    """Return the PAE row of each residue of a file; None if the file does not determine it.

    Predictors write no atoms for unknown residues, but the PAE has their rows. An mmCIF file lists
    every residue of a sequence. A PDB file without SEQRES lists only residues with atoms, numbered
    from 1 in each chain: the rows are certain if the last numbers of all chains add up to the
    number of rows, because then no chain can be longer.
    """
    chains = deposition.chains.values()
    if sum(map(len, chains)) > len(whole):
        rows = np.flatnonzero(np.concatenate([each.atom_mask.any(axis=1) for each in chains]))
        return rows if sum(map(len, chains)) == num_rows and len(rows) == len(whole) else None
    places, end = [], 0
    for chain in whole.chains:
        numbers = whole.residue_number[whole.chain_id == chain]
        if numbers[0] < 1 or (np.diff(numbers) < 1).any():
            return None
        places.append(end + numbers - 1)
        end += int(numbers[-1])
    return np.concatenate(places) if end == num_rows else None

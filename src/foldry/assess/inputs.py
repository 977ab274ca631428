"""Reading of models and references from files, chains of files, and folders of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from foldry.errors import InputError, counted, quoted
from foldry.formats.coordinates import read_deposition, read_structure
from foldry.formats.pae import read_pae
from foldry.inputs.structures import read_named, split_name
from foldry.residues import CA
from foldry.results.folder import read_results
from foldry.structure import Structure

MAX_RESIDUES: Final = 50_000
"""Maximum number of residues; among deposited assemblies, only capsids have more."""
LEAST_PLDDT: Final = 20.0
"""Least median of B factors that are read as pLDDT without a statement of the file."""
_CELL: Final = 15.0
_MAX_CROWDING: Final = 1e9
"""Largest sum, over cells of 15 Å, of the squared number of atoms. It is about half the number of
distances, and 1e8 in a protein of 50,000 residues."""


@dataclass(frozen=True)
class Model:
    """A model with its confidence.

    Attributes:
        structure: The residues with atoms.
        plddt: Confidence in each residue, 0–100; None if unknown.
        pae: Predicted aligned error in Å, row i aligned on residue i; None if unknown.
        is_stated: Whether the file states that its B factors are pLDDT.
        reported: Measures that the network computed, by key; empty unless a folder has them.
    """

    structure: Structure
    plddt: Float[np.ndarray, " N"] | None = None
    pae: Float[np.ndarray, "N N"] | None = None
    is_stated: bool = True
    reported: Mapping[str, float | None] = field(default_factory=dict)


def read_model(name: str, pae: Path | None = None) -> Model:
    """Read a model from a file, from chains of a file (`FILE:A,B`), or from a query's results.

    In a folder of results, the best prediction is read, with its PAE.

    Args:
        name: The file, chains of it, or the folder.
        pae: JSON or NumPy file with the predicted aligned error of the whole structure file.

    Raises:
        InputError: A file cannot be read, or the PAE does not belong to the model.
    """
    reported: Mapping[str, float | None] = {}
    if Path(name).is_dir():
        [best] = read_results(Path(name), most=1)
        name, pae, reported = str(best.structure), pae or best.pae, best.numbers
    structure = read_reference(name)
    errors = None if pae is None else _pae(pae, name, structure)
    plddt = plddt_of(structure, predicted=pae is not None)
    stated = read_deposition(split_name(name)[0])
    if stated.measured:
        plddt = None
    elif stated.predicted:
        plddt = plddt_of(structure, predicted=True, stated=True)
    return Model(structure, plddt, errors, stated.predicted or plddt is None, reported)


def read_reference(name: str) -> Structure:
    """Read the structure in a file, or some of its chains.

    Raises:
        InputError: The file is not a structure, or is too large to be scored.
    """
    structure = read_named(name)
    _check_size(structure)
    return structure


def plddt_of(
    structure: Structure, predicted: bool = False, stated: bool = False
) -> Float[np.ndarray, " N"] | None:
    """Return the pLDDT of each residue, or None if the B factors are not pLDDT.

    B factors count as pLDDT if all atoms of a residue have the same value, as AlphaFold writes it,
    from 0 to 100 and not the same in all residues. Values of at most 1 are shares, as in ESMFold's
    files, and are multiplied by 100. A median below `LEAST_PLDDT` is an error in Å, as Robetta and
    RoseTTAFold write it.

    Args:
        structure: The structure.
        predicted: Whether the structure is known to be a prediction. The atoms of a residue may
            then differ, as in AlphaFold 3's files: the value of Cα counts, or the residue's mean
            if Cα is missing.
        stated: Whether the file states that its B factors are pLDDT, so that any value may be.
    """
    mask, values = structure.atom_mask, structure.b_factor
    lowest = np.where(mask, values, np.inf).min(axis=1)
    highest = np.where(mask, values, -np.inf).max(axis=1)
    one_each = (mask.sum(axis=1) > 1).any() and (lowest == highest).all()
    if not (one_each or predicted) or not 0 <= lowest.min() <= highest.max() <= 100:
        return None
    if not stated and lowest.min() == highest.max():
        return None
    mean = (values * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    plddt = highest if one_each else np.where(mask[:, CA], values[:, CA], mean)
    plddt = plddt * (100 if highest.max() <= 1 else 1)
    return np.asarray(plddt) if stated or np.median(plddt) >= LEAST_PLDDT else None


def _pae(path: Path, name: str, structure: Structure) -> Float[np.ndarray, "N N"]:
    """Return the PAE of the chosen residues."""
    pae, places = read_pae(path)
    if len(pae) == len(structure):
        return pae
    file = split_name(name)[0]
    whole = read_structure(file)
    if places is not None:
        tokens = _token_rows(places, structure, path)
        return np.asarray(pae[np.ix_(tokens, tokens)])
    rows = np.arange(len(whole)) if len(pae) == len(whole) else _pae_rows(file, whole, len(pae))
    if rows is None:
        raise InputError(
            f"has {counted(len(pae), 'row')} and the model {counted(len(whole), 'residue')}, and "
            "the model does not show which rows belong to residues without atoms",
            "give the errors of this prediction, or its mmCIF file, which lists such residues",
            where=path,
        )
    chosen = rows[np.isin(whole.chain_id, structure.chains)]
    return np.asarray(pae[np.ix_(chosen, chosen)])


def _token_rows(
    places: Sequence[tuple[str, int]], structure: Structure, path: Path
) -> Int[np.ndarray, " N"]:
    """Return the token of each residue.

    A modified residue has a token for each atom, in the order of the chemical components, in which
    Cα is the second.

    Raises:
        InputError: A residue has no token.
    """
    tokens: dict[tuple[str, int], list[int]] = {}
    for token, place in enumerate(places):
        tokens.setdefault(place, []).append(token)
    rows = []
    for chain, number in zip(structure.chain_id, structure.residue_number.tolist(), strict=True):
        found = tokens.get((str(chain), number))
        if not found:
            what = f"has no token for residue {number} of chain {quoted(str(chain))}"
            raise InputError(what, "give the errors of this prediction", where=path)
        rows.append(found[min(1, len(found) - 1)])
    return np.array(rows)


def _pae_rows(file: Path, whole: Structure, num_rows: int) -> Int[np.ndarray, " N"] | None:
    """Return the PAE row of each residue of a file; None if the file does not determine it.

    Predictors write no atoms for unknown residues, but the PAE has their rows. An mmCIF file lists
    every residue of a sequence. A PDB file without SEQRES lists only residues with atoms, numbered
    from 1 in each chain: the rows are certain if the last numbers of all chains add up to the
    number of rows, because then no chain can be longer.
    """
    chains = read_deposition(file).chains.values()
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


def _check_size(structure: Structure) -> None:
    if len(structure) > MAX_RESIDUES:
        raise InputError(
            f"{structure.name!r} has {len(structure)} residues and the limit is {MAX_RESIDUES}",
            "choose chains of it as FILE:CHAIN,CHAIN",
        )
    points = structure.atom_positions[structure.atom_mask]
    if len(points) ** 2 <= _MAX_CROWDING:
        return
    cells = np.floor(points[np.isfinite(points).all(axis=1)] / _CELL)
    _, counts = np.unique(cells, axis=0, return_counts=True)
    if (counts.astype(np.float64) ** 2).sum() > _MAX_CROWDING:
        raise InputError(
            f"Nearly all of the {len(points)} atoms of {structure.name!r} are in one place",
            "check the coordinates",
        )

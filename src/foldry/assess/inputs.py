"""Names of files, chains of files and folders of results → structures with their confidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from foldry.errors import InputError
from foldry.formats.coordinates import read_structure
from foldry.formats.pae import read_pae
from foldry.inputs.structures import read_named, split_name
from foldry.residues import CA
from foldry.results.folder import read_results
from foldry.structure import Structure

MAX_RESIDUES: Final = 50_000
"""More than deposited assemblies other than capsids have."""
_CELL: Final = 15.0
_MAX_CROWDING: Final = 1e9
"""Sum of the squared numbers of atoms in cells of 15 Å, about half the distances to judge; 1e8 in a
protein of 50,000 residues."""


@dataclass(frozen=True)
class Model:
    """A model as it was read.

    Attributes:
        structure: Its atoms.
        plddt: Confidence in each residue, 0–100; None where the file holds none.
        pae: Predicted aligned error in Å, row i aligned on residue i, where there is one.
    """

    structure: Structure
    plddt: Float[np.ndarray, " N"] | None = None
    pae: Float[np.ndarray, "N N"] | None = None


def read_model(name: str, pae: Path | None = None) -> Model:
    """A model from a file, from chains of it (`FILE:A,B`), or from a query's results.

    From a folder of results the best prediction is read, with its PAE.

    Args:
        pae: JSON with the predicted aligned error of the whole file.

    Raises:
        InputError: A file is not what it should be, or the PAE is of other residues.
    """
    if Path(name).is_dir():
        [best] = read_results(Path(name), most=1)
        name, pae = str(best.structure), pae or best.pae
    structure = read_reference(name)
    errors = None if pae is None else _pae(pae, name, structure)
    return Model(structure, plddt_of(structure, predicted=pae is not None), errors)


def read_reference(name: str) -> Structure:
    """The structure in a file, or some chains of it.

    Raises:
        InputError: The file is not a structure, or is larger than can be scored.
    """
    structure = read_named(name)
    _check_size(structure)
    return structure


def plddt_of(structure: Structure, predicted: bool = False) -> Float[np.ndarray, " N"] | None:
    """pLDDT of each residue, or None where the B factors are not pLDDT.

    They count as pLDDT where all atoms of a residue share one value, as AlphaFold writes it, from 0
    to 100 and not the same everywhere. If none is above 1 they are shares of 100, as in ESMFold's.

    Args:
        predicted: Whether it is known to be a prediction. Atoms of a residue may then differ, as in
            AlphaFold 3's: the value of Cα is taken, or the residue's mean where Cα is missing.
    """
    mask, values = structure.atom_mask, structure.b_factor
    lowest = np.where(mask, values, np.inf).min(axis=1)
    highest = np.where(mask, values, -np.inf).max(axis=1)
    one_each = (mask.sum(axis=1) > 1).any() and (lowest == highest).all()
    if not (one_each or predicted) or not 0 <= lowest.min() < highest.max() <= 100:
        return None
    mean = (values * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    plddt = highest if one_each else np.where(mask[:, CA], values[:, CA], mean)
    return np.asarray(plddt * (100 if highest.max() <= 1 else 1))


def _pae(path: Path, name: str, structure: Structure) -> Float[np.ndarray, "N N"]:
    """The PAE of the chosen residues."""
    pae = read_pae(path)
    if len(pae) == len(structure):
        return pae
    whole = read_structure(split_name(name)[0])
    if len(pae) != len(whole):
        raise InputError(
            f"has {len(pae)} rows and the model {len(whole)} residues",
            "give the errors of this prediction",
            where=path,
        )
    chosen = np.isin(whole.chain_id, structure.chains)
    return pae[np.ix_(chosen, chosen)]


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
            f"The {len(points)} atoms of {structure.name!r} lie nearly all in one place",
            "check the coordinates",
        )

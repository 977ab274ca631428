"""What people name on a command line → the structure and what its prediction says of itself."""

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
"""More than deposited assemblies have but for capsids; a million atoms are 125,000 residues."""
_CELL: Final = 15.0
_MAX_CROWDING: Final = 1e9
"""Sum of the squared numbers of atoms in cells of 15 Å: half the distances that are judged. A
protein of 50,000 residues has 1e8."""


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
    """A model of a file, of chains of one (`FILE:A,B`), or of a query's results.

    Of a folder it is the best prediction, with its PAE.

    Args:
        pae: JSON with the predicted aligned error of the whole file.

    Raises:
        InputError: A file is not what it should be, or the PAE is of other residues.
    """
    if Path(name).is_dir():
        best = read_results(Path(name))[0]
        name, pae = str(best.structure), pae or best.pae
    structure = read_reference(name)
    errors = None if pae is None else _pae(pae, name, structure)
    return Model(structure, plddt_of(structure, predicted=pae is not None), errors)


def read_reference(name: str) -> Structure:
    """The structure of a file or of chains of one.

    Raises:
        InputError: It is none, or larger than can be scored.
    """
    structure = read_named(name)
    _check_size(structure)
    return structure


def plddt_of(structure: Structure, predicted: bool = False) -> Float[np.ndarray, " N"] | None:
    """pLDDT of each residue, or None where the B factors are none.

    They are taken for pLDDT where all atoms of a residue share one value, as AlphaFold writes it,
    from 0 to 100 and not the same everywhere. Values up to 1 are shares of 100, as ESMFold's.

    Args:
        predicted: It is known to be a prediction. Atoms may then differ, as AlphaFold 3's do: the
            value of Cα is taken, or where it lacks the mean of the residue.
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
    """The PAE of the residues that were chosen."""
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

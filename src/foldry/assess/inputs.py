"""Reading of models and references from files, chains of files, and folders of results.

What only folders and PAE need is imported with the first of them: most models are single files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from foldry.errors import InputError
from foldry.formats.coordinates import read_both
from foldry.formats.qa_metric import OTHER, PLDDT
from foldry.inputs.structures import read_named, select_chains, split_name
from foldry.residues import CA
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
        from foldry.results.folder import read_results  # noqa: PLC0415  (slow)

        [best] = read_results(Path(name), most=1)
        name, pae, reported = str(best.structure), pae or best.pae, best.numbers
    path, chains = split_name(name)
    whole, deposition = read_both(path)
    structure = select_chains(whole, chains, path)
    _check_size(structure)
    errors = None
    if pae is not None:
        from foldry.assess.pae_rows import pae_rows  # noqa: PLC0415  (rarely needed)
        from foldry.formats.pae import read_pae  # noqa: PLC0415
        from foldry.formats.tokens import read_molecules  # noqa: PLC0415

        tokens = read_pae(pae)
        molecules = partial(read_molecules, path)
        rows = pae_rows(tokens, structure, whole, deposition, str(pae), molecules)
        errors = np.asarray(tokens.errors[np.ix_(rows, rows)])
    stated = deposition.b_factors == PLDDT
    plddt = None
    if deposition.b_factors != OTHER:
        plddt = plddt_of(structure, pae is not None or deposition.predicted, stated)
    return Model(structure, plddt, errors, stated or plddt is None, reported)


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
    above 0 and up to 100, and if the values vary as pLDDT does. Values of at most 1 are shares, as
    in ESMFold's files, and are multiplied by 100.

    Args:
        structure: The structure.
        predicted: Whether the structure is known to be a prediction. The atoms of a residue may
            then differ, as in AlphaFold 3's files: the value of Cα counts, or the residue's mean
            if Cα is missing.
        stated: Whether the file states that its B factors are pLDDT, so that any value from 0 to
            100 may be, and the atoms of a residue may differ.
    """
    mask, values = structure.atom_mask, structure.b_factor
    lowest = np.where(mask, values, np.inf).min(axis=1)
    highest = np.where(mask, values, -np.inf).max(axis=1)
    one_each = (mask.sum(axis=1) > 1).any() and (lowest == highest).all()
    in_range = lowest.min() >= 0 and 0 < highest.max() <= 100
    if not in_range or not (one_each or predicted or stated):
        return None
    mean = (values * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    found = highest if one_each else np.where(mask[:, CA], values[:, CA], mean)
    plddt = np.asarray(found * (100 if highest.max() <= 1 else 1))
    return plddt if stated or (lowest.min() > 0 and _varies(found, plddt)) else None


def _varies(values: Float[np.ndarray, " N"], plddt: Float[np.ndarray, " N"]) -> bool:
    """Return whether values, which are `plddt` if multiplied, vary as pLDDT does.

    A median below `LEAST_PLDDT` is an error in Å, as Robetta and RoseTTAFold write it; a range
    below 1 is a constant that a minimisation has changed. Few values are marks of residues, of
    domains or of chains: one or two, or integers that ten residues have in common on average.
    """
    whole = (values == np.round(values)).all()
    few = len(set(values.tolist())) <= (max(2, len(values) / 10) if whole else 2)
    return bool(not few and np.ptp(plddt) >= 1 and np.median(plddt) >= LEAST_PLDDT)


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

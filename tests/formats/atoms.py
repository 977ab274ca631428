"""Atoms of a structure file, as gemmi, Biopython and biotite read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from Bio.PDB.binary_cif import BinaryCIFParser
from Bio.PDB.MMCIFParser import MMCIFParser
from Bio.PDB.PDBParser import PDBParser
from biotite.structure.io import pdb, pdbx  # type: ignore[import-untyped]

from foldry.residues import ATOM37, RESNAMES
from foldry.structure import Structure


@dataclass(frozen=True)
class Atoms:
    """What a reader finds.

    Attributes:
        labels: Chain, number with insertion code, residue and name of each atom.
        places: Coordinates, Å.
        b_factors: B factors.
    """

    labels: list[tuple[str, str, str, str]]
    places: np.ndarray
    b_factors: np.ndarray


def of_structure(structure: Structure) -> Atoms:
    row, slot = np.nonzero(structure.atom_mask)
    labels = [
        (
            str(structure.chain_id[at]),
            f"{structure.residue_number[at]}{structure.insertion_code[at]}",
            RESNAMES[structure.aatype[at]],
            ATOM37[place],
        )
        for at, place in zip(row.tolist(), slot.tolist(), strict=True)
    ]
    return Atoms(labels, structure.atom_positions[row, slot], structure.b_factor[row, slot])


def by_gemmi(path: Path) -> Atoms:
    [model] = gemmi.read_structure(str(path))
    found = list(model.all())
    return Atoms(
        [(at.chain.name, str(at.residue.seqid), at.residue.name, at.atom.name) for at in found],
        np.array([at.atom.pos.tolist() for at in found]),
        np.array([at.atom.b_iso for at in found]),
    )


def by_biopython(path: Path) -> Atoms:
    parsers = {".cif": MMCIFParser, ".bcif": BinaryCIFParser, ".pdb": PDBParser}
    parser: Any = parsers[path.suffix]
    found = list(parser().get_structure("model", str(path)).get_atoms())
    residues = [atom.get_parent() for atom in found]
    labels = [
        (each.get_parent().id, f"{each.id[1]}{each.id[2]}".strip(), each.resname, atom.id)
        for each, atom in zip(residues, found, strict=True)
    ]
    coordinates = np.array([atom.coord for atom in found])
    return Atoms(labels, coordinates, np.array([atom.bfactor for atom in found]))


def by_biotite(path: Path) -> Atoms:
    options: dict[str, Any] = {"model": 1, "extra_fields": ["b_factor"]}
    if path.suffix == ".pdb":
        found = pdb.PDBFile.read(path).get_structure(**options)
    else:
        found = pdbx.get_structure(cif_file(path), **options)
    labels = [
        (atom.chain_id, f"{atom.res_id}{atom.ins_code}", atom.res_name, atom.atom_name)
        for atom in found
    ]
    return Atoms(labels, found.coord, found.b_factor)


def cif_file(path: Path) -> Any:
    return (pdbx.CIFFile if path.suffix == ".cif" else pdbx.BinaryCIFFile).read(path)


READERS: dict[str, tuple[Callable[[Path], Atoms], ...]] = {
    "cif": (by_gemmi, by_biopython, by_biotite),
    "bcif": (by_biopython, by_biotite),
    "pdb": (by_gemmi, by_biopython, by_biotite),
}
"""Readers of each format."""


def assert_readers_agree(path: Path, structure: Structure) -> None:
    """Every reader of a file's format finds the atoms of a structure."""
    atoms = of_structure(structure)
    for reader in READERS[path.suffix[1:]]:
        found, name = reader(path), f"{path.name}, {reader.__name__}"
        assert found.labels == atoms.labels, name
        # Some readers keep single precision.
        np.testing.assert_allclose(found.places, atoms.places, rtol=1e-6, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(found.b_factors, atoms.b_factors, rtol=1e-6, err_msg=name)

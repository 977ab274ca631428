"""Write the complexes and models for the DockQ package.

    PYTHONPATH=. .venv/bin/python benchmarks/oracles/dockq_inputs.py FOLDER

The complexes are the lactate and malate dehydrogenases of Debian's theseus-examples, whose chains
are in their crystal frame. Side chains farther than 8 Å from any other chain are left out: no
native contact involves them, and the file is half as large.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from tests.score.complexes import KINDS, joined, model_of, on_grid, pack, unpack

from foldry.formats.coordinates import read_structure
from foldry.residues import ATOM37, CA, RESNAMES, UNKNOWN, C, N, O
from foldry.score.interface import CONTACT, residue_contacts
from foldry.structure import Structure

SOURCE = Path("/usr/share/doc/theseus/examples/ldh")
KEPT_NEAR = 8.0
MODELS_EACH = 3


def complexes() -> list[Structure]:
    """Return the complexes with the most interfaces for their number of chains."""
    files = defaultdict(list)
    for path in sorted(SOURCE.glob("*_?.pdb.gz")):
        files[path.name[:4]].append(path)
    found = []
    for name, paths in files.items():
        if 2 <= len(paths) <= 4:
            whole = joined(*[chain(path) for path in paths])
            odd = (whole.aatype == UNKNOWN) | (whole.insertion_code != "")
            if not odd.any():
                found.append(replace(whole, name=name))
    return sorted(found, key=lambda one: num_interfaces(one) / len(one), reverse=True)


def chain(path: Path) -> Structure:
    """Return one chain, named after its file, with residue numbers raised by 100.

    The DockQ package writes residue numbers as letters; numbers up to 0 become gaps or fail.
    """
    structure = read_structure(path)
    return replace(
        structure,
        residue_number=structure.residue_number + 100,
        chain_id=np.full(len(structure), path.name[5]),
        atom_positions=structure.atom_positions.astype(np.float64),
    )


def num_interfaces(structure: Structure) -> int:
    """Return the number of chain pairs in contact."""
    contacts = residue_contacts(structure, CONTACT)
    names = structure.chain_id
    return len({(names[a], names[b]) for a, b in zip(contacts.first, contacts.second, strict=True)})


def reduced(structure: Structure) -> Structure:
    """Return the structure centred on the grid, without distant side chains."""
    near = residue_contacts(structure, KEPT_NEAR)
    bare = np.ones(len(structure), bool)
    bare[near.first] = bare[near.second] = False
    mask = structure.atom_mask.copy()
    mask[np.ix_(bare, ~np.isin(np.arange(37), [N, CA, C, O]))] = False
    center = structure.atom_positions[mask].mean(axis=0)
    return replace(
        structure, atom_mask=mask, atom_positions=on_grid(structure.atom_positions - center)
    )


def write_mmcif(structure: Structure, path: Path) -> None:
    """Write all digits of the coordinates, which a PDB file would truncate."""
    columns = "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id"
    columns += " label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv"
    columns += " auth_seq_id auth_asym_id pdbx_PDB_model_num"
    lines = ["data_x", "loop_", *(f"_atom_site.{column}" for column in columns.split())]
    for serial, (residue, slot) in enumerate(np.argwhere(structure.atom_mask), start=1):
        name, number = structure.chain_id[residue], structure.residue_number[residue]
        xyz = " ".join(f"{value:.6f}" for value in structure.atom_positions[residue, slot])
        atom = ATOM37[slot]
        kind = RESNAMES[structure.aatype[residue]]
        lines.append(
            f"ATOM {serial} {atom[0]} {atom} . {kind} {name} {number} ? {xyz} 1 0 {number} {name} 1"
        )
    path.write_text("\n".join([*lines, "#", ""]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--complexes", type=int, default=12, help="number of complexes, the best ones first"
    )
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [reduced(one) for one in complexes()[: arguments.complexes]]
    arrays = folder / "dockq_complexes.npz"
    np.savez_compressed(arrays, **pack(chosen))
    cases = []
    for number, reference in enumerate(unpack(arrays)):
        write_mmcif(reference, folder / f"{reference.name}.cif")
        for repeat in range(MODELS_EACH):
            seed = MODELS_EACH * number + repeat
            kind = KINDS[seed % len(KINDS)]
            model, names = model_of(reference, kind, seed)
            write_mmcif(model, folder / f"{reference.name}_{seed}.cif")
            cases.append({"name": reference.name, "kind": kind, "seed": seed, "chains": names})
    (folder / "cases.json").write_text(json.dumps(cases))
    interfaces = sum(num_interfaces(one) for one in chosen)
    print(f"{len(chosen)} complexes, {interfaces} interfaces, {arrays.stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""Rows of predicted aligned errors in models with ligands, modified residues and nucleotides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
import pytest

from foldry.assess.inputs import read_model
from foldry.errors import InputError
from foldry.formats.pae import read_pae


class Molecule(NamedTuple):
    """A residue, ligand or ion; `tokens` is 1 if a program gives it one token."""

    chain: str
    number: int
    monomer: str
    atoms: str
    one_token: bool = False

    @property
    def names(self) -> list[str]:
        return self.atoms.split()


def standard(chain: str, number: int, monomer: str) -> Molecule:
    atoms = "P C1' N1" if len(monomer) < 3 else "N CA C O"
    return Molecule(chain, number, monomer, atoms, one_token=True)


# Atoms in the order of the chemical component dictionary.
MODIFIED = {
    "SEP": "N CA CB OG C O P O1P O2P O3P",
    "SAC": "C1A C2A OAC N CA C O CB OG",
    "DAL": "N CA CB C O",
}
ODD = "CA1 C2 O1"
LIGAND = Molecule("L", 1, "LIG", "C1 C2 O1 N1")
ION = Molecule("I", 1, "CA", "CA")


def model(modified: str) -> list[Molecule]:
    """A protein with a modified residue, RNA, a ligand, a calcium ion, DNA and another protein."""
    return [
        *(standard("A", 1, "ALA"), standard("A", 2, "TRP")),
        Molecule("A", 3, modified, MODIFIED[modified]),
        *(standard("A", 4, "GLY"), standard("R", 1, "G"), standard("R", 2, "U")),
        *(LIGAND, ION, standard("D", 1, "DT")),
        *(standard("B", 1, "LYS"), standard("B", 2, "LEU"), standard("B", 3, "VAL")),
    ]


def written(molecules: Sequence[Molecule], path: Path, hydrogens: bool = False) -> str:
    """Write the file of a model, in the order of its molecules, and return its name."""
    lines, place = [], 0
    for each in molecules:
        record = "ATOM  " if each.one_token else "HETATM"
        for name in [*each.names, *(["H99"] if hydrogens else [])]:
            place += 1
            field = name if name == "CA" and each.monomer == "CA" else f" {name}"
            element = "CA" if field == name else name[0]
            lines.append(
                f"{record}{place:>5} {field:<4} {each.monomer:>3} {each.chain}{each.number:>4}    "
                f"{place * 1.3:>8.3f}{place % 7:>8.3f}{place % 5:>8.3f}  1.00 70.00          "
                f"{element:>2}"
            )
    text = "\n".join([*lines, "END", ""])
    if path.suffix == ".cif":
        structure = gemmi.read_pdb_string(text)
        structure.setup_entities()
        text = structure.make_mmcif_document().as_string()
    path.write_text(text)
    return str(path)


def tokens(molecules: Sequence[Molecule], *, whole: str = "") -> list[tuple[Molecule, str]]:
    """Return a molecule and an atom name for each token; `whole` has one token if modified."""
    return [
        (each, name)
        for each in molecules
        for name in (["CA"] if each.one_token or each.monomer == whole else each.names)
    ]


def ca_rows(found: Sequence[tuple[Molecule, str]], chains: str = "AB") -> list[int]:
    return [row for row, (each, name) in enumerate(found) if each.chain in chains and name == "CA"]


def matrix(num: int) -> np.ndarray:
    return np.arange(num * num, dtype=np.float32).reshape(num, num)


@pytest.mark.parametrize("suffix", ["pdb", "cif"])
@pytest.mark.parametrize("modified", MODIFIED)
@pytest.mark.parametrize("one_token", [False, True])
def test_rows_without_names_are_the_tokens_of_the_file(
    suffix: str, modified: str, one_token: bool, tmp_path: Path
) -> None:
    """Boltz-1, Chai-1 and Protenix split modified residues into atoms, and Boltz-2 does not."""
    molecules = model(modified)
    file = written(molecules, tmp_path / f"m.{suffix}", hydrogens=one_token)
    found = tokens(molecules, whole=modified if one_token else "")
    np.savez(tmp_path / "pae.npz", pae=matrix(len(found)))
    for name, chains in ((file, "AB"), (f"{file}:B", "B")):
        rows = ca_rows(found, chains)
        assert len(rows) == (7 if chains == "AB" else 3)
        pae = read_model(name, tmp_path / "pae.npz").pae
        assert pae is not None and pae.tolist() == matrix(len(found))[np.ix_(rows, rows)].tolist()


def test_the_ligand_of_a_case(cases_dir: Path, tmp_path: Path) -> None:
    """Without the names of its tokens, the rows are those of the file, as in Protenix's JSON."""
    case = cases_dir / "83-pae-af3-ligand-tokens"
    errors = read_pae(case / "full_data_0.json").errors
    (tmp_path / "full.json").write_text(json.dumps({"token_pair_pae": errors.tolist()}))
    found = read_model(str(case / "m.pdb"), tmp_path / "full.json").pae
    assert found is not None
    np.testing.assert_array_equal(found, errors[:63, :63])


def named(found: Sequence[tuple[Molecule, str]]) -> dict[str, object]:
    return {
        "pae": matrix(len(found)).tolist(),
        "token_chain_ids": [each.chain for each, _ in found],
        "token_res_ids": [each.number for each, _ in found],
    }


@pytest.mark.parametrize("suffix", ["pdb", "cif"])
@pytest.mark.parametrize("modified", MODIFIED)
def test_named_tokens_are_found_in_any_order(suffix: str, modified: str, tmp_path: Path) -> None:
    molecules = model(modified)
    file = written(molecules, tmp_path / f"m.{suffix}")
    path = tmp_path / "full.json"
    for first in ("A", "B", "L", "R"):
        ordered = sorted(molecules, key=lambda each: each.chain != first)
        found = tokens(ordered)
        path.write_text(json.dumps(named(found)))
        rows = [*ca_rows(found, "A"), *ca_rows(found, "B")]
        pae = read_model(file, path).pae
        assert pae is not None and pae.tolist() == matrix(len(found))[np.ix_(rows, rows)].tolist()


def test_tokens_that_are_counted_follow_the_file(tmp_path: Path) -> None:
    """RoseTTAFold3 numbers all tokens from 0, and calls the chains A_1, B_1 …"""
    molecules = model("SAC")
    found = tokens(molecules)
    counted = {
        "token_chain_ids": [f"{each.chain}_1" for each, _ in found],
        "token_res_ids": list(range(len(found))),
    }
    path = tmp_path / "confidences.json"
    path.write_text(json.dumps(named(found) | counted))
    for chains in ("A", "AB"):
        rows = ca_rows(found, chains)
        file = written(molecules, tmp_path / "m.pdb")
        pae = read_model(f"{file}:{','.join(chains)}", path).pae
        assert pae is not None and pae.tolist() == matrix(len(found))[np.ix_(rows, rows)].tolist()


def test_names_count_even_if_the_sizes_agree(tmp_path: Path) -> None:
    molecules = [standard("A", 1, "ALA"), standard("A", 2, "TRP"), standard("B", 1, "LYS")]
    file = written(molecules, tmp_path / "m.pdb")
    path = tmp_path / "full.json"
    path.write_text(json.dumps(named(tokens([molecules[2], *molecules[:2]]))))
    pae = read_model(file, path).pae
    assert pae is not None and pae.tolist() == matrix(3)[np.ix_([1, 2, 0], [1, 2, 0])].tolist()


def test_renamed_chains_are_found_by_their_numbers(tmp_path: Path) -> None:
    molecules = model("SAC")
    found = tokens(molecules)
    path = tmp_path / "full.json"
    path.write_text(json.dumps(named(found)))
    rows = ca_rows(found)
    names = dict(zip("ARLIDB", "XYZabA", strict=True))
    renamed = [each._replace(chain=names[each.chain]) for each in molecules]
    pae = read_model(written(renamed, tmp_path / "m.pdb"), path).pae
    assert pae is not None and pae.tolist() == matrix(len(found))[np.ix_(rows, rows)].tolist()
    for other, says in (
        ([each._replace(number=each.number + 9) for each in renamed], "residue 10 of chain 'X'"),
        ([each._replace(chain="X") for each in renamed if each.chain in "XA"], "of chain 'X'"),
        (renamed[:4], "has no token for residue 1 of chain 'X'"),
    ):
        file = written(other, tmp_path / "n.pdb")
        with pytest.raises(InputError, match=says):
            read_model(file, path)


def test_a_modified_residue_without_all_of_its_atoms(tmp_path: Path) -> None:
    """Cα is the second of its tokens unless the file shows that others come first."""
    path = tmp_path / "full.json"
    for modified, left, expected in (
        ("SEP", "N CA CB OG C O", 3),
        ("SEP", "CA", 3),
        ("SAC", "N CA C O CB OG", 3),
        ("SAC", "C1A N CA C O CB OG", None),
        ("SEP", "N CB OG C O", None),
    ):
        molecules = model(modified)
        found = tokens(molecules)
        path.write_text(json.dumps(named(found)))
        molecules[2] = molecules[2]._replace(atoms=left)
        file = written(molecules, tmp_path / "m.pdb")
        if expected is None:
            with pytest.raises(InputError, match=r"residue 3 of chain 'A'.* Cα is not known"):
                read_model(file, path)
            continue
        pae = read_model(file, path).pae
        rows = [0, 1, expected, 2 + len(MODIFIED[modified].split())]
        assert pae is not None
        assert pae[:4, :4].tolist() == matrix(len(found))[np.ix_(rows, rows)].tolist()


def test_insertion_codes_are_no_tokens(tmp_path: Path) -> None:
    molecules = [standard("A", 1, "ALA"), standard("A", 2, "TRP")]
    path = tmp_path / "full.json"
    path.write_text(json.dumps(named(tokens(molecules))))
    file = Path(written(molecules, tmp_path / "m.pdb"))
    file.write_text(file.read_text().replace("TRP A   2 ", "TRP A   1A"))
    with pytest.raises(InputError, match="has no token for residue 1A of chain 'A'"):
        read_model(str(file), path)


def test_other_numbers_of_rows_are_explained(tmp_path: Path) -> None:
    file = written(model("SEP"), tmp_path / "m.cif")
    np.save(tmp_path / "pae.npy", matrix(20))
    says = r"has 20 rows and the model 7 residues \(15 or 24 tokens with nucleotides"
    with pytest.raises(InputError, match=says):
        read_model(file, tmp_path / "pae.npy")
    np.save(tmp_path / "pae.npy", matrix(5))
    with pytest.raises(
        InputError, match=r"5 rows and the model 7 residues \(.*\): give the errors"
    ):
        read_model(file, tmp_path / "pae.npy")

"""Files that are not structures are refused for the true reason."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgpack
import numpy as np
import pytest
from biotite.structure import info
from biotite.structure.io import gro, mol

from foldry.errors import InputError
from foldry.formats.coordinates import parse_structure, read_structure, to_pdb

CIF = Path(__file__).resolve().parents[2] / "examples" / "kunitz" / "1adz.cif"
PDB = to_pdb(read_structure(CIF))
ATOMS = [line for line in PDB.splitlines() if line.startswith("ATOM")]


def written(file: gro.GROFile | mol.MOLFile | mol.SDFile) -> bytes:
    text = io.StringIO()
    file.write(text)
    return text.getvalue().encode()


def gro_file() -> bytes:
    residue = info.residue("ALA")
    residue.res_id[:] = 7
    file = gro.GROFile()
    file.set_structure(residue)
    return written(file)


def mol_file() -> bytes:
    file = mol.MOLFile()
    file.set_structure(info.residue("ALA"))
    return written(file)


def packed(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("x.pdb"), io.BytesIO())
    else:
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("x.pdb", PDB)
    return out.getvalue()


def cif(*tags: str) -> bytes:
    return "\n".join(["data_x", "loop_", *tags, "1 " * len(tags), ""]).encode()


def pqr(width: int) -> bytes:
    return "\n".join(f"{x[:54]}{-0.4157:>{width}.4f} 1.8240" for x in ATOMS).encode()


KINDS: dict[str, tuple[Callable[[], bytes] | bytes, str]] = {
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "a pointer of Git LFS",
    ),
    "web page": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is a web page"),
    "another page": (b"\n<HTML>\n<title>504 Gateway Time-out</title>", "is a web page"),
    "PDBML": (b'<?xml version="1.0" ?>\n<PDBx:datablock>\n', "is an XML file"),
    "MMTF": (lambda: msgpack.packb({"mmtfVersion": "1.0", "numAtoms": 1}), "is an MMTF file"),
    "PyMOL": (lambda: pickle.dumps({"version": 1}, 1), "is a PyMOL session"),
    "PyMOL 2": (lambda: pickle.dumps({"version": 1}, 2), "is a PyMOL session"),
    "JSON": (b'{"data_1ABC": {}}', "is a JSON file"),
    "FASTA": (b">q\nMKT\n", "is a FASTA file"),
    "MOL2": (b"# made by\n\n@<TRIPOS>MOLECULE\nx\n", "is a MOL2 file"),
    "MOL": (mol_file, "is an SDF or MOL file"),
    "GRO": (gro_file, "is a GRO file"),
    "XYZ": (b"2\nwater\nO 0.0 0.0 0.0\nH 0.1 0.0 0.0\n", "is an XYZ file"),
    "CRD": (b"* TITLE\n*\n    2  EXT\n", "is a CHARMM coordinate file"),
    "topology": (b"%VERSION  VERSION_STAMP = V0001.000\n", "is a topology"),
    "tar": (lambda: packed("tar"), "is an archive"),
    "zip": (lambda: packed("zip"), "is an archive"),
    "structure factors": (cif("_refln.index_h", "_refln.index_k"), "has structure factors"),
    "a block more": (b"data_1\n_entry.id 1\n" + cif("_refln.index_h"), "has structure factors"),
    "component": (cif("_chem_comp_atom.atom_id", "_chem_comp_atom.x"), "describes chemical comp"),
    "small molecule": (cif("_atom_site_label", "_atom_site_fract_x"), "fractional coordinates"),
    "metadata": (cif("_entry.id"), "has no atoms"),
    "headers": (b"HEADER    HYDROLASE\nTITLE     X\nEND\n", "has no atoms"),
    "remarks": (b"REMARK 465 MISSING RESIDUES\nSEQRES   1 A    1  ALA\n", "has no atoms"),
    "spaces": ("\n".join(" ".join(x.split()) for x in ATOMS).encode(), "not in the columns"),
    "tabs": ("\n".join("\t".join(x.split()) for x in ATOMS).encode(), "not in the columns"),
    "PQR": (pqr(8), "line 1, has a charge and a radius instead of occupancy and B factor"),
    "wide PQR": (pqr(10), "line 1, has a charge and a radius instead of occupancy and B factor"),
    "noise": (np.arange(32, 127, dtype=np.uint8).tobytes(), "is not a PDB, mmCIF or BinaryCIF"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_reason_is_the_true_one(kind: str) -> None:
    data, says = KINDS[kind]
    with pytest.raises(InputError, match=f"^x[, ].*{says}"):
        parse_structure(data if isinstance(data, bytes) else data(), "x")


@pytest.mark.parametrize("start", ["", "2\n", "title\n 514\n", "# x\n", "* x\n", "HEADER (q\n"])
def test_structures_are_none_of_them(start: str) -> None:
    assert parse_structure(f"{start}{PDB}".encode(), "x").sequence == read_structure(CIF).sequence

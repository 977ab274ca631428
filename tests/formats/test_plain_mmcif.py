"""mmCIF for what the PDB format cannot hold; gemmi and Biopython read the same residues."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from Bio.PDB.MMCIFParser import MMCIFParser
from Bio.SeqUtils import seq1

from foldry.errors import InputError
from foldry.formats.coordinates import parse_deposition, parse_structure, read_structure, to_pdb
from foldry.formats.plain_mmcif import to_mmcif
from foldry.structure import Structure

EXAMPLE = read_structure(Path(__file__).resolve().parents[2] / "examples" / "kunitz" / "1adz.cif")


def several(names: list[str], step: float = 40) -> Structure:
    """Copies of the example side by side, so many Å from each other."""
    names_of = np.repeat(names, len(EXAMPLE))
    joined = {
        each.name: np.concatenate([getattr(EXAMPLE, each.name)] * len(names))
        for each in fields(EXAMPLE)[1:]
    }
    shift = np.repeat(np.arange(len(names)) * step, len(EXAMPLE))
    places = joined["atom_positions"] + shift[:, None, None] * joined["atom_mask"][..., None]
    return Structure("many", **joined | {"chain_id": names_of, "atom_positions": places})


def codes(structure: Structure) -> Structure:
    """Insertion codes, a gap and numbers below zero."""
    number = structure.residue_number.copy()
    number[5:8] = number[5]
    code = structure.insertion_code.astype("U1")
    code[6:8] = ["A", "B"]
    number[:3] -= 30
    return replace(structure, residue_number=number, insertion_code=code)


MODELS = {
    "chains of two letters": several(["AA", "BA", "LongName"]),
    "numbers above 9999": replace(EXAMPLE, residue_number=EXAMPLE.residue_number + 99_990),
    "coordinates above 9999 Å": several(["A", "B"], step=12_345.678),
    "negative coordinates": several(["A", "B"], step=-2000),
    "large B factors": replace(EXAMPLE, b_factor=EXAMPLE.b_factor * 1000),
    "insertion codes": codes(several(["AA"])),
    "a chain name with a quote": several(["A'", "a b", ""]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_it_is_read_as_it_was(kind: str) -> None:
    model = MODELS[kind]
    if kind not in ("insertion codes", "a chain name with a quote"):
        with pytest.raises(InputError, match="does not fit into the PDB format"):
            to_pdb(model)
    text = to_mmcif(model)
    found = parse_structure(text.encode(), "many.cif")
    for each in fields(Structure)[1:]:
        ours, theirs = getattr(model, each.name), getattr(found, each.name)
        if ours.dtype.kind == "f":
            decimals = 3 if each.name == "atom_positions" else 2
            np.testing.assert_allclose(theirs, np.round(ours, decimals), rtol=1e-6)
        else:
            assert theirs.tolist() == ours.tolist(), each.name
    assert to_mmcif(replace(found, name=model.name)) == text


@pytest.mark.parametrize("kind", MODELS)
def test_other_readers_find_the_same_residues(kind: str) -> None:
    model = MODELS[kind]
    text = to_mmcif(model)
    expected = [
        (chain, int(number), code or " ", letter)
        for chain, number, code, letter in zip(
            model.chain_id, model.residue_number, model.insertion_code, model.sequence, strict=True
        )
    ]
    parsed = MMCIFParser(QUIET=True).get_structure("x", io.StringIO(text))
    assert [
        (chain.id, *residue.id[1:], seq1(residue.resname))
        for [chains] in [list(parsed)]
        for chain in chains
        for residue in chain
    ] == expected
    read = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
    assert [
        (chain.name, each.seqid.num, each.seqid.icode, seq1(each.name))
        for chain in read[0]
        for each in chain
    ] == expected
    assert [entity.polymer_type for entity in read.entities] == [gemmi.PolymerType.PeptideL]


def test_residues_without_atoms_are_in_the_sequence() -> None:
    mask = EXAMPLE.atom_mask.copy()
    mask[[0, 7, 8]] = False
    aatype = EXAMPLE.aatype.copy()
    aatype[7] = 20
    model = replace(EXAMPLE, atom_mask=mask, aatype=aatype)
    text = to_mmcif(model).encode()
    assert parse_structure(text, "m").sequence == EXAMPLE.sequence[1:7] + EXAMPLE.sequence[9:]
    [sequence] = parse_deposition(text, "m").chain_to_seqres.values()
    assert sequence == model.sequence


def test_equal_chains_share_an_entity() -> None:
    text = to_mmcif(several(["AA", "B", "C"]).select(np.arange(3 * len(EXAMPLE) - 5)))
    parsed = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
    assert [entity.subchains for entity in parsed.entities] == [["AA", "B"], ["C"]]


def test_only_structures_are_written() -> None:
    with pytest.raises(InputError, match="is not a structure"):
        to_mmcif("a.cif")  # type: ignore[arg-type]

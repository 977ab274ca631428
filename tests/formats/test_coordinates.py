"""Coordinates against Biopython's and gemmi's readings, and the recorded official ones."""

from __future__ import annotations

import gzip
import io
import re
import tempfile
import time
import warnings
from pathlib import Path

import gemmi
import numpy as np
import pytest
from Bio.PDB import MMCIFParser, PDBParser
from biotite.structure.io import pdbx
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.formats.binarycif import _unpack
from foldry.formats.coordinates import (
    parse_deposition,
    parse_structure,
    read_both,
    read_deposition,
    read_structure,
    to_pdb,
)
from foldry.residues import ATOM37, ATOM37_MASK, ATOM37_ORDER, CA
from foldry.structure import Structure
from tests.formats.test_binarycif import ascending, integers, named_file, run, texts

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*/*.cif"))


def atoms(structure: Structure) -> set[tuple[object, ...]]:
    """Every atom as chain, number, insertion code, name and coordinates to 0.001 Å."""
    return {
        (
            str(structure.chain_id[row]),
            int(structure.residue_number[row]),
            str(structure.insertion_code[row]),
            ATOM37[slot],
            *structure.atom_positions[row, slot].round(3).tolist(),
        )
        for row, slot in np.argwhere(structure.atom_mask)
    }


def biopython_atoms(path: Path, parser: MMCIFParser | PDBParser) -> set[tuple[object, ...]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = parser.get_structure("x", path)[0]
    return {
        (
            chain.id,
            residue.id[1],
            residue.id[2].strip(),
            atom.name,
            *atom.coord.astype(float).round(3),
        )
        for chain in model
        for residue in chain
        if residue.id[0] == " "
        for atom in residue
        if atom.name in ATOM37_ORDER
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_agree_with_biopython(path: Path, tmp_path: Path) -> None:
    structure = read_structure(path)
    assert atoms(structure) == biopython_atoms(path, MMCIFParser(QUIET=True))
    pdb = tmp_path / "x.pdb"
    gemmi.read_structure(str(path)).write_pdb(str(pdb))
    assert atoms(read_structure(pdb)) == biopython_atoms(pdb, PDBParser(QUIET=True))


def test_real_structures_agree_with_biopython(data_dir: Path) -> None:
    for path in sorted((data_dir / "examples").glob("*.cif")):
        structure = read_structure(path)
        assert atoms(structure) == biopython_atoms(path, MMCIFParser(QUIET=True))
        fasta = path.with_suffix(".fasta").read_text().split("\n", 1)[1]
        assert structure.sequence == "".join(fasta.split())


def binarycif(path: Path) -> bytes:
    """A mmCIF file as BinaryCIF, in the encodings that biotite finds shortest."""
    cif = pdbx.CIFFile.read(path)
    categories = {}
    for name, category in cif.block.items():
        columns = {
            key: pdbx.BinaryCIFColumn(
                pdbx.BinaryCIFData(column.as_array()),
                pdbx.BinaryCIFData(column.mask.array) if column.mask else None,
            )
            for key, column in category.items()
        }
        if name == "atom_site":
            for key in ("Cartn_x", "Cartn_y", "Cartn_z", "B_iso_or_equiv", "occupancy"):
                columns[key] = pdbx.BinaryCIFColumn(category[key].as_array(float))
            for key in ("id", "label_seq_id"):
                columns[key] = pdbx.BinaryCIFColumn(category[key].as_array(int))
        categories[name] = pdbx.BinaryCIFCategory(columns)
    binary = pdbx.BinaryCIFFile({"x": pdbx.BinaryCIFBlock(categories)})
    file = io.BytesIO()
    pdbx.compress(binary).write(file)
    return file.getvalue()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_binarycif_and_gzip_are_the_same_structure(path: Path, tmp_path: Path) -> None:
    (tmp_path / "x.bcif").write_bytes(binarycif(path))
    (tmp_path / "x.bcif.gz").write_bytes(gzip.compress((tmp_path / "x.bcif").read_bytes()))
    expected = read_structure(path)
    for name in ("x.bcif", "x.bcif.gz"):
        got = read_structure(tmp_path / name)
        assert got.name == "x"
        assert atoms(got) == atoms(expected)
        np.testing.assert_allclose(got.b_factor, expected.b_factor, atol=1e-3)
    assert (
        read_deposition(tmp_path / "x.bcif").chain_to_seqres
        == read_deposition(path).chain_to_seqres
    )


def line(
    serial: int, name: str, residue: str, place: str, xyz: tuple[float, ...], occupancy: float = 1
) -> str:
    record = "ATOM" if residue[-3:] in ("ALA", "ARG", "GLY", " DA") else "HETATM"
    x, y, z = xyz
    element = "SE" if name.strip() == "SE" else name.strip()[0]
    return (
        f"{record:<6}{serial:>5} {name:<4}{residue:>4} {place:<6}   {x:>8.3f}{y:>8.3f}{z:>8.3f}"
        f"{occupancy:>6.2f}{10:>6.2f}          {element:>2}"
    )


HARD = "\n".join(
    [
        "SEQRES   1 A    5  GLY ALA MSE ARG GLY",
        line(1, " N", "ALA", "A  10 ", (0, 0, 0)),
        line(2, " CA", "ALA", "A  10 ", (1.5, 0, 0)),
        line(3, " C", "ALA", "A  10 ", (2, 1.4, 0)),
        line(4, " H", "ALA", "A  10 ", (2, 2, 2)),
        line(5, " N", "MSE", "A  10A", (3.3, 1.5, 0)),
        line(6, " CA", "AMSE", "A  10A", (4, 2.8, 0), 0.4),
        line(7, " CA", "BMSE", "A  10A", (4, 2.8, 0.5), 0.6),
        line(8, " C", "MSE", "A  10A", (5.5, 2.7, 0)),
        line(9, "SE", "MSE", "A  10A", (4, 6, 1)),
        line(10, " N", "ARG", "A  11 ", (6.2, 3.8, 0)),
        line(11, " CA", "ARG", "A  11 ", (7.6, 3.8, 0)),
        line(12, " CD", "ARG", "A  11 ", (9, 6, 0)),
        line(13, " NH1", "ARG", "A  11 ", (9, 6, 4.0)),
        line(14, " NH2", "ARG", "A  11 ", (9, 6, 2.5)),
        line(15, " C", "ARG", "A  11 ", (8, 5, 1)),
        "TER",
        line(16, " P", " DA", "B   1 ", (30, 30, 30)),
        line(17, " O", "HOH", "A 101 ", (20, 20, 20)),
        line(18, " C1", "GOL", "A 102 ", (25, 20, 20)),
        "END",
    ]
)


def small_binarycif() -> bytes:
    """The hard file as BinaryCIF."""
    text = gemmi.read_pdb_string(HARD).make_mmcif_document().as_string()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.cif"
        path.write_text(text)
        return binarycif(path)


SMALL_BINARYCIF = small_binarycif()


def test_a_difficult_file_is_read_as_documented() -> None:
    structure = parse_structure(HARD.encode(), "folder/hard.pdb")
    assert structure.name == "hard"
    assert structure.sequence == "AMR"
    assert structure.residue_number.tolist() == [10, 10, 11]
    assert structure.insertion_code.tolist() == ["", "A", ""]
    assert structure.chains == ("A",)
    assert structure.atom_mask.sum(axis=1).tolist() == [3, 4, 6]
    assert structure.atom_positions[1, CA].tolist() == [4, 2.8, 0.5]  # the likelier one
    assert structure.atom_positions[1, ATOM37_ORDER["SD"]].tolist() == [4, 6, 1]
    assert structure.atom_positions[2, ATOM37_ORDER["NH1"]].tolist() == [9, 6, 2.5]
    assert structure.atom_positions[2, ATOM37_ORDER["NH2"]].tolist() == [9, 6, 4]


def test_the_more_occupied_of_two_residues_is_kept() -> None:
    lines = [
        line(1, " CA", "AALA", "A   1 ", (0, 0, 0), 0.3),
        line(2, " CA", "BGLY", "A   1 ", (1, 0, 0), 0.7),
        line(3, " CA", "ALA", "A   2 ", (4, 0, 0)),
    ]
    assert parse_structure("\n".join(lines).encode(), "x.pdb").sequence == "GA"


def test_the_first_of_equal_occupancies_is_kept() -> None:
    lines = [
        line(1, " CA", "AALA", "A   1 ", (1, 0, 0), 0.3),
        line(2, " CA", "BALA", "A   1 ", (2, 0, 0), 0.35),
        line(3, " CA", "CALA", "A   1 ", (3, 0, 0), 0.35),
    ]
    structure = parse_structure("\n".join(lines).encode(), "x.pdb")
    assert structure.atom_positions[0, CA].tolist() == [2, 0, 0]


@pytest.mark.parametrize("number", ["0.1", "12.34", "-3.07", "87.6543", "9999.99", "70000.02"])
def test_b_factors_are_the_file_s_numbers(number: str) -> None:
    document = gemmi.read_pdb_string(HARD).make_mmcif_document()
    for row in document.sole_block().find(["_atom_site.B_iso_or_equiv"]):
        row[0] = number
    structure = parse_structure(document.as_string().encode(), "x.cif")
    assert set(structure.b_factor[structure.atom_mask]) == {float(number)}


def test_names_of_any_length() -> None:
    parsed = gemmi.read_pdb_string(HARD)
    parsed.setup_entities()
    parsed[0][0].name = "protein-chain-1"
    for residue in parsed[0][0].get_polymer():
        residue.subchain, residue.entity_id = "label-of-chain-1", "entity-of-chain-1"
    structure = parse_structure(parsed.make_mmcif_document().as_string().encode(), "x.cif")
    assert (structure.chains, structure.sequence) == (("protein-chain-1",), "AMR")
    parsed[0][0][0][0].name = "NITROGEN-1"
    with pytest.raises(InputError, match=r"damaged structure file \(.*NITROGEN-1\): fix it"):
        parse_structure(parsed.make_mmcif_document().as_string().encode(), "x.cif")


@pytest.mark.parametrize("path", EXAMPLES)
def test_structure_and_deposition_come_from_one_parse(path: Path) -> None:
    structure, deposition = read_both(path)
    assert structure == read_structure(path)
    assert deposition == read_deposition(path)


def test_too_many_residues_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldry.formats.coordinates._MAX_RESIDUES", 3)
    parse_structure(HARD.encode(), "x.pdb")
    monkeypatch.setattr("foldry.formats.coordinates._MAX_RESIDUES", 2)
    with pytest.raises(InputError, match="more than 2 residues"):
        parse_structure(HARD.encode(), "x.pdb")


def test_more_chains_or_models_than_gemmi_compares_are_refused() -> None:
    parts = "\n".join([ONE_ATOM, "TER"] * 20_000)
    with pytest.raises(InputError, match="more than 10000 chains"):
        parse_structure(parts.encode(), "x.pdb")
    whole = changed_cif("id", "1").decode()
    [row] = re.findall(r"^ATOM 1 .*\n", whole, re.MULTILINE)
    model = row.rsplit(" ", 1)[0]
    rows = "".join(f"{model} {number}\n" for number in range(20_000))
    with pytest.raises(InputError, match="more than 10000 models"):
        parse_structure(whole.replace(row, rows).encode(), "x.cif")


def test_many_chains_of_one_name_are_read_quickly() -> None:
    parts = "\n".join([ONE_ATOM, "TER"] * 5000)
    started = time.process_time()
    assert len(parse_structure(parts.encode(), "x.pdb").chains) == 5000
    assert time.process_time() - started < 3


def test_a_sequence_in_many_chains_is_not_laid_out_without_limit() -> None:
    chains = 100
    numbers = range(1, 5001)
    head = "data_x\nloop_\n_entity.id\n_entity.type\n1 polymer\n"
    poly = "loop_\n_entity_poly.entity_id\n_entity_poly.type\n1 polypeptide(L)\n"
    monomers = "".join(f"1 {number} ALA\n" for number in numbers)
    sequence = "loop_\n" + "".join(
        f"_entity_poly_seq.{name}\n" for name in ("entity_id", "num", "mon_id")
    )
    asym = "loop_\n_struct_asym.id\n_struct_asym.entity_id\n"
    asyms = "".join(f"C{chain} 1\n" for chain in range(chains))
    tags = "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id "
    tags += "label_entity_id label_seq_id Cartn_x Cartn_y Cartn_z auth_seq_id auth_asym_id"
    site = "loop_\n" + "".join(f"_atom_site.{tag}\n" for tag in tags.split())
    atoms = "".join(
        f"ATOM {chain} C CA . ALA C{chain} 1 1 {chain} 2 3 1 C{chain}\n" for chain in range(chains)
    )
    text = head + poly + sequence + monomers + asym + asyms + site + atoms
    assert len(parse_structure(text.encode(), "x.cif")) == chains
    with pytest.raises(InputError, match=r"more than \d+ residues"):
        parse_deposition(text.encode(), "x.cif")


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pdb.gz"
    path.write_bytes(gzip.compress((ONE_ATOM + "\n").encode() * 1_000_000))
    for read in (read_structure, read_deposition):
        with pytest.raises(InputError, match="more than 8 MiB after decompression"):
            read(path)


def test_a_small_binarycif_of_many_residues_is_refused() -> None:
    rows = 200_000
    columns = {
        "group_PDB": "ATOM", "type_symbol": "C", "label_atom_id": "CA", "label_comp_id": "ALA",
        "label_asym_id": "A", "label_entity_id": "1",
        "Cartn_x": "1", "Cartn_y": "2", "Cartn_z": "3", "auth_asym_id": "A", "label_alt_id": "A",
    }  # fmt: skip
    data = named_file(
        {
            name: texts(value, integers(0, len(value)), run(0, rows))
            for name, value in columns.items()
        }
        | {name: ascending(rows) for name in ("id", "auth_seq_id", "label_seq_id")}
    )
    assert len(data) < 10_000
    with pytest.raises(InputError, match=r"more than 1\d+ residues|too many residues in one chain"):
        parse_structure(data, "x.bcif")


def test_observed_residues_are_placed_on_seqres() -> None:
    deposition = parse_deposition(HARD.encode(), "hard.pdb")
    assert deposition.chain_to_seqres == {"A": "GAMRG"}
    assert deposition.chains["A"].sequence == "GAMRG"
    assert deposition.chains["A"].atom_mask.any(axis=1).tolist() == [0, 1, 1, 1, 0]
    assert deposition.chains["A"].residue_number[1:4].tolist() == [10, 10, 11]


def test_a_deposition_without_entities_has_the_residues_seen() -> None:
    atom = "ATOM     43  CZ  PHE    12       6.855  -5.994   1.000  1.00 50.00           C  "
    assert parse_deposition(atom.encode(), "atom.pdb").chain_to_seqres == {"": "F"}


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (
            "ATOM      1  CA  ALA A   1      11.639   6.0x1  -5.147  1.00",
            "'6.0x1' in columns 39 to 46",
        ),
        ("ATOM      1  CA  ALA A   1      11.639   6.071          1.00", "'' in columns 47 to 54"),
        ("ATOM      1  CA  ALA A   1     11 .639   6.071  -5.147  1.00", "'11 .639' in columns 31"),
        (
            "HETATM    1  CA  MSE A   1         nan   6.071  -5.147  1.00",
            "'nan' in columns 31 to 38",
        ),
        (
            "ATOM     43  CZ  PHE   6.855  -5.994  1.00 50.00           C",
            "'1.00 50.' in columns 39",
        ),
    ],
)
def test_an_invalid_coordinate_is_named_with_its_line(line: str, field: str) -> None:
    text = f"REMARK\n{line}\n"
    with pytest.raises(InputError, match=f"bad.pdb, line 2, has {field}.* is not a coordinate"):
        parse_structure(text.encode(), "bad.pdb")


ONE_ATOM = "ATOM      1  CA  ALA A   1      11.639   6.071  -5.147  1.00 20.00           C  "


@pytest.mark.parametrize(
    ("start", "field", "kind"),
    [
        (22, "    ", "residue number"),
        (22, " 1x ", "residue number"),
        (22, " 1.5", "residue number"),
        (22, "A00-", "residue number"),
        (12, "    ", "atom name"),
        (17, "   ", "residue name"),
        (54, " x.00 ", "occupancy"),
        (54, "   nan", "occupancy"),
        (60, "******", "B factor"),
        (60, "   inf", "B factor"),
    ],
)
@pytest.mark.parametrize("record", ["ATOM  ", "HETATM", "Atom  "])
def test_a_field_that_is_not_a_number_is_named_with_its_line(
    record: str, start: int, field: str, kind: str
) -> None:
    bad = record + ONE_ATOM[6:start] + field + ONE_ATOM[start + len(field) :]
    columns = f"columns {start + 1} to {start + len(field)}"
    for read in (parse_structure, parse_deposition):
        with pytest.raises(InputError, match=f"x.pdb, line 2, has .* in {columns}.* {kind}: fix"):
            read(f"{ONE_ATOM}\n{bad}\n".encode(), "x.pdb")


@pytest.mark.parametrize(
    ("number", "means"), [("1   ", 1), ("  -3", -3), ("9999", 9999), ("A000", 10_000)]
)
def test_residue_numbers_of_pdb_files(number: str, means: int) -> None:
    text = ONE_ATOM[:22] + number + ONE_ATOM[26:]
    for end in (60, 80):  # the B factor may be left out
        assert parse_structure(text[:end].encode(), "x.pdb").residue_number.tolist() == [means]


@pytest.mark.parametrize(
    ("end_of_line", "b_factor"),
    [
        ("", 0),
        ("  1.00", 0),
        ("  1.00            ", 0),
        ("  0.50 85.25", 85.25),
        ("  0.50 85.2", 85.2),
        ("  0.50 85", 85),
        ("  0.50 8\r", 8),
        ("       85.25", 85.25),
    ],
)
def test_the_b_factor_of_a_pdb_line_of_any_length(end_of_line: str, b_factor: float) -> None:
    line = ONE_ATOM[:54] + end_of_line
    structure = parse_structure(f"{line}\n".encode(), "x.pdb")
    assert structure.b_factor[0, 1] == b_factor
    assert parse_structure(f"{line[:52]}\n".encode(), "x.pdb").atom_positions[0, 1, 2] == -5.1


def test_a_blank_occupancy_is_1() -> None:
    alternates = [ONE_ATOM[:16] + alternate + ONE_ATOM[17:] for alternate in "AB"]
    second = alternates[1].replace(" 1.00", "     ").replace("11.639", "12.639")
    for end in (54, 80):
        text = f"{alternates[0].replace(' 1.00', ' 0.50')}\n{second[:end]}\n"
        assert parse_structure(text.encode(), "x.pdb").atom_positions[0, 1, 0] == 12.639


@pytest.mark.parametrize("column", [7, 13, 16, 18, 21, 25, 26, 37, 45, 53, 59, 65])
def test_letters_of_two_bytes_in_a_pdb_line_are_refused(column: int) -> None:
    bad = f"{ONE_ATOM[:column]}\N{ARABIC-INDIC DIGIT THREE}{ONE_ATOM[column + 1 :]}"
    with pytest.raises(InputError, match=r"x.pdb, line 2, has letters that are not ASCII"):
        parse_structure(f"{ONE_ATOM}\n{bad}\n".encode(), "x.pdb")


def test_a_model_without_a_number_is_named_with_its_line() -> None:
    text = f"MODEL        x\n{ONE_ATOM}\nENDMDL\n"
    with pytest.raises(InputError, match=r"line 1, has 'x' in columns 6 to 14.* a model number"):
        parse_structure(text.encode(), "x.pdb")
    assert len(parse_structure(text.replace("x", " ").encode(), "x.pdb")) == 1


def changed_cif(column: str, value: str, row: int | None = 0) -> bytes:
    """The hard file as mmCIF with another value in a row, or in all rows, of a column."""
    document = gemmi.read_pdb_string(HARD).make_mmcif_document()
    for number, cell in enumerate(document.sole_block().find([f"_atom_site.{column}"])):
        if row is None or number == row:
            cell[0] = value
    return document.as_string().encode()


@pytest.mark.parametrize("value", ["x", "1..5", "nan", "'1'", "1e"])
@pytest.mark.parametrize(
    "column",
    ["Cartn_x", "Cartn_z", "occupancy", "B_iso_or_equiv", "label_seq_id", "pdbx_PDB_model_num"],
)
def test_a_value_of_mmcif_that_is_not_a_number_is_named(column: str, value: str) -> None:
    with pytest.raises(InputError, match=f"x.cif, atom 3, has .* in {column}, which is not"):
        parse_structure(changed_cif(column, value, 2), "x.cif")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("Cartn_y", "?", "atom 1, has '[?]' in Cartn_y, which is not a coordinate"),
        ("Cartn_y", "1e999", "without finite coordinates or B factor in residue 10 of chain A"),
        ("B_iso_or_equiv", "9" * 400, "without finite coordinates or B factor in residue 10"),
        ("auth_seq_id", "?", "has a residue without a number in chain 'A'"),
        ("auth_seq_id", ".", "has a residue without a number in chain 'A'"),
        ("label_atom_id", "?", "atom 1, has '[?]' in label_atom_id, which is not an atom name"),
        ("label_comp_id", ".", "atom 1, has '.' in label_comp_id, which is not a residue name"),
        ("label_comp_id", "''", "in label_comp_id, which is not a residue name"),
        ("auth_seq_id", "x", "atom 1, has 'x' in auth_seq_id, which is not a residue number"),
        ("auth_seq_id", "99999999999", "which is not a residue number"),
        ("label_seq_id", "99999999999", "which is not a residue number"),
        ("pdbx_PDB_model_num", "?", "which is not a model number"),
        ("pdbx_PDB_ins_code", "1.5", "atom 1, has '1.5' in pdbx_PDB_ins_code, which is not one"),
        ("label_alt_id", "abc", "atom 1, has 'abc' in label_alt_id, which is not one letter"),
        ("label_atom_id", "9" * 5000, "is a damaged structure file"),
        ("pdbx_PDB_ins_code", "\u200b" * 3, "is a damaged structure file"),
    ],
)
def test_one_blank_or_odd_value_of_mmcif_is_refused(column: str, value: str, says: str) -> None:
    for read in (parse_structure, parse_deposition):
        with pytest.raises(InputError, match=says) as caught:
            read(changed_cif(column, value), "x.cif")
        assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["?", "."])
@pytest.mark.parametrize(
    "column", ["occupancy", "B_iso_or_equiv", "label_seq_id", "pdbx_PDB_model_num"]
)
def test_a_column_of_mmcif_without_values_is_read(column: str, value: str) -> None:
    structure = parse_structure(changed_cif(column, value, None), "x.cif")
    assert structure.sequence == "AMR"
    assert np.isfinite(structure.b_factor).all() and structure.residue_number.dtype == np.int64
    if column == "B_iso_or_equiv":
        assert not structure.b_factor.any()


@pytest.mark.parametrize("value", ["?", "."])
def test_one_residue_number_that_is_left_out_is_not_taken_from_another_column(value: str) -> None:
    (kunitz,) = (path for path in EXAMPLES if path.stem == "1adz")
    lines = kunitz.read_text("utf-8").splitlines()
    first = next(row for row, line in enumerate(lines) if line.startswith("ATOM"))
    names = [line.split(".")[1].strip() for line in lines if line.startswith("_atom_site.")]
    cells = lines[first + 10].split()
    cells[names.index("auth_seq_id")] = value
    lines[first + 10] = " ".join(cells)
    says = "x.cif, atom 11, has no residue number in auth_seq_id, which other atoms have"
    with pytest.raises(InputError, match=says):
        parse_structure("\n".join(lines).encode(), "x.cif")


def test_the_resolution_needs_no_other_column() -> None:
    known = {"1trn": 2.2, "1adz": 0.0}
    for path in EXAMPLES:
        if path.stem in known:
            assert read_deposition(path).resolution == known[path.stem]
    (trypsin,) = (path for path in EXAMPLES if path.stem == "1trn")
    blurred = trypsin.read_text().replace("res_high 2.20", "res_high ?")
    assert parse_deposition(blurred.encode(), "1trn.cif").resolution == 0


@pytest.mark.parametrize("unknown", ["?", ".", "x", "''", "nan", "1e400"])
def test_unknown_resolutions_and_dates_are_not_values(unknown: str) -> None:
    (trypsin,) = (path for path in EXAMPLES if path.stem == "1trn")
    text = trypsin.read_text() + "_pdbx_audit_revision_history.revision_date {}\n"
    text += f"_em_3d_reconstruction.resolution {unknown}\n"
    found = parse_deposition(text.format(unknown).encode(), "1trn.cif")
    assert (found.resolution, found.release_date) == (2.2, "")
    unresolved = text.format("'2005-11-20'").replace("res_high 2.20", "res_high ?")
    found = parse_deposition(unresolved.encode(), "1trn.cif")
    assert (found.resolution, found.release_date) == (0, "2005-11-20")


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("mon_id", ".", "a residue name"),
        ("mon_id", "?", "a residue name"),
        ("num", "1.5", "a residue number"),
        ("num", "x", "a residue number"),
    ],
)
def test_a_field_of_a_sequence_that_is_not_understood_is_named(
    column: str, value: str, kind: str
) -> None:
    document = gemmi.cif.read_string(EXAMPLES[0].read_text())
    document.sole_block().find([f"_entity_poly_seq.{column}"])[2][0] = value
    says = f"x.cif, row 3, has .* in _entity_poly_seq.{column}, which is not {kind}: fix"
    for read in (parse_structure, parse_deposition):
        with pytest.raises(InputError, match=says):
            read(document.as_string().encode(), "x.cif")


def trace(chain: str, numbers: list[int], residue: str, x: float = 0) -> list[str]:
    """Cα alone, one residue after another."""
    return [
        line(serial, " CA", residue, f"{chain}{serial:>4} ", (x, 3.8 * serial, 0))
        for serial in numbers
    ]


@pytest.mark.parametrize("name", ["A", " "])
def test_chains_of_one_name_separated_by_ter_are_all_read(name: str) -> None:
    lines = [
        *trace(name, [1, 2, 3], "ALA"),
        "TER",
        *trace(name, [1, 2], "GLY", 20),
        "TER",
        *trace("B", [1], "ALA", 40),
        "TER",
        *trace(name, [1, 2], "ARG", 60),
        "TER",
        line(9, " CA", "MSE", f"{name}   9 ", (80, 0, 0)),
        line(9, " O", "HOH", f"{name}   1 ", (90, 0, 0)),
    ]
    structure = parse_structure("\n".join(lines).encode(), "x.pdb")
    first = name.strip()
    assert structure.chains == (first, f"{first}2", "B", f"{first}3")
    assert structure.sequence == "AAAGGARR"
    assert structure.atom_positions[:, CA, 0].tolist() == [0, 0, 0, 20, 20, 40, 60, 60]


def test_a_break_marked_by_ter_leaves_a_chain_whole() -> None:
    lines = [*trace("A", [1, 2], "ALA"), "TER", *trace("A", [5, 6], "GLY"), "TER"]
    structure = parse_structure("\n".join(lines).encode(), "x.pdb")
    assert structure.chains == ("A",)
    assert structure.residue_number.tolist() == [1, 2, 5, 6]


@pytest.mark.parametrize("residue", ["ALA", "GLY"])
def test_chains_of_one_name_without_ter_are_all_read(residue: str) -> None:
    lines = [*trace("A", [1, 2, 3], "ALA"), *trace("A", [1, 2, 3], residue, 20)]
    structure = parse_structure("\n".join(lines).encode(), "x.pdb")
    assert structure.chains == ("A", "A2")
    assert structure.atom_positions[:, CA, 0].tolist() == [0, 0, 0, 20, 20, 20]


def test_unprintable_letters_of_a_file_are_escaped_in_messages() -> None:
    parsed = gemmi.read_pdb_string(ONE_ATOM)
    parsed[0][0].name = "\x1b"
    text = parsed.make_mmcif_document().as_string().replace("11.639", "1e999")
    with pytest.raises(InputError, match="without finite coordinates") as caught:
        parse_structure(text.encode(), "x.cif")
    assert str(caught.value).isprintable() and r"\x1b" in str(caught.value)


@pytest.mark.parametrize("number", [1, 3])
def test_two_proteins_under_one_author_s_name_in_mmcif(number: int) -> None:
    second = trace("B", [number, number + 1], "ALA", 20)
    parsed = gemmi.read_pdb_string("\n".join([*trace("A", [1, 2], "ALA"), "TER", *second]))
    parsed.setup_entities()
    text = parsed.make_mmcif_document().as_string()
    text = re.sub(r"^(ATOM .*) B 1$", r"\1 A 1", text, flags=re.MULTILINE)
    structure = parse_structure(text.encode(), "x.cif")
    assert structure.chains == ("A", "A2")
    assert structure.residue_number.tolist() == [1, 2, number, number + 1]


def test_amino_acids_of_an_entity_that_is_not_a_polymer_are_not_a_chain() -> None:
    lines = [*trace("A", [1, 2], "ALA"), "TER", *trace("B", [3, 4], "GLY", 20)]
    parsed = gemmi.read_pdb_string("\n".join(lines))
    parsed.setup_entities()
    parsed.entities[1].entity_type = gemmi.EntityType.NonPolymer
    text = parsed.make_mmcif_document().as_string()
    assert parse_structure(text.encode(), "x.cif").sequence == "AA"


def test_models_are_counted_from_zero() -> None:
    models = "".join(
        f"MODEL     {number}\n" + line(1, " CA", "ALA", "A   1 ", (number, 0, 0)) + "\nENDMDL\n"
        for number in (1, 2)
    )
    assert parse_structure(models.encode(), "x.pdb", 1).atom_positions[0, CA, 0] == 2
    with pytest.raises(InputError, match="no model 2"):
        parse_structure(models.encode(), "x.pdb", 2)


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    """One or two chains with atoms as PDB's columns can hold them, some residues without any."""
    length = draw(st.integers(1, 6))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    aatype = rng.integers(0, 21, length)
    mask = (ATOM37_MASK[aatype] > 0) & (rng.random((length, 37)) < 0.8)
    mask[:, CA] = rng.random(length) < draw(st.sampled_from([0.8, 1.0]))
    mask[draw(st.integers(0, length - 1)), CA] = True
    return Structure(
        name="x",
        aatype=aatype,
        residue_number=np.arange(1, length + 1) + draw(st.integers(-20, 9000)),
        insertion_code=np.full(length, ""),
        chain_id=np.array(["A"] * (length - length // 2) + ["B"] * (length // 2)),
        atom_positions=rng.uniform(-999, 999, (length, 37, 3)).round(3) * mask[..., None],
        atom_mask=mask,
        b_factor=rng.uniform(0, 100, (length, 37)).round(2) * mask,
    )


@settings(deadline=None)
@given(structures())
def test_pdb_is_read_back(structure: Structure) -> None:
    back = parse_structure(to_pdb(structure).encode(), "x.pdb")
    structure = structure.select(structure.atom_mask.any(axis=1))
    arginine = structure.aatype == 1  # NH1 and NH2 may have changed places
    for name in ("aatype", "residue_number", "chain_id"):
        np.testing.assert_array_equal(getattr(back, name), getattr(structure, name))
    for name in ("atom_mask", "atom_positions", "b_factor"):
        one, other = getattr(structure, name), getattr(back, name)
        np.testing.assert_array_equal(one[~arginine], other[~arginine])


def test_structures_too_large_for_pdb_are_refused() -> None:
    structure = parse_structure(HARD.encode(), "hard.pdb")
    for change in (
        {"chain_id": np.full(3, "AA")},
        {"residue_number": np.full(3, 10_000)},
        {"atom_positions": np.full((3, 37, 3), 1e5)},
    ):
        with pytest.raises(InputError, match="PDB format"):
            to_pdb(Structure(**{**vars(structure), **change}))


def test_pdb_has_wide_numbers_beside_negative_ones() -> None:
    structure = read_structure(EXAMPLES[0])
    positions = np.zeros_like(structure.atom_positions)
    positions[0, :, 0], positions[1, :, 0] = 9999.999, -999.999
    moved = Structure(**{**vars(structure), "atom_positions": positions})
    lines = [line for line in to_pdb(moved).splitlines() if line.startswith("ATOM")]
    places = {line[30:38] for line in lines}
    assert places == {"9999.999", "-999.999", "   0.000"}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_structure_or_bad_input(data: bytes) -> None:
    for start in (b"", b"\x83", b"data_x\n", b"ATOM  "):
        with pytest.raises(InputError):
            parse_structure(start + data, "x")


@settings(deadline=None)
@given(st.data())
def test_a_changed_file_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(HARD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(1, 127))
    try:
        structure = parse_structure(bytes(content), "x.pdb")
    except InputError:
        return
    assert len(structure) > 0
    assert np.isfinite(structure.atom_positions).all()


@settings(deadline=None)
@given(st.data())
def test_a_changed_binarycif_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(SMALL_BINARYCIF)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        structure = parse_structure(bytes(content), "x.bcif")
    except InputError as error:
        assert "x.bcif" in str(error)
        return
    assert np.isfinite(structure.atom_positions).all()


@pytest.mark.parity
def test_depositions_equal_the_recorded_ones(parity_dir: Path) -> None:
    path = parity_dir / "data" / "templates.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path) as archive:
        recorded = dict(archive)
    compared = 0
    for name in (key.split("/")[0] for key in recorded if key.endswith("/seqres")):
        text, beside = recorded.get(f"{name}/in_mmcif"), path.with_name(f"{name}.cif.gz")
        if text is None and not beside.is_file():
            continue
        deposition = (
            read_deposition(beside)
            if text is None
            else parse_deposition(text.tobytes(), f"{name}.cif")
        )
        seqres = zip(recorded[f"{name}/chains"], recorded[f"{name}/seqres"], strict=True)
        assert deposition.chain_to_seqres == {key.decode(): value.decode() for key, value in seqres}
        header = {
            f"release_date={deposition.release_date}",
            f"resolution={deposition.resolution}",
            f"structure_method={deposition.method}",
        }
        assert header == {item.decode() for item in recorded[f"{name}/header"]}
        chain = deposition.chains["A"]
        np.testing.assert_array_equal(chain.atom_mask, recorded[f"{name}/atom_mask"])
        np.testing.assert_array_equal(
            chain.atom_positions.astype(np.float32), recorded[f"{name}/atom_positions"]
        )
        compared += 1
    if not compared:
        pytest.skip("no recorded deposition is there")


@pytest.mark.parity
def test_pdb_text_equals_the_recorded_one(parity_dir: Path) -> None:
    path = parity_dir / "data" / "protein.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path) as archive:
        recorded = dict(archive)
    structure = parse_structure(recorded["in_pdb"].tobytes(), "1gcn.pdb")
    np.testing.assert_array_equal(structure.aatype, recorded["aatype"])
    np.testing.assert_array_equal(structure.atom_mask, recorded["atom_mask"])
    np.testing.assert_array_equal(structure.residue_number, recorded["residue_index"])
    np.testing.assert_array_equal(structure.b_factor, recorded["b_factors"])
    order = [structure.chains.index(name) for name in structure.chain_id]
    np.testing.assert_array_equal(order, recorded["chain_index"])
    # The official program keeps single precision in double arrays.
    np.testing.assert_array_equal(
        structure.atom_positions.astype(np.float32), recorded["atom_positions"]
    )
    assert to_pdb(structure) == recorded["to_pdb"].tobytes().decode()
    mmcif = parse_structure(recorded["to_mmcif"].tobytes(), "x.cif")
    np.testing.assert_array_equal(
        mmcif.atom_positions.astype(np.float32), recorded["from_mmcif/atom_positions"]
    )


def test_packed_integers_beyond_both_ends_of_their_type() -> None:
    packed = np.array([127, 3, -128, -2, 127, 127, 0, 5], np.int8)
    assert _unpack(packed, 1, unsigned=False).tolist() == [130, -130, 254, 5]
    packed = np.array([255, 255, 1, 128], np.uint8)
    assert _unpack(packed, 1, unsigned=True).tolist() == [511, 128]


def test_an_entry_without_a_protein_is_refused() -> None:
    water = "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O\nEND\n"
    with pytest.raises(InputError, match="has no protein"):
        parse_deposition(water.encode(), "water.pdb")

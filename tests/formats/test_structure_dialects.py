"""PDB and mmCIF files as different programs write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from biotite.structure import info

from foldry.errors import InputError
from foldry.formats.atoms import Atoms, _pieces
from foldry.formats.coordinates import parse_deposition, parse_structure, read_structure, to_pdb
from foldry.inputs.queries import read_queries
from foldry.residues import (
    ATOM14,
    ATOM37_ORDER,
    RESNAME_TO_CODE,
    RESNAMES,
    RESTYPES,
    SYNONYMS,
)
from foldry.structure import Structure
from tests.checked import stand_in

CIF = Path(__file__).resolve().parents[2] / "examples" / "kunitz" / "1adz.cif"
WHOLE = read_structure(CIF)
PDB = to_pdb(WHOLE).splitlines()
ATOMS = [line for line in PDB if line.startswith("ATOM")]


def parsed(lines: list[str]) -> Structure:
    return parse_structure("\n".join(lines).encode(), "x.pdb")


def same(got: Structure, expected: Structure = WHOLE, chain: str | None = None) -> None:
    assert got.sequence == expected.sequence
    assert got.residue_number.tolist() == expected.residue_number.tolist()
    np.testing.assert_array_equal(got.atom_mask, expected.atom_mask)
    np.testing.assert_array_equal(got.atom_positions, expected.atom_positions)
    assert got.chains == ((chain,) if chain is not None else expected.chains)


@pytest.mark.parametrize(
    "case",
    [
        "42-no-type-symbol/m.cif",
        "48b-no-alt-id/m.cif",
        "54-amber-names/m.pdb",
        "56b-microhet-in-blocks/m.pdb",
        "63b-gromacs-sol-many/m.pdb",
        "66-dssp-like-nonascii-remark/m.pdb",
        "70b-old-format-cols73-80/m.pdb",
        "95-chain-split-A-B-A/m.pdb",
    ],
)
def test_cases_are_the_reference(case: str, cases_dir: Path) -> None:
    path = cases_dir / case
    model, reference = read_structure(path), read_structure(path.with_name("ref.pdb"))
    same(model.chain(model.chains[0]), reference, model.chains[0])


# K13


def numbered(first: int, step: int = 1) -> str:
    """1ADZ as mmCIF whose sequence is numbered in another way."""
    document = gemmi.cif.read(str(CIF))
    block = document.sole_block()
    for tag in ("_entity_poly_seq.num", "_atom_site.label_seq_id"):
        column = block.find_values(tag)
        for row, number in enumerate(list(column)):
            if number.isdecimal():
                column[row] = str(first + step * (int(number) - 1))
    return str(document.as_string())


@pytest.mark.parametrize(("first", "step"), [(0, 1), (5, 1), (-3, 1), (1, 3)])
def test_sequences_that_do_not_begin_at_1(first: int, step: int) -> None:
    expected = parse_deposition(CIF.read_bytes(), "x.cif")
    got = parse_deposition(numbered(first, step).encode(), "x.cif")
    assert got.chain_to_seqres == expected.chain_to_seqres
    for name, chain in got.chains.items():
        np.testing.assert_array_equal(chain.atom_positions, expected.chains[name].atom_positions)


def test_numbers_that_disagree_with_the_sequence_are_replaced() -> None:
    expected = parse_deposition(CIF.read_bytes(), "x.cif")
    document = gemmi.cif.read_string(numbered(1))
    column = document.sole_block().find_values("_entity_poly_seq.num")
    for row, number in enumerate(list(column)):
        column[row] = str(int(number) - 1)
    got = parse_deposition(document.as_string().encode(), "x.cif")
    assert got.chain_to_seqres == expected.chain_to_seqres
    for name, chain in got.chains.items():
        np.testing.assert_array_equal(chain.atom_mask, expected.chains[name].atom_mask)


def test_template_indices_count_a_sequence_from_0(cases_dir: Path) -> None:
    [query] = read_queries([cases_dir / "101j-json-template-polyseq-from-0-end" / "q.json"])
    [chain] = query.chains
    [hit] = chain.templates
    structure = hit.known_structure()
    assert len(structure) == len(chain.sequence)
    for here, there in hit.pairs:
        assert chain.sequence[here] == structure.sequence[there]
        assert structure.atom_mask[there].any()


# K14


@pytest.mark.parametrize(
    "missing",
    [
        ("type_symbol",),
        ("label_alt_id",),
        ("id",),
        ("group_PDB", "occupancy", "pdbx_PDB_model_num", "pdbx_PDB_ins_code"),
        ("auth_asym_id", "auth_comp_id", "auth_atom_id", "auth_seq_id"),
        ("label_asym_id", "label_comp_id", "label_atom_id", "label_seq_id", "label_entity_id"),
        ("label_asym_id", "auth_asym_id"),
    ],
)
@pytest.mark.parametrize("blank", [False, True])
def test_missing_columns_are_filled(missing: tuple[str, ...], blank: bool) -> None:
    text = parse_pdb_as_cif(ATOMS)
    text = blanked(text, missing) if blank else without(text, missing)
    structure = parse_structure(text.encode(), "x.cif")
    expected = WHOLE if "auth_seq_id" not in missing else None
    if expected is None:
        assert structure.sequence == WHOLE.sequence
    else:
        same(structure, expected)


@pytest.mark.parametrize("missing", ["Cartn_y", "atom_id", "comp_id", "seq_id"])
def test_a_column_without_a_replacement_is_named(missing: str) -> None:
    tags = (missing,) if missing[0] == "C" else (f"label_{missing}", f"auth_{missing}")
    text = without(parse_pdb_as_cif(ATOMS), tags)
    with pytest.raises(InputError, match=f"column _atom_site.(auth_)?{missing}"):
        parse_structure(text.encode(), "x.cif")


def parse_pdb_as_cif(lines: list[str]) -> str:
    structure = gemmi.read_pdb_string("\n".join(lines))
    structure.setup_entities()
    structure.assign_label_seq_id()
    block = structure.make_mmcif_document().sole_block()
    atoms = block.get_mmcif_category("_atom_site.", raw=True)
    atoms["label_seq_id"] = atoms["auth_seq_id"]
    atoms["label_asym_id"] = atoms["auth_asym_id"]
    atoms |= {f"auth_{name}_id": atoms[f"label_{name}_id"] for name in ("atom", "comp")}
    document = gemmi.cif.Document()
    document.add_new_block("x").set_mmcif_category("_atom_site.", atoms, raw=True)
    return str(document.as_string())


def without(text: str, tags: tuple[str, ...]) -> str:
    document = gemmi.cif.read_string(text)
    atoms = document.sole_block().get_mmcif_category("_atom_site.", raw=True)
    kept = {tag: values for tag, values in atoms.items() if tag not in tags}
    document.sole_block().set_mmcif_category("_atom_site.", kept, raw=True)
    return str(document.as_string())


def blanked(text: str, tags: tuple[str, ...]) -> str:
    document = gemmi.cif.read_string(text)
    for tag in tags:
        column = document.sole_block().find_values(f"_atom_site.{tag}")
        for row in range(len(column)):
            column[row] = "?"
    return str(document.as_string())


# K15


NAMES = {"HIS": "HSD", "CYS": "CYX", "ASP": "ASH", "GLU": "GLH", "LYS": "LYN"}
WIDE = {"HIS": "HISB", "CYS": "CYS2", "ASP": "ASPH", "GLU": "GLUH", "LYS": "LYSH", "ALA": "NALA"}


@pytest.mark.parametrize("record", ["ATOM  ", "HETATM"])
@pytest.mark.parametrize("names", [NAMES, WIDE])
def test_names_of_force_fields(names: dict[str, str], record: str) -> None:
    lines = [
        f"{record}{line[6:17]}{names[line[17:20]]:<4}{line[21:]}" if line[17:20] in names else line
        for line in ATOMS
    ]
    same(parsed(lines))


def test_names_of_force_fields_in_mmcif() -> None:
    text = re.sub(r"\b(HIS|CYS|ASP|GLU|LYS)\b", lambda word: NAMES[word[0]], CIF.read_text())
    same(parse_structure(text.encode(), "x.cif"))
    assert parse_deposition(text.encode(), "x.cif").chain_to_seqres == (
        parse_deposition(CIF.read_bytes(), "x.cif").chain_to_seqres
    )


def test_atoms_of_force_fields() -> None:
    last = WHOLE.residue_number[-1]
    end = next(line for line in ATOMS if int(line[22:26]) == last and line[12:16] == " O  ")
    lines = [
        line.replace(" CD1 ILE", " CD  ILE").replace(" O  ", " OT1")
        if line == end
        else line.replace(" CD1 ILE", " CD  ILE")
        for line in ATOMS
    ]
    lines.append(f"{end[:12]} OT2{end[16:30]}{1:>8.3f}{2:>8.3f}{3:>8.3f}{end[54:]}")
    got = parsed(lines)
    assert got.atom_positions[-1, ATOM37_ORDER["OXT"]].tolist() == [1, 2, 3]
    mask = got.atom_mask.copy()
    mask[-1, ATOM37_ORDER["OXT"]] = False
    np.testing.assert_array_equal(mask, WHOLE.atom_mask)


def component(name: str, record: str, atoms: Iterable[str]) -> list[str]:
    return [
        f"{record:<6}    1 {atom if len(atom) == 4 else ' ' + atom:<4} {name} A 900"
        f"    {place + 100:>8.3f}   1.000   2.000  1.00  0.00"
        for place, atom in enumerate(atoms)
    ]


def test_components_with_the_name_of_a_variant_are_not_amino_acids() -> None:
    """Of the chemical component dictionary, as biotite has it."""
    known = SYNONYMS.keys() & set(info.all_residues())
    assert {"HSE", "GLH", "CYT", "ASH", "HID"} <= known
    for name in known:
        residue = info.residue(name)
        heavy = set(residue.atom_name[residue.element != "H"])
        side = set(ATOM14[RESNAME_TO_CODE[SYNONYMS[name]]]) - {"O"}
        got = parsed([*ATOMS, *component(name, "ATOM", residue.atom_name)]).sequence[len(WHOLE) :]
        if side <= heavy:  # a modified amino acid
            assert got[0] == RESTYPES[RESNAME_TO_CODE[SYNONYMS[name]]]
        else:
            assert got == ("X" if heavy >= {"N", "CA", "C"} else "")


def test_a_variant_may_lack_atoms() -> None:
    for atoms in (["CA"], ["N", "CA", "C"], ["N", "CA", "C", "OT1", "OT2", "CB", "HB1", "2HB"]):
        for name, letter in (("CYX", "C"), ("HSD", "H"), ("LYN", "K")):
            assert parsed([*ATOMS, *component(name, "ATOM", atoms)]).sequence[-1] == letter
    cytosine = ["P", "O1P", "N1", "C6", "C5", "C2", "O2", "N3", "C4", "N4", "CA"]
    for atoms in (cytosine, ["CA"]):
        same(parsed([*ATOMS, *component("CYT", "ATOM", atoms)]))


# K16


def other(name: str, number: int, atom: str = "O") -> str:
    return (
        f"ATOM      1  {atom:<3} {name} A{number:>4}    {number:>8.3f}   0.000   0.000  1.00  0.00"
    )


@pytest.mark.parametrize("name", ["SOL", "WAT", " CL", "POP", "LIG", " DA"])
@pytest.mark.parametrize("where", ["before", "after", "between"])
def test_other_molecules_of_a_chain_are_left_out(name: str, where: str) -> None:
    water = [other(name, number) for number in range(1, 300)]
    cut = next(at for at, line in enumerate(ATOMS) if line[22:26] == "  40")
    start = {"before": 0, "after": len(ATOMS), "between": cut}[where]
    lines = [*ATOMS[:start], *water, *ATOMS[start:]]
    same(parsed(lines))
    same(parse_structure(parse_pdb_as_cif(lines).encode(), "x.cif"))


@pytest.mark.parametrize("name", ["SOL ", "TIP3", "POPC", " CL "])
@pytest.mark.parametrize("number", ["****", "271a", "ffff"])
def test_numbers_of_solvent_above_9999(name: str, number: str) -> None:
    lines = [
        f"{line[:17]}{name}{line[21]}{number}{line[26:]}"
        for line in (other("SOL", place) for place in range(9))
    ]
    same(parsed([*ATOMS, *lines]))
    odd = f"{ATOMS[40][:22]}2.1g{ATOMS[40][26:]}"
    for wrong in (odd, f"{lines[0][:22]}    {lines[0][26:]}"):
        with pytest.raises(InputError, match=r"line 515, has .* is not a residue number"):
            parsed([*ATOMS, wrong])


@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
@pytest.mark.parametrize("name", ["HOH", "LIG"])
@pytest.mark.parametrize("number", ["?", "9", "301"])
def test_an_entity_under_the_label_of_a_protein_is_left_out(
    record: str, name: str, number: str
) -> None:
    document = gemmi.cif.read(str(CIF))
    block = document.sole_block()
    kind = "water" if name == "HOH" else "non-polymer"
    block.init_loop("_entity.", ["id", "type"]).set_all_values([["1", "9"], ["polymer", kind]])
    loop = block.find_loop("_atom_site.id").get_loop()
    tags = [tag.removeprefix("_atom_site.") for tag in loop.tags]
    atom = dict(zip(tags, loop.values[: len(tags)], strict=True)) | {
        "group_PDB": record,
        "label_entity_id": "9",
        "label_seq_id": ".",
        "auth_seq_id": number,
        "Cartn_x": "99.0",
    }
    atom |= {f"{kind}_comp_id": name for kind in ("label", "auth")}
    atom |= {f"{kind}_atom_id": "O1" for kind in ("label", "auth")}
    loop.add_row([atom[tag] for tag in tags])
    same(parse_structure(document.as_string().encode(), "x.cif"))


def test_hetatm_amid_a_chain_does_not_end_it() -> None:
    lines = [line.replace("ATOM  ", "HETATM") if " 30 " in line[20:27] else line for line in ATOMS]
    assert lines != ATOMS
    same(parsed(lines))


def hetatm(lines: list[str]) -> list[str]:
    return [f"HETATM{line[6:]}" for line in lines]


def residues(first: int, last: int) -> list[str]:
    """The atoms of some residues of 1ADZ, counted from 0."""
    numbers = WHOLE.residue_number[first:last].tolist()
    return [line for line in ATOMS if int(line[22:26]) in numbers]


def cif_with_records(lines: list[str]) -> str:
    text = cif_in_order(lines).replace("loop_", "loop_\n_atom_site.group_PDB")
    head, rows = text.split("z\n")
    pairs = zip(lines, rows.splitlines(), strict=True)
    return "\n".join([f"{head}z", *(f"{line[:6]} {row}" for line, row in pairs), ""])


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 3), (62, 63), (59, 63), (0, 63)])
@pytest.mark.parametrize("ter", ["none", "before", "after"])
def test_hetatm_that_is_bonded_belongs_to_the_chain(first: int, last: int, ter: str) -> None:
    others = [*residues(0, first), *residues(last, 63)]
    end = hetatm(residues(first, last))
    lines = [*others, *["TER"] * (ter == "before"), *end, *["TER"] * (ter == "after")]
    same(parsed(lines))
    if ter == "none":
        same(parse_structure(cif_with_records(lines).encode(), "x.cif"))
        same(parse_structure(parse_pdb_as_cif(lines).encode(), "x.cif"))


@pytest.mark.parametrize("number", [-50, 30, 200])
@pytest.mark.parametrize("name", ["GLU", "GLY", "DAL"])
def test_a_free_amino_acid_is_a_ligand(number: int, name: str) -> None:
    free = [
        f"{line[:17]}{name}{line[20:22]}{number:>4}{'Z' * (number == 30) or ' '}   {line[38:46]}"
        f"{line[30:38]}{line[46:]}"
        for line in hetatm(residues(10, 11))
    ]
    for lines in ([*ATOMS, *free], [*ATOMS, "TER", *free], [*ATOMS, "TER", *free, "TER"]):
        same(parsed(lines))
    same(parse_structure(cif_with_records([*ATOMS, *free]).encode(), "x.cif"))


def test_a_modified_residue_behind_a_gap_is_in_the_chain_if_the_file_says_so() -> None:
    lines = [*residues(0, 60), *(f"{line[:17]}MSE{line[20:]}" for line in hetatm(residues(62, 63)))]
    names = [RESNAMES[code] for code in WHOLE.aatype[:62]] + ["MSE"]
    seqres = [
        f"SEQRES {place:>3} A   63  {' '.join(names[start : start + 13])}"
        for place, start in enumerate(range(0, 63, 13), start=1)
    ]
    for file in ([*seqres, *lines], [*lines, "TER"], [*seqres, *lines[:-9], "TER", *lines[-9:]]):
        assert parsed(file).sequence == f"{WHOLE.sequence[:60]}M"
        assert parsed(file).chains == ("A",)


def test_hetatm_of_a_polymer_stays_in_the_chain() -> None:
    """An entity of mmCIF decides, whatever the distance."""
    document = gemmi.cif.read(str(CIF))
    block = document.sole_block()
    column = block.find_values("_atom_site.group_PDB")
    for row, number in enumerate(block.find_values("_atom_site.auth_seq_id")):
        if int(number) == WHOLE.residue_number[-1]:
            column[row] = "HETATM"
    x = block.find_values("_atom_site.Cartn_x")
    for row, record in enumerate(column):
        if record == "HETATM":
            x[row] = f"{float(x[row]) + 50:.3f}"
    assert parse_structure(document.as_string().encode(), "x.cif").sequence == WHOLE.sequence


# K18, K22


@pytest.mark.parametrize("end", ["1ABC  12", "PROA", "      XX", "      C+1", "é"])
def test_columns_after_72_are_ignored(end: str) -> None:
    same(parsed([f"{line[:72]}{end}" for line in ATOMS]))


@pytest.mark.parametrize("charge", ["1+", "2-", "-0.5", "'.'", "null"])
def test_charges_are_ignored(charge: str) -> None:
    document = gemmi.cif.read(str(CIF))
    column = document.sole_block().find_values("_atom_site.pdbx_formal_charge")
    column[7] = charge
    same(parse_structure(document.as_string().encode(), "x.cif"))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig", "utf-16", "cp932"])
def test_remarks_of_any_encoding(encoding: str) -> None:
    remark = "REMARK 99 温度" if encoding == "cp932" else "REMARK 99 Å"
    same(parse_structure("\n".join([remark, *ATOMS]).encode(encoding), "x.pdb"))


@pytest.mark.parametrize(
    ("line", "encoding"),
    [("Énergie minimale", "latin-1"), ("éàü", "utf-8"), ("日本語", "cp932"), ("단백질", "euc_kr")],
)
def test_a_first_letter_beyond_ascii_is_not_binarycif(line: str, encoding: str) -> None:
    same(parse_structure("\n".join([line, *ATOMS]).encode(encoding), "x.pdb"))


@pytest.mark.parametrize("change", [str.lower, lambda line: line[:12] + line[12:20].lower()])
def test_lower_case_is_read(change: Callable[[str], str]) -> None:
    lines = [f"{change(line[:20])}{line[20:]}" for line in ATOMS]
    same(parsed(lines))


@pytest.mark.parametrize("serial", [" *****", " 186a0", "100000", "      "])
def test_serial_numbers_are_ignored(serial: str) -> None:
    same(parsed([f"{line[:5]}{serial}{line[11:]}" for line in ATOMS]))


def test_branches_of_pdbqt_do_not_end_the_file() -> None:
    lines = [f"{line[:66]}    {-0.062:>6.3f} {line[13]:<2}" for line in ATOMS]
    same(parsed(["ROOT", *lines[:100], "ENDROOT", *lines[100:], "ENDBRANCH   1   2", "TORSDOF 2"]))


# K21


@pytest.mark.parametrize("kept", ["A", "B"])
def test_alternates_of_another_name_far_away(kept: str) -> None:
    """A residue as ALA and SER, in two places of the file."""
    here = [line for line in ATOMS if line[22:26] == "  20"]
    assert here[0][17:20] == "PRO"
    share = {"A": 0.6, "B": 0.4} if kept == "A" else {"A": 0.3, "B": 0.7}

    def alternate(name: str, letter: str) -> list[str]:
        return [
            f"{line[:16]}{letter}{name}{line[20:54]}{share[letter]:>6.2f}{line[60:]}"
            for line in here[:5]
        ]

    place = ATOMS.index(here[0])
    rest = [line for line in ATOMS if line not in here]
    lines = [*rest[:place], *alternate("ALA", "A"), *rest[place:], *alternate("SER", "B")]
    row = WHOLE.residue_number.tolist().index(20)
    for got in (parsed(lines), parse_structure(parse_pdb_as_cif(lines).encode(), "x.cif")):
        expected = WHOLE.sequence[:row] + ("A" if kept == "A" else "S") + WHOLE.sequence[row + 1 :]
        assert (got.sequence, got.chains) == (expected, ("A",))


@pytest.mark.parametrize("residues", [("  30",), ("  20", "  40", "  41")])
@pytest.mark.parametrize("begin", [True, False])
def test_alternates_in_a_block_before_or_after_the_chain(
    residues: tuple[str, ...], begin: bool
) -> None:
    def alternate(line: str, letter: str, occupancy: float) -> str:
        return f"{line[:16]}{letter}{line[17:54]}{occupancy:>6.2f}{line[60:]}"

    chain = [alternate(each, "A", 0.6) if each[22:26] in residues else each for each in ATOMS]
    block = [alternate(each, "B", 0.4) for each in ATOMS if each[22:26] in residues]
    block = [f"{line[:30]}{float(line[30:38]) + 0.5:>8.3f}{line[38:]}" for line in block]
    same(parsed([*block, *chain] if begin else [*chain, *block]))


def test_alternates_without_letters_share_an_occupancy() -> None:
    line = ATOMS[1]
    lines = [*ATOMS, f"{line[:30]}{9:>8.3f}{9:>8.3f}{9:>8.3f}  0.70{line[60:]}"]
    lines[1] = f"{line[:54]}  0.30{line[60:]}"
    got = parsed(lines)
    assert got.chains == ("A",)
    assert got.atom_positions[0, ATOM37_ORDER["CA"]].tolist() == [9, 9, 9]


# K24


def named(lines: list[str], chain: str, x: float = 0) -> list[str]:
    return [
        f"{line[:21]}{chain}{line[22:30]}{float(line[30:38]) + x:>8.3f}{line[38:]}"
        for line in lines
    ]


def cut(lines: list[str]) -> list[str]:
    return [*lines[:101], *named(lines, "B", 50), *lines[101:]]


def interleaved(lines: list[str]) -> list[str]:
    pairs = zip(lines, named(lines, "B", 50), strict=True)
    return [line for pair in pairs for line in pair]


def turned(lines: list[str]) -> list[str]:
    return [*lines[300:], *named(lines, "B", 50), *lines[:300]]


def reversed_pieces(lines: list[str]) -> list[str]:
    return [*lines[400:], *lines[200:400], *named(lines, "B", 50), *lines[:200]]


def shuffled(lines: list[str]) -> list[str]:
    every = [*lines, *named(lines, "B", 50)]
    return [every[0], *np.random.default_rng(1).permutation(every[1:]).tolist()]


@pytest.mark.parametrize("order", [cut, interleaved, turned, reversed_pieces, shuffled])
@pytest.mark.parametrize("cif", [False, True])
def test_pieces_of_a_chain_are_joined(order: Callable[[list[str]], list[str]], cif: bool) -> None:
    lines = order(ATOMS)
    text = cif_in_order(lines) if cif else "\n".join(lines)
    got = parse_structure(text.encode(), "x.cif")
    assert got.chains == ("A", "B")
    same(got.chain("A"), WHOLE, "A")
    assert got.chain("B").sequence == WHOLE.sequence


def cif_in_order(lines: list[str]) -> str:
    """An mmCIF file whose atoms are in the order of the lines."""
    tags = ["label_atom_id", "label_comp_id", "auth_asym_id", "auth_seq_id"]
    tags += [f"Cartn_{axis}" for axis in "xyz"]
    places = ((12, 16), (17, 20), (21, 22), (22, 26), (30, 38), (38, 46), (46, 54))
    rows = [" ".join(line[start:end].strip() for start, end in places) for line in lines]
    return "\n".join(["data_x", "loop_", *(f"_atom_site.{tag}" for tag in tags), *rows, ""])


def test_modified_residues_at_the_end_are_moved_to_their_place() -> None:
    moved = [line for line in ATOMS if line[22:26] == "  30"]
    rest = [line for line in ATOMS if line not in moved]
    end = [line.replace("ATOM  ", "HETATM") for line in moved]
    got = parsed([*rest, "TER", *end])
    assert got.residue_number.tolist() == WHOLE.residue_number.tolist()


def test_numbers_that_decrease_within_a_chain_are_kept_in_order() -> None:
    """As in fusion proteins, whose inserted part has numbers above 1000."""
    lines = [
        f"{line[:22]}{int(line[22:26]) + 1000:>4}{line[26:]}"
        if 30 <= int(line[22:26]) < 40
        else line
        for line in ATOMS
    ]
    assert parsed(lines).sequence == WHOLE.sequence


def test_an_atom_written_twice_is_one_atom() -> None:
    same(parsed([*ATOMS[:50], *ATOMS[40:]]))


def test_many_pieces_are_joined_quickly() -> None:
    lines = []
    for number in range(1, 9000):
        for chain in "AB":
            lines.append(
                f"ATOM      1  CA  ALA {chain}{number:>4}    {number / 10:>8.3f}   0.000   0.000"
                "  1.00  0.00"
            )
    assert len(parsed(lines)) == 2 * 8999


@pytest.mark.parametrize(("length", "end"), [(35, ""), (26, "\n"), (45, "\n\n"), (20, "")])
def test_a_file_that_is_cut_off_is_said_to_be(length: int, end: str) -> None:
    cut = "\n".join([*ATOMS[:20], ATOMS[20][:length]]) + end
    with pytest.raises(InputError, match="x, line 21, is cut off: give the whole file"):
        parse_structure(cut.encode(), "x")
    with pytest.raises(InputError, match="x, line 21, has "):
        parse_structure("\n".join([cut, ATOMS[21]]).encode(), "x")


def test_numbers_that_decrease_cut_a_chain() -> None:
    columns = {"model": "111111", "chain": "AAAAAB", "part": [""] * 6}
    atoms = stand_in(Atoms, **columns, number=["4", "4", "5", "2", "3", "9"])
    assert list(_pieces(atoms, range(6))) == [
        (True, [[0, 1], [2]]),
        (False, [[3], [4]]),
        (True, [[5]]),
    ]


@pytest.mark.parametrize("element", ["H", "D"])
def test_hydrogens_of_equal_names_are_no_second_chain(element: str) -> None:
    """Old files name all hydrogens of one carbon alike, e.g. `1HG` twice in isoleucine."""
    lines = []
    for each in ATOMS:
        lines.append(each)
        if each[12:16].strip() in ("CG1", "CG2"):
            name = f"{each[15]}{element}G "
            moved = f"{float(each[30:38]) + 1:8.3f}"
            hydrogen = each[:12] + name + each[16:30] + moved + each[38:76] + f" {element}"
            lines += [hydrogen, hydrogen[:38] + f"{1.0:8.3f}" + hydrogen[46:]]
    assert len(lines) > len(ATOMS) + 10
    same(parsed(lines))
    text = "\n".join(lines)
    cif = gemmi.read_pdb_string(text).make_mmcif_document().as_string()
    same(parse_structure(cif.encode(), "x.cif"))

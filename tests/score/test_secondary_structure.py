"""Secondary structure against Debian's DSSP, and of peptides with known torsion angles."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.formats.coordinates import read_structure, to_pdb
from foldry.residues import CA, RESTYPE_ORDER, C, N, O
from foldry.score.secondary_structure import secondary_structure
from foldry.structure import Structure
from tests.score.conftest import Prediction

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BACKBONE = [N, CA, C, O]
HEADER = (
    "HEADER    MODEL                                   01-JAN-98   1XXX              \n"
    "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1          \n"
)


def by_dssp(structure: Structure, folder: Path) -> str:
    """The letters of the program `mkdssp`; it skips residues of unknown type."""
    program = shutil.which("mkdssp")
    if program is None:
        pytest.skip("mkdssp is not installed: Debian's package is dssp")
    model, out = folder / "model.pdb", folder / "model.dssp"
    model.write_text(HEADER + to_pdb(structure))
    options = ["--quiet", "--output-format", "dssp"]
    subprocess.run([program, *options, str(model), str(out)], check=True, capture_output=True)
    _, table = out.read_text().split("  #  RESIDUE", 1)
    rows = [line for line in table.splitlines()[1:] if line[13] != "!"]
    letters = {(line[11], line[5:11].strip()): line[16].replace(" ", "-") for line in rows}
    names = zip(structure.chain_id, structure.residue_number, structure.insertion_code, strict=True)
    return "".join(letters.get((chain, f"{number}{code}"), "-") for chain, number, code in names)


def assert_equal_to_dssp(structures: Iterable[Structure], folder: Path) -> None:
    equal = []
    for structure in structures:
        theirs = by_dssp(structure, folder)
        same = [a == b for a, b in zip(secondary_structure(structure), theirs, strict=True)]
        assert np.mean(same) >= 0.98, structure.name
        equal += same
    # All are equal, unless the last bit of an energy is another one on another machine.
    assert np.mean(equal) >= 0.9995


@pytest.mark.tools
def test_examples_are_as_dssp_says(tmp_path: Path) -> None:
    paths = [*EXAMPLES.rglob("*.cif"), *EXAMPLES.rglob("*.cif.gz")]
    assert len(paths) > 15
    assert_equal_to_dssp(map(read_structure, paths), tmp_path)


@pytest.mark.tools
def test_experimental_chains_are_as_dssp_says(structures: list[Structure], tmp_path: Path) -> None:
    def numbered(structure: Structure) -> Structure:
        return replace(structure, residue_number=np.arange(len(structure)))

    known = [each for each in structures if (each.aatype < RESTYPE_ORDER["X"]).all()]
    assert_equal_to_dssp(map(numbered, known[:20]), tmp_path)


@pytest.mark.tools
def test_wrong_predictions_are_as_dssp_says(predictions: list[Prediction], tmp_path: Path) -> None:
    """Their atoms may lie on top of each other."""

    def model(prediction: Prediction) -> Structure:
        return peptide(prediction.backbone, prediction.reference.aatype)

    assert_equal_to_dssp(map(model, predictions[:20]), tmp_path)


def peptide(backbone: np.ndarray, aatype: np.ndarray) -> Structure:
    """One chain of N, CA, C and O."""
    num = len(backbone)
    positions, mask = np.zeros((num, 37, 3)), np.zeros((num, 37), bool)
    positions[:, BACKBONE] = backbone
    mask[:, BACKBONE] = True
    return Structure(
        name="peptide",
        aatype=aatype,
        residue_number=np.arange(1, num + 1),
        insertion_code=np.full(num, ""),
        chain_id=np.full(num, "A"),
        atom_positions=positions,
        atom_mask=mask,
        b_factor=np.zeros((num, 37)),
    )


def placed(atoms: list[np.ndarray], length: float, angle: float, torsion: float) -> np.ndarray:
    """The next atom of a chain, from its bond length (Å) and two angles (degrees)."""
    angle, torsion = np.radians([angle, torsion])
    a, b, c = atoms
    bond = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, bond)
    normal /= np.linalg.norm(normal)
    local = [-np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion)]
    axes = np.stack([bond, np.cross(normal, bond), normal])
    return np.asarray(c + length * (local @ axes))


def folded(phi: float, psi: float, num: int = 16) -> Structure:
    """Alanines with equal torsion angles, and ideal bonds and angles."""
    atoms = [np.array([0.0, 1.46, 0]), np.zeros(3), np.array([1.42, -0.54, 0])]
    for _ in range(num):
        atoms.append(placed(atoms[-3:], 1.33, 116.6, psi))
        atoms.append(placed(atoms[-3:], 1.46, 121.7, 180))
        atoms.append(placed(atoms[-3:], 1.52, 111.0, phi))
    chain = np.array(atoms)[: 3 * num].reshape(num, 3, 3)
    following = np.array(atoms)[3::3][:num]
    oxygens = [
        placed([following[k], chain[k, 1], chain[k, 2]], 1.23, 120.5, 180) for k in range(num)
    ]
    backbone = np.concatenate([chain, np.array(oxygens)[:, None]], axis=1)
    return peptide(backbone, np.zeros(num, np.int64))


@pytest.mark.parametrize(
    ("phi", "psi", "letter"),
    [(-57, -47, "H"), (-49, -26, "G"), (-57, -70, "I"), (-75, 145, "P"), (-120, 120, "-")],
)
def test_helices_of_known_torsion_angles(phi: float, psi: float, letter: str) -> None:
    letters = secondary_structure(folded(phi, psi))
    assert set(letters[3:-3]) == {letter}
    assert letters[0] == letters[-1] == "-"


def test_a_strand_is_found_from_its_partner_alone() -> None:
    """Both strands of trypsin's inhibitor, with and without each other, and as two chains."""
    whole = read_structure(EXAMPLES / "kunitz" / "1adz.cif")
    hairpin = whole.select((whole.residue_number >= 26) & (whole.residue_number <= 43))
    letters = secondary_structure(hairpin)
    one, other = hairpin.select(np.arange(9)), hairpin.select(np.arange(9, 18))
    assert letters.count("E") >= 8
    assert "E" not in secondary_structure(one) + secondary_structure(other)
    two_chains = replace(hairpin, chain_id=np.repeat(["A", "B"], 9))
    ends = secondary_structure(two_chains)
    assert "E" in ends[:9] and "E" in ends[9:]


def test_a_missing_atom_divides_a_helix() -> None:
    helix = folded(-57, -47, 20)
    mask = helix.atom_mask.copy()
    mask[10, O] = False
    letters = secondary_structure(replace(helix, atom_mask=mask))
    assert letters[10] == "-"
    assert letters[4] == letters[15] == "H"
    assert letters[9] != "H" and letters[11] != "H"


def test_proline_gives_no_hydrogen() -> None:
    helix = folded(-57, -47, 20)
    prolines = replace(helix, aatype=np.full(20, RESTYPE_ORDER["P"]))
    assert "H" not in secondary_structure(prolines)


def test_motion_changes_nothing() -> None:
    whole = read_structure(EXAMPLES / "kunitz" / "1adz.cif")
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    moved = replace(whole, atom_positions=whole.atom_positions @ turn + [10, -20, 30])
    assert secondary_structure(moved) == secondary_structure(whole)


@pytest.mark.parametrize("num", range(8))
def test_few_residues(num: int) -> None:
    letters = secondary_structure(folded(-57, -47).select(np.arange(num)))
    assert len(letters) == num
    assert "H" in letters or num < 6


def test_atoms_on_top_of_each_other() -> None:
    def letters(num: int) -> str:
        return secondary_structure(peptide(np.zeros((num, 4, 3)), np.zeros(num, np.int64)))

    assert len(letters(30)) == 30
    assert letters(20_000) == "-" * 20_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    helix = folded(-57, -47, 60)
    positions = helix.atom_positions.copy()
    positions[40, O] = value
    with pytest.raises(InputError, match="not a finite number"):
        secondary_structure(replace(helix, atom_positions=positions))

"""Torsion angles against gemmi and Biopython, the Ramachandran plot, and agreement by hand."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import gemmi
import numpy as np
import pytest
from Bio.PDB.PDBParser import PDBParser

from foldry.formats.coordinates import to_pdb
from foldry.residues import CA, CHI_ATOMS, RESNAMES, RESTYPE_ORDER, C, N
from foldry.score.ramachandran import (
    ALLOWED,
    CLASSES,
    FAVOURED,
    OUTLIER,
    UNKNOWN,
    ramachandran,
    residue_class,
)
from foldry.score.torsions import (
    TorsionAgreement,
    TorsionAngles,
    angle_difference,
    bonded_to_next,
    structure_torsions,
    torsion_agreement,
)
from foldry.structure import Structure


def _same(ours: np.ndarray, theirs: np.ndarray, degrees: float) -> None:
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.nanmax(angle_difference(ours, theirs)) < degrees


def _gemmi(structure: Structure) -> TorsionAngles:
    chain = gemmi.read_pdb_string(to_pdb(structure))[0][0]
    num = len(chain)
    angles = np.full((num, 7), np.nan)
    bonded = [False, *bonded_to_next(structure), False]
    for n, residue in enumerate(chain):
        before = chain[n - 1] if bonded[n] else None
        after = chain[n + 1] if bonded[n + 1] else None
        if before:
            places = [before["CA"], before["C"], residue["N"], residue["CA"]]
            angles[n, 0] = gemmi.calculate_dihedral(*(place[0].pos for place in places))
        angles[n, 1:3] = gemmi.calculate_phi_psi(before, residue, after)
        for chi, names in enumerate(CHI_ATOMS[structure.aatype[n]]):
            if all(name in residue for name in names):
                places = [residue[name][0].pos for name in names]
                angles[n, 3 + chi] = gemmi.calculate_dihedral(*places)
    angles = np.degrees(angles)
    return TorsionAngles(angles[:, 0], angles[:, 1], angles[:, 2], angles[:, 3:])


def test_torsions_equal_gemmis(structures: list[Structure]) -> None:
    num = 0
    for structure in structures[:40]:
        ours, theirs = structure_torsions(structure), _gemmi(structure)
        for name, values in vars(ours).items():
            _same(values, getattr(theirs, name), 0.2)  # PDB files have three decimals
        num += int(np.isfinite(ours.chi).sum())
    assert num > 5_000


@pytest.mark.parity
def test_as_recorded(parity_dir: Path) -> None:
    path = parity_dir / "data" / "all_atom.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path, allow_pickle=False) as recorded:
        aatype, mask = recorded["in_aatype"].astype(np.int64), recorded["in_mask37"] > 0
        structure = dataclasses.replace(
            _structure(len(aatype)),
            aatype=aatype,
            atom_positions=recorded["in_pos37"],
            atom_mask=mask,
        )
        name = "atom37_to_torsion_angles(placeholder=True)/torsion_angles_"
        sin, cos = recorded[name + "sin_cos"][0].transpose(2, 0, 1)
        known = recorded[name + "mask"][0] > 0
    theirs = np.where(known, np.degrees(np.arctan2(sin, cos)), np.nan)
    ours = structure_torsions(structure)
    _same(ours.omega, theirs[:, 0], 1e-3)
    _same(ours.phi, theirs[:, 1], 1e-3)
    _same(ours.chi, theirs[:, 3:], 1e-3)


@pytest.mark.filterwarnings("ignore:'where' used without 'out'")  # in Biopython
def test_torsions_equal_biopythons(structures: list[Structure]) -> None:
    for whole in structures[:6]:
        structure = whole.select(whole.atom_mask[:, [N, CA, C]].all(axis=1))
        parsed = PDBParser(QUIET=True).get_structure("x", io.StringIO(to_pdb(structure)))
        chain = next(parsed.get_chains())
        chain.atom_to_internal_coordinates()
        ours = structure_torsions(structure)
        angles = {"omg": ours.omega, "phi": ours.phi, "psi": ours.psi}
        angles |= {f"chi{k + 1}": ours.chi[:, k] for k in range(4)}
        for n, residue in enumerate(chain):
            for name, values in angles.items():
                theirs = residue.internal_coord.get_angle(name)
                if theirs is not None and np.isfinite(values[n]):
                    assert angle_difference(values[n : n + 1], np.array([theirs])) < 0.2, (
                        structure.name,
                        n,
                        name,
                    )


def _structure(num: int) -> Structure:
    """Atoms on a line; torsion angles mean nothing."""
    atoms = np.zeros((num, 37, 3))
    atoms[:, [N, CA, C], 0] = 3.8 * np.arange(num)[:, None] + np.array([0, 1.4, 2.5])
    mask = np.zeros((num, 37), bool)
    mask[:, [N, CA, C]] = True
    return Structure(
        name="line",
        aatype=np.zeros(num, np.int64),
        residue_number=np.arange(num),
        insertion_code=np.full(num, ""),
        chain_id=np.full(num, "A"),
        atom_positions=atoms,
        atom_mask=mask,
        b_factor=np.zeros((num, 37)),
    )


def test_consecutive_residues_of_a_chain() -> None:
    line = _structure(6)
    assert bonded_to_next(line).all()
    numbered = dataclasses.replace(line, residue_number=np.array([1, 2, 2, 3, 9, 10]))
    assert bonded_to_next(numbered).all()  # 52, 52A; and a leap over which C and N are bonded
    atoms = line.atom_positions.copy()
    atoms[4:] += 5
    apart = dataclasses.replace(numbered, atom_positions=atoms)
    assert bonded_to_next(apart).tolist() == [True, True, True, False, True]
    atoms[2:] += 5
    broken = dataclasses.replace(numbered, atom_positions=atoms)
    assert bonded_to_next(broken).tolist() == [True, True, True, False, True]
    chains = dataclasses.replace(line, chain_id=np.array(list("AAABBB")))
    assert bonded_to_next(chains).tolist() == [True, True, False, True, True]
    angles = structure_torsions(chains)
    assert np.isnan(angles.phi).tolist() == [True, False, False, True, False, False]
    assert np.isnan(angles.psi).tolist() == [False, False, True, False, False, True]
    np.testing.assert_array_equal(np.isnan(angles.omega), np.isnan(angles.phi))
    assert len(structure_torsions(line.select(np.zeros(6, bool))).phi) == 0


def test_angles_of_a_missing_atom_are_unknown() -> None:
    line = _structure(4)
    mask = line.atom_mask.copy()
    mask[1, C] = False
    angles = structure_torsions(dataclasses.replace(line, atom_mask=mask))
    assert np.isnan(angles.phi).tolist() == [True, True, True, False]
    assert np.isnan(angles.psi).tolist() == [False, True, False, True]
    assert np.isnan(angles.omega).tolist() == [True, False, True, False]
    mask[1] = [slot not in (N, C) for slot in range(37)] & line.atom_mask[1]
    mask[2, N] = False
    angles = structure_torsions(dataclasses.replace(line, atom_mask=mask))
    assert np.isnan(angles.psi).all()


def _torsions(phi: list[float], psi: list[float], omega: float = 180.0) -> TorsionAngles:
    num = len(phi)
    chi = np.full((num, 4), np.nan)
    return TorsionAngles(
        np.full(num, float(omega)), np.array(phi, float), np.array(psi, float), chi
    )


@pytest.mark.parametrize(
    ("residues", "phi", "psi", "region"),
    [
        ("A", -63, -43, FAVOURED),  # α-helix
        ("A", -120, 130, FAVOURED),  # β-strand
        ("A", -75, 145, FAVOURED),  # polyproline
        ("A", 57, 40, FAVOURED),  # left-handed helix
        ("A", -150, 90, ALLOWED),
        ("A", 90, -90, OUTLIER),
        ("A", 0, 0, OUTLIER),
        ("G", 90, 0, FAVOURED),
        ("G", -90, 0, FAVOURED),  # glycine has no hand
        ("G", 80, -170, FAVOURED),
        ("A", 80, -170, OUTLIER),
        ("V", 57, 40, ALLOWED),
        ("V", -120, 130, FAVOURED),
        ("P", -65, 145, FAVOURED),
        ("P", 60, 40, OUTLIER),
        ("AP", -70, 140, FAVOURED),
        ("A", -180, 170, FAVOURED),
        ("A", 180, 170, FAVOURED),  # the plot has no edge
    ],
)
def test_regions(residues: str, phi: float, psi: float, region: int) -> None:
    aatype = np.array([RESTYPE_ORDER[letter] for letter in residues])
    torsions = _torsions([phi] * len(aatype), [psi] * len(aatype))
    assert ramachandran(torsions, aatype)[0] == region


def test_classes_and_what_is_unknown() -> None:
    aatype = np.array([RESTYPE_ORDER[letter] for letter in "AIGAPPGPX"])
    torsions = _torsions([-60.0] * 9, [-40.0] * 8 + [np.nan])
    kinds = [CLASSES[kind] for kind in residue_class(torsions, aatype)]
    proline = "trans-proline"
    assert kinds[:5] == ["general", "ile-val", "glycine", "pre-proline", proline]
    assert kinds[5:] == [proline, "glycine", proline, "general"]
    cis = residue_class(_torsions([-60.0] * 9, [-40.0] * 9, omega=3.0), aatype)
    assert CLASSES[cis[4]] == "cis-proline"
    regions = ramachandran(torsions, aatype)
    assert regions[8] == UNKNOWN
    assert (regions[:8] != UNKNOWN).all()
    # A residue whose neighbour is not bonded is not before a proline.
    ends = _torsions([-60.0] * 2, [np.nan] * 2)
    assert residue_class(ends, np.array([0, RESTYPE_ORDER["P"]]))[0] == 0


def test_real_residues_are_where_molprobity_finds_them(structures: list[Structure]) -> None:
    """MolProbity's grids favour 97.1% of these residues and reject 0.3% (benchmarks)."""
    regions = np.concatenate(
        [ramachandran(structure_torsions(chain), chain.aatype) for chain in structures[:60]]
    )
    known = regions[regions != UNKNOWN]
    assert len(known) > 5_000
    assert (known == FAVOURED).mean() > 0.955
    assert 0 < (known == OUTLIER).mean() < 0.008


def test_a_mirrored_chain_has_outliers(structures: list[Structure]) -> None:
    mirrored = [
        dataclasses.replace(chain, atom_positions=chain.atom_positions * [1, 1, -1])
        for chain in structures[:10]
    ]
    regions = np.concatenate([ramachandran(structure_torsions(m), m.aatype) for m in mirrored])
    assert (regions == OUTLIER).mean() > 0.3


def agreement(
    model: TorsionAngles, reference: TorsionAngles, aatype: np.ndarray
) -> TorsionAgreement:
    """Torsion angles of residues in the same order."""
    pairs = np.repeat(np.arange(len(aatype))[:, None], 2, axis=1)
    return torsion_agreement(model, reference, pairs, aatype)


def _chi(*rows: tuple[float, ...]) -> TorsionAngles:
    chi = np.full((len(rows), 4), np.nan)
    for n, row in enumerate(rows):
        chi[n, : len(row)] = row
    none = np.full(len(rows), np.nan)
    return TorsionAngles(none, none, none, chi)


def test_agreement_of_rotamers_by_hand() -> None:
    """Leu is right, Leu's chi2 is 60° off, Phe's chi2 180°, Ser 41°, and Val is unknown."""
    aatype = np.array([RESNAMES.index(name) for name in ("LEU", "LEU", "PHE", "SER", "VAL")])
    reference = _chi((-60, 170), (-60, 170), (-60, 95), (60,), (175,))
    model = _chi((-50, -170), (-60, 110), (-60, -80), (101,), ())
    found = agreement(model, reference, aatype)
    assert found.chi1 == pytest.approx(3 / 5)  # Ser is off, Val's is lost
    assert found.chi1_2 == pytest.approx(2 / 3)
    assert np.isnan(found.phi_psi)


def test_a_reference_with_chi2_alone_counts_as_wrong() -> None:
    """Without N there is no chi1, but both angles are required."""
    aatype = np.array([RESNAMES.index(name) for name in ("LEU", "LEU")])
    reference = _chi((-60, 170), (np.nan, 170))
    found = agreement(_chi((-60, 170), (-60, 170)), reference, aatype)
    assert (found.chi1, found.chi1_2) == (1, 0.5)


@pytest.mark.parametrize(
    ("name", "turns"), [("ASP", 1), ("PHE", 1), ("TYR", 1), ("ASN", 0), ("HIS", 0)]
)
def test_half_a_turn_of_chi2(name: str, turns: int) -> None:
    aatype = np.array([RESNAMES.index(name)])
    found = agreement(_chi((-60, -120)), _chi((-60, 60)), aatype)
    assert (found.chi1, found.chi1_2) == (1, turns)


def test_agreement_of_backbones_by_hand() -> None:
    reference = _torsions([-60, -60, 170, np.nan], [-40, 130, -170, 20])
    model = _torsions([-70, -95, -170, 10], [-40, 130, np.nan, 20], omega=-170)
    found = agreement(model, reference, np.zeros(4, np.int64))
    assert found.phi_psi == pytest.approx(1 / 3)
    assert agreement(reference, reference, np.zeros(4, np.int64)).phi_psi == 1

"""Violations equal the recorded official values, and are zero for an ideal structure."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from foldry import residues
from foldry.formats.coordinates import read_structure
from foldry.model.inputs import Inputs
from foldry.residues import PEPTIDE_BOND
from foldry.score import stereochemistry
from foldry.structure import Structure
from foldry.train import violations
from tests.checked import stand_in
from tests.conftest import ROOT
from tests.train.recorded import Recorded, assert_recorded

DEVIATION = PEPTIDE_BOND["cos_ca_c_n"][1]
MULTIMER_DEVIATION = PEPTIDE_BOND["length"][1]


def make_inputs(aatype: Tensor, index: Tensor, asym_id: Tensor | None = None) -> Inputs:
    """Return inputs with the fields that the violations read."""
    chain = torch.ones_like(aatype) if asym_id is None else asym_id
    return stand_in(
        Inputs,
        aatype=aatype,
        residue_index=index,
        asym_id=chain,
        seq_mask=torch.ones(aatype.shape),
    )


@pytest.fixture(scope="module")
def all_atom(parity_dir: Path) -> Recorded:
    return Recorded(parity_dir / "data" / "all_atom.npz")


@pytest.fixture(scope="module")
def recorded(parity_dir: Path) -> Recorded:
    return Recorded(parity_dir / "data" / "losses.npz")


def by_residue(links: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values of each residue's bonds to the next and to the previous residue."""
    return F.pad(links, (0, 1)), F.pad(links, (1, 0))


def assert_peptide_bonds(
    atom14: Tensor, inputs: Inputs, exists: Tensor, deviation: float, theirs: dict[str, Tensor]
) -> None:
    errors, known = violations.peptide_bond_errors(
        atom14, exists, inputs.aatype, inputs.residue_index, deviation
    )
    means = (errors * known).sum(-1) / known.sum(-1)
    for mean, name in zip(means, ("c_n", "ca_c_n", "c_n_ca"), strict=True):
        assert_recorded(mean, theirs[name])
    before, after = by_residue(errors.sum(0))
    assert_recorded(0.5 * (before + after), theirs["sum"])
    # The tolerance of the loss is that of a violation.
    violated = ((errors > 0) * known).amax(0)
    assert torch.equal(torch.maximum(*by_residue(violated)), theirs["violated"])


@pytest.mark.parity
@pytest.mark.parametrize("variant", ["", "mm/"])
def test_peptide_bonds(all_atom: Recorded, variant: str) -> None:
    base = f"{variant}between_residue_bond_loss/"
    assert_peptide_bonds(
        all_atom["in_pred14"],
        make_inputs(all_atom["in_aatype"], all_atom["in_residue_index"]),
        all_atom["batch/atom14_atom_exists"],
        MULTIMER_DEVIATION if variant else DEVIATION,
        {
            "c_n": all_atom[f"{base}c_n_loss_mean"],
            "ca_c_n": all_atom[f"{base}ca_c_n_loss_mean"],
            "c_n_ca": all_atom[f"{base}c_n_ca_loss_mean"],
            "sum": all_atom[f"{base}per_residue_loss_sum"],
            "violated": all_atom[f"{base}per_residue_violation_mask"],
        },
    )


@pytest.mark.parity
@pytest.mark.parametrize("variant", ["", "mm/"])
def test_clashes(all_atom: Recorded, variant: str) -> None:
    chains = all_atom["in_asym_id"] if variant else None
    inputs = make_inputs(all_atom["in_aatype"], all_atom["in_residue_index"], chains)
    exists = all_atom["batch/atom14_atom_exists"]
    overlaps = violations.clashes(all_atom["in_pred14"], exists, inputs)
    base = f"{variant}between_residue_clash_loss/"
    assert_recorded(overlaps, all_atom[f"{base}per_atom_loss_sum"])
    assert torch.equal((overlaps > 0).float(), all_atom[f"{base}per_atom_clash_mask"])
    within = exists.sum(-1).square().sum()
    num_pairs = (exists.sum().square() - within) / 2
    # Bonds and pairs of sixth atoms are not among the official pairs: a few in a thousand.
    mean = overlaps.sum()[None] / 2 / num_pairs
    torch.testing.assert_close(mean, all_atom[f"{base}mean_loss"], rtol=0.02, atol=0)


@pytest.mark.parity
def test_bounds_within_residues(all_atom: Recorded) -> None:
    off = violations.out_of_bounds(
        all_atom["in_pred14"], all_atom["batch/atom14_atom_exists"], all_atom["in_aatype"]
    )
    assert_recorded(off, all_atom["within_residue_violations/per_atom_loss_sum"])
    assert torch.equal((off > 0).float(), all_atom["within_residue_violations/per_atom_violations"])


@pytest.mark.parity
@pytest.mark.parametrize("variant", ["violations", "mm/find_structural_violations"])
def test_all_violations(recorded: Recorded, all_atom: Recorded, variant: str) -> None:
    multimer = variant.startswith("mm/")
    case = all_atom if multimer else recorded
    atom14 = case["in_pred14"] if multimer else recorded.layers("in/atom14_pos")[-1]
    chains = case["in_asym_id"] if multimer else None
    inputs = make_inputs(case["batch/aatype"], case["batch/residue_index"], chains)
    exists = case["batch/atom14_atom_exists"]
    between, within = f"{variant}/between_residues", f"{variant}/within_residues"
    deviation = MULTIMER_DEVIATION if multimer else DEVIATION
    theirs = {
        "c_n": case[f"{between}/bonds_c_n_loss_mean"],
        "ca_c_n": case[f"{between}/angles_ca_c_n_loss_mean"],
        "c_n_ca": case[f"{between}/angles_c_n_ca_loss_mean"],
        "sum": case[f"{between}/connections_per_residue_loss_sum"],
        "violated": case[f"{between}/connections_per_residue_violation_mask"],
    }
    assert_peptide_bonds(atom14, inputs, exists, deviation, theirs)
    overlaps = violations.clashes(atom14, exists, inputs)
    off = violations.out_of_bounds(atom14, exists, inputs.aatype)
    assert_recorded(overlaps, case[f"{between}/clashes_per_atom_loss_sum"])
    assert_recorded(off, case[f"{within}/per_atom_loss_sum"])
    any_violation = torch.maximum((overlaps + off > 0).amax(-1).float(), theirs["violated"])
    assert torch.equal(any_violation, case[f"{variant}/total_per_residue_violations_mask"])

    atoms = case[f"{between}/clashes_per_atom_loss_sum"] + case[f"{within}/per_atom_loss_sum"]
    bonds = theirs["c_n"] + theirs["ca_c_n"] + theirs["c_n_ca"]
    assert_recorded(
        violations.violation_loss(atom14, inputs, deviation),
        bonds + atoms.sum() / exists.sum(),
    )


@pytest.fixture(scope="module")
def noisy() -> Structure:
    """Two chains cut from trypsin, with errors of 0.5 Å; one atom in twenty is missing."""
    structure = read_structure(ROOT / "examples" / "trypsin" / "1trn.cif")
    structure = structure.select(np.arange(120))
    number = np.arange(120)
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.5, structure.atom_positions.shape)
    mask = structure.atom_mask & (generator.random(structure.atom_mask.shape) < 0.95)
    return dataclasses.replace(
        structure,
        residue_number=np.where(number < 60, number, number + 100),
        insertion_code=np.full(120, ""),
        chain_id=np.where(number < 60, "A", "B"),
        atom_positions=((structure.atom_positions + noise) * mask[..., None]).astype(np.float32),
        atom_mask=mask,
    )


def test_the_score_counts_the_same(noisy: Structure) -> None:
    """The NumPy implementation in `score` finds the same violations of the same atoms."""
    codes = torch.from_numpy(noisy.aatype)[None]
    chains = torch.from_numpy(np.where(noisy.chain_id == "A", 1, 2))[None]
    inputs = make_inputs(codes, torch.from_numpy(noisy.residue_number)[None], chains)
    rows, slots = np.arange(len(noisy))[:, None], residues.ATOM14_TO_ATOM37[noisy.aatype]
    known = noisy.atom_mask[rows, slots] * residues.ATOM14_MASK[noisy.aatype]
    atom14 = torch.from_numpy(noisy.atom_positions[rows, slots])[None]
    exists = torch.from_numpy(known.astype(np.float32))[None]

    def by_atom(found: stereochemistry.Excess, keep: np.ndarray | slice = slice(None)) -> Tensor:
        atoms = np.zeros((len(noisy), 37))
        for side in range(2):
            place = found.residue[keep, side], found.slot[keep, side]
            np.add.at(atoms, place, found.amount[keep])
        return torch.from_numpy((atoms[rows, slots] * known).astype(np.float32))[None]

    within = by_atom(stereochemistry.faults_within_residues(noisy))
    assert within.sum() > 10
    ours = violations.out_of_bounds(atom14, exists, codes)
    torch.testing.assert_close(ours, 2 * within, atol=1e-4, rtol=1e-4)

    found = stereochemistry.clashes_between_residues(noisy)
    # The loss ignores pairs of sixth atoms, even if they are not sulphurs.
    sixth = found.slot == slots[found.residue, violations.SLOT_SG]
    overlaps = by_atom(found, ~sixth.all(axis=1))
    assert overlaps.sum() > 10
    ours = violations.clashes(atom14, exists, inputs)
    torch.testing.assert_close(ours, overlaps, atol=1e-4, rtol=1e-4)

    errors, bonded = violations.peptide_bond_errors(
        atom14, exists, codes, inputs.residue_index, DEVIATION
    )
    for kind, faults in enumerate(stereochemistry.faults_of_peptide_bonds(noisy)):
        links = np.zeros(len(noisy) - 1)
        links[faults.residue[:, 0]] = faults.amount
        assert links.sum() > 1
        theirs = torch.from_numpy(links.astype(np.float32))
        torch.testing.assert_close((errors * bonded)[kind, 0], theirs, atol=1e-5, rtol=1e-4)


@pytest.fixture
def peptide() -> tuple[Tensor, Inputs]:
    """Glycine and alanine [1, 2, 14, 3] joined by an ideal trans bond, all angles ideal."""
    atoms = {("G", "N"): (0.0, 0.0, 0.0)}
    n_ca, ca_c = 1.456, 1.514
    length = PEPTIDE_BOND["length"][0]
    # A flat zigzag: each bond turns by the supplement of the angle, to the left, then right.
    turns = [math.radians(113.1), math.acos(PEPTIDE_BOND["cos_ca_c_n"][0])]
    turns += [math.acos(PEPTIDE_BOND["cos_c_n_ca"][0]), math.radians(111.0)]
    x, y, heading, side = 0.0, 0.0, 0.0, 1
    names = [("G", "CA"), ("G", "C"), ("A", "N"), ("A", "CA"), ("A", "C")]
    steps = [n_ca, ca_c, length, 1.459, 1.525]
    for name, step, turn in zip(names, steps, [*turns, 0.0], strict=True):
        x, y = x + step * math.cos(heading), y + step * math.sin(heading)
        atoms[name] = (x, y, 0.0)
        heading += side * (math.pi - turn)
        side = -side
    atom14 = torch.zeros(1, 2, 14, 3, dtype=torch.float64)
    for (letter, name), xyz in atoms.items():
        row = "GA".index(letter)
        slot = residues.ATOM14[residues.RESTYPE_ORDER[letter]].index(name)
        atom14[0, row, slot] = torch.tensor(xyz, dtype=torch.float64)
    codes = torch.from_numpy(residues.encode_sequence("GA"))[None]
    return atom14, make_inputs(codes, torch.tensor([[7, 8]]))


BACKBONE = torch.zeros(1, 2, 14, dtype=torch.float64)
BACKBONE[..., :3] = 1


def test_an_ideal_bond_costs_nothing_and_a_longer_one_its_excess(
    peptide: tuple[Tensor, Inputs],
) -> None:
    atom14, inputs = peptide
    arguments = inputs.aatype, inputs.residue_index, DEVIATION

    def errors(moved: Tensor) -> Tensor:
        found, known = violations.peptide_bond_errors(moved, BACKBONE, *arguments)
        assert known.min() == 1
        return found[:, 0, 0]

    assert errors(atom14).max() == 0
    assert violations.clashes(atom14, BACKBONE, inputs).max() == 0
    assert violations.out_of_bounds(atom14, BACKBONE, inputs.aatype).max() == 0
    along = atom14[:, 1, 0] - atom14[:, 0, 2]
    longer = atom14.clone()
    longer[:, 1] += along / along.norm() * 0.5
    # 12 standard deviations of 0.014 Å are free: 0.5 − 0.168.
    torch.testing.assert_close(
        errors(longer), torch.tensor([0.332, 0, 0], dtype=torch.float64), atol=1e-5, rtol=0
    )
    bent = atom14.clone()
    bent[:, 0, 1] = atom14[:, 0, 2] - along * 1.1
    # CA is opposite to N: cosine −1, and 12 × 0.0311 of the −0.4473 + 1 are free.
    torch.testing.assert_close(errors(bent)[1].item(), 0.5527 - 0.3732, atol=1e-5, rtol=0)


def test_a_gap_is_no_bond(peptide: tuple[Tensor, Inputs]) -> None:
    atom14, inputs = peptide
    known = violations.peptide_bond_errors(
        atom14, BACKBONE, inputs.aatype, torch.tensor([[7, 9]]), DEVIATION
    )[1]
    assert known.max() == 0


def test_touching_atoms_clash_by_their_overlap() -> None:
    """For two alanines that have only CB, 1.7 + 1.7 − 1.5 = 1.9 Å are allowed."""
    codes = torch.from_numpy(residues.encode_sequence("AA"))[None]
    exists = torch.zeros(1, 2, 14)
    exists[..., 4] = 1
    atom14 = torch.zeros(1, 2, 14, 3)
    atom14[0, 1, 4, 0] = 1.2
    overlaps = violations.clashes(atom14, exists, make_inputs(codes, torch.tensor([[1, 2]])))
    torch.testing.assert_close(overlaps[0, :, 4], torch.tensor([0.7, 0.7]))
    assert overlaps.sum() == overlaps[0, :, 4].sum()


@pytest.mark.parametrize(("chains", "clashing"), [([1, 1], False), ([1, 2], True)])
def test_only_a_chain_has_bonds(
    peptide: tuple[Tensor, Inputs], chains: list[int], clashing: bool
) -> None:
    atom14, inputs = peptide
    two = make_inputs(inputs.aatype, inputs.residue_index, torch.tensor([chains]))
    assert bool(violations.clashes(atom14, BACKBONE, two).sum() > 0) == clashing


def test_equal_numbers_in_two_chains_clash() -> None:
    """Residues of different chains with the same number clash like others."""
    codes = torch.from_numpy(residues.encode_sequence("AA"))[None]
    inputs = make_inputs(codes, torch.tensor([[4, 4]]), torch.tensor([[1, 2]]))
    exists = torch.from_numpy(residues.ATOM14_MASK)[codes]
    atoms = torch.zeros(1, 2, 14, 3)
    assert violations.clashes(atoms, exists, inputs).sum() > 0


def test_gradient() -> None:
    """Finite differences in float64 agree, with violations of every kind."""
    codes = torch.from_numpy(residues.encode_sequence("GAC"))[None]
    inputs = make_inputs(codes, torch.tensor([[1, 2, 3]]))
    exists = torch.from_numpy(residues.ATOM14_MASK).double()[codes]
    noise = torch.randn(1, 3, 14, 3, generator=torch.Generator().manual_seed(1))
    start = (2 * noise.double()).requires_grad_()
    errors, _ = violations.peptide_bond_errors(
        start, exists, codes, inputs.residue_index, DEVIATION
    )
    assert (errors.sum((1, 2)) > 0).all()
    assert violations.clashes(start, exists, inputs).sum() > 0
    assert violations.out_of_bounds(start, exists, codes).sum() > 0
    assert torch.autograd.gradcheck(
        lambda x: violations.violation_loss(x, inputs, DEVIATION), start
    )


def test_collapsed_atoms_have_a_finite_gradient() -> None:
    codes = torch.arange(20)[None]
    inputs = make_inputs(codes, torch.arange(20)[None])
    start = torch.zeros(1, 20, 14, 3, requires_grad=True)
    loss = violations.violation_loss(start, inputs, DEVIATION)
    loss.sum().backward()
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()
    assert loss > 1


def test_padding_counts_for_nothing() -> None:
    codes = torch.arange(20)[None]
    generator = torch.Generator().manual_seed(2)
    atom14 = 4 * torch.randn(1, 20, 14, 3, generator=generator)
    whole = make_inputs(codes, torch.arange(20)[None])
    whole.seq_mask[:, 12:] = 0
    part = make_inputs(codes[:, :12], torch.arange(12)[None])
    torch.testing.assert_close(
        violations.violation_loss(atom14, whole, DEVIATION),
        violations.violation_loss(atom14[:, :12], part, DEVIATION),
    )

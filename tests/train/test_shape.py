"""The losses of the chain's shape: what they measure, and that they are not contracted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from foldry.model.config import HeadsConfig
from foldry.model.inputs import Inputs
from foldry.residues import RESTYPE_ORDER
from foldry.train import losses, shape
from foldry.train.losses import LossConfig
from foldry.train.targets import Targets
from tests.checked import stand_in

GLYCINE, ALANINE = RESTYPE_ORDER["G"], RESTYPE_ORDER["A"]


def helix(length: int = 30) -> Tensor:
    """Return the Cα atoms [1, N, 3] of an α-helix, Å."""
    turn = torch.arange(length) * torch.pi * 100 / 180
    return torch.stack([2.3 * turn.cos(), 2.3 * turn.sin(), 1.5 * torch.arange(length)], -1)[None]


def hairpin() -> Tensor:
    """Return the Cα atoms [1, 14, 3] of two antiparallel strands, 5 Å apart, with a turn."""
    along = 3.3 * torch.arange(6)
    zigzag = 0.9 * (torch.arange(6) % 2)
    one = torch.stack([along, torch.zeros(6), zigzag], -1)
    turn = torch.tensor([[19.5, 0.5, 2.5], [19.5, 4.5, 2.5]])
    other = torch.stack([along.flip(0), torch.full((6,), 5.0), zigzag], -1)
    return torch.cat([one, turn, other])[None]


def a_pair(distance: float, true_distance: float, *, letter: int = GLYCINE) -> Tensor:
    """Return the contact loss of two residues of numbers 0 and 6, at distances in Å."""
    atom14 = torch.zeros(1, 2, 14, 3)
    atom14[0, 1, :, 0] = true_distance
    if letter != GLYCINE:
        atom14[..., 1, :] = 99.0  # Cα does not count if there is Cβ
    truth = stand_in(Targets, atom14=atom14, pseudo_beta_mask=torch.ones(1, 2))
    inputs = stand_in(
        Inputs, aatype=torch.full((1, 2), letter), residue_index=torch.tensor([[0, 6]])
    )
    return shape.contact_loss(torch.tensor([[[0.0, 0, 0], [distance, 0, 0]]]), truth, inputs)


@pytest.mark.parametrize("letter", [GLYCINE, ALANINE])
def test_a_contact_is_a_pair_of_pseudo_beta_atoms_within_8_angstroms(letter: int) -> None:
    for distance, true, odds in ((8.0, 3.0, 0.0), (6.5, 3.0, 1.0), (6.5, 8.1, -1.0)):
        found = a_pair(distance, true, letter=letter)
        # Two ordered pairs of two residues.
        assert found.item() == pytest.approx(math.log1p(math.exp(-odds)), rel=1e-5)


def test_an_unlikely_contact_is_best_beyond_8_angstroms() -> None:
    share = 0.1
    distances = np.arange(4.0, 20.0, 0.05)
    mean = [share * a_pair(d, 5.0) + (1 - share) * a_pair(d, 12.0) for d in distances]
    best = distances[int(torch.cat(mean).argmin())]
    assert best == pytest.approx(8 - 1.5 * math.log(share / (1 - share)), abs=0.06)


def test_the_radius_of_gyration_counts_in_logarithms() -> None:
    mask = torch.ones(1, 30)
    for scale in (0.5, 1.0, 2.0):
        loss = shape.gyration_loss(scale * helix() + 7, helix(), mask)
        assert loss.item() == pytest.approx(math.log(scale) ** 2, abs=1e-5)


def test_distances_count_by_the_certainty_of_the_distogram() -> None:
    heads = HeadsConfig()
    logits = torch.zeros(1, 30, 30, 64)
    sure = torch.zeros(30, 30, dtype=torch.bool)
    sure[2, 9] = sure[9, 2] = True
    logits[:, sure, 20] = 50.0
    weight = shape.certainty(logits.requires_grad_(), heads)
    assert not weight.requires_grad
    assert weight[0, 2, 9] > 0.99
    assert weight[0, ~sure].max() < 0.01
    moved = helix().clone()
    moved[0, 9, 2] += 4.0
    between = float((helix()[0, 2] - moved[0, 9]).norm() - (helix()[0, 2] - helix()[0, 9]).norm())
    loss = shape.certain_distance_loss(moved, helix(), torch.ones(1, 30), weight * sure)
    assert loss.item() == pytest.approx((abs(between) - 0.5) / 10, rel=1e-4)
    assert shape.certain_distance_loss(moved, helix(), torch.ones(1, 30), weight) < loss


def test_far_pairs_count_less_in_fape() -> None:
    points = torch.tensor([[[0.0, 0, 0], [15, 0, 0], [30, 0, 0]]])
    assert torch.equal(shape.nearness(points, 0.0), torch.ones(1, 3, 3))
    weight = shape.nearness(points, 15.0)[0, 0]
    torch.testing.assert_close(weight, torch.tensor([1.0, 0.5, 0.2]), rtol=0, atol=1e-5)


def test_strands_are_extended_and_paired() -> None:
    mask = torch.ones(1, 14)
    assert shape.strand_loss(0.5 * helix(), helix(), torch.ones(1, 30)).item() == 0
    assert shape.strand_loss(hairpin() @ torch.eye(3)[[1, 2, 0]], hairpin(), mask).item() < 1e-6
    alone = hairpin()
    alone[:, 8:, 1] += 5.0  # extended, but no longer paired
    assert shape.strand_loss(0.5 * alone, alone, mask).item() == 0
    assert shape.strand_loss(alone, hairpin(), mask).item() > 0.1
    turn_moved = hairpin()
    turn_moved[:, 6:8, 2] += 3.0
    assert shape.strand_loss(turn_moved, hairpin(), mask).item() < 1e-6


def test_mutual_lddt_is_one_minus_lddt_of_pairs_near_in_either() -> None:
    truth = helix(40)
    mask = torch.ones(1, 40)
    contracted = 0.5 * truth
    plain, mutual = (
        losses.smooth_lddt_loss(contracted, truth, mask, way).item() for way in (False, True)
    )
    assert mutual > plain
    apart, true = (torch.cdist(each, each)[0] for each in (contracted, truth))
    near = ((apart < 15) | (true < 15)) & ~torch.eye(40, dtype=torch.bool)
    error = (apart - true).abs()[near]
    limits = torch.tensor(losses.LDDT_LIMITS)
    expected = 1 - torch.sigmoid(limits - error[:, None]).mean()
    assert mutual == pytest.approx(expected.item(), abs=1e-4)
    stretched = 3 * truth  # no pair becomes near
    assert losses.smooth_lddt_loss(stretched, truth, mask, True).item() == pytest.approx(
        losses.smooth_lddt_loss(stretched, truth, mask).item()
    )


def test_padding_counts_for_nothing() -> None:
    mask = torch.ones(1, 14)
    mask[:, 12:] = 0
    noise = torch.randn(1, 14, 3, generator=torch.Generator().manual_seed(0))
    garbage = torch.where(mask[..., None] > 0, hairpin() + noise, 1e3 * noise)
    weight = torch.ones(1, 14, 14)
    short = garbage[:, :12], hairpin()[:, :12], mask[:, :12]
    for loss in (shape.gyration_loss, shape.strand_loss):
        torch.testing.assert_close(loss(garbage, hairpin(), mask), loss(*short))
    torch.testing.assert_close(
        shape.certain_distance_loss(garbage, hairpin(), mask, weight),
        shape.certain_distance_loss(*short, weight[:, :12, :12]),
    )


def test_gradients_are_finite_when_all_atoms_coincide() -> None:
    start = torch.zeros(1, 14, 3, requires_grad=True)
    mask = torch.ones(1, 14)
    total = (
        shape.gyration_loss(start, hairpin(), mask)
        + shape.strand_loss(start, hairpin(), mask)
        + shape.certain_distance_loss(start, hairpin(), mask, torch.ones(1, 14, 14))
    )
    total.sum().backward()
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()


def test_how_losses_count_is_no_loss() -> None:
    none = dict.fromkeys(("distogram", "masked_msa", "backbone", "sidechain", "chi"), 0.0)
    confidence = LossConfig(**none, angle_norm=0.0)
    assert confidence.only_confidence
    assert replace(confidence, mutual_lddt=True, fape_reach=15.0).only_confidence
    for name in ("certain_distance", "contact", "gyration", "strand"):
        assert not replace(confidence, **{name: 1.0}).only_confidence

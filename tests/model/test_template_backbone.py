"""Templates in mini's structure: their distances and handedness in the layout, their backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import foldry
from foldry.features.templates import template_features_of_atoms
from foldry.formats.coordinates import read_structure
from foldry.geometry import Rigid, frames_from_three_points
from foldry.model.alphafold import AlphaFold
from foldry.model.config import MODELS, ModelConfig, mini, preset
from foldry.model.distance_geometry import (
    frames_from_distogram,
    handed_as,
    right_handed,
    with_template_distances,
)
from foldry.model.inputs import TemplateInputs, stack_templates
from foldry.model.runtime import Runtime
from foldry.model.structure_module import StructureModule
from foldry.model.template_backbone import RAMP, depth, superposition, toward_templates
from foldry.residues import CA, C, N
from foldry.score.compare import compare
from foldry.score.superpose import rmsd, superpose
from tests.conftest import ROOT

FIRST, LAST = 2.3125, 21.6875
EXAMPLES = ROOT / "examples"
TRYPSIN, KUNITZ = EXAMPLES / "trypsin" / "1trn.cif", EXAMPLES / "kunitz" / "1adz.cif"


def template_of(
    path: Path, covered: slice = slice(None), mirrored: bool = False, padding: int = 0
) -> TemplateInputs:
    """Return a structure, or some of its residues, as the only template of its own sequence."""
    structure = read_structure(path)
    positions, mask = structure.atom_positions.copy(), structure.atom_mask.astype(np.float32)
    if mirrored:
        positions[..., 2] *= -1
    left_out = np.ones(len(mask), bool)
    left_out[covered] = False
    mask[left_out] = 0
    features = template_features_of_atoms(
        structure.aatype[None], (positions * mask[..., None])[None].astype(np.float32), mask[None]
    )
    return stack_templates([features], sizes={"N": len(mask) + padding})


def joined(*templates: TemplateInputs) -> TemplateInputs:
    """Return templates as those of one chain."""
    return TemplateInputs(
        **{
            name: torch.cat([getattr(each, name) for each in templates], dim=1)
            for name in vars(templates[0])
        }
    )


def backbone_of(template: TemplateInputs) -> Rigid:
    n, ca, c = (template.atom_positions[:, 0, :, atom] for atom in (N, CA, C))
    return frames_from_three_points(c, ca, n)


def misfit(found: torch.Tensor, true: torch.Tensor) -> float:
    one, other = found.double().numpy(), true.double().numpy()
    return float(rmsd(superpose(one, other).apply(one), other))


def uncertain(length: int) -> torch.Tensor:
    """Return logits of a distogram that knows neighbours alone and puts all else beyond 21.7 Å."""
    logits = torch.zeros(1, length, length, 64)
    logits[..., 63] = 20
    for offset, place in ((1, 11), (2, 12)):
        index = torch.arange(length - offset)
        for one, other in ((index, index + offset), (index + offset, index)):
            logits[0, one, other, 63] = 0
            logits[0, one, other, place] = 20
    return logits


def test_a_template_has_distances_beyond_the_last_break() -> None:
    template = template_of(TRYPSIN)
    points = template.pseudo_beta[:, 0]
    length = points.shape[1]
    assert (torch.pdist(points[0]) > LAST).float().mean() > 0.4
    mask = torch.ones(1, length)
    errors = [
        misfit(
            frames_from_distogram(
                uncertain(length), mask, FIRST, LAST, template, weight
            ).translation[0],
            points[0],
        )
        for weight in (0.0, 0.3)
    ]
    assert errors[0] > 10
    assert errors[1] < 1


def test_the_distance_is_the_minimum_of_both_terms_of_the_stress() -> None:
    template = template_of(KUNITZ, slice(10, 30))
    points = template.pseudo_beta[0, 0].double()
    length = len(points)
    distance = torch.full((1, length, length), 25.0).double()
    weight = torch.full((1, length, length), 0.25).double()
    mask = torch.ones(1, length)
    found, total = with_template_distances(distance, weight, template, mask, 0.3)
    one, other = 14, 25
    at = float((points[one] - points[other]).norm())
    tried = torch.linspace(0, 40, 40_001).double()
    stress = 0.25 * (tried - 25) ** 2 + 0.3 * (tried - at) ** 2
    assert found[0, one, other].item() == pytest.approx(float(tried[stress.argmin()]), abs=1e-3)
    assert total[0, one, other].item() == pytest.approx(0.55)
    # Residues 10 and 29 are the ends of the covered segment: a quarter of the weight.
    assert total[0, 10, 14].item() == pytest.approx(0.25 + 0.3 / 4)
    assert total[0, 10, 29].item() == pytest.approx(0.25 + 0.3 / 16)
    # Pairs with a residue that the template lacks are as they were.
    assert found[0, 12, 40].item() == 25 and total[0, 12, 40].item() == 0.25


@pytest.mark.parametrize("path", [TRYPSIN, KUNITZ])
def test_the_handedness_follows_the_template(path: Path) -> None:
    """Even against the turns of the chain, which agree with a protein."""
    for mirrored in (False, True):
        template = template_of(path, mirrored=mirrored)
        points = template.pseudo_beta[:, 0] - template.pseudo_beta[:, 0].mean(1, keepdim=True)
        mask = torch.ones(points.shape[:2])
        assert torch.equal(handed_as(points, template, mask), points)
        assert torch.equal(handed_as(-points, template, mask), points)
        assert torch.equal(right_handed(points, mask), -points if mirrored else points)


def test_a_template_of_few_residues_has_no_vote() -> None:
    template = template_of(KUNITZ, slice(5, 20))
    points = template_of(KUNITZ, mirrored=True).pseudo_beta[:, 0]
    mask = torch.ones(points.shape[:2])
    assert torch.equal(handed_as(points, template, mask), points)
    larger = joined(template, template_of(KUNITZ, slice(20, 50)))
    assert torch.equal(handed_as(points, larger, mask), -points)


def test_padding_and_an_empty_template_change_nothing() -> None:
    covered = slice(8, 45)
    template, wider = template_of(KUNITZ, covered), template_of(KUNITZ, covered, padding=5)
    length = template.pseudo_beta.shape[2]
    logits, mask = uncertain(length), torch.ones(1, length)
    alone = frames_from_distogram(logits, mask, FIRST, LAST, template, 0.3)
    longer_logits = torch.randn(1, length + 5, length + 5, 64)
    longer_logits[:, :length, :length] = logits
    longer_mask = torch.cat([mask, torch.zeros(1, 5)], dim=1)
    longer = frames_from_distogram(longer_logits, longer_mask, FIRST, LAST, wider, 0.3)
    assert misfit(longer.translation[0, :length], alone.translation[0]) < 1e-2
    frames = Rigid(alone.rotation, alone.translation)
    moved = toward_templates(frames, template, mask, 0.75)
    wide = Rigid(
        torch.cat([frames.rotation, torch.eye(3).expand(1, 5, 3, 3)], dim=1),
        torch.cat([frames.translation, torch.zeros(1, 5, 3)], dim=1),
    )
    there = toward_templates(wide, wider, longer_mask, 0.75)
    assert torch.allclose(there.translation[:, :length], moved.translation, atol=1e-4)
    assert torch.allclose(there.rotation[:, :length], moved.rotation, atol=1e-4)
    empty = replace(template, mask=torch.zeros(1, 1))
    without = frames_from_distogram(logits, mask, FIRST, LAST)
    same = frames_from_distogram(logits, mask, FIRST, LAST, empty, 0.3)
    assert torch.equal(same.translation, without.translation)
    assert torch.equal(toward_templates(frames, empty, mask, 0.75).rotation, frames.rotation)


def test_members_of_a_batch_do_not_affect_each_other() -> None:
    long = template_of(TRYPSIN, slice(20, 180))
    length, shorter = long.pseudo_beta.shape[2], template_of(KUNITZ).pseudo_beta.shape[2]
    short = template_of(KUNITZ, mirrored=True, padding=length - shorter)
    both = TemplateInputs(
        **{name: torch.cat([array, getattr(short, name)]) for name, array in vars(long).items()}
    )
    mask = torch.ones(2, length)
    mask[1, shorter:] = 0
    logits = torch.cat([uncertain(length), uncertain(length)])
    together = frames_from_distogram(logits, mask, FIRST, LAST, both, 0.3)
    moved = toward_templates(together, both, mask, 0.75)
    for member, template in enumerate((long, short)):
        rows, real = slice(member, member + 1), mask[member] > 0
        alone = frames_from_distogram(logits[rows], mask[rows], FIRST, LAST, template, 0.3)
        assert misfit(together.translation[member, real], alone.translation[0, real]) < 1e-2
        ours = toward_templates(together[rows], template, mask[rows], 0.75)
        assert torch.allclose(ours.translation[0], moved.translation[member], atol=1e-4)
        assert torch.allclose(ours.rotation[0], moved.rotation[member], atol=1e-4)


def test_the_superposition_is_that_of_the_scores() -> None:
    random = torch.Generator().manual_seed(0)
    mobile = torch.randn(3, 20, 3, generator=random) * 10
    target = mobile @ torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]) + 5  # a mirror image
    target += torch.randn(3, 20, 3, generator=random)
    ours = superposition(mobile, target, torch.ones(3, 20))
    theirs = superpose(mobile.double().numpy(), target.double().numpy())
    np.testing.assert_allclose(ours.rotation.numpy(), theirs.rotation, atol=1e-5)
    np.testing.assert_allclose(ours.translation.numpy(), theirs.translation, atol=1e-4)
    weight = torch.ones(3, 20)
    weight[:, 10:] = 0
    some = superposition(mobile, target, weight)
    theirs = superpose(mobile[:, :10].double().numpy(), target[:, :10].double().numpy())
    np.testing.assert_allclose(some.rotation.numpy(), theirs.rotation, atol=1e-5)


def test_segments_end_at_gaps_and_at_broken_bonds() -> None:
    covered = torch.ones(1, 14, dtype=torch.bool)
    covered[0, 5] = False
    bonded = torch.ones(1, 13, dtype=torch.bool)
    bonded[0, 9] = False  # between 9 and 10
    real = torch.ones(1, 14, dtype=torch.bool)
    real[0, 13] = covered[0, 13] = False
    assert RAMP == 3
    expected = [4, 4, 3, 2, 1, 0, 1, 2, 2, 1, 1, 2, 3, 0]
    assert (4 * depth(covered, bonded, real))[0].tolist() == expected


def test_residues_move_toward_the_first_template_that_covers_them() -> None:
    template = template_of(KUNITZ)
    truth = backbone_of(template)
    mask = torch.ones(truth.translation.shape[:2])
    noise = torch.randn(truth.translation.shape, generator=torch.Generator().manual_seed(0))
    blurred = Rigid(truth.rotation, truth.translation + 0.5 * noise)
    first, second = template_of(KUNITZ, slice(0, 25)), template_of(KUNITZ, mirrored=True)
    moved = toward_templates(blurred, first, mask, 0.75)
    error = (moved.translation - truth.translation).norm(dim=-1)[0]
    before = (blurred.translation - truth.translation).norm(dim=-1)[0]
    assert error[:20].mean() < 0.45 * before[:20].mean()
    assert torch.equal(moved.translation[:, 25:], blurred.translation[:, 25:])
    assert torch.equal(moved.rotation[:, 25:], blurred.rotation[:, 25:])
    both = toward_templates(blurred, joined(first, second), mask, 0.75)
    assert torch.equal(both.translation[:, :25], moved.translation[:, :25])
    assert not torch.equal(both.translation[:, 25:], moved.translation[:, 25:])
    identity = moved.rotation.mT @ moved.rotation
    assert torch.allclose(identity, torch.eye(3).expand_as(identity), atol=1e-5)


def test_a_template_moves_distant_residues_less() -> None:
    template = template_of(KUNITZ)
    truth = backbone_of(template)
    mask = torch.ones(truth.translation.shape[:2])
    elsewhere = truth.translation.clone()
    elsewhere[0, 30] += torch.tensor([40.0, 0, 0])
    moved = toward_templates(Rigid(truth.rotation, elsewhere), template, mask, 0.75)
    assert (moved.translation[0, 30] - elsewhere[0, 30]).norm() < 1


def test_gradients_reach_the_frames_and_not_the_superposition() -> None:
    template = template_of(KUNITZ, slice(10, 40))
    truth = backbone_of(template)
    points = (truth.translation + torch.randn(truth.translation.shape)).requires_grad_()
    axes = truth.rotation.clone().requires_grad_()
    moved = toward_templates(Rigid(axes, points), template, torch.ones(points.shape[:2]), 0.75)
    (moved.translation.sum() + moved.rotation.square().sum()).backward()
    assert points.grad is not None and axes.grad is not None
    assert torch.isfinite(points.grad).all() and torch.isfinite(axes.grad).all()
    assert torch.equal(points.grad[0, :10], torch.ones(10, 3))
    assert (points.grad[0, 14:36] < 1).all() and (points.grad[0, 14:36] > 0.2).all()


def test_templates_reach_the_structure_of_mini_alone() -> None:
    for name in MODELS:
        structure = preset(name).structure
        assert (structure.template_weight, structure.template_share) == (0, 0), name
    template = template_of(KUNITZ)
    length = template.pseudo_beta.shape[2]
    mask = torch.ones(1, length)
    pair = torch.randn(1, length, length, mini().c_pair)
    found = []
    for weight in (0.0, 0.3):
        config = mini()
        structure = replace(config.structure, template_weight=weight)
        torch.manual_seed(0)
        model = AlphaFold(replace(config, structure=structure))
        torch.nn.init.normal_(model.heads.distogram.weight)
        found.append(model.initial_frames(pair, mask, template).translation)
        without = model.initial_frames(pair, mask).translation
        assert torch.equal(found[-1], without) == (weight == 0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.75])
def test_the_structure_moves_toward_a_template_only_in_predictions(
    share: float, training: bool
) -> None:
    template = template_of(KUNITZ)
    length = template.pseudo_beta.shape[2]
    config = replace(mini().structure, template_share=share)
    torch.manual_seed(0)
    module = StructureModule(config, mini().c_single, mini().c_pair, Runtime()).train(training)
    given = torch.randn(1, length, mini().c_single), torch.randn(1, length, length, mini().c_pair)
    aatype, mask = torch.zeros(1, length, dtype=torch.long), torch.ones(1, length)
    frames = Rigid.identity(1, length, like=mask)
    with torch.no_grad():
        alone, moved = (
            module(*given, aatype, mask, frames, each).atom14[-1] for each in (None, template)
        )
    assert torch.equal(alone, moved) == (share == 0 or training)


@pytest.mark.parametrize("covered", [2, 19])
def test_a_template_of_few_residues_moves_nothing(covered: int) -> None:
    template = template_of(KUNITZ, slice(covered))
    length = template.pseudo_beta.shape[2]
    frames = Rigid.identity(1, length, like=torch.ones(1, length))
    moved = toward_templates(frames, template, torch.ones(1, length), 0.75)
    assert torch.equal(moved.translation, frames.translation)


@pytest.mark.parametrize("name", ["template_weight", "template_share"])
def test_a_network_for_complexes_cannot_use_them(name: str) -> None:
    values = preset("model_1_multimer_v3").to_dict()
    values["structure"][name] = 0.3
    with pytest.raises(ValueError, match="must be 0 in a network for complexes"):
        ModelConfig.from_dict(values)


def test_weights_of_earlier_versions_lack_both_values() -> None:
    values = mini().to_dict()
    del values["structure"]["template_weight"], values["structure"]["template_share"]
    structure = ModelConfig.from_dict(values).structure
    assert (structure.template_weight, structure.template_share) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kunitz/1adz", "trypsin/1trn"])
def test_mini_reproduces_a_template_of_the_chain_itself(name: str) -> None:
    truth = read_structure(EXAMPLES / f"{name}.cif")
    [made] = foldry.fold(EXAMPLES / f"{name}.a3m", templates=[EXAMPLES / f"{name}.cif"])
    scores = compare(made.structure, truth, align=True)
    assert scores.lddt_ca >= 0.92
    assert scores.gdt_ts >= 0.92

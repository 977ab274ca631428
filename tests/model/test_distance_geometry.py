"""Frames from distances: exact distances restore the structure, handedness included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.formats.coordinates import read_structure
from foldry.model.alphafold import AlphaFold
from foldry.model.config import MODELS, mini, preset
from foldry.model.distance_geometry import (
    frames_along,
    frames_from_distogram,
    lay_out,
    median_distances,
    right_handed,
)
from foldry.residues import CA, CB
from foldry.score.superpose import rmsd, superpose
from foldry.train.losses import lddt_ca

FIRST, LAST = 2.3125, 21.6875
EXAMPLES = Path(__file__).parents[2] / "examples"


def pseudo_beta(path: str) -> torch.Tensor:
    structure = read_structure(EXAMPLES / path)
    slot = np.where(structure.atom_mask[:, CB], CB, CA)
    points = structure.atom_positions[np.arange(len(slot)), slot]
    return torch.tensor(points - points.mean(0), dtype=torch.float32)


def sure(points: torch.Tensor) -> torch.Tensor:
    """Return distogram logits that are certain of every distance."""
    breaks = torch.linspace(FIRST, LAST, 63)
    return (
        30
        * torch.nn.functional.one_hot(
            torch.bucketize(torch.cdist(points, points), breaks), 64
        ).float()
    )


def misfit(found: torch.Tensor, true: torch.Tensor) -> float:
    one, other = found.double().numpy(), true.double().numpy()
    return float(rmsd(superpose(one, other).apply(one), other))


@pytest.mark.parametrize("path", ["kunitz/1adz.cif", "trypsin/1trn.cif"])
def test_a_certain_distogram_restores_the_structure(path: str) -> None:
    """The fit is not exact, because a distogram has no distances above 21.7 Å."""
    points = pseudo_beta(path)
    frames = frames_from_distogram(sure(points)[None], torch.ones(1, len(points)), FIRST, LAST)
    found = frames.translation
    local = lddt_ca(found, points[None], torch.ones(1, len(points)))
    assert local.mean() > 0.98
    assert misfit(found[0], points) < 1.0
    identity = frames.rotation[0].mT @ frames.rotation[0]
    assert torch.allclose(identity, torch.eye(3).expand_as(identity), atol=1e-4)


def test_exact_distances_are_kept() -> None:
    points = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0)) * 8
    distance = torch.cdist(points, points)
    found = lay_out(distance, torch.ones(2, 30, 30), torch.ones(2, 30))
    assert torch.allclose(torch.pdist(found[1]), torch.pdist(points[1]), atol=1e-2)


def test_padding_changes_nothing() -> None:
    points = pseudo_beta("kunitz/1adz.cif")
    logits = sure(points)[None]
    length = len(points)
    alone = frames_from_distogram(logits, torch.ones(1, length), FIRST, LAST)
    padded = torch.randn(1, length + 7, length + 7, 64)
    padded[:, :length, :length] = logits
    mask = torch.ones(1, length + 7)
    mask[:, length:] = 0
    longer = frames_from_distogram(padded, mask, FIRST, LAST)
    assert misfit(longer.translation[0, :length], alone.translation[0]) < 1e-2
    # Local coordinates of the other residues are equal, so the frames of the ends are right too.
    for index in (0, 5, length - 1):
        seen = [
            frames[:, index].unsqueeze(-1).invert_apply(frames.translation[:, :length])
            for frames in (alone, longer)
        ]
        assert torch.allclose(*seen, atol=0.1)


def test_both_mirror_images_become_the_same_structure() -> None:
    points = pseudo_beta("trypsin/1trn.cif")[None]
    mask = torch.ones(points.shape[:2])
    assert torch.equal(right_handed(points, mask), points)
    assert torch.equal(right_handed(-points, mask), points)


def test_an_uncertain_distance_has_a_low_weight() -> None:
    logits = torch.zeros(1, 2, 2, 64)
    logits[0, 0, 0, 10] = 30.0
    logits[0, 1, 1, 63] = 30.0
    distance, weight = median_distances(logits, FIRST, LAST)
    width = (LAST - FIRST) / 62
    assert distance[0, 0, 0].item() == pytest.approx(FIRST + 9.5 * width)
    assert weight[0, 0, 0].item() == pytest.approx(1, abs=1e-3)
    assert weight[0, 0, 1].item() < 1e-3
    assert weight[0, 1, 1].item() == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_the_shortest_chains_have_finite_frames(length: int) -> None:
    frames = frames_from_distogram(
        torch.zeros(1, length, length, 64), torch.ones(1, length), FIRST, LAST
    )
    assert torch.isfinite(frames.translation).all()
    assert torch.isfinite(frames.rotation).all()


def test_nan_logits_raise_no_error() -> None:
    logits = torch.full((1, 6, 6, 64), torch.nan)
    frames = frames_from_distogram(logits, torch.ones(1, 6), FIRST, LAST)
    assert frames.translation.shape == (1, 6, 3)


def test_the_x_axis_of_a_frame_points_to_the_next_residue() -> None:
    straight = torch.tensor([[[0.0, 0, 0], [3.8, 0, 0], [3.8, 3.8, 0]]])
    frames = frames_along(straight, torch.ones(1, 3))
    assert torch.allclose(frames.rotation[0, 1, :, 0], torch.tensor([0.0, 1, 0]), atol=1e-4)
    assert torch.equal(frames.translation, straight)


def test_only_mini_starts_from_the_distogram() -> None:
    assert {preset(name).structure.initial_frames for name in MODELS} == {"origin"}
    config = mini()
    for place in ("origin", "distogram"):
        structure = replace(config.structure, initial_frames=place)
        model = AlphaFold(replace(config, structure=structure))
        pair = torch.randn(1, 9, 9, config.c_pair)
        torch.nn.init.normal_(model.heads.distogram.weight)
        frames = model.initial_frames(pair, torch.ones(1, 9))
        assert bool(frames.translation.any()) == (place == "distogram")

"""The losses equal the recorded official values and serve their purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from foldry.geometry import Rigid
from foldry.model.alphafold import Pass
from foldry.model.config import HeadsConfig
from foldry.model.heads import HeadLogits, pae_bin_centers
from foldry.model.inputs import Inputs
from foldry.model.structure_module import StructureOutput
from foldry.residues import ATOM37_MASK, ATOM37_ORDER, RESTYPE_ORDER
from foldry.score.lddt import lddt
from foldry.train import losses
from foldry.train.losses import LossConfig, fine_tuning, total_loss
from foldry.train.targets import Batch, Targets, make_targets
from tests.checked import stand_in
from tests.train.recorded import Recorded, assert_recorded

ORTHONORMAL = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.fixture(scope="module")
def recorded(parity_dir: Path) -> Recorded:
    return Recorded(parity_dir / "data" / "losses.npz")


@pytest.fixture(scope="module")
def all_atom(parity_dir: Path) -> Recorded:
    return Recorded(parity_dir / "data" / "all_atom.npz")


@pytest.fixture(scope="module")
def truth(recorded: Recorded) -> Targets:
    return recorded.targets()


def frames_3x4(array: Tensor) -> Rigid:
    return Rigid(array[..., :3], array[..., 3])


def all_pairs(mask: Tensor) -> Tensor:
    return mask[:, :, None] * mask[:, None]


def trajectory(recorded: Recorded) -> Rigid:
    frames = recorded.affine("in/traj")
    return Rigid(frames.rotation.movedim(0, 1), frames.translation.movedim(0, 1))


@pytest.mark.parity
def test_targets(recorded: Recorded, truth: Targets) -> None:
    frames = recorded["batch/rigidgroups_gt_frames"]
    known = truth.groups_mask[..., None]
    assert torch.equal(truth.groups_mask, recorded["batch/rigidgroups_gt_exists"])
    assert_recorded(truth.groups.rotation.flatten(-2) * known, frames[..., :9] * known)
    assert_recorded(truth.groups.translation * known, frames[..., 9:] * known)
    assert_recorded(truth.atom14, recorded["batch/atom14_gt_positions"])
    assert_recorded(truth.alt_atom14, recorded["batch/atom14_alt_gt_positions"])
    assert torch.equal(truth.alt_atom14_mask, recorded["batch/atom14_alt_gt_exists"])
    assert torch.equal(truth.atom37_exists, recorded["batch/atom37_atom_exists"])
    assert torch.equal(truth.torsion_mask[..., 3:], recorded["batch/chi_mask"])
    backbone = recorded.affine("batch/backbone_affine_tensor")
    assert_recorded(truth.backbone.rotation, backbone.rotation)
    assert_recorded(truth.backbone.translation, backbone.translation)


@pytest.mark.parity
@pytest.mark.parametrize("clamp", [None, 10.0])
def test_fape(all_atom: Recorded, clamp: float | None) -> None:
    ours, true = all_atom.affine("in_affine"), all_atom.affine("batch/backbone_affine_tensor")
    mask = all_atom["batch/backbone_affine_mask"]
    errors = losses.aligned_errors(ours, ours.translation, true, true.translation)
    value = losses.fape(errors, mask, mask, clamp)
    assert_recorded(value, all_atom[f"fape_backbone(clamp={clamp})"])


@pytest.mark.parity
def test_backbone(recorded: Recorded, truth: Targets) -> None:
    frames = trajectory(recorded)

    def loss(clamped: float) -> Tensor:
        weight = torch.tensor([clamped])
        return losses.backbone_fape(frames, truth.backbone, all_pairs(truth.backbone_mask), weight)

    assert_recorded(loss(1.0).mean(0), recorded["backbone_loss"])
    assert_recorded(loss(1.0)[-1], recorded["backbone_fape_last"])
    assert_recorded(loss(0.3)[-1], recorded["structure_module_loss_useclamped0.3/fape"])
    half_changes = (loss(0.3) - loss(1.0)).mean(0) / 2
    recorded_change = (
        recorded["structure_module_loss_useclamped0.3/loss"]
        - recorded["structure_module_loss/loss"]
    )
    assert (half_changes - recorded_change).abs() < 2e-6


@pytest.mark.parity
def test_chains(all_atom: Recorded) -> None:
    frames = all_atom.affine("in_affine")
    frames = Rigid(frames.rotation[None], frames.translation[None])
    true = frames_3x4(all_atom["mm/backbone_affine"])
    chain = all_atom["in_asym_id"]
    same = chain[:, :, None] == chain[:, None]
    known = all_pairs(all_atom["mm/backbone_mask"])
    within = losses.backbone_fape(frames, true, known * same, torch.ones(1))
    between = losses.interface_fape(frames, true, known * ~same)
    assert_recorded(within[0], all_atom["mm/fape_intra"])
    assert_recorded(between[0], all_atom["mm/fape_inter"])


@pytest.mark.parity
def test_sidechain(recorded: Recorded, truth: Targets) -> None:
    frames = frames_3x4(recorded.layers("in/frames_3x4"))[-1]
    atom14 = recorded.layers("in/atom14_pos")[-1]
    swap = losses.alternative_is_better(atom14, truth)
    assert torch.equal(swap.float(), recorded["renamed/alt_naming_is_better"])
    assert swap.any()
    swap = swap[..., None]
    renamed = torch.where(swap[..., None], truth.alt_atom14, truth.atom14)
    assert_recorded(renamed, recorded["renamed/renamed_atom14_gt_positions"])
    exists = torch.where(swap, truth.alt_atom14_mask, truth.atom14_mask)
    assert torch.equal(exists, recorded["renamed/renamed_atom14_gt_exists"])
    assert_recorded(
        losses.sidechain_fape(frames, atom14, truth),
        recorded["structure_module_loss/sidechain_fape"],
    )


@pytest.mark.parity
def test_renaming_of_hidden_atoms(all_atom: Recorded) -> None:
    truth = make_targets(
        all_atom.arrays["in_aatype"][None],
        all_atom.arrays["in_pos37"][None],
        all_atom.arrays["in_mask37"][None],
        np.array([2.0]),
        HeadsConfig(),
    )
    swap = losses.alternative_is_better(all_atom["in_pred14"], truth)
    assert torch.equal(swap.float(), all_atom["find_optimal_renaming"])


@pytest.mark.parity
def test_sidechain_ignores_unknown_groups_and_atoms(all_atom: Recorded) -> None:
    """The loss equals a mean over all pairs of a group and an atom, known or not."""
    truth = make_targets(
        all_atom.arrays["in_aatype"][None],
        all_atom.arrays["in_pos37"][None],
        all_atom.arrays["in_mask37"][None],
        np.array([2.0]),
        HeadsConfig(),
    )
    num_residues = truth.ca.shape[1]
    assert truth.known_groups.shape[1] < 5 * num_residues
    assert truth.known_atoms.shape[1] < 9 * num_residues
    frames, atom14 = truth.alt_groups, all_atom["in_pred14"]
    swap = losses.alternative_is_better(atom14, truth)
    assert not swap.any()
    errors = losses.aligned_errors(
        Rigid(frames.rotation.flatten(1, 2), frames.translation.flatten(1, 2)),
        atom14.flatten(1, 2),
        Rigid(truth.groups.rotation.flatten(1, 2), truth.groups.translation.flatten(1, 2)),
        truth.atom14.flatten(1, 2),
    )
    dense = losses.fape(errors, truth.groups_mask.flatten(1), truth.atom14_mask.flatten(1))
    torch.testing.assert_close(losses.sidechain_fape(frames, atom14, truth), dense)


def test_atoms_known_in_either_naming_are_listed() -> None:
    """In an aspartate without OD1, both oxygens: the missing one is OD1 or, exchanged, OD2."""
    codes = np.array([[RESTYPE_ORDER["D"], RESTYPE_ORDER["G"]]])
    mask = ATOM37_MASK[codes].copy()
    mask[0, 0, ATOM37_ORDER["OD1"]] = 0
    truth = make_targets(codes, np.zeros((1, 2, 37, 3)), mask, np.array([2.0]), HeadsConfig())
    assert truth.known_atoms.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 14, 15, 16, 17]]
    # The backbone, psi and chi1, but not chi2, whose frame needs OD1; glycine has two.
    assert truth.known_groups.tolist() == [[0, 3, 4, 8, 11]]


@pytest.mark.parity
def test_torsions(recorded: Recorded, truth: Targets) -> None:
    chi = losses.chi_loss(recorded.layers("in/angles"), truth)
    norm = losses.angle_norm_loss(
        recorded.layers("in/unnormalized_angles"), recorded["batch/seq_mask"]
    )
    assert_recorded(chi, recorded["chi/chi_loss"])
    assert_recorded(norm, recorded["chi/angle_norm_loss"])
    weights = LossConfig()
    assert_recorded(weights.chi * chi + weights.angle_norm * norm, recorded["chi/loss"])


@pytest.mark.parity
def test_distogram_and_masked_msa(recorded: Recorded, truth: Targets) -> None:
    assert_recorded(
        losses.cross_entropy(
            recorded["in/distogram_logits"],
            truth.distance_bins,
            all_pairs(truth.pseudo_beta_mask),
        ),
        recorded["distogram_loss"],
    )
    assert_recorded(
        losses.cross_entropy(
            recorded["in/masked_msa_logits"], recorded["in/true_msa"], recorded["in/bert_mask"]
        ),
        recorded["masked_msa_loss"],
    )


@pytest.mark.parity
def test_lddt(all_atom: Recorded) -> None:
    mask = all_atom["in_mask37"][..., 1]
    true_ca = all_atom["in_pos37"][..., 1, :]
    lddt = losses.lddt_ca(all_atom["in_pred14"][..., 1, :], true_ca, mask)
    assert_recorded(lddt[None], all_atom["lddt(per_residue=True)"])


def test_lddt_equals_the_score() -> None:
    """The NumPy implementation in `score` gives the same value for every residue."""
    generator = np.random.default_rng(3)
    true = np.cumsum(generator.normal(0, 2.2, (80, 3)), 0)
    model = true + generator.normal(0, 1.0, true.shape)
    known = generator.random(80) < 0.8
    theirs = lddt(model[known], true[known]).per_residue
    ours = losses.lddt_ca(
        torch.from_numpy(model[None]),
        torch.from_numpy(true[None]),
        torch.from_numpy(known[None]).double(),
    )
    assert 0.2 < theirs.mean() < 0.9
    np.testing.assert_allclose(ours[0, known].numpy(), theirs, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("resolution", [2.0, 5.0])
def test_confidence(recorded: Recorded, resolution: float) -> None:
    truth = recorded.targets(resolution)
    good = losses.well_resolved(truth.resolution)
    ca = recorded["in/final_atom_positions"][..., 1, :]
    lddt = losses.lddt_ca(ca, truth.ca, truth.ca_mask)
    frames = trajectory(recorded)[-1]
    bins = losses.aligned_error_bins(frames, truth.backbone, 64, 31.0)
    values = {
        "plddt": losses.plddt_loss(recorded["in/lddt_logits"], lddt, truth.ca_mask),
        "pae": losses.cross_entropy(
            recorded["in/pae_logits"], bins, all_pairs(truth.backbone_mask)
        ),
        "exp_resolved": losses.resolved_loss(
            recorded["in/exp_resolved_logits"], truth.atom37_mask, truth.atom37_exists
        ),
    }
    for name, value in values.items():
        assert_recorded(good * value, recorded[f"{name}_loss(res={resolution})"])


def test_resolution_filter() -> None:
    resolution = torch.tensor([0.0, 0.1, 3.0, 3.1, float("nan")])
    assert losses.well_resolved(resolution).tolist() == [0, 1, 1, 0, 1]


@pytest.fixture
def helix() -> Tensor:
    """The Cα atoms [1, 30, 3] of an α-helix, Å."""
    turn = torch.arange(30) * torch.pi * 100 / 180
    return torch.stack([2.3 * turn.cos(), 2.3 * turn.sin(), 1.5 * torch.arange(30)], -1)[None]


def test_distance_losses_vanish_at_the_truth_in_any_pose(helix: Tensor) -> None:
    mask = torch.ones(helix.shape[:2])
    moved = helix @ ORTHONORMAL.T + 7
    assert losses.ca_distance_loss(moved, helix, mask).item() < 1e-8
    assert losses.lddt_ca(moved, helix, mask).min() == 1
    assert losses.ca_distance_loss(0.5 * helix, helix, mask) > 0.3
    best = 1 - torch.sigmoid(torch.tensor(losses.LDDT_LIMITS)).mean()
    assert torch.isclose(losses.smooth_lddt_loss(moved, helix, mask), best[None]).all()
    assert losses.smooth_lddt_loss(0.5 * helix, helix, mask) > 2 * best


def test_masked_residues_count_for_nothing(helix: Tensor) -> None:
    mask = torch.ones(helix.shape[:2])
    mask[:, 20:] = 0
    noise = torch.randn(helix.shape, generator=torch.Generator().manual_seed(0))
    garbage = torch.where(mask[..., None] > 0, helix + noise, 1e3 * noise)
    for loss in (losses.ca_distance_loss, losses.smooth_lddt_loss):
        whole = loss(garbage, helix, mask)
        torch.testing.assert_close(whole, loss(garbage[:, :20], helix[:, :20], mask[:, :20]))


def test_fape_sees_the_mirror_image_and_distances_do_not(helix: Tensor) -> None:
    mirrored = helix * torch.tensor([1.0, 1, -1])
    mask = torch.ones(helix.shape[:2])
    eye = torch.eye(3).expand(*helix.shape[:2], 3, 3)
    errors = losses.aligned_errors(Rigid(eye, mirrored), mirrored, Rigid(eye, helix), helix)
    assert losses.fape(errors, mask, mask) > 0.5
    assert losses.ca_distance_loss(mirrored, helix, mask) < 1e-8


def test_gradients_are_finite_when_all_atoms_coincide(helix: Tensor) -> None:
    mask = torch.ones(helix.shape[:2])
    start = torch.zeros_like(helix, requires_grad=True)
    frames = Rigid(torch.eye(3).expand(*helix.shape[:2], 3, 3), start)
    true = Rigid(frames.rotation, helix)
    total = (
        losses.ca_distance_loss(start, helix, mask)
        + losses.smooth_lddt_loss(start, helix, mask)
        + losses.backbone_fape(frames, true, all_pairs(mask), torch.ones(1)).sum()
    )
    total.sum().backward()
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()
    assert start.grad.abs().sum() > 0


@pytest.mark.parity
@pytest.mark.parametrize("clamped", [1.0, 0.3])
def test_total_is_the_weighted_sum(recorded: Recorded, truth: Targets, clamped: float) -> None:
    structure = stand_in(
        StructureOutput,
        frames=trajectory(recorded),
        group_frames=frames_3x4(recorded.layers("in/frames_3x4")),
        atom14=recorded.layers("in/atom14_pos"),
        sin_cos=recorded.layers("in/angles"),
        unnormalized_sin_cos=recorded.layers("in/unnormalized_angles"),
    )
    logits = HeadLogits(
        distogram=recorded["in/distogram_logits"],
        masked_msa=recorded["in/masked_msa_logits"],
        plddt=recorded["in/lddt_logits"],
        resolved=recorded["in/exp_resolved_logits"],
        pae=recorded["in/pae_logits"],
    )
    batch = stand_in(
        Batch,
        inputs=stand_in(
            Inputs,
            aatype=recorded["batch/aatype"],
            residue_index=recorded["batch/residue_index"],
            asym_id=torch.ones_like(recorded["batch/aatype"]),
            seq_mask=recorded["batch/seq_mask"],
        ),
        true_msa=(recorded["in/true_msa"],),
        bert_mask=(recorded["in/bert_mask"],),
        targets=truth,
        clamped=torch.tensor([clamped]),
    )
    config = replace(fine_tuning(pae=True), plddt=0.0)
    result = stand_in(Pass, structure=structure)
    ours = total_loss(result, logits, batch, 0, config, HeadsConfig(pae=True))
    variant = "" if clamped == 1 else f"_useclamped{clamped}"
    expected = (
        config.distogram * recorded["distogram_loss"]
        + config.masked_msa * recorded["masked_msa_loss"]
        + recorded[f"structure_module_loss{variant}/loss"]
        + config.pae * recorded["pae_loss(res=2.0)"]
        + config.resolved * recorded["exp_resolved_loss(res=2.0)"]
    )
    assert_recorded(ours.total[None], expected)
    assert "plddt" not in ours.terms
    assert 0 < ours.terms["lddt"] < 1

    with pytest.raises(ValueError, match="aligned-error"):
        total_loss(result, replace(logits, pae=None), batch, 0, config, HeadsConfig())


OTHER_BINS = HeadsConfig(
    num_distogram_bins=12,
    distogram_first_break=4.0,
    distogram_last_break=14.0,
    num_plddt_bins=10,
    pae=True,
    num_pae_bins=9,
    max_pae_break=14.0,
)
"""Bins of 1 Å for distances, of a tenth for lDDT and of 2 Å for errors."""


@pytest.mark.parametrize("heads", [HeadsConfig(pae=True), OTHER_BINS])
def test_targets_are_in_the_bins_of_the_network(heads: HeadsConfig, helix: Tensor) -> None:
    """Logits for the true bins, found by the bounds of the network, have no loss."""
    size = helix.shape[1]
    aatype = np.full((1, size), RESTYPE_ORDER["G"])  # whose pseudo-beta atom is Cα
    positions = np.zeros((1, size, 37, 3), np.float32)
    positions[..., :3, :] = helix.numpy()[:, :, None]
    positions[..., 0, :] += (0.0, 1.0, 0.5)
    positions[..., 2, :] += (1.0, 0.0, 0.5)
    mask = np.zeros((1, size, 37), np.float32)
    mask[..., :3] = 1
    truth = make_targets(aatype, positions, mask, np.array([2.0]), heads)
    noise = torch.randn(helix.shape, generator=torch.Generator().manual_seed(0))
    frames = Rigid(truth.backbone.rotation, helix + 3 * noise)

    def certain(bins: Tensor, count: int) -> Tensor:
        return 100 * torch.nn.functional.one_hot(bins.clamp(0, count - 1), count).float()

    first, last = heads.distogram_first_break, heads.distogram_last_break
    width = (last - first) / (heads.num_distogram_bins - 2)
    distance = torch.cdist(helix, helix)
    distogram = certain(((distance - first) / width).ceil().long(), heads.num_distogram_bins)
    seen = losses._seen_from(frames, frames.translation)
    error = (seen - losses._seen_from(truth.backbone, helix)).norm(dim=-1)
    centers = pae_bin_centers(heads.num_pae_bins, heads.max_pae_break)
    pae = certain((error / (2 * centers[0])).ceil().long(), heads.num_pae_bins)
    lddt = losses.lddt_ca(frames.translation, helix, truth.ca_mask)
    plddt = certain((lddt * heads.num_plddt_bins).floor().long(), heads.num_plddt_bins)
    logits = HeadLogits(
        distogram, torch.zeros(1, 1, size, 23), plddt, torch.zeros(1, size, 37), pae
    )
    structure = stand_in(
        StructureOutput,
        frames=Rigid(frames.rotation[None], frames.translation[None]),
        atom14=truth.atom14[None],
    )
    inputs = stand_in(
        Inputs, asym_id=torch.ones(1, size, dtype=torch.long), seq_mask=torch.ones(1, size)
    )
    batch = stand_in(Batch, inputs=inputs, targets=truth)
    weights = vars(LossConfig()) | dict.fromkeys(losses_without_logits(), 0.0)
    config = LossConfig(**{**weights, "distogram": 1.0, "pae": 1.0, "plddt": 1.0})
    terms = total_loss(stand_in(Pass, structure=structure), logits, batch, 0, config, heads).terms
    assert len(set(distogram.argmax(-1).flatten().tolist())) > 5
    assert len(set(pae.argmax(-1).flatten().tolist())) > 4
    for name in ("distogram", "pae", "plddt"):
        assert terms[name] < 1e-5, name


def losses_without_logits() -> list[str]:
    return ["masked_msa", "backbone", "sidechain", "chi", "angle_norm"]

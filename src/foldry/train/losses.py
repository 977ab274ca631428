"""What training minimises: the losses of AlphaFold 2, and two on realised Cα distances.

Every function returns one number a sample, so that samples count alike however much of them is
masked. Axes: L structure layers, B batch, F frames, P points, S alignment rows, N residues.
Coordinates are in Å, numbers in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from foldry import residues
from foldry.geometry import Rigid
from foldry.model.alphafold import Pass
from foldry.model.heads import HeadLogits
from foldry.residues import PEPTIDE_BOND
from foldry.train.targets import Batch, Targets
from foldry.train.violations import violation_loss

LENGTH_SCALE: Final = 10.0
"""Å in one unit of FAPE (SI Algorithm 28)."""
CLAMP: Final = 10.0
"""Å beyond which clamped FAPE does not grow."""
INTERFACE_SCALE: Final = 20.0
INTERFACE_CLAMP: Final = 1000.0
"""The same for pairs of two chains."""
LDDT_LIMITS: Final = (0.5, 1.0, 2.0, 4.0)
"""Å."""
_AMBIGUOUS = np.flatnonzero(residues.ATOM14_AMBIGUOUS.any(0))
SYMMETRIC_SLOTS: Final = slice(int(_AMBIGUOUS[0]), int(_AMBIGUOUS[-1]) + 1)
"""atom14 slots that any symmetric side chain uses."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; those of weight 0 are not computed.

    The defaults are the paper's for initial training (SI 1.9, equation 7); `fine_tuning` has the
    others.

    Attributes:
        distogram: Distances of pseudo-beta atoms.
        masked_msa: The letters under the mask.
        backbone: FAPE of the backbone within chains, mean over the structure layers.
        interface: The same between chains; 0.5 in AlphaFold-Multimer.
        sidechain: FAPE of all atoms in all rigid groups, last layer.
        chi: Side-chain torsion angles.
        angle_norm: Length of the torsion vectors before normalisation.
        plddt, pae, resolved: The confidence heads.
        violations: Bonds, angles and clashes of the last layer's atoms.
        smooth_lddt: 1 − lDDT-Cα with sigmoids for steps, last layer.
        ca_distance: Realised Cα distances, last layer.
        unclamped_fraction: Share of samples whose backbone FAPE is not clamped.
        by_length: Whether a sample counts by the square root of its residues (SI 1.9).
        cos_ca_c_n_deviation: Of the peptide bond's angle, for violations. The official multimer
            code has 0.014 here, which is the deviation of the bond's length.
    """

    distogram: float = 0.3
    masked_msa: float = 2.0
    backbone: float = 0.5
    interface: float = 0.0
    sidechain: float = 0.5
    chi: float = 0.5
    angle_norm: float = 0.01
    plddt: float = 0.01
    pae: float = 0.0
    resolved: float = 0.0
    violations: float = 0.0
    smooth_lddt: float = 0.0
    ca_distance: float = 0.0
    unclamped_fraction: float = 0.1
    by_length: bool = False
    cos_ca_c_n_deviation: float = PEPTIDE_BOND["cos_ca_c_n"][1]


def fine_tuning(pae: bool = False) -> LossConfig:
    """The paper's weights for fine-tuning (SI 1.9, equation 7; SI 1.11, Table 4).

    Args:
        pae: Whether the network has the head for aligned errors, as the pTM models (SI 1.9.7).
    """
    return LossConfig(resolved=0.01, violations=1.0, pae=0.1 if pae else 0.0)


@dataclass(frozen=True)
class Losses:
    """The weighted sum, and each term before its weight, for the log."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


def total_loss(
    result: Pass, logits: HeadLogits, batch: Batch, number: int, config: LossConfig
) -> Losses:
    """The weighted sum of all terms for the pass `number`, mean over the batch.

    The terms of the log are plain means, also where the sum goes by length.

    `terms` also has `lddt`, the lDDT-Cα of the predicted structure, which is not a loss.

    Raises:
        ValueError: The configuration weighs the aligned error and the network has no such head.
    """
    truth, seq_mask = batch.targets, batch.inputs.seq_mask
    structure, pae_logits = result.structure, logits.pae
    frames, atom14 = structure.frames, structure.atom14[-1]
    if config.pae and pae_logits is None:
        raise ValueError("the aligned-error loss needs a network with that head")
    exists = truth.atom37_exists * seq_mask[..., None]
    # An X has no atoms to place, but its frame stands on its Cα like any other.
    ca = frames.translation[-1]
    lddt = lddt_ca(ca.detach(), truth.ca, truth.ca_mask)
    good = well_resolved(truth.resolution)
    chain = batch.inputs.asym_id
    backbone, beta = _pairs(truth.backbone_mask), _pairs(truth.pseudo_beta_mask)
    within = backbone * (chain[:, :, None] == chain[:, None])

    def pae() -> Tensor:
        assert pae_logits is not None
        bins = aligned_error_bins(frames[-1], truth.backbone, pae_logits.shape[-1])
        return good * cross_entropy(pae_logits, bins, backbone)

    compute: dict[str, Callable[[], Tensor]] = {
        "distogram": lambda: cross_entropy(logits.distogram, truth.distance_bins, beta),
        "masked_msa": lambda: cross_entropy(
            logits.masked_msa, batch.true_msa[number], batch.bert_mask[number]
        ),
        "backbone": lambda: backbone_fape(frames, truth.backbone, within, batch.clamped).mean(0),
        "interface": lambda: interface_fape(frames, truth.backbone, backbone - within).mean(0),
        "sidechain": lambda: sidechain_fape(structure.group_frames[-1], atom14, truth),
        "chi": lambda: chi_loss(structure.sin_cos, truth),
        "angle_norm": lambda: angle_norm_loss(structure.unnormalized_sin_cos, seq_mask),
        "plddt": lambda: good * plddt_loss(logits.plddt, lddt, truth.ca_mask),
        "resolved": lambda: good * resolved_loss(logits.resolved, truth.atom37_mask, exists),
        "violations": lambda: violation_loss(atom14, batch.inputs, config.cos_ca_c_n_deviation),
        "smooth_lddt": lambda: smooth_lddt_loss(ca, truth.ca, truth.ca_mask),
        "ca_distance": lambda: ca_distance_loss(ca, truth.ca, truth.ca_mask),
        "pae": pae,
    }
    terms = {name: term() for name, term in compute.items() if getattr(config, name)}
    weight = seq_mask.sum(-1).sqrt() if config.by_length else 1.0
    total = sum(getattr(config, name) * (weight * term).mean() for name, term in terms.items())
    logged = {name: term.detach().mean() for name, term in terms.items()}
    logged["lddt"] = masked_mean(lddt, truth.ca_mask, 1).mean()
    return Losses(torch.as_tensor(total), logged)


def masked_mean(values: Tensor, mask: Tensor, num_axes: int) -> Tensor:
    """Mean over the last `num_axes` axes where `mask` is 1; 0 where nothing is."""
    axes = tuple(range(-num_axes, 0))
    mean: Tensor = (values * mask).sum(axes) / (mask.sum(axes) + 1e-8)
    return mean


def aligned_errors(
    frames: Rigid,
    points: Float[Tensor, "*B P 3"],
    true_frames: Rigid,
    true_points: Float[Tensor, "*B P 3"],
) -> Float[Tensor, "*B F P"]:
    """Algorithm 28, lines 1 to 3. Distances (Å) of all points as seen from all frames [*B, F]."""
    # x − y = Rᵀ(p − t) − Sᵀ(q − u): one product of [R −S] with (p, q) for all three axes.
    axes = torch.cat([frames.rotation, -true_frames.rotation], -2).movedim(-1, -3)
    origins = torch.cat([frames.translation, true_frames.translation], -1)
    both = torch.cat([points, true_points], -1)
    seen = (axes.flatten(-3, -2) @ both.mT).reshape(*axes.shape[:-1], both.shape[-2])
    delta = seen - (axes * origins[..., None, :, :]).sum(-1, keepdim=True)
    return torch.sqrt(delta.square().sum(-3) + 1e-4)


def fape(
    errors: Float[Tensor, "*B F P"],
    frames_mask: Float[Tensor, "*B F"],
    points_mask: Float[Tensor, "*B P"],
    clamp: float | None = CLAMP,
) -> Float[Tensor, " *B"]:
    """Algorithm 28, lines 4 and 5. Frame aligned point error in units of 10 Å."""
    clamped = errors if clamp is None else errors.clamp(max=clamp)
    total = (frames_mask * (clamped @ points_mask[..., None]).squeeze(-1)).sum(-1)
    count = frames_mask.sum(-1) * points_mask.sum(-1)
    return total / (count + 1e-8) / LENGTH_SCALE


def backbone_fape(
    frames: Rigid,
    true_frames: Rigid,
    pairs: Float[Tensor, "B N N"],
    clamped: Float[Tensor, " B"],
) -> Float[Tensor, "*layers B"]:
    """FAPE of the backbone's frames and Cα atoms of each layer (SI 1.9.2, 1.11.5).

    Args:
        frames: The layers' frames [L, B, N].
        true_frames: [B, N].
        pairs: 1 for a frame and an atom that are known and in one chain.
        clamped: How much of the clamped loss counts in each sample, the rest being unclamped.
    """
    errors = _backbone_errors(frames, true_frames)
    share = clamped[:, None, None]
    mixed = share * errors.clamp(max=CLAMP) + (1 - share) * errors
    return masked_mean(mixed, pairs, 2) / LENGTH_SCALE


def interface_fape(
    frames: Rigid, true_frames: Rigid, pairs: Float[Tensor, "B N N"]
) -> Float[Tensor, "*layers B"]:
    """The same for pairs of two chains, in units of 20 Å (Evans 2021, AlphaFold-Multimer)."""
    errors = _backbone_errors(frames, true_frames).clamp(max=INTERFACE_CLAMP)
    return masked_mean(errors, pairs, 2) / INTERFACE_SCALE


def _backbone_errors(frames: Rigid, true_frames: Rigid) -> Float[Tensor, "*layers B N N"]:
    true = Rigid(
        true_frames.rotation.expand_as(frames.rotation),
        true_frames.translation.expand_as(frames.translation),
    )
    return aligned_errors(frames, frames.translation, true, true.translation)


def alternative_is_better(atom14: Float[Tensor, "B N 14 3"], truth: Targets) -> Bool[Tensor, "B N"]:
    """Algorithm 26. Where the other naming of a symmetric side chain is nearer the prediction.

    Distances from the symmetric atoms to all atoms that have one name are compared.
    """
    symmetric = truth.atom14_mask * truth.atom14_ambiguous
    fixed = truth.atom14_mask * (1 - truth.atom14_ambiguous)

    def distances(moving: Tensor, still: Tensor) -> Float[Tensor, "B N K P"]:
        # The faster way by a matrix product is off by 1e-3 Å.
        between = torch.cdist(
            moving[:, :, SYMMETRIC_SLOTS].flatten(1, 2),
            still.flatten(1, 2),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        return between.reshape(*moving.shape[:2], -1, between.shape[-1])

    with torch.no_grad():
        predicted = distances(atom14, atom14)
        weight = symmetric[:, :, SYMMETRIC_SLOTS, None] * fixed.flatten(1)[:, None, None]

        def distance_error(moving: Tensor) -> Float[Tensor, "B N"]:
            error = (predicted - distances(moving, truth.atom14)).abs()
            return (error * weight).sum((-1, -2))

        return distance_error(truth.alt_atom14) < distance_error(truth.atom14)


def sidechain_fape(
    frames: Rigid, atom14: Float[Tensor, "B N 14 3"], truth: Targets
) -> Float[Tensor, " B"]:
    """FAPE of all atoms in all rigid groups [B, N, 8], symmetric side chains renamed (SI 1.9.2)."""
    swap = alternative_is_better(atom14, truth)[..., None]
    true_rotation = torch.where(
        swap[..., None, None], truth.alt_groups.rotation, truth.groups.rotation
    )
    true_atoms = torch.where(swap[..., None], truth.alt_atom14, truth.atom14)
    frame_mask = truth.groups_mask.flatten(1)
    atom_mask = torch.where(swap, truth.alt_atom14_mask, truth.atom14_mask).flatten(1)

    # Two in three pairs of a frame and an atom have an unknown one and are not worth computing.
    sample = torch.arange(len(atom14), device=atom14.device)[:, None]
    of_frames, of_atoms = (sample, truth.known_groups), (sample, truth.known_atoms)

    def known(rotation: Tensor, translation: Tensor) -> Rigid:
        return Rigid(rotation.flatten(1, 2)[of_frames], translation.flatten(1, 2)[of_frames])

    errors = aligned_errors(
        known(frames.rotation, frames.translation),
        atom14.flatten(1, 2)[of_atoms],
        known(true_rotation, truth.groups.translation),
        true_atoms.flatten(1, 2)[of_atoms],
    )
    return fape(errors, frame_mask[of_frames], atom_mask[of_atoms])


def chi_loss(sin_cos: Float[Tensor, "L B N 7 2"], truth: Targets) -> Float[Tensor, " B"]:
    """Algorithm 27, lines 1 to 3, for chi1–chi4: squared error to the nearer of both namings."""
    error = (sin_cos - truth.sin_cos).square().sum(-1)
    alt_error = (sin_cos - truth.alt_sin_cos).square().sum(-1)
    nearer = torch.minimum(error, alt_error)[..., 3:]
    return masked_mean(nearer, truth.torsion_mask[..., 3:], 2).mean(0)


def angle_norm_loss(
    unnormalized_sin_cos: Float[Tensor, "L B N 7 2"], seq_mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Algorithm 27, line 4: how far the raw torsion vectors are from length 1."""
    length = (unnormalized_sin_cos.square().sum(-1) + 1e-6).sqrt()
    return masked_mean((length - 1).abs().mean(-1), seq_mask, 1).mean(0)


def cross_entropy(
    logits: Float[Tensor, "B *N K"], target: Int[Tensor, " B *N"], mask: Float[Tensor, " B *N"]
) -> Float[Tensor, " B"]:
    """Mean cross-entropy where `mask` is 1.

    That of the bins of pseudo-beta distances (SI 1.9.8), of the letters under the mask (SI 1.9.9),
    of lDDT-Cα (SI 1.9.6) and of aligned errors (SI 1.9.7).
    """
    errors = -logits.log_softmax(-1).gather(-1, target[..., None]).squeeze(-1)
    return masked_mean(errors, mask, mask.dim() - 1)


def plddt_loss(
    logits: Float[Tensor, "B N K"], lddt: Float[Tensor, "B N"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Cross-entropy of the bins of lDDT-Cα, 0 to 1 (SI 1.9.6)."""
    num_bins = logits.shape[-1]
    bins = (lddt * num_bins).long().clamp(max=num_bins - 1)
    return cross_entropy(logits, bins, mask)


@torch.no_grad()
def aligned_error_bins(
    frames: Rigid, true_frames: Rigid, num_bins: int, max_break: float = 31.0
) -> Int[Tensor, "B N N"]:
    """The bin of the error of each Cα atom as seen from each frame; frames are [B, N].

    Breaks are even from 0 to `max_break` Å. Bin 0 has errors of exactly 0: a frame's own Cα.
    """
    delta = _seen_from(frames, frames.translation)
    delta = delta - _seen_from(true_frames, true_frames.translation)
    breaks = torch.linspace(0, max_break, num_bins - 1, device=delta.device)
    return torch.bucketize(delta.square().sum(-1), breaks.square())


def resolved_loss(
    logits: Float[Tensor, "B N 37"],
    atom_mask: Float[Tensor, "B N 37"],
    exists: Float[Tensor, "B N 37"],
) -> Float[Tensor, " B"]:
    """Binary cross-entropy of whether an atom that the residue has is resolved (SI 1.9.10)."""
    errors = F.binary_cross_entropy_with_logits(logits, atom_mask, reduction="none")
    return masked_mean(errors, exists, 2)


def well_resolved(
    resolution: Float[Tensor, " B"], best: float = 0.1, worst: float = 3.0
) -> Float[Tensor, " B"]:
    """1 where confidence is learnt: X-ray and EM up to 3 Å, and structures of unknown resolution.

    NMR is written as 0 Å in the paper's data and left out (SI 1.9.6).
    """
    return (~((resolution < best) | (resolution > worst))).float()


def lddt_ca(
    ca: Float[Tensor, "B N 3"],
    true_ca: Float[Tensor, "B N 3"],
    mask: Float[Tensor, "B N"],
    cutoff: float = 15.0,
) -> Float[Tensor, "B N"]:
    """lDDT-Cα of each residue, 0 to 1 (Mariani 2013); a residue without neighbours has 1."""
    true = _distances(true_ca)
    error = (_distances(ca) - true).abs()
    pairs = (true < cutoff) * _pair_mask(mask)
    kept = torch.stack([error < limit for limit in LDDT_LIMITS]).float().mean(0)
    score: Tensor = ((pairs * kept).sum(-1) + 1e-10) / (pairs.sum(-1) + 1e-10)
    return score


def smooth_lddt_loss(
    ca: Float[Tensor, "B N 3"], true_ca: Float[Tensor, "B N 3"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """1 − lDDT-Cα with a sigmoid for each of its steps (Abramson 2024, SI Algorithm 27)."""
    true = _distances(true_ca)
    error = (_distances(ca) - true).abs()
    kept = torch.stack([torch.sigmoid(limit - error) for limit in LDDT_LIMITS]).mean(0)
    return 1 - masked_mean(kept, (true < 15) * _pair_mask(mask), 2)


def ca_distance_loss(
    ca: Float[Tensor, "B N 3"], true_ca: Float[Tensor, "B N 3"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Realised Cα distances, for small networks, whose chains collapse under FAPE alone.

    The squared error of pairs nearer than 15 Å, 0.25 × the smooth L1 error of all pairs with
    distances capped at 32 Å, 0.1 × that of neighbours in the chain (nanoFold's baseline), divided
    by 10 so that it is of FAPE's size.
    """
    pairs = _pair_mask(mask)
    true, predicted = _distances(true_ca), _distances(ca)
    near = masked_mean((predicted - true).square(), (true < 15) * pairs, 2)
    capped = F.smooth_l1_loss(predicted.clamp(max=32), true.clamp(max=32), reduction="none")
    steps = F.smooth_l1_loss(
        predicted.diagonal(1, 1, 2), true.diagonal(1, 1, 2), beta=0.25, reduction="none"
    )
    bonds = masked_mean(steps, pairs.diagonal(1, 1, 2), 1)
    return (near + 0.25 * masked_mean(capped, pairs, 2) + 0.1 * bonds) / 10


def _seen_from(frames: Rigid, points: Float[Tensor, "*B P 3"]) -> Float[Tensor, "*B F P 3"]:
    """All points in the local coordinates of all frames [*B, F]."""
    # A frame's own origin must come out as exactly 0, so the subtraction is first.
    from_origin = points[..., None, :, :] - frames.translation[..., :, None, :]
    return from_origin @ frames.rotation


def _distances(points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N N"]:
    delta = points[:, :, None] - points[:, None]
    return (delta.square().sum(-1) + 1e-10).sqrt()


def _pairs(mask: Float[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
    """1 for two known residues, which may be one."""
    return mask[:, :, None] * mask[:, None]


def _pair_mask(mask: Float[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
    """1 for two known residues that differ."""
    return _pairs(mask) * (1 - torch.eye(mask.shape[1], device=mask.device))

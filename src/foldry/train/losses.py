"""The losses of AlphaFold 2, and losses on the realised shape of the chain.

Every loss is one number per sample, a mean over its own unmasked items, so that short and long
samples count equally. SI is the Supplementary Information of Jumper 2021. Axes: L structure layers,
B batch, F frames, P points, S alignment rows, N residues, K bins. Coordinates are in Å, numbers in
float32. A frame T = (R, t) maps local to global coordinates; T⁻¹ ∘ x = Rᵀ(x − t) is a point as seen
from the frame.
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
from foldry.model.config import HeadsConfig
from foldry.model.embedders import pseudo_beta
from foldry.model.heads import HeadLogits
from foldry.residues import PEPTIDE_BOND
from foldry.train.shape import (
    certain_distance_loss,
    certainty,
    contact_loss,
    distances,
    gyration_loss,
    masked_mean,
    nearness,
    pair_mask,
    pairs_of,
    strand_loss,
)
from foldry.train.targets import Batch, Targets
from foldry.train.violations import violation_loss

LENGTH_SCALE: Final = 10.0
"""Å in one unit of FAPE (SI Algorithm 28)."""
CLAMP: Final = 10.0
"""Å up to which clamped FAPE grows."""
INTERFACE_SCALE: Final = 20.0
INTERFACE_CLAMP: Final = 1000.0
"""Å: unit and maximum of FAPE between chains (Evans 2021)."""
LDDT_LIMITS: Final = (0.5, 1.0, 2.0, 4.0)
"""Å: distance errors that lDDT tolerates at its four levels."""
_AMBIGUOUS = np.flatnonzero(residues.ATOM14_AMBIGUOUS.any(0))
SYMMETRIC_SLOTS: Final = slice(int(_AMBIGUOUS[0]), int(_AMBIGUOUS[-1]) + 1)
"""The atom14 slots of all symmetric side-chain atoms."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms; terms of weight 0 are not computed.

    The defaults are the paper's for initial training (SI 1.9, equation 7); `fine_tuning` returns
    those for fine-tuning.

    Attributes:
        distogram: Distances of pseudo-beta atoms.
        masked_msa: Letters under the mask.
        backbone: FAPE of the backbone within chains, mean over the structure layers.
        interface: FAPE of the backbone between chains; 0.5 in AlphaFold-Multimer.
        sidechain: FAPE of all atoms in all rigid groups, last layer.
        chi: Side-chain torsion angles.
        angle_norm: Length of the torsion vectors before normalisation.
        plddt, pae, resolved: Confidence heads.
        violations: Bonds, angles and clashes of the last layer's atoms.
        smooth_lddt: 1 − lDDT-Cα with sigmoids as steps, last layer.
        ca_distance: Realised Cα distances, last layer.
        certain_distance: The same, weighted by the certainty of the distogram.
        contact: Realised contacts as a classification, last layer.
        gyration: Radius of gyration, last layer.
        strand: Cα distances within and between paired strands, last layer.
        mutual_lddt: Whether smooth lDDT counts the pairs that are near in the truth or in the
            prediction, instead of those that are near in the truth.
        fape_reach: True distance in Å at which a pair counts half in the backbone FAPE; 0 if all
            pairs count alike.
        unclamped_fraction: Share of samples whose backbone FAPE is not clamped.
        by_length: Whether a sample is weighted by the square root of its length (SI 1.9).
        cos_ca_c_n_deviation: Standard deviation of the cosine of the angle CA–C–N, for
            violations. The official multimer code uses 0.014, the deviation of the bond length.
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
    certain_distance: float = 0.0
    contact: float = 0.0
    gyration: float = 0.0
    strand: float = 0.0
    mutual_lddt: bool = False
    fape_reach: float = 0.0
    unclamped_fraction: float = 0.1
    by_length: bool = False
    cos_ca_c_n_deviation: float = PEPTIDE_BOND["cos_ca_c_n"][1]

    @property
    def only_confidence(self) -> bool:
        """Whether all terms with a weight train confidence heads."""
        settings = {"unclamped_fraction", "by_length", "cos_ca_c_n_deviation"}
        settings |= {"mutual_lddt", "fape_reach"}
        terms = {name for name, weight in vars(self).items() if weight} - settings
        return terms <= {"plddt", "pae", "resolved"}


def fine_tuning(pae: bool = False) -> LossConfig:
    """Return the paper's weights for fine-tuning (SI 1.9, equation 7; SI 1.11, Table 4).

    Args:
        pae: Whether the network predicts aligned errors, as the pTM models do (SI 1.9.7).
    """
    return LossConfig(resolved=0.01, violations=1.0, pae=0.1 if pae else 0.0)


@dataclass(frozen=True)
class Losses:
    """The loss of a batch.

    Attributes:
        total: Weighted sum of the terms.
        terms: Unweighted terms for the log, and `lddt`, the lDDT-Cα of the predicted structure.
    """

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


def total_loss(
    result: Pass,
    logits: HeadLogits,
    batch: Batch,
    number: int,
    config: LossConfig,
    heads: HeadsConfig,
) -> Losses:
    """Return the weighted sum of all terms, L = Σ w_i L_i, as a mean over the batch (SI 1.9).

    With `by_length` a sample's terms are multiplied by √(number of residues) in the sum; the terms
    of the log are plain means.

    Args:
        result: The pass of the network.
        logits: Its heads' logits.
        batch: The samples.
        number: Number of the pass, which selects the draw of the alignment.
        config: Weights of the terms.
        heads: The network's heads, which define the bins of the logits.

    Raises:
        ValueError: The aligned error has a weight, but the network has no head for it.
    """
    truth, seq_mask = batch.targets, batch.inputs.seq_mask
    structure, pae_logits = result.structure, logits.pae
    frames, atom14 = structure.frames, structure.atom14[-1]
    if config.pae and pae_logits is None:
        raise ValueError("the aligned-error loss needs a network with that head")
    exists = truth.atom37_exists * seq_mask[..., None]
    # An X has no atoms to place, but its frame is centred on its Cα like any other.
    ca = frames.translation[-1]
    lddt = lddt_ca(ca.detach(), truth.ca, truth.ca_mask)
    good = well_resolved(truth.resolution)
    chain = batch.inputs.asym_id
    backbone, beta = pairs_of(truth.backbone_mask), pairs_of(truth.pseudo_beta_mask)
    within = backbone * (chain[:, :, None] == chain[:, None])
    near = within * nearness(truth.backbone.translation, config.fape_reach)

    def pae() -> Tensor:
        assert pae_logits is not None
        bins = aligned_error_bins(
            frames[-1], truth.backbone, pae_logits.shape[-1], heads.max_pae_break
        )
        return good * cross_entropy(pae_logits, bins, backbone)

    compute: dict[str, Callable[[], Tensor]] = {
        "distogram": lambda: cross_entropy(logits.distogram, truth.distance_bins, beta),
        "masked_msa": lambda: cross_entropy(
            logits.masked_msa, batch.true_msa[number], batch.bert_mask[number]
        ),
        "backbone": lambda: backbone_fape(frames, truth.backbone, near, batch.clamped).mean(0),
        "interface": lambda: interface_fape(frames, truth.backbone, backbone - within).mean(0),
        "sidechain": lambda: sidechain_fape(structure.group_frames[-1], atom14, truth),
        "chi": lambda: chi_loss(structure.sin_cos, truth),
        "angle_norm": lambda: angle_norm_loss(structure.unnormalized_sin_cos, seq_mask),
        "plddt": lambda: good * plddt_loss(logits.plddt, lddt, truth.ca_mask),
        "resolved": lambda: good * resolved_loss(logits.resolved, truth.atom37_mask, exists),
        "violations": lambda: violation_loss(atom14, batch.inputs, config.cos_ca_c_n_deviation),
        "smooth_lddt": lambda: smooth_lddt_loss(ca, truth.ca, truth.ca_mask, config.mutual_lddt),
        "ca_distance": lambda: ca_distance_loss(ca, truth.ca, truth.ca_mask),
        "certain_distance": lambda: certain_distance_loss(
            ca, truth.ca, truth.ca_mask, certainty(logits.distogram, heads)
        ),
        "contact": lambda: contact_loss(
            pseudo_beta(result.atom37, batch.inputs.aatype), truth, batch.inputs
        ),
        "gyration": lambda: gyration_loss(ca, truth.ca, truth.ca_mask),
        "strand": lambda: strand_loss(ca, truth.ca, truth.ca_mask),
        "pae": pae,
    }
    terms = {name: term() for name, term in compute.items() if getattr(config, name)}
    weight = seq_mask.sum(-1).sqrt() if config.by_length else 1.0
    total = sum(getattr(config, name) * (weight * term).mean() for name, term in terms.items())
    logged = {name: term.detach().mean() for name, term in terms.items()}
    logged["lddt"] = masked_mean(lddt, truth.ca_mask, 1).mean()
    return Losses(torch.as_tensor(total), logged)


def aligned_errors(
    frames: Rigid,
    points: Float[Tensor, "*B P 3"],
    true_frames: Rigid,
    true_points: Float[Tensor, "*B P 3"],
) -> Float[Tensor, "*B F P"]:
    """Return d_ij = √(‖T_i⁻¹ ∘ x_j − T_i*⁻¹ ∘ x_j*‖² + ε) in Å (SI Algorithm 28, lines 1 to 3).

    Args:
        frames, points: Predicted frames T [*B, F] and points x.
        true_frames, true_points: True frames T* and points x*.
    """
    # With T = (R, t) and T* = (S, u), the difference is Rᵀ(p − t) − Sᵀ(q − u): one product of
    # [R −S] with (p, q) for all three axes, which avoids two arrays [*B, F, P, 3].
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
    """Return FAPE, mean_ij min(d_ij, clamp) / 10 Å (SI Algorithm 28, lines 4 and 5).

    Args:
        errors: Distances d from `aligned_errors`, Å.
        frames_mask, points_mask: 1 for known frames and points.
        clamp: Maximum of a distance, Å; None for no maximum.
    """
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
    """Return FAPE of the backbone frames and Cα atoms of each layer (SI 1.9.2, 1.11.5).

    L = mean_ij (c min(d_ij, 10 Å) + (1 − c) d_ij) / 10 Å. Clamped, FAPE ignores how far a wrong
    part of the chain is displaced; a share of unclamped samples keeps a gradient for such parts.

    Args:
        frames: Frames [L, B, N] of the layers.
        true_frames: True frames [B, N].
        pairs: Weight of a pair; 0 unless frame and atom are known and of one chain.
        clamped: Share c of the clamped loss in each sample.
    """
    errors = _backbone_errors(frames, true_frames)
    share = clamped[:, None, None]
    mixed = share * errors.clamp(max=CLAMP) + (1 - share) * errors
    return masked_mean(mixed, pairs, 2) / LENGTH_SCALE


def interface_fape(
    frames: Rigid, true_frames: Rigid, pairs: Float[Tensor, "B N N"]
) -> Float[Tensor, "*layers B"]:
    """Return FAPE between chains, mean_ij min(d_ij, 1000 Å) / 20 Å (Evans 2021)."""
    errors = _backbone_errors(frames, true_frames).clamp(max=INTERFACE_CLAMP)
    return masked_mean(errors, pairs, 2) / INTERFACE_SCALE


def _backbone_errors(frames: Rigid, true_frames: Rigid) -> Float[Tensor, "*layers B N N"]:
    true = Rigid(
        true_frames.rotation.expand_as(frames.rotation),
        true_frames.translation.expand_as(frames.translation),
    )
    return aligned_errors(frames, frames.translation, true, true.translation)


def alternative_is_better(atom14: Float[Tensor, "B N 14 3"], truth: Targets) -> Bool[Tensor, "B N"]:
    """Return whether exchanged names of symmetric side chains fit better (SI Algorithm 26).

    The two oxygens of aspartate, for example, are chemically equivalent, so their names in the
    file are arbitrary. With d the distances of a residue's symmetric atoms to all atoms with unique
    names, names are exchanged if Σ|d − d*_alt| < Σ|d − d*|. Distances need no superposition.
    """
    symmetric = truth.atom14_mask * truth.atom14_ambiguous
    fixed = truth.atom14_mask * (1 - truth.atom14_ambiguous)

    def distances(moving: Tensor, still: Tensor) -> Float[Tensor, "B N K P"]:
        # The faster distances by a matrix product have errors of 1e-3 Å.
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
    """Return FAPE of all atoms as seen from all rigid groups [B, N, 8] (SI 1.9.2).

    The names of symmetric side chains are exchanged first where that fits better.
    """
    swap = alternative_is_better(atom14, truth)[..., None]
    true_rotation = torch.where(
        swap[..., None, None], truth.alt_groups.rotation, truth.groups.rotation
    )
    true_atoms = torch.where(swap[..., None], truth.alt_atom14, truth.atom14)
    frame_mask = truth.groups_mask.flatten(1)
    atom_mask = torch.where(swap, truth.alt_atom14_mask, truth.atom14_mask).flatten(1)

    # Two thirds of all pairs include an unknown frame or atom; only known ones are gathered.
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
    """Return mean min(‖a − a*‖², ‖a − a*_alt‖²) over chi1–chi4 (SI Algorithm 27, lines 1 to 3).

    a = (sin, cos) of a torsion angle; `alt` has the names of symmetric side chains exchanged. The
    mean is over the layers too.
    """
    error = (sin_cos - truth.sin_cos).square().sum(-1)
    alt_error = (sin_cos - truth.alt_sin_cos).square().sum(-1)
    nearer = torch.minimum(error, alt_error)[..., 3:]
    return masked_mean(nearer, truth.torsion_mask[..., 3:], 2).mean(0)


def angle_norm_loss(
    unnormalized_sin_cos: Float[Tensor, "L B N 7 2"], seq_mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Return mean |‖a‖ − 1| of the raw torsion vectors (SI Algorithm 27, line 4)."""
    length = (unnormalized_sin_cos.square().sum(-1) + 1e-6).sqrt()
    return masked_mean((length - 1).abs().mean(-1), seq_mask, 1).mean(0)


def cross_entropy(
    logits: Float[Tensor, "B *N K"], target: Int[Tensor, " B *N"], mask: Float[Tensor, " B *N"]
) -> Float[Tensor, " B"]:
    """Return the mean of −log p_target where `mask` is 1, p = softmax(logits).

    This is the loss of distance bins (SI 1.9.8), masked letters (SI 1.9.9), lDDT-Cα bins
    (SI 1.9.6) and aligned-error bins (SI 1.9.7).
    """
    errors = -logits.log_softmax(-1).gather(-1, target[..., None]).squeeze(-1)
    return masked_mean(errors, mask, mask.dim() - 1)


def plddt_loss(
    logits: Float[Tensor, "B N K"], lddt: Float[Tensor, "B N"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Return the cross-entropy of bins of lDDT-Cα (SI 1.9.6, Algorithm 29).

    The bins of the head divide the range from 0 to 1 evenly.
    """
    num_bins = logits.shape[-1]
    bins = (lddt * num_bins).long().clamp(max=num_bins - 1)
    return cross_entropy(logits, bins, mask)


@torch.no_grad()
def aligned_error_bins(
    frames: Rigid, true_frames: Rigid, num_bins: int, max_break: float
) -> Int[Tensor, "B N N"]:
    """Return the bin of e_ij = ‖T_i⁻¹ ∘ x_j − T_i*⁻¹ ∘ x_j*‖ of all Cα atoms (SI 1.9.7).

    Args:
        frames, true_frames: Predicted and true backbone frames [B, N].
        num_bins: Number of bins; bin 0 contains errors of exactly 0, those of a frame's own Cα.
        max_break: Last break, Å; breaks are evenly spaced from 0.
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
    """Return −mean(y log p + (1 − y) log(1 − p)) over a residue's atoms (SI 1.9.10).

    y is 1 for resolved atoms, and p = sigmoid(logits).
    """
    errors = F.binary_cross_entropy_with_logits(logits, atom_mask, reduction="none")
    return masked_mean(errors, exists, 2)


def well_resolved(
    resolution: Float[Tensor, " B"], best: float = 0.1, worst: float = 3.0
) -> Float[Tensor, " B"]:
    """Return 1 for samples that the confidence heads learn from (SI 1.9.6).

    These have a resolution of 0.1 to 3 Å or an unknown one. NMR structures, whose resolution is
    written as 0 Å, are left out.
    """
    return (~((resolution < best) | (resolution > worst))).float()


def lddt_ca(
    ca: Float[Tensor, "B N 3"],
    true_ca: Float[Tensor, "B N 3"],
    mask: Float[Tensor, "B N"],
    cutoff: float = 15.0,
) -> Float[Tensor, "B N"]:
    """Return lDDT-Cα of each residue, 0 to 1 (Mariani 2013).

    The mean of 1[|d − d*| < l] over l = 0.5, 1, 2, 4 Å and over pairs with d* < cutoff; 1 for a
    residue without neighbours.
    """
    true = distances(true_ca)
    error = (distances(ca) - true).abs()
    pairs = (true < cutoff) * pair_mask(mask)
    kept = torch.stack([error < limit for limit in LDDT_LIMITS]).float().mean(0)
    score: Tensor = ((pairs * kept).sum(-1) + 1e-10) / (pairs.sum(-1) + 1e-10)
    return score


def smooth_lddt_loss(
    ca: Float[Tensor, "B N 3"],
    true_ca: Float[Tensor, "B N 3"],
    mask: Float[Tensor, "B N"],
    mutual: bool = False,
) -> Float[Tensor, " B"]:
    """Return 1 − mean sigmoid(l − |d − d*|) over l = 0.5, 1, 2, 4 Å and pairs with d* < 15 Å.

    This is 1 − lDDT-Cα with sigmoids as steps (Abramson 2024, SI Algorithm 27). With `mutual`,
    pairs with d < 15 Å count too, so that a contracted chain has more wrong pairs.
    """
    true, predicted = distances(true_ca), distances(ca)
    error = (predicted - true).abs()
    kept = torch.stack([torch.sigmoid(limit - error) for limit in LDDT_LIMITS]).mean(0)
    near = (true < 15) | (predicted < 15) if mutual else true < 15
    return 1 - masked_mean(kept, near * pair_mask(mask), 2)


def ca_distance_loss(
    ca: Float[Tensor, "B N 3"], true_ca: Float[Tensor, "B N 3"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Return a loss on realised Cα distances d (after nanoFold's baseline).

    With FAPE alone, the chains that a small network predicts collapse. The loss is
    (A + 0.25 B + 0.1 C) / 10, which has the magnitude of FAPE:

    - A = mean (d − d*)² over pairs with d* < 15 Å
    - B = mean smooth-L1(min(d, 32 Å), min(d*, 32 Å)) over all pairs
    - C = mean smooth-L1(d, d*) with β = 0.25 over neighbours in the chain
    """
    pairs = pair_mask(mask)
    true, predicted = distances(true_ca), distances(ca)
    near = masked_mean((predicted - true).square(), (true < 15) * pairs, 2)
    capped = F.smooth_l1_loss(predicted.clamp(max=32), true.clamp(max=32), reduction="none")
    steps = F.smooth_l1_loss(
        predicted.diagonal(1, 1, 2), true.diagonal(1, 1, 2), beta=0.25, reduction="none"
    )
    bonds = masked_mean(steps, pairs.diagonal(1, 1, 2), 1)
    return (near + 0.25 * masked_mean(capped, pairs, 2) + 0.1 * bonds) / 10


def _seen_from(frames: Rigid, points: Float[Tensor, "*B P 3"]) -> Float[Tensor, "*B F P 3"]:
    """Return all points in the local coordinates of all frames [*B, F]."""
    # The subtraction comes first, so that a frame's own origin is exactly 0.
    from_origin = points[..., None, :, :] - frames.translation[..., :, None, :]
    return from_origin @ frames.rotation

"""Training targets: known atoms as tensors, and a batch of samples.

Axes: B batch, S alignment rows, N residues.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foldry.features import known_atoms
from foldry.geometry import Rigid
from foldry.model.config import HeadsConfig
from foldry.model.inputs import Inputs, MSAInputs
from foldry.residues import ATOM37_MASK, CA


@dataclass(frozen=True)
class Targets:
    """The true structures of a batch; coordinates in Å.

    Attributes:
        groups, alt_groups: Frames [B, N, 8] of the rigid groups, backbone first, with the atom
            names of the file and with those of symmetric side chains exchanged (a 180° turn).
        groups_mask: 1 where the three atoms that define the frame are known.
        atom14, alt_atom14: Atoms with both sets of names.
        atom14_mask, alt_atom14_mask: 1 where the atom is known.
        atom14_ambiguous: 1 where the exchange of names gives the slot another atom.
        known_groups, known_atoms: Indices, in the flattened axes, of all groups and atoms that
            are known with either set of names, padded with unknown ones to a common size. They
            are computed here because a GPU would have to wait for the size.
        sin_cos, alt_sin_cos: Sine and cosine of pre-omega, phi, psi and chi1–chi4, with both sets
            of names.
        torsion_mask: 1 where all four atoms are known.
        ca, ca_mask: Cα atoms.
        distance_bins: Distogram bin of each pair of pseudo-beta atoms.
        pseudo_beta_mask: 1 where the pseudo-beta atom is known.
        atom37_mask: 1 where the atom is known.
        atom37_exists: 1 where the amino acid has the atom.
        resolution: Resolution in Å; NaN if unknown.
    """

    groups: Rigid
    alt_groups: Rigid
    groups_mask: Float[Tensor, "B N 8"]
    atom14: Float[Tensor, "B N 14 3"]
    alt_atom14: Float[Tensor, "B N 14 3"]
    atom14_mask: Float[Tensor, "B N 14"]
    alt_atom14_mask: Float[Tensor, "B N 14"]
    atom14_ambiguous: Float[Tensor, "B N 14"]
    known_groups: Int[Tensor, "B F"]
    known_atoms: Int[Tensor, "B P"]
    sin_cos: Float[Tensor, "B N 7 2"]
    alt_sin_cos: Float[Tensor, "B N 7 2"]
    torsion_mask: Float[Tensor, "B N 7"]
    ca: Float[Tensor, "B N 3"]
    ca_mask: Float[Tensor, "B N"]
    distance_bins: Int[Tensor, "B N N"]
    pseudo_beta_mask: Float[Tensor, "B N"]
    atom37_mask: Float[Tensor, "B N 37"]
    atom37_exists: Float[Tensor, "B N 37"]
    resolution: Float[Tensor, " B"]

    @property
    def backbone(self) -> Rigid:
        """Backbone frames [B, N]."""
        return self.groups[..., 0]

    @property
    def backbone_mask(self) -> Float[Tensor, "B N"]:
        """1 where N, CA and C are known."""
        return self.groups_mask[..., 0]


@dataclass(frozen=True)
class Batch:
    """Samples of equal shapes; residues that pad a short chain have `inputs.seq_mask` 0.

    Attributes:
        inputs: Inputs that all passes share.
        draws: One draw of the alignment for each pass.
        true_msa, bert_mask: [B, S, N] for each pass: codes before masking, and 1 where the
            masked-MSA loss is computed.
        targets: True structures.
        clamped: 1 for samples whose backbone FAPE is clamped.
        num_damaged: Damaged chains that were drawn for the batch and replaced.
    """

    inputs: Inputs
    draws: tuple[MSAInputs, ...]
    true_msa: tuple[Int[Tensor, "B S N"], ...]
    bert_mask: tuple[Float[Tensor, "B S N"], ...]
    targets: Targets
    clamped: Float[Tensor, " B"]
    num_damaged: int = 0

    def to(self, device: torch.device | str) -> Batch:
        """Return the same samples on another device."""
        moved: Batch = _moved(self, device)
        return moved


def make_targets(
    aatype: Int[np.ndarray, "B N"],
    positions: Float[np.ndarray, "B N 37 3"],
    mask: Float[np.ndarray, "B N 37"],
    resolution: Float[np.ndarray, " B"],
    heads: HeadsConfig,
) -> Targets:
    """Return the targets of known atoms.

    Args:
        aatype: Amino-acid codes.
        positions: Atom coordinates, Å.
        mask: 1 for known atoms, 0 for unknown ones and padding.
        resolution: Resolution in Å; NaN if unknown.
        heads: Heads of the network, which define the distogram bins.
    """
    groups = known_atoms.rigid_groups(aatype, positions, mask)
    packed = known_atoms.atom14(aatype, positions, mask)
    torsions = known_atoms.torsion_angles(aatype, positions, mask, placeholder=True)
    beta, beta_mask = known_atoms.pseudo_beta(aatype, positions, mask)
    arrays = {
        "groups_mask": groups.mask,
        "atom14": packed.positions,
        "alt_atom14": packed.alt_positions,
        "atom14_mask": packed.mask,
        "alt_atom14_mask": packed.alt_mask,
        "atom14_ambiguous": packed.ambiguous,
        "sin_cos": torsions.sin_cos,
        "alt_sin_cos": torsions.alt_sin_cos,
        "torsion_mask": torsions.mask,
        "ca": positions[..., CA, :],
        "ca_mask": mask[..., CA],
        "pseudo_beta_mask": beta_mask,
        "atom37_mask": mask,
        "atom37_exists": ATOM37_MASK[aatype],
        "resolution": resolution,
    }
    return Targets(
        groups=_rigid(groups.frames),
        alt_groups=_rigid(groups.alt_frames),
        known_groups=_known_first(groups.mask),
        known_atoms=_known_first(np.maximum(packed.mask, packed.alt_mask)),
        distance_bins=torch.from_numpy(
            known_atoms.distogram_bins(
                beta,
                heads.distogram_first_break,
                heads.distogram_last_break,
                heads.num_distogram_bins,
            )
        ),
        **{name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()},
    )


def _known_first(mask: Float[np.ndarray, "B N K"]) -> Int[Tensor, "B M"]:
    """Return indices of all known items of each sample, padded with unknown ones to a size M.

    M is a multiple of a quarter of N, so that batches of one shape have few different M.
    """
    flat = mask.reshape(len(mask), -1)
    step = max(1, mask.shape[1] // 4)
    size = -(-int(flat.sum(1).max()) // step) * step
    return torch.from_numpy(np.argsort(-flat, axis=1, kind="stable")[:, :size].copy())


def _rigid(frames: Float[np.ndarray, "... 3 4"]) -> Rigid:
    tensor = torch.from_numpy(frames.astype(np.float32))
    return Rigid(tensor[..., :3].contiguous(), tensor[..., 3].contiguous())


def _moved(value: Any, device: torch.device | str) -> Any:
    """Return nested dataclasses and tuples with every tensor on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return type(value)(_moved(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        moved = {f.name: _moved(getattr(value, f.name), device) for f in fields(value)}
        return type(value)(**moved)
    return value

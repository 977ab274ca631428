"""Features as the network's input tensors, with a leading batch axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foldry.features.features import Features, MSADraw, TemplateFeatures


@dataclass(frozen=True)
class TemplateInputs:
    """`TemplateFeatures` of a batch, as tensors; see there."""

    aatype: Int[Tensor, "B T N"]
    atom_positions: Float[Tensor, "B T N 37 3"]
    atom_mask: Float[Tensor, "B T N 37"]
    mask: Float[Tensor, "B T"]
    pseudo_beta: Float[Tensor, "B T N 3"]
    pseudo_beta_mask: Float[Tensor, "B T N"]
    torsion_sin_cos: Float[Tensor, "B T N 7 2"]
    torsion_alt_sin_cos: Float[Tensor, "B T N 7 2"]
    torsion_mask: Float[Tensor, "B T N 7"]


@dataclass(frozen=True)
class Inputs:
    """What is the same in every recycle; see `Features`."""

    aatype: Int[Tensor, "B N"]
    target_feat: Float[Tensor, "B N 22"]
    residue_index: Int[Tensor, "B N"]
    asym_id: Int[Tensor, "B N"]
    entity_id: Int[Tensor, "B N"]
    sym_id: Int[Tensor, "B N"]
    seq_mask: Float[Tensor, "B N"]
    templates: TemplateInputs | None
    profile: Float[Tensor, "B N 22"] | None = None
    coevolution: Float[Tensor, "B N N 2"] | None = None


@dataclass(frozen=True)
class MSAInputs:
    """One draw of the alignment; see `MSADraw`."""

    msa_feat: Float[Tensor, "B S N 49"]
    msa_mask: Float[Tensor, "B S N"]
    extra_msa: Int[Tensor, "B E N"]
    extra_has_deletion: Float[Tensor, "B E N"]
    extra_deletion_value: Float[Tensor, "B E N"]
    extra_msa_mask: Float[Tensor, "B E N"]


def stack_features(batch: Sequence[Features], device: torch.device | str = "cpu") -> Inputs:
    """Features of equal shapes as one batch; what may be None must be there for all or for none."""
    templates = [features.templates for features in batch if features.templates is not None]
    if templates and len(templates) != len(batch):
        raise ValueError("templates must be there for the whole batch or for none of it")
    arrays = _stacked(Inputs, batch, device, skip="templates")
    return Inputs(**arrays, templates=stack_templates(templates, device) if templates else None)


def stack_templates(
    batch: Sequence[TemplateFeatures], device: torch.device | str = "cpu"
) -> TemplateInputs:
    """Templates of equal shapes as one batch."""
    return TemplateInputs(**_stacked(TemplateInputs, batch, device))


def stack_draws(batch: Sequence[MSADraw], device: torch.device | str = "cpu") -> MSAInputs:
    """Draws of equal shapes as one batch."""
    return MSAInputs(**_stacked(MSAInputs, batch, device))


def _stacked(
    kind: type, batch: Sequence[object], device: torch.device | str, skip: str = ""
) -> dict[str, Tensor]:
    """The fields of `kind`, each stacked over the batch; floats as float32, integers as int64."""
    tensors = {}
    for field in fields(kind):
        if field.name == skip or all(getattr(item, field.name) is None for item in batch):
            continue
        array = np.stack([np.asarray(getattr(item, field.name)) for item in batch])
        floats = np.issubdtype(array.dtype, np.floating)
        tensor = torch.from_numpy(array.astype(np.float32 if floats else np.int64))
        tensors[field.name] = tensor.to(device)
    return tensors

"""Features as the network's input tensors: padded, stacked, with a leading batch axis.

Axes: B batch, S sequences, E extra sequences, N residues, T templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foldry.features.features import Features, MSADraw, TemplateFeatures


@dataclass(frozen=True)
class TemplateInputs:
    """The `TemplateFeatures` of a batch as tensors; the fields are described there."""

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
    """Features that are the same in every pass; the fields are described in `Features`."""

    aatype: Int[Tensor, "B N"]
    target_feat: Float[Tensor, "B N 22"]
    residue_index: Int[Tensor, "B N"]
    asym_id: Int[Tensor, "B N"]
    entity_id: Int[Tensor, "B N"]
    sym_id: Int[Tensor, "B N"]
    seq_mask: Float[Tensor, "B N"]
    templates: TemplateInputs | None = None
    profile: Float[Tensor, "B N 22"] | None = None
    coevolution: Float[Tensor, "B N N 2"] | None = None


@dataclass(frozen=True)
class MSAInputs:
    """One draw of the alignment; the fields are described in `MSADraw`."""

    msa_feat: Float[Tensor, "B S N 49"]
    msa_mask: Float[Tensor, "B S N"]
    extra_msa: Int[Tensor, "B E N"]
    extra_has_deletion: Float[Tensor, "B E N"]
    extra_deletion_value: Float[Tensor, "B E N"]
    extra_msa_mask: Float[Tensor, "B E N"]


def stack_features(
    batch: Sequence[Features],
    device: torch.device | str = "cpu",
    sizes: Mapping[str, int] | None = None,
) -> Inputs:
    """Return several features as one batch, padded with zeros.

    Args:
        batch: Features; an optional field is None in all of them or in none.
        device: Device of the tensors.
        sizes: Sizes of axes, e.g. `{"N": 256}`; any other axis gets the largest size in the batch.

    Raises:
        ValueError: Some have templates or statistics of the alignment and others have none, or
            an axis is longer than its size.
    """
    return Inputs(**_stacked(Inputs, batch, device, sizes or {}))


def stack_templates(
    batch: Sequence[TemplateFeatures],
    device: torch.device | str = "cpu",
    sizes: Mapping[str, int] | None = None,
) -> TemplateInputs:
    """Return templates as one batch; see `stack_features`."""
    return TemplateInputs(**_stacked(TemplateInputs, batch, device, sizes or {}))


def stack_draws(
    batch: Sequence[MSADraw],
    device: torch.device | str = "cpu",
    sizes: Mapping[str, int] | None = None,
) -> MSAInputs:
    """Return draws of alignments as one batch; see `stack_features`."""
    return MSAInputs(**_stacked(MSAInputs, batch, device, sizes or {}))


def pad(array: np.ndarray, *sizes: int) -> np.ndarray:
    """Return the array with zeros appended to its leading axes, up to these sizes.

    Raises:
        ValueError: An axis is longer than its size.
    """
    if array.shape[: len(sizes)] == sizes:
        return array
    missing = [size - length for size, length in zip(sizes, array.shape, strict=False)]
    return np.pad(array, [(0, each) for each in missing] + [(0, 0)] * (array.ndim - len(sizes)))


def _stacked(
    kind: type, batch: Sequence[object], device: torch.device | str, sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Return the fields of `kind` in the batch as tensors: float32, or int64 for integers."""
    tensors: dict[str, Any] = {}
    for field in fields(kind):
        values = [getattr(item, field.name) for item in batch]
        if all(value is None for value in values):
            continue
        if any(value is None for value in values):
            raise ValueError(f"{field.name} must be present in the whole batch or absent from it")
        if field.name == "templates":
            tensors[field.name] = stack_templates(values, device, sizes)
            continue
        axes = str(field.type).split("'")[1].split()[1:]  # Float[Tensor, 'B S N 49']: S, N, 49
        largest = np.max([value.shape for value in values], axis=0).tolist()
        shape = [sizes.get(axis, length) for axis, length in zip(axes, largest, strict=True)]
        array = np.stack([pad(value, *shape) for value in values])
        floats = np.issubdtype(array.dtype, np.floating)
        tensor = torch.from_numpy(array.astype(np.float32 if floats else np.int64))
        tensors[field.name] = tensor.to(device)
    return tensors

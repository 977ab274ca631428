"""Recorded official numbers as tensors, and the comparison with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from foldry.geometry import Rigid, rotation_from_quaternion
from foldry.model.config import HeadsConfig
from foldry.train.targets import Targets, make_targets


class Recorded:
    """One file of recorded numbers; arrays come as float32 or int64 with a batch axis of 1."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            pytest.skip(f"not among the recorded numbers: {path}")
        with np.load(path, allow_pickle=False) as archive:
            self.arrays = dict(archive)

    def __getitem__(self, name: str) -> Tensor:
        array = self.arrays[name]
        floats = np.issubdtype(array.dtype, np.floating)
        return torch.from_numpy(array.astype(np.float32 if floats else np.int64))[None]

    def layers(self, name: str) -> Tensor:
        """Return an array [L, …] as [L, 1, …]."""
        return self[name].movedim(0, 1)

    def affine(self, name: str) -> Rigid:
        """Return the frames [1, …] of a quaternion and a translation."""
        array = self[name]
        return Rigid(rotation_from_quaternion(array[..., :4]), array[..., 4:])

    def targets(self, resolution: float = 2.0) -> Targets:
        """Return our targets for the recorded structure."""
        return make_targets(
            self.arrays["batch/aatype"][None],
            self.arrays["batch/all_atom_positions"][None],
            self.arrays["batch/all_atom_mask"][None],
            np.array([resolution]),
            HeadsConfig(),
        )


def assert_recorded(ours: Tensor, theirs: Tensor) -> None:
    """Check that ‖ours − theirs‖ ≤ 1e-4·‖theirs‖ + 1e-6."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).norm() <= 1e-4 * theirs.norm() + 1e-6

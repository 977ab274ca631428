"""Rigid frames against the recorded official geometry and by their properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foldry.geometry import (
    Rigid,
    atom14_from_frames,
    atom37_from_atom14,
    backbone_update,
    frames_from_three_points,
    frames_from_torsions,
    rotation_from_quaternion,
)

numbers = st.floats(-5, 5, width=32)


def rigid(values: np.ndarray) -> Rigid:
    return backbone_update(torch.from_numpy(values.astype(np.float64)))


six = arrays(np.float32, (4, 6), elements=numbers)


@given(six, six, arrays(np.float32, (4, 3), elements=numbers))
@settings(max_examples=50, deadline=None)
def test_frames_form_a_group(first: np.ndarray, second: np.ndarray, points: np.ndarray) -> None:
    a, b, x = rigid(first), rigid(second), torch.from_numpy(points.astype(np.float64))
    torch.testing.assert_close(a.compose(b).apply(x), a.apply(b.apply(x)))
    torch.testing.assert_close(a.invert_apply(a.apply(x)), x)
    identity = torch.eye(3, dtype=x.dtype).expand(4, 3, 3)
    torch.testing.assert_close(a.rotation @ a.rotation.transpose(-1, -2), identity)
    torch.testing.assert_close(torch.linalg.det(a.rotation), torch.ones(4, dtype=x.dtype))


@given(arrays(np.float32, (5, 3, 3), elements=numbers))
@settings(max_examples=50, deadline=None)
def test_three_points_put_the_origin_first(points: np.ndarray) -> None:
    on_axis, origin, plane = torch.from_numpy(points.astype(np.float64)).unbind(1)
    normal = torch.linalg.cross(on_axis - origin, plane - origin)
    good = (normal.norm(dim=-1) > 1e-2) & ((on_axis - origin).norm(dim=-1) > 1e-2)
    frame = frames_from_three_points(on_axis, origin, plane, epsilon=0.0)
    x, y, z = frame.invert_apply(on_axis)[good].unbind(-1)
    assert (x > 0).all()
    torch.testing.assert_close(torch.stack([y, z]), torch.zeros_like(torch.stack([y, z])))
    x, y, z = frame.invert_apply(plane)[good].unbind(-1)
    assert (y > 0).all()
    torch.testing.assert_close(z, torch.zeros_like(z), atol=1e-6, rtol=0)


@pytest.mark.parity
def test_recorded_geometry(parity_dir: Path) -> None:
    path = parity_dir / "data" / "all_atom.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path, allow_pickle=False) as file:
        recorded = {name: torch.from_numpy(file[name]) for name in file.files}
    affine, aatype = recorded["in_affine"], recorded["in_aatype"].long()
    backbone = Rigid(rotation_from_quaternion(affine[:, :4]), affine[:, 4:])
    rotation = [name for name in recorded if name.startswith("quat/") and "quat_to_rot" in name]
    torch.testing.assert_close(backbone.rotation, recorded[rotation[0]], atol=1e-6, rtol=1e-5)

    frames = frames_from_torsions(backbone, recorded["in_angles"], aatype)
    matrices = torch.cat([frames.rotation, frames.translation[..., None]], dim=-1)
    torch.testing.assert_close(matrices, recorded["torsion_angles_to_frames"], atol=2e-5, rtol=1e-5)
    atom14 = atom14_from_frames(frames, aatype)
    torch.testing.assert_close(atom14, recorded["frames_to_atom14"], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(
        atom37_from_atom14(atom14, aatype), recorded["atom14_to_atom37"], atol=2e-5, rtol=1e-5
    )

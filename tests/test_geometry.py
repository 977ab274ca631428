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
    table,
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


@pytest.mark.parametrize(("axis", "place"), [(0, 0), (1, 1), (2, 2), (-1, 2), (-2, 1), (-3, 0)])
def test_a_new_axis_is_counted_among_the_axes_of_the_frames(axis: int, place: int) -> None:
    frames = rigid(np.random.default_rng(0).normal(size=(2, 5, 6)))
    for made, size in ((frames.unsqueeze(axis), 1), (Rigid.stack([frames] * 3, axis), 3)):
        shape = [2, 5]
        shape.insert(place, size)
        assert made.rotation.shape == (*shape, 3, 3)
        assert made.translation.shape == (*shape, 3)


def test_identity_frames_leave_points_where_they_are() -> None:
    points = torch.arange(30, dtype=torch.float64).reshape(2, 5, 3)
    frames = Rigid.identity(2, 5, like=points)
    assert frames.rotation.dtype == frames.translation.dtype == points.dtype
    torch.testing.assert_close(frames.apply(points), points)
    torch.testing.assert_close(frames.compose(frames).invert_apply(points), points)


def test_tables_are_on_the_device_of_the_tensors_they_go_with() -> None:
    like = torch.zeros(1, dtype=torch.float64, device="meta")
    floats, codes = (table(np.zeros(3, dtype), like) for dtype in (np.float32, np.int64))
    assert (floats.device, floats.dtype) == (like.device, torch.float64)
    assert (codes.device, codes.dtype) == (like.device, torch.int64)

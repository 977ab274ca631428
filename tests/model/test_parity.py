"""The network computes the official program's numbers, in every recorded case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foldry.geometry import rotation_from_quaternion
from foldry.kernels.choose import CPU
from tests.conftest import parity_root
from tests.model.parity import Case, arrays, cases, limit, relative_error, run

pytestmark = pytest.mark.parity

CASES = cases(parity_root())
PATHS: dict[str, dict[str, Any]] = {
    "reference": {},
    "cpu": {"kernels": CPU},
    "chunked": {"kernels": CPU, "chunk_size": 4000},
    "batched": {"kernels": CPU, "batched": True},
}
ROUNDED = {f"outputs/representations/{name}" for name in ("pair", "msa", "msa_first_row")}


def is_bfloat16(array: np.ndarray) -> bool:
    """Return whether all numbers are bfloat16: the low 16 of their 32 bits are 0."""
    return not (array.astype(np.float32).view(np.uint32) & 0xFFFF).any()


def recorded_torsions(case: Case) -> dict[str, np.ndarray]:
    """Return the template torsions of a case from data/template_torsions.npz, if it exists."""
    prefix = f"{case.folder.name}/"
    beside, above = (root / "data/template_torsions.npz" for root in case.folder.parents[:2])
    recorded = arrays(above) | arrays(beside)
    return {
        name.removeprefix(prefix): array
        for name, array in recorded.items()
        if name.startswith(prefix)
    }


def affine(name: str, recorded: np.ndarray) -> dict[str, np.ndarray]:
    """Return a recorded quaternion and translation (10 Å) as rotation and translation (Å)."""
    rotation = rotation_from_quaternion(torch.from_numpy(recorded[..., :4])).numpy()
    return {f"{name}/rotation": rotation, f"{name}/translation": 10 * recorded[..., 4:]}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder: Path, path: str, record_property: Callable[[str, object], None]) -> None:
    case = Case(folder)
    for file in case.needed:
        if not file.is_file():
            pytest.skip(f"not among the recorded numbers: {file}")
    recorded = {f"outputs/{name}": array for name, array in arrays(folder / "outputs.npz").items()}
    for name, array in arrays(folder / "intermediates.npz").items():
        recorded.update(affine(name, array) if name.endswith("sm/affine") else {name: array})
    if not recorded:
        pytest.skip(f"{folder} has neither outputs.npz nor intermediates.npz")
    ours = run(case, recorded_torsions(case), **PATHS[path])
    real = case.residues
    length = len(real)

    def kept(array: np.ndarray) -> np.ndarray:
        """Return the array without padding, along every axis of the padded length."""
        for axis, size in enumerate(array.shape):
            if size == length and not real.all():
                array = np.compress(real, array, axis=axis)
        return array

    half = case.dtype == torch.bfloat16
    worst = (0.0, "nothing")
    faults = []
    for name, theirs in recorded.items():
        if name not in ours or ours[name].shape != theirs.shape:
            faults.append(f"{name} is missing or has another shape")
            continue
        if "/in_mask/" in name or name.endswith("_mask") or np.issubdtype(theirs.dtype, np.integer):
            same = np.array_equal(kept(ours[name]), kept(theirs))
            faults += [] if same else [f"{name} differs"]
            continue
        error = relative_error(kept(ours[name]), kept(theirs)) / limit(name, case.dtype)
        worst = max(worst, (error if np.isfinite(error) else np.inf, name))
        if "final_atom_positions" in name:
            apart = np.abs(kept(ours[name]) - kept(theirs)).max()
            within = apart <= (1.5 if half else 1e-3)
            faults += [] if within else [f"{name}: an atom is {apart:.2g} Å away"]
        if half and name in ROUNDED and not is_bfloat16(ours[name]):
            faults.append(f"{name} holds numbers that are not bfloat16")
    record_property(
        "worst error",
        f"{folder.name:32s} {path:9s} {worst[0]:7.2%} of the tolerance, in {worst[1]}",
    )
    assert worst[0] <= 1, f"{worst[1]}: {worst[0]:.3g} times the tolerance"
    assert not faults, "; ".join(faults)

"""The network gives the official program's numbers, in every recorded monomer case."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.geometry import rotation_from_quaternion
from tests.conftest import parity_root
from tests.model.parity import Case, arrays, cases, limit, relative_error, run

pytestmark = pytest.mark.parity

CASES = cases(parity_root())


def recorded_torsions(case: Case) -> dict[str, np.ndarray]:
    """The template torsions of a case from data/template_torsions.npz, where it is there."""
    root = case.folder.parent.parent
    prefix = f"{case.folder.name}/"
    recorded = arrays(root / "data" / "template_torsions.npz")
    return {
        name.removeprefix(prefix): array
        for name, array in recorded.items()
        if name.startswith(prefix)
    }


def affine(name: str, recorded: np.ndarray) -> dict[str, np.ndarray]:
    """A recorded quaternion and translation (10 Å) as the rotation and translation (Å) we keep."""
    rotation = rotation_from_quaternion(torch.from_numpy(recorded[..., :4])).numpy()
    return {f"{name}/rotation": rotation, f"{name}/translation": 10 * recorded[..., 4:]}


@pytest.fixture(scope="module")
def say(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines for the end of the run: the worst error of each case."""
    lines: list[str] = []
    yield lines
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    if reporter and lines:
        reporter.write_line("")
        for line in lines:
            reporter.write_line(line)


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder: Path, say: list[str]) -> None:
    case = Case(folder)
    if case.is_multimer:
        pytest.skip("multimer")
    our_numbers, our_outputs = run(case, recorded_torsions(case))
    real = arrays(folder / "inputs.npz")["seq_mask"][0] == 1
    length = len(real)

    def kept(array: np.ndarray) -> np.ndarray:
        """Real residues alone, along every axis of the padded length."""
        for axis, size in enumerate(array.shape):
            if size == length and not real.all():
                array = np.compress(real, array, axis=axis)
        return array

    recorded = {}
    for name, array in arrays(folder / "intermediates.npz").items():
        recorded.update(affine(name, array) if name.endswith("sm/affine") else {name: array})
    ours = dict(our_numbers)
    for name, array in arrays(folder / "outputs.npz").items():
        recorded[f"outputs/{name}"] = array
    ours.update({f"outputs/{name}": array for name, array in our_outputs.items()})
    not_ours = {
        "outputs/n_evoformer_calls",
        "outputs/structure_module/final_atom_mask",
        "outputs/metrics/max_predicted_aligned_error",
    }
    worst = (0.0, "")
    for name, theirs in recorded.items():
        if name in not_ours:
            continue
        if "/in_mask/" in name:
            np.testing.assert_array_equal(ours[name], theirs, err_msg=name)
            continue
        assert ours[name].shape == theirs.shape, name
        error = relative_error(kept(ours[name]), kept(theirs))
        worst = max(worst, (error / limit(name), name))
        if "final_atom_positions" in name:
            furthest = np.abs(kept(ours[name]) - kept(theirs)).max()
            assert furthest <= 1e-3, f"{name}: an atom is {furthest:.2g} Å away"
    say.append(f"{folder.name:32s} worst error {worst[0]:.1%} of the tolerance, {worst[1]}")
    assert worst[0] <= 1, f"{worst[1]}: {worst[0]:.3g} times the tolerance"

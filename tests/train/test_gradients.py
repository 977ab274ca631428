"""The total loss and the gradient of every parameter equal the recorded official ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.geometry import Rigid
from foldry.model.config import HeadsConfig
from foldry.train import losses as our_losses
from foldry.train.losses import Losses, aligned_error_bins, fine_tuning, total_loss
from foldry.train.targets import Batch, make_targets
from foldry.weights.official import to_official
from tests.model.parity import Case, arrays, relative_error

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def recorded(parity_dir: Path) -> dict[str, np.ndarray]:
    """The recorded total loss, `aux/…` and `grad/…`."""
    path = parity_dir / "data" / "train_loss_grads.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    return arrays(path)


def compiled_bins(
    frames: Rigid, true_frames: Rigid, num_bins: int, max_break: float
) -> torch.Tensor:
    """Return the bins of the compiled program that recorded this case.

    For a residue's own Cα, it finds rounding noise, which is in bin 1. If run operation by
    operation, as for losses.npz, it finds exactly 0 as Foldry does, the only value in bin 0.
    """
    bins = aligned_error_bins(frames, true_frames, num_bins, max_break)
    assert torch.equal(bins == 0, torch.eye(bins.shape[-1], dtype=torch.bool)[None])
    return bins.clamp(min=1)


@pytest.fixture(scope="module")
def ours(
    parity_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Losses, dict[str, np.ndarray]]:
    """Our losses, and our gradients under the official names."""
    data = parity_dir / "data"
    folder = tmp_path_factory.mktemp("train_loss")
    for name in ("inputs", "params"):
        (folder / f"{name}.npz").symlink_to((data / f"train_loss_{name}.npz").resolve())
    config = json.loads((data / "train_loss_config.json").read_text())
    config |= {"params": "params.npz", "overrides": {}}
    (folder / "config.json").write_text(json.dumps(config))
    case = Case(folder)
    torsions = {
        name.removeprefix("train_loss/"): array
        for name, array in arrays(data / "template_torsions.npz").items()
        if name.startswith("train_loss/")
    }
    inputs, draw = case.inputs(torsions)
    fed = arrays(folder / "inputs.npz")
    batch = Batch(
        inputs=inputs,
        draws=tuple(draw(0)),
        true_msa=(torch.from_numpy(fed["true_msa"]).long(),),
        bert_mask=(torch.from_numpy(fed["bert_mask"]),),
        targets=make_targets(
            fed["aatype"],
            fed["all_atom_positions"],
            fed["all_atom_mask"],
            fed["resolution"],
            HeadsConfig(),
        ),
        clamped=torch.ones(1),
    )
    model = case.model()
    result = model(batch.inputs, batch.draws, model.first_recycled(batch.inputs))
    logits = model.predict_heads(result)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(our_losses, "aligned_error_bins", compiled_bins)
        losses = total_loss(result, logits, batch, 0, fine_tuning(pae=True), model.config.heads)
    losses.total.backward()
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }
    return losses, to_official(gradients, model.config)


def test_total_and_terms(
    recorded: dict[str, np.ndarray],
    ours: tuple[Losses, dict[str, np.ndarray]],
    record_property: Callable[[str, object], None],
) -> None:
    terms, weights = ours[0].terms, fine_tuning(pae=True)
    structure = ("backbone", "sidechain", "chi", "angle_norm", "violations")
    values = {
        "total": ours[0].total.detach(),
        "aux/distogram/loss": terms["distogram"],
        "aux/experimentally_resolved/loss": terms["resolved"],
        "aux/masked_msa/loss": terms["masked_msa"],
        "aux/predicted_aligned_error/loss": terms["pae"],
        "aux/predicted_lddt/loss": terms["plddt"],
        "aux/structure_module/angle_norm_loss": terms["angle_norm"],
        "aux/structure_module/chi_loss": terms["chi"],
        "aux/structure_module/sidechain_fape": terms["sidechain"],
        "aux/structure_module/loss": sum(
            getattr(weights, name) * terms[name] for name in structure
        ),
    }
    # Foldry has no separate term for the last layer's backbone FAPE; test_losses compares it.
    names = {name for name in recorded if not name.startswith("grad/")}
    assert names - {"aux/structure_module/fape"} == set(values)
    assert set(terms) == {*structure, "distogram", "masked_msa", "plddt", "pae", "resolved", "lddt"}
    errors = {
        name: relative_error(value.numpy(), recorded[name]) / TOLERANCE
        for name, value in values.items()
    }
    worst = max(errors, key=errors.__getitem__)
    record_property(
        "worst error", f"{'train_loss':32s} {errors[worst]:7.2%} of the tolerance, in {worst}"
    )
    assert errors[worst] <= 1, f"{worst}: {errors[worst]:.3g} times the tolerance"


def test_gradient_of_every_parameter(
    recorded: dict[str, np.ndarray],
    ours: tuple[Losses, dict[str, np.ndarray]],
    record_property: Callable[[str, object], None],
) -> None:
    theirs = {
        name.removeprefix("grad/"): array
        for name, array in recorded.items()
        if name.startswith("grad/")
    }
    gradients = ours[1]
    assert theirs
    assert set(gradients) == set(theirs)
    errors = {}
    for name, gradient in gradients.items():
        assert gradient.shape == theirs[name].shape, name
        errors[name] = relative_error(gradient, theirs[name]) / TOLERANCE
    zero, theirs_zero = (
        {name for name, array in each.items() if np.linalg.norm(array) < 1e-6}
        for each in (gradients, theirs)
    )
    assert zero == theirs_zero
    assert len(zero) < len(theirs) / 10
    worst = max(errors, key=errors.__getitem__)
    record_property(
        "worst error",
        f"{'train_loss gradients':32s} {errors[worst]:7.2%} of the tolerance, in {worst}",
    )
    assert errors[worst] <= 1, f"{worst}: {errors[worst]:.3g} times the tolerance"

"""Behaviour in training: initialisation, dropout, gradients, checkpoints and mixed precision."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foldry.geometry import Rigid
from foldry.kernels.choose import CPU, REFERENCE, Kernels
from foldry.kernels.chunks import by_rows
from foldry.kernels.transition import reference
from foldry.model.config import StackConfig, StructureConfig
from foldry.model.distance_geometry import frames_from_distogram, lay_out, right_handed
from foldry.model.evoformer import EvoformerBlock, EvoformerStack
from foldry.model.inputs import Inputs, MSAInputs
from foldry.model.layers import Init, Linear, SharedDropout
from foldry.model.runtime import Runtime
from foldry.model.structure_module import StructureModule
from tests.kernels.cases import both_kernels
from tests.model.test_alphafold import fed, network

__all__ = ["fed"]  # a fixture

STACK = StackConfig(num_blocks=3, c_msa=8, num_heads_msa=2, num_heads_pair=2, c_outer=2)
MSA, PAIR = torch.randn(1, 4, 5, 8), torch.randn(1, 5, 5, 8)
MASKS = (torch.ones(1, 4, 5), torch.ones(1, 5, 5))


def stack(runtime: Runtime) -> EvoformerStack:
    """Return the small stack with random parameters, none of them zero."""
    torch.manual_seed(0)
    made = EvoformerStack(STACK, 8, runtime)
    for parameter in made.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return made


@pytest.mark.parametrize(
    ("init", "deviation"),
    [("default", 100**-0.5), ("relu", 0.02**0.5), ("glorot", (2 / 500) ** 0.5)],
)
def test_weights_have_the_variance_of_their_purpose(init: Init, deviation: float) -> None:
    torch.manual_seed(0)
    linear = Linear(100, 400, init=init)
    assert linear.weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert not linear.bias.any()


@pytest.mark.parametrize(("init", "bias"), [("zero", 0.0), ("gate", 1.0)])
def test_residual_branches_start_without_effect_and_gates_open(init: Init, bias: float) -> None:
    linear = Linear(3, 4, init=init)
    assert not linear.weight.any()
    assert (linear.bias == bias).all()


@pytest.mark.parametrize("axis", [1, 2])
def test_dropout_is_shared_along_its_axis(axis: int) -> None:
    shape = [2, 40, 40, 30]
    torch.manual_seed(0)
    dropout = SharedDropout(0.2, axis)
    factor = dropout(torch.ones(shape))
    shape[axis] = 1
    assert list(factor.shape) == shape
    assert set(factor.unique().tolist()) == {0.0, 1.25}
    assert (factor == 0).float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert dropout.eval()(factor) is None


def calls(module: nn.Module, kind: type[nn.Module]) -> Counter[str]:
    """Return a counter of the calls of all submodules of a kind, by name."""
    counted: Counter[str] = Counter()
    for name, part in module.named_modules():
        if isinstance(part, kind):
            part.register_forward_pre_hook(lambda *_, name=name: counted.update([name]))
    return counted


DROPPED_ALONG = {
    "msa_row_attention": 1,
    "triangle_multiplication_outgoing": 1,
    "triangle_multiplication_incoming": 1,
    "triangle_attention_starting": 1,
    "triangle_attention_ending": 2,
}
"""The modules of Algorithm 6 whose updates are dropped, and the axis that shares a mask."""


def test_a_block_drops_the_updates_of_algorithm_6() -> None:
    block = stack(Runtime()).blocks[0]
    counted = calls(block, SharedDropout)
    block(MSA, PAIR, *MASKS)
    assert counted == {f"{name}.dropout": 1 for name in DROPPED_ALONG}
    rates = {name: block.get_submodule(f"{name}.dropout").rate for name in DROPPED_ALONG}
    assert rates.pop("msa_row_attention") == 0.15
    assert set(rates.values()) == {0.25}


@both_kernels
@pytest.mark.parametrize("name", DROPPED_ALONG)
def test_an_update_is_dropped_whole_along_its_axis(name: str, kernels: Kernels) -> None:
    """A prediction with dropout runs the kernels without gradients."""
    module = stack(Runtime(kernels=kernels)).blocks[0].get_submodule(name)
    rows = name.startswith("msa")
    x = MSA if rows else PAIR
    others = (PAIR, MASKS[0]) if rows else MASKS[1:]
    axis = DROPPED_ALONG[name]
    with torch.no_grad():
        whole = module.eval()(x.clone(), *others) - x
        dropped = module.train()(x.clone(), *others) - x
        factor = (dropped * whole).sum(axis, keepdim=True) / whole.square().sum(axis, keepdim=True)
        kept = (factor > 0.5).float()
    assert 0.5 < kept.mean() < 1
    expected = whole * kept / (1 - module.dropout.rate)
    torch.testing.assert_close(dropped, expected, rtol=1e-4, atol=1e-5)


def test_depth_limits_the_blocks_that_run() -> None:
    whole = stack(Runtime()).eval()
    counted = calls(whole, EvoformerBlock)
    whole.depth = 2
    whole(MSA, PAIR, *MASKS)
    assert counted == {"blocks.0": 1, "blocks.1": 1}


def test_checkpoints_run_blocks_again_for_equal_gradients() -> None:
    gradients = []
    for checkpoint in (False, True):
        whole = stack(Runtime(checkpoint=checkpoint)).eval()
        counted = calls(whole, EvoformerBlock)
        sum(array.sum() for array in whole(MSA, PAIR, *MASKS)).backward()
        assert set(counted.values()) == {2 if checkpoint else 1}
        gradients.append([parameter.grad for parameter in whole.parameters()])
    torch.testing.assert_close(*gradients)


def test_rows_are_sliced_only_without_gradients() -> None:
    sizes: list[int] = []

    def doubled(rows: Tensor) -> Tensor:
        sizes.append(rows.shape[1])
        return 2 * rows

    rows = torch.randn(1, 7, 2)
    assert torch.equal(by_rows(doubled, 2, 6, rows), 2 * rows)
    with torch.no_grad():
        assert torch.equal(by_rows(doubled, 2, 6, rows), 2 * rows)
    assert sizes == [7, 3, 3, 1]


def test_rotations_pass_no_gradient_between_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = StructureConfig(num_layers=3, c=8, num_heads=2, c_sidechain=8)
    module = StructureModule(config, 8, 8, Runtime())
    counted = calls(module, nn.Dropout)
    started: list[Rigid] = []
    layer = module.layer

    def recorded(*arguments: Tensor | Rigid) -> Tensor:
        started.append(arguments[-1])
        return layer(*arguments)

    monkeypatch.setattr(module, "layer", recorded)
    mask = torch.ones(1, 5)
    frames = Rigid.identity(1, 5, like=mask)
    output = module(torch.randn(1, 5, 8), PAIR, torch.zeros(1, 5, dtype=torch.long), mask, frames)
    assert not any(frames.rotation.requires_grad for frames in started)
    assert all(frames.translation.requires_grad for frames in started[1:])
    assert output.frames.rotation.requires_grad
    assert counted == {"dropout": 2 * config.num_layers}


def test_the_next_pass_gets_no_gradients(fed: tuple[Inputs, MSAInputs]) -> None:
    inputs, draw = fed
    model = network(Runtime())
    result = model(inputs, [draw], model.first_recycled(inputs))
    assert result.atom37.requires_grad and result.representations.pair.requires_grad
    assert not any(array.requires_grad for array in vars(result.recycled()).values())


def test_mixed_precision_keeps_parameters_in_float32(
    fed: tuple[Inputs, MSAInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, draw = fed
    model = network(Runtime(dtype=torch.bfloat16, autocast=True))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    products: set[torch.dtype] = set()

    def recorded(*arguments: Any) -> Tensor:
        product = linear(*arguments)
        products.add(product.dtype)
        return product

    linear = reference.linear
    monkeypatch.setattr(reference, "linear", recorded)
    result = model(inputs, [draw], model.first_recycled(inputs))
    assert products == {torch.bfloat16}
    assert result.atom37.dtype == torch.float32


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_gradients_and_autocast_need_the_references(autocast: bool, gradients: bool) -> None:
    runtime = Runtime(kernels=CPU)
    with torch.set_grad_enabled(gradients), torch.autocast("cpu", enabled=autocast):
        assert runtime.now() is (REFERENCE if gradients or autocast else CPU)


def test_initial_frames_have_no_gradient_and_padding_is_at_the_origin() -> None:
    logits = torch.randn(1, 9, 9, 64, requires_grad=True)
    mask = torch.ones(1, 9)
    mask[:, 6:] = 0
    frames = frames_from_distogram(logits + logits.transpose(1, 2), mask, 2.3125, 21.6875)
    assert not frames.translation.requires_grad
    points = lay_out(torch.ones(1, 9, 9), torch.ones(1, 9, 9), mask)
    assert points[:, :6].all() and not points[:, 6:].any()


def test_padding_does_not_vote_on_handedness() -> None:
    turn = torch.tensor(np.deg2rad(100.0)) * torch.arange(30)
    helix = torch.stack([3 * turn.cos(), 3 * turn.sin(), 1.5 * torch.arange(30.0)], dim=-1)[None]
    mask = torch.zeros(1, 30)
    mask[:, :8] = 1
    points = torch.cat([helix[:, :8], -helix[:, 8:]], dim=1)
    assert torch.equal(right_handed(points, mask), points)
    assert torch.equal(right_handed(points, torch.ones(1, 30)), -points)

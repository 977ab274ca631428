"""The gradient of a step: clipping by sample and by batch, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from foldry.train.config import StageConfig, mini_stages
from foldry.train.distributed import Workers
from foldry.train.gradient import Gradient

STAGE = replace(mini_stages()[0], batch_size=2, micro_batch=1, max_gradient_norm=1.0)
BY_SAMPLE = replace(STAGE, clipping="sample")


class Weights(nn.Module):
    """Two numbers that losses read, and one that no loss reads."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Parameter(torch.zeros(2))
        self.unread = nn.Parameter(torch.ones(1))


def step(stage: StageConfig, *slopes: list[float]) -> tuple[Weights, dict[str, float]]:
    """Return the result of one step of plain descent with rate 1, for losses of these slopes."""
    model = Weights()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    gradient = Gradient(model, stage, Workers())
    for slope in slopes:
        gradient.add((model.read * Tensor(slope)).sum(), 1 / len(slopes))
    return model, gradient.finish(optimizer, {"loss": torch.tensor(2.5)})


def test_each_sample_is_clipped_and_then_the_mean_taken() -> None:
    # (3, 4) has length 5 and becomes (0.6, 0.8); (0, 0.5) stays; the mean is (0.3, 0.65).
    model, means = step(BY_SAMPLE, [3, 4], [0, 0.5])
    assert model.read.tolist() == pytest.approx([-0.3, -0.65], rel=1e-5)
    assert means == pytest.approx({"loss": 2.5, "gradient_norm": 2.75, "skipped": 0})
    assert model.unread.grad is None


def test_the_mean_of_the_batch_is_clipped() -> None:
    # The mean is (1.5, 2.25), of length √7.3125.
    model, means = step(STAGE, [3, 4], [0, 0.5])
    assert model.read.tolist() == pytest.approx([-1.5 / 7.3125**0.5, -2.25 / 7.3125**0.5], rel=1e-4)
    assert means == pytest.approx({"loss": 2.5, "gradient_norm": 7.3125**0.5, "skipped": 0})
    assert model.unread.grad is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_left_out_and_counted(bad: float) -> None:
    model, means = step(BY_SAMPLE, [bad, 1], [0, 0.5])
    assert model.read.tolist() == pytest.approx([0, -0.25])
    assert means["skipped"] == 1
    model, means = step(STAGE, [bad, 1], [0, 0.5])
    assert model.read.tolist() == [0, 0]
    assert means["skipped"] == 2


class Twins(Workers):
    """Two workers with equal gradients, of which this is one."""

    def sum_(self, tensor: Tensor) -> Tensor:
        return tensor.mul_(2)


def test_the_norm_includes_all_divided_parameters_of_all_workers() -> None:
    model = nn.ParameterList([torch.zeros(1) for _ in range(3)])
    for parameter in list(model)[1:]:
        parameter.device_mesh, parameter.to_local = None, parameter.detach
    gradient = Gradient(model, STAGE, Twins(0, 2, shard=True))
    gradient.add((model[0] + 2 * model[1] + 6 * model[2]).sum(), 0.5)
    means = gradient.finish(torch.optim.SGD(model.parameters(), lr=1.0), {})
    # 1 + 2 · (4 + 36) = 81: each worker has its own part of the divided parameters.
    assert means["gradient_norm"] == pytest.approx(9)
    assert [each.item() for each in model] == pytest.approx([-1 / 9, -2 / 9, -6 / 9], rel=1e-5)

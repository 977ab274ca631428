"""Muon: its step for matrices, and Adam for all other parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foldry.train.optimizer import ADAM_SHARE, Muon, orthogonal


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(8, 12)
        self.input = nn.Linear(5, 8)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.tanh(self.input(x)))


@pytest.mark.parametrize("shape", [(3, 6, 6), (2, 4, 9), (2, 9, 4)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    matrices = torch.randn(*shape, generator=generator)
    made = orthogonal(matrices)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.3
    assert values.max() < 1.3
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(made.flatten(1), (u @ vt).flatten(1)).min() > 0.95


def test_the_size_of_a_step_depends_on_the_learning_rate_only() -> None:
    steps = []
    for scale in (1.0, 1000.0):
        model = Small()
        before = model.inner.weight.detach().clone()
        optimizer = Muon(model, lr=0.01)
        (scale * model(torch.ones(4, 5)).square().mean()).backward()
        optimizer.step()
        steps.append(model.inner.weight.detach() - before)
    assert torch.allclose(*steps, atol=1e-5)
    # One sample's gradient has rank 1: a single direction of length 0.2 √12 · 0.01.
    assert steps[0].norm().item() == pytest.approx(0.01 * 0.2 * 12**0.5, rel=0.35)


def test_all_but_inner_matrices_are_trained_by_adam() -> None:
    model, other = Small(), Small()
    optimizer = Muon(model, lr=0.01)
    adam = torch.optim.Adam(other.parameters(), 0.01 * ADAM_SHARE, (0.9, 0.99), eps=1e-6)
    for network, trainer in ((model, optimizer), (other, adam)):
        network(torch.ones(4, 5)).square().mean().backward()
        trainer.step()
    assert torch.equal(model.input.weight, other.input.weight)
    assert torch.equal(model.inner.bias, other.inner.bias)
    assert not torch.equal(model.inner.weight, other.inner.weight)
    assert torch.equal(model.frozen.weight, Small().frozen.weight)
    assert {group["lr"] for group in optimizer.param_groups} == {0.01}


def test_a_loss_falls() -> None:
    model = Small()
    optimizer = Muon(model, lr=0.01)
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(2))
    y = torch.stack([(x[:, :1] * x[:, 1:2])[:, 0]] * 12, dim=1)
    losses = []
    for _ in range(300):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]

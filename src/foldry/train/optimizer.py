"""Muon, an optimiser for the matrices of small networks; Adam trains their other parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

MOMENTUM: Final = 0.95
NUM_ITERATIONS: Final = 5
COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients of a quintic that brings singular values near 1 when iterated (Jordan 2024)."""
ADAM_SHARE: Final = 0.3
"""Adam's learning rate as a multiple of Muon's."""
NOT_MATRICES: Final = (
    "heads.",
    "input.",
    "alignment.",
    "recycling.distance.",
    "structure.torsion_angles.",
)
"""Prefixes of matrices that Adam trains: maps into and out of the network, as Muon's authors
advise, and the torsion angles, whose narrow ReLU layers died with Muon, so that all residues got
the same angles."""


class Muon(torch.optim.Adam):
    """Muon for matrices (Jordan 2024), Adam for all other parameters.

    The step of a matrix W is W ← W − lr · 0.2 √(longer side) · O, where O is the nearest matrix
    with orthogonal rows or columns to the Nesterov momentum of its gradient. The factor gives it
    the size of Adam's steps (Liu 2025, arXiv 2502.16982).

    Args:
        model: The network; parameters that require a gradient are trained.
        betas: Decays of Adam.
        lr: Learning rate of Muon, also the `lr` of all groups; Adam's is 0.3 times this.
    """

    def __init__(
        self, model: nn.Module, betas: tuple[float, float] = (0.9, 0.99), lr: float = 1e-2
    ) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.dim() == 2 and not name.startswith(NOT_MATRICES)]
        chosen = set(map(id, matrices))
        others = [p for _, p in named if id(p) not in chosen]
        groups: list[dict[str, Any]] = [{"params": others}, {"params": matrices, "muon": True}]
        super().__init__([group for group in groups if group["params"]], lr, betas, eps=1e-6)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step for all parameters that have a gradient."""
        groups, self.param_groups = self.param_groups, []
        for group in groups:
            if group.get("muon"):
                self._turn(group["params"], group["lr"])
            else:
                self.param_groups.append(group | {"lr": group["lr"] * ADAM_SHARE})
        loss = super().step(closure)
        self.param_groups = groups
        return loss

    def _turn(self, parameters: Iterable[Tensor], rate: float) -> None:
        """Take Muon's step; matrices of one shape are orthogonalised together."""
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                by_shape.setdefault(parameter.shape, []).append(parameter)
        for shape, same in by_shape.items():
            for parameter in same:
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg"].lerp_(parameter.grad, 1 - MOMENTUM)
            gradient = torch.stack([p.grad for p in same if p.grad is not None])
            mean = torch.stack([self.state[p]["exp_avg"] for p in same])
            steps = orthogonal(torch.lerp(gradient, mean, MOMENTUM))
            for parameter, step in zip(same, steps, strict=True):
                parameter.add_(step, alpha=-rate * 0.2 * max(shape) ** 0.5)


def orthogonal(matrices: Float[Tensor, "K M N"]) -> Float[Tensor, "K M N"]:
    """Return approximately the nearest matrices with singular values of 1.

    Newton–Schulz iteration: X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X, from X / ‖X‖.
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x: Tensor = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(NUM_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.mT

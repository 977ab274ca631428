"""The gradient of a step: summed over micro-batches and workers, and clipped."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from foldry.train.config import StageConfig
from foldry.train.distributed import Workers, local


class Gradient:
    """The mean gradient of a step's samples, independent of the number of workers.

    With clipping by sample, each micro-batch is one sample, whose gradient is scaled down to
    `max_gradient_norm` before the mean is taken (SI 1.11.3). Otherwise the mean is scaled down.

    Args:
        model: The network.
        stage: The stage.
        workers: The processes that train together.

    Attributes:
        num_skipped: With clipping by sample, samples of this worker that were left out because
            their gradient was not finite.
    """

    def __init__(self, model: nn.Module, stage: StageConfig, workers: Workers) -> None:
        self.stage = stage
        self.workers = workers
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # FSDP also sums the parameters that it divides; the others form one flat tensor.
        self.divided = [parameter for parameter in trained if local(parameter) is not parameter]
        self.plain = [parameter for parameter in trained if local(parameter) is parameter]
        self.used: set[int] = set()
        self.clipped: Tensor | None = None
        self.norms = 0.0
        self.num_skipped = 0
        for parameter in trained:
            parameter.grad = None

    def add(self, loss: Tensor, weight: float) -> None:
        """Add the gradient of a micro-batch's loss, multiplied by a weight."""
        if self.stage.clipping == "batch":
            # FSDP takes the mean over the workers, but this is one term of a sum.
            scale = self.workers.size if self.workers.shard else 1
            (loss * (weight * scale)).backward()  # type: ignore[no-untyped-call]
            return
        loss.backward()  # type: ignore[no-untyped-call]
        flat = self._take()
        norm = float(flat.norm())
        if not math.isfinite(norm):
            self.num_skipped += 1
            flat, weight = torch.zeros_like(flat), 0.0
        flat *= weight * self._shrink(norm)
        self.norms += weight * norm if weight else 0.0
        self.clipped = flat if self.clipped is None else self.clipped.add_(flat)

    def finish(
        self, optimizer: torch.optim.Optimizer, terms: dict[str, Tensor]
    ) -> dict[str, float]:
        """Sum over all workers and, if the gradient is finite, take the optimiser's step.

        Args:
            optimizer: Optimiser of the trained parameters.
            terms: This worker's share of the numbers for the log.

        Returns:
            The sums of the terms, `gradient_norm` before clipping, and `skipped`, the number of
            samples left out.
        """
        workers = self.workers
        flat = self._take() if self.clipped is None else self.clipped
        workers.sum_(flat)
        if workers.shard:
            flat /= workers.size
        numbers = torch.stack([*terms.values(), *flat.new_tensor([self.norms, self.num_skipped])])
        names = [*terms, "gradient_norm", "skipped"]
        means = dict(zip(names, workers.sum_(numbers).tolist(), strict=True))
        shrink = 1.0
        if self.stage.clipping == "batch":
            norm = means["gradient_norm"] = self._norm(flat)
            if not math.isfinite(norm):
                return means | {"skipped": self.stage.batch_size}
            shrink = self._shrink(norm)
        self._give_back(flat, shrink)
        optimizer.step()
        return means

    def _shrink(self, norm: float) -> float:
        return min(1.0, self.stage.max_gradient_norm / (norm + 1e-6))

    def _take(self) -> Tensor:
        """Remove the gradients of all undivided parameters and return them end to end."""
        pieces = []
        for index, parameter in enumerate(self.plain):
            if parameter.grad is None:
                pieces.append(torch.zeros_like(parameter).flatten())
            else:
                self.used.add(index)
                pieces.append(parameter.grad.flatten())
                parameter.grad = None
        return torch.cat(pieces)

    def _norm(self, flat: Tensor) -> float:
        squared = flat.square().sum()
        if self.divided:
            of_blocks = torch.zeros_like(squared)
            for parameter in self.divided:
                if parameter.grad is not None:
                    of_blocks += local(parameter.grad).square().sum()
            squared = squared + self.workers.sum_(of_blocks)
        return math.sqrt(float(squared))

    def _give_back(self, flat: Tensor, shrink: float) -> None:
        """Return the flat gradient to the parameters that took part in the step."""
        flat *= shrink
        pieces = torch.split(flat, [parameter.numel() for parameter in self.plain])
        for index, (parameter, piece) in enumerate(zip(self.plain, pieces, strict=True)):
            if index in self.used:
                parameter.grad = piece.view_as(parameter)
        for parameter in self.divided:
            if parameter.grad is not None:
                local(parameter.grad).mul_(shrink)

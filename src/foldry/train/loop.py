"""The training loop: one process, any number of stages, resumable at every step."""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foldry.model.alphafold import AlphaFold, Pass
from foldry.model.config import ModelConfig
from foldry.model.runtime import Runtime
from foldry.model.weights import save
from foldry.train.checkpoint import NAME, Progress, load_checkpoint, save_checkpoint
from foldry.train.config import StageConfig
from foldry.train.data import TrainingSet
from foldry.train.ema import EMA
from foldry.train.losses import total_loss
from foldry.train.targets import Batch

logger = logging.getLogger(__name__)

LOG = "log.jsonl"
WEIGHTS = "ema.safetensors"


@dataclass(frozen=True)
class Run:
    """Where a run keeps its files and how it starts.

    Attributes:
        folder: Checkpoint, averaged weights and log go here.
        seed: Everything random follows from it and the step.
        save_every: Steps between checkpoints.
        minutes: Stop after so many, at a checkpoint; None runs to the stage's end.
        start: State to start from, for the first stage of a run; None starts at random.
    """

    folder: Path
    seed: int = 0
    save_every: int = 200
    minutes: float | None = None
    start: dict[str, Tensor] | None = None


def train(
    config: ModelConfig,
    stage: StageConfig,
    data: TrainingSet,
    run: Run,
    runtime: Runtime | None = None,
    watch: Callable[[dict[str, object]], None] | None = None,
) -> Progress:
    """Train one stage, or the rest of it where the folder holds an earlier run's checkpoint.

    A checkpoint of another stage starts this one: its parameters, average and optimiser go on.

    Args:
        config: The network.
        stage: What to train on.
        data: The chains.
        run: Where to and how long.
        runtime: Where the network runs.
        watch: Given every line of the log.

    Returns:
        How far the run got.

    Raises:
        InputError: The folder's checkpoint cannot be resumed.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(run.seed)
    model = AlphaFold(config, runtime)
    if run.start is not None:
        model.load_state_dict(run.start)
    # A stage that trains some parameters alone finds the others as they will be used.
    whole = stage.trained == ("",)
    model.train(whole)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(stage.trained))
    ema = EMA(model, stage.ema_decay)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, betas=(0.9, 0.99), eps=1e-6)
    progress = Progress(stage.name, 0, 0)
    if (run.folder / NAME).is_file():
        progress = load_checkpoint(run.folder, model, ema, optimizer)
        if progress.stage != stage.name:
            progress = Progress(stage.name, 0, progress.num_samples)
            if not whole:
                model.load_state_dict(ema.state)

    def keep() -> None:
        save_checkpoint(run.folder, model, ema, optimizer, progress)
        notes = {"samples": str(progress.num_samples)}
        save(run.folder / WEIGHTS, ema.state, config, notes)

    started = time.monotonic()
    with (run.folder / LOG).open("a", encoding="utf-8") as log:
        for step, batch in prefetch(data, stage, run.seed, progress.step):
            line = train_step(model, optimizer, batch, stage, run.seed, step)
            ema.update(model, progress.num_samples // stage.batch_size)
            progress = Progress(stage.name, step + 1, progress.num_samples + stage.batch_size)
            line |= asdict(progress) | {"seconds": round(time.monotonic() - started, 2)}
            log.write(json.dumps(line) + "\n")
            log.flush()
            if watch is not None:
                watch(line)
            over = run.minutes is not None and time.monotonic() - started > 60 * run.minutes
            if over or progress.step % run.save_every == 0 or progress.step == stage.num_steps:
                keep()
            if over:
                break
    return progress


def prefetch(
    data: TrainingSet, stage: StageConfig, seed: int, first_step: int
) -> Iterator[tuple[int, Batch]]:
    """The batches of the steps from `first_step` on, the next one made while one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        steps = range(first_step, stage.num_steps)
        waiting = [pool.submit(data.batch, stage, seed, step) for step in steps[:1]]
        for step in steps:
            batch = waiting.pop().result()
            if step + 1 < stage.num_steps:
                waiting.append(pool.submit(data.batch, stage, seed, step + 1))
            yield step, batch


def train_step(
    model: AlphaFold,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    stage: StageConfig,
    seed: int,
    step: int,
) -> dict[str, object]:
    """One optimiser step; all that is random in it follows from the seed, stage and step.

    A step whose gradient is not finite is left out, and the log says so.
    """
    rng = np.random.default_rng([seed, zlib.crc32(stage.name.encode()), step])
    torch.manual_seed(int(rng.integers(2**62)))
    num_passes = int(rng.integers(1, stage.max_passes + 1))
    rate = stage.learning_rate_at(step)
    for group in optimizer.param_groups:
        group["lr"] = rate

    recycled = model.first_recycled(batch.inputs)
    with torch.no_grad():
        for number in range(num_passes - 1):
            result: Pass = model(batch.inputs, [batch.draws[number]], recycled)
            recycled = result.recycled()
    result = model(batch.inputs, [batch.draws[num_passes - 1]], recycled)
    logits = model.predict_heads(result)
    losses = total_loss(result, logits, batch, num_passes - 1, stage.losses)

    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), stage.max_gradient_norm)
    finite = bool(torch.isfinite(norm))
    if finite:
        optimizer.step()
    terms = {name: round(float(value), 5) for name, value in losses.terms.items()}
    return {
        "loss": round(float(losses.total.detach()), 5),
        **terms,
        "gradient_norm": round(float(norm), 4) if finite else None,
        "learning_rate": rate,
        "passes": num_passes,
        "skipped": not finite,
    }

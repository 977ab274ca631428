"""The training loop: any number of stages and workers, resumable at every step."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from foldry.dataset.samples import TrainingSet
from foldry.errors import InputError, MissingError
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.model.runtime import Runtime
from foldry.store.files import append_line, check_file, make_folder, set_aside
from foldry.store.locks import hold
from foldry.train import checkpoint
from foldry.train.checkpoint import Progress
from foldry.train.config import StageConfig
from foldry.train.data import make_batch
from foldry.train.distributed import MicroBatch, Workers, local, shard_blocks
from foldry.train.elastic import is_supervised
from foldry.train.ema import EMA
from foldry.train.gradient import Gradient
from foldry.train.losses import Losses, total_loss
from foldry.train.optimizer import Muon
from foldry.train.targets import Batch
from foldry.train.validate import validate
from foldry.weights.state_file import save

logger = logging.getLogger(__name__)

LOG: Final = "log.jsonl"
VALIDATION: Final = "validation.jsonl"
WEIGHTS: Final = "ema.safetensors"
WARMUP_FROM_WEIGHTS: Final = 100
"""Steps over which the learning rate rises where the optimiser starts afresh."""
MAX_SKIPPED: Final = 50
"""Steps in a row without a finite gradient before a run gives up."""

Line = dict[str, object]


@dataclass(frozen=True)
class Run:
    """Where a run keeps its files, how it starts, when it pauses, and what it runs on.

    Attributes:
        folder: Checkpoint, averaged weights and logs go here.
        seed: Everything random follows from it, the stage and the step.
        save_every: Steps between checkpoints.
        minutes: Stop after so many, at a checkpoint; None runs to the stage's end.
        start: State to start from, for the first stage of a run; None starts at random.
        validate_every: Steps between validations of the averaged weights; 0 never.
        validation_chains: How many of the chains held back for it are predicted.
        asked_to_stop: Asked by the first worker after every step; the run then stops at a
            checkpoint.
        tensorboard: Whether the logs are also written for TensorBoard.
        runtime: Where the network runs.
        workers: With whom.
        watch: Given every line of the log, on the first worker.
    """

    folder: Path
    seed: int = 0
    save_every: int = 200
    minutes: float | None = None
    start: dict[str, Tensor] | None = None
    validate_every: int = 0
    validation_chains: int = 20
    asked_to_stop: Callable[[], bool] = lambda: False
    tensorboard: bool = False
    runtime: Runtime = field(default_factory=Runtime)
    workers: Workers = field(default_factory=Workers)
    watch: Callable[[Line], object] = lambda line: None


def train_stages(
    config: ModelConfig, stages: Sequence[StageConfig], data: TrainingSet, run: Run
) -> bool:
    """Train stages in turn, from the one in which the folder's checkpoint is.

    Returns:
        Whether all stages are done; not so where the time was over or a stop was asked for.

    Raises:
        InputError: The run was begun with other settings, a stage has nothing to train on, or
            gradients are no longer finite.
        BusyError: Another command runs in the folder.
    """
    started = time.monotonic()
    for stage in stages:
        data.chains(stage)  # what has none is said now, not hours later
    # A supervisor holds the folder for its workers.
    with nullcontext() if run.workers.rank or is_supervised() else hold(run.folder):
        if run.workers.rank == 0:
            _set_damaged_aside(run.folder)
        run.workers.wait()  # all read what is there now
        progress = checkpoint.read_progress(run.folder)
        names = [stage.name for stage in stages]
        first = names.index(progress.stage) if progress and progress.stage in names else 0
        for stage in stages[first:]:
            passed = (time.monotonic() - started) / 60
            left = None if run.minutes is None else run.minutes - passed
            progress = train(config, stage, data, replace(run, minutes=left))
            if progress.step < stage.num_steps:
                return False
    return True


def train(config: ModelConfig, stage: StageConfig, data: TrainingSet, run: Run) -> Progress:
    """Train one stage, or the rest of it where the folder holds an earlier run's checkpoint.

    A checkpoint of another stage starts this one: its parameters, average and optimiser go on.

    Args:
        config: The network.
        stage: What to train on.
        data: The chains.
        run: Where to, how long, and with whom.

    Returns:
        How far the run got.

    Raises:
        InputError: The folder's checkpoint cannot be resumed or was begun with other settings, or
            gradients are no longer finite.
    """
    started, workers = time.monotonic(), run.workers
    make_folder(run.folder)
    for name in (checkpoint.NAME, WEIGHTS, LOG):
        check_file(run.folder / name)
    model = build(config, stage, run)
    ema = EMA(model, stage.ema_decay)
    optimizer = make_optimizer(model, stage)
    progress = Progress(stage.name, 0, 0, from_weights=run.start is not None)
    fixed = checkpoint.settings(config, stage, run.seed)
    if (run.folder / checkpoint.NAME).is_file():
        progress = checkpoint.load_checkpoint(run.folder, model, ema, optimizer, fixed)
        if progress.stage != stage.name:
            progress = replace(progress, stage=stage.name, step=0, from_weights=False)
            if not whole_network(stage):
                model.load_state_dict(ema.state)

    def keep() -> None:
        state = ema.whole()
        # The checkpoint is last: what it says is done is then on disk.
        if workers.rank == 0:
            save(run.folder / WEIGHTS, state, config, {"samples": str(progress.num_samples)})
        checkpoint.save_checkpoint(run.folder, model, ema, optimizer, progress, fixed)
        workers.wait()  # the next stage reads the checkpoint on every worker

    with closing(Log(run)) as log:
        skipped_in_a_row = 0
        for step, batches in prefetch(data, stage, run, progress.step):
            warmup = WARMUP_FROM_WEIGHTS if progress.from_weights else 0
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate_at(step, warmup)
            line = train_step(model, optimizer, batches, stage, run.seed, step, workers)
            ema.update(model, progress.num_samples // stage.batch_size)
            skipped = int(str(line["skipped"]))
            progress = replace(
                progress,
                step=step + 1,
                num_samples=progress.num_samples + stage.batch_size,
                num_skipped=progress.num_skipped + skipped,
            )
            log.write(LOG, line | asdict(progress) | {"seconds": time.monotonic() - started})
            over = run.minutes is not None and time.monotonic() - started > 60 * run.minutes
            over = workers.first_says(over or run.asked_to_stop(), run.runtime.device)
            validating = run.validate_every and progress.step % run.validate_every == 0
            due = progress.step % run.save_every == 0 or progress.step == stage.num_steps
            if over or due or validating:
                keep()
            skipped_in_a_row = skipped_in_a_row + 1 if skipped == stage.batch_size else 0
            if skipped_in_a_row == MAX_SKIPPED:
                what = f"the last {MAX_SKIPPED} steps had no finite gradient"
                advice = "begin another run with `start` set to earlier weights or a lower rate"
                raise InputError(what, advice)
            if validating:
                copy = AlphaFold(config, run.runtime)
                copy.load_state_dict(ema.whole())
                scores = validate(copy, data, stage, run.validation_chains, workers)
                log.write(VALIDATION, asdict(progress) | scores)
            if over:
                break
    return progress


def _set_damaged_aside(folder: Path) -> None:
    """Let a damaged checkpoint count as absent, and lose neither it nor the weights beside it."""
    try:
        checkpoint.read_progress(folder)
    except InputError:
        for name in (checkpoint.NAME, WEIGHTS):
            set_aside(folder / name)
        logger.warning(
            "The checkpoint in %s is damaged, and the run begins anew: it and its weights are kept "
            "there as *.damaged.",
            folder,
        )


def build(config: ModelConfig, stage: StageConfig, run: Run) -> AlphaFold:
    """The network as a stage trains it, the same on every worker."""
    torch.manual_seed(run.seed)
    model = AlphaFold(config, run.runtime)
    if run.start is not None:
        model.load_state_dict(run.start)
    model.evoformer.depth = stage.num_blocks
    # A stage that trains some parameters alone finds the others as they will be used.
    model.train(whole_network(stage))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(stage.trained))
    if run.workers.shard:
        if stage.clipping == "sample":
            what = "clipping by sample needs each sample's whole gradient"
            raise InputError(what, "leave `shard` out, or clip by batch")
        if stage.optimizer == "muon":
            advice = "leave `shard` out, or set optimizer=adam"
            raise InputError("Muon needs whole matrices", advice)
        shard_blocks(model)
    return model


def whole_network(stage: StageConfig) -> bool:
    """Whether a stage trains all parameters."""
    return stage.trained == ("",)


def make_optimizer(model: nn.Module, stage: StageConfig) -> torch.optim.Adam:
    """Muon, or Adam (SI 1.11.3); what is divided among workers and what is not are two groups."""
    betas = (0.9, stage.adam_beta2)
    if stage.optimizer == "muon":
        return Muon(model, betas)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        [parameter for parameter in trained if (local(parameter) is not parameter) == divided]
        for divided in (False, True)
    ]
    return torch.optim.Adam([{"params": group} for group in groups if group], betas=betas, eps=1e-6)


def prefetch(
    data: TrainingSet, stage: StageConfig, run: Run, first_step: int
) -> Iterator[tuple[int, list[tuple[MicroBatch, Batch]]]]:
    """This worker's share of the steps from `first_step` on, the next one made meanwhile."""

    def make(step: int) -> list[tuple[MicroBatch, Batch]]:
        return [
            (micro, make_batch(data, stage, run.seed, step, micro.samples).to(run.runtime.device))
            for micro in run.workers.share(stage.micro_batches())
        ]

    with ThreadPoolExecutor(max_workers=1) as pool:
        steps = range(first_step, stage.num_steps)
        waiting = [pool.submit(make, step) for step in steps[:1]]
        for step in steps:
            batches = waiting.pop().result()
            if step + 1 < stage.num_steps:
                waiting.append(pool.submit(make, step + 1))
            yield step, batches


def train_step(
    model: AlphaFold,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[tuple[MicroBatch, Batch]],
    stage: StageConfig,
    seed: int,
    step: int,
    workers: Workers,
) -> Line:
    """One optimiser step; all that is random in it follows from the seed, stage and step.

    A gradient that is not finite, the batch's or with clipping by sample a sample's, is left out,
    and the log says so.
    """
    num_passes = stage.num_passes_at(seed, step)
    gradient = Gradient(model, stage, workers)
    terms: dict[str, Tensor] = {}
    for micro, batch in batches:
        torch.manual_seed(stage.dropout_seed(seed, step, micro.number))
        losses = run_passes(model, batch, num_passes, stage)
        gradient.add(losses.total, micro.weight)
        for name, value in {"loss": losses.total.detach(), **losses.terms}.items():
            terms[name] = terms.get(name, 0) + micro.weight * value
    # What only makes up the number of workers' micro-batches weighs nothing.
    damaged = sum(batch.num_damaged for micro, batch in batches if micro.weight)
    terms["damaged"] = terms["loss"].new_tensor(damaged)
    means = gradient.finish(optimizer, terms)
    counts = {name: round(means.pop(name)) for name in ("skipped", "damaged")}
    line: Line = {name: _rounded(value) for name, value in means.items()}
    rate = optimizer.param_groups[0]["lr"]
    return line | {"learning_rate": rate, "passes": num_passes} | counts


def run_passes(model: AlphaFold, batch: Batch, num_passes: int, stage: StageConfig) -> Losses:
    """The losses of the last of so many passes, which alone has a gradient (SI Algorithm 31)."""
    recycled = model.first_recycled(batch.inputs)
    with torch.no_grad():
        for draw in batch.draws[: num_passes - 1]:
            recycled = model(batch.inputs, [draw], recycled).recycled()
    last = num_passes - 1
    result = model(batch.inputs, [batch.draws[last]], recycled)
    return total_loss(result, model.predict_heads(result), batch, last, stage.losses)


def _rounded(value: float) -> float | None:
    """Seven digits; None for what is not finite, which JSON has no word for."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


class Log:
    """The lines of a run's logs, written by the first worker alone."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.first = run.workers.rank == 0
        self.board = _tensorboard(run.folder) if run.tensorboard and self.first else None

    def close(self) -> None:
        """Let TensorBoard's files be whole."""
        if self.board is not None:
            self.board.close()

    def write(self, name: str, line: Line) -> None:
        """Append a line to one of the logs; numbers also go to TensorBoard, by samples seen."""
        if not self.first:
            return
        append_line(self.run.folder / name, line)
        if name == LOG:
            self.run.watch(line)
        for key, value in line.items():
            if self.board is not None and isinstance(value, int | float):
                title = f"{name.removesuffix('.jsonl')}/{key}"
                self.board.add_scalar(title, value, line["num_samples"])


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError as error:
        advice = "run `pip install tensorboard`, or leave `tensorboard` out"
        raise MissingError("TensorBoard is not installed", advice) from error
    return SummaryWriter(folder / "tensorboard")

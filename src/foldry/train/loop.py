"""The training loop: stages in turn, any number of workers, resumable after every step.

A step is a function of the parameters, the optimiser's state, the seed, the stage and the step's
number. Nothing else is random and no generator is carried from step to step, so these make a
checkpoint complete, and a run that is killed repeats the steps since the last checkpoint with
identical numbers. Checkpoint and weights are two files, written in this order: weights, then
checkpoint. A run that dies between them has weights that are ahead of the checkpoint, never a
checkpoint without weights; the repeated steps write the same weights again.
"""

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
from foldry.errors import InputError, MissingError, counted
from foldry.model.alphafold import AlphaFold
from foldry.model.config import HeadsConfig, ModelConfig
from foldry.model.runtime import Runtime
from foldry.processes import tuning
from foldry.store.files import append_line, check_file, make_folder, set_aside
from foldry.store.locks import hold
from foldry.train import checkpoint
from foldry.train.checkpoint import Progress
from foldry.train.config import StageConfig, all_stages
from foldry.train.data import make_batch
from foldry.train.distributed import MicroBatch, Workers, local, shard_blocks
from foldry.train.elastic import is_supervised
from foldry.train.ema import EMA
from foldry.train.gradient import Gradient
from foldry.train.losses import Losses, total_loss, well_resolved
from foldry.train.optimizer import Muon
from foldry.train.targets import Batch
from foldry.train.validate import PART, validate
from foldry.weights.state_file import save

logger = logging.getLogger(__name__)

LOG: Final = "log.jsonl"
VALIDATION: Final = "validation.jsonl"
WEIGHTS: Final = "ema.safetensors"
WARMUP_FROM_WEIGHTS: Final = 100
"""Warm-up steps of a stage that starts from weights without an optimiser's state."""
MAX_SKIPPED: Final = 50
"""Consecutive steps without a finite gradient after which a run gives up."""

Line = dict[str, object]


@dataclass(frozen=True)
class Run:
    """Where a run writes, how it starts and stops, and what it runs on.

    Attributes:
        folder: Folder for the checkpoint, averaged weights and logs.
        seed: Random seed.
        save_every: Steps between checkpoints.
        minutes: Time after which the run stops with a checkpoint; None for no limit.
        start: Initial parameters for the first stage of a run; None for random ones.
        validate_every: Steps between validations of the averaged weights; 0 for none.
        validation_chains: Maximum number of chains to predict in a validation.
        asked_to_stop: Called by the first worker after every step; if it returns True, the run
            stops with a checkpoint.
        tensorboard: Whether the logs are also written for TensorBoard.
        runtime: Device and precision.
        workers: The processes that train together.
        watch: Receives every line of the log, on the first worker.
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
    """Train stages in turn, starting with the stage of the folder's checkpoint.

    Returns:
        Whether all stages are done; False if the time was up or a stop was requested.

    Raises:
        InputError: The run was started with other settings or on other data, or has reached a later
            stage, the folder contains packs, a stage has nothing to train on or trains a head that
            the network lacks, or gradients are no longer finite.
        BusyError: Another command runs in the folder.
    """
    started = time.monotonic()
    if (run.folder / "splits").is_dir():
        what = "is a folder of packs"
        raise InputError(what, "set `out` to another folder", where=run.folder)
    for stage in stages:
        # Now, not after hours of earlier stages.
        if stage.losses.pae and not config.heads.pae:
            what = f"Stage {stage.name} trains aligned errors, which the network does not predict"
            raise InputError(what, "set losses.pae=0")
        _check_chains(stage, data)
    if run.validate_every:
        data.read_validation()
        if not data.validation:
            logger.warning("There are no validation chains, so there are no scores.")
    # A supervisor locks the folder for its workers.
    with nullcontext() if run.workers.rank or is_supervised() else hold(run.folder):
        if run.workers.rank == 0:
            _set_damaged_aside(run.folder)
        run.workers.wait()  # all workers must read the same files
        progress = checkpoint.read_progress(run.folder)
        names = [stage.name for stage in stages]
        order = [stage.name for stage in all_stages(config)]
        last = max((order.index(name) for name in names if name in order), default=len(order))
        later = order[last + 1 :]
        if progress and progress.stage in later:
            what = f"contains a run in stage {progress.stage}, which follows {names[-1]}"
            advice = "give another `out`, with `start` set to this run's weights if you like"
            raise InputError(what, advice, where=run.folder)
        first = names.index(progress.stage) if progress and progress.stage in names else 0
        for stage in stages[first:]:
            passed = (time.monotonic() - started) / 60
            left = None if run.minutes is None else run.minutes - passed
            progress = train(config, stage, data, replace(run, minutes=left))
            if progress.step < stage.num_steps:
                return False
    return True


def train(config: ModelConfig, stage: StageConfig, data: TrainingSet, run: Run) -> Progress:
    """Train one stage, or the rest of it if the folder contains a checkpoint.

    A checkpoint of another stage provides the initial parameters, average and optimiser.

    Args:
        config: The network.
        stage: The stage.
        data: The chains.
        run: Folder, limits, runtime and workers.

    Returns:
        How far the run got.

    Raises:
        InputError: The checkpoint cannot be resumed or belongs to a run with other settings or
            other data, or gradients are no longer finite.
    """
    started, workers = time.monotonic(), run.workers
    make_folder(run.folder)
    for name in (checkpoint.NAME, WEIGHTS, LOG):
        check_file(run.folder / name)
    model = build(config, stage, run)
    ema = EMA(model, stage.ema_decay)
    optimizer = make_optimizer(model, stage)
    progress = Progress(stage.name, 0, 0, from_weights=run.start is not None)
    fixed = checkpoint.settings(config, stage, run.seed, data.key)
    if (run.folder / checkpoint.NAME).is_file():
        progress = checkpoint.load_checkpoint(run.folder, model, ema, optimizer, fixed)
        if progress.stage != stage.name:
            progress = replace(progress, stage=stage.name, step=0, from_weights=False)
            if not whole_network(stage):
                model.load_state_dict(ema.state)

    _announce(config, stage, data, run, progress.step)

    def keep() -> None:
        state = ema.whole()
        # The checkpoint comes last: all that it counts as done is then on disk.
        if workers.rank == 0:
            save(run.folder / WEIGHTS, state, config, {"samples": str(progress.num_samples)})
        checkpoint.save_checkpoint(run.folder, model, ema, optimizer, progress, fixed)
        workers.wait()  # the next stage reads the checkpoint on every worker

    with closing(Log(run)) as log:
        skipped_in_a_row = 0
        for step, batches in prefetch(data, stage, config.heads, run, progress.step):
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
                advice = (
                    "start another run with `start` set to earlier weights, or with a lower rate"
                )
                raise InputError(what, advice)
            if validating:
                copy = AlphaFold(config, run.runtime)
                copy.load_state_dict(ema.whole())
                scores = validate(copy, data, stage, run.validation_chains, workers)
                log.write(VALIDATION, asdict(progress) | scores)
            if over:
                break
    return progress


def _announce(
    config: ModelConfig, stage: StageConfig, data: TrainingSet, run: Run, step: int
) -> None:
    """Log the network, the device, the number of chains and the first step of a stage."""
    if run.workers.rank or step >= stage.num_steps:
        return
    chains = counted(len(data.chains(stage)[0]), "chain")
    uses = {"confidence": "confidence", PART: "validation"}
    kept = [
        f"{len(data.parts[part])} kept back for {use}"
        for part, use in uses.items()
        if part != stage.chains and data.parts[part]
    ]
    chains += f" ({', '.join(kept)})" if kept else ""
    about = f"{stage.name} of {config.name} on {run.runtime.device} with {chains}"
    begins = f"{'resuming' if step else 'starting'} at step {step + 1} of {stage.num_steps}"
    logger.info("Stage %s: %s.", about, begins)


def _check_chains(stage: StageConfig, data: TrainingSet) -> None:
    """Check that a stage has chains, and warn if its losses learn nothing from them.

    Raises:
        InputError: It has no chain.
    """
    names, _ = data.chains(stage)
    resolution = torch.tensor([data.library.resolution(name) for name in names])
    if stage.losses.only_confidence and not well_resolved(resolution).any():
        logger.warning(
            "Stage %s learns nothing: its only chains (%d) are from NMR or worse than 3 Å, and "
            "confidence is not trained on these.",
            stage.name,
            len(names),
        )


def _set_damaged_aside(folder: Path) -> None:
    """Rename a damaged checkpoint and the weights beside it, so that the run starts anew."""
    try:
        checkpoint.read_progress(folder)
    except InputError:
        for name in (checkpoint.NAME, WEIGHTS):
            set_aside(folder / name)
        logger.warning(
            "The checkpoint in %s is damaged and the run starts anew: the checkpoint and its "
            "weights are kept there as *.damaged.",
            folder,
        )


def build(config: ModelConfig, stage: StageConfig, run: Run) -> AlphaFold:
    """Return the network as a stage trains it, identical on every worker.

    Raises:
        InputError: The stage cannot be trained with divided parameters.
    """
    torch.manual_seed(run.seed)
    model = AlphaFold(config, run.runtime)
    if run.start is not None:
        model.load_state_dict(run.start)
    model.evoformer.depth = stage.num_blocks
    # A stage that trains only some parameters runs without dropout, as in prediction.
    model.train(whole_network(stage))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(stage.trained))
    if run.workers.shard:
        check_divisible(stage)
        shard_blocks(model)
    return model


def check_divisible(stage: StageConfig) -> None:
    """Check that a stage can be trained with divided parameters.

    Raises:
        InputError: It clips by sample or uses Muon.
    """
    if stage.clipping == "sample":
        what = "Clipping by sample needs the whole gradient of each sample"
        raise InputError(what, "leave out `shard`, or set clipping=batch")
    if stage.optimizer == "muon":
        advice = "leave out `shard`, or set optimizer=adam"
        raise InputError("Muon needs whole matrices", advice)


def whole_network(stage: StageConfig) -> bool:
    """Return whether a stage trains all parameters."""
    return stage.trained == ("",)


def make_optimizer(model: nn.Module, stage: StageConfig) -> torch.optim.Adam:
    """Return Muon or Adam (SI 1.11.3), with separate groups of divided and whole parameters."""
    betas = (0.9, stage.adam_beta2)
    tuning.check_room(tuning.OPTIMIZERS)
    if stage.optimizer == "muon":
        return Muon(model, betas)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        [parameter for parameter in trained if (local(parameter) is not parameter) == divided]
        for divided in (False, True)
    ]
    return torch.optim.Adam([{"params": group} for group in groups if group], betas=betas, eps=1e-6)


def prefetch(
    data: TrainingSet, stage: StageConfig, heads: HeadsConfig, run: Run, first_step: int
) -> Iterator[tuple[int, list[tuple[MicroBatch, Batch]]]]:
    """Yield this worker's micro-batches of each step, while a thread makes those of the next."""

    def make(step: int) -> list[tuple[MicroBatch, Batch]]:
        made = []
        for micro in run.workers.share(stage.micro_batches()):
            batch = make_batch(data, stage, heads, run.seed, step, micro.samples)
            made.append((micro, batch.to(run.runtime.device)))
        return made

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
    """Take one optimiser step and return its line of the log.

    Every random choice follows from the seed, the stage and the step. A gradient that is not
    finite is left out and counted as `skipped`: the gradient of the batch or, with clipping by
    sample, of a sample.
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
    # Micro-batches of weight 0 only make the workers' numbers of micro-batches equal.
    damaged = sum(batch.num_damaged for micro, batch in batches if micro.weight)
    terms["damaged"] = terms["loss"].new_tensor(damaged)
    means = gradient.finish(optimizer, terms)
    counts = {name: round(means.pop(name)) for name in ("skipped", "damaged")}
    line: Line = {name: _rounded(value) for name, value in means.items()}
    rate = optimizer.param_groups[0]["lr"]
    return line | {"learning_rate": rate, "passes": num_passes} | counts


def run_passes(model: AlphaFold, batch: Batch, num_passes: int, stage: StageConfig) -> Losses:
    """Return the losses of the last pass, the only one with a gradient (SI Algorithm 31)."""
    recycled = model.first_recycled(batch.inputs)
    with torch.no_grad():
        for draw in batch.draws[: num_passes - 1]:
            recycled = model(batch.inputs, [draw], recycled).recycled()
    last = num_passes - 1
    result = model(batch.inputs, [batch.draws[last]], recycled)
    return total_loss(
        result, model.predict_heads(result), batch, last, stage.losses, model.config.heads
    )


def _rounded(value: float) -> float | None:
    """Return a number with seven digits, or None if it is not finite: JSON has no NaN."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


class Log:
    """The logs of a run, which only the first worker writes."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.first = run.workers.rank == 0
        wanted = run.tensorboard and self.first
        self.board = tensorboard_writer()(run.folder / "tensorboard") if wanted else None

    def close(self) -> None:
        """Finish TensorBoard's files."""
        if self.board is not None:
            self.board.close()

    def write(self, name: str, line: Line) -> None:
        """Append a line to a log; TensorBoard gets its numbers by samples seen."""
        if not self.first:
            return
        append_line(self.run.folder / name, line)
        if name == LOG:
            self.run.watch(line)
        for key, value in line.items():
            if self.board is not None and isinstance(value, int | float):
                title = f"{name.removesuffix('.jsonl')}/{key}"
                self.board.add_scalar(title, value, line["num_samples"])


def tensorboard_writer() -> Any:
    """Return TensorBoard's class of writers.

    Raises:
        MissingError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError as error:
        advice = "run `pip install tensorboard`, or leave out `tensorboard`"
        raise MissingError("TensorBoard is not installed", advice) from error
    return SummaryWriter

"""`foldry train`: train a network on structures and alignments.

`foldry train --data …` is short for `foldry train run --data …`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from foldry.cli import train_data
from foldry.cli.options import out_option, valued
from foldry.cli.show import show_line
from foldry.processes.tuning import KEPT_FOR_GRADIENTS, quick_imports

if TYPE_CHECKING:
    from torch import Tensor

    from foldry.model.config import ModelConfig
    from foldry.model.runtime import Runtime
    from foldry.train.config import StageConfig
    from foldry.train.elastic import Supervisor

SHOWN_SECONDS: Final = 60.0
"""Time after which the terminal shows the next step."""


class _RunByDefault(TyperGroup):
    """A group that runs `run` when options are given without a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Prepare data and train a network. Options without a command belong to run: see "
    "foldry train run --help.",
)
for command in (train_data.prepare, train_data.pack, train_data.unpack):
    app.command()(command)


@app.command()
def run(
    data: Annotated[Path, valued("FOLDER", "Training data, as written by prepare.")],
    out: Annotated[
        Path, out_option("FOLDER", "Folder for the run; an unfinished run in it is resumed.")
    ],
    stage: Annotated[
        str | None,
        valued(
            "NAME",
            "fold, main, long or confidence for mini; initial or finetuning for other networks; "
            "or all. Default: all; with --start, all but fold.",
        ),
    ] = None,
    steps: Annotated[
        int | None, valued("N", "Optimiser steps of each stage. Default: the stage's.", min=1)
    ] = None,
    minutes: Annotated[float | None, valued("N", "Stop after N minutes.", min=0.0)] = None,
    network: Annotated[
        str | None,
        valued("NAME", "mini, or an official network such as model_1_ptm. Default: mini."),
    ] = None,
    start: Annotated[
        Path | None,
        valued("FILE", "Weights to start from: Foldry's, official .npz or OpenFold's .pt."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        valued(
            "KEY=VALUE",
            "Change a field of the stages, e.g. crop_size=128; may be repeated.",
            "--set",
        ),
    ] = None,
    seed: Annotated[int, valued("N", "Random seed.", min=0)] = 0,
    save_every: Annotated[int, valued("N", "Steps between checkpoints.", min=1)] = 200,
    validate_every: Annotated[
        int, valued("N", "Steps between validations; 0 for none.", min=0)
    ] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write the log for TensorBoard.")
    ] = False,
    device: Annotated[str, valued("NAME", "auto, cpu, cuda or cuda:1.")] = "auto",
    dtype: Annotated[
        str | None, valued("NAME", "float32 or bfloat16 (the trunk). Default: bfloat16 on a GPU.")
    ] = None,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute", help="Recompute blocks in the backward pass: less memory, more time."
        ),
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Divide the Evoformer's parameters among the workers.")
    ] = False,
    workers: Annotated[
        int | None, valued("N", "Number of processes that train together; 0 starts paused.", min=0)
    ] = None,
    power_plan: Annotated[
        Path | None, valued("FILE", "CSV file with the number of workers by time of day.")
    ] = None,
    watts: Annotated[
        float | None, valued("W", "Power of one worker in watts, to log energy.", min=0.0)
    ] = None,
) -> None:
    """Train a network and keep its averaged weights.

    The folder of the run gets ema.safetensors (for `foldry fold --weights`), a checkpoint from
    which the same command resumes, and log.jsonl with the losses of every step.

    Example: foldry train run --data DATA -o run --minutes 10
    """
    from dataclasses import replace

    with quick_imports():
        from foldry.dataset.samples import TrainingSet
        from foldry.errors import InputError
        from foldry.kernels.matmul import tuned_process
        from foldry.store.files import check_folder
        from foldry.train import elastic, loop
        from foldry.train.config import choose_stages
        from foldry.train.distributed import join_workers

    check_folder(out)
    runtime = _runtime(device, dtype, recompute)
    if watts is not None and workers is None and not power_plan:
        raise InputError("--watts has no effect alone", "add --workers or --power-plan")
    if tensorboard:
        loop.tensorboard_writer()  # missing: found now, not by one of several workers
    state, config = _network(network, start)
    values = [*(settings or ()), *([f"num_steps={steps}"] if steps else ())]
    stages = choose_stages(config, stage, values, from_weights=start is not None)
    for each in stages if shard else ():
        loop.check_divisible(each)
    if not elastic.is_supervised() and (workers is not None or power_plan):
        most = min(len(stage.micro_batches()) for stage in stages)
        done = replace(_supervisor(out, workers, power_plan, watts, most), minutes=minutes).run()
        show_line("done" if done else _stopped(minutes), err=True)
        return
    log = _ShownLog(stages)
    with tuned_process(KEPT_FOR_GRADIENTS), join_workers(runtime.device, shard=shard) as crew:
        training = TrainingSet(data, features=config.features)
        kept = loop.Run(
            folder=out,
            seed=seed,
            save_every=save_every,
            minutes=None if elastic.is_supervised() else minutes,
            start=state,
            validate_every=validate_every,
            tensorboard=tensorboard,
            runtime=runtime,
            workers=crew,
            watch=log.watch,
            asked_to_stop=lambda: elastic.asked_to_stop(out, crew.size),
        )
        done = loop.train_stages(config, stages, training, kept)
    if elastic.is_supervised() and not done:
        raise typer.Exit(elastic.STOPPED)
    if crew.rank == 0:
        if not log.line:
            show_line("all steps are done already: nothing was trained", err=True)
        elif not done:
            log.show()
            step, name = log.line["step"], log.line["stage"]
            place = f" at step {step} of {log.num_steps[name]} of stage {name}"
            show_line(_stopped(minutes, place), err=True)
        show_line(f"averaged weights: {out / loop.WEIGHTS}", wrap=False, err=True)


class _ShownLog:
    """Shows every 20th line of the log, one per minute, and the last line of each stage."""

    def __init__(self, stages: Sequence[StageConfig]) -> None:
        self.num_steps = {stage.name: stage.num_steps for stage in stages}
        self.line: dict[str, Any] = {}
        self.is_shown, self.time = False, time.monotonic()

    def watch(self, line: dict[str, Any]) -> None:
        """Receive a line."""
        self.line, self.is_shown, step = line, False, line["step"]
        is_due = step % 20 == 0 or time.monotonic() - self.time > SHOWN_SECONDS
        if is_due or step == self.num_steps[line["stage"]]:
            self.show()

    def show(self) -> None:
        """Show the latest line, once."""
        if self.is_shown:
            return
        names = ("stage", "step", "num_samples", "loss", "lddt", "seconds")
        known = [(each, self.line[each]) for each in names]
        shown = [f"{name} {round(v, 3) if isinstance(v, float) else v}" for name, v in known]
        show_line("  ".join(shown), wrap=False, err=True)
        self.is_shown, self.time = True, time.monotonic()


def _stopped(minutes: float | None, place: str = "") -> str:
    return f"stopped after {minutes:g} min{place}: run the same command to continue"


def _network(name: str | None, start: Path | None) -> tuple[dict[str, Tensor] | None, ModelConfig]:
    """Return the weights to start from, if any, and the configuration of the network."""
    from foldry.errors import InputError
    from foldry.model.config import preset
    from foldry.weights.read import load_weights

    if start is not None:
        if name is not None:
            what = "--network has no effect with --start, whose weights determine the network"
            raise InputError(what, "leave out --network")
        weights = load_weights(start)
        return weights.state, weights.config
    try:
        return None, preset(name or "mini")
    except ValueError as error:
        raise InputError(str(error)) from error


def _runtime(device: str, dtype: str | None, recompute: bool) -> Runtime:
    """Return the device, the precision and the memory strategy that the options ask for."""
    import torch

    from foldry.errors import InputError
    from foldry.model.runtime import fastest, find_device
    from foldry.train.distributed import device_of_worker

    place = device_of_worker(find_device(device))
    name = dtype or ("bfloat16" if place.type == "cuda" else "float32")
    if name not in ("float32", "bfloat16"):
        raise InputError(f"--dtype {name} is unknown", "choose float32 or bfloat16")
    kind = getattr(torch, name)
    return fastest(place, dtype=kind, autocast=name == "bfloat16", checkpoint=recompute)


def _supervisor(
    out: Path, workers: int | None, power_plan: Path | None, watts: float | None, most: int
) -> Supervisor:
    """Return the supervisor that runs up to `most` workers, each with this command."""
    import sys

    from foldry.errors import InputError, counted
    from foldry.train.elastic import Supervisor
    from foldry.train.power import Meter, read_plan

    plan = read_plan(power_plan) if power_plan else ()
    wanted = 1 if workers is None else workers
    if max([wanted, *(slot.workers for slot in plan)]) > most:
        advice = "use fewer workers, or --set a smaller micro_batch or a larger batch_size"
        what = f"The micro-batches of a step allow at most {counted(most, 'worker')}"
        raise InputError(what, advice)
    return Supervisor(
        command=(sys.executable, "-m", "foldry", *sys.argv[1:]),
        folder=out,
        workers=wanted,
        max_workers=most,
        meter=Meter(out, watts),
        plan=plan,
    )

"""`foldry train`: train the small network from structures and alignments.

`foldry train --data …` is short for `foldry train run --data …`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from foldry.cli import train_data

if TYPE_CHECKING:
    from torch import Tensor

    from foldry.model.config import ModelConfig
    from foldry.model.runtime import Runtime
    from foldry.train.elastic import Supervisor


class _RunByDefault(TyperGroup):
    """A group whose options, given without a command, are those of `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Prepare data and train a network. Options without a command are those of run: see "
    "foldry train run --help.",
)
for command in (train_data.prepare, train_data.pack, train_data.unpack):
    app.command()(command)


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of packs, as prepare writes it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run, new or begun.")],
    stage: Annotated[
        str | None,
        typer.Option(
            help="fold, main, long or confidence of mini; initial or finetuning of other networks; "
            "or all. Default: all, with --start all but fold."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of each stage.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long.")] = None,
    network: Annotated[str, typer.Option(help="mini, or an official one: model_1_ptm.")] = "mini",
    start: Annotated[
        Path | None,
        typer.Option(help="Weights to start from: Foldry's, official .npz or OpenFold's .pt."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another value of the stages, such as crop_size=128; repeat."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Everything random follows from it.")] = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 200,
    validate_every: Annotated[int, typer.Option(min=0, help="Steps between validations.")] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the log for TensorBoard too.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    dtype: Annotated[
        str | None,
        typer.Option(help="float32 or bfloat16 (the trunk). Default: bfloat16 on a GPU."),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Save memory in the backward pass, at more time.")
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Divide the blocks' parameters among the workers.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that train together; 0 pauses.")
    ] = None,
    power_plan: Annotated[Path | None, typer.Option(help="CSV: workers by the clock.")] = None,
    watts: Annotated[
        float | None, typer.Option(min=0, help="Watts of one worker, to log energy.")
    ] = None,
) -> None:
    """Train a network, mini if none is named, and keep its averaged weights.

    The run's folder gets ema.safetensors (what `foldry fold --weights` reads), a checkpoint from
    which the same command goes on, and log.jsonl with every step's losses.
    """
    from dataclasses import replace

    from rich.console import Console

    from foldry.dataset.samples import TrainingSet
    from foldry.store.files import check_folder
    from foldry.train import elastic, loop
    from foldry.train.config import choose_stages
    from foldry.train.distributed import join_workers

    check_folder(out)
    console = Console(stderr=True)
    runtime = _runtime(device, dtype, recompute)
    state, config = _network(network, start)
    values = [*(settings or ()), *([f"num_steps={steps}"] if steps else ())]
    stages = choose_stages(config, stage, values, from_weights=start is not None)
    if not elastic.is_supervised() and (workers is not None or power_plan):
        most = min(len(stage.micro_batches()) for stage in stages)
        done = replace(_supervisor(out, workers, power_plan, watts, most), minutes=minutes).run()
        console.print("done" if done else "stopped: the same command goes on")
        return
    training = TrainingSet(data, features=config.features)

    steps_taken = 0

    def watch(line: dict[str, object]) -> None:
        nonlocal steps_taken
        steps_taken += 1
        if int(str(line["step"])) % 20 == 0:
            names = ("stage", "step", "num_samples", "loss", "lddt", "seconds")
            console.print("  ".join(f"{name} {line[name]}" for name in names))

    with join_workers(runtime.device, shard=shard) as crew:
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
            watch=watch,
            asked_to_stop=lambda: elastic.asked_to_stop(out, crew.size),
        )
        done = loop.train_stages(config, stages, training, kept)
    if elastic.is_supervised() and not done:
        raise typer.Exit(elastic.STOPPED)
    if crew.rank == 0:
        if not steps_taken:
            console.print("all steps were done before: nothing was trained")
        console.print(f"averaged weights: {out / loop.WEIGHTS}")


def _network(name: str, start: Path | None) -> tuple[dict[str, Tensor] | None, ModelConfig]:
    """The weights to start from, if any, and the network."""
    from foldry.errors import InputError
    from foldry.model.config import preset
    from foldry.weights.read import load_weights

    if start is not None:
        weights = load_weights(start)
        return weights.state, weights.config
    try:
        return None, preset(name)
    except ValueError as error:
        raise InputError(str(error)) from error


def _runtime(device: str, dtype: str | None, recompute: bool) -> Runtime:
    """How the network is run, from what the user asked for."""
    import torch

    from foldry.errors import InputError, MissingError
    from foldry.model.runtime import Runtime
    from foldry.train.distributed import device_of_worker

    try:
        place = device_of_worker(torch.device(device))
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise MissingError(f"There is no --device {device!r} here", "use --device cpu") from error
    name = dtype or ("bfloat16" if place.type == "cuda" else "float32")
    if name not in ("float32", "bfloat16"):
        raise InputError(f"--dtype {name} is unknown", "choose float32 or bfloat16")
    kind = getattr(torch, name)
    return Runtime(place, kind, autocast=name == "bfloat16", checkpoint=recompute)


def _supervisor(
    out: Path, workers: int | None, power_plan: Path | None, watts: float | None, most: int
) -> Supervisor:
    """What keeps at most so many workers running, each of them this command again."""
    import sys

    from foldry.errors import InputError
    from foldry.train.elastic import Supervisor
    from foldry.train.power import Meter, read_plan

    plan = read_plan(power_plan) if power_plan else ()
    wanted = 1 if workers is None else workers
    if max([wanted, *(slot.workers for slot in plan)]) > most:
        advice = "make them smaller with --set micro_batch=1, or ask for fewer workers"
        raise InputError(f"a step has {most} micro-batches and so at most {most} workers", advice)
    return Supervisor(
        command=(sys.executable, "-m", "foldry.cli.main", *sys.argv[1:]),
        folder=out,
        workers=wanted,
        max_workers=most,
        meter=Meter(out, watts),
        plan=plan,
    )

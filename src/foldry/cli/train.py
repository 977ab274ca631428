"""`foldry train`: train the small network from structures and alignments.

`foldry train --data …` is short for `foldry train run --data …`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


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
    help="Prepare data and train the small network; options without a command are those of run.",
)


@app.command()
def run(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of packed structures, alignments and splits.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run; an earlier run in it goes on.")
    ],
    stage: Annotated[
        str, typer.Option(help="bootstrap, main, long or confidence; all runs them in turn.")
    ] = "all",
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Optimiser steps, in place of the stage's own number."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many minutes, at a checkpoint.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights to start from: a .safetensors of ours.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or one of several, such as cuda:0.")
    ] = "cpu",
) -> None:
    """Train mini, the small network, and keep its averaged weights.

    The run's folder gets ema.safetensors (what `foldry fold --weights` reads), a checkpoint from
    which the same command goes on, and log.jsonl with every step's losses.
    """
    import time
    from dataclasses import replace

    import torch
    from rich.console import Console

    from foldry.errors import InputError
    from foldry.model.config import preset
    from foldry.model.runtime import Runtime
    from foldry.model.weights import load
    from foldry.train import loop
    from foldry.train.config import mini_stages
    from foldry.train.data import TrainingSet

    stages = {known.name: known for known in mini_stages()}
    if stage != "all" and stage not in stages:
        raise InputError(f"there is no stage {stage!r}: choose {', '.join(stages)} or all.")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"there is no --device {device!r} here: use --device cpu.") from error
    state = config = None
    if start is not None:
        state, config, _ = load(start)
    console = Console(stderr=True)
    training = TrainingSet(data)

    def watch(line: dict[str, object]) -> None:
        if int(str(line["step"])) % 20 == 0:
            names = ("stage", "step", "num_samples", "loss", "lddt", "seconds")
            console.print("  ".join(f"{name} {line[name]}" for name in names))

    started = time.monotonic()
    for chosen in stages.values() if stage == "all" else [stages[stage]]:
        left = None if minutes is None else minutes - (time.monotonic() - started) / 60
        if left is not None and left <= 0:
            break
        plan = chosen if steps is None else replace(chosen, num_steps=steps)
        kept = loop.Run(folder=out, seed=seed, minutes=left, start=state)
        loop.train(
            config or preset("mini"),
            plan,
            training,
            kept,
            Runtime(device=torch.device(device)),
            watch,
        )
    console.print(f"averaged weights: {out / loop.WEIGHTS}")

"""`foldry screen`: proteins and a table of them → predictions of pairs, and a table of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from foldry.cli.fold import (
    Device,
    Dropout,
    DType,
    Ensemble,
    Force,
    MaxLength,
    MaxMSA,
    Models,
    NumRecycles,
    Out,
    Pairing,
    RecycleTolerance,
    Seeds,
    parse_max_msa,
    parse_models,
    parse_seeds,
    progress_bar,
)
from foldry.cli.messages import exit_code, sentence
from foldry.errors import InputError
from foldry.store.files import check_folder

if TYPE_CHECKING:
    from foldry.inputs.pairs import Pair
    from foldry.results.screen import ScreenRow

SHOWN: Final = 10

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="A CSV file of pairs or proteins, and files or folders of proteins as of fold.",
    ),
]
Weights = Annotated[
    str, typer.Option(metavar="WHICH", help="A file or folder of multimer parameters.")
]
Bait = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Fold this protein with each other one; may be repeated."),
]
All = Annotated[bool, typer.Option("--all", help="Fold each protein with each other one.")]


def screen(
    inputs: Inputs,
    out: Out,
    weights: Weights,
    bait: Bait = None,
    every: All = False,
    models: Models = None,
    seeds: Seeds = None,
    pairing: Pairing = "alphafold",
    max_msa: MaxMSA = None,
    max_length: MaxLength = 5000,
    num_recycles: NumRecycles = None,
    recycle_tolerance: RecycleTolerance = None,
    ensemble: Ensemble = None,
    dropout: Dropout = False,
    device: Device = "auto",
    dtype: DType = "float32",
    force: Force = False,
) -> None:
    """Predict many pairs of proteins and rank them in a table.

    All input is checked before anything is computed. Running the same command again resumes.
    """
    from foldry.inputs.pairs import read_screen
    from foldry.predict import runner
    from foldry.predict.remarks import warn_of_single_sequences, warn_of_unused_pairing
    from foldry.predict.screen import run_screen
    from foldry.predict.settings import Settings

    settings = Settings(
        weights=weights,
        models=parse_models(models),
        num_recycles=num_recycles,
        recycle_tolerance=recycle_tolerance,
        seeds=parse_seeds(seeds),
        max_msa=parse_max_msa(max_msa),
        pairing=pairing,  # type: ignore[arg-type]
        dropout=dropout,
        num_ensemble=ensemble,
        device=device,
        dtype=dtype,
        force=force,
    )
    if bait and every:
        raise InputError("--bait and --all are two choices of pairs", "give one of them")
    pairs = read_screen(inputs, bait or (), every=every)
    _check_places(out, pairs)
    _check_lengths(pairs, max_length)
    runner.runtime(settings)
    runner.networks_for(pairs[0].query, settings)
    queries = [pair.query for pair in pairs]
    warn_of_single_sequences(queries)
    warn_of_unused_pairing(queries, settings.pairing)
    with progress_bar() as progress:
        rows = run_screen(pairs, out, settings, progress, sentence)
    _show(rows, out)
    if code := exit_code(row.error for row in rows):
        raise typer.Exit(code)


def _check_places(out: Path, pairs: Sequence[Pair]) -> None:
    """Make sure that the folders of the pairs and the tables can be written."""
    from foldry.results.screen import FOLDER, PAGE, TABLE

    for pair in pairs:
        check_folder(out / FOLDER / pair.query.name)
    for path in (out / TABLE, out / PAGE):
        if path.is_dir():
            raise InputError("is a folder in the way of a table", "name another `out`", where=path)


def _check_lengths(pairs: Sequence[Pair], max_length: int) -> None:
    for pair in pairs:
        if pair.query.num_residues > max_length:
            raise InputError(
                f"has {pair.query.num_residues} residues and the limit is {max_length}",
                "leave the pair out, or raise --max-length if the memory allows",
                where=f"{pair.place.rstrip(',')}, pair {pair.query.name}",
            )


def _show(rows: Sequence[ScreenRow], out: Path) -> None:
    """The best pairs, those that failed, and where all of them are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from foldry.results.screen import MEASURES, PAGE, TABLE, best_first

    table = Table(box=None)
    keys = ("iptm", "ptm", "ipsae", "pdockq2", "lis", "has_clash")
    shown = [each for each in MEASURES if each.key in keys]
    for title in ("pair", *(each.title for each in shown)):
        table.add_column(title, overflow="fold")
    done = [row for row in best_first(rows) if row.state == "done"]
    for row in done[:SHOWN]:
        table.add_row(Text(row.name), *(each.text(row.number(each)) for each in shown))
    console = Console()
    if done:
        console.print(table)
    for row in rows:
        if row.state == "failed":
            console.print(Text(f"{row.name} failed: {row.reason}"))
    console.print(Text(f"{len(done)} of {len(rows)} pairs are in {out / TABLE} and {out / PAGE}"))

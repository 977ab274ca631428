"""`foldry screen`: predict pairs of proteins and rank them in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from foldry.cli.fold import (
    Db,
    Jobs,
    MaxDate,
    MaxLength,
    NoTemplates,
    Out,
    OutsidePaths,
    Recipe,
    check_lengths,
    chosen_search,
    finds_rows,
    in_database,
    remark_on_databases,
)
from foldry.cli.messages import exit_code, sentence
from foldry.cli.options import takes_settings, valued
from foldry.cli.show import progress_bar, show_line, show_table
from foldry.errors import InputError
from foldry.predict.settings import Settings
from foldry.processes.tuning import quick_imports

if TYPE_CHECKING:
    from foldry.inputs.pairs import Pair
    from foldry.results.screen import ScreenRow

SHOWN: Final = 10
NOT_HERE: Final = (
    *("save_representations", "relax", "relax_platform", "relax_rounds", "relax_seconds"),
)
"""Settings that `foldry screen` does not have."""

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="A CSV file of pairs or proteins; files or folders of proteins, as for fold.",
    ),
]
Bait = Annotated[
    list[str] | None, valued("NAME", "Fold this protein with every other; may be repeated.")
]
All = Annotated[bool, typer.Option("--all", help="Fold every protein with every other.")]


@takes_settings(
    leave_out=NOT_HERE,
    required={"weights": "File or folder of AlphaFold-Multimer parameters."},
    defaults={
        "models": "the newest multimer networks",
        "num_recycles": "20",
        "recycle_tolerance": "0.5",
    },
)
def screen(
    inputs: Inputs,
    out: Out,
    settings: Settings,
    bait: Bait = None,
    every: All = False,
    search: Recipe = None,
    no_search_templates: NoTemplates = False,
    max_template_date: MaxDate = None,
    max_length: MaxLength = 5000,
    jobs: Jobs = None,
    allow_outside_paths: OutsidePaths = False,
    db: Db = None,
) -> None:
    """Predict many pairs of proteins and rank them in a table.

    All input is checked before anything is computed. Running the same command again resumes.
    Example: foldry screen pairs.csv --weights weights -o out
    """
    with quick_imports():
        from foldry.inputs.pairs import read_screen
        from foldry.inputs.structures import names_structure
        from foldry.kernels.matmul import tuned_process
        from foldry.predict import remarks
        from foldry.predict.network import networks_for, runtime
        from foldry.predict.screen import run_screen
        from foldry.predict.workers import automatic_jobs, worker_processes
        from foldry.results.screen import FOLDER
        from foldry.store.files import check_exist, check_folder

    if bait and every:
        raise InputError("--bait and --all exclude each other", "give one of them")
    for path in filter(names_structure, map(str, inputs)):
        raise InputError("is a structure, not a query", "give its sequence as FASTA", where=path)
    check_folder(out)
    check_exist(inputs)
    pairs = read_screen(inputs, bait or (), every=every, allow_outside_paths=allow_outside_paths)
    _check_places(out, pairs)
    places = ((each.query, f"{each.place.rstrip(',')}, pair {each.query.name}") for each in pairs)
    check_lengths(places, max_length)
    published = in_database(db, out / FOLDER)
    runtime(settings)
    try:
        networks = networks_for(pairs[0].query, settings)
    except InputError as error:
        if error.code != "multimer_weights":
            raise
        what, advice = "is for single chains, but a screen folds pairs", "choose other `weights`"
        raise InputError(what, advice, where=settings.weights, code=error.code) from None
    queries = [pair.query for pair in pairs]
    found = chosen_search(search, queries, not no_search_templates, max_template_date)
    remark_on_databases(search, found, queries)
    remarks.warn(queries, settings, networks, are_searched=finds_rows(found))
    jobs = min(jobs or automatic_jobs(queries, settings), len(queries))
    with worker_processes(jobs) as workers, progress_bar() as progress, tuned_process():
        rows = run_screen(pairs, out, settings, progress, sentence, workers, found, published)
    _show(rows, out)
    if code := exit_code(row.error for row in rows):
        raise typer.Exit(code)


def _check_places(out: Path, pairs: Sequence[Pair]) -> None:
    """Check that the folders of the pairs and the tables can be written."""
    from foldry.results.screen import FOLDER, PAGE, TABLE, VIEWER
    from foldry.store.files import check_folder

    for pair in pairs:
        check_folder(out / FOLDER / pair.query.name)
    for path in (out / TABLE, out / PAGE, out / VIEWER):
        if path.is_dir():
            raise InputError(
                "is a folder, but a file must be written there", "name another `out`", where=path
            )


def _show(rows: Sequence[ScreenRow], out: Path) -> None:
    """Print the best pairs, those that failed, and the files that list all of them."""
    from foldry.measures import MEASURES
    from foldry.results.screen import PAGE, TABLE, best_first

    keys = ("iptm", "ptm", "ipsae", "pdockq2", "lis", "has_clash", "paired_rows")
    done = [row for row in best_first(rows) if row.state == "done"]
    again = sum(not row.is_new for row in done)
    if done:
        cells = [
            [
                row.name,
                "done" if row.is_new else "already done",
                *(MEASURES[key].text(row.numbers.get(key)) for key in keys),
            ]
            for row in done[:SHOWN]
        ]
        show_table(["pair", "state", *(MEASURES[key].name for key in keys)], cells)
    for row in rows:
        if row.state == "failed":
            show_line(f"{row.name} failed: {row.reason}")
    count = f"{len(done)} of {len(rows)}" + (f", {again} already done" if again else "")
    show_line(f"Pairs in {out / TABLE} and {out / PAGE}: {count}")

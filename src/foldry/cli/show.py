"""Printed output: tables, lines and a progress bar, all without control characters."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING

import typer

from foldry.errors import printable

if TYPE_CHECKING:
    from foldry.predict.runner import Progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show the current step and its progress on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    text = TextColumn("{task.description}", markup=False)
    columns = text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", visible=False)

        def show(what: str, finished: int, total: int) -> None:
            shown = printable(what)
            bar.update(task, description=shown, completed=finished, total=total, visible=True)

        yield show


@contextmanager
def byte_progress() -> Iterator[Callable[[int, int], None]]:
    """Show how much of a file has arrived on standard error, if that is a terminal."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    disable = not console.is_terminal
    with progress.Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("", visible=False)
        yield lambda here, whole: bar.update(task, completed=here, total=whole, visible=True)


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of plain text; only a terminal wraps its cells."""
    lines = [[printable(cell) for cell in row] for row in (titles, *rows)]
    if not sys.stdout.isatty():  # Rich takes a while to load
        _print_columns(lines)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for title in lines[0]:
        table.add_column(Text(title), overflow="fold")
    for row in lines[1:]:
        table.add_row(*map(Text, row))
    Console().print(table)


def _print_columns(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of cells as Rich prints a table that is not wrapped."""
    from rich.cells import cell_len

    columns = list(zip_longest(*lines, fillvalue=""))
    widths = [max(map(cell_len, column)) for column in columns]
    for cells in zip(*columns, strict=True):
        padded = (
            cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)
        )
        typer.echo(" " + "  ".join(padded) + " ")


def show_line(text: str, *, wrap: bool = True, err: bool = False) -> None:
    """Print a line of plain text; a terminal wraps it at words if `wrap` is set."""
    if not (wrap and (sys.stderr if err else sys.stdout).isatty()):
        typer.echo(printable(text), err=err)
        return
    from rich.console import Console
    from rich.text import Text

    Console(stderr=err).print(Text(printable(text)))

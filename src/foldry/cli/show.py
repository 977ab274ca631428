"""Printed output: tables, lines and a progress bar, all without control characters."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import zip_longest
from typing import TYPE_CHECKING

import typer

from foldry.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from foldry.predict.runner import Progress

_BAR: ContextVar[Bar | None] = ContextVar("bar", default=None)
"""The bar that is shown; lines are printed above it."""

_WRAPPED = 16
"""Width to which cells of a table may be wrapped rather than left out."""


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show the current step and its progress on standard error, if that is a terminal.

    A total of 0 stands for an unknown one.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    text = TextColumn("{task.description}", markup=False)
    columns = text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", visible=False, total=None)

        def show(what: str, finished: int, total: int) -> None:
            shown = printable(what)
            bar.update(task, description=shown, completed=finished, total=total or None)
            bar.update(task, visible=True)

        before = _BAR.set(None if bar.disable else bar)
        try:
            yield show
        finally:
            _BAR.reset(before)


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


def show_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], least: Sequence[str] = ()
) -> None:
    """Print a table of plain text; only a terminal wraps its cells.

    Args:
        titles: Titles of the columns.
        rows: The other lines.
        least: Columns that a terminal may leave out, the least important first. If there are some,
            the first column is never wrapped.
    """
    lines = [[printable(cell) for cell in row] for row in (titles, *rows)]
    if not sys.stdout.isatty():  # Rich takes a while to load
        _print_columns(lines)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, table = Console(), Table(box=None)
    titles, *rest = _fitting(lines, least, console.width)
    for number, title in enumerate(titles):
        table.add_column(Text(title), overflow="fold", no_wrap=bool(least) and number == 0)
    for row in rest:
        table.add_row(*map(Text, row))
    console.print(table)


def _fitting(
    lines: Sequence[Sequence[str]], least: Sequence[str], width: int
) -> list[Sequence[str]]:
    """Return lines of cells without the columns of `least` for which there is no space."""
    from rich.cells import cell_len

    columns = list(zip(*lines, strict=True))
    for title in least:
        first, *others = (max(map(cell_len, column)) for column in columns)
        if first + sum(min(each, _WRAPPED) for each in others) + 2 * len(columns) <= width:
            break
        columns = [column for column in columns if column[0] != title]
    return list(zip(*columns, strict=True))


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
    if (bar := _BAR.get()) is not None:
        bar.stop()
    _print_line(text, wrap, err)
    if bar is not None:
        bar.start()


def _print_line(text: str, wrap: bool, err: bool) -> None:
    if not (wrap and (sys.stderr if err else sys.stdout).isatty()):
        typer.echo(printable(text), err=err)
        return
    from rich.console import Console
    from rich.text import Text

    Console(stderr=err).print(Text(printable(text)))

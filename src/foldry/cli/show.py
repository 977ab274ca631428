"""Printed output: tables, lines and a progress bar, all without control characters."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from foldry.errors import printable

if TYPE_CHECKING:
    from foldry.predict.runner import Progress

_UNWRAPPED: Final = 10_000
"""Width of a table that is not printed on a terminal."""


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


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of plain text; only a terminal wraps its cells."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for title in titles:
        table.add_column(Text(printable(title)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _UNWRAPPED).print(table)


def show_line(text: str, *, wrap: bool = True, err: bool = False) -> None:
    """Print a line of plain text; a terminal wraps it at words if `wrap` is set."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=err)
    console.print(Text(printable(text)), soft_wrap=not (wrap and console.is_terminal))

"""What commands print: tables, lines and a progress bar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foldry.predict.runner import Progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A line on standard error that says what is being done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    text = TextColumn("{task.description}", markup=False)
    columns = text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", visible=False)

        def show(what: str, finished: int, total: int) -> None:
            bar.update(task, description=what, completed=finished, total=total, visible=True)

        yield show


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose cells are plain text."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def show_line(text: str, *, wrap: bool = True) -> None:
    """Print a line of plain text, wrapped to the terminal's width if wished."""
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(text), soft_wrap=not wrap)

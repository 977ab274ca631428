"""Printed tables and lines, with Rich's own output as the oracle."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foldry.cli.show import show_line, show_table

TITLES = ["score", "", "unit"]
ROWS = [["lDDT", "0.731", "Å"], ["RMSD Cα", ""], ["日本 é", "many words " * 30, "🙂"], []]


def by_rich(item: Table | Text) -> str:
    """Return what Rich prints into a file, without wrapping."""
    console = Console(file=io.StringIO(), width=10_000)
    console.print(item, soft_wrap=isinstance(item, Text))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_in_a_file_is_as_rich_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(*TITLES, box=None)
    for row in ROWS:
        table.add_row(*map(Text, row))
    show_table(TITLES, ROWS)
    assert capsys.readouterr().out == by_rich(table)


@pytest.mark.parametrize("wrap", [True, False])
def test_a_line_in_a_file_is_as_rich_prints_it(
    wrap: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    show_line("日本: many words " * 30, wrap=wrap)
    show_line("Å", wrap=wrap, err=True)
    said = capsys.readouterr()
    assert said.out == by_rich(Text("日本: many words " * 30))
    assert said.err == by_rich(Text("Å"))


def test_a_terminal_wraps_the_cells_of_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    show_table(["title"], [["many words " * 20]])
    show_line("many words " * 20)
    shown = terminal.getvalue()
    assert max(map(len, shown.splitlines())) <= 80  # of a dumb terminal
    assert shown.count("many") == 40


def test_scores_of_files_load_no_writers_of_results() -> None:
    argv = ["foldry", "score", "examples/kunitz/1adz.cif", "examples/kunitz/1adz.cif"]
    program = (
        f"import sys\nsys.argv = {argv}\nfrom foldry.cli.main import main\nassert main() == 0\n"
        "print(*{'rich.console', 'modelcif', 'foldry.results.folder'} & set(sys.modules),"
        " file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "TM-score" in done.stdout
    assert done.stderr.split() == []

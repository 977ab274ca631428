"""Printed tables and lines, with Rich's own output as the oracle."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foldry.cli.show import progress_bar, show_line, show_table

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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_narrow_terminal_leaves_out_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """First those that matter least; others wrap, and the first one never does."""
    monkeypatch.setenv("TERM", "xterm")
    titles = ["id", "version", "name", "TM"]
    rows = [["AF-1234567000000001", "1", "a long name of a protein " * 2, "0.51"]]
    for width, left_out in ((54, set()), (53, {"version"}), (44, {"version", "TM"})):
        monkeypatch.setenv("COLUMNS", str(width))
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        show_table(titles, rows, ["version", "TM"])
        plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
        lines = [line.split() for line in plain.splitlines()]
        assert {*titles} - {*lines[0]} == left_out
        assert lines[1][0] == rows[0][0]


def test_lines_are_printed_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar of unknown length; the line does not begin where the bar has ended."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar() as progress:
        progress("predictions", 3, 0)
        show_line("a line", wrap=False, err=True)
    shown = terminal.getvalue()
    assert "3/?" in re.sub(r"\x1b\[[\d;]*m", "", shown)
    before, _, after = shown.partition("a line\n")
    assert re.search(r"predictions.*\n.*\x1b\[2K\Z", before, re.DOTALL)
    assert "predictions" in after


def test_a_terminal_wraps_the_cells_of_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
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

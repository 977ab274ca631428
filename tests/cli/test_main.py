"""What a user sees of the command line itself."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

import foldry
from foldry.cli import fold
from foldry.cli.main import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A good query in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Path("q.fasta").write_text(">q\nMKTAYIAKQR\n")
    return "q.fasta"


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"foldry {foldry.__version__}\n"


def test_help_of_fold_fits_a_screen(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["fold", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("arguments", [[], ["weights"]])
def test_help_without_arguments(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    assert "Commands:\n" in capsys.readouterr().out


def fail(*_: object) -> None:
    raise RuntimeError("first line\nsecond \x1b[2J line")


def test_a_fault_is_one_line_and_its_traceback_a_file(
    query: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "read_input", fail)
    assert main(["fold", query, "-o", "out"]) == 70
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    log = re.search(r"traceback in (\S+\.log)\.$", err)
    assert log is not None
    assert "RuntimeError: first line" in Path(log[1]).read_text()


def test_debug_shows_the_traceback(
    query: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "read_input", fail)
    assert main(["--debug", "fold", query, "-o", "out"]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    assert sorted(Path().iterdir()) == [Path(query)]
    monkeypatch.setenv("FOLDRY_DEBUG", "1")
    assert main(["fold", query, "-o", "out"]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_interrupted(query: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fold, "read_input", interrupt)
    assert main(["fold", query, "-o", "out"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_a_terminal_without_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(written, "latin-1", write_through=True))
    assert main(["fold", "日.fasta", "-o", "out"]) == 2
    assert written.getvalue().startswith(b"?.fasta does not exist")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fold", "q.fasta", "-o"],
        ["fold", "q.fasta", "--seeds"],
        ["score", "--batch", "b.csv", "--out"],
        ["weights", "get", "--tar"],
        ["train", "--data"],
        ["flod"],
        ["fold", "--foo"],
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith("--help`.\n")
    assert "?:" not in said

"""Help, errors and exit codes of the command line."""

from __future__ import annotations

import io
import logging
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import foldry
from foldry.cli import fold
from foldry.cli.main import application, main
from foldry.cli.messages import as_flags
from foldry.cli.show import show_line, show_table
from foldry.errors import BROKEN_PIPE, InputError

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


def every_command() -> list[list[str]]:
    """The words of each command, groups and `foldry` itself included."""

    def below(command: Any, words: list[str]) -> Iterator[list[str]]:
        yield words
        for name, each in getattr(command, "commands", {}).items():
            yield from below(each, [*words, name])

    return list(below(typer.main.get_command(application()), []))


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_help_fits_a_terminal_and_names_values_in_capitals(
    words: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 60
    assert not re.search(r"<|[<>]=|\.0\]", text), "a type or a formula of Python"
    assert not re.search(r"(?m)^Usage:.*[\[{][a-z]", text)
    assert "..." not in text.partition("Commands:")[2], "a command's first sentence is cut off"
    assert "completion" not in text, "an option about the shell, not about proteins"


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
    for words in (["--debug", "fold"], ["fold", "--debug"]):
        assert main([*words, query, "-o", "out"]) == 70
        err = capsys.readouterr().err
        assert "Traceback (most recent call last)" in err
        assert all(line.isprintable() for line in err.splitlines())
    assert sorted(Path().iterdir()) == [Path(query)]
    monkeypatch.setenv("FOLDRY_DEBUG", "1")
    assert main(["fold", query, "-o", "out"]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fold"], "continue from what was saved"),
        (["relax", "a", "-o", "b"], "nothing was written"),
        (["score"], "nothing was written"),
        (["weights", "get"], "continue from what was saved"),
        (["db", "import", "lab.db", "a"], "continue from what was saved"),
        (["db", "list", "lab.db"], "nothing was written"),
        (["train", "pack"], "Interrupted."),
    ],
)
def test_an_interrupted_command_says_whether_it_resumes(
    words: list[str], said: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldry.cli.main._command", lambda _: lambda *_, **__: 130)
    assert main(words) == 130
    assert said in capsys.readouterr().err


def test_python_runs_the_package() -> None:
    for module in ("foldry", "foldry.cli.main"):
        command = [sys.executable, "-m", module, "--version"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        assert shown.stdout == f"foldry {foldry.__version__}\n"


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ((), "start anew; nothing was saved"),
        (("log.jsonl", ".lock", "workers"), "start anew; nothing was saved"),
        (("log.jsonl", "checkpoint.safetensors"), "continue from what was saved"),
        (("q/.unranked/mini_pred_0.npz",), "continue from what was saved"),
    ],
)
def test_an_interrupted_command_says_whether_something_was_saved(
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    saved: tuple[str, ...],
    said: str,
) -> None:
    for path in (tmp_path / name for name in saved):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr("foldry.cli.main._command", lambda _: lambda *_, **__: 130)
    for words in (["train", "--data", "d", "-o"], ["fold", "q", "--out"]):
        assert main([*words, str(tmp_path)]) == 130
        assert said in capsys.readouterr().err


def test_interrupted(query: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fold, "read_input", interrupt)
    assert main(["fold", query, "-o", "out"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_that_a_library_turns_into_its_own_error(
    query: str, number: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored from the start

    def swallow(*_: object) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        raise InputError("is damaged", "get it again", where="tiny.safetensors")

    monkeypatch.setattr(fold, "read_input", swallow)
    try:
        assert main(["fold", query, "-o", "out"]) == 130
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert capsys.readouterr().err.startswith("Interrupted: run the same command again")


@pytest.mark.parametrize(("end", "code"), [(1, BROKEN_PIPE), (3, 3), (None, 0)])
def test_the_code_of_a_program_that_exits(
    query: str, end: int | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(end)

    monkeypatch.setattr(fold, "read_input", leave)
    assert main(["fold", query, "-o", "out"]) == code


def test_a_terminal_that_cannot_show_all_letters(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("fold q.fasta -o out --num-recycles abc", "--num-recycles is 'abc': give a whole number "),
        ("fold q.fasta -o out --max-length 0", "--max-length is '0': give a whole number of 1 or"),
        ("fold q.fasta -o out --seeds 2-0", "--seeds is '2-0': the first number of a range must "),
        ("score a b --jobs 0", "--jobs is '0': give a whole number of 1 or more."),
        ("train --data x --minutes abc", "--minutes is 'abc': give a finite number of 0 or more."),
        ("fold - -o out", "Foldry does not read standard input: give a file."),
        ("fold /dev/stdin -o out", "Foldry does not read standard input: give a file."),
        ("fold '' -o out", "fold is followed by an empty name: give one."),
        ("fold --weigths x", "No such option: --weigths (did you mean --weights?): see `foldry "),
        ("fold --foo x", "No such option: --foo: see `foldry fold --help`."),
        ("score a b --plot", "Option '--plot' requires an argument: see `foldry score --help`."),
        (
            "train run --data",
            "Option '--data' requires an argument: see `foldry train run --help`.",
        ),
        ("flod x", "No such command 'flod' (did you mean 'fold'?): see `foldry --help`."),
        ("relax folder -o b.pdb", "folder is not a folder of one query's results: give "),
        (
            "fold a.fa b.fa --templates c.cif:A d.cif -o out",
            "4 files do not exist: check the paths a.fa, b.fa, c.",
        ),
        ("screen a.csv b.fa --weights w -o out", "2 files do not exist: check the paths a.csv"),
        ("score a.cif:A b.pdb --pae c.json", "3 files do not exist: check the paths a.cif, b.pdb"),
        ("fold folder -o out", "is a folder without a FASTA, a3m, Stockholm or JSON file: check"),
        ("score a --batch b.csv", "--batch takes its pairs from a CSV file: leave out MODEL."),
        ("score --json --batch b.csv", "--batch writes all scores to a CSV file: leave out --json"),
    ],
)
@pytest.mark.usefixtures("query")
def test_wrong_values_are_named_with_what_to_give(
    words: str, sentence: str, capsys: Capture
) -> None:
    Path("folder").mkdir()
    before = sorted(Path().iterdir())
    assert main(shlex.split(words)) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_no_output_carries_control_characters(
    query: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "A\x1b[2J\x9b\u202eB\nC"

    def say(*_: object) -> None:
        logging.getLogger("foldry.test").warning("of %s", evil)
        show_table([evil], [[evil]])
        show_line(evil)
        show_line(evil, wrap=False, err=True)
        raise InputError(evil, evil, where=evil)

    monkeypatch.setattr(fold, "read_input", say)
    assert main(["fold", query, "-o", "out"]) == 2
    said = capsys.readouterr()
    lines = [*said.out.splitlines(), *said.err.splitlines()]
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)
    assert sum("B" in line for line in lines) == 6


def test_settings_are_shown_as_flags() -> None:
    assert as_flags("Set `max_length`, not `A`.") == "Set --max-length, not `A`."
    assert (
        as_flags("`out` (`device`): `a`b`c`d `weights`?") == "--out (--device): `a`b`c`d `weights`?"
    )
    odd = ("--ensemble", "--rows", "--set min_plddt=")
    assert as_flags("`num_ensemble` `max_rows` `min_plddt`") == " ".join(odd)


def test_only_a_terminal_wraps(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    words = "many words " * 20
    show_table(["title"], [[words.strip()]])
    show_line(words)
    assert len(capsys.readouterr().out.splitlines()) == 3


FOLDERS = {
    "fold": "fold q.fasta",
    "screen": "screen pairs.csv --weights mini",
    "train run": "train run --data data",
    "train prepare": "train prepare data data",
    "train pack": "train pack data",
    "train unpack": "train unpack data",
}
FILES = {"relax": "relax a.pdb", "score": "score --batch pairs.csv"}


@pytest.mark.parametrize("out", ["", " ", "a.pdb", "a.pdb/out"])
@pytest.mark.parametrize("words", FOLDERS.values(), ids=FOLDERS)
@pytest.mark.usefixtures("query")
def test_a_folder_of_results_is_not_a_file(words: str, out: str, capsys: Capture) -> None:
    assert_refused(words, out, capsys)


@pytest.mark.parametrize("out", ["", " ", "data", "a.pdb/out.pdb", "missing/out.pdb"])
@pytest.mark.parametrize("words", FILES.values(), ids=FILES)
@pytest.mark.usefixtures("query")
def test_a_file_of_results_is_not_a_folder(words: str, out: str, capsys: Capture) -> None:
    assert_refused(words, out, capsys)


def assert_refused(words: str, out: str, capsys: Capture) -> None:
    """A command names its unusable output in one sentence and writes nothing."""
    Path("data").mkdir()
    for name in ("a.pdb", "pairs.csv"):
        Path(name).write_text("model,reference\na.pdb,a.pdb\n")
    before = sorted(Path().rglob("*"))
    assert main([*words.split(), "-o", out]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.endswith((".\n", "--help`.\n"))
    assert (out.strip() or "--out") in err or "a.pdb is a file" in err
    assert sorted(Path().rglob("*")) == before

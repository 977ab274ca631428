"""A batch continues after any failure and leaves a complete file or none."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foldry.assess import batch
from foldry.assess.assess import ScoreSettings
from foldry.assess.batch import Pair, Row, read_pairs, save_rows, score_pairs, write_rows
from foldry.assess.table import NUMBERS
from foldry.errors import DiskFullError, InputError
from foldry.formats.coordinates import to_pdb
from foldry.formats.table import safe_cell
from tests.score.test_match import chain

SETTINGS = ScoreSettings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three structures of increasing length, and a file that is not a structure."""
    for length in (4, 8, 12):
        (tmp_path / f"{length}.pdb").write_text(to_pdb(chain("ACDEFGHIKLMN"[:length])))
    (tmp_path / "letter.pdb").write_text("Dear Sir or Madam,\n")
    return tmp_path


def pairs_file(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_table(folder: Path) -> None:
    text = "\ufeffreference , model,name\r\n12.pdb,4.pdb,one\r\n\r\n 12.pdb ,8.pdb,\r\n"
    pairs = read_pairs(pairs_file(folder, text))
    assert pairs == [
        Pair("one", "4.pdb", "12.pdb", folder),
        Pair("8.pdb", "8.pdb", "12.pdb", folder),
    ]
    rows = list(score_pairs(pairs, SETTINGS, 1))
    assert [row.error for row in rows] == ["", ""]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "columns"),
        ("model\na.pdb\n", "columns"),
        ("model,reference,model\na,b,c\n", "columns"),
        ("model,reference\n", "no pair"),
        ("model,reference\na.pdb,b.pdb,c.pdb\n", "line 2"),
        ('model,reference\n"a.pdb,b.pdb\n', "not a valid table"),
        ("model,reference\n" + "a" * 200_000 + ",b\n", "not a valid table"),
        ("model\0,reference\n", "binary"),
    ],
)
def test_a_file_that_is_not_a_table(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_pairs(pairs_file(tmp_path, text))
    assert "pairs.csv" in str(caught.value)


def test_a_row_without_a_file_does_not_stop_the_others(folder: Path) -> None:
    text = f"model,reference\n4.pdb,\n,4.pdb\n4.pdb\n{'a' * 300},8.pdb\n8.pdb,8.pdb\n"
    rows = list(score_pairs(read_pairs(pairs_file(folder, text)), SETTINGS, 1))
    lacking = [row.error.startswith("This row lacks") for row in rows]
    assert lacking == [True, True, True, False, False]
    assert rows[3].error.endswith("cannot be used (File name too long): check the path.")
    assert rows[4].error == ""


def names(folder: Path) -> list[Pair]:
    """Good and bad pairs in turn."""
    found = ["4.pdb", "letter.pdb", "8.pdb", "missing.pdb", "12.pdb", "4.pdb:Z", ".", "12.pdb"]
    return [Pair(name, name, "12.pdb", folder) for name in found]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_rows_in_order_and_failures_in_their_places(folder: Path, num_processes: int) -> None:
    rows = list(score_pairs(names(folder), SETTINGS, num_processes))
    assert [row.pair for row in rows] == names(folder)
    matched = [row.values[batch.COLUMNS.index("num_matched") - 3] for row in rows]
    assert matched == [4, None, 8, None, 12, None, None, 12]
    for row in rows:
        assert (row.error == "") == (row.values[0] is not None)
        assert not row.error or row.error.endswith(".")


def test_an_internal_error_is_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("first line\nsecond")

    monkeypatch.setattr(batch, "assess_files", fail)
    (row,) = score_pairs(names(folder)[:1], SETTINGS, 1)
    assert "RuntimeError: first line second" in row.error


def test_the_environment_is_unchanged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(os.environ)
    for row in score_pairs(names(folder)[:2], SETTINGS, 2):
        assert dict(os.environ) == before, row


KILLER = """
import os, signal, sys
from pathlib import Path
from foldry.assess import batch
from foldry.assess.assess import ScoreSettings

assess_files = batch.assess_files

def killed(model, *rest):
    if model.endswith("8.pdb"):
        os.kill(os.getpid(), signal.SIGKILL)
    return assess_files(model, *rest)

batch.assess_files = killed  # in the processes too: they import this program

if __name__ == "__main__":
    pairs = [batch.Pair(n, n, "12.pdb", Path(sys.argv[1])) for n in ("4.pdb", "8.pdb") * 2]
    for row in batch.score_pairs(pairs, ScoreSettings(), 2):
        sys.stdout.write(f"{row.pair.name} {row.error[:30]}\\n")
"""


@pytest.mark.slow
def test_a_killed_process_fails_only_its_pair(folder: Path) -> None:
    program = folder / "program.py"
    program.write_text(KILLER)
    command = [sys.executable, str(program), str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    ended = "8.pdb Its process was killed, probab"
    assert shown.stdout.splitlines() == ["4.pdb ", ended, "4.pdb ", ended]


def rows_then(error: BaseException) -> Iterator[Row]:
    yield Row(Pair("a", "a", "b"), (None,) * len(NUMBERS))
    raise error


@pytest.mark.parametrize(
    ("error", "raised"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), DiskFullError)],
)
def test_an_interrupted_batch_leaves_the_old_file(
    tmp_path: Path, error: BaseException, raised: type[BaseException]
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("old")
    with pytest.raises(raised):
        save_rows(rows_then(error), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_the_file(folder: Path) -> None:
    path = folder / "scores.csv"
    odd = Pair('a,"b"\n=c', "4.pdb", "12.pdb", folder)
    failed = save_rows(score_pairs([odd, *names(folder)], SETTINGS, 1), path)
    assert failed == 4
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == batch.COLUMNS
    assert [row["name"] for row in table] == [r'a,"b"\n=c', *(pair.name for pair in names(folder))]
    assert table[0]["num_matched"] == "4"
    assert float(table[5]["tm_score"]) == 1
    assert table[2]["tm_score"] == ""
    assert "not a PDB, mmCIF" in table[2]["error"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a\x1b[2J"])
def test_text_is_not_a_formula_and_numbers_stay_numbers(text: str) -> None:
    file = io.StringIO(newline="")
    values = (-0.5, *(None,) * (len(NUMBERS) - 1))
    write_rows([Row(Pair(text, text, text), values, error=text)], file)
    [row] = csv.DictReader(io.StringIO(file.getvalue(), newline=""))
    assert {row[each] for each in ("name", "model", "reference", "error")} == {safe_cell(text)}
    assert all(each.isprintable() for each in row.values())
    assert row["lddt"] == "-0.5"


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(folder: Path) -> None:
    pairs_file(folder, "model,reference\n" + "4.pdb,12.pdb\n" * 100_000)
    before = sorted(folder.iterdir())
    command = [sys.executable, "-m", "foldry.cli.main", "score", "--batch", "pairs.csv"]
    running = subprocess.Popen(
        [*command, "-o", "scores.csv", "--jobs", "2"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # The program that started the tests may ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    while running.poll() is None:
        if any(path.stat().st_size for path in folder.glob(".scores.csv.*.partial")):
            break
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does, to the processes too
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said == "Interrupted: nothing was written.\n"
    assert sorted(folder.iterdir()) == before

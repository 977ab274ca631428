"""benchmarks/: help says what a script prints and how long it takes; wrong input is one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.script import check_names, purpose, run_script

from foldry.errors import InputError
from tests.conftest import ROOT

FOLDER = ROOT / "benchmarks"
ROWS = re.findall(r"^\| `(\w+)\.py` \|", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
NEED_DATA = ["distogram_to_atoms", "experiments", "mini_quality", "relax", "score", "search"]
NEED_DATA += ["template_alignment", "train_step", "training_flops"]


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, FOLDER / f"{script}.py", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("script", ROWS)
def test_a_script_reports_wrong_input_as_all_others_do(script: str) -> None:
    assert "    run_script(main)\n" in (FOLDER / f"{script}.py").read_text("utf-8")
    assert re.search(r"^[A-Z].*\.\nTime on two cores: .*\.$", purpose(f"{script}.py"))


def missing_data() -> int:
    raise InputError("does not exist", "give the folder of the packs", where="data")


def missing_file() -> int:
    return len(Path("nowhere.json").read_text("utf-8"))


def unknown_command() -> None:
    check_names(["fold", "x"], {"fold": 1, "screen": 2})


@pytest.mark.parametrize(
    ("main", "sentence"),
    [
        (missing_data, "data does not exist: give the folder of the packs."),
        (missing_file, "nowhere.json does not exist: check the path, or see --help."),
        (unknown_command, "There is no command 'x': choose from fold, screen."),
    ],
)
def test_wrong_input_is_one_line(
    main: Callable[[], int | None], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        run_script(main)
    assert raised.value.code == 2
    assert capsys.readouterr().err == f"{sentence}\n"


@pytest.mark.parametrize(
    "script", ["startup", *(pytest.param(name, marks=pytest.mark.slow) for name in ROWS)]
)
def test_help_says_what_a_script_prints_and_how_long_it_takes(script: str) -> None:
    done = run(script, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"\n\n{purpose(f'{script}.py')}\n")


@pytest.mark.slow
@pytest.mark.parametrize("script", NEED_DATA)
def test_a_script_without_its_data_says_so_in_one_line(script: str, tmp_path: Path) -> None:
    done = run(script, "--data", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stderr.endswith("nowhere does not exist: give the folder of the packs.\n")
    assert "Traceback" not in done.stderr

"""benchmarks/two_at_once.py: three rounds of each pair of commands, and the faults it must see."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

ROUNDS = 3
NAMES = ("fold", "queries", "screen", "weights", "prepare", "train", "score")


@dataclass
class Program:
    """The benchmark, its cases, and what their commands write undisturbed."""

    module: Any
    launcher: Any
    cases: dict[str, Any]
    alone: dict[str, Any]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import commands  # noqa: PLC0415
        import two_at_once  # noqa: PLC0415

        inputs = commands.Inputs(folder / "inputs")
        with commands.serve(inputs.archive.parent) as address, two_at_once.Launcher() as launcher:
            cases = two_at_once.made_cases(inputs, f"{address}/{inputs.archive.name}")
            alone = two_at_once.undisturbed(launcher, list(cases.values()), folder / "alone")
            yield Program(two_at_once, launcher, cases, alone)
    for name in ("commands", "two_at_once", "kill"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_at_once_leave_the_files_of_one_or_of_both(
    program: Program, name: str, tmp_path: Path
) -> None:
    case, alone = program.cases[name], program.alone[name]
    result = program.module.study(program.launcher, case, alone, tmp_path / name, ROUNDS)
    assert result.faults == []
    assert result.both_done + result.one_busy == ROUNDS
    assert case.exclusive or result.both_done == ROUNDS

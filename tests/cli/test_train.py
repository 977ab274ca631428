"""`foldry train` is a group whose options without a command are those of `run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldry.cli.main import main


@pytest.mark.parametrize("words", [["train"], ["train", "run"]])
def test_run_may_be_left_out(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--data", str(tmp_path), "-o", str(tmp_path / "run")]) == 2
    assert "structures/structures-*.npz" in capsys.readouterr().err


def test_without_anything_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train"])
    assert "run" in capsys.readouterr().out

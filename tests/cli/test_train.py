"""`foldry train` is a group whose options without a command are those of `run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldry.cli.main import main
from foldry.model.alphafold import AlphaFold
from foldry.weights.state_file import save
from tests.train.synthetic import write_world
from tests.train.tiny import tiny_config


@pytest.mark.parametrize("words", [["train"], ["train", "run"]])
def test_run_may_be_left_out(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--data", str(tmp_path), "-o", str(tmp_path / "run")]) == 2
    assert "structures/structures-*.npz" in capsys.readouterr().err


def test_without_anything_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train"])
    assert "run" in capsys.readouterr().out


def test_a_bundle_says_how_to_train_on_from_its_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, bundle, out = (tmp_path / name for name in ("world", "bundle", "out"))
    world.mkdir()
    weights = tmp_path / "weights.safetensors"
    save(weights, AlphaFold(tiny_config()).state_dict(), tiny_config())
    words = ["train", "pack", str(write_world(world).folder), "-o", str(bundle)]
    assert main([*words, "--weights", str(weights), "--rows", "2"]) == 0
    capsys.readouterr()
    assert main(["train", "unpack", str(bundle), "-o", str(out)]) == 0
    start = out / "start.safetensors"
    said = capsys.readouterr().out
    assert f"foldry train --data {out} --start {start} -o RUN\n" in said

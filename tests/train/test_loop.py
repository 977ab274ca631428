"""The training loop: it learns, and a run that was stopped goes on as if it had not been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foldry.cli.main import main
from foldry.errors import InputError
from foldry.model.config import ModelConfig
from foldry.model.weights import load
from foldry.train import loop
from foldry.train.checkpoint import NAME
from foldry.train.data import TrainingSet
from tests.train.synthetic import write_world
from tests.train.tiny import read_log, tiny_config, tiny_stage


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    world = write_world(tmp_path_factory.mktemp("world"))
    return TrainingSet(world.folder, splits=("train",))


@pytest.fixture(scope="module")
def tiny() -> ModelConfig:
    return tiny_config()


def test_a_resumed_run_is_the_same_bit_for_bit(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    stages = [tiny_stage("bootstrap", 4), tiny_stage("main", 3), tiny_stage("confidence", 3)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for chosen in stages:
        progress = loop.train(tiny, chosen, data, loop.Run(whole))
    assert (progress.stage, progress.step, progress.num_samples) == ("confidence", 3, 20)

    class StoppedError(Exception):
        pass

    def stop_after(step: int) -> object:
        def watch(line: dict[str, object]) -> None:
            if line["step"] == step:
                raise StoppedError

        return watch

    for chosen in stages:
        with pytest.raises(StoppedError):
            loop.train(tiny, chosen, data, loop.Run(parts, save_every=1), watch=stop_after(3))
        loop.train(tiny, chosen, data, loop.Run(parts, save_every=1))
    assert read_log(parts) == read_log(whole)
    ours, theirs = load_file(parts / NAME), load_file(whole / NAME)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_confidence_stage_leaves_the_structure_alone(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    loop.train(tiny, tiny_stage("bootstrap", 2), data, loop.Run(tmp_path))
    before = load_file(tmp_path / NAME)
    loop.train(tiny, tiny_stage("confidence", 2), data, loop.Run(tmp_path))
    after = load_file(tmp_path / NAME)
    averaged = {name.removeprefix("ema.") for name in after if name.startswith("ema.")}
    changed = {
        name for name in averaged if not torch.equal(before[f"ema.{name}"], after[f"ema.{name}"])
    }
    assert changed
    assert all(name.startswith(("heads.plddt", "heads.pae")) for name in changed)
    for name in averaged - changed:
        torch.testing.assert_close(after[f"model.{name}"], after[f"ema.{name}"])


def test_it_learns_one_batch_by_heart(
    data: TrainingSet, tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = tiny_stage("bootstrap", 40)
    batch = data.batch(chosen, 0, 0)
    monkeypatch.setattr(data, "batch", lambda *_: batch)
    loop.train(tiny, chosen, data, loop.Run(tmp_path))
    first, *_, last = read_log(tmp_path)
    assert last["loss"] < 0.8 * first["loss"]
    assert last["lddt"] > first["lddt"]
    state, config, notes = load(tmp_path / loop.WEIGHTS)
    assert config == tiny
    assert notes == {"samples": "80"}
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_a_damaged_checkpoint_is_refused(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be resumed"):
        loop.train(tiny, tiny_stage("bootstrap", 1), data, loop.Run(tmp_path))


def test_the_learning_rate_warms_up_and_falls() -> None:
    chosen = replace(
        tiny_stage("main", 101), warmup_steps=10, learning_rate=1.0, final_learning_rate=0.0
    )
    rates = [chosen.learning_rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[50] == pytest.approx(0.5)
    assert rates[100] == 0


def test_wrong_arguments_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(tmp_path), "-o", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "structures" in error
    arguments = ["train", "--data", str(tmp_path), "-o", str(tmp_path / "run"), "--stage", "last"]
    assert main(arguments) == 2
    assert "there is no stage 'last'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

"""`foldry train` is a group whose options without a command are those of `run`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from foldry.cli.main import main
from foldry.model.alphafold import AlphaFold
from foldry.train import loop
from foldry.weights.state_file import save
from tests.train.synthetic import write_world
from tests.train.tiny import tiny_config


@pytest.mark.parametrize("words", [["train"], ["train", "run"]])
def test_run_may_be_left_out(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--data", str(tmp_path), "-o", str(tmp_path / "run")]) == 2
    assert "structures/structures-*.npz" in capsys.readouterr().err


def test_without_arguments_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train"])
    assert "run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--start", "x.npz", "--network", "model_1"], "--network has no effect with --start"),
        (["--watts", "300"], "--watts has no effect alone"),
        (["--shard", "--workers", "2"], "Muon needs whole matrices: leave out --shard"),
        (
            ["--shard", "--network", "model_1", "--set", "clipping=batch"],
            "--shard needs several processes: set --workers to 2 or more, or leave out --shard",
        ),
        (["--data", "nope"], "nope does not exist"),
    ],
)
def test_options_without_effect_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.npz").touch()
    words = [str(tmp_path / word) if word == "x.npz" else word for word in words]
    assert main(["train", "--data", str(tmp_path), "-o", str(tmp_path / "run"), *words]) == 2
    printed = capsys.readouterr().err
    assert said in printed and printed.count("\n") == 1


def test_a_missing_tensorboard_is_noticed_before_workers_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = ["-o", str(tmp_path / "run"), "--workers", "2", "--tensorboard"]
    assert main(["train", "--data", str(tmp_path), *run]) == 3
    assert capsys.readouterr().err.startswith("TensorBoard is not installed: run")
    assert not (tmp_path / "run").exists()


def test_unpack_prints_the_command_that_continues_training(
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
    assert said.startswith(f"The data are in {out}. To train on them:\n")
    assert said.endswith(f"\nfoldry train --data {out} --start {start} -o RUN\n")


def lines_of(
    monkeypatch: pytest.MonkeyPatch, steps: Iterable[tuple[str, int]], done: bool, pause: float = 0
) -> None:
    """Let training write lines for these steps, and end there."""
    clock = [0.0]

    def train(_config: object, _stages: object, _data: object, run: loop.Run) -> bool:
        for stage, step in steps:
            clock[0] += pause
            numbers = {"num_samples": 8 * step, "loss": 2.5, "lddt": 0.25, "seconds": 1.0}
            run.watch({"stage": stage, "step": step, **numbers})
        return done

    monkeypatch.setattr(loop, "train_stages", train)
    monkeypatch.setattr("foldry.cli.train.time.monotonic", lambda: clock[0])


@pytest.mark.parametrize(
    ("steps", "pause", "shown"),
    [
        ([("main", step) for step in range(1, 42)], 0.0, ["main 20", "main 40"]),
        ([("main", step) for step in range(1, 6)], 25.0, ["main 3"]),
        ([("fold", 499), ("fold", 500), ("main", 1)], 0.0, ["fold 500"]),
        ([("confidence", 320)], 100.0, ["confidence 320"]),
        ([("main", 7)], 61.0, ["main 7"]),
    ],
)
def test_every_twentieth_step_one_per_minute_and_the_last_are_shown(
    steps: list[tuple[str, int]],
    pause: float,
    shown: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines_of(monkeypatch, steps, True, pause)
    data = write_world(tmp_path).folder
    assert main(["train", "--data", str(data), "-o", str(tmp_path / "run")]) == 0
    *lines, last = capsys.readouterr().err.splitlines()
    assert [" ".join(line.split()[1:4:2]) for line in lines] == shown
    stage, number = shown[0].split()
    numbers = f"num_samples {8 * int(number)}  loss 2.5  lddt 0.25  seconds 1.0"
    assert lines[0] == f"stage {stage}  step {number}  {numbers}"
    assert last.startswith("averaged weights: ")


@pytest.mark.parametrize(("step", "minutes"), [(1, "0.05"), (20, "10")])
def test_a_run_whose_time_is_up_says_how_far_it_got(
    step: int,
    minutes: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines_of(monkeypatch, [("main", step)], False)
    data = write_world(tmp_path).folder
    words = ["train", "--data", str(data), "-o", str(tmp_path / "run"), "--steps", "70"]
    assert main([*words, "--minutes", minutes]) == 0
    shown, stopped, weights = capsys.readouterr().err.splitlines()
    assert shown.startswith(f"stage main  step {step}  ")
    assert stopped == (
        f"stopped after {minutes} min at step {step} of 70 of stage main: "
        "run the same command to continue"
    )
    assert weights.startswith("averaged weights: ")

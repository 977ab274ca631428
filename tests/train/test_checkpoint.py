"""A run that is killed at any moment resumes with the bit-identical next step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from foldry.dataset.samples import TrainingSet
from foldry.errors import InputError, OutsideError
from foldry.train import loop
from foldry.train.checkpoint import NAME, read_progress
from foldry.train.losses import LossConfig
from foldry.weights.state_file import load
from tests.train.synthetic import write_world
from tests.train.tiny import read_log, shared_stages, tiny_config, tiny_stage

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingSet, Path]:
    """Data, and the folder of a run that stopped after the first of two steps."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "world").mkdir()
    data = TrainingSet(write_world(folder / "world").folder, splits=("train",))
    run = loop.Run(folder / "run", asked_to_stop=lambda: True)
    assert loop.train(tiny_config(), tiny_stage("main", 2), data, run).step == 1
    return data, run.folder


def check_same(run: Path, other: Path) -> None:
    assert read_log(run) == read_log(other)
    for name in (NAME, loop.WEIGHTS):
        ours, theirs = load_file(run / name), load_file(other / name)
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_a_run_resumes_after_kill_9(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    data = TrainingSet(write_world(tmp_path / "world").folder, splits=("train",))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    torch.set_num_threads(1)
    loop.train_stages(tiny_config(), shared_stages(3), data, loop.Run(whole))
    program = [sys.executable, "-m", "tests.train.tiny", str(tmp_path / "world"), str(killed)]
    for moment in (1, 3):  # lines in the log: within the stages, before and after a checkpoint
        process = subprocess.Popen(
            [*program, "--steps=3", "--save-every=2", "--wait=0.3"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        while not (killed / loop.LOG).is_file() or len(read_log(killed)) <= moment:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert len(read_log(killed)) < 6
    loop.train_stages(tiny_config(), shared_stages(3), data, loop.Run(killed, save_every=2))
    check_same(killed, whole)


DIES = """
import os, sys
from pathlib import Path
from foldry.train import checkpoint
from tests.train import tiny

owner = {"fsync": os, "save_checkpoint": checkpoint, "replace": Path}[sys.argv[1]]
name, left = sys.argv.pop(1), int(sys.argv.pop(1))
known = getattr(owner, name)

def dying(*given):
    global left
    left -= 1
    if not left:
        if name == "fsync":
            os.ftruncate(given[0], os.fstat(given[0]).st_size // 2)
        os._exit(9)
    return known(*given)

setattr(owner, name, dying)
tiny.main()
"""
"""A run that dies in the nth call of a function; a file being synchronised is left incomplete."""


@pytest.mark.slow
def test_a_run_that_dies_while_it_saves_resumes(
    begun: tuple[TrainingSet, Path], tmp_path: Path
) -> None:
    data, folder = begun
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    torch.set_num_threads(1)
    loop.train_stages(tiny_config(), shared_stages(2), data, loop.Run(whole, save_every=1))
    # Each time the second save: of the weights, between them and the checkpoint, of the checkpoint.
    for step, moment in enumerate((("fsync", 5), ("save_checkpoint", 2), ("replace", 4)), 1):
        words = [*map(str, moment), str(folder.parent / "world"), str(killed)]
        program = [sys.executable, "-c", DIES, *words, "--steps=2", "--save-every=1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        assert subprocess.run(program, cwd=ROOT, env=environment, check=False).returncode == 9
        progress = read_progress(killed)
        assert progress is not None
        assert progress.num_samples == 3 * step
        samples = int(load(killed / loop.WEIGHTS)[2]["samples"])
        assert samples - progress.num_samples == (0 if moment[0] == "fsync" else 3)
    loop.train_stages(tiny_config(), shared_stages(2), data, loop.Run(killed, save_every=1))
    check_same(killed, whole)


def test_a_damaged_checkpoint_counts_as_absent_and_is_kept(
    begun: tuple[TrainingSet, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, _ = begun
    whole, folder = tmp_path / "whole", tmp_path / "damaged"
    for each in (whole, folder):
        loop.train_stages(tiny_config(), shared_stages(1), data, loop.Run(each))
    torn = (folder / NAME).read_bytes()[:-100]
    weights = (folder / loop.WEIGHTS).read_bytes()
    (folder / NAME).write_bytes(torn)
    assert loop.train_stages(tiny_config(), shared_stages(1), data, loop.Run(folder))
    assert "is damaged and the run starts anew" in caplog.text
    assert (folder / f"{NAME}.damaged").read_bytes() == torn
    assert (folder / f"{loop.WEIGHTS}.damaged").read_bytes() == weights
    check_same(folder, whole)


def test_a_checkpoint_that_cannot_be_read_now_is_left_in_place(
    begun: tuple[TrainingSet, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = begun
    run = loop.Run(tmp_path / "run")
    shutil.copytree(folder, run.folder)
    before = (run.folder / NAME).read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("Input/output error (os error 5)")

    monkeypatch.setattr("foldry.train.checkpoint.safe_open", fail)
    with pytest.raises(OutsideError, match=r"cannot be read \(Input/output error .*check its disk"):
        loop.train_stages(tiny_config(), shared_stages(1), data, run)
    assert (run.folder / NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, r"seed=0 \(now 1\)"),
        ({"stage": {"batch_size": 4}}, r"batch_size=2 \(now 4\)"),
        (
            {"stage": {"losses": LossConfig()}},
            r"losses\.distogram=1\.0 \(now 0\.3\), .* and \d more",
        ),
        ({"network": {"num_recycles": 3}}, r"network\.num_recycles=0 \(now 3\)"),
        ({"stage": {"num_steps": 3, "micro_batch": 1}}, None),
        ({"stage": {"name": "long", "batch_size": 4, "num_steps": 1}, "seed": 1}, None),
        (
            {"stage": {"name": "long"}, "network": {"num_recycles": 3}},
            r"network\.num_recycles=0 \(now 3\)",
        ),
        *(
            ({"stage": {"name": "long"}, "network": {"heads": heads}}, said)
            for heads, said in (
                (
                    replace(tiny_config().heads, distogram_last_break=20.0),
                    r"network\.heads\.distogram_last_break=21\.6875 \(now 20\.0\)",
                ),
                (
                    replace(tiny_config().heads, max_pae_break=15.0),
                    r"network\.heads\.max_pae_break=31\.0 \(now 15\.0\)",
                ),
            )
        ),
    ],
)
def test_a_run_resumes_only_with_its_settings(
    begun: tuple[TrainingSet, Path], tmp_path: Path, changed: dict[str, Any], said: str | None
) -> None:
    data, folder = begun
    run = loop.Run(tmp_path / "run", seed=changed.get("seed", 0))
    shutil.copytree(folder, run.folder)
    config = replace(tiny_config(), **changed.get("network", {}))
    stage = replace(tiny_stage("main", 2), **changed.get("stage", {}))
    if said is None:
        assert loop.train(config, stage, data, run).step == stage.num_steps
        return
    whole = (
        rf"^\S+ contains a run that was started with {said}: "
        r"give the same settings, or another `out`\.$"
    )
    with pytest.raises(InputError, match=whole):
        loop.train(config, stage, data, run)


def test_a_stage_is_resumed_on_the_same_data(
    begun: tuple[TrainingSet, Path], tmp_path: Path
) -> None:
    data, folder = begun
    other = TrainingSet(folder.parent / "world", splits=("train",), exclude=("c0",))
    assert data.key == TrainingSet(folder.parent / "world", splits=("train",)).key != other.key
    run = loop.Run(tmp_path / "run")
    shutil.copytree(folder, run.folder)
    with pytest.raises(InputError, match="contains a run that was started on other data"):
        loop.train(tiny_config(), tiny_stage("main", 2), other, run)
    # Another stage may continue with other data.
    assert loop.train(tiny_config(), tiny_stage("long", 1), other, run).stage == "long"


@pytest.mark.parametrize("note", ["progress", "settings"])
def test_notes_of_any_kind_are_refused(
    begun: tuple[TrainingSet, Path], tmp_path: Path, note: str
) -> None:
    with safe_open(begun[1] / NAME, "pt") as file:
        notes = file.metadata()
    progress = json.loads(notes["progress"])
    texts = ["", "{", "[" * 10**5 + "]" * 10**5, "[]", "7", "null"]
    if note == "progress":
        for name, value in progress.items():
            odd = [None, -1, 10**30, 0.5, "9" * 5000, [], {}, "\x1b[2J"]
            texts += [
                json.dumps(progress | {name: each})
                for each in odd
                if not isinstance(value, str) or not isinstance(each, str)
            ]
        texts += [json.dumps({"stage": "main"}), json.dumps(progress | {"more": 1})]
    for text in texts:
        save_file({"a": torch.zeros(1)}, tmp_path / NAME, notes | {note: text})
        with pytest.raises(InputError, match="cannot be resumed") as caught:
            read_progress(tmp_path)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 500, text[:60]


@pytest.mark.parametrize("change", ["shape", "type", "step"])
def test_tensors_of_another_kind_are_refused(
    begun: tuple[TrainingSet, Path], tmp_path: Path, change: str
) -> None:
    data, folder = begun
    tensors = load_file(folder / NAME)
    with safe_open(folder / NAME, "pt") as file:
        notes = file.metadata()
    chosen = "adam.step." if change == "step" else "adam.exp_avg."
    name = next(name for name in tensors if name.startswith(chosen))
    tensors[name] = tensors[name].int() if change == "type" else torch.zeros(1, 1)
    save_file(tensors, tmp_path / NAME, notes)
    with pytest.raises(InputError, match="cannot be resumed"):
        loop.train(tiny_config(), tiny_stage("main", 2), data, loop.Run(tmp_path))


def test_progress_is_read_without_the_rest(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    (tmp_path / NAME).write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be resumed"):
        read_progress(tmp_path)

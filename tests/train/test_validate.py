"""Validation: the meaning of its numbers, and its independence from training."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foldry.dataset.samples import Sample, TrainingSet
from foldry.model.alphafold import AlphaFold, Pass
from foldry.model.config import mini
from foldry.model.runtime import Runtime
from foldry.train import loop
from foldry.train.distributed import Workers
from foldry.train.validate import SCORES, radius_of_gyration, right_handed, validate
from tests.checked import stand_in
from tests.conftest import ROOT
from tests.train.synthetic import write_world
from tests.train.tiny import read_log, tiny_config, tiny_stage


def helix(length: int = 20) -> np.ndarray:
    """Return the Cα atoms of a right-handed α-helix: 100° and 1.5 Å a residue, radius 2.3 Å."""
    turn = np.radians(100) * np.arange(length)
    return np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(length)], axis=1)


def test_handedness_is_judged_in_true_helices_only() -> None:
    truth = helix()
    mirrored = truth * [1, 1, -1]
    strand = np.stack([3.3 * np.arange(20), np.arange(20) % 2, np.zeros(20)], axis=1)
    assert right_handed(truth, truth) == 1
    assert right_handed(mirrored, truth) == 0
    half = np.concatenate([truth[:10], mirrored[10:] + np.array([0, 0, 40])])
    assert 7 / 17 <= right_handed(half, truth) <= 10 / 17  # three turns are of both
    assert np.isnan(right_handed(truth, strand))
    assert np.isnan(right_handed(truth, mirrored))
    assert np.isnan(right_handed(truth[:3], truth[:3]))


def test_the_radius_of_gyration_is_a_mean_distance() -> None:
    assert radius_of_gyration(np.array([[0.0, 0, 0], [2, 0, 0]])) == 1
    assert radius_of_gyration(3 * helix()) == pytest.approx(3 * radius_of_gyration(helix()))


class Prophet(AlphaFold):
    """A substitute for a network: it predicts the truth, or for some chains something else."""

    runtime = Runtime()
    config = mini()

    def __init__(self, data: TrainingSet, spoil: dict[str, np.ndarray]) -> None:
        real = data.whole_sample

        def noticed(name: str, *arguments: object) -> Sample:
            sample = real(name, *arguments)  # type: ignore[arg-type]
            self.atom37 = sample.truth.positions * spoil.get(name, np.ones(3))
            return sample

        data.whole_sample = noticed  # type: ignore[method-assign]

    def eval(self) -> None: ...

    def first_recycled(self, *_: object) -> None: ...

    def __call__(self, *_: object) -> Pass:
        atom37 = torch.from_numpy(self.atom37)[None]
        return stand_in(Pass, atom37=atom37, recycled=lambda: None)


def test_the_truth_scores_one_and_a_prediction_that_is_not_finite_zero(tmp_path: Path) -> None:
    data = TrainingSet(write_world(tmp_path).folder, splits=("train",))
    stage = tiny_stage("main", 1)
    right = validate(Prophet(data, {}), data, stage, 2, Workers())  # type: ignore[arg-type]
    assert [right[name] for name in SCORES[:4]] == pytest.approx([1, 1, 1, 1], abs=1e-4)
    first = data.parts["selection"][0]
    broken = Prophet(data, {first: np.array([np.nan, 1, 1])})
    half = validate(broken, data, stage, 2, Workers())  # type: ignore[arg-type]
    assert [half[name] for name in SCORES[:4]] == pytest.approx([0.5, 0.5, 0.5, 1], abs=1e-4)
    assert right["num_chains"] == half["num_chains"] == 2


def test_two_workers_find_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TrainingSet(write_world(tmp_path).folder, splits=("train",))
    torch.manual_seed(0)
    model = AlphaFold(tiny_config())
    seen: list[torch.Tensor] = []

    def recorded(_: Workers, numbers: torch.Tensor) -> torch.Tensor:
        seen.append(numbers.clone())
        return numbers

    monkeypatch.setattr(Workers, "sum_", recorded)
    for workers in (Workers(), Workers(0, 2), Workers(1, 2)):
        validate(model, data, tiny_stage("main", 1), 3, workers)
    whole, first, second = seen
    assert first.any() and second.any()
    assert torch.equal(first + second, whole)


def test_a_small_set_is_validated_on_its_validation_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = write_world(tmp_path)
    names = list(world.lengths)
    folder, held = world.folder, names[5:8]
    for kind in ("msas", "templates"):
        shutil.copy(folder / kind / f"{kind}-train.npz", folder / kind / f"{kind}-val.npz")
    data = TrainingSet(folder, ("train",), exclude=names[5:])
    run = loop.Run(tmp_path / "alone", validate_every=1)
    loop.train_stages(tiny_config(), [tiny_stage("main", 1)], data, run)
    assert "There are no validation chains" in caplog.text
    rows = "".join(f"{name}\t{world.lengths[name]}\n" for name in held)
    (folder / "splits" / "val.tsv").write_text(f"id\tlength\n{rows}", "utf-8")
    data = TrainingSet(folder, ("train",), exclude=names[8:])
    key = data.key
    run = replace(run, folder=tmp_path / "run")
    loop.train_stages(tiny_config(), [tiny_stage("main", 1)], data, run)
    [line] = read_log(run.folder, loop.VALIDATION)
    assert line["num_chains"] == len(held) and 0 < line["lddt_ca"] < 1
    assert data.key == key


def test_validation_does_not_depend_on_training_draws(tmp_path: Path) -> None:
    data = TrainingSet(write_world(tmp_path).folder, splits=("train",))
    torch.manual_seed(0)
    model = AlphaFold(tiny_config())
    for parameter in model.parameters():  # zeros would hide the templates
        parameter.data += 0.05 * torch.randn_like(parameter)
    stage = tiny_stage("main", 1)
    shown, same, bare = (
        validate(model, data, replace(stage, **changes), 3, Workers())
        for changes in (
            {},
            {
                "self_template_fraction": 1.0,
                "single_row_fraction": 1.0,
                "template_fraction": 0.1,
            },
            {"template_fraction": 0.0},
        )
    )
    assert shown == same != bare


def test_training_does_not_depend_on_validation(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    data = TrainingSet(write_world(tmp_path / "world").folder, splits=("train",))
    stage = tiny_stage("main", 4)
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    loop.train(tiny_config(), stage, data, loop.Run(plain))
    loop.train(tiny_config(), stage, data, loop.Run(watched, validate_every=2, validation_chains=3))
    assert read_log(watched) == read_log(plain)
    lines = read_log(watched, loop.VALIDATION)
    assert [line["step"] for line in lines] == [2, 4]
    for line in lines:
        assert 0 < line["lddt_ca"] < 1 and line["radius_ratio"] > 0
        assert set(SCORES) < set(line)
    page = (ROOT / "docs" / "train.md").read_text("utf-8")
    table = page.partition("<!-- validation -->")[2].partition("<!-- end of validation -->")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(lines[0])
    again = loop.Run(tmp_path / "again", validate_every=4, validation_chains=3)
    loop.train(tiny_config(), stage, data, again)
    assert read_log(again.folder, loop.VALIDATION)[0] == lines[1]

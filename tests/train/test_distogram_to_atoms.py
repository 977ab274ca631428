"""The experiments from distogram to atoms start from the released network and measure rightly."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import distogram_to_atoms
from benchmarks.distogram_to_atoms import ARMS, LONG_BREAK, Arm, plan, starting_state
from benchmarks.mini_quality import contact_precision, strand_share

from foldry.dataset.packs import KnownChain
from foldry.dataset.samples import TrainingSet
from foldry.model.alphafold import AlphaFold, Pass
from foldry.model.heads import HeadLogits
from foldry.residues import RESTYPE_ORDER
from foldry.train.data import collate
from foldry.train.losses import LossConfig
from foldry.weights.networks import find_networks
from foldry.weights.state_file import load
from tests.train.synthetic import write_world


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return TrainingSet(folder, splits=("train",))


@torch.no_grad()
def first_pass(arm: str, data: TrainingSet) -> tuple[AlphaFold, Pass, HeadLogits]:
    """Return an arm's network before training and its results for a chain without templates."""
    config, stages = plan(ARMS[arm], 10)
    model = AlphaFold(config)
    model.load_state_dict(starting_state(config, load(find_networks("mini")[0].path)[0]))
    model.eval()
    data.features = config.features
    stage = replace(stages[-1], crop_size=40, template_fraction=0.0)
    batch = collate([data.whole_sample(data.parts["train"][0], stage, 0)], stage, config.heads)
    recycled = model.first_recycled(batch.inputs)
    for _ in batch.draws:
        result = model(batch.inputs, [batch.draws[0]], recycled)
        recycled = result.recycled()
    return model, result, model.predict_heads(result)


@pytest.mark.parametrize("arm", ["recycling", "rows"])
def test_new_parameters_change_nothing_at_first(arm: str, data: TrainingSet) -> None:
    _, released, _ = first_pass("baseline", data)
    _, other, _ = first_pass(arm, data)
    torch.testing.assert_close(other.atom37, released.atom37, rtol=0, atol=1e-3)


def test_a_longer_distogram_divides_the_open_bin(data: TrainingSet) -> None:
    _, _, logits = first_pass("baseline", data)
    model, _, longer = first_pass("far", data)
    heads = model.config.heads
    share, long_share = logits.distogram.softmax(-1), longer.distogram.softmax(-1)
    torch.testing.assert_close(long_share[..., :63], share[..., :63], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(long_share[..., 63:].sum(-1), share[..., 63], rtol=1e-3, atol=1e-5)
    assert torch.equal(long_share[..., 63], long_share[..., -1])
    breaks = np.linspace(heads.distogram_first_break, LONG_BREAK, heads.num_distogram_bins - 1)
    assert breaks[62] == pytest.approx(21.6875)


def test_a_refiner_stays_near_the_layout(data: TrainingSet) -> None:
    _, result, _ = first_pass("refiner", data)
    path = result.structure.frames.translation
    for before, after in pairwise(path):
        assert 0 < (after - before).norm(dim=-1).max() < 1.0
    _, free, _ = first_pass("baseline", data)
    steps = free.structure.frames.translation.diff(dim=0).norm(dim=-1)
    assert steps.max() > 1.0


def test_the_next_pass_reads_the_layout(data: TrainingSet) -> None:
    model, result, _ = first_pass("recycling", data)
    layout = model.initial_frames(result.representations.pair, torch.ones(1, 40)).translation
    assert result.layout is not None
    assert result.layout.translation.shape == layout.shape
    read = result.recycled().atom37
    assert torch.equal(read, result.layout.translation[:, :, None].expand_as(read))
    _, released, _ = first_pass("baseline", data)
    assert torch.equal(released.recycled().atom37, released.atom37)


def test_arms_differ_from_the_baseline_as_they_say() -> None:
    network, [stage] = plan(ARMS["baseline"], 2000)
    assert stage.losses == LossConfig(smooth_lddt=1.0)
    assert (stage.optimizer, stage.batch_size, stage.num_steps) == ("adam", 1, 2000)
    for name, arm in ARMS.items():
        other, stages = plan(arm, 2000)
        assert (other != network) == bool(arm.network), name
        assert (stages[-1] != stage) == bool(arm.losses or arm.stage), name
    assert [each.name for each in plan(ARMS["stages"], 2000)[1]] == ["fold", "main"]


def test_a_run_goes_on_where_it_stopped(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def measure(*_: object) -> dict[str, int]:
        if len(measured) == 1:
            measured.append(0)
            raise KeyboardInterrupt
        measured.append(1)
        return {"samples": 0}

    small = Arm(
        "small",
        stage={"crop_size": 16, "num_rows": 2},
        network={"evoformer__num_blocks": 1},
        from_nothing=True,
    )
    monkeypatch.setattr(distogram_to_atoms, "BETWEEN", 2)
    monkeypatch.setattr(distogram_to_atoms, "measure", measure)
    train = distogram_to_atoms.train
    runtime = AlphaFold(plan(small, 3)[0]).runtime
    with pytest.raises(KeyboardInterrupt):
        train(small, 3, data, tmp_path, runtime)
    train(small, 3, data, tmp_path, runtime)
    steps = [line.split(",")[0] for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert steps == ['{"step": 2', '{"step": 3']
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def chain_of(beta: np.ndarray) -> KnownChain:
    """Return glycines with only Cα atoms."""
    positions, mask = np.zeros((len(beta), 37, 3), np.float32), np.zeros((len(beta), 37))
    positions[:, 1], mask[:, 1] = beta, 1
    codes = np.full(len(beta), RESTYPE_ORDER["G"])
    return KnownChain(codes, np.arange(len(beta)), positions, mask, 2.0, np.full(len(beta), 100.0))


def test_contacts_are_the_best_far_pairs() -> None:
    beta = np.zeros((50, 3))
    beta[:, 0] = 3.8 * np.arange(50)
    beta[40] = beta[5] + [0, 6, 0]  # the only far contacts are of residue 40 with 3 to 7
    truth = chain_of(beta)
    apart = np.linalg.norm(beta[:, None] - beta, axis=-1)
    assert contact_precision(-apart, truth) == pytest.approx(3 / 10)
    assert contact_precision(apart, truth) == 0
    truth.mask[40] = 0
    assert contact_precision(-apart, truth) == 0


def test_strands_are_a_share_of_residues() -> None:
    along = np.arange(30)
    strand = np.stack([3.3 * along, 0.9 * (along % 2), 0 * along], axis=1)
    turn = np.radians(100) * along
    helix = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * along], axis=1)
    assert strand_share(strand) > 0.8
    assert strand_share(helix) == 0

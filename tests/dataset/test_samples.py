"""Training samples: repeatable, aligned, and never from held-out chains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from foldry.dataset.packs import read_table
from foldry.dataset.samples import (
    Sample,
    TrainingSet,
    choose_window,
    damage,
    partition,
    sampling_weights,
)
from foldry.errors import InputError
from foldry.features.config import FeatureConfig
from foldry.features.features import Features, MSADraw
from foldry.model.config import HeadsConfig
from foldry.model.inputs import MSAInputs
from foldry.residues import CA, GAP
from foldry.train.config import StageConfig
from foldry.train.data import collate, make_batch
from foldry.train.losses import LossConfig
from foldry.train.targets import Batch
from foldry.weights.bundled import excluded_chains
from tests.train.synthetic import NEAR, World, write_world

EXCLUDED = ("c11", "c50")
HEADS = HeadsConfig()
STAGE = StageConfig(
    name="test",
    losses=LossConfig(),
    num_steps=4,
    batch_size=6,
    crop_size=50,
    num_rows=16,
    max_passes=2,
    self_template_fraction=0.3,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def data(world: World) -> TrainingSet:
    return TrainingSet(world.folder, ["train"], EXCLUDED)


def samples(data: TrainingSet, stage: StageConfig, count: int) -> list[tuple[str, Sample]]:
    rng = np.random.default_rng(3)
    names = rng.choice(data.parts["train"], count)
    return [(str(name), data.sample(str(name), stage, rng)) for name in names]


def tensors(batch: Batch) -> list[Tensor]:
    targets, inputs = batch.targets, batch.inputs
    return [
        inputs.aatype,
        inputs.residue_index,
        *(draw.msa_feat for draw in batch.draws),
        *batch.true_msa,
        *batch.bert_mask,
        targets.atom14,
        targets.groups.rotation,
        batch.clamped,
        *(vars(inputs.templates).values() if inputs.templates else ()),
    ]


def test_a_step_can_be_made_again(world: World, data: TrainingSet) -> None:
    again = TrainingSet(world.folder, ["train"], EXCLUDED)
    first, second = make_batch(data, STAGE, HEADS, 1, 2), make_batch(again, STAGE, HEADS, 1, 2)
    assert all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))
    for other in (
        make_batch(data, STAGE, HEADS, 1, 3),
        make_batch(data, STAGE, HEADS, 2, 2),
        make_batch(data, replace(STAGE, name="x"), HEADS, 1, 2),
    ):
        assert not torch.equal(first.targets.atom14, other.targets.atom14)


def test_shapes_are_the_same_for_every_batch(data: TrainingSet) -> None:
    shapes = {
        tuple(tuple(tensor.shape) for tensor in tensors(make_batch(data, STAGE, HEADS, 0, step)))
        for step in range(6)
    }
    assert len(shapes) == 1
    draw = make_batch(data, STAGE, HEADS, 0, 0).draws[0]
    assert isinstance(draw, MSAInputs)
    assert draw.msa_feat.shape == (6, 16, 50, 49)


def test_a_window_lines_up(world: World, data: TrainingSet) -> None:
    starts = set()
    for name, sample in samples(data, STAGE, 30):
        start = int(sample.truth.residue_index[0]) - 5
        starts.add(start)
        size = min(world.lengths[name], STAGE.crop_size)
        window = slice(start, start + size)
        assert sample.features.num_residues == size
        assert np.array_equal(sample.features.aatype, world.aatype[name][window])
        assert np.array_equal(sample.features.msa[0], sample.features.aatype)
        np.testing.assert_allclose(
            sample.truth.positions, world.positions[name][window], atol=0.003
        )
        rows = {tuple(row) for row in world.msa[name][:, window]}
        assert {tuple(row) for row in sample.features.msa} <= rows
        batch = collate([sample], STAGE, HEADS)
        np.testing.assert_allclose(batch.targets.ca[0, :size], sample.truth.positions[:, CA])
        assert batch.inputs.seq_mask[0].sum() == size
        assert batch.targets.ca_mask[0, size:].sum() == 0
        assert batch.bert_mask[0][..., size:].sum() == 0
        assert batch.draws[0].msa_mask[0, :, size:].sum() == 0
    assert len(starts) > 5


def test_a_self_template_reproduces_distances(data: TrainingSet) -> None:
    stage = replace(STAGE, self_template_fraction=1.0, single_row_fraction=1.0)
    for _, sample in samples(data, stage, 20):
        templates = sample.features.templates
        assert templates is not None
        assert templates.mask.tolist() == [1]
        assert len(sample.features.msa) == 1
        known = templates.atom_mask[0, :, CA] > 0
        assert 0.69 * len(known) - 4 <= known.sum() <= len(known)
        assert np.array_equal(templates.aatype[0] == GAP, ~known)

        def distances(positions: np.ndarray, known: np.ndarray = known) -> np.ndarray:
            ca = positions[known, CA]
            return np.linalg.norm(ca[:, None] - ca, axis=-1)

        error = distances(templates.atom_positions[0]) - distances(sample.truth.positions)
        # Two atoms, each moved by 0.1 to 1 Å along every axis.
        assert 0.1 < np.sqrt(np.mean(error**2)) < 2.0


def test_a_real_template_is_one_of_the_chain_s_hits(world: World, data: TrainingSet) -> None:
    stage = replace(STAGE, self_template_fraction=0.0, template_fraction=1.0, crop_size=200)
    exact, seen = 0, set()
    for name, sample in samples(data, stage, 60):
        templates = sample.features.templates
        assert templates is not None
        if not templates.mask.any():
            continue
        number = int(name[1:])
        hits = {step: f"c{(number + step) % len(world.lengths)}" for step in (1, 2)}
        aligned = {step: np.full(world.lengths[name], GAP) for step in hits}
        for step, target in hits.items():
            aligned[step][2:22] = world.aatype[target][:20]
            aligned[step][25:28] = world.aatype[target][25:28]
        here = templates.aatype[0] != GAP
        matching = [s for s, code in aligned.items() if (code == templates.aatype[0])[here].all()]
        assert len(matching) == 1
        assert hits[matching[0]] not in EXCLUDED
        seen.add(matching[0])
        exact += int(here.sum() == 23)
    assert seen == {1, 2}
    assert 10 < exact < 50


def test_a_network_of_several_templates_gets_several(world: World) -> None:
    config = FeatureConfig(num_msa=8, num_extra_msa=0, num_templates=4)
    data = TrainingSet(world.folder, ["train"], (), config)
    for arrays in data.library.templates.shards:
        arrays["identity"][:] = 0.4
    stage = replace(STAGE, self_template_fraction=0.0, template_fraction=1.0, crop_size=200)
    counts = []
    for name, sample in samples(data, stage, 60):
        templates = sample.features.templates
        assert templates is not None and templates.aatype.shape[0] == 4
        counts.append(int(templates.mask.sum()))
        targets = [hit.name for hit in data._usable_hits(name)]
        seen = {
            next(
                target for target in targets if (world.aatype[target][25:28] == codes[25:28]).all()
            )
            for codes, mask in zip(templates.aatype, templates.mask, strict=True)
            if mask and (codes[25:28] != GAP).all()
        }
        assert len(seen) <= counts[-1] <= len(targets)
        whole = data.whole_sample(name, stage, 0).features.templates
        assert whole is not None
        assert whole.mask.tolist() == [float(k < len(targets)) for k in range(4)]
        for row, target in enumerate(targets):
            assert np.array_equal(whole.aatype[row, 2:22], world.aatype[target][:20])
    assert {*counts} == {0, 1, 2, 3}


def test_the_trunk_sees_no_held_back_chain_as_a_template(data: TrainingSet) -> None:
    held_back = {*data.parts["selection"], *data.parts["confidence"]}
    targets = {
        part: [hit.name for name in names for hit in data._usable_hits(name)]
        for part, names in data.parts.items()
    }
    assert not held_back & {*targets["train"]}
    assert held_back & {*targets["selection"], *targets["confidence"]}
    assert {*data.parts["train"]} & {*targets["selection"]}
    assert {*NEAR} & {*targets["train"]}


def test_validation_sees_whole_alignments_and_the_best_template(
    world: World, data: TrainingSet
) -> None:
    stage = replace(
        STAGE, self_template_fraction=1.0, single_row_fraction=1.0, crop_size=200, num_rows=60
    )
    for number, name in enumerate(data.parts["selection"]):
        sample, again = (data.whole_sample(name, stage, number) for _ in range(2))
        both = (tensors(collate([each], stage, HEADS)) for each in (sample, again))
        assert all(torch.equal(one, other) for one, other in zip(*both, strict=True))
        assert np.array_equal(sample.features.msa, world.msa[name])
        assert all(len(draw.true_msa) == len(world.msa[name]) for draw in sample.draws)
        following = [f"c{(int(name[1:]) + step) % len(world.lengths)}" for step in (1, 2)]
        best = next(target for target in following if target not in EXCLUDED)
        templates = sample.features.templates
        assert templates is not None
        assert (templates.aatype[0] != GAP).sum() == 23
        assert np.array_equal(templates.aatype[0, 2:22], world.aatype[best][:20])
        np.testing.assert_allclose(
            templates.atom_positions[0, 2:22], world.positions[best][:20], atol=0.003
        )
        bare = data.whole_sample(name, replace(stage, template_fraction=0.0), number)
        assert bare.features.templates is not None
        assert not bare.features.templates.mask.any()


def test_fractions_of_templates_and_single_rows(data: TrainingSet) -> None:
    none = replace(STAGE, self_template_fraction=0.0, template_fraction=0.0)
    assert not any(
        sample.features.templates is not None and sample.features.templates.mask.any()
        for _, sample in samples(data, none, 10)
    )
    drawn = [
        sample.features.templates is not None and bool(sample.features.templates.mask.any())
        for _, sample in samples(data, replace(STAGE, template_fraction=0.2), 200)
    ]
    assert 0.3 < np.mean(drawn) < 0.6
    bare = replace(STAGE, losses=LossConfig(unclamped_fraction=0.0))
    assert make_batch(data, bare, HEADS, 0, 0).clamped.tolist() == [1] * STAGE.batch_size


def test_blocks_of_rows_are_deleted(data: TrainingSet) -> None:
    stage = replace(STAGE, deleted_blocks=5, single_row_fraction=0.0)
    deep = 0
    for name, sample in samples(data, stage, 30):
        whole = len(data.library.alignment(name)[0])
        if whole >= 10:
            deep += 1
            assert max(whole - 5 * int(0.3 * whole), 1) <= len(sample.features.msa) < whole
    assert deep > 10


def test_a_network_without_templates_gets_none(world: World) -> None:
    config = FeatureConfig(num_msa=8, num_extra_msa=5, num_templates=0)
    data = TrainingSet(world.folder, ["train"], EXCLUDED, config)
    batch = make_batch(data, replace(STAGE, num_extra_rows=5), HEADS, 0, 0)
    assert batch.inputs.templates is None
    assert batch.draws[0].extra_msa.shape == (6, 5, 50)


def test_whole_alignments_become_profile_and_coevolution(world: World) -> None:
    config = FeatureConfig(
        num_msa=8, num_extra_msa=0, num_templates=0, profile=True, coevolution=True
    )
    data = TrainingSet(world.folder, ["train"], EXCLUDED, config)
    inputs = make_batch(data, replace(STAGE, crop_size=50), HEADS, 0, 0).inputs
    assert inputs.profile is not None and inputs.coevolution is not None
    assert inputs.profile.shape == (STAGE.batch_size, 50, 22)
    assert inputs.coevolution.shape == (STAGE.batch_size, 50, 50, 2)
    torch.testing.assert_close(inputs.profile.sum(-1), inputs.seq_mask)
    there = inputs.seq_mask[:, :, None] * inputs.seq_mask[:, None]
    assert not inputs.coevolution[there == 0].any()


def test_held_out_chains_are_never_drawn(world: World, data: TrainingSet) -> None:
    everywhere = [name for names in data.parts.values() for name in names]
    assert len(everywhere) == len(set(everywhere))
    assert not set(everywhere) & {*NEAR, *EXCLUDED}
    clusters = [{world.clusters[name] for name in names} for names in data.parts.values()]
    assert not clusters[0] & clusters[1]
    assert not clusters[0] & clusters[2]
    assert not clusters[1] & clusters[2]
    assert len(data.parts["selection"]) == 9  # a tenth of 97 clusters
    confidence = replace(STAGE, chains="confidence", crop_size=200)
    lengths = {
        int(size)
        for size in make_batch(data, confidence, HEADS, 0, 0).inputs.seq_mask.sum(-1).tolist()
    }
    assert lengths <= {world.lengths[name] for name in data.parts["confidence"]}


def test_partition_does_not_depend_on_order() -> None:
    lengths = {f"c{number}": 30 + number for number in range(200)}
    clusters = {name: f"k{int(name[1:]) // 2}" for name in lengths}
    parts = partition(lengths, clusters)
    assert parts == partition(dict(reversed(lengths.items())), clusters)
    assert all(40 <= lengths[name] <= 256 for name in parts["selection"])
    assert len(parts["confidence"]) == 2 * 5


def test_a_handful_of_clusters_still_leaves_chains_to_train_on() -> None:
    lengths = {f"c{number}": 100 for number in range(3)}
    parts = partition(lengths, {name: name for name in lengths})
    assert [len(parts[part]) for part in ("train", "selection", "confidence")] == [2, 0, 1]


def test_a_part_without_chains_is_named(world: World) -> None:
    everything = [name for name in world.lengths if name != "c1"]
    alone = TrainingSet(world.folder, ["train"], everything)
    with pytest.raises(
        InputError, match=r"Stage test has no chain to train on: give .* 2 clusters"
    ):
        make_batch(alone, STAGE, HEADS, 0, 0)


def test_all_splits_to_train_on_are_found(world: World) -> None:
    found = TrainingSet(world.folder, exclude=EXCLUDED)
    named = TrainingSet(world.folder, ["train"], EXCLUDED)
    assert found.parts == named.parts


def test_damaged_chains_are_left_out(
    world: World, data: TrainingSet, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = TrainingSet(world.folder, ["train"], EXCLUDED)
    names = damaged.parts["train"]
    bad = names[: len(names) // 2]
    for number, name in enumerate(bad):
        arrays, row = damaged.library.alignments.find(name)
        if number % 4 == 0:
            del damaged.library.alignments.place[name]
        elif number % 4 == 1:
            arrays["residues"][arrays["cell_offsets"][row]] ^= 1
        elif number % 4 == 2:
            arrays["residues"][arrays["cell_offsets"][row + 1] - 1] = 99
        else:
            arrays["length"][row] += 1
    for name in bad:
        with pytest.raises(InputError, match=name):
            damaged.sample(name, STAGE, np.random.default_rng(0))
    left = [make_batch(damaged, STAGE, HEADS, 0, step) for step in range(4)]
    again = [make_batch(damaged, STAGE, HEADS, 0, step) for step in range(4)]
    for one, other in zip(left, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))
    assert {line.split()[0] for line in caplog.messages} <= set(bad)
    assert len(caplog.messages) > 4
    assert sum(batch.num_damaged for batch in left + again) == len(caplog.messages)
    damaged.library.alignments.place.clear()
    with pytest.raises(InputError, match="in a row are damaged"):
        make_batch(damaged, STAGE, HEADS, 0, 0)


def test_a_fault_of_the_program_is_not_taken_for_damage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(features: Features, number: int) -> MSADraw:
        raise IndexError(number)

    data = TrainingSet(world.folder, ["train"], EXCLUDED)
    assert make_batch(data, STAGE, HEADS, 0, 0).num_damaged == 0
    monkeypatch.setattr("foldry.dataset.samples.draw_msa", faulty)
    with pytest.raises(IndexError):
        make_batch(data, STAGE, HEADS, 0, 0)


def test_chains_without_a_cluster_are_named(tmp_path: Path) -> None:
    world = write_world(tmp_path)
    table = tmp_path / "splits" / "clusters30_joint.tsv"
    rows = table.read_text("utf-8").splitlines(keepends=True)
    table.write_text("".join(row for row in rows if not row.endswith(("\tc30\n", "\tc31\n"))))
    with pytest.raises(
        InputError, match=r"clusters30_joint\.tsv has no cluster for 2 chains, e\.g\. 'c30'"
    ):
        TrainingSet(world.folder, ["train"], EXCLUDED)


def test_residues_of_little_confidence_count_in_no_loss(world: World) -> None:
    data = TrainingSet(world.folder, ["train"], EXCLUDED)
    for arrays in data.library.structures.shards:
        arrays["plddt"] = (np.arange(len(arrays["aatype"])) * 37 % 100).astype(np.uint8)
    stage = replace(STAGE, min_plddt=70.0, self_template_fraction=1.0)
    for name, sample in samples(data, stage, 10):
        plddt = data.library.chain(name).plddt
        assert plddt.min() < 30
        assert plddt.max() > 90
        assert np.array_equal(sample.truth.mask[:, CA] > 0, sample.truth.plddt >= 70)
        assert not sample.truth.positions[sample.truth.plddt < 70].any()
        targets = collate([sample], stage, HEADS).targets
        assert targets.ca_mask.sum() == (sample.truth.plddt >= 70).sum()
        assert np.array_equal(targets.atom37_exists.any(-1), targets.ca_mask)
        assert sample.features.num_residues == len(sample.truth)
    every = samples(TrainingSet(world.folder, ["train"], EXCLUDED), stage, 5)
    assert all(sample.truth.mask[:, CA].all() for _, sample in every)


def test_a_spatial_crop_lines_up_too(world: World, data: TrainingSet) -> None:
    stage = replace(STAGE, spatial_fraction=1.0, crop_size=30)
    broken = 0
    for name, sample in samples(data, stage, 20):
        picked = sample.truth.residue_index - 5
        size = min(world.lengths[name], 30)
        assert len(picked) == size
        broken += int((np.diff(picked) > 1).any())
        assert np.array_equal(sample.features.aatype, world.aatype[name][picked])
        assert np.array_equal(sample.features.residue_index, picked + 5)
        rows = {tuple(row) for row in world.msa[name][:, picked]}
        assert {tuple(row) for row in sample.features.msa} <= rows
    assert broken > 10
    rng, chain = np.random.default_rng(0), data.library.chain("c0")
    half = replace(STAGE, spatial_fraction=0.5, crop_size=10)
    runs = [bool((np.diff(choose_window(chain, half, rng)) == 1).all()) for _ in range(200)]
    assert 0.35 < np.mean(runs) < 0.65


def test_sampling_weights() -> None:
    lengths = {"short": 40, "long": 600, "one": 256, "two": 256}
    clusters = {"short": "a", "long": "b", "one": "c", "two": "c"}
    weights = sampling_weights(list(lengths), lengths, clusters)
    np.testing.assert_allclose(weights / weights[0], [1, 2, 0.5**0.5, 0.5**0.5])
    np.testing.assert_allclose(weights.sum(), 1)


def test_damage(data: TrainingSet) -> None:
    rng = np.random.default_rng(0)
    chain = data.library.chain("c0")
    same = damage(chain, 0.0, 0.0, rng)
    assert np.array_equal(same.positions, chain.positions)
    assert np.array_equal(same.aatype, chain.aatype)
    nothing = damage(chain, 1.0, 1.0, rng)
    assert nothing.mask.sum() == np.abs(nothing.positions).sum() == 0
    assert (nothing.aatype == GAP).all()


def test_the_real_packs(data_dir: Path) -> None:
    data = TrainingSet(data_dir)
    excluded = excluded_chains()
    near = {
        row["id"]
        for split in ("train", "train2")
        for row in read_table(data_dir / "splits" / f"{split}.tsv")
        if row["near"]
    }
    val = {row["id"] for row in read_table(data_dir / "splits" / "val.tsv")}
    used = {name for names in data.parts.values() for name in names}
    assert excluded
    assert len(near) >= 468
    assert not used & (near | excluded | val)
    assert len(used) > 5500
    batch = make_batch(data, STAGE, HEADS, 0, 0)
    steps = batch.targets.ca[:, 1:] - batch.targets.ca[:, :-1]
    known = batch.targets.ca_mask[:, 1:] * batch.targets.ca_mask[:, :-1]
    bonded = known * (batch.inputs.residue_index.diff(dim=1) == 1)
    assert ((steps.norm(dim=-1) - 3.8).abs() * bonded).median() < 0.1

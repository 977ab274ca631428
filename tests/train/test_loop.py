"""The training loop: it learns, and a stopped run resumes as if it had not been stopped."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from foldry.cli.main import main
from foldry.dataset.samples import TrainingSet
from foldry.errors import InputError, MissingError
from foldry.kernels.choose import CPU
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig, preset
from foldry.model.evoformer import Transition
from foldry.model.runtime import Runtime
from foldry.predict.recycle import recycle
from foldry.train import loop
from foldry.train.checkpoint import NAME
from foldry.train.config import StageConfig, choose_stages, paper_stages
from foldry.train.data import make_batch
from foldry.train.distributed import Workers
from foldry.train.losses import LossConfig, total_loss
from foldry.weights.state_file import load
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
    stages = [tiny_stage("fold", 4), tiny_stage("main", 3), tiny_stage("confidence", 3)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for chosen in stages:
        progress = loop.train(tiny, chosen, data, loop.Run(whole))
    assert (progress.stage, progress.step, progress.num_samples) == ("confidence", 3, 28)

    class StoppedError(Exception):
        pass

    def stop_after(step: int) -> Callable[[dict[str, object]], None]:
        def watch(line: dict[str, object]) -> None:
            if line["step"] == step:
                raise StoppedError

        return watch

    run = loop.Run(parts, save_every=1)
    for chosen in stages:
        with pytest.raises(StoppedError):
            loop.train(tiny, chosen, data, replace(run, watch=stop_after(3)))
        loop.train(tiny, chosen, data, run)
    assert read_log(parts) == read_log(whole)
    ours, theirs = load_file(parts / NAME), load_file(whole / NAME)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_confidence_stage_leaves_the_structure_alone(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    loop.train(tiny, tiny_stage("fold", 2), data, loop.Run(tmp_path))
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
    chosen = tiny_stage("fold", 40)
    batch = make_batch(data, chosen, tiny.heads, 0, 0)
    monkeypatch.setattr(loop, "make_batch", lambda *_: batch)
    loop.train(tiny, chosen, data, loop.Run(tmp_path))
    first, *_, last = read_log(tmp_path)
    assert last["loss"] < 0.8 * first["loss"]
    assert last["lddt"] > first["lddt"]
    state, config, notes = load(tmp_path / loop.WEIGHTS)
    assert config == tiny
    assert notes == {"samples": str(40 * chosen.batch_size)}
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_a_damaged_checkpoint_is_refused(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be resumed"):
        loop.train(tiny, tiny_stage("fold", 1), data, loop.Run(tmp_path))


def run_step(
    data: TrainingSet, model: AlphaFold, stage: StageConfig
) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
    """Return the log and the gradients of one step of one worker."""
    optimizer = loop.make_optimizer(model, stage)
    run = loop.Run(Path("unused"))
    ((_, batches),) = loop.prefetch(data, replace(stage, num_steps=1), model.config.heads, run, 0)
    line = loop.train_step(model, optimizer, batches, stage, 0, 0, run.workers)
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return line, grads


def new_model(config: ModelConfig, **runtime: object) -> AlphaFold:
    torch.manual_seed(0)
    model = AlphaFold(config, Runtime(**runtime))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():  # zeros would hide the modules before them
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    return model.train()


def test_accumulated_micro_batches_are_the_batch(data: TrainingSet, tiny: ModelConfig) -> None:
    still = replace(
        tiny_stage("fold", 1), batch_size=4
    )  # without dropout, which each micro-batch draws
    config = replace(
        tiny,
        evoformer=replace(tiny.evoformer, dropout_msa=0.0, dropout_pair=0.0),
        template=replace(tiny.template, dropout=0.0),
    )
    (line, whole), (parts_line, parts) = (
        run_step(data, new_model(config), replace(still, micro_batch=size)) for size in (None, 1)
    )
    assert parts_line == pytest.approx(line, rel=1e-5)
    assert set(parts) == set(whole)
    for name, grad in whole.items():
        torch.testing.assert_close(parts[name], grad, rtol=1e-3, atol=1e-6)


def test_training_runs_the_passes_of_a_prediction(data: TrainingSet, tiny: ModelConfig) -> None:
    chosen = replace(tiny_stage("main", 1), max_passes=3)
    batch = make_batch(data, chosen, tiny.heads, 0, 0)
    assert not torch.equal(batch.draws[1].msa_feat, batch.draws[2].msa_feat)
    model = new_model(tiny).eval()
    [(predicted, _)] = recycle(model, batch.inputs, lambda number: [batch.draws[number]], 2)
    heads = model.predict_heads(predicted.result)
    expected = total_loss(predicted.result, heads, batch, 2, chosen.losses, tiny.heads)
    losses = loop.run_passes(model, batch, 3, chosen)
    assert losses.terms == expected.terms
    assert losses.total == expected.total != loop.run_passes(model, batch, 1, chosen).total


def test_passes_without_gradients_run_the_fast_kernels(
    data: TrainingSet, tiny: ModelConfig
) -> None:
    chosen = replace(tiny_stage("main", 1), max_passes=3)
    batch = make_batch(data, chosen, tiny.heads, 0, 0)
    with_gradients: set[bool] = set()

    def noted(*arguments: Any) -> torch.Tensor:
        with_gradients.add(torch.is_grad_enabled())
        return CPU.transition(*arguments)

    models = [
        new_model(tiny, kernels=replace(CPU, transition=noted)).eval(),
        new_model(tiny).eval(),
    ]
    ours, theirs = (loop.run_passes(model, batch, 3, chosen).total for model in models)
    assert with_gradients == {False}
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


def test_a_sample_can_count_by_the_root_of_its_length(data: TrainingSet, tiny: ModelConfig) -> None:
    chosen = replace(tiny_stage("main", 1), crop_size=96)
    batch = make_batch(data, chosen, tiny.heads, 0, 0)
    lengths = batch.inputs.seq_mask.sum(-1)
    assert lengths[0] != lengths[1]
    model = new_model(tiny).eval()
    total = 0.0
    for number, length in enumerate(lengths):
        alone = make_batch(data, chosen, tiny.heads, 0, 0, range(number, number + 1))
        loss = loop.run_passes(model, alone, 1, chosen).total.item()
        total += loss * length.sqrt().item() / 2
    by_length = replace(chosen, losses=replace(chosen.losses, by_length=True))
    weighed = loop.run_passes(model, batch, 1, by_length).total.item()
    assert weighed == pytest.approx(total, rel=1e-5)


def test_dropout_follows_from_the_micro_batch(data: TrainingSet, tiny: ModelConfig) -> None:
    chosen = replace(tiny_stage("fold", 1), micro_batch=1)
    model = new_model(tiny)
    torch.manual_seed(5)
    first, _ = run_step(data, model, chosen)
    model = new_model(tiny)
    torch.manual_seed(6)
    assert run_step(data, model, chosen)[0] == first
    assert chosen.dropout_seed(0, 0, 0) != chosen.dropout_seed(0, 0, 1)


def test_training_confidence_on_nmr_alone_warns(
    tiny: ModelConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "world").mkdir()
    data = TrainingSet(write_world(tmp_path / "world").folder, splits=("train",))
    confidence, main = tiny_stage("confidence", 1), tiny_stage("main", 1)
    for value, said in ((0.0, 1), (3.5, 1), (2.0, 0), (float("nan"), 0)):
        for arrays in data.library.structures.shards:
            arrays["resolution"][:] = value
        caplog.clear()
        loop.train_stages(tiny, [main, confidence], data, loop.Run(tmp_path / f"run{value}"))
        assert caplog.text.count("Stage confidence learns nothing") == said


def test_a_head_that_is_missing_is_noticed_before_the_first_stage(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    config = replace(tiny, heads=replace(tiny.heads, pae=False))
    stages = [tiny_stage("main", 1), tiny_stage("confidence", 1)]
    with pytest.raises(InputError, match=r"Stage confidence trains aligned errors.*losses\.pae=0"):
        loop.train_stages(config, stages, data, loop.Run(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_of_packs_is_refused_as_output(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    write_world(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="is a folder of packs"):
        loop.train_stages(tiny, [tiny_stage("fold", 1)], data, loop.Run(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_chains_are_in_the_log(
    data: TrainingSet, tiny: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(tiny_stage("fold", 1), batch_size=3, micro_batch=2)
    assert run_step(data, new_model(tiny), chosen)[0]["damaged"] == 0
    monkeypatch.setattr(loop, "make_batch", lambda *args: replace(make_batch(*args), num_damaged=2))
    assert run_step(data, new_model(tiny), chosen)[0]["damaged"] == 4


def test_recomputed_blocks_have_the_same_gradients(data: TrainingSet, tiny: ModelConfig) -> None:
    chosen = tiny_stage("fold", 1)
    line, grads = run_step(data, new_model(tiny), chosen)
    again, recomputed = run_step(data, new_model(tiny, checkpoint=True), chosen)
    assert again == line
    assert all(torch.equal(recomputed[name], grad) for name, grad in grads.items())


def test_bfloat16_leaves_structure_and_losses_in_float32(
    data: TrainingSet, tiny: ModelConfig
) -> None:
    chosen = tiny_stage("fold", 1)
    exact, grads = run_step(data, new_model(tiny), chosen)
    half = new_model(tiny, dtype=torch.bfloat16, autocast=True)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    seen: dict[str, set[torch.dtype]] = {"structure": set(), "evoformer": set(), "heads": set()}

    def note(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: seen[name].add(output.dtype)

    for name in seen:
        for module in getattr(half, name).modules():
            if isinstance(module, torch.nn.Linear | Transition):
                module.register_forward_hook(note(name))
    line, rough = run_step(data, half, chosen)
    assert seen["structure"] == seen["heads"] == {torch.float32}
    assert torch.bfloat16 in seen["evoformer"]
    assert line["loss"] == pytest.approx(exact["loss"], rel=0.02) and line["loss"] != exact["loss"]
    assert {grad.dtype for grad in rough.values()} == {torch.float32}
    assert set(rough) == set(grads)


def test_a_run_from_weights_warms_up(data: TrainingSet, tiny: ModelConfig, tmp_path: Path) -> None:
    chosen = replace(tiny_stage("main", 3), warmup_steps=1)
    state = new_model(tiny).state_dict()
    start = loop.Run(tmp_path / "one", start=state)
    loop.train(tiny, chosen, data, start)
    rates = [line["learning_rate"] for line in read_log(tmp_path / "one")]
    expected = [chosen.learning_rate_at(step) * (step + 1) / 100 for step in range(3)]
    assert rates == pytest.approx(expected)
    # Resumed, it still warms up; the next stage has an optimiser and does not.
    parts = replace(start, folder=tmp_path / "two", asked_to_stop=lambda: True)
    while not loop.train_stages(tiny, [chosen], data, parts):
        pass
    assert read_log(tmp_path / "two") == read_log(tmp_path / "one")
    following = tiny_stage("long", 1)
    loop.train(tiny, following, data, parts)
    rate = following.learning_rate_at(0)
    assert read_log(tmp_path / "two")[-1]["learning_rate"] == pytest.approx(rate)


def test_stages_resume_from_the_folder(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    stages = [tiny_stage("fold", 2), tiny_stage("main", 2)]
    loop.train_stages(tiny, stages, data, loop.Run(tmp_path / "whole"))
    asked = iter([False, False, True, False])
    run = loop.Run(tmp_path / "parts", asked_to_stop=lambda: next(asked))
    assert not loop.train_stages(tiny, stages, data, run)
    assert loop.train_stages(tiny, stages, data, run)
    assert read_log(tmp_path / "parts") == read_log(tmp_path / "whole")
    assert len((tmp_path / "parts" / loop.LOG).read_text().splitlines()) == 4
    assert not loop.train_stages(
        tiny, stages, data, replace(run, folder=tmp_path / "m", minutes=0.0)
    )


def test_a_run_without_finite_gradients_counts_and_gives_up(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MAX_SKIPPED", 3)
    state = new_model(tiny).state_dict()
    state["heads.distogram.bias"][0] = torch.nan
    with pytest.raises(InputError, match="no finite gradient"):
        loop.train(tiny, tiny_stage("main", 9), data, loop.Run(tmp_path, start=state))
    lines = read_log(tmp_path)
    assert [line["num_skipped"] for line in lines] == [2, 4, 6]
    assert [line["loss"] for line in lines] == [None] * 3
    assert "NaN" not in (tmp_path / loop.LOG).read_text()


def test_the_keys_of_the_log_are_documented(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path
) -> None:
    loop.train(tiny, tiny_stage("main", 1), data, loop.Run(tmp_path))
    page = (Path(__file__).parents[2] / "docs" / "train.md").read_text("utf-8")
    table = page.partition("<!-- log -->")[2].partition("<!-- end of log -->")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = set(re.findall(r"`(\w+)`", " ".join(rows)))
    logged = set(json.loads((tmp_path / loop.LOG).read_text("utf-8")))
    assert logged <= documented
    assert documented - logged <= {each.name for each in fields(LossConfig)}


def test_logs_reach_tensorboard(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append((str(self.folder), 0, 0))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run = loop.Run(tmp_path, tensorboard=True)
    loop.train(tiny, tiny_stage("main", 2), data, run)
    first = read_log(tmp_path)[0]
    assert ("log/loss", first["loss"], first["num_samples"]) in written
    assert written[-1][0] == str(tmp_path / "tensorboard")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingError, match="not installed"):
        loop.train(tiny, tiny_stage("main", 3), data, run)


def test_sharded_parameters_cannot_be_clipped_by_sample(tiny: ModelConfig, tmp_path: Path) -> None:
    chosen = replace(tiny_stage("main", 1), clipping="sample", micro_batch=1)
    with pytest.raises(InputError, match="whole gradient"):
        loop.build(tiny, chosen, loop.Run(tmp_path, workers=Workers(0, 2, shard=True)))


@pytest.mark.parametrize(
    "setting",
    [
        "crop=3",
        "name=x",
        "losses=1",
        "losses.chi=x",
        "crop_size=1.5",
        "crop_size=0",
        "crop_size=",
        "learning_rate=nan",
        "learning_rate=-1",
        "adam_beta2=2",
        "max_gradient_norm=-1",
        "micro_batch=0",
        "clipping=none",
        "clipping=sample",
        "losses.by_length=1",
        "chains=val",
    ],
)
def test_wrong_settings_are_one_sentence(setting: str) -> None:
    with pytest.raises(InputError, match="cannot be set") as error:
        choose_stages(preset("mini"), "main", [setting])
    assert "\n" not in str(error.value)


def test_a_wrong_setting_gets_advice() -> None:
    for setting, says in {
        "crop_sise=12": "the nearest is crop_size",
        "losses=0.3": "the nearest is losses.chi",
        "crop_size": "write FIELD=VALUE",
        "crop_size=64,num_rows=2": "set each field separately",
        "template_fraction=2": "template_fraction must be from 0 to 1",
        "losses.unclamped_fraction=-1": "unclamped_fraction must be from 0 to 1",
        "num_rows=0": "num_rows must be 1 or more",
        "num_blocks=-1": "num_blocks must be 0 or more",
        "losses.chis=1": "the nearest is losses.chi",
        "colour=red": "docs/train.md",
        "crop_size=abc": "a whole number is needed",
        "learning_rate=fast": "a finite number is needed",
    }.items():
        with pytest.raises(InputError, match=says):
            choose_stages(preset("mini"), "main", [setting])


def test_only_the_wrong_one_of_several_settings_is_named() -> None:
    with pytest.raises(InputError, match=r"^crop_size=0 cannot be set"):
        choose_stages(preset("mini"), "main", ["num_rows=2", "crop_size=0"])


def test_a_run_does_not_return_to_an_earlier_stage(
    data: TrainingSet, tiny: ModelConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fold, main = tiny_stage("fold", 1), tiny_stage("main", 2)
    run = loop.Run(tmp_path)
    asked = replace(run, asked_to_stop=lambda: True)
    loop.train_stages(tiny, [fold, main], data, run)
    before = (tmp_path / loop.LOG).read_bytes()
    with pytest.raises(InputError, match="in stage main, which follows fold"):
        loop.train_stages(tiny, [replace(fold, num_steps=5)], data, run)
    assert (tmp_path / loop.LOG).read_bytes() == before
    with caplog.at_level("INFO"):
        loop.train_stages(tiny, [replace(main, num_steps=3), tiny_stage("long", 1)], data, asked)
    size = {part: len(names) for part, names in data.parts.items()}
    back = f"{size['confidence']} kept back for confidence"
    if size["selection"]:
        back += f", {size['selection']} kept back for validation"
    assert f" {size['train']} chains ({back}): resuming" in caplog.text
    assert [record.message.partition(":")[2] for record in caplog.records[-2:]] == [
        " resuming at step 3 of 3.",
        " starting at step 1 of 1.",
    ]


def test_settings_change_a_stage() -> None:
    settings = ["crop_size=128", "losses.chi=2", "clipping=sample", "micro_batch=1", "trained=a,b"]
    settings.append("losses.by_length=True")
    (chosen,) = choose_stages(preset("mini"), "main", settings)
    (plain,) = choose_stages(preset("mini"), "main")
    assert chosen == replace(
        plain,
        crop_size=128,
        losses=replace(plain.losses, chi=2.0, by_length=True),
        micro_batch=1,
        clipping="sample",
        trained=("a", "b"),
    )


@pytest.mark.parametrize(
    ("network", "name", "from_weights", "expected"),
    [
        ("model_1_ptm", None, True, ["initial", "finetuning"]),
        ("mini", None, False, ["fold", "main", "long", "confidence"]),
        ("mini", None, True, ["main", "long", "confidence"]),
        ("mini", "all", True, ["fold", "main", "long", "confidence"]),
        ("mini", "fold", True, ["fold"]),
    ],
)
def test_stages_depend_on_the_name_and_on_the_start(
    network: str, name: str | None, from_weights: bool, expected: list[str]
) -> None:
    stages = choose_stages(preset(network), name, from_weights=from_weights)
    assert [stage.name for stage in stages] == expected


def test_the_papers_schedule() -> None:
    initial, finetuning = paper_stages(pae=True)
    rates = [initial.learning_rate_at(step) for step in (0, 499, 999, 49_999, 50_000, 78_124)]
    assert rates == pytest.approx([1e-6, 5e-4, 1e-3, 1e-3, 9.5e-4, 9.5e-4])
    assert finetuning.learning_rate_at(0) == finetuning.learning_rate_at(11_000) == 5e-4
    assert (initial.clipping, initial.max_gradient_norm) == ("sample", 0.1)
    assert finetuning.losses.violations == 1.0
    assert initial.losses.by_length and finetuning.losses.by_length
    assert initial.deleted_blocks == finetuning.deleted_blocks == 5
    assert {initial.num_passes_at(0, step) for step in range(50)} == {1, 2, 3, 4}


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
    assert "Network mini has no stage 'last'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["confidence", "train"])
def test_chains_that_a_stage_uses_are_not_kept_back(
    part: str,
    tiny: ModelConfig,
    data: TrainingSet,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = replace(tiny_stage("main", 1), chains=part)
    with caplog.at_level("INFO"):
        loop._announce(tiny, stage, data, loop.Run(tmp_path), 0)
    assert ("kept back for confidence" in caplog.text) == (part == "train")
    assert " 0 kept back" not in caplog.text
    number = len(data.chains(stage)[0])
    assert f" {number} chain" in caplog.text

"""The experiments on what `mini` loses between its distogram and its atoms.

    python benchmarks/distogram_to_atoms.py [--data ../shared/data] [--out runs/mini] \
        [--arms NAME ...] [--samples 2000] [--svg docs/experiment-atoms.svg] [--table]

Every arm continues from the released weights (in the arm `stages`, from random ones) with AlphaFold
2's losses and smooth lDDT, Adam, batch 1, crop 64 and one change, all with the same number of
samples; the learning rate rises over the first twentieth and then falls to a twentieth. Parameters
that the released network lacks start so that its results are unchanged. The arm `samples` trains
nothing: it predicts every chain several times, from random rows, and keeps the one of the highest
pLDDT.

The averaged weights are measured every 1,000 samples on the 60 chains held back from training,
whole and without templates; in the end also with their best templates, and for contacts. Contacts
are those of chains with at least 100 homologues, of which there are few among the 60: chains on
which only the confidence heads are trained are added. The table has the precision of the L/5 best
contacts of at least 24 residues' distance in the distogram, in the positions laid out from it, and
in the model.

Each arm has a folder with log.jsonl, curve.jsonl and result.json. An interrupted run goes on where
it stopped, at most eight minutes earlier; finished arms are only printed. `--table` only prints.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chart import Series, svg
from experiments import ADAM, with_fields
from foldry.dataset.samples import Sample, TrainingSet
from foldry.errors import InputError
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig, StackConfig, mini
from foldry.model.heads import plddt
from foldry.model.runtime import Runtime, fastest, find_device
from foldry.residues import ATOM37_MASK
from foldry.store.files import append_line, last_line, make_folder, write_json
from foldry.store.locks import hold
from foldry.train import checkpoint, loop
from foldry.train.config import FROM_NOTHING, StageConfig, mini_stages
from foldry.train.data import collate
from foldry.train.losses import LossConfig
from foldry.train.validate import PART
from foldry.weights.networks import find_networks
from foldry.weights.state_file import load
from mini_quality import CONTACT, Chain, Result, contact_precision, judge
from script import check_names, run_script

CURVE, RESULT = "curve.jsonl", "result.json"
BETWEEN = 1000
"""Samples between two measurements."""
MINUTES = 8.0
"""Minutes between two checkpoints."""
DEEP = 100
"""Homologues of the chains whose contacts are measured."""
MAX_LENGTH = 256
NUM_ROWS = 32
"""Alignment rows in a measurement, as in a prediction."""
NUM_DRAWS = 8
"""Predictions of a chain in the arm `samples`."""
LONG_BREAK = 40.125
"""Last break in Å of the distogram that reaches 40 Å, in bins as wide as those of `mini`."""
SCORES = ("lddt_ca", "gdt_ts", "tm_score", "far_lddt", "radius_ratio", "strands")
CONTACTS = ("distogram", "layout", "contacts")
COLUMNS = {
    "lddt_ca": "lDDT-Cα", "gdt_ts": "GDT_TS", "tm_score": "TM", "far_lddt": "far lDDT",
    "radius_ratio": "Rg ratio", "strands": "strands", "distogram": "contacts of the distogram",
    "layout": "of the layout", "contacts": "of the model",
    "templates_lddt_ca": "lDDT-Cα with templates", "templates_gdt_ts": "GDT_TS",
}  # fmt: skip

BASE_LOSSES = LossConfig(smooth_lddt=1.0)
SHAPE_LOSSES: dict[str, dict[str, Any]] = {
    "certain": {"certain_distance": 2.0},
    "contacts": {"contact": 0.1},
    "fape": {"unclamped_fraction": 0.0, "fape_reach": 15.0},
    "shape": {"gyration": 2.0, "strand": 1.0},
    "mutual": {"mutual_lddt": True},
}
ALL_LOSSES: dict[str, Any] = {
    name: value for changes in SHAPE_LOSSES.values() for name, value in changes.items()
}
EXTRA_ROWS = StackConfig(
    num_blocks=1,
    c_msa=16,
    num_heads_msa=2,
    c_outer=16,
    c_triangle=32,
    transition_factor_msa=2,
    transition_factor_pair=2,
    global_column_attention=True,
    outer_product_first=True,
    triangle_attention=False,
    dropout_msa=0.05,
    dropout_pair=0.05,
)


@dataclass(frozen=True)
class Arm:
    """One experiment: changes of the stages and of the network, and how it is said in a table.

    Attributes:
        title: What is changed.
        losses, stage: Changes of the losses and other fields of the stage.
        network: Changes of the network, see `with_fields`.
        stages: Names of mini's stages that are trained in turn; the last is the one that counts.
        from_nothing: Whether the parameters are random at first.
        is_trained: Whether anything is trained; otherwise the released network is measured.
        draws: Predictions of each chain, of which the one of the highest pLDDT counts.
    """

    title: str
    losses: Mapping[str, Any] = field(default_factory=dict)
    stage: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    stages: Sequence[str] = ("main",)
    from_nothing: bool = False
    is_trained: bool = True
    draws: int = 1


STEPS = {"structure__max_step": 1.0}
FAR = {
    "heads__num_distogram_bins": 64 + round((LONG_BREAK - 21.6875) / 0.3125),
    "heads__distogram_last_break": LONG_BREAK,
}
ARMS: dict[str, Arm] = {
    "released": Arm("the released network", is_trained=False),
    "baseline": Arm("AlphaFold 2's losses and smooth lDDT"),
    "certain": Arm("distances weighted by certainty", SHAPE_LOSSES["certain"]),
    "contacts": Arm("contacts by classification", SHAPE_LOSSES["contacts"]),
    "fape": Arm("FAPE clamped, far pairs down-weighted", SHAPE_LOSSES["fape"]),
    "shape": Arm("radius of gyration and strand pairing", SHAPE_LOSSES["shape"]),
    "mutual": Arm("smooth lDDT of pairs near in truth or model", SHAPE_LOSSES["mutual"]),
    "losses": Arm("these five together", ALL_LOSSES),
    "refiner": Arm("structure module refines the layout", network=STEPS),
    "far": Arm("distogram up to 40 Å", network=FAR),
    "recycling": Arm(
        "recycling once with the layout's distances",
        stage={"max_passes": 2},
        network={"recycle_layout": True, "num_recycles": 1},
    ),
    "samples": Arm("best of eight samples by pLDDT", is_trained=False, draws=NUM_DRAWS),
    "rows": Arm(
        "pair features from 512 more rows",
        stage={"num_extra_rows": 512},
        network={"extra": EXTRA_ROWS, "features__num_extra_msa": 512},
    ),
    "stages": Arm(
        "AlphaFold 2's losses and smooth lDDT, from nothing, in mini's stages",
        stage=ADAM,
        stages=(FROM_NOTHING, "main"),
        from_nothing=True,
    ),
    "refiner-losses": Arm("the five losses, refining the layout", ALL_LOSSES, network=STEPS),
}


def plan(arm: Arm, samples: int) -> tuple[ModelConfig, list[StageConfig]]:
    """Return the network and the stages of an arm, each of which has `samples` samples."""
    known = {stage.name: stage for stage in mini_stages()}
    made = []
    for name in arm.stages:
        stage = replace(
            known[name],
            losses=replace(BASE_LOSSES, **arm.losses),
            optimizer="adam",
            learning_rate=5e-4,
            batch_size=1,
            num_steps=samples,
            warmup_steps=samples // 20,
        )
        if name == FROM_NOTHING:  # it trains the structure module alone
            stage = replace(stage, losses=replace(stage.losses, masked_msa=0.0, plddt=0.0))
        else:
            stage = replace(stage, spatial_fraction=0.3, self_template_fraction=0.1)
        stage = replace(stage, **arm.stage)
        made.append(replace(stage, final_learning_rate=stage.learning_rate / 20))
    return with_fields(mini(), dict(arm.network)), made


def starting_state(config: ModelConfig, released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters of a network that give the results of the released ones.

    New parameters are as in a random network, whose new blocks add nothing. The far bins of a
    longer distogram share the probability of the released open last bin, and the recycling of a
    first pass, which the released network never learned, adds nothing.
    """
    torch.manual_seed(0)
    state = AlphaFold(config).state_dict()
    known = {name: tensor.clone() for name, tensor in released.items()}
    weight, bias = known["heads.distogram.weight"], known["heads.distogram.bias"]
    num_new = len(state["heads.distogram.bias"]) - len(bias)
    if num_new:
        last = weight[-1:], bias[-1:] - math.log(1 + num_new) / 2  # the head is added twice
        known["heads.distogram.weight"] = torch.cat([weight[:-1], last[0].repeat(1 + num_new, 1)])
        known["heads.distogram.bias"] = torch.cat([bias[:-1], last[1].repeat(1 + num_new)])
    for name in ("norm_msa.weight", "norm_pair.weight", "distance.weight"):
        known[f"recycling.{name}"].zero_()
    return {**state, **known}


@dataclass(frozen=True)
class Look:
    """How much of a network is measured.

    Attributes:
        whole: Whether contacts and predictions with templates are measured too.
        draws: Predictions of each chain, of which the one of the highest pLDDT counts.
    """

    whole: bool = True
    draws: int = 1


@dataclass
class Reached:
    """Whether a run has taken a number of steps, from its log."""

    step: int
    is_over: bool = False

    def asked(self) -> bool:
        """Return whether the run should stop."""
        return self.is_over

    def watch(self, line: Mapping[str, Any]) -> None:
        """Read a line of the log."""
        self.is_over = line["step"] >= self.step


def train(arm: Arm, samples: int, data: TrainingSet, folder: Path, runtime: Runtime) -> None:
    """Train an arm, or the rest of it, and measure it every `BETWEEN` samples."""
    config, stages = plan(arm, samples)
    data.features = config.features
    start = None
    if not arm.from_nothing:
        start = starting_state(config, load(find_networks("mini")[0].path)[0])
    before = checkpoint.read_progress(folder)
    names = [stage.name for stage in stages]
    for stage in stages[names.index(before.stage) if before else 0 :]:
        run = loop.Run(folder, start=start, runtime=runtime)
        for step in parts(config, stage, data, run):
            if stage is stages[-1]:
                look = Look(whole=step == stage.num_steps)
                made = measure(folder / loop.WEIGHTS, stage, data, runtime, folder, look)
                append_line(folder / CURVE, {"step": step, **made})


def parts(
    config: ModelConfig, stage: StageConfig, data: TrainingSet, run: loop.Run
) -> Iterator[int]:
    """Train a stage in parts of `BETWEEN` steps, with a checkpoint every `MINUTES`.

    Yields:
        The steps taken, after each part and, if the last part was not measured, at first.
    """
    progress = checkpoint.read_progress(run.folder)
    step = progress.step if progress and progress.stage == stage.name else 0
    is_end = step % BETWEEN == 0 or step == stage.num_steps
    if step and is_end and last_line(run.folder / CURVE).get("step", 0) < step:
        yield step
    while step < stage.num_steps:
        target = (step // BETWEEN + 1) * BETWEEN
        reached = Reached(target)
        limited = replace(run, minutes=MINUTES, save_every=BETWEEN)
        limited = replace(limited, watch=reached.watch, asked_to_stop=reached.asked)
        step = loop.train(config, stage, data, limited).step
        if step in (target, stage.num_steps):
            yield step


def measure(
    weights: Path,
    stage: StageConfig,
    data: TrainingSet,
    runtime: Runtime,
    out: Path,
    look: Look,
) -> dict[str, Any]:
    """Return mean scores of the held-back chains, and of deep alignments' contacts.

    The scores of every chain are written into the folder `out`.
    """
    state, config, notes = load(weights)
    model = AlphaFold(config, runtime)
    model.load_state_dict(state)
    model.eval()
    data.features = config.features
    shown = replace(
        stage,
        crop_size=MAX_LENGTH,
        spatial_fraction=0.0,
        num_rows=NUM_ROWS,
        max_passes=1 + config.num_recycles,
        template_fraction=0.0,
        self_template_fraction=0.0,
    )
    started = time.process_time()
    deep = deep_chains(data) if look.whole else []
    results = {
        name: [predict(model, data, shown, name, draw) for draw in range(look.draws)]
        for name in dict.fromkeys([*data.parts[PART], *deep])
    }
    chosen = {name: max(made, key=lambda each: each["plddt"]) for name, made in results.items()}
    means = {score: mean(chosen, data.parts[PART], score) for score in SCORES}
    if look.draws > 1:
        oracle = {
            name: max(made, key=lambda each: each["gdt_ts"]) for name, made in results.items()
        }
        means["best_gdt_ts"] = mean(oracle, data.parts[PART], "gdt_ts")
        first = {name: made[0] for name, made in results.items()}
        means["first_gdt_ts"] = mean(first, data.parts[PART], "gdt_ts")
    with_templates = {}
    if look.whole:
        means |= {score: mean(chosen, deep, score) for score in CONTACTS}
        with_templates = {
            name: predict(model, data, replace(shown, template_fraction=1.0), name, 0)
            for name in data.parts[PART]
        }
        for score in ("lddt_ca", "gdt_ts"):
            means[f"templates_{score}"] = mean(with_templates, data.parts[PART], score)
    samples = int(notes.get("samples", 0))
    write_json(out / f"chains-{samples}.json", {"alone": chosen, "templates": with_templates})
    seconds = round(time.process_time() - started, 1)
    return {"samples": samples, **means, "measuring_cpu_seconds": seconds}


def mean(results: Mapping[str, Mapping[str, float]], names: Sequence[str], score: str) -> float:
    """Return the mean of a score over chains that have it."""
    return round(float(np.nanmean([results[name][score] for name in names])), 4)


def deep_chains(data: TrainingSet) -> list[str]:
    """Return chains that the trunk is not trained on, with at least `DEEP` homologues."""
    held_back = [*data.parts[PART], *data.parts["confidence"]]
    return [
        name
        for name in held_back
        if len(data.library.chain(name)) <= MAX_LENGTH
        and len(data.library.alignment(name)[0]) > DEEP
    ]


@torch.no_grad()
def predict(
    model: AlphaFold, data: TrainingSet, stage: StageConfig, name: str, draw: int
) -> dict[str, float]:
    """Return the scores of one chain; draws after the first see a random part of the rows."""
    if draw == 0:
        sample = data.whole_sample(name, stage, 0)
    else:
        sample = data.sample(name, stage, np.random.default_rng(draw))
    size = len(sample.truth)
    batch = collate([sample], replace(stage, crop_size=size), model.config.heads)
    batch = batch.to(model.runtime.device)
    recycled = model.first_recycled(batch.inputs)
    for rows in batch.draws:
        result = model(batch.inputs, [rows], recycled)
        recycled = result.recycled()
    logits = model.predict_heads(result)
    pair, mask = result.representations.pair, batch.inputs.seq_mask
    layout = model.initial_frames(pair, mask, batch.inputs.templates).translation[0]
    found = scores_of(sample, result.atom37[0].float().cpu().numpy())
    heads = model.config.heads
    breaks = torch.linspace(
        heads.distogram_first_break, heads.distogram_last_break, heads.num_distogram_bins - 1
    )
    near = logits.distogram[0].softmax(-1)[..., : int((breaks <= CONTACT).sum())].sum(-1)
    return {
        **{score: getattr(found, score) for score in (*SCORES, "contacts")},
        "distogram": contact_precision(near.cpu().numpy(), sample.truth),
        "layout": contact_precision(-torch.cdist(layout, layout).cpu().numpy(), sample.truth),
        "plddt": float(plddt(logits.plddt)[0].mean()),
    }


def scores_of(sample: Sample, positions: np.ndarray) -> Result:
    """Return the scores of predicted atoms [N, 37, 3] in Å."""
    truth = sample.truth
    chain = Chain("", 0, truth, None, None)
    return judge(chain, positions, ATOM37_MASK[truth.aatype])


def run_arm(name: str, samples: int, data: TrainingSet, out: Path, runtime: Runtime) -> None:
    """Train and measure an arm, unless it is finished."""
    arm, folder = ARMS[name], out / name
    if (folder / RESULT).is_file():
        return
    make_folder(folder)
    started, cpu = time.monotonic(), time.process_time()
    config, stages = plan(arm, samples)
    if arm.is_trained:
        train(arm, samples, data, folder, runtime)
    else:
        weights = find_networks("mini")[0].path
        made = measure(weights, stages[-1], data, runtime, folder, Look(draws=arm.draws))
        append_line(folder / CURVE, made | {"samples": 0})
    made = {
        **last_line(folder / CURVE),
        "arm": name,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "cpu_seconds": round(time.process_time() - cpu),
        "network": config.to_dict(),
        "stages": [asdict(stage) for stage in stages],
    }
    write_json(folder / RESULT, made)


def table(out: Path) -> str:
    """Return the last measurement of every arm as Markdown."""
    titles = " | ".join(COLUMNS.values())
    lines = [f"| arm | samples | {titles} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for name, arm in ARMS.items():
        made, seen = last_line(out / name / CURVE), last_line(out / name / loop.LOG)
        numbers = " | ".join(f"{made[column]:.3f}" if column in made else "" for column in COLUMNS)
        done = f"{made.get('samples', 0):,}"
        if seen and not (out / name / RESULT).is_file():
            done += f" (at {seen['num_samples']:,})"
        if made or seen:
            lines.append(f"| {arm.title} | {done} | {numbers} |")
    return "\n".join(lines)


def curves(out: Path) -> list[Series]:
    """Return lDDT-Cα of the training crops of every arm, as means over 100 samples."""
    found = []
    for name, arm in ARMS.items():
        log = out / name / loop.LOG
        if log.is_file():
            lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
            steps = {line["step"]: line["lddt"] for line in lines if line["stage"] == "main"}
            groups = [list(range(end - 100, end)) for end in range(101, len(steps) + 2, 100)]
            points = [(group[-1], float(np.mean([steps[i] for i in group]))) for group in groups]
            if points:
                found.append(Series(arm.title, points))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/mini"))
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--svg", type=Path, help="file for the curves")
    parser.add_argument("--table", action="store_true", help="print what there is, run nothing")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    check_names(arguments.arms, ARMS)
    if not arguments.table:
        if not arguments.data.is_dir():
            what = "does not exist"
            raise InputError(what, "give the folder of the packs", where=arguments.data)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        runtime = fastest(find_device(arguments.device))
        cores = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
        print(f"{platform.machine()}, {cores}, {arguments.device}", flush=True)
        with hold(arguments.out):
            data = TrainingSet(arguments.data)
            for name in arguments.arms:
                logging.info("Arm %s: %s.", name, ARMS[name].title)
                run_arm(name, arguments.samples, data, arguments.out, runtime)
                print(table(arguments.out), flush=True)
    print(table(arguments.out))
    if arguments.svg:
        labels = "samples", "lDDT-Cα, training crops"
        arguments.svg.write_text(
            svg("From the distogram to the atoms", labels, curves(arguments.out))
        )


if __name__ == "__main__":
    run_script(main)

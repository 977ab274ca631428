"""The experiments behind `mini`: arms that show what a small network needs to learn.

    python benchmarks/experiments.py --data ../shared/data --out runs/experiments \
        [--experiment losses optimiser] [--samples 4000] [--svg docs] [--dtype bfloat16] \
        [--weights FILE]

Every arm is mini's stage `main` (in the experiment `fold`, the stage `fold`) with one change, at
crop size 64. All arms see the same number of samples, except that the arms of `shape` and `inputs`
use the same number of operations as `mini`. The learning rate rises over the first twentieth of the
steps and then falls linearly to a twentieth of its maximum. Each arm is measured on chains held
back from training, never on val: crops of up to 128 residues, with a template if the chain has one.

Interrupted arms resume, finished arms are only printed, and arms shared by several experiments run
once. The rows are Markdown, as in docs/training-log.md. `--svg` draws lDDT-Cα on the training
crops; `--weights` measures other networks in the same way.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from chart import Series, svg
from foldry.dataset.samples import TrainingSet
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig, mini
from foldry.model.runtime import Runtime, fastest, find_device
from foldry.train import loop
from foldry.train.config import StageConfig, mini_stages
from foldry.train.distributed import Workers
from foldry.train.losses import LossConfig
from foldry.train.validate import PART, validate
from foldry.weights.state_file import load
from loss_curve import read
from script import run_script
from training_flops import gigaflop

CROP = 64
VALIDATION_CROP = 128
WARM_UP = 0.05
"""Fraction of the steps."""
CURVE_POINTS = 20
HEADER = (
    "| arm | samples | lDDT-Cα with templates | alignment alone | GDT_TS | radius of gyration | "
    "right-handed |\n|---|---|---|---|---|---|---|\n"
)
"""All columns except `alignment alone` use templates."""


@dataclass(frozen=True)
class Arm:
    """Changes of the stage and the network relative to `base`."""

    name: str
    stage: dict[str, Any]
    network: dict[str, Any]
    seed: int = 0
    base: str = "main"


def arm(name: str, *, seed: int = 0, base: str = "main", **changes: Any) -> Arm:
    """Return an arm; a name with the prefix `network_` is a field of the network."""
    network = {key for key in changes if key.startswith("network_")}
    return Arm(
        name,
        {key: value for key, value in changes.items() if key not in network},
        {key.removeprefix("network_"): changes[key] for key in network},
        seed,
        base,
    )


ADAM: dict[str, Any] = {"optimizer": "adam", "learning_rate": 1e-3, "final_learning_rate": 1e-3}
SHAPES: dict[str, dict[str, Any]] = {
    "6 blocks, c_z 64, c_m 64 (mini)": {},
    "4 blocks with triangle attention": {
        "evoformer.num_blocks": 4,
        "evoformer.triangle_attention": True,
    },
    "3 blocks, c_z 96": {"evoformer.num_blocks": 3, "c_pair": 96},
    "8 blocks, c_m 32": {"evoformer.num_blocks": 8, "evoformer.c_msa": 32},
    "6 structure layers": {"structure.num_layers": 6},
}
ORIGIN: dict[str, Any] = {"network_structure__initial_frames": "origin"}
NO_PROFILE: dict[str, Any] = {"network_features__profile": False}
NO_COEVOLUTION: dict[str, Any] = {"network_features__coevolution": False}
EXPERIMENTS: dict[str, list[Arm]] = {
    "fold": [
        arm("from the origin, Adam", base="fold", **ORIGIN, **ADAM),
        arm("from the origin, Muon", base="fold", **ORIGIN),
        arm("from the distogram, Adam", base="fold", **ADAM),
        arm("from the distogram, Muon (mini)", base="fold"),
    ],
    "losses": [
        arm("AlphaFold 2's", losses=LossConfig()),
        arm("and smooth lDDT", losses=LossConfig(smooth_lddt=1.0)),
        arm("and Cα distances", losses=LossConfig(ca_distance=0.05)),
        arm("and both", losses=LossConfig(smooth_lddt=1.0, ca_distance=0.05)),
        arm("both, with mini's weights (mini)"),
    ],
    "templates": [
        arm("none", template_fraction=0.0, self_template_fraction=0.0),
        arm("real ones", self_template_fraction=0.0),
        arm("real ones and noised copies (mini)"),
    ],
    "optimiser": [
        *(arm(f"Adam, batch {size}", batch_size=size, **ADAM) for size in (1, 4, 16)),
        *(arm(f"Muon, batch {size}", batch_size=size) for size in (1, 4, 16)),
        arm("Adam, batch 1, another seed", batch_size=1, seed=1, **ADAM),
        arm("Muon, batch 1, another seed", batch_size=1, seed=1),
    ],
    "shape": [
        Arm(name, {}, {key.replace(".", "__"): value for key, value in changes.items()})
        for name, changes in SHAPES.items()
    ],
    "inputs": [
        arm("8 rows", num_rows=8),
        arm("16 rows (mini)"),
        arm("32 rows", num_rows=32),
        arm("up to 2 passes", max_passes=2),
        arm("up to 3 passes", max_passes=3),
        arm("crop 96", crop_size=96),
        arm("no profile, no coevolution", **NO_PROFILE, **NO_COEVOLUTION),
        arm("no coevolution", **NO_COEVOLUTION),
        arm("no profile", **NO_PROFILE),
    ],
    "frames": [
        arm("from the origin", **ORIGIN),
        arm("from the distogram (mini)"),
    ],
    "winner": [
        arm(
            "AlphaFold 2's losses and smooth lDDT, Adam, batch 1, another seed",
            losses=LossConfig(smooth_lddt=1.0),
            batch_size=1,
            seed=1,
            **ADAM,
        ),
    ],
}
EQUAL_OPERATIONS = ("shape", "inputs")


def with_fields(config: Any, changes: dict[str, Any]) -> Any:
    """Return a changed config; `a__b` is field b of field a."""
    for key, value in changes.items():
        name, _, rest = key.partition("__")
        config = replace(
            config,
            **{name: with_fields(getattr(config, name), {rest: value}) if rest else value},
        )
    return config


def plan(chosen: Arm, samples: int) -> tuple[ModelConfig, StageConfig]:
    """Return the network and the stage of an arm."""
    base = next(stage for stage in mini_stages() if stage.name == chosen.base)
    stage = replace(base, **{"crop_size": CROP, **chosen.stage})
    steps = max(samples // stage.batch_size, 1)
    stage = replace(
        stage,
        num_steps=steps,
        warmup_steps=max(round(WARM_UP * steps), 1),
        final_learning_rate=stage.learning_rate / 20,
    )
    return with_fields(mini(), chosen.network), stage


def affordable(chosen: Arm, samples: int, data: TrainingSet) -> int:
    """Return the number of an arm's samples that cost as much as those of `mini`.

    Passes without gradient cost a third.
    """

    def cost(of: Arm) -> float:
        config, stage = plan(of, samples)
        data.features = config.features
        return gigaflop(config, stage, data) * (1 + (stage.max_passes - 1) / 2 / 3)

    return round(samples * cost(arm("mini", base=chosen.base)) / cost(chosen))


def run_arm(
    chosen: Arm, samples: int, data: TrainingSet, out: Path, runtime: Runtime
) -> tuple[Path, dict[str, Any]]:
    """Train and measure one arm, resuming if needed; return its folder and its measurements."""
    config, stage = plan(chosen, samples)
    made_of = json.dumps([config.to_dict(), asdict(stage), chosen.seed, str(runtime.dtype)])
    folder = out / hashlib.sha256(made_of.encode()).hexdigest()[:16]
    result = folder / "result.json"
    if result.is_file():
        return folder, json.loads(result.read_text("utf-8"))
    data.features = config.features
    run = loop.Run(folder, seed=chosen.seed, save_every=500, runtime=runtime)
    loop.train(config, stage, data, run)
    made = {"samples": stage.num_steps * stage.batch_size}
    made |= measure(folder / loop.WEIGHTS, stage, data, runtime)
    result.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return folder, made


def measure(
    weights: Path, stage: StageConfig, data: TrainingSet, runtime: Runtime
) -> dict[str, Any]:
    """Return means over the held-back chains, with the best template and without."""
    state, config, _ = load(weights)
    model = AlphaFold(config, runtime)
    model.load_state_dict(state)
    data.features = config.features
    measured = replace(stage, crop_size=VALIDATION_CROP)
    return {
        title: validate(
            model,
            data,
            replace(measured, template_fraction=share),
            len(data.parts[PART]),
            Workers(),
        )
        for title, share in (("templates", 1.0), ("alignment", 0.0))
    }


def row(name: str, samples: str, made: dict[str, Any]) -> str:
    """Return a line of a table."""
    best, alone = made["templates"], made["alignment"]
    return (
        f"| {name} | {samples} | {best['lddt_ca']:.3f} | {alone['lddt_ca']:.3f} | "
        f"{best['gdt_ts']:.3f} | {best['radius_ratio']:.2f} | {best['right_handed']:.2f} |\n"
    )


def curve(name: str, folder: Path) -> Series:
    """Return lDDT-Cα of the training crops, averaged over equal parts of a run."""
    lines = read(folder)
    edges = [round(part * len(lines) / CURVE_POINTS) for part in range(CURVE_POINTS + 1)]
    parts = [lines[start:end] for start, end in itertools.pairwise(edges)]
    return Series(
        name,
        [
            (part[-1]["num_samples"], sum(line["lddt"] for line in part) / len(part))
            for part in parts
            if part
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/experiments"))
    parser.add_argument("--experiment", nargs="*", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument(
        "--weights", nargs="*", type=Path, default=[], help="files to measure like the arms"
    )
    parser.add_argument("--svg", type=Path, help="folder for the curves")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    data = TrainingSet(arguments.data)
    half = arguments.dtype == "bfloat16"
    runtime = fastest(
        device,
        dtype=torch.bfloat16 if half else torch.float32,
        autocast=half,
    )
    write = sys.stdout.write
    write(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, ")
    write(f"device {arguments.device}, {arguments.dtype}\n")
    for name in arguments.experiment:
        write(f"\n## {name}\n\n{HEADER}")
        curves = []
        for chosen in EXPERIMENTS[name]:
            samples = arguments.samples
            if name in EQUAL_OPERATIONS:
                samples = affordable(chosen, samples, data)
            folder, made = run_arm(chosen, samples, data, arguments.out, runtime)
            write(row(chosen.name, f"{made['samples']:,}", made))
            sys.stdout.flush()
            curves.append(curve(chosen.name, folder))
        if arguments.svg:
            chart = svg(f"Experiment: {name}", ("samples", "lDDT-Cα, training crops"), curves)
            (arguments.svg / f"experiment-{name}.svg").write_text(chart, "utf-8")
    if arguments.weights:
        write(f"\n## Others\n\n{HEADER}")
    for weights in arguments.weights:
        _, stage = plan(arm("mini"), arguments.samples)
        write(row(weights.name, "", measure(weights, stage, data, runtime)))


if __name__ == "__main__":
    run_script(main)

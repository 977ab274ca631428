"""Train from a bundle for a given number of minutes and measure on the validation chains.

    PYTHONPATH=src python benchmarks/gpu_train.py BUNDLE --work /tmp/run --out OUT --minutes 8

The machine needs torch, triton, numpy, jaxtyping and safetensors, but no network access. BUNDLE is
the output of `foldry train pack`, or some of its parts: the folder --work collects them, and
training starts once all parts are there. A later call with the same --work needs no BUNDLE and
resumes. On a fresh machine, --resume takes the checkpoint in OUT; --start takes OUT's
ema.safetensors and starts a fresh optimiser. OUT receives the weights, the log and the checkpoint
before the measurement, then `val.json`. Files larger than 16 MiB are split into parts, which
`foldry.train.bundle.read_parts` joins.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch

from foldry.dataset.samples import TrainingSet
from foldry.model.alphafold import AlphaFold
from foldry.model.runtime import Runtime, fastest, find_device
from foldry.store.files import write_bytes
from foldry.train import bundle, loop
from foldry.train.checkpoint import NAME
from foldry.train.config import StageConfig, choose_stages
from foldry.train.distributed import Workers
from foldry.train.validate import PART, validate
from foldry.weights.state_file import load
from script import run_script

SHARD = 16
"""Largest output file, in MiB."""
VAL_LENGTH = 256
"""Residues of the longest validation chain, so that none is cropped."""
CONDITIONS = {"alignment and template": 1.0, "alignment": 0.0}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, nargs="?", help="the bundle, or some of its parts")
    parser.add_argument(
        "--work", type=Path, required=True, help="working folder, kept between calls"
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--minutes", type=float, default=8, help="minutes of training; measuring takes two more"
    )
    parser.add_argument(
        "--stage",
        help="stage or all; default: all, but without fold if training starts from weights",
    )
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="FIELD=VALUE"
    )
    parser.add_argument("--start", type=Path, help="weights, instead of the bundle's")
    parser.add_argument(
        "--resume", type=Path, help="checkpoint of an earlier call, or folder of its parts"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--num-val", type=int, default=150, help="maximum number of validation chains"
    )
    return parser.parse_args()


def receive(source: Path | None, work: Path) -> list[str]:
    """Store the given parts, unpack once all are there, and return the names of missing ones."""
    kept, data = work / "bundle", work / "data"
    if data.is_dir():
        return []
    kept.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()) if source else []:
        if path.name == bundle.MANIFEST or path.suffix == ".bin":
            shutil.copyfile(path, kept / path.name)
    manifest = kept / bundle.MANIFEST
    if not manifest.is_file():
        return [bundle.MANIFEST]
    parts, _ = bundle.read_manifest(kept)
    missing = [part.name for part in parts if not (kept / part.name).is_file()]
    if not missing:
        bundle.unpack(kept, data)
    return missing


def hand_back(path: Path, out: Path) -> None:
    """Copy a file, split into parts if it is too large."""
    if path.stat().st_size <= SHARD * 2**20:
        shutil.copyfile(path, out / path.name)
    else:
        bundle.write_parts(path.read_bytes(), out / path.stem, SHARD)


def measure(
    weights: Path, data: Path, stage: StageConfig, runtime: Runtime, num_chains: int
) -> dict[str, object]:
    """Return means over the whole validation chains, with the stage's largest number of passes."""
    state, config, notes = load(weights)
    model = AlphaFold(config, runtime)
    model.load_state_dict(state)
    held = TrainingSet(data, ["val"], exclude=(), features=config.features)
    held.parts[PART] = sorted(held.library.alignments.place)
    whole = replace(stage, crop_size=VAL_LENGTH, batch_size=1, micro_batch=None)
    number = min(num_chains, len(held.parts[PART]))
    scores: dict[str, object] = {"samples": notes.get("samples"), "n": number}
    for title, share in CONDITIONS.items():
        chosen = replace(whole, template_fraction=share)
        scores[title] = validate(model, held, chosen, num_chains, Workers())
    return scores


def train(given: argparse.Namespace, runtime: Runtime) -> list[StageConfig]:
    """Train as many steps as the minutes allow and return the stages."""
    work, run = given.work, given.work / "run"
    run.mkdir(parents=True, exist_ok=True)
    if given.resume is not None and not (run / NAME).is_file():
        whole = given.resume.is_file()
        data = given.resume.read_bytes() if whole else bundle.read_parts(given.resume)[0]
        write_bytes(run / NAME, data, sync=True)
    state, config, _ = load(given.start or work / "data" / bundle.WEIGHTS)
    fresh = not (run / NAME).is_file()
    stages = choose_stages(config, given.stage, given.settings, from_weights=fresh)
    training = TrainingSet(work / "data", features=config.features)
    settings = loop.Run(
        run, seed=given.seed, minutes=given.minutes, start=state, runtime=runtime, watch=watch
    )
    loop.train_stages(config, stages, training, settings)
    return stages


def watch(line: dict[str, object]) -> None:
    if int(str(line["step"])) % 50 == 0:
        print(*(f"{name} {line[name]}" for name in ("stage", "step", "loss", "seconds")))


def main() -> None:
    given = arguments()
    device = find_device(given.device)
    missing = receive(given.bundle, given.work)
    if missing:
        print(f"missing parts: {', '.join(missing)}")
        return
    half = device.type == "cuda"
    dtype = torch.bfloat16 if half else torch.float32
    runtime = fastest(device, dtype=dtype, autocast=half)
    began = time.monotonic()
    stages = train(given, runtime)
    given.out.mkdir(parents=True, exist_ok=True)
    run = given.work / "run"
    for name in (loop.WEIGHTS, loop.LOG):
        hand_back(run / name, given.out)
    print(f"trained for {time.monotonic() - began:.0f} s; weights are in {given.out}")
    hand_back(run / NAME, given.out)
    scores = measure(run / loop.WEIGHTS, given.work / "data", stages[-1], runtime, given.num_val)
    (given.out / "val.json").write_text(json.dumps(scores, indent=1) + "\n", "utf-8")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    run_script(main)

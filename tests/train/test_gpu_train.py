"""benchmarks/gpu_train.py: parts arrive one by one, runs resume, and results are returned."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from foldry.dataset.packs import Library, alignment_arrays, hit_arrays, write_pack, write_table
from foldry.errors import DiskFullError
from foldry.model.runtime import Runtime
from foldry.train.bundle import MANIFEST, pack, read_parts, write_parts
from foldry.train.checkpoint import NAME
from foldry.weights.state_file import load
from tests.conftest import ROOT
from tests.train.synthetic import write_world

MINI = ROOT / "src" / "foldry" / "weights" / "mini.safetensors"


@pytest.fixture
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_train", ROOT / "benchmarks/gpu_train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_run_from_a_bundle_resumes(tmp_path: Path) -> None:
    world, bundle = write_world(tmp_path).folder, tmp_path / "bundle"
    library, names = Library(world, ["train"]), ["c3", "c7"]
    alignments = {name: library.alignment(name) for name in names}
    write_pack(world / "msas" / "msas-val.npz", alignment_arrays(alignments))
    hits = {name: library.hits(name) for name in names}
    write_pack(world / "templates" / "templates-val.npz", hit_arrays(hits))
    write_table(world / "splits" / "val.tsv", [{"id": name, "length": 1} for name in names])
    pack(world, bundle, MINI, max_rows=4)
    data, notes = read_parts(bundle)
    write_parts(data, bundle, 1, splits=notes["splits"])
    parts = sorted(path.name for path in bundle.glob("part-*.bin"))
    assert len(parts) > 3

    def run(*words: object) -> str:
        command = [sys.executable, ROOT / "benchmarks" / "gpu_train.py", *words]
        command += ["--work", tmp_path / "work", "--out", tmp_path / "back", "--device", "cpu"]
        command += ["--minutes", 0, "--stage", "long", "--set", "crop_size=32"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    half = tmp_path / "half"
    half.mkdir()
    for name in (MANIFEST, *parts[:-1]):
        shutil.copyfile(bundle / name, half / name)
    assert run(half) == f"missing parts: {parts[-1]}\n"
    (bundle / parts[0]).unlink()
    run(bundle, "--num-val", 1)
    back = tmp_path / "back"
    scores = json.loads((back / "val.json").read_text())
    assert scores["n"] == 1
    assert 0 < scores["alignment"]["lddt_ca"] < 1
    _, _, before = load(back / "ema.safetensors")
    write_parts((back / "checkpoint.safetensors").read_bytes(), back / "checkpoint", 1)
    # On a fresh machine, the run resumes from the returned files.
    shutil.rmtree(tmp_path / "work" / "run")
    run("--resume", back / "checkpoint", "--num-val", 0)
    _, _, after = load(back / "ema.safetensors")
    assert int(after["samples"]) == 2 * int(before["samples"]) > 0
    steps = [json.loads(line)["step"] for line in (back / "log.jsonl").read_text().splitlines()]
    assert steps == [2]


@pytest.mark.parametrize(
    ("words", "has_checkpoint", "first"),
    [([], False, "main"), (["--stage", "all"], False, "fold"), ([], True, "fold")],
)
def test_training_from_weights_skips_the_first_stage(
    program: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    has_checkpoint: bool,
    first: str,
) -> None:
    run, begun = tmp_path / "run", []
    if has_checkpoint:
        run.mkdir()
        (run / NAME).touch()
    monkeypatch.setattr(program, "TrainingSet", lambda *_, **__: None)
    monkeypatch.setattr(program.loop, "train_stages", lambda _, stages, *__: begun.extend(stages))
    folders = ["--work", str(tmp_path), "--out", str(tmp_path / "back"), "--start", str(MINI)]
    monkeypatch.setattr(sys, "argv", ["gpu_train.py", *folders, *words])
    program.train(program.arguments(), Runtime())
    names = ["fold", "main", "long", "confidence"]
    assert [stage.name for stage in begun] == names[names.index(first) :]


def test_a_resumed_checkpoint_is_complete_or_absent(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "the disk is full")

    resumed = tmp_path / "checkpoint"
    resumed.write_bytes(b"all that was handed back")
    folders = ["--work", str(tmp_path), "--out", str(tmp_path), "--resume", str(resumed)]
    monkeypatch.setattr(sys, "argv", ["gpu_train.py", *folders])
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFullError, match="checkpoint"):
        program.train(program.arguments(), Runtime())
    assert list((tmp_path / "run").iterdir()) == []


def test_large_files_are_returned_in_parts(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program.SHARD == 16
    monkeypatch.setattr(program, "SHARD", 1)
    out = tmp_path / "out"
    out.mkdir()
    for size in (2**20, 5 * 2**19):
        path = tmp_path / f"f{size}.bin"
        path.write_bytes(bytes(range(256)) * (size // 256))
        program.hand_back(path, out)
        whole = out / path.name
        data = whole.read_bytes() if size == 2**20 else read_parts(out / path.stem)[0]
        assert data == path.read_bytes()
    assert max(path.stat().st_size for path in out.rglob("*")) <= 2**20

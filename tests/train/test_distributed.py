"""Several workers give the result of one: the same samples, dropout and weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from foldry.dataset.samples import TrainingSet
from foldry.errors import InputError, MissingError
from foldry.model.runtime import find_device
from foldry.train import loop
from foldry.train.distributed import Workers, device_of_worker, join_workers
from tests.train.synthetic import write_world
from tests.train.tiny import read_log, shared_stages, tiny_config

ROOT = Path(__file__).resolve().parents[2]
NUM_STEPS = 3


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, `world`, and the run of one process, `one`."""
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "world").mkdir()
    data = TrainingSet(write_world(folder / "world").folder, splits=("train",))
    assert loop.train_stages(
        tiny_config(), shared_stages(NUM_STEPS), data, loop.Run(folder / "one", save_every=2)
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--shard"]], ids=["copies", "shards"])
def test_two_processes_give_the_result_of_one(
    alone: Path, tmp_path: Path, flags: list[str]
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = ["-m", "tests.train.tiny", str(alone / "world"), str(tmp_path / "two"), *flags]
    subprocess.run(
        [*torchrun, *program, f"--steps={NUM_STEPS}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    one, two = read_log(alone / "one"), read_log(tmp_path / "two")
    assert [line["step"] for line in two] == 2 * list(range(1, NUM_STEPS + 1))
    for ours, theirs in zip(two, one, strict=True):
        assert ours.pop("stage") == theirs.pop("stage")
        assert ours == pytest.approx(theirs, rel=1e-5)
    ours, theirs = (load_file(place / loop.WEIGHTS) for place in (tmp_path / "two", alone / "one"))
    # Adam's steps on gradients near zero differ more than the losses do.
    apart = sum((ours[name] - tensor).square().sum() for name, tensor in theirs.items())
    assert apart < 1e-3**2 * sum(tensor.square().sum() for tensor in theirs.values())


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=9),
    size=st.integers(1, 9),
    shard=st.booleans(),
)
def test_workers_share_a_step(sizes: list[int], size: int, shard: bool) -> None:
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    groups = [range(end - count, end) for count, end in zip(sizes, ends, strict=True)]
    if size > len(groups):
        with pytest.raises(InputError, match="start fewer"):
            Workers(0, size, shard).share(groups)
        return
    shares = [Workers(rank, size, shard).share(groups) for rank in range(size)]
    counted = [micro for share in shares for micro in share if micro.weight]
    assert sorted(micro.number for micro in counted) == list(range(len(groups)))
    assert sum(micro.weight for micro in counted) == pytest.approx(1)
    assert all(
        micro.weight == pytest.approx(len(groups[micro.number]) / sum(sizes)) for micro in counted
    )
    if shard:
        assert len({len(share) for share in shares}) == 1


def test_a_worker_takes_its_own_gpu_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of_worker(find_device("auto")) == torch.device("cpu")
    with pytest.raises(MissingError, match="There is no device 'cuda' here: set `device` to cpu"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(MissingError, match="own GPU, and this machine has 1: start fewer workers"):
        device_of_worker(find_device("auto"))
    assert device_of_worker(find_device("cpu")) == torch.device("cpu")
    assert device_of_worker(find_device("cuda:0")) == torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of_worker(find_device("auto")) == torch.device("cuda:1")
    monkeypatch.delenv("LOCAL_RANK")
    assert device_of_worker(find_device("auto")) == torch.device("cuda")


def test_one_process_has_nothing_to_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(InputError, match="`shard` needs several processes"),
        join_workers(torch.device("cpu"), shard=True),
    ):
        pass

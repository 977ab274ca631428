"""Several queries at once: the same results in the same order, whatever happens to a process."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from foldry.cli.main import main
from foldry.cli.messages import sentence
from foldry.errors import DiskFullError, InputError, MemoryShortError
from foldry.kernels.matmul import tuned_process
from foldry.predict import workers
from foldry.predict.parallel import run_parallel
from foldry.predict.runner import Predict, run
from foldry.predict.settings import Settings
from foldry.predict.workers import MEMORY, PER_JOB, SMALL, automatic_jobs, worker_processes
from foldry.query import Chain, Query
from foldry.results.folder import ResultsFolder
from tests.predict.test_runner import SEQUENCE, query, weights

__all__ = ["weights"]


@dataclass(frozen=True)
class Troubled:
    """A publisher to which happens what the name of a query says."""

    folder: Path

    def publish(self, query: Query, key: str, predict: Predict) -> bool:
        if query.name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if query.name == "wrong":
            raise InputError("is wrong", "give another", where="The query")
        if query.name == "full":
            while not (self.folder / "long").exists():
                time.sleep(0.01)
            raise DiskFullError("is full", where="The disk")
        if query.name == "long":
            (self.folder / "long").touch()
            time.sleep(600)
        logging.getLogger("foldry.test").info("%s\x1b is published", query.name)
        threads = f"{torch.get_num_threads()} {os.environ['OMP_NUM_THREADS']}"
        (self.folder / query.name).write_text(threads)
        return False


def rows(asked: Query) -> Iterator[tuple[str, str]]:
    """The rows of the alignment of a query."""
    [alignment] = asked.chains[0].alignments
    return zip(alignment.headers, alignment.sequences, strict=True)


def test_a_process_that_is_killed_takes_only_its_query_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    caplog.set_level(logging.INFO, "foldry")
    names = ["one", "killed", "two", "wrong", "three"]
    shown: list[tuple[str, int, int]] = []
    settings, troubled = Settings(device="cpu"), [Troubled(tmp_path)]
    queries = [query(name) for name in names]
    with worker_processes(2) as two:
        found = run_parallel(queries, settings, troubled, two, lambda *what: shown.append(what))
        outcomes = list(found)
    assert [each.name for each in outcomes] == names
    ended = {each.name: each.status for each in outcomes}
    assert ended == dict.fromkeys(names, "already done") | {"killed": "failed", "wrong": "failed"}
    assert isinstance(outcomes[1].error, MemoryShortError)
    assert sentence(outcomes[1].error) == (
        "Its process was killed, probably for lack of memory: "
        "lower --jobs, or use a machine with more memory."
    )
    assert str(outcomes[3].error) == "The query is wrong: give another."
    assert (tmp_path / "three").read_text() == "1 1", "the processes share the threads"
    assert sorted(caplog.messages) == [
        f"{name}\x1b is published" for name in ("one", "three", "two")
    ]
    assert shown[0] == ("'one' and 4 more", 0, 5)
    assert [finished for _, finished, _ in shown] == sorted(n for _, n, _ in shown)


def test_one_process_shows_how_many_queries_are_done(weights: str, tmp_path: Path) -> None:
    """A query alone shows its own predictions."""
    chosen = Settings(weights=weights, device="cpu", num_recycles=0, dropout=True)  # no batch
    folder = ResultsFolder(tmp_path)
    shown: list[tuple[str, int, int]] = []

    def fold(*queries: Query) -> set[tuple[str, int, int]]:
        shown.clear()
        list(run_parallel(queries, chosen, [folder], [], lambda *what: shown.append(what)))
        return {(what.partition(":")[0], done, number) for what, done, number in shown}

    assert fold(query("one"), query("two")) == {("one", 0, 2), ("two", 1, 2)}
    assert fold(query("three")) == {("three", 0, 1), ("three", 1, 1)}


def test_a_full_disk_ends_all_processes_at_once(tmp_path: Path) -> None:
    queries = [query(name, SEQUENCE * 2) for name in ("long", "full", "later")]
    with pytest.raises(DiskFullError, match="The disk is full"), worker_processes(2) as two:
        list(run_parallel(queries, Settings(device="cpu"), [Troubled(tmp_path)], two))
    assert not (tmp_path / "later").exists()


def test_the_command_folds_several_queries_at_once_with_the_same_results(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [query("one", SEQUENCE), query("two", SEQUENCE[1:])]
    settings = Settings(weights=weights, device="cpu", num_recycles=2)
    with tuned_process():
        alone = list(run(asked, settings, [ResultsFolder(tmp_path / "alone")]))
    for each in asked:
        text = "".join(f">{name}\n{row}\n" for name, row in rows(each))
        (tmp_path / f"{each.name}.a3m").write_text(text)
    files = [str(tmp_path / f"{each.name}.a3m") for each in asked]
    command = ["fold", *files, "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--weights", weights, "--num-recycles", "2", "--jobs", "2"]) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    for each, (name, status, plddt, *_) in zip(alone, table, strict=True):
        assert (name, status, plddt) == (each.name, "done", f"{each.mean_plddt:.1f}")
        for path in (tmp_path / "alone" / name).glob("*.[pj][ds][bo]*"):
            if path.name not in ("fold.json", "scores_mini_pred_0.json"):  # dates, hashes
                assert path.read_bytes() == (tmp_path / "out" / name / path.name).read_bytes()


def test_a_process_folds_a_batch_of_short_queries(weights: str, tmp_path: Path) -> None:
    asked = [query(f"q{n}", SEQUENCE[n % 2 :]) for n in range(5)]
    settings = Settings(weights=weights, device="cpu", num_recycles=1)
    with tuned_process():
        alone = list(run(asked, settings, [ResultsFolder(tmp_path / "alone")]))
    shown: list[tuple[str, int, int]] = []
    folders = [ResultsFolder(tmp_path / "out")]
    with worker_processes(2) as two:
        found = run_parallel(asked, settings, folders, two, lambda *what: shown.append(what))
        outcomes = list(found)
    assert shown[0] == ("'q0' and 4 more", 0, 5), "one batch for each process"
    assert {finished for _, finished, _ in shown} <= {0, 2, 3}
    for ours, theirs in zip(outcomes, alone, strict=True):
        assert (ours.name, ours.status) == (theirs.name, "done")
        assert ours.mean_plddt == pytest.approx(theirs.mean_plddt, abs=1e-2)


def test_a_process_that_cannot_start_fails_its_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, *_: object) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "worker_pool", lambda *_: Broken())
    queries = [query(name) for name in ("one", "two", "three")]
    with worker_processes(2) as two:
        found = run_parallel(queries, Settings(device="cpu"), [Troubled(tmp_path)], two)
        outcomes = list(found)
    assert [each.status for each in outcomes] == ["failed"] * 3
    assert "do not fit into memory" in str(outcomes[2].error)


def test_many_short_queries_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(workers, "_free_memory", lambda: 64 * MEMORY)
    settings = Settings(device="cpu")
    short = [Query(f"q{n}", (Chain(("A",), "A" * 300),)) for n in range(PER_JOB * 5)]
    assert automatic_jobs(short, settings) == 4
    assert automatic_jobs(short[: PER_JOB * 3 - 1], settings) == 2
    assert automatic_jobs(short[: PER_JOB * 2 - 1], settings) == 1
    assert automatic_jobs(short[:3], replace(settings, seeds=range(PER_JOB))) == 3
    assert automatic_jobs([*short, Query("l", (Chain(("A",), "A" * 301),))], settings) == 1
    for change in ({"relax": "best"}, {"device": "cuda"}, {"weights": str(tmp_path)}):
        assert automatic_jobs(short, replace(settings, **change)) == 1  # type: ignore[arg-type]
    network = tmp_path / "network.safetensors"
    for more, number in ((0, 4), (1, 1)):
        with network.open("wb") as file:
            file.truncate(SMALL + more)
        assert automatic_jobs(short, replace(settings, weights=str(network))) == number
    monkeypatch.setattr(workers, "_free_memory", lambda: 3 * MEMORY - 1)
    assert automatic_jobs(short, settings) == 2
    monkeypatch.setattr(workers, "_free_memory", lambda: 0)
    assert automatic_jobs(short, settings) == 1


def test_a_gpu_gets_one_query_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(workers, "_free_memory", lambda: 64 * MEMORY)
    short = [query(f"q{n}") for n in range(PER_JOB * 2)]
    for program, number in (("/usr/bin/nvidia-smi", 1), (None, 2)):
        monkeypatch.setattr(workers, "which", lambda _, found=program: found)
        monkeypatch.setattr(os.path, "exists", lambda _: False)
        assert automatic_jobs(short, Settings(device="auto")) == number
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/dxg")
    assert automatic_jobs(short, Settings(device="auto")) == 1
    assert automatic_jobs(short, Settings(device="cpu")) == 2


def test_the_free_memory_is_that_of_the_machine() -> None:
    if not Path("/proc/meminfo").is_file():
        pytest.skip("reads /proc/meminfo")
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert whole / 1000 < workers._free_memory() < whole


def test_workers_start_before_torch_is_imported() -> None:
    program = "import sys, foldry.predict.workers; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)

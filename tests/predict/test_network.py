"""How networks run: the precision of a processor, and the settings of a call and of a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import foldry
from foldry.cli.main import main
from foldry.errors import MissingError
from foldry.kernels import matmul
from foldry.predict import runner
from foldry.predict.network import runtime
from foldry.predict.settings import Settings
from foldry.processes import tuning

QUERY = foldry.Query("q", (foldry.Chain(("A",), "MKVLAAGIV"),))


def has_bfloat16(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    flags = "avx512f avx512_bf16" if has else "avx512f"
    monkeypatch.setattr(tuning, "processor", lambda: {"flags": flags})


def test_a_processor_without_bfloat16_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    has_bfloat16(monkeypatch, has=False)
    with pytest.raises(MissingError, match=r"imitates bfloat16.*set `dtype` to float32"):
        runtime(Settings(device="cpu", dtype="bfloat16"))
    assert runtime(Settings(device="cpu")).dtype == torch.float32


def test_a_processor_with_bfloat16_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    has_bfloat16(monkeypatch, has=True)
    assert runtime(Settings(device="cpu", dtype="bfloat16")).dtype == torch.bfloat16


def test_the_command_refuses_bfloat16_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has_bfloat16(monkeypatch, has=False)
    (tmp_path / "q.fasta").write_text(">q\nMKVLAAGIV\n")
    words = ["fold", str(tmp_path / "q.fasta"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--dtype", "bfloat16"]) == MissingError.exit_code
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("set --dtype to float32, or --device to a GPU.")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The settings of the process in each prediction, on a machine where oneDNN is faster."""
    found: list[dict[str, Any]] = []
    real = runner.predict_one

    def noted(*arguments: Any) -> Any:
        found.append(matmul.process_settings())
        return real(*arguments)

    monkeypatch.setattr(runner, "predict_one", noted)
    monkeypatch.setattr(matmul, "chosen", lambda _: matmul.ONEDNN)
    monkeypatch.setattr(tuning, "keep_memory", lambda: None)
    monkeypatch.setattr(tuning, "record", lambda: {})
    yield found
    assert matmul.process_settings()["matmul"] == "default"


def test_a_call_sets_the_library_of_products_alone(
    seen: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(tuning, "num_threads", lambda: threads + 1)
    foldry.fold(QUERY, device="cpu")
    assert seen == [{"threads": threads, "matmul": "onednn"}]


def test_a_command_sets_the_threads_as_well(
    seen: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(tuning, "num_threads", lambda: threads + 1)
    (tmp_path / "q.fasta").write_text(">q\nMKVLAAGIV\n")
    words = ["fold", str(tmp_path / "q.fasta"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    assert seen == [{"threads": threads + 1, "matmul": "onednn"}]
    assert torch.get_num_threads() == threads


def test_a_call_that_fails_restores_the_library(
    seen: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        seen.append(matmul.process_settings())
        raise RuntimeError

    monkeypatch.setattr(runner, "predict_one", broken)
    with pytest.raises(RuntimeError):
        foldry.fold(QUERY, device="cpu")
    assert [each["matmul"] for each in seen] == ["onednn"]

"""The choice of kernels, and its names in the provenance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

import foldry.kernels
from foldry.kernels.choose import CPU, REFERENCE, Kernels
from foldry.model.runtime import fastest
from tests.kernels.cases import CASES, both_kernels


@both_kernels
def test_every_operation_names_the_file_of_its_implementation(kernels: Kernels) -> None:
    room = Path(foldry.kernels.__file__).parent
    names = kernels.names()
    assert set(names) == {operation for operation, _ in CASES.values()}
    assert set(names) == {path.parent.name for path in room.glob("*/reference.py")}
    for operation, name in names.items():
        assert (room / operation / f"{name}.py").is_file()


def test_names_tell_which_operations_were_replaced() -> None:
    assert set(REFERENCE.names().values()) == {"reference"}
    assert CPU.names()["attention"] == "cpu"
    mixed = replace(CPU, attention=REFERENCE.attention)
    assert mixed.names() == CPU.names() | {"attention": "reference"}


def test_a_device_gets_its_fastest_kernels() -> None:
    on_cpu = fastest(torch.device("cpu"), dtype=torch.bfloat16)
    assert on_cpu.kernels is CPU and on_cpu.dtype == torch.bfloat16
    on_gpu = fastest(torch.device("cuda"))
    assert on_gpu.kernels is REFERENCE and on_gpu.chunk_size > on_cpu.chunk_size

"""Settings of a process: made once, never against the user's, and recorded."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foldry.processes import tuning

OURS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "MALLOC_", "GLIBC_", "LD_PRELOAD")
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def run(program: str, **variables: str) -> str:
    """Return what a program prints in a new process in which nothing is set but `variables`."""
    found = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
    command = [sys.executable, "-c", f"from foldry.processes import tuning\n{program}"]
    ended = subprocess.run(
        command, env=found | variables, capture_output=True, text=True, check=True
    )
    return ended.stdout.strip()


SETTINGS = "tuning.begin(); tuning.keep_memory();print(tuning.record())"


@needs_glibc
def test_settings_are_made_and_recorded() -> None:
    made = {"malloc": "keeps blocks", "OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
    assert run(SETTINGS) == str(made)


@pytest.mark.parametrize(
    ("variable", "text", "left_out"),
    [
        ("GOMP_SPINCOUNT", "1000", "OMP_WAIT_POLICY"),
        ("KMP_BLOCKTIME", "0", "OMP_WAIT_POLICY"),
        ("GOTO_NUM_THREADS", "2", "OPENBLAS_NUM_THREADS"),
        ("MALLOC_ARENA_MAX", "2", "malloc"),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2", "malloc"),
        ("LD_PRELOAD", "libm.so.6", "malloc"),
    ],
)
def test_what_the_user_set_otherwise_is_left_alone(variable: str, text: str, left_out: str) -> None:
    assert f"{left_out!r}:" not in run(SETTINGS, **{variable: text})


def test_openblas_has_one_thread_whatever_openmp_has() -> None:
    assert "'OPENBLAS_NUM_THREADS': '1'" in run(SETTINGS, OMP_NUM_THREADS="2")


@pytest.mark.parametrize(
    ("variable", "text"), [("OMP_WAIT_POLICY", "ACTIVE"), ("OPENBLAS_NUM_THREADS", "2")]
)
def test_a_variable_of_the_user_is_kept_and_recorded(variable: str, text: str) -> None:
    assert f"{variable!r}: {text!r}" in run(SETTINGS, **{variable: text})


def test_nothing_is_set_before_a_command_starts() -> None:
    program = "import foldry.cli.main as cli, gc; cli.main(['--version'])\n"
    program += "with tuning.quick_imports():\n    import foldry.formats.mmcif\n"
    program += "print(tuning.is_command(), gc.get_freeze_count(), tuning.record())"
    assert run(program).endswith("False 0 {}")


def test_a_command_sets_up_its_own_process() -> None:
    program = "import foldry.cli.main as cli, sys; sys.argv = ['foldry', '--version']\n"
    program += "cli.main(); print(tuning.is_command(), tuning.record()['OMP_WAIT_POLICY'])"
    assert run(program).endswith("True PASSIVE")


FAULTS = """
import resource
def faults(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [bytearray(size) for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def kept(*sizes):
    for size in sizes:
        faults(size)
        print(faults(size) < 20)
"""


@needs_glibc
@pytest.mark.parametrize(("largest", "size"), [("", 3), ("tuning.KEPT_FOR_GRADIENTS", 24)])
def test_kept_blocks_are_used_again(largest: str, size: int) -> None:
    """40 blocks of some MiB have thousands of pages, which fault again if they were returned."""
    sizes = f"{size} * 2**20, {size + 10} * 2**20"
    assert run(f"{FAULTS}tuning.keep_memory({largest}); kept({sizes})").split() == ["True", "False"]
    assert run(f"{FAULTS}kept({sizes})").split() == ["False", "False"]


def test_modules_imported_quickly_are_left_out_of_collections() -> None:
    program = (
        "import gc; tuning.begin(); before = gc.get_freeze_count()\n"
        "with tuning.quick_imports():\n"
        "    print(gc.isenabled()); import foldry.formats.mmcif\n"
        "print(gc.isenabled(), gc.get_freeze_count() > before)"
    )
    assert run(program).split() == ["False", "True", "True"]


def test_an_interrupted_import_leaves_collections_as_they_were() -> None:
    with pytest.raises(ImportError), tuning.quick_imports():
        raise ImportError
    assert gc.isenabled()


# Processors and memory


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Writes files of a system's `proc` and `sys`."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


GROUP = "proc/self/cgroup"


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({}, []),
        ({GROUP: "0::/\n"}, []),
        ({GROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
        ({GROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
        (
            {
                GROUP: "0::/job/step\n",
                "sys/fs/cgroup/job/step/cpu.max": "800000 100000\n",
                "sys/fs/cgroup/job/cpu.max": "400000 100000\n",
            },
            [8.0, 4.0],
        ),
        (
            {
                GROUP: "4:memory:/x\n3:cpu,cpuacct:/docker/a\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [2.0],
        ),
        (
            {
                GROUP: "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [],
        ),
    ],
)
def test_limits_of_control_groups(
    files: dict[str, str], limits: list[float], machine: Callable[[dict[str, str]], Path]
) -> None:
    assert list(tuning._cpu_limits(machine(files))) == limits


V1 = "sys/fs/cgroup/memory/memory."


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({}, []),
        ({GROUP: "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, []),
        (
            {
                GROUP: "0::/job/step\n",
                "sys/fs/cgroup/job/step/memory.max": "4000\n",
                "sys/fs/cgroup/job/step/memory.current": "1000\n",
                "sys/fs/cgroup/job/step/memory.stat": "anon 300\ninactive_file 500\n",
                "sys/fs/cgroup/job/memory.max": "2000\n",
                "sys/fs/cgroup/job/memory.current": "2100\n",
            },
            [3500, 0],
        ),
        (
            {
                GROUP: "4:memory:/docker/a\n3:cpu:/\n",
                f"{V1}limit_in_bytes": "4000\n",
                f"{V1}usage_in_bytes": "1000\n",
                f"{V1}stat": "inactive_file 0\ntotal_inactive_file 500\n",
            },
            [3500],
        ),
    ],
)
def test_memory_that_control_groups_leave(
    files: dict[str, str], limits: list[int], machine: Callable[[dict[str, str]], Path]
) -> None:
    assert list(tuning.memory_limits(machine(files))) == limits


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("", {}),
        ("model name : A\nflags\t: x y", {"model name": "A", "flags": "x y"}),
        ("model name : A\n\nmodel name : B\n", {"model name": "A"}),
    ],
)
def test_only_the_first_processor_is_read(
    text: str, known: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(tuning, "Path", lambda _: tmp_path / "cpuinfo")
    assert tuning.processor.__wrapped__() == known


@needs_linux
@pytest.mark.parametrize(
    ("siblings", "limits", "cores"),
    [
        (["0,4", "1,5", "0,4", "1,5"], [], 2),
        (["", "", "", ""], [], 4),  # the system does not say: each may be a core
        (["0", "1", "2", "3"], [2.5], 2),
        (["0", "1", "2", "3"], [0.5], 1),
        (["0", "1", "2", "3"], [16.0, 3.0], 3),
    ],
)
def test_hyperthreads_count_once_and_limits_count(
    siblings: list[str], limits: list[float], cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(tuning, "_read", lambda path: siblings[int(str(path).split("/")[5][3:])])
    monkeypatch.setattr(tuning, "_cpu_limits", lambda _: iter(limits))
    assert tuning.num_cores() == cores


@needs_linux
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_of_threads_that_the_user_set_is_kept(variable: str) -> None:
    assert run("print(tuning.num_threads())", **{variable: "3"}) == "None"
    assert run("print(tuning.num_threads())") == str(tuning.num_cores())


@pytest.mark.parametrize(
    ("known", "has"),
    [
        ({"flags": "fpu avx512f avx512_bf16"}, True),
        ({"flags": "fpu avx512f"}, False),
        ({"flags": "fpu amx_bf16"}, True),
        ({"Features": "fp asimd bf16"}, True),
        ({"Features": "fp asimd"}, False),
        ({}, True),
    ],
)
def test_bfloat16_by_the_flags_of_a_processor(
    known: dict[str, str], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "processor", lambda: known)
    assert tuning.has_bfloat16() is has


@needs_linux
def test_room_is_checked_before_libraries_need_it() -> None:
    program = """
import resource
from pathlib import Path
from foldry.processes import tuning
tuning.check_room(2**26)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**25,) * 2)
tuning.check_room(2**23)
for check in (lambda: tuning.check_room(2**26), tuning.quick_imports().__enter__):
    try:
        check()
    except MemoryError:
        print("too little")
"""
    assert run(program).split("\n") == ["too little"] * 2

"""Too little memory: one sentence that says so, exit code 3, nothing half-written, and a rerun.

A limit on the address space simulates a small machine. If one of several queries does not fit, the
exit code is 1 and the others are folded.
"""

from __future__ import annotations

import csv
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from foldry.formats.coordinates import to_pdb
from foldry.model.config import preset
from foldry.weights.official import official_shapes
from tests.cli.commands import (
    COMMANDS,
    MISSING,
    MODEL,
    SEQUENCE,
    Ended,
    Shell,
    assert_whole,
    foldry,
    tree,
    unchanged,
    write_inputs,
)
from tests.dataset.test_prepare import helix, letters

__all__ = ["foldry"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/status").is_file(), reason="needs Linux to measure the address space"
    ),
]
MIB: Final = 1 << 20
WITHOUT_TORCH: Final = 200 * MIB
"""Room for Python and NumPy, but not for PyTorch."""
IN_TORCH: Final = [
    name for name in COMMANDS if not name.startswith(("relax", "score", "train prepare"))
]
LARGE: Final = letters(0, 300)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The inputs of all commands, and some that are large."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    chain = to_pdb(helix(letters(0, 3000)))
    structures = folder / "large_structures"
    structures.mkdir()
    for path, text in {
        folder / "large.fasta": f">large\n{LARGE}\n",
        folder / "both.fasta": f">small\n{SEQUENCE}\n>large\n{LARGE}\n",
        folder / "large.csv": f"id,sequence\na,{SEQUENCE[:14]}\nb,{SEQUENCE[8:]}\nlarge,{LARGE}\n",
        folder / "large.pdb": chain,
        folder / "large_batch.csv": "model,reference\na.pdb,b.pdb\nlarge.pdb,large.pdb\n",
        structures / "long.pdb": chain,
        folder / "large_clusters.tsv": "long_A\tlong_A\n",
    }.items():
        path.write_text(text, "utf-8")
    shapes = official_shapes(preset(MODEL))
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    np.savez_compressed(folder / f"params_{MODEL}.npz", allow_pickle=False, **arrays)
    with unchanged(folder):
        yield folder


def limited(size: int) -> Callable[[], None]:
    """What limits the address space of a new process to so many bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    return limit


@cache
def imported(modules: str) -> int:
    """Bytes of address space that these modules take."""
    program = f"import {modules}; print(open('/proc/self/status').read())"
    command = [sys.executable, "-c", program]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as in `Shell`
    status = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout
    peak = re.search(r"VmPeak:\s+(\d+) kB", status)
    assert peak is not None
    return int(peak[1]) << 10


def with_little(foldry: Shell, words: str, out: Path, modules: str, room: int) -> Ended:
    """Type a command that has so many MiB beside those modules."""
    size = imported(f"foldry.cli.main, {modules}") + room * MIB
    return foldry(typed(words, out), before=limited(size))


def typed(words: str, out: Path) -> list[str]:
    """The words, with the output in its place."""
    return [word.replace("OUT", str(out)) for word in words.split()]


def assert_says_memory(text: str) -> None:
    assert "memory" in text
    assert not re.search(r"alloc|Errno|Error:|segment|thread", text), text


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", IN_TORCH)
def test_too_little_memory_to_start(foldry: Shell, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    words = COMMANDS[name].typed(COMMANDS[name].place(folder))
    sentence = foldry(words, before=limited(WITHOUT_TORCH)).sentence(3)
    assert_says_memory(sentence)
    assert tree(folder) == {}


def test_a_query_that_does_not_fit(foldry: Shell, tmp_path: Path) -> None:
    words, out = "fold large.fasta -o OUT --num-recycles 0", tmp_path / "out"
    ended = with_little(foldry, words, out, "foldry.predict.runner", 160)
    assert ended.code == 3, (ended.out, ended.err)
    assert_says_memory(ended.out + ended.err)
    assert "Traceback" not in ended.err
    assert "report it" not in ended.err
    assert files(out) == []


def test_one_of_two_queries_does_not_fit(foldry: Shell, tmp_path: Path) -> None:
    words, out = "fold both.fasta -o OUT --num-recycles 0", tmp_path / "out"
    ended = with_little(foldry, words, out, "foldry.predict.runner", 160)
    assert ended.code == 1, (ended.out, ended.err)
    assert re.search(r"\n small +done ", ended.out)
    assert re.search(r"\n large +failed .*do not fit into memory", ended.out)
    assert_says_memory(ended.out)
    assert ended.said == []
    assert (out / "small" / "report.html").is_file()
    assert not (out / "large" / "report.html").exists()
    assert_whole(out)
    again = foldry(typed(words, out))
    again.done()
    assert re.search(r"\n small +already done .*\n large +done ", again.out)


def test_a_pair_that_does_not_fit(foldry: Shell, tmp_path: Path) -> None:
    words = "screen large.csv --bait a --weights multimer.safetensors -o OUT --num-recycles 0"
    out = tmp_path / "out"
    ended = with_little(foldry, words, out, "foldry.predict.runner", 160)
    assert ended.code == 1, (ended.out, ended.err)
    assert_whole(out)
    rows = table(out / "screen.csv")
    assert [rows[name]["state"] for name in ("a_and_b", "a_and_large")] == ["done", "failed"]
    assert_says_memory(rows["a_and_large"]["reason"])
    again = foldry(typed(words, out))
    again.done()
    assert {row["state"] for row in table(out / "screen.csv").values()} == {"done"}


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_training_samples_that_do_not_fit(foldry: Shell, tmp_path: Path) -> None:
    words = "train run --data world -o OUT --stage main --steps 1"
    words += " --set crop_size=96 --set batch_size=2"
    out = tmp_path / "out"
    sentence = with_little(foldry, words, out, "foldry.train.loop", 300).sentence(3)
    assert_says_memory(sentence)
    assert files(out) == []
    foldry(typed(words, out)).done()
    assert (out / "ema.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (f"weights convert params_{MODEL}.npz OUT/a.safetensors", "a.safetensors"),
        (f"weights get --tar archive.tar --models {MODEL} --folder OUT", f"params_{MODEL}.npz"),
    ],
)
def test_parameters_that_do_not_fit(foldry: Shell, words: str, made: str, tmp_path: Path) -> None:
    sentence = with_little(foldry, words, tmp_path, "foldry.weights.download", 150).sentence(3)
    assert_says_memory(sentence)
    assert not (tmp_path / made).exists()
    assert_whole(tmp_path)
    foldry(typed(words, tmp_path)).done()
    assert (tmp_path / made).is_file()
    (tmp_path / made).unlink()  # some hundred megabytes


def test_a_structure_that_does_not_fit(foldry: Shell, tmp_path: Path) -> None:
    words, out = "score large.pdb large.pdb --plot OUT", tmp_path / "out.svg"
    sentence = with_little(foldry, words, out, "foldry.assess.assess", 20).sentence(3)
    assert_says_memory(sentence)
    assert tree(tmp_path) == {}
    foldry(typed(words, out)).done()
    assert out.is_file()


def test_one_of_two_pairs_does_not_fit(foldry: Shell, tmp_path: Path) -> None:
    words, out = "score --batch large_batch.csv -o OUT --jobs 1", tmp_path / "out.csv"
    ended = with_little(foldry, words, out, "foldry.assess.assess", 80)
    assert ended.code == 1, (ended.out, ended.err)
    with out.open(newline="") as file:
        small, large = csv.DictReader(file)
    assert small["error"] == ""
    assert_says_memory(large["error"])
    assert "report it" not in large["error"]
    foldry(typed(words, out)).done()


@pytest.mark.parametrize("room", [20, 30, 60])
def test_a_structure_too_large_to_relax(foldry: Shell, room: int, tmp_path: Path) -> None:
    """While it is read, while OpenMM is imported, and while it is relaxed."""
    pytest.importorskip("openmm", reason=MISSING)
    words, out = "relax large.pdb -o OUT --platform reference", tmp_path / "out.pdb"
    sentence = with_little(foldry, words, out, "foldry.assess.assess", room).sentence(3)
    assert_says_memory(sentence)
    assert "pip install" not in sentence
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("room", [20, 72])
def test_a_structure_too_large_to_prepare(foldry: Shell, room: int, tmp_path: Path) -> None:
    """A file that needs more memory than available now is read in the next run."""
    words = "train prepare large_structures alignments -o OUT --clusters large_clusters.tsv"
    words += " --workers 1 --max-length 4000 --val-share 0"
    out = tmp_path / "out"
    modules = "foldry.dataset.prepare, foldry.dataset.chains"
    ended = with_little(foldry, words, out, modules, room)
    assert ended.code == 3, (ended.out, ended.err)
    assert_says_memory(ended.err.splitlines()[-1])  # Python may say so too, before
    assert "Traceback" not in ended.err
    again = foldry(typed(words, out))
    again.done()
    assert again.out.startswith("1 chain kept")

"""CPU-seconds and memory of the features of a deep alignment, and how fast alignments are parsed.

    python benchmarks/deep_alignment.py [--rows 20000] [--length 300] [--before FOLDER]

The alignment is random: subfamilies of a query, with gaps, insertions and the headers of a search.
It is read as a3m, its features are made, and its rows are drawn: once for `mini`, which has no
recycling, four times for model_1_ptm. a3m and Stockholm are then parsed from memory and from files.
Each run is a process of its own with one thread; start-up and imports are not counted, and peaks of
memory are above them. It needs Linux.

With --before, the checkout of Foldry in FOLDER runs in turn with this one, and the last column says
whether all features, draws and alignments are the same bit by bit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldry.errors import InputError
from foldry.residues import RESTYPES
from script import run_script
from startup import processor

HERE = Path(__file__).resolve().parent.parent
DRAWS = {"mini": 1, "model_1_ptm": 4}
SUBFAMILIES = 200
MOST_INSERTED = 6
"""Most letters of one insertion."""
BLOCK = 200
"""Columns of a block of Stockholm, as HMMER writes them."""
COMMON = """
import dataclasses, hashlib, json, sys, time
from pathlib import Path
import numpy as np
import foldry.features.coevolution, numpy.random
from foldry.features.msa import draw_msa
from foldry.features.pipeline import make_features
from foldry.formats.a3m import parse_a3m
from foldry.formats.lines import read_bounded_text
from foldry.formats.stockholm import parse_stockholm
from foldry.inputs.queries import read_queries
from foldry.model.config import preset

def add(found, value):
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            add(found, getattr(value, field.name))
    elif isinstance(value, np.ndarray):
        found.update(f"{value.shape} {value.dtype}".encode())
        found.update(np.ascontiguousarray(value))
    else:
        found.update(repr(value).encode())

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000

def timed(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result

name, path, found, start = sys.argv[1], Path(sys.argv[2]), hashlib.sha256(), peak()
"""
FEATURES = """
read, [query] = timed(read_queries, [path])
made, features = timed(make_features, query, preset(name).features, 0)
drawn = 0.0
for recycle in range(int(sys.argv[3])):
    seconds, draw = timed(draw_msa, features, recycle)
    drawn += seconds
    most = peak()
    add(found, draw)
    del draw
add(found, features)
seconds = {"parse": read, "features": made, "draws": drawn, "total": read + made + drawn}
"""
PARSE = """
parse = parse_a3m if name == "a3m" else parse_stockholm
text = read_bounded_text(path)
alignment = parse(text)
most = peak()
add(found, alignment)
seconds = {
    "memory": min(timed(parse, text)[0] for _ in range(5)),
    "file": min(timed(lambda: parse(read_bounded_text(path)))[0] for _ in range(5)),
}
"""
REPORT = """
print(json.dumps({"seconds": seconds, "peak": most - start, "key": found.hexdigest()}))
"""


@dataclass(frozen=True)
class Family:
    """A random alignment.

    Attributes:
        headers: One per row.
        rows: ASCII codes of the aligned letters; row 0 is the query.
        inserted: Number of inserted letters of each row before each column.
    """

    headers: list[str]
    rows: np.ndarray
    inserted: np.ndarray


def random_family(num_rows: int, length: int, rng: np.random.Generator) -> Family:
    """Return rows of 35–95 % identity to one of `SUBFAMILIES` ancestors, which differ as much."""
    letters = np.frombuffer("".join(RESTYPES).encode(), np.uint8)

    def mutated(rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
        others = letters[rng.integers(0, len(letters), rows.shape)]
        return np.where(rng.random(rows.shape) < kept[:, None], rows, others)

    query = letters[rng.integers(0, len(letters), length)]
    ancestors = np.broadcast_to(query, (SUBFAMILIES, length))
    ancestors = mutated(ancestors, rng.uniform(0.35, 0.95, SUBFAMILIES))
    kept = rng.uniform(0.35, 0.95, num_rows)
    rows = mutated(ancestors[rng.integers(0, SUBFAMILIES, num_rows)], kept)
    column, begins = np.arange(length), rng.integers(0, length // 4, (2, num_rows, 1))
    rows[(column < begins[0]) | (column >= length - begins[1])] = ord("-")
    for _ in range(2):  # deletions
        first = rng.integers(0, length, (num_rows, 1))
        rows[(column >= first) & (column < first + rng.integers(0, 12, (num_rows, 1)))] = ord("-")
    loops = rng.random(length) < 0.1  # most insertions of a family are between the same columns
    sizes = rng.integers(1, MOST_INSERTED + 1, rows.shape)
    inserted = sizes * (loops & (rng.random(rows.shape) < 0.05) & (rows != ord("-")))
    rows[0], inserted[0] = query, 0
    headers = ["query"]
    for number in range(1, num_rows):
        code = f"A0A{rng.integers(16**6, 16**7):X}"
        headers.append(
            f"tr|{code}|{code}_{rng.integers(10**4, 10**5)}/1-{length} Uncharacterized protein "
            f"OS=Bacterium sp. {number} OX={rng.integers(10**5, 10**6)} PE=4 SV=1"
        )
    return Family(headers, rows, inserted)


def a3m(family: Family) -> str:
    """Return an alignment as a3m."""
    lines = []
    for header, row, inserted in zip(family.headers, family.rows, family.inserted, strict=True):
        places = np.repeat(np.flatnonzero(inserted), inserted[inserted > 0])
        text = np.insert(row, places, ord("a")).tobytes().decode()
        lines.append(f">{header}\n{text}\n")
    return "".join(lines)


def stockholm(family: Family, width: int) -> str:
    """Return an alignment as Stockholm, in blocks of so many columns."""
    most = family.inserted.max(axis=0)
    places = np.repeat(np.arange(len(most)), most)
    rank = np.concatenate([np.arange(size) for size in most])
    rows = np.insert(family.rows, places, ord("."), axis=1)
    is_column = np.insert(np.ones(len(most), bool), places, False)
    rows[:, ~is_column] = np.where(rank < family.inserted[:, places], ord("A"), ord("."))
    names = [header.split()[0] for header in family.headers]
    pad = max(map(len, names)) + 1
    lines = ["# STOCKHOLM 1.0", "#=GF ID query", ""]
    for name, header in zip(names, family.headers, strict=True):
        lines.append(f"#=GS {name:{pad}}DE {header.partition(' ')[2]}")
    for begin in range(0, rows.shape[1], width):
        lines.append("")
        for name, row in zip(names, rows[:, begin : begin + width], strict=True):
            lines.append(f"{name:{pad}}{row.tobytes().decode()}")
    return "\n".join([*lines, "//", ""])


def measure(source: Path, program: str, *arguments: object) -> dict[str, Any]:
    """Run a program with the Foldry of a checkout, and return what it reports."""
    environment = {**os.environ, "PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMMON + program + REPORT, *map(str, arguments)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def in_turn(
    sources: dict[str, Path], runs: int, program: str, *arguments: object
) -> dict[str, list[dict[str, Any]]]:
    """Return the reports of all runs of each checkout, which take turns."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sources}
    for _ in range(runs):
        for side, source in sources.items():
            found[side].append(measure(source, program, *arguments))
    return found


def same(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return whether all reports are of the same results; "" if there is one checkout."""
    keys = {each["key"] for reports in found.values() for each in reports}
    return "" if len(found) == 1 else "equal" if len(keys) == 1 else "DIFFERENT"


def peak(reports: list[dict[str, Any]]) -> float:
    """Return the smallest peak of memory of all runs, MB."""
    return min(float(each["peak"]) for each in reports)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--length", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement")
    parser.add_argument("--before", type=Path, help="another checkout of Foldry")
    given = parser.parse_args()
    sources = {"now": HERE}
    if given.before:
        if not (given.before / "src" / "foldry").is_dir():
            raise InputError("is not a checkout of Foldry", "check the path", where=given.before)
        sources = {"before": given.before.resolve(), **sources}
    print(f"{processor()}; {given.rows} rows, {given.length} columns; ", end="")
    print(f"{given.runs} runs, one thread")
    family = random_family(given.rows, given.length, np.random.default_rng(0))
    texts = {
        "a3m": a3m(family),
        "Stockholm": stockholm(family, 10**9),
        "Stockholm, blocks": stockholm(family, BLOCK),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for kind, text in texts.items():
            paths[kind] = Path(folder) / f"{kind}.{'a3m' if kind == 'a3m' else 'sto'}"
            paths[kind].write_text(text)
        parts = "parse", "features", "draws", "total"
        heads = "".join(f"{part:>9s}" for part in parts)
        print(f"\n{'minimum CPU-s':27s}{heads}   median  peak MB")
        for network, draws in DRAWS.items():
            found = in_turn(sources, given.runs, FEATURES, network, paths["a3m"], draws)
            for side, reports in found.items():
                best, *_ = sorted((each["seconds"] for each in reports), key=lambda x: x["total"])
                median = statistics.median(each["seconds"]["total"] for each in reports)
                numbers = "".join(f"{best[part]:9.2f}" for part in parts)
                print(f"{network:19s} {side:7s}{numbers}{median:9.2f}", end="")
                print(f"{peak(reports):9.0f}  {same(found)}")
        print(f"\n{'maximum MB/s':27s}{'MB':>9s}{'memory':>9s}{'file':>9s}  peak MB")
        for kind, text in texts.items():
            found = in_turn(sources, given.runs, PARSE, kind, paths[kind])
            for side, reports in found.items():
                print(f"{kind:19s} {side:7s}{len(text) / 1e6:9.1f}", end="")
                for part in ("memory", "file"):
                    seconds = min(each["seconds"][part] for each in reports)
                    print(f"{len(text) / seconds / 1e6:9.0f}", end="")
                print(f"{peak(reports):9.0f}  {same(found)}")


if __name__ == "__main__":
    run_script(main)

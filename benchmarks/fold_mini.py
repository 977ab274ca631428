"""Wall time and CPU time of `foldry fold` with mini, from the shell to the report.

    python benchmarks/fold_mini.py [--length 100] [--repeats 5] [--before CHECKOUT]

The query is the start of the trypsin example with its alignment. Each run is a separate process, so
start-up is included; one more run before them lets Python compile the modules, as an installation
does. With CHECKOUT, another version of Foldry folds the same query; the runs of both alternate.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from compare_checkouts import check_checkout, columns
from script import run_script
from startup import processor, seconds

HERE = Path(__file__).resolve().parent.parent
EXAMPLE = HERE / "examples" / "trypsin" / "1trn.a3m"


def variables(checkout: Path, compiled: Path) -> dict[str, str]:
    """Return the environment of a version, with a folder for compiled modules."""
    ours = {"PYTHONPATH": str(checkout / "src"), "PYTHONPYCACHEPREFIX": str(compiled)}
    given = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return given | ours


def main() -> None:
    """Print the times of each version."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="a checkout of another version")
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--weights", default="mini")
    arguments = parser.parse_args()
    checkouts = {"this checkout": HERE}
    if arguments.before is not None:
        check_checkout(arguments.before)
        checkouts["before"] = arguments.before.resolve()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        query = Path(folder) / "query.a3m"
        query.write_text(columns(EXAMPLE.read_text("utf-8"), 0, arguments.length), "utf-8")
        command = [sys.executable, "-m", "foldry", "fold", str(query), "--device", "cpu"]
        command += ["--weights", arguments.weights, "-o"]
        for number in range(arguments.repeats + 1):
            for name, checkout in checkouts.items():
                out = str(Path(folder) / f"{name}{number}")
                found = variables(checkout, Path(folder) / "compiled")
                times[name].append(seconds([*command, out], found))
    print(f"{processor()}; {arguments.length} residues, mini, {arguments.repeats} runs")
    print(f"{'':15s} {'median s':>9s} {'fastest':>9s} {'CPU-s':>9s} {'least':>9s}")
    for name, measured in times.items():
        walls, cpus = zip(*measured[1:], strict=True)
        print(f"{name:15s}", end="")
        for each in (statistics.median(walls), min(walls), statistics.median(cpus), min(cpus)):
            print(f" {each:9.2f}", end="")
        print()


if __name__ == "__main__":
    run_script(main)

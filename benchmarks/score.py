"""Pairs scored per second, beside TMscore, tmtools and DockQ; and one large complex.

    python benchmarks/score.py [--data ../shared/data] [--pairs 1000] [--dockq PYTHON]
        [--before FOLDER]

Models are experimental chains of 150–250 residues, smoothly bent and shaken, as PDB files. The
programs take turns on two halves of the pairs, so that all run under the same conditions, each in
`--cores` processes; start-up and reading are included. TMscore computes TM-score, GDT and RMSD of
Cα; tmtools computes TM-score for a given pairing. `compare` computes all of these and lDDT of Cα,
backbone and all atoms; `foldry score` adds FoldScore, torsion angles and stereochemistry. DockQ and
`foldry score` then score a tenth as many pairs of two touching chains, and `foldry score` scores a
complex with renamed chains. Finally, single commands score a model of 1adz, with Foldry's modules
compiled before, as after an installation. FOLDER is another checkout of Foldry, whose commands
take turns with those of this one. PYTHON is a Python with DockQ: `benchmarks/oracles/dockq.sh
FOLDER` creates FOLDER/venv/bin/python.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib.util
import itertools
import os
import platform
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldry.dataset.packs import Library
from foldry.formats.coordinates import read_structure, to_pdb
from foldry.residues import CA
from foldry.structure import Structure
from script import run_script

ROUNDS = 2
COMMANDS = 7
"""Runs of the command for one pair."""
CHECKOUT = Path(__file__).resolve().parents[1]
FOLDRY = (sys.executable, "-m", "foldry.cli.main", "score")
LETTERS = string.ascii_uppercase + string.ascii_lowercase
WORKER = """
import sys
from multiprocessing import get_context
{program}
if __name__ == "__main__":
    pairs = [line.split() for line in sys.stdin]
    with get_context("spawn").Pool({cores}) as pool:
        pool.starmap(score, pairs, chunksize=4)
"""
COMPARE = """
from foldry.formats.coordinates import read_structure
from foldry.score.compare import compare
from pathlib import Path
def score(model, reference):
    compare(read_structure(Path(model)), read_structure(Path(reference)))
"""
TMTOOLS = """
import gemmi, numpy, tmtools
def ca(path):
    chain = gemmi.read_pdb(path)[0][0]
    return numpy.array([residue["CA"][0].pos.tolist() for residue in chain])
def score(model, reference):
    here, there = ca(model), ca(reference)
    letters = "A" * len(here)
    tmtools.tm_align(here, there, letters, letters, alignment=[letters, letters])
"""
DOCKQ = """
from DockQ.DockQ import load_PDB, run_on_all_native_interfaces
def score(model, reference):
    chains = {"A": "A", "B": "B"}
    run_on_all_native_interfaces(load_PDB(model), load_PDB(reference), chain_map=chains)
"""
TMSCORE = """
import subprocess
def score(model, reference):
    subprocess.run([{program!r}, model, reference], check=True, capture_output=True)
"""


@dataclass(frozen=True)
class Usage:
    """Wall seconds, seconds of all cores, and peak memory in GB of a program."""

    seconds: float
    cpu_seconds: float
    peak_gb: float


Runner = Callable[[Sequence[tuple[str, str]]], Usage]


def measure(
    command: Sequence[str], given: str = "", environment: Mapping[str, str] | None = None
) -> Usage:
    """Run a program to its end and return its usage.

    The peak memory is measured for its largest process, or for this process if that is larger.
    """
    environment = {**(environment or os.environ), "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as lines, tempfile.TemporaryFile("w+") as errors:
        lines.write(given)
        lines.seek(0)
        process = subprocess.Popen(
            command, env=environment, stdin=lines, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        if status:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command[:2])} failed: {errors.read()[-2000:]}")
    return Usage(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6)


def chains_of(library: Library, names: Sequence[str]) -> list[Structure]:
    """Return experimental chains, all named A."""
    made = []
    for name in names:
        chain = library.chain(name)
        num = len(chain)
        made.append(
            Structure(
                name=name,
                aatype=np.asarray(chain.aatype, np.int64),
                residue_number=np.arange(1, num + 1),
                insertion_code=np.full(num, "", "<U1"),
                chain_id=np.full(num, "A"),
                atom_positions=np.asarray(chain.positions, np.float32),
                atom_mask=np.asarray(chain.mask, bool),
                b_factor=np.zeros((num, 37), np.float32),
            )
        )
    return made


def bent(rng: np.random.Generator, structure: Structure) -> Structure:
    """Return a model with residues displaced by up to a few Å and atoms by a few tenths."""
    num = len(structure)
    kernel = np.hanning(2 * int(rng.integers(4, 20)) + 1)
    noise = rng.normal(size=(num + len(kernel) - 1, 3))
    drift = np.stack([np.convolve(axis, kernel, "valid") for axis in noise.T], axis=1)
    drift *= rng.uniform(0.3, 4) / np.linalg.norm(kernel)
    shaken = rng.normal(size=structure.atom_positions.shape) * 0.2
    moved = structure.atom_positions + drift[:, None] + shaken
    return dataclasses.replace(structure, atom_positions=moved.astype(np.float32))


def assembly(chains: Sequence[Structure], num_residues: int) -> Structure:
    """Return copies of five chains on a cubic lattice, with touching neighbours."""
    parts: list[Structure] = []
    while sum(map(len, parts)) < num_residues:
        parts.append(placed(chains[len(parts) % 5], len(parts)))
    return joined(parts)


def placed(chain: Structure, index: int) -> Structure:
    """Return a chain at one place of the lattice, renamed."""
    place = 35 * np.array(np.unravel_index(index, (9, 3, 3)))
    centered = chain.atom_positions - chain.atom_positions[:, CA].mean(axis=0)
    return dataclasses.replace(
        chain,
        atom_positions=(centered + place).astype(np.float32),
        chain_id=np.full(len(chain), LETTERS[index]),
    )


def joined(parts: Sequence[Structure]) -> Structure:
    """Return several structures as one."""
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(Structure)
        if field.name != "name"
    }
    return Structure(name="complex", **arrays)


def write_pairs(
    folder: Path, rng: np.random.Generator, references: Sequence[Structure], num: int
) -> list[tuple[str, str]]:
    """Write PDB files of models and references and return the pairs of paths."""
    pairs = []
    for index in range(num):
        reference = references[index % len(references)]
        paths = folder / f"{index}_model.pdb", folder / f"{index}_reference.pdb"
        for path, structure in zip(paths, (bent(rng, reference), reference), strict=True):
            path.write_text(to_pdb(structure))
        pairs.append((str(paths[0]), str(paths[1])))
    return pairs


def of_checkout(checkout: Path) -> dict[str, str]:
    """Return an environment in which Foldry is imported from a checkout."""
    return {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src")}


def foldry_batch(folder: Path, cores: int, checkout: Path) -> Runner:
    """Return a function that runs `foldry score --batch` as a user does."""

    def run(pairs: Sequence[tuple[str, str]]) -> Usage:
        with (folder / "pairs.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("model", "reference"), *pairs])
        table, out = str(folder / "pairs.csv"), str(folder / "scores.csv")
        jobs = ["--jobs", str(cores), "-o", out]
        return measure([*FOLDRY, "--batch", table, *jobs], environment=of_checkout(checkout))

    return run


def worker(script: Path, python: str, program: str, cores: int) -> Runner:
    """Return a function that reads and scores pairs in a pool of Python processes."""
    script.write_text(WORKER.format(program=program, cores=cores))
    return lambda pairs: measure(
        [python, str(script)], "".join(f"{one} {other}\n" for one, other in pairs)
    )


def table(
    programs: dict[str, Runner],
    pairs: Sequence[tuple[str, str]],
) -> None:
    """Run the programs in turn on each half of the pairs and print the figures."""
    usages: dict[str, list[Usage]] = {name: [] for name in programs}
    for start in range(ROUNDS):
        for name, run in programs.items():
            usages[name].append(run(pairs[start::ROUNDS]))
    for name, parts in usages.items():
        seconds, cpu = (sum(getattr(u, key) for u in parts) for key in ("seconds", "cpu_seconds"))
        peak = max(usage.peak_gb for usage in parts)
        rate, each = len(pairs) / seconds, 1000 * cpu / len(pairs)
        print(f"{name:32s} {len(pairs):7d} {rate:9.1f} {each:14.1f} {peak:9.2f}")


def machine() -> str:
    """Return the processor's name and load."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start"


def score_complex(folder: Path, rng: np.random.Generator, reference: Structure) -> str:
    """Score a large complex with renamed chains and return a line about it."""
    model = bent(rng, reference)
    letters = np.array(reference.chains)
    renamed = dict(zip(letters, rng.permutation(letters), strict=True))
    model = dataclasses.replace(model, chain_id=np.array([renamed[c] for c in model.chain_id]))
    for name, structure in (("model", model), ("reference", reference)):
        (folder / f"{name}.pdb").write_text(to_pdb(structure))
    paths = str(folder / "model.pdb"), str(folder / "reference.pdb")
    used = measure([*FOLDRY, *paths, "--json"])
    return (
        f"complex of {len(reference)} residues, {int(reference.atom_mask.sum())} atoms, "
        f"{len(letters)} chains: {used.seconds:.1f} s, {used.cpu_seconds:.1f} s of all cores, "
        f"{used.peak_gb:.2f} GB"
    )


def score_one(folder: Path, checkouts: Mapping[str, Path]) -> None:
    """Print the seconds of one `foldry score` from its start to its end, checkouts in turn."""
    experiment, model = CHECKOUT / "examples/kunitz/1adz.cif", folder / "one.pdb"
    model.write_text(to_pdb(bent(np.random.default_rng(0), read_structure(experiment))))
    usages: dict[str, list[Usage]] = {name: [] for name in checkouts}
    for _ in range(COMMANDS + 1):
        for name, checkout in checkouts.items():
            environment = of_checkout(checkout) | {"PYTHONPYCACHEPREFIX": str(folder / "compiled")}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            command = [*FOLDRY, str(model), str(experiment)]
            usages[name].append(measure(command, environment=environment))
    print(
        f"{'one pair':28s} {'CPU s: median':>14} {'least':>7} {'wall s: median':>15} {'least':>7}"
    )
    for name, (_, *runs) in usages.items():  # the first run compiles the modules
        cpu, wall = ([getattr(u, key) for u in runs] for key in ("cpu_seconds", "seconds"))
        print(
            f"{name:28s} {statistics.median(cpu):14.3f} {min(cpu):7.3f} "
            f"{statistics.median(wall):15.3f} {min(wall):7.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--residues", type=int, default=5000, help="residues of the complex")
    parser.add_argument("--dockq", help="the Python that has DockQ")
    parser.add_argument("--before", type=Path, help="another checkout of Foldry")
    arguments = parser.parse_args()

    print(machine())
    rng = np.random.default_rng(0)
    library = Library(arguments.data, ("val",))
    names = sorted(library.alignments.place)
    chains = [chain for chain in chains_of(library, names) if 150 <= len(chain) <= 250]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkouts = {"foldry score": CHECKOUT}
        if arguments.before:
            checkouts["foldry score, before"] = arguments.before
        foldry = {
            name: foldry_batch(folder, arguments.cores, checkout)
            for name, checkout in checkouts.items()
        }

        def pool(title: str, program: str, python: str = sys.executable) -> Runner:
            return worker(folder / f"{title}.py", python, program, arguments.cores)

        programs = {**foldry, "foldry compare": pool("compare", COMPARE)}
        program = shutil.which("TMscore")
        if program:
            programs["TMscore"] = pool("tmscore", TMSCORE.format(program=program))
        if importlib.util.find_spec("tmtools"):
            programs["tmtools"] = pool("tm_tools", TMTOOLS)
        residues = np.mean([len(chain) for chain in chains])
        print(
            f"{len(chains)} chains of {residues:.0f} residues on average, {arguments.cores} cores"
        )
        print(f"{'':32s} {'pairs':>7} {'pairs/s':>9} {'CPU ms a pair':>14} {'peak GB':>9}")
        table(programs, write_pairs(folder, rng, chains, arguments.pairs))
        absent = {"TMscore", "tmtools"} - programs.keys()
        dimers = [
            joined([placed(one, 0), placed(other, 1)]) for one, other in itertools.pairwise(chains)
        ]
        of_two = {f"{name}, two chains": run for name, run in foldry.items()}
        if arguments.dockq:
            of_two["DockQ, two chains"] = pool("dock_q", DOCKQ, arguments.dockq)
        else:
            absent.add("DockQ")
        table(of_two, write_pairs(folder, rng, dimers, arguments.pairs // 10))
        if absent:
            print(f"not installed: {', '.join(sorted(absent))}")
        print(score_complex(folder, rng, assembly(chains, arguments.residues)))
        score_one(folder, checkouts)


if __name__ == "__main__":
    run_script(main)

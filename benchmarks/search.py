"""Searches of Foldry beside jackhmmer's: equal rows, speed, memory, and how long a fold waits.

    python benchmarks/search.py [--data ../shared/data] [--parts rows,speed,…] [--queries N]
        [--cores 2] [--repeats 3]

The queries are validation chains, picked evenly; `--queries` replaces the number of each part. The
parts are

    rows      alignments that equal those of `jackhmmer -N 1` row for row, letter for letter, and
              those of one block that equal those of blocks of 20,000 sequences (20 queries)
    speed     one pass of a new process, imports and reading included, against one jackhmmer after
              the other as AlphaFold calls it, in turn, on one unpacked database (30)
    memory    peak memory of a process that searches 742,703 sequences, and twice as many (3)
    mmseqs    ColabFold's search in one pass over a clustered database, which is made first (150)
    waiting   how long the network of `foldry fold` with mini waits for the searches, and when all
              are kept; without a search before, for comparison and to load the libraries (20)

All parts but `memory` search `seqdb/demo_db.fasta.gz` or, for `mmseqs`, its first 14 MB. The exit
code is 1 if rows differ.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq
from pathlib import Path

from foldry.dataset.packs import Pack, read_chain
from foldry.errors import InputError, MissingError
from foldry.search import mmseqs
from foldry.search.colabfold import NEEDED, ColabFold
from foldry.search.databases import inspect
from foldry.search.engine import Engine
from foldry.search.hmmer import BLOCK, Hmmer
from foldry.store.packing import open_unpacked
from peers import Worker, resident, serve
from script import check_names, run_script
from startup import processor

JACKHMMER = "jackhmmer -o /dev/null -A {out} --noali --F1 0.0005 --F2 5e-05 --F3 5e-07"
JACKHMMER += " --incE 0.0001 -E 0.0001 --cpu {cores} -N 1 {query} {database}"
CLUSTERED = 14_000_000
"""Bytes of the database that are clustered, about."""
MIN_RATIO, MAX_MEMORY, MAX_GROWTH, MAX_WAITING = 1.4, 250, 10, 0.05
"""Limits: of both ratios, of memory in MB, of its growth in MB, of the share of the time."""
MB = 1e6


@dataclass(frozen=True)
class Bench:
    """What all parts have in common: the data, the number of cores, and a folder to write in."""

    data: Path
    cores: int
    repeats: int
    folder: Path

    @property
    def packed(self) -> Path:
        """The database."""
        return self.data / "seqdb" / "demo_db.fasta.gz"

    def unpacked(self) -> Path:
        """Return a copy of the database that jackhmmer reads."""
        path = self.folder / "demo_db.fasta"
        if not path.exists():
            write_unpacked(path, [self.packed])
        return path

    def sequences(self, number: int) -> dict[str, str]:
        """Return validation chains, as many or all of them."""
        pack = Pack([self.data / "structures" / "structures-val.npz"])
        names = sorted(pack.place)
        number = min(number, len(names))
        picked = [names[place * len(names) // number] for place in range(number)]
        return {name: read_chain(*pack.find(name)).sequence for name in picked}


def write_unpacked(path: Path, files: Sequence[Path]) -> None:
    """Write the contents of files behind each other."""
    with path.open("wb") as out:
        for file in files:
            with open_unpacked(file) as unpacked, file.open("rb") as raw:
                shutil.copyfileobj(unpacked or raw, out)


def usage(action: Callable[[], object]) -> tuple[float, float]:
    """Return the wall seconds and the CPU-seconds of processes that a function waits for."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    action()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def search(engine: str, database: str, sequences: list[str], cores: int) -> dict[str, float]:
    """Search in this process; return the rows found, and the peaks of memory in MB."""
    found = inspect(Path(database))
    chosen: Engine = Hmmer(found, num_threads=cores)
    if engine == "mmseqs":
        chosen = ColabFold((found,), num_threads=cores, scratch=Path(database).parent)
    rows = sum(alignment.num_rows for alignment in chosen.query(sequences))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / MB
    return {"rows": rows, "here": resident("VmHWM") / MB, "children": children}


def in_new_process(
    engine: str, database: Path, chains: Mapping[str, str], cores: int
) -> dict[str, float]:
    """Return what `search` returns in a process of its own."""
    worker = Worker("--child")
    try:
        sequences = list(chains.values())
        return worker.ask(engine=engine, database=str(database), sequences=sequences, cores=cores)
    finally:
        worker.close()


def jackhmmer(bench: Bench, sequences: Mapping[str, str]) -> Iterator[str]:
    """Yield what jackhmmer writes for each sequence.

    Raises:
        MissingError: It is not installed.
    """
    if shutil.which("jackhmmer") is None:
        raise MissingError("The program jackhmmer is not installed", "apt install hmmer")
    query, out = bench.folder / "query.fasta", bench.folder / "out.sto"
    command = JACKHMMER.format(out=out, cores=bench.cores, query=query, database=bench.unpacked())
    for sequence in sequences.values():
        query.write_text(f">query\n{sequence}\n")
        out.unlink(missing_ok=True)
        subprocess.run(command.split(), check=True)
        yield out.read_text()


def rows_of(text: str) -> list[tuple[str, str]]:
    """Return the names and the rows of a Stockholm file, the rows as in a3m."""
    rows: dict[str, str] = {}
    for line in filter(None, text.splitlines()):
        if not line.startswith(("#", "//")):
            name, letters = line.split()
            rows[name] = rows.get(name, "") + letters.replace(".", "-")
    query = next(iter(rows.values()))
    return [(name, "".join(map(as_a3m, query, row))) for name, row in rows.items()]


def as_a3m(of_query: str, letter: str) -> str:
    """Return a letter of a row as in a3m, given the query's letter in its column."""
    if of_query != "-":
        return letter.upper()
    return "" if letter == "-" else letter.lower()


def verdict(is_met: bool, limit: str) -> str:
    """Return whether a limit is met, in words."""
    return f"limit {limit}: {'met' if is_met else 'NOT MET'}"


def rows(bench: Bench, number: int) -> bool:
    """Compare alignments with jackhmmer's and with those of one block; return whether all equal."""
    chains, database = bench.sequences(number), inspect(bench.packed)

    def found(block: int) -> list[list[tuple[str, str]]]:
        engine = Hmmer(database, num_threads=bench.cores, block=block)
        alignments = engine.query(list(chains.values()))
        return [list(zip(each.headers, each.texts, strict=True)) for each in alignments]

    ours = found(BLOCK)
    counts = [len(each) for each in ours]
    print(f"{min(counts)}–{max(counts)} rows each, {sum(counts)} in all, queries included")
    others = {
        "those of jackhmmer": [rows_of(text) for text in jackhmmer(bench, chains)],
        "those of one block": found(database.num_sequences),
    }
    equal = {name: list(map(eq, ours, theirs)) for name, theirs in others.items()}
    for name, flags in equal.items():
        wrong = [chain for chain, flag in zip(chains, flags, strict=True) if not flag]
        print(f"equal to {name}: {sum(flags)} of {len(chains)}", *wrong)
    return all(map(all, equal.values()))


def speed(bench: Bench, number: int) -> None:
    """Print the time of one pass and of as many calls of jackhmmer, in turn."""
    chains = bench.sequences(number)
    peaks: list[float] = []

    def ours() -> None:
        peaks.append(in_new_process("hmmer", bench.unpacked(), chains, bench.cores)["here"])

    def theirs() -> None:
        for _ in jackhmmer(bench, chains):
            pass

    bench.unpacked()
    programs = {"foldry, one pass": ours, f"jackhmmer --cpu {bench.cores}": theirs}
    runs = [{name: usage(run) for name, run in programs.items()} for _ in range(bench.repeats)]
    print(f"{len(chains)} queries, medians of {bench.repeats} runs")
    print(f"{'':20s} {'wall s':>8s} {'CPU-s':>8s} {'CPU-s a query':>14s}")
    medians = []
    for name in programs:
        wall, cpu = (statistics.median(run[name][place] for run in runs) for place in (0, 1))
        print(f"{name:20s} {wall:8.2f} {cpu:8.2f} {cpu / len(chains):14.3f}")
        medians.append((wall, cpu))
    for what, mine, other in zip(("wall", "CPU"), *medians, strict=True):
        limit = verdict(other / mine >= MIN_RATIO, f"at least {MIN_RATIO}")
        print(f"{what} ratio {other / mine:.2f} ({limit})")
    print(f"peak memory of foldry {max(peaks):.0f} MB")


def memory(bench: Bench, number: int) -> None:
    """Print the peak memory of searches of all sequences once and twice over."""
    chains, path = bench.sequences(number), bench.folder / "all.fasta"
    parts = [bench.packed, bench.packed.with_name("extended.fasta.zst")]
    print(f"{len(chains)} queries\n{'sequences':>12s} {'file MB':>8s} {'rows':>8s} {'peak MB':>8s}")
    peaks = []
    for times in (1, 2):
        write_unpacked(path, parts * times)
        database = inspect(path)
        found = in_new_process("hmmer", path, chains, bench.cores)
        peaks.append(found["here"])
        print(f"{database.num_sequences:12,d} {database.size / MB:8.0f} ", end="")
        print(f"{found['rows']:8.0f} {peaks[-1]:8.0f}")
    growth = peaks[1] - peaks[0]
    print(f"peak {peaks[0]:.0f} MB ({verdict(peaks[0] <= MAX_MEMORY, f'{MAX_MEMORY} MB')})")
    print(f"growth {growth:.1f} MB ({verdict(growth <= MAX_GROWTH, f'{MAX_GROWTH} MB')})")


def clustered(bench: Bench, program: str) -> Path:
    """Make a clustered database of the start of the database, as ColabFold searches."""
    folder = bench.folder / "clustered"
    folder.mkdir()
    fasta, every, clusters, path = (folder / each for each in ("fasta", "all", "clusters", "demo"))
    with bench.unpacked().open() as file:
        text = file.read(CLUSTERED)
    fasta.write_text(text[: text.rindex("\n>") + 1])
    threads = ("--threads", bench.cores)
    parts = [f"{path}{part}" for part in ("_seq", "_clu", "_aln")]
    mmseqs.run(program, folder, "createdb", fasta, every)
    options = ("--min-seq-id", 0.3, "-c", 0.8, *threads)
    mmseqs.run(program, folder, "linclust", every, clusters, folder / "tmp", *options)
    mmseqs.run(program, folder, "createclusearchdb", every, clusters, path, *threads)
    mmseqs.run(program, folder, "align", path, *parts, "-a", *threads)
    return path


def with_mmseqs(bench: Bench, number: int) -> None:
    """Print the time and the memory of ColabFold's search."""
    try:
        program = mmseqs.find(NEEDED)
    except MissingError as error:
        print(f"skipped: {error}.")
        return
    chains, path = bench.sequences(number), clustered(bench, program)
    found: dict[str, float] = {}
    wall, cpu = usage(lambda: found.update(in_new_process("mmseqs", path, chains, bench.cores)))
    print(f"{len(chains)} queries, {inspect(path).num_sequences:,} clustered sequences")
    print(f"{'wall s':>8s} {'CPU-s':>8s} {'CPU-s a query':>14s} {'rows':>8s} {'peak MB':>8s}")
    print(f"{wall:8.1f} {cpu:8.1f} {cpu / len(chains):14.3f} ", end="")
    print(f"{found['rows']:8.0f} {found['children']:8.0f}")


def waiting(bench: Bench, number: int) -> None:
    """Print how long the network waits in a fold that searches, and in the next one."""
    chains, folder = bench.sequences(number), bench.folder / "databases"
    folder.mkdir()
    (folder / bench.packed.name).symlink_to(bench.packed.resolve())
    queries = bench.folder / "queries.fasta"
    queries.write_text("".join(f">{name}\n{text}\n" for name, text in chains.items()))
    kept = {"FOLDRY_SEARCHES": "searches", "FOLDRY_DATABASES": "registry"}
    variables = os.environ | {name: str(bench.folder / text) for name, text in kept.items()}
    command = [sys.executable, "-m", "foldry", "fold", str(queries), "--device", "cpu", "--debug"]
    print(f"{len(chains)} chains, {sum(map(len, chains.values()))} residues, with mini")
    print(f"{'':12s} {'wall s':>8s} {'CPU-s':>8s} {'waited s':>9s} {'share':>6s}")
    logs: list[str] = []

    def fold(name: str, recipe: str) -> None:
        more = ["--search", recipe, "-o", str(bench.folder / name)]
        done = subprocess.run([*command, *more], env=variables, check=True, capture_output=True)
        logs.append(done.stderr.decode())

    for name, recipe in (("no search", "none"), ("search", str(folder)), ("again", str(folder))):
        wall, cpu = usage(partial(fold, name, recipe))
        waits = [float(text) for text in re.findall(r"waited ([\d.]+) s for a search", logs[-1])]
        if bool(waits) != (recipe != "none"):
            raise InputError("foldry fold does not say how long it waited", "adapt this script")
        share = sum(waits) / wall
        print(f"{name:12s} {wall:8.2f} {cpu:8.2f} {sum(waits):9.2f} {share:6.1%} ", end="")
        print(f"({verdict(share <= MAX_WAITING, f'{MAX_WAITING:.0%}')})" if waits else "")
    start = time.perf_counter()
    inspect(bench.packed)
    print(f"counting the sequences of the folder, before: {time.perf_counter() - start:.2f} s each")


PARTS: dict[str, tuple[Callable[[Bench, int], bool | None], int]] = {
    "rows": (rows, 20),
    "speed": (speed, 30),
    "memory": (memory, 3),
    "mmseqs": (with_mmseqs, 150),
    "waiting": (waiting, 20),
}
"""Each part and its number of queries."""


def main() -> int:
    """Run the chosen parts; return 1 if rows differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--parts", default=",".join(PARTS), help="default: all")
    parser.add_argument("--queries", type=int, help="number of queries of every part")
    parser.add_argument("--cores", type=int, default=2, help="cores that are used")
    parser.add_argument("--repeats", type=int, default=3, help="runs of `speed`")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(search)
        return 0
    parts = arguments.parts.split(",")
    check_names(parts, PARTS)
    if not arguments.data.is_dir():
        advice = "give the folder of the packs"
        raise InputError("does not exist", advice, where=arguments.data)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    print(f"{processor()}; {arguments.cores} used")
    are_equal = True
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments.data, arguments.cores, arguments.repeats, Path(folder))
        for name in parts:
            part, number = PARTS[name]
            print(f"\n{name}", flush=True)
            are_equal &= part(bench, arguments.queries or number) is not False
    return 0 if are_equal else 1


if __name__ == "__main__":
    run_script(main)

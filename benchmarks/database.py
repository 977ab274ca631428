"""Speed, size and recall of a database of predictions, each figure beside its limit.

    python benchmarks/database.py [--entries 350000] [--data ../shared/data] [--folder FOLDER]
        [--parts store,bytes,render,import,text,search,recall,memory] [--queries 20] [--mini FOLDER]

The predictions are made from the chains of `--data`, or from those of the examples
(`made_predictions.py`): mean length 150, each with coordinates, errors and sequence of its own.

- store: two processes publish batches; the time to make the predictions is not counted.
- bytes: where the bytes of an entry go, in the database and for a fold of 300 residues by `mini`,
  of a bare sequence, which has the noisiest errors. `--mini` is the folder of another fold.
- render: the files of that fold, from the record to the bytes; median.
- import: ModelCIF files as this database renders them, with two processes.
- text: words, names, genes, accessions and beginnings; a page of 20.
- search: a query of 300 residues by sequence and by structure, in new processes, also after 1,000
  publications of one entry; memory is that of the process and of its largest child.
- recall: real chains; what share of the pairs that TM-align gives a TM-score above 0.5 by both
  lengths is among the first 50 of 500. Needs tmtools.
- memory: of an import of few and of many files.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np

from foldry.database.database import Database
from foldry.database.filters import Filter
from foldry.database.imports.run import ImportOptions, import_paths
from foldry.database.record import SECTIONS
from foldry.database.render import file_name, render
from foldry.database.similar import Wanted, similar_structures
from foldry.database.text_search import TextQuery, facets, search_text
from foldry.errors import InputError
from foldry.residues import CA
from foldry.store.objects import ZSTD
from foldry.store.sections import join_sections, split_sections
from foldry.structure import Structure
from made_predictions import EXAMPLES, Maker, accession, known_chains
from script import check_names, run_script
from startup import processor

BATCH: Final = 125
ROUND: Final = 4 * BATCH
"""Predictions that a process makes before it publishes them."""
LENGTH: Final = 300
MANY: Final = 500
"""Entries among which related structures are sought."""
FIRST: Final = 50
PEAK: Final = """
def own_peak():
    # What getrusage says of a new process includes the memory of the one that started it.
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
"""
SEARCH: Final = """
import json, resource, sys, time
from foldry.database.database import Database
from foldry.database.similar import similar_entries
with Database.open(sys.argv[1]) as database:
    entry = database.entry(sys.argv[2])
    seconds = []
    for _ in range(int(sys.argv[4])):
        begun = time.perf_counter()
        found = similar_entries(database, entry, by_structure=sys.argv[3] == "structure")
        seconds.append(time.perf_counter() - begun)
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps([seconds, (own_peak() + children) / 1e6]))
"""
IMPORT: Final = """
import sys
from foldry.database.database import Database
from foldry.database.imports.run import import_paths
with Database.open(sys.argv[1]) as database:
    outcomes = list(import_paths(database, sys.argv[2:]))
assert all(outcome.published for outcome in outcomes), outcomes
print(own_peak() / 1e6)
"""


@dataclass(frozen=True)
class Figure:
    """A measured number.

    Attributes:
        what: What was measured.
        value: The number.
        unit: Its unit.
        limit: What it must be, e.g. `<= 5`, or "".
    """

    what: str
    value: float
    unit: str
    limit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the number is within its limit."""
        sign, _, bound = self.limit.partition(" ")
        if not sign:
            return True
        return self.value <= float(bound) if sign == "<=" else self.value >= float(bound)

    def __str__(self) -> str:
        verdict = "" if not self.limit else "yes" if self.holds else "NO"
        return f"| {self.what} | {self.value:,.4g} {self.unit} | {self.limit} | {verdict} |"


@dataclass(frozen=True)
class Run:
    """What all measurements share.

    Attributes:
        folder: Folder of everything that is made.
        chains: Real chains.
        entries: Number of entries of the database.
        queries: Number of queries of each kind.
        mini: Folder of a fold of 300 residues by `mini`, or None to fold one.
    """

    folder: Path
    chains: list[Structure]
    entries: int
    queries: int
    mini: Path | None

    @property
    def database(self) -> str:
        """The large database."""
        return str(self.folder / "large.db")

    def small(self, name: str) -> Database:
        """Return a new empty database."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return Database.create(self.folder / name, provider="Example Lab")

    def maker(self, seed: int = 0) -> Maker:
        """Return a maker of predictions."""
        return Maker(self.chains, seed=seed)

    def write_models(self, name: str, number: int, seed: int = 1) -> list[str]:
        """Write ModelCIF files of predictions and return their paths."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        maker = self.maker(seed)
        with self.small(f"{name}.db") as database:
            for start in range(0, number, BATCH):
                numbers = range(start, min(number, start + BATCH))
                database.publish([maker.deposit(each) for each in numbers])
            for entry in database.entries():
                content = render(database, entry, entry.latest, "cif")
                assert content is not None
                (folder / file_name(entry, entry.latest, "cif")).write_bytes(content)
        return sorted(map(str, folder.iterdir()))

    def mini_entry(self) -> Database:
        """Return a database with the fold of `mini` alone."""
        out = self.mini or self.folder / "mini"
        if not out.is_dir():
            text = (EXAMPLES / "malate_dehydrogenase" / "1mld_AB.fasta").read_text()
            sequence = "".join(text.split(">")[1].splitlines()[1:])
            query = self.folder / "mini.fasta"
            query.write_text(f">mini\n{sequence[:LENGTH]}\n")
            command = [sys.executable, "-m", "foldry", "fold", str(query), "-o", str(out)]
            subprocess.run(command, check=True, capture_output=True)
        database = self.small("mini.db")
        [outcome] = import_paths(database, [out])
        if outcome.published is None:
            raise InputError("is not a fold", outcome.problem, where=out)
        return database


def store(run: Run) -> Iterator[Figure]:
    shutil.rmtree(run.database, ignore_errors=True)
    Database.create(run.database, provider="Example Lab").close()
    rounds = [range(at, min(run.entries, at + ROUND)) for at in range(0, run.entries, ROUND)]
    context = get_context("spawn")
    barrier = context.Barrier(2)
    with context.Pool(2, _begin, (run.database, run.chains, barrier)) as pool:
        wall = cpu = 0.0
        for pair in zip(rounds[::2], [*rounds[1::2], range(0)][: len(rounds[::2])], strict=True):
            walls, cpus = zip(*pool.map(_publish_round, pair, chunksize=1), strict=True)
            wall, cpu = wall + max(walls), cpu + sum(cpus)
    yield Figure("predictions published by two processes", run.entries / wall, "/s", ">= 1000")
    yield Figure("publication of one in a batch", 1000 * cpu / run.entries, "CPU-ms", "<= 2")
    size = sum(path.stat().st_size for path in Path(run.database, "objects").rglob("*"))
    yield Figure("records of all entries", size / 1e9, "GB")


_WORKER: dict[str, Any] = {}


def _begin(where: str, chains: list[Structure], barrier: Any) -> None:
    _WORKER.update(database=Database.open(where), maker=Maker(chains), barrier=barrier)


def _publish_round(numbers: range) -> tuple[float, float]:
    """Return wall time and CPU time from when both processes have made their predictions."""
    deposits = [_WORKER["maker"].deposit(number) for number in numbers]
    _WORKER["barrier"].wait()
    begun, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(deposits), BATCH):
        _WORKER["database"].publish(deposits[start : start + BATCH])
    return time.perf_counter() - begun, time.process_time() - cpu


def sizes(run: Run) -> Iterator[Figure]:
    with run.mini_entry() as database:
        [entry] = database.entries()
        fold = _sections(database, [entry.latest.digests[0]])
        residues = entry.num_residues
    with run.small("rows.db") as database:
        maker, taken = run.maker(2), []
        size = min(BATCH, run.entries)
        for place in range(5):
            numbers = range(place * size, (place + 1) * size)
            database.publish([maker.deposit(number, residues) for number in numbers])
            if place in (0, 4):
                taken.append(_taken(database))
        rows = (taken[1] - taken[0]) / (4 * size)
    yield from (
        Figure(f"fold of mini, {residues} residues: {k}", v, "bytes") for k, v in fold.items()
    )
    yield Figure(f"rows and indices of an entry of {residues} residues", rows, "bytes")
    whole = sum(fold.values()) + rows
    yield Figure("fold of mini, everything", whole, "bytes", f"<= {45_000 * residues / LENGTH:.0f}")
    with Database.open(run.database) as database:
        digests = [
            entry.latest.digests[0]
            for entry, _ in zip(database.entries(), range(1000), strict=False)
        ]
        mean, count = _sections(database, digests), database.num_entries
        for name, value in mean.items():
            yield Figure(f"mean of the database: {name}", value, "bytes")
        yield Figure("mean of the database: rows and indices", _taken(database) / count, "bytes")


def _sections(database: Database, digests: list[str]) -> dict[str, float]:
    """Return the mean compressed size of each section of records."""
    found = np.zeros(len(SECTIONS))
    for digest in digests:
        sections = split_sections(database.stored(digest, ""))
        # Only the first section shares the dictionary of all objects.
        found += [
            len(ZSTD.compress(join_sections([bytes(each)] if not place else [b"", bytes(each)])))
            - len(ZSTD.compress(join_sections([b""]))) * (place > 0)
            for place, each in enumerate(sections)
        ]
    return dict(zip(SECTIONS, found / len(digests), strict=True))


def _taken(database: Database) -> int:
    """Return the bytes of tables and of the search's data."""
    folder = database.tables.place.folder
    assert folder is not None
    with closing(sqlite3.connect(folder / "foldry.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    entry = next(iter(database.entries()))
    list(similar_structures(database, database.model(entry).record.structure, Wanted()).hits)
    files = [folder / "foldry.sqlite", *(folder / "search").rglob("*")]
    return sum(path.stat().st_size for path in files if path.is_file())


def renders(run: Run) -> Iterator[Figure]:
    with run.mini_entry() as database:
        [entry] = database.entries()
        for kind, limit in (
            ("cif", 5),
            ("bcif", 5),
            ("pdb", 0),
            ("confidence", 2),
            ("pae", 2),
            ("pae_png", 0),
        ):
            make = partial(render, database, entry, entry.latest, kind)
            make()
            milliseconds = 1000 * statistics.median(_seconds(make) for _ in range(50))
            what = f"{kind} of {entry.num_residues} residues"
            yield Figure(what, milliseconds, "ms", f"<= {limit}" if limit else "")


def imports(run: Run) -> Iterator[Figure]:
    paths = run.write_models("models", min(1000, run.entries))
    with run.small("imported.db") as database:
        outcomes: list[Any] = []
        seconds = _seconds(
            lambda: outcomes.extend(import_paths(database, paths, ImportOptions(jobs=2)))
        )
        failed = [outcome for outcome in outcomes if outcome.published is None]
        if failed or len(outcomes) != len(paths):
            raise InputError("A file was not imported", str(failed[:1]))
    yield Figure("ModelCIF files imported by two processes", len(paths) / seconds, "/s", ">= 150")


def texts(run: Run) -> Iterator[Figure]:
    random = np.random.default_rng(3)
    maker = run.maker()
    found, counted = list[float](), list[float]()
    with Database.open(run.database) as database, database.reading() as connection:
        for number in random.integers(run.entries, size=10 * run.queries).tolist():
            facts = maker.deposit(number, 40).facts
            word, kind, rare = facts.description.split()
            queries = (
                word,
                kind,
                rare,
                f"{kind} {word}",
                facts.gene,
                facts.organism,
                rare[:4] + "*",
            )
            for text in (*queries, accession(number), f"protein_{number}", ""):
                query = TextQuery(text=text)
                found.append(_seconds(partial(search_text, connection, query)))
            if len(counted) < run.queries:
                counted.append(_seconds(partial(facets, connection, kind, Filter())))
    for share, limit in ((50, ""), (95, "<= 100"), (100, "")):
        value = 1000 * float(np.percentile(found, share))
        yield Figure(f"text search, percentile {share} of {len(found)}", value, "ms", limit)
    yield Figure("facets of a frequent word, median", 1000 * statistics.median(counted), "ms")


def searches(run: Run) -> Iterator[Figure]:
    maker = run.maker(4)
    with Database.open(run.database) as database:
        [query] = database.publish([maker.deposit(0, LENGTH)])
    begun = time.perf_counter()
    _probe(run, query.entry_id, "sequence", 1)
    yield Figure("first search, which makes the search's data", time.perf_counter() - begun, "s")
    yield from _search_figures(run, query.entry_id, "")
    with Database.open(run.database) as database:
        deposits = [maker.deposit(number) for number in range(1, 1001)]
        begun = time.perf_counter()
        for each in deposits:
            database.publish([each])
        seconds = time.perf_counter() - begun
    yield Figure("publication of one entry", seconds, "ms")
    yield from _search_figures(run, query.entry_id, " after 1,000 additions")


def _search_figures(run: Run, entry_id: str, when: str) -> Iterator[Figure]:
    for kind in ("sequence", "structure"):
        seconds, peak = _probe(run, entry_id, kind, 4)
        about = f"{kind} search of {LENGTH} residues{when}"
        yield Figure(f"{about}, the first", seconds[0], "s", "<= 2")
        yield Figure(f"{about}, median of the next", statistics.median(seconds[1:]), "s", "<= 2")
        yield Figure(f"{about}, memory", peak, "MB", "<= 300")


def _probe(run: Run, entry_id: str, kind: str, times: int) -> tuple[list[float], float]:
    words = [run.database, entry_id, kind, str(times)]
    seconds, peak = json.loads(_python(SEARCH, words))
    return seconds, peak


def _python(program: str, words: list[str]) -> str:
    """Return what a program prints, run in a new process."""
    command = [sys.executable, "-c", PEAK + program, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def recall(run: Run) -> Iterator[Figure]:
    if importlib.util.find_spec("tmtools") is None:
        print("recall needs tmtools, which is not installed", file=sys.stderr)
        return
    import tmtools  # type: ignore[import-untyped]  # noqa: PLC0415  (not for every Python)

    few = [each for each in run.chains if 60 <= len(each) <= 400 and each.atom_mask[:, CA].all()]
    random = np.random.default_rng(5)
    chosen = [few[place] for place in random.permutation(len(few))[:MANY]]
    pairs = hits = 0
    with run.small("recall.db") as database:
        deposits = [_as_prediction(run, each, number) for number, each in enumerate(chosen)]
        ids = [each.entry_id for each in database.publish(deposits)]
        for query in chosen[: run.queries]:
            found = similar_structures(database, query, Wanted(limit=FIRST, max_e_value=1e9))
            first = {hit.entry.entry_id for hit in found.hits}
            for target, entry_id in zip(chosen, ids, strict=True):
                if target is not query:
                    both = tmtools.tm_align(
                        *(
                            np.asarray(each.atom_positions[:, CA], float)
                            for each in (query, target)
                        ),
                        query.sequence,
                        target.sequence,
                    )
                    is_pair = min(both.tm_norm_chain1, both.tm_norm_chain2) > 0.5
                    pairs += is_pair
                    hits += is_pair and entry_id in first
    what = f"recall of {pairs} pairs of TM-score above 0.5 in the first {FIRST} of {len(chosen)}"
    yield Figure(what, hits / max(1, pairs), "", ">= 0.95")


def _as_prediction(run: Run, chain: Structure, number: int) -> Any:
    """Return a real chain as if it had been predicted."""
    return Maker([chain], seed=6).whole(number)


def memory(run: Run) -> Iterator[Figure]:
    paths = run.write_models("memory", min(2000, run.entries), seed=7)
    few, many = paths[: len(paths) // 8], paths
    peaks = []
    for some in (few, many):
        run.small("memory_of.db").close()
        words = [str(run.folder / "memory_of.db"), *some]
        peaks.append(float(_python(IMPORT, words)))
    for some, peak in zip((few, many), peaks, strict=True):
        yield Figure(f"memory of an import of {len(some):,} files", peak, "MB")
    yield Figure("memory of the larger by that of the smaller", peaks[1] / peaks[0], "", "<= 1.15")


def _seconds(function: Callable[[], object]) -> float:
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


PARTS: Final[dict[str, Callable[[Run], Iterator[Figure]]]] = {
    "store": store,
    "bytes": sizes,
    "render": renders,
    "import": imports,
    "text": texts,
    "search": searches,
    "recall": recall,
    "memory": memory,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=350_000, help="entries of the database")
    parser.add_argument("--data", type=Path, help="folder of packs of real chains")
    parser.add_argument("--folder", type=Path, help="keep everything here; reuse its database")
    parser.add_argument("--parts", default=",".join(PARTS), help="what is measured")
    parser.add_argument("--queries", type=int, default=20, help="queries of each kind")
    parser.add_argument("--mini", type=Path, help="results folder of another fold")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    check_names(parts, PARTS)
    if arguments.entries < 1 or arguments.queries < 1:
        raise InputError("There are no entries or no queries", "measure at least one")
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        chains = known_chains(arguments.data)
        run = Run(folder, chains, arguments.entries, arguments.queries, arguments.mini)
        print(f"{processor()}; {run.entries:,} entries made from {len(chains)} chains\n")
        print("| what | measured | limit | holds |\n|---|---|---|---|")
        failed = False
        for name in parts:
            for figure in PARTS[name](run):
                print(figure, flush=True)
                failed |= not figure.holds
    return int(failed)


if __name__ == "__main__":
    run_script(main)

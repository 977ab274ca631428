"""Kill commands that write a database at random moments, read meanwhile, and repeat them.

    python benchmarks/kill_database.py [--moments 20] [--jobs import,add,migrate,gc] [--seed 0]
                                       [--work FOLDER]

Every command first runs undisturbed. Then, for each moment, it starts afresh on a copy of the
database and its process receives SIGKILL, at a time after its first write. While it runs, this
process reads the database over and over. The script checks that

- a reader sees whole publications only: the versions of a publication never become more, and every
  version that it sees has its record;
- after the kill, `verify` finds nothing wrong;
- the rerun succeeds, and afterwards the database has the same entries, versions and records as
  after the undisturbed run, and no other objects but those that a `gc` then removes.

The exit code is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from foldry.database.connection import Tables
from foldry.database.database import Database
from foldry.database.filters import Filter
from foldry.database.gc import collect_garbage
from foldry.database.place import TABLES, find_place
from foldry.database.schema import entries, versions
from foldry.database.verify import verify
from foldry.errors import FoldryError
from foldry.formats.coordinates import to_pdb
from script import check_names, run_script

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.database.deposits import deposit, sequence, stored_model  # noqa: E402

NUM_FILES: Final = 150
"""Files of an import: more than one of its batches."""
LONGEST: Final = 120.0
MIGRATE: Final = f"""
import sys, types
sys.path.insert(0, {str(ROOT)!r})
from foldry.database import migrate, revision
from tests.database.test_migrations import later_step
module = types.ModuleType("foldry.database.migrations.revision_9999")
module.upgrade = later_step
sys.modules[module.__name__] = module
revision.REVISIONS.append("9999")
migrate.migrate(sys.argv[1])
"""
"""Migrates a database as a later version of Foldry would, which makes its largest table anew."""

Content = dict[tuple[str, int], tuple[str, ...]]
"""The hashes of each version's records."""


@dataclass(frozen=True)
class Job:
    """A command to disturb.

    Attributes:
        prepare: Makes the database and the input in a folder.
        words: Arguments of Python for a database and the input.
    """

    prepare: Callable[[Path], None]
    words: Callable[[Path, Path], list[str]]


@dataclass
class Watch:
    """What a reader has seen of a database, and what was wrong.

    Attributes:
        database: The place.
        is_purged: Whether versions vanish.
        counts: Number of versions of each publication.
        faults: What was wrong.
        reads: How often it read.
    """

    database: Path
    is_purged: bool
    counts: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    reads: int = 0

    def look(self) -> None:
        """Read one state of the database, and the records of one entry."""
        try:
            with Database.open(self.database) as database:
                with database.reading() as connection:
                    query = sa.select(versions.c.state, sa.func.count()).group_by(versions.c.state)
                    counts = {row[0]: row[1] for row in connection.execute(query)}
                    keys = connection.scalars(sa.select(entries.c.key)).all()
                self._compare(counts)
                if keys:
                    self._read(database, random.choice(keys))
        except FoldryError as error:
            if not _is_migrated(self.database):
                self.faults.append(str(error))
        self.reads += 1

    def _compare(self, counts: dict[int, int]) -> None:
        for state, count in counts.items():
            before = self.counts.setdefault(state, count)
            if count != before and not self.is_purged:
                self.faults.append(f"publication {state} had {before} versions, then {count}")

    def _read(self, database: Database, key: int) -> None:
        for entry in database.load([key]):
            for version in entry.versions:
                try:
                    database.model(entry, version.number)
                except FoldryError:
                    if database.load([key]):  # not purged meanwhile
                        raise


def _is_migrated(place: Path) -> bool:
    """Return whether a database has the schema of a later version."""
    try:
        Database.open(place).close()
    except FoldryError as error:
        return "later version" in str(error)
    return False


def content(place: Path) -> Content:
    """Return the records of all versions, by the name of the entry."""
    tables = Tables(find_place(place))  # also of a later schema
    query = (
        "SELECT entries.name, versions.number, models.digest FROM models"
        " JOIN versions ON models.versions = versions.key"
        " JOIN entries ON versions.entries = entries.key ORDER BY models.rank"
    )
    found: Content = {}
    with tables.reading() as connection:
        for name, number, digest in connection.exec_driver_sql(query):
            found[name, number] = (*found.get((name, number), ()), digest)
    tables.close()
    return found


def disturb(job: Job, name: str, folder: Path, share: float | None, work: Path) -> dict[str, Any]:
    """Run a job on a copy of its database, kill it, check the database, and run it again.

    Args:
        job: The job.
        name: Its name.
        folder: What `prepare` made.
        share: When it is killed, as a share of the time from its first write to its end; None for
            an undisturbed run.
        work: Folder of the copy.

    Returns:
        What was measured: `seconds`, `content`, `faults`, `reads` and whether it was `killed`.
    """
    place = work / "copy.db"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "lab.db", place)
    command = [sys.executable, *job.words(place, folder / "input")]
    watch = Watch(place, is_purged=name == "gc")
    stamp = _written(place)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        begun: float | None = None
        while process.poll() is None:
            now = time.monotonic()
            if begun is None and _written(place) != stamp:
                begun = now
            if share is not None and begun is not None and now - begun >= share:
                process.send_signal(signal.SIGKILL)
                break
            watch.look()
        process.wait(LONGEST)
        seconds = time.monotonic() - (begun or time.monotonic())
        said = process.stderr.read().decode() if process.stderr else ""
    killed = process.returncode == -signal.SIGKILL
    if not killed and process.returncode:
        watch.faults.append(f"exit code {process.returncode}: {said.strip()}")
    watch.faults += _problems(place)
    if killed:
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        if again.returncode:
            watch.faults.append(f"the rerun has exit code {again.returncode}: {again.stderr}")
        watch.faults += _problems(place)
    return {
        "seconds": seconds,
        "content": content(place),
        "faults": watch.faults,
        "reads": watch.reads,
        "killed": killed,
        "left": _left(place),
    }


def _written(place: Path) -> tuple[int, int]:
    """Return what changes when something is written."""
    tables = place / f"{TABLES}-wal"
    size = tables.stat().st_size if tables.exists() else 0
    return size, sum(1 for _ in (place / "objects").glob("??/*"))


def _problems(place: Path) -> list[str]:
    try:
        with Database.open(place) as database:
            return [f"verify: {each}" for each in verify(database)]
    except FoldryError as error:
        return [] if _is_migrated(place) else [str(error)]


def _left(place: Path) -> list[str]:
    """Return the objects that nothing names after a collection of garbage."""
    try:
        with Database.open(place) as database:
            collect_garbage(database)
            named = {
                digest
                for entry in database.entries(chosen=Filter(with_withdrawn=True))
                for version in entry.versions
                for digest in version.objects
            }
            return sorted(set(database.objects.digests()) - named)
    except FoldryError as error:
        return [] if _is_migrated(place) else [str(error)]


# The jobs


def with_files(folder: Path) -> None:
    """An empty database, and small structure files."""
    Database.create(folder / "lab.db", provider="Lab").close()
    (folder / "input").mkdir()
    for number in range(NUM_FILES):
        model = stored_model([(sequence(number, 12), 1)], seed=number)
        (folder / "input" / f"p{number}.pdb").write_text(to_pdb(model.record.structure))


def with_results(folder: Path) -> None:
    """An empty database, and results of Foldry."""
    Database.create(folder / "lab.db", provider="Lab").close()
    records = "".join(f">q{number}\n{sequence(number, 12)}\n" for number in range(12))
    (folder / "q.fasta").write_text(records)
    words = ["fold", str(folder / "q.fasta"), "-o", str(folder / "input"), "--num-recycles", "0"]
    command = [sys.executable, "-m", "foldry", *words, "--device", "cpu"]
    subprocess.run(command, check=True, capture_output=True)


def with_entries(folder: Path) -> None:
    """A database of entries, some withdrawn, with objects that nothing names."""
    with Database.create(folder / "lab.db", provider="Lab") as database:
        made = [deposit(sequence(n, 12), seed=n, name=f"p{n}") for n in range(120)]
        published = database.publish(made)
        for each in published[::4]:
            database.withdraw(each.entry_id, "wrong")
        database.objects.put_many([f"nothing {n}".encode() * 9 for n in range(300)])
    (folder / "input").mkdir()


def _db(name: str, *more: str) -> Callable[[Path, Path], list[str]]:
    return lambda place, folder: [
        *("-m", "foldry", "db", name, str(place)),
        *([] if name == "gc" else [str(folder)]),
        *more,
    ]


JOBS: Final = {
    "import": Job(with_files, _db("import")),
    "add": Job(with_results, _db("add")),
    "migrate": Job(with_entries, lambda place, _: ["-c", MIGRATE, str(place)]),
    "gc": Job(with_entries, _db("gc", "--purge")),
}


def check(name: str, moments: int, chance: random.Random, work: Path) -> list[str]:
    """Disturb a job at several moments; print a row and return the faults."""
    folder, job = work / name, JOBS[name]
    folder.mkdir(parents=True)
    job.prepare(folder)
    whole = disturb(job, name, folder, None, folder)
    faults = [f"undisturbed: {each}" for each in (*whole["faults"], *whole["left"])]
    killed = reads = 0
    for _ in range(moments):
        share = chance.uniform(0, whole["seconds"])
        found = disturb(job, name, folder, share, folder)
        killed, reads = killed + found["killed"], reads + found["reads"]
        faults += [f"after {share:.3f} s: {each}" for each in (*found["faults"], *found["left"])]
        if different := whole["content"].items() ^ found["content"].items():
            faults.append(f"after {share:.3f} s: the rerun makes {sorted(different)}")
    print(f"{name:<9}{moments:>8}{killed:>8}{reads:>8}{len(faults):>8}")
    return [f"{name}, {each}" for each in faults]


def main() -> int:
    """Run the jobs and print the table."""
    about, _, usage = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    names = options.jobs.split(",")
    check_names(names, JOBS)
    chance = random.Random(options.seed)
    print(f"{'job':<9}{'moments':>8}{'killed':>8}{'reads':>8}{'faults':>8}")
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        faults = [
            each for name in names for each in check(name, options.moments, chance, Path(work))
        ]
    for each in faults:
        print(each)
    return int(bool(faults))


if __name__ == "__main__":
    run_script(main)

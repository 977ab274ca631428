"""Import of predictions: any number of files, folders and archives into a database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from foldry.database import ids
from foldry.database.connection import Tables
from foldry.database.database import Database
from foldry.database.entry import Deposit, Published
from foldry.database.imports.alphafold2 import FOLDRY
from foldry.database.imports.complete import complete
from foldry.database.imports.detect import READ_WHOLE, READERS, find_jobs, order
from foldry.database.imports.job import ALIGNMENT, Job, Reading
from foldry.database.merge import copy_from
from foldry.database.place import Place, is_database
from foldry.database.read import load
from foldry.database.schema import versions
from foldry.database.stretch import is_related
from foldry.errors import InputError, MissingError, OutsideError, as_foldry_error, printable
from foldry.processes.pool import for_each
from foldry.store.files import named_path, scratch_folder
from foldry.store.members import Skipped, is_archive_name, members_of

_BATCH: Final = 128
"""Predictions of one publication."""
_BATCH_BYTES: Final = 64 * 1024**2
"""Bytes of arrays, alignments and files of one publication."""
_KILLED: Final = "ends the process that reads it, probably for lack of memory"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How predictions are imported.

    Attributes:
        provider: Who made the predictions. Default: the database's provider, or AlphaFold DB for
            its files.
        accession: UniProt accession of all imported predictions, or None.
        keep_original: Whether the structure file of each best model is stored as it came.
        keep_alignments: Whether alignments are stored.
        only_foldry: Whether the results of other programs are refused.
        jobs: Number of processes. With 1, everything runs in this process; otherwise the calling
            program needs `if __name__ == "__main__"`, as always with multiprocessing.
    """

    provider: str | None = None
    accession: str | None = None
    keep_original: bool = False
    keep_alignments: bool = True
    only_foldry: bool = False
    jobs: int = 1


@dataclass(frozen=True)
class Outcome:
    """What happened to one prediction, or to files that are none.

    Attributes:
        where: The files, in one printable line.
        published: Where the prediction is kept; None if it was skipped, or if there is none.
        problem: Why it was skipped, in one sentence, or "".
        notes: What was left out, one sentence each.
    """

    where: str
    published: Published | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Result:
    """A prediction that was read; without a deposit, its outcome is final."""

    outcome: Outcome
    deposit: Deposit | None = None


def import_paths(
    database: Database,
    paths: Iterable[str | Path],
    options: ImportOptions = ImportOptions(),
) -> Iterator[Outcome]:
    """Import all predictions of files, folders, and zip and tar archives, and yield each outcome.

    Read are the results of Foldry, AlphaFold 2 and 3, AlphaFold Server, ColabFold, Boltz and Chai,
    files and archives of AlphaFold DB, structure files with pLDDT, and other databases of Foldry. A
    prediction that cannot be read is skipped. An outcome is yielded when its prediction is on the
    disk. An interrupted import can be repeated: what was imported before changes nothing.

    Args:
        database: The database.
        paths: The files, folders, archives and databases. Files that are named together belong
            together.
        options: How they are imported.

    Raises:
        InputError: The accession is not valid.
        DiskFullError: No space is left.
        BusyError: Another process writes to the database for long.

    Example:
        >>> import tempfile
        >>> with Database.create(tempfile.mkdtemp(), provider="Example Lab") as database:
        ...     [outcome] = import_paths(database, ["examples/kunitz/1adz.cif"])
        >>> outcome.where, outcome.problem.partition(": ")[2]
        ('examples/kunitz/1adz.cif', 'give a prediction.')
    """
    known = None if options.accession is None else _Named(database, options.accession)
    names = [str(each) for each in paths]
    sources = [] if options.only_foldry else list(filter(is_database, names))
    for source in sources:
        yield from _copied(database, source)
    skipped, unused = Skipped(), Skipped()
    before: Database | Place | None = None
    if database.num_entries:
        before = database if options.jobs == 1 else database.tables.place
    with ExitStack() as stack:
        scratch = cache(lambda: stack.enter_context(scratch_folder()))
        found = [named_path(each) for each in names if each not in sources]
        for path in found:
            if not path.exists():
                skipped.add(path, "does not exist", "check the path")
        yield from _reported(skipped)
        jobs = _jobs(found, scratch, skipped, unused)
        if options.only_foldry:
            jobs = _of_foldry(jobs, skipped)
        read = partial(_read, options=options, before=before)
        batch = _Batch(database)
        try:
            for result in _map(read, jobs, options.jobs):
                yield from _reported(skipped)
                if result.deposit is None:
                    yield result.outcome
                elif batch.add(result if known is None else known.compared(result)):
                    yield from batch.publish()
            yield from batch.publish()
        except (KeyboardInterrupt, GeneratorExit):
            batch.publish()  # what has been read need not be read again
            raise
        yield from _reported(skipped)
    for note in unused.problems():
        yield Outcome(printable(note.where), notes=(printable(str(note)),))


def _copied(database: Database, source: str) -> Iterator[Outcome]:
    """Copy another database, and yield where each version is kept."""
    try:
        with Database.open(source) as other:
            for each in copy_from(database, other):
                if isinstance(each, Published):
                    yield Outcome(printable(source), each)
                else:
                    yield _skipped(source, str(each))
    except (InputError, MissingError, OutsideError) as error:
        yield _skipped(source, str(error))


def _map(
    read: Callable[[Job], _Result], jobs: Iterable[Job], num_workers: int
) -> Iterator[_Result]:
    if num_workers == 1:
        return map(read, jobs)

    def killed(job: Job) -> _Result:
        error = InputError(_KILLED, "import it alone", where=job.where)
        return _Result(_skipped(job.where, str(error)))

    return for_each(read, jobs, num_workers, killed)


def _of_foldry(jobs: Iterable[Job], skipped: Skipped) -> Iterator[Job]:
    """Yield the results of Foldry."""
    for job in jobs:
        if job.layout == FOLDRY:
            yield job
        else:
            member = next(iter(job.files.values()))
            what, advice = "is not a result of Foldry", "import it instead"
            skipped.add(member.shown or member.container, what, advice, name=member.name)


def _jobs(
    paths: Sequence[Path], scratch: Callable[[], Path], skipped: Skipped, unused: Skipped
) -> Iterator[Job]:
    """Yield the predictions of all paths; see `find_jobs`."""
    files = [each for each in paths if each.is_file() and not is_archive_name(each.name)]
    others = sorted(each for each in {*paths} - {*files} if each.exists())
    for group in (files, *([each] for each in others)):
        found, before = False, skipped.number
        for job in find_jobs(members_of(group, scratch, skipped, order), skipped, unused):
            found = True
            yield job
        if not found and skipped.number == before:
            advice = "give a prediction, or a folder or archive of predictions"
            for path in group:
                skipped.add(path, "has no prediction in a layout that is read", advice)


def _read(job: Job, options: ImportOptions, before: Database | Place | None) -> _Result:
    """Read one prediction; any failure gives a reason.

    Args:
        job: Its files.
        options: How it is imported.
        before: The database, or its place, if it may have the prediction; otherwise None.
    """
    # Of equal sequences, equal files may be of different proteins.
    named = " ".join(map(str, ids.named_accession(job.name) or ()))
    choices = options.provider or "", options.accession or named
    reading = Reading(job, choices, options.keep_alignments)
    try:
        if before is not None and job.layout in READ_WHOLE:
            for name in job.files:
                if not name.endswith(ALIGNMENT):
                    reading.data(name)
            database = _opened(before) if isinstance(before, Place) else before
            if (known := _published(database, reading.key)) is not None:
                return _Result(Outcome(printable(job.where), known))
        deposit = _chosen(READERS[job.layout](reading), reading, options)
    except Exception as error:  # no failure may end an import
        wrong = as_foldry_error(error)
        text = str(wrong) if wrong.where else f"{job.where} cannot be read: {wrong}"
        return _Result(_skipped(job.where, text))
    notes = tuple(map(printable, reading.notes))
    return _Result(Outcome(printable(job.where), None, "", notes), deposit)


@cache  # one for each process
def _opened(place: Place) -> Database:
    return Database(Tables(place))


def _published(database: Database, key: str) -> Published | None:
    """Return where the prediction with a content key is kept, if it is, and is whole."""
    query = sa.select(versions.c.entries).where(versions.c.content_key == key)
    with database.reading() as connection:
        found = load(connection, connection.scalars(query).all())
    for entry in found:
        for version in entry.versions:
            if version.content_key == key and database.is_whole(version):
                return Published(entry.entry_id, version.number, False)
    return None


def _chosen(deposit: Deposit, reading: Reading, options: ImportOptions) -> Deposit:
    """Return a deposit as the options want it."""
    if options.provider is not None:
        deposit = replace(deposit, provider=options.provider)
    if options.accession is not None:
        deposit = replace(deposit, accession=options.accession, entry_id=None)
    if options.keep_original:
        deposit = replace(deposit, original=reading.original)
    return deposit


def _num_bytes(deposit: Deposit) -> int:
    models = (deposit.model, *deposit.ensemble)
    arrays = [each.record.structure.atom_positions for each in models]
    arrays += [each.pae for each in models if each.pae is not None]
    others = (*deposit.alignments, deposit.original or b"")
    return sum(each.nbytes for each in arrays) + sum(map(len, others))


class _Named:
    """The sequences that have the accession of an import, to notice those of other proteins."""

    def __init__(self, database: Database, accession: str) -> None:
        self._name = str(ids.accession(accession))
        self._known = [
            (each.entry_id, tuple(chain.sequence for chain in each.chains))
            for each in database.find(self._name)
            if each.accession == self._name
        ]

    def compared(self, result: _Result) -> _Result:
        """Return a result with a note if its sequence is not that of an earlier one."""
        assert result.deposit is not None
        own = tuple(chain.sequence for chain in result.deposit.model.record.chains)
        others = [
            where
            for where, known in self._known
            if not any(is_related(one, other) for one in own for other in known)
        ]
        if not self._known:
            self._known.append((result.outcome.where, own))
        if not others:
            return result
        note = (
            f"{result.outcome.where} has another sequence than {others[0]}, and both have the "
            f"accession {self._name}: withdraw the one that is not this protein."
        )
        outcome = replace(result.outcome, notes=(*result.outcome.notes, printable(note)))
        return replace(result, outcome=outcome)


@dataclass
class _Batch:
    """Predictions that were read and are published together."""

    database: Database
    _waiting: list[_Result] = field(default_factory=list)
    _num_bytes: int = 0

    def add(self, result: _Result) -> bool:
        """Add a prediction, and return whether the batch is full."""
        assert result.deposit is not None
        self._waiting.append(result)
        self._num_bytes += _num_bytes(result.deposit)
        return len(self._waiting) >= _BATCH or self._num_bytes > _BATCH_BYTES

    def publish(self) -> list[Outcome]:
        """Publish all, and return the outcomes."""
        outcomes = list(_publish(self.database, self._waiting))
        self._waiting, self._num_bytes = [], 0
        return outcomes


def _publish(database: Database, batch: Sequence[_Result]) -> Iterator[Outcome]:
    """Publish a batch; if one of its predictions is refused, each by itself."""
    if not batch:
        return
    deposits = [each.deposit for each in batch if each.deposit is not None]
    try:
        published = database.publish(deposits)
    except InputError as error:
        if len(batch) > 1:
            for each in batch:
                yield from _publish(database, [each])
        elif (known := complete(database, deposits[0])) is not None:
            yield replace(batch[0].outcome, published=known)
        else:
            what = f"{batch[0].outcome.where} is not kept: {error}"
            yield _skipped(batch[0].outcome.where, what)
        return
    for each, where in zip(batch, published, strict=True):
        notes = each.outcome.notes
        if where.is_new and where.withdrawn:
            what = f"{where.entry_id} is withdrawn ({where.withdrawn}), and its new version, too"
            notes = (*notes, printable(f"{what}: restore the entry to see it."))
        yield replace(each.outcome, published=where, notes=notes)


def _reported(skipped: Skipped) -> Iterator[Outcome]:
    for error in skipped.problems():
        yield _skipped(error.where, str(error))


def _skipped(where: str, problem: str) -> Outcome:
    return Outcome(printable(where), None, problem)

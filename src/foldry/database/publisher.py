"""Publication of predictions in a database as they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from foldry.database.database import Database
from foldry.database.entry import Deposit, Published
from foldry.database.imports.detect import READERS, find_jobs, order
from foldry.database.imports.job import Reading
from foldry.formats.a3m import to_a3m
from foldry.query import Query
from foldry.results.prediction import Prediction
from foldry.store.files import scratch_folder
from foldry.store.members import Skipped, members_of


@dataclass(frozen=True)
class DatabasePublisher:
    """Publishes each query's results folder in a database, with the alignments of the query.

    It follows the publisher of the folder (`foldry.results.folder.ResultsFolder`), so results that
    an earlier run finished are published too, and are the same as when the folder is imported.

    Attributes:
        where: Folder or `postgresql://` URL of the database.
        out: Folder in which each query has a folder of results.
        report: Called with the name of each query and with where its prediction is kept.
    """

    where: str
    out: Path
    report: Callable[[str, Published], None] = lambda name, published: None

    def publish(
        self,
        query: Query,
        key: str,
        predict: Callable[[Path | None], AbstractContextManager[Sequence[Prediction]]],
    ) -> bool:
        """Publish a query (`foldry.predict.runner.Publisher`).

        Returns:
            False: it computes nothing.

        Raises:
            InputError: The database or the folder cannot be read.
            BusyError: Another process writes to the database for long.
            DiskFullError: No space is left.
        """
        for deposit in _deposits(self.out / query.name):
            if deposit.content_key == key:  # not the results of another run
                with Database.open(self.where) as database:
                    complete = replace(deposit, alignments=_alignments(query))
                    [published] = database.publish([complete])
                self.report(query.name, published)
        return False


def _deposits(folder: Path) -> list[Deposit]:
    """Return the predictions in a results folder."""
    skipped = Skipped()
    with ExitStack() as stack:
        members = members_of(
            [folder], lambda: stack.enter_context(scratch_folder()), skipped, order
        )
        return [READERS[job.layout](Reading(job)) for job in find_jobs(members, skipped, skipped)]


def _alignments(query: Query) -> tuple[bytes, ...]:
    """Return the a3m of each chain, a single row if it has none; nothing if all have none."""
    if not any(chain.alignment for chain in query.chains):
        return ()
    return tuple(
        (to_a3m(each.alignment) if each.alignment else f">query\n{each.sequence}\n").encode()
        for each in query.chains
    )

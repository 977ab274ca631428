"""Several queries at once: short ones in a batch, several batches in worker processes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from foldry.errors import DiskFullError, MemoryShortError, printable
from foldry.kernels.matmul import tuned_process
from foldry.predict.batches import Batch, grouped
from foldry.predict.remarks import first_of
from foldry.predict.runner import Outcome, Progress, Publisher, explain, run
from foldry.predict.settings import Settings
from foldry.predict.workers import Worker
from foldry.query import Query
from foldry.search.ahead import Group

_Ended: TypeAlias = tuple[list[Outcome], list[logging.LogRecord]]

logger = logging.getLogger("foldry")


def run_groups(
    groups: Iterable[Group],
    total: int,
    settings: Settings,
    publishers: Sequence[Publisher],
    workers: Sequence[Worker],
    progress: Progress | None = None,
) -> Iterator[tuple[Query, Outcome]]:
    """Predict and publish groups of queries, which a search may still be completing.

    Args:
        groups: The queries; those whose search failed fail.
        total: Number of queries of all groups.
        settings, publishers, workers, progress: As for `run_parallel`.

    Yields:
        Each query and its outcome, in order.

    Raises:
        DiskFullError: No space is left for the results.
    """
    done = 0
    for group in groups:
        queries = [each for each in group if isinstance(each, Query)]
        place = (done, total)
        ended = run_parallel(queries, settings, publishers, workers, progress, place)
        for each in group:
            if isinstance(each, Query):
                yield each, next(ended)
            else:
                yield each.query, Outcome(each.query.name, "failed", error=each.error)
        done += len(group)


def run_parallel(
    queries: Sequence[Query],
    settings: Settings,
    publishers: Sequence[Publisher],
    workers: Sequence[Worker],
    progress: Progress | None = None,
    part: tuple[int, int] | None = None,
) -> Iterator[Outcome]:
    """Predict and publish queries, several at a time; a failure does not stop the others.

    The results are those of `run`, except for rounding where short queries form a batch. If a
    process is killed, its query fails and the others continue.

    Args:
        queries: The queries, which begin in this order, except for members of a batch.
        settings: Settings of all queries.
        publishers: Each gets every query, as a copy in its process.
        workers: The processes. Without any, everything runs in this process, as in `run`.
        progress: Called with the names of the present queries, and the numbers of finished ones
            and of all.
        part: The numbers of queries before these, and of all, if these are not all.

    Yields:
        The outcome of each query, in order.

    Raises:
        DiskFullError: No space is left for the results.
    """
    before, total = part or (0, len(queries))
    most = -(-len(queries) // max(len(workers), 1))
    waiting = deque(grouped(queries, settings, most))
    outcomes: dict[int, Outcome] = {}
    idle, running = list(workers), dict[Future[_Ended], tuple[list[int], Worker]]()

    def keep_busy() -> None:
        while idle and waiting:
            group, worker = waiting.popleft(), idle.pop()
            members = [queries[number] for number in group]
            future = worker.submit(_fold, members, settings, publishers, logger.level)
            running[future] = group, worker

    for place in range(len(queries)):
        while place not in outcomes:
            if not workers:
                group = waiting.popleft()
                members = [queries[number] for number in group]
                done = before + place + len(outcomes)
                show = progress and partial(_show, progress, done, total)
                outcomes |= zip(group, _run(members, settings, publishers, show), strict=True)
                continue
            keep_busy()
            if progress is not None:
                names = [queries[number].name for group, _ in running.values() for number in group]
                progress(first_of(names), before + place + len(outcomes), total)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                group, worker = running.pop(future)
                idle.append(worker)
                ended = _outcomes(future, [queries[number] for number in group], worker)
                if ended:
                    outcomes |= zip(group, ended, strict=True)
                else:
                    waiting.extendleft([number] for number in reversed(group))
        keep_busy()  # also while the caller uses the outcome
        yield outcomes.pop(place)


def _show(progress: Progress, done: int, number: int, what: str, finished: int, total: int) -> None:
    """Show the progress of a query: with others, only how many of them are done."""
    progress(what, *((finished, total) if number == 1 else (done, number)))


def _run(
    queries: Sequence[Query],
    settings: Settings,
    publishers: Sequence[Publisher],
    progress: Progress | None = None,
) -> list[Outcome]:
    """Return the outcomes of a group of queries, which are predicted together.

    Raises:
        DiskFullError: No space is left for the results.
    """
    outcomes = list(run(queries, settings, publishers, progress, Batch(queries, settings)))
    mean = sum(each.seconds for each in outcomes) / len(outcomes)
    return [replace(each, seconds=mean) for each in outcomes]


def _fold(
    queries: Sequence[Query], settings: Settings, publishers: Sequence[Publisher], level: int
) -> _Ended:
    """Return the outcomes of a group and the messages that were logged; runs in a worker."""
    messages = _Messages()
    logger.handlers = [messages]
    logger.setLevel(level)
    with tuned_process():
        outcomes = _run(queries, settings, publishers)
    return outcomes, messages.records


def _outcomes(
    future: Future[_Ended], queries: Sequence[Query], worker: Worker
) -> list[Outcome] | None:
    """Return the outcomes of a group, and log its messages; None if it must run one by one.

    Raises:
        DiskFullError: No space is left for the results.
    """
    try:
        outcomes, records = future.result()
    except DiskFullError:
        raise
    except Exception as error:
        is_killed = isinstance(error, BrokenProcessPool)
        if is_killed:
            worker.start()
        if len(queries) > 1:
            return None
        known = explain(error, queries[0])
        if is_killed:
            what = "Its process was killed, probably for lack of memory"
            known = MemoryShortError(what, "lower `jobs`, or use a machine with more memory")
        return [Outcome(queries[0].name, "failed", error=known)]
    for record in records:
        logging.getLogger(record.name).handle(record)
    return outcomes


class _Messages(logging.Handler):
    """Keeps messages in a form that another process can read."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), ()
        if record.exc_info:
            lines = logging.Formatter().formatException(record.exc_info).splitlines()
            record.exc_text, record.exc_info = "\n".join(map(printable, lines)), None
        self.records.append(record)

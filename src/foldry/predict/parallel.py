"""Several queries at once, each in a worker process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeAlias

from foldry.errors import DiskFullError, MemoryShortError, printable
from foldry.kernels.matmul import tuned_process
from foldry.predict.remarks import first_of
from foldry.predict.runner import Outcome, Progress, Publisher, explain, run
from foldry.predict.settings import Settings
from foldry.predict.workers import Worker
from foldry.query import Query

_Ended: TypeAlias = tuple[Outcome, list[logging.LogRecord]]

logger = logging.getLogger("foldry")


def run_parallel(
    queries: Sequence[Query],
    settings: Settings,
    publishers: Sequence[Publisher],
    workers: Sequence[Worker],
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Predict and publish queries, several at a time; a failure does not stop the others.

    The results are those of `run`. If a process is killed, its query fails and the others continue.

    Args:
        queries: The queries, which begin in this order.
        settings: Settings of all queries.
        publishers: Each gets every query, as a copy in its process.
        workers: The processes. Without any, everything runs in this process, as in `run`.
        progress: Called with the names of the present queries, and the numbers of finished ones
            and of all.

    Yields:
        The outcome of each query, in order.

    Raises:
        DiskFullError: No space is left for the results.
    """
    if not workers:
        yield from run(queries, settings, publishers, progress)
        return
    idle, waiting = list(workers), iter(enumerate(queries))
    running: dict[Future[_Ended], tuple[int, Worker]] = {}
    outcomes: dict[int, Outcome] = {}
    for place in range(len(queries)):
        while place not in outcomes:
            while idle and (begun := next(waiting, None)):
                worker = idle.pop()
                number, query = begun
                future = worker.submit(_fold, query, settings, publishers, logger.level)
                running[future] = number, worker
            if progress is not None:
                names = [queries[number].name for number, _ in running.values()]
                progress(first_of(names), len(outcomes), len(queries))
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, worker = running.pop(future)
                outcomes[number] = _outcome(future, queries[number], worker)
                idle.append(worker)
        yield outcomes[place]


def _fold(query: Query, settings: Settings, publishers: Sequence[Publisher], level: int) -> _Ended:
    """Return the outcome of a query and the messages that were logged; runs in a worker."""
    messages = _Messages()
    logger.handlers = [messages]
    logger.setLevel(level)
    with tuned_process():
        [outcome] = run([query], settings, publishers)
    return outcome, messages.records


def _outcome(future: Future[_Ended], query: Query, worker: Worker) -> Outcome:
    """Return the outcome of a query, and log its messages.

    Raises:
        DiskFullError: No space is left for the results.
    """
    try:
        outcome, records = future.result()
    except DiskFullError:
        raise
    except Exception as error:
        known = explain(error, query)
        if isinstance(error, BrokenProcessPool):
            what = "Its process was killed, probably for lack of memory"
            known = MemoryShortError(what, "lower `jobs`, or use a machine with more memory")
        worker.start()
        return Outcome(query.name, "failed", error=known)
    for record in records:
        logging.getLogger(record.name).handle(record)
    return outcome


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

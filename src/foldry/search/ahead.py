"""A search that runs ahead of the network, in a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from foldry.errors import FoldryError, as_foldry_error
from foldry.query import Query
from foldry.search.result import SearchResult
from foldry.search.search import Search

MAX_GROUP: Final = 32
"""Maximum number of queries that share a pass over the databases."""
SEARCHING: Final = "searching for alignments and templates"
"""What is shown while the network waits."""
_AHEAD: Final = 1
"""Maximum number of groups that wait for the network."""
_POLL: Final = 0.2
"""Seconds after which a waiting thread looks whether it is still needed."""

logger = logging.getLogger(__name__)

Waiting = Callable[[int, int], None]
"""Called with the numbers of queries that were searched for, and of all, before each wait."""


@dataclass(frozen=True)
class Unsearched:
    """A query that cannot be folded.

    Attributes:
        query: The query.
        error: Why its search failed, or why its templates cannot be used.
    """

    query: Query
    error: FoldryError


Group = Sequence[Query | Unsearched]


@contextmanager
def searched_ahead(
    queries: Sequence[Query], search: Search | None, waiting: Waiting = lambda done, total: None
) -> Iterator[Iterator[Group]]:
    """Return the queries as a search completes them, in groups; the next ones are searched for.

    The first group is one query, so that the network starts soon, and each further one is twice as
    large, so that there are few passes over the databases.

    Args:
        queries: The queries; what their chains have is not searched for.
        search: The search; None leaves the queries as they are, in one group.
        waiting: Called in the thread of the caller.

    Raises:
        DiskFullError: No space is left for what was found.
    """
    if search is None or not any(map(search.wants, queries)):
        yield iter([queries])
        return
    done: queue.Queue[Group | FoldryError] = queue.Queue(_AHEAD)
    stopped = threading.Event()
    groups = list(_groups(queries))

    def put(found: Group | FoldryError) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                done.put(found, timeout=_POLL)
                return

    def work() -> None:
        for group in groups:
            if stopped.is_set():
                return
            try:
                ended = zip(group, search.attempt(group), strict=True)
                put([_complete(query, result) for query, result in ended])
            except BaseException as error:  # otherwise the caller would wait forever
                put(as_foldry_error(error))
                return

    def collect() -> Iterator[Group]:
        number = 0
        for group in groups:
            begin = time.monotonic()
            while True:
                waiting(number, len(queries))
                try:
                    found = done.get(timeout=_POLL)  # Ctrl-C ends the wait
                    break
                except queue.Empty:
                    continue
            logger.debug("waited %.2f s for a search", time.monotonic() - begin)
            if isinstance(found, FoldryError):
                raise found
            yield found
            number += len(group)

    threading.Thread(target=work, daemon=True).start()
    try:
        yield collect()
    finally:
        stopped.set()


def _groups(queries: Sequence[Query]) -> Iterator[Sequence[Query]]:
    begin, size = 0, 1
    while begin < len(queries):
        yield queries[begin : begin + size]
        begin, size = begin + size, min(2 * size, MAX_GROUP)


def _complete(query: Query, result: SearchResult | FoldryError) -> Query | Unsearched:
    return result.query if isinstance(result, SearchResult) else Unsearched(query, result)

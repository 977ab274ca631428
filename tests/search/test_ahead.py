"""A search that runs ahead: groups in order, and what a failure of it stops."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from foldry.errors import DiskFullError, FaultError, InputError
from foldry.query import Alignment, Chain, Query
from foldry.search.ahead import Unsearched, searched_ahead
from foldry.search.recipes import FULL
from foldry.search.result import SearchResult
from foldry.search.search import Begin, Search
from foldry.store.cache import Cache

SEQUENCE = "MKTAYIAKQR"


def query(name: str, *, is_aligned: bool = False) -> Query:
    alignment = Alignment.of(["q"], [SEQUENCE]) if is_aligned else None
    return Query(name, (Chain(("A",), SEQUENCE, alignment),))


class Slow(Search):
    """A search that notes its groups, and fails for some queries."""

    groups: list[list[str]]
    may_go_on: threading.Event

    def check(self, queries: Iterable[Query]) -> None:
        """Its databases are always there."""

    def run(
        self, queries: Sequence[Query], begin: Begin = lambda _: None
    ) -> Iterator[SearchResult]:
        names = [each.name for each in queries]
        self.groups.append(names)
        assert self.may_go_on.wait(60)
        if "broken" in names:
            raise InputError("is damaged", "replace it", where="The database")
        if "full" in names:
            raise DiskFullError("is full", where="The disk")
        for each in queries:
            chains = tuple(
                replace(
                    chain, alignment=chain.alignment or Alignment.of(["found"], [chain.sequence])
                )
                for chain in each.chains
            )
            yield SearchResult(replace(each, chains=chains), "slow", ((),))


@pytest.fixture
def slow(tmp_path: Path) -> Slow:
    search = Slow(FULL, {}, Cache(tmp_path))
    object.__setattr__(search, "groups", [])
    object.__setattr__(search, "may_go_on", threading.Event())
    search.may_go_on.set()
    return search


def test_groups_double_and_keep_the_order(slow: Slow) -> None:
    queries = [query(f"q{number}") for number in range(11)]
    waits: list[tuple[int, int]] = []
    with searched_ahead(queries, slow, lambda *numbers: waits.append(numbers)) as groups:
        found = [list(group) for group in groups]
    assert [len(group) for group in found] == [1, 2, 4, 4]
    flat = [each for group in found for each in group]
    assert [each.name for each in flat if isinstance(each, Query)] == [q.name for q in queries]
    assert slow.groups == [
        [q.name for q in queries[a:b]] for a, b in [(0, 1), (1, 3), (3, 7), (7, 11)]
    ]
    assert {each.chains[0].alignment.headers for each in flat} == {("found",)}  # type: ignore[union-attr]
    assert [done for done, _ in waits] == sorted(done for done, _ in waits)
    assert {total for _, total in waits} == {11}


def test_nothing_is_searched_for_without_need(slow: Slow) -> None:
    queries = [query("a", is_aligned=True), query("b", is_aligned=True)]
    with searched_ahead(queries, slow) as groups:
        assert list(groups) == [queries]
    with searched_ahead([query("c")], None) as groups:
        assert list(groups) == [[query("c")]]
    assert slow.groups == []


def test_a_failed_search_fails_the_queries_that_need_it(slow: Slow) -> None:
    queries = [query("one"), query("broken"), query("own", is_aligned=True), query("two")]
    with searched_ahead(queries, slow) as groups:
        found = [each for group in groups for each in group]
    assert [type(each) for each in found] == [Query, Unsearched, Query, Query]
    failed = found[1]
    assert isinstance(failed, Unsearched)
    assert failed.query.name == "broken"
    assert str(failed.error) == "The database is damaged: replace it."
    assert found[2] == queries[2]


def test_a_full_disk_stops_all(slow: Slow) -> None:
    queries = [query("one"), query("full"), query("two")]
    with searched_ahead(queries, slow) as groups:
        assert len(next(groups)) == 1
        with pytest.raises(DiskFullError, match="The disk is full"):
            next(groups)


def test_a_fault_of_the_search_does_not_leave_the_network_waiting(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(Slow, "attempt", dies)
    with searched_ahead([query("one")], slow) as groups, pytest.raises(FaultError):
        next(groups)


def test_what_is_not_taken_any_more_is_not_searched_for(slow: Slow) -> None:
    slow.may_go_on.clear()
    before = threading.active_count()
    with searched_ahead([query(f"q{number}") for number in range(100)], slow):
        pass
    slow.may_go_on.set()
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(5)
    assert threading.active_count() <= before
    assert len(slow.groups) <= 1

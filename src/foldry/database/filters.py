"""Conditions on entries: organism, length, confidence, tags, provider, tool and date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import sqlalchemy as sa

from foldry.database.schema import collected, collections, entries, tags
from foldry.errors import InputError, quoted

_DAY: Final = 10
"""Length of the date in a time in ISO 8601."""
_NUM_KNOWN: Final = 10


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries are wanted; those that fulfil all conditions.

    Attributes:
        organism: Scientific name, or "".
        tax_id: NCBI's taxonomy number, or None.
        min_length, max_length: Number of residues of all chains, or None.
        min_plddt, max_plddt: Mean pLDDT of the latest version, 0–100, or None.
        tags: Tags that an entry must all have.
        collection: Name of a collection, or "".
        provider, tool: Who predicted, and with which program, or "".
        since, until: First and last day of the prediction, `YYYY-MM-DD`, or "".
        is_reviewed: Whether the protein is in Swiss-Prot; None for both.
        is_complex: Whether there is more than one chain; None for both.
        with_withdrawn: Whether withdrawn entries are included.

    Raises:
        InputError: A date is not valid, or a minimum is above its maximum.

    Example:
        >>> Filter(min_plddt=90, until="yesterday")
        Traceback (most recent call last):
        foldry.errors.InputError: 'yesterday' is not a date: give one like 2026-07-31.
    """

    organism: str = ""
    tax_id: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_plddt: float | None = None
    max_plddt: float | None = None
    tags: tuple[str, ...] = ()
    collection: str = ""
    provider: str = ""
    tool: str = ""
    since: str = ""
    until: str = ""
    is_reviewed: bool | None = None
    is_complex: bool | None = None
    with_withdrawn: bool = False

    def __post_init__(self) -> None:
        for day in (self.since, self.until):
            _check_day(day)
        for low, high in (
            (self.min_length, self.max_length),
            (self.min_plddt, self.max_plddt),
            (self.since or None, self.until or None),
        ):
            if low is not None and high is not None and low > high:  # type: ignore[operator]
                what = f"The minimum {quoted(low)} is above the maximum {quoted(high)}"
                raise InputError(what, "exchange them")

    @property
    def is_open(self) -> bool:
        """Whether every entry that is not withdrawn fulfils it."""
        return self in (Filter(), Filter(with_withdrawn=True))


def unknown_names(connection: sa.Connection, chosen: Filter) -> Iterator[InputError]:
    """Yield an error for each name in a filter that no entry has, with some of the known ones."""
    named: list[tuple[str, sa.Column[Any], set[str]]] = [
        ("organism", entries.c.organism, _spellings(chosen.organism)),
        ("provider", entries.c.provider, {chosen.provider}),
        ("tool", entries.c.tool, {chosen.tool}),
        ("collection", collections.c.name, {chosen.collection}),
        *(("tag", tags.c.tag, {tag}) for tag in chosen.tags),
    ]
    for setting, column, names in named:
        here = sa.select(column).where(column.in_(names)).limit(1)
        if names == {""} or connection.scalar(here) is not None:
            continue
        query = sa.select(column).where(column != "").distinct().order_by(column).limit(_NUM_KNOWN)
        known = ", ".join(connection.scalars(query))
        what = f"No entry has the `{setting}` {quoted(max(names))}"
        yield InputError(what, f"some known ones are {known}" if known else "")


def _spellings(organism: str) -> set[str]:
    """Return a name as it is, and with a capital letter."""
    return {organism, organism[:1].upper() + organism[1:]}


def conditions(chosen: Filter) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a filter on the columns of `entries`."""
    return list(_conditions(chosen))


def _conditions(chosen: Filter) -> Iterator[sa.ColumnElement[bool]]:
    columns = entries.c
    if not chosen.with_withdrawn:
        yield columns.withdrawn == ""
    if chosen.organism:  # typed without capital letters, too
        yield columns.organism.in_(_spellings(chosen.organism))
    equal: tuple[tuple[sa.Column[Any], object], ...] = (
        (columns.tax_id, chosen.tax_id),
        (columns.provider, chosen.provider or None),
        (columns.tool, chosen.tool or None),
        (columns.is_reviewed, chosen.is_reviewed),
    )
    yield from (column == value for column, value in equal if value is not None)
    day = sa.func.substr(columns.created, 1, _DAY)
    ranges: tuple[tuple[sa.ColumnElement[Any], object, object], ...] = (
        (columns.num_residues, chosen.min_length, chosen.max_length),
        (columns.mean_plddt, chosen.min_plddt, chosen.max_plddt),
        (day, chosen.since or None, chosen.until or None),
    )
    for column, low, high in ranges:
        if low is not None:
            yield column >= low
        if high is not None:
            yield column <= high
    if chosen.is_complex is not None:
        yield columns.num_chains > 1 if chosen.is_complex else columns.num_chains == 1
    for tag in chosen.tags:
        yield columns.key.in_(sa.select(tags.c.entries).where(tags.c.tag == tag))
    if chosen.collection:
        named = sa.select(collected.c.entries).join(collections)
        yield columns.key.in_(named.where(collections.c.name == chosen.collection))


def _check_day(day: str) -> None:
    """Check that a text is empty or a date as ISO 8601 writes it with hyphens."""
    try:
        is_day = not day or date.fromisoformat(day).isoformat() == day
    except ValueError:
        is_day = False
    if not is_day:
        raise InputError(f"{quoted(day)} is not a date", "give one like 2026-07-31")

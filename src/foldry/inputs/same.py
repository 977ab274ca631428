"""Queries of several files that are one protein, or that have one name."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from foldry.query import Alignment, Query
from foldry.store.files import stem

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A query, the file that it was read from, and its name if another query has its own.

    Attributes:
        query: The query.
        path: The file.
        other: Name of the file or folder, with the number of one of several queries; "" for a job.
    """

    query: Query
    path: Path
    other: str


def settle(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with those of one protein as one, in the order of the first of each.

    Queries of equal name and sequences are one protein, as are those of files with one name in one
    folder. The rows of its alignments are joined, and files without an alignment count for nothing.
    Queries that have one name otherwise, as designs of ProteinMPNN do, are named after their files.
    """
    num_queries = Counter(entry.path for entry in entries)
    groups: list[list[Entry]] = []
    known: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        sequences = tuple((each.ids, each.sequence) for each in entry.query.chains)
        keys: list[tuple[object, ...]] = [(entry.query.name.casefold(), sequences)]
        if entry.other and num_queries[entry.path] == 1:
            keys.append((entry.path.parent, stem(entry.path), sequences))
        group = next((known[key] for key in keys if key in known), [])
        if not group:
            groups.append(group)
        group.append(entry)
        known |= dict.fromkeys(keys, group)
    merged = [entry for group in groups for entry in _merged(group)]
    count = Counter(entry.query.name.casefold() for entry in merged)
    others = Counter(entry.other.casefold() for entry in merged)
    settled = [
        entry._replace(query=replace(entry.query, name=entry.other))
        if entry.other and others[entry.other.casefold()] == 1 < count[entry.query.name.casefold()]
        else entry
        for entry in merged
    ]
    renamed = [each for each in zip(merged, settled, strict=True) if each[0] is not each[1]]
    for before, after in renamed[:1]:
        says = "Queries named like another are named after their files: %d, e.g. %s for %s."
        logger.info(says, len(renamed), after.query.name, before.query.name)
    return settled


def _merged(group: list[Entry]) -> list[Entry]:
    """Return the entries of one protein as one; without alignments, those of the first file."""
    aligned = [each for each in group if _has_rows(each.query)]
    if not aligned:
        for each in group:
            if each.path != group[0].path:
                says = "%s is used for %s, and %s, which has the same sequence, is not."
                logger.info(says, group[0].path, group[0].query.name, each.path)
        return [each for each in group if each.path == group[0].path]
    for each in group:
        if not _has_rows(each.query):
            says = "%s is used for %s, because it has an alignment, and %s is not."
            logger.info(says, aligned[0].path, aligned[0].query.name, each.path)
    first = aligned[0]
    if not aligned[1:]:
        return [first]
    if len(first.query.chains) > 1 or len({each.query.name for each in aligned}) > 1:
        return aligned
    chains = [each.query.chains[0] for each in aligned]
    chain = replace(
        chains[0],
        alignment=_joined([each.alignment for each in chains]),
        paired=_joined([each.paired for each in chains]),
        templates=tuple(hit for each in chains for hit in each.templates),
        templates_known=any(each.templates_known for each in chains),
    )
    files = ", ".join(dict.fromkeys(str(each.path) for each in aligned))
    logger.info("The rows of the alignments of %s are joined: %s.", first.query.name, files)
    return [first._replace(query=replace(first.query, chains=(chain,)))]


def _has_rows(query: Query) -> bool:
    return any(chain.alignments or chain.templates for chain in query.chains)


def _joined(alignments: Sequence[Alignment | None]) -> Alignment | None:
    found = [each for each in alignments if each is not None]
    return Alignment.joined(found) if found else None

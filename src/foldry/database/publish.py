"""Candidates → rows of the tables: which entry, which id, which version."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from foldry.database import ids
from foldry.database.candidate import Candidate, as_text
from foldry.database.entry import Published, Version
from foldry.database.read import load
from foldry.database.record import OpenRecord
from foldry.database.schema import (
    alignments,
    chains,
    changes,
    entries,
    models,
    sequences,
    store,
    versions,
)
from foldry.database.text_index import index_text
from foldry.errors import BusyError, InputError
from foldry.store.hashes import crc64, md5, sha256

PURGED: Final = "purged"
"""What the log says of a version that was removed: its number is not used again."""
_BEST: Final = (models.c.versions == versions.c.key) & (models.c.rank == 0)
WITH_VERSIONS: Final = entries.outerjoin(versions).outerjoin(models, _BEST)
"""Entries with their versions and the best model of each."""


def published_before(
    connection: sa.Connection, candidates: Sequence[Candidate]
) -> dict[tuple[str, str], Version]:
    """Return the versions that are published already, by identity and content key."""
    query = (
        sa.select(entries.c.key, entries.c.identity)
        .join(versions)
        .where(entries.c.identity.in_({each.identity for each in candidates}))
        .where(versions.c.content_key.in_({each.content_key for each in candidates}))
    )
    identities = dict(connection.execute(query.distinct()).all())
    return {
        (identities[entry.key], version.content_key): version
        for entry in load(connection, list(identities))
        for version in entry.versions
    }


def digests_in_use(connection: sa.Connection, digests: Collection[str]) -> set[str]:
    """Return those of some hashes that a version names."""
    named: set[str] = set()
    for column in (models.c.digest, alignments.c.digest, versions.c.original):
        named.update(connection.scalars(sa.select(column).where(column.in_(digests))))
    return named


@dataclass
class _Known:
    """An entry while a batch is published.

    Attributes:
        key: Number of the entry.
        entry_id: Its id.
        identity: Its identity.
        row: Its columns if it is new, otherwise those that describe a new latest version.
        withdrawn: Why it is withdrawn, or "".
        is_new: Whether this batch made it.
        digests: Hash of the best model of each version, by number.
        letters_3di: New 3Di letters by sequence: those of a later version.
    """

    key: int
    entry_id: str
    identity: str
    row: dict[str, Any]
    withdrawn: str = ""
    is_new: bool = False
    digests: dict[int, str] = field(default_factory=dict)
    letters_3di: dict[str, str] = field(default_factory=dict)


@dataclass
class Publication:
    """One transaction that publishes a batch; `state` numbers it.

    Args:
        connection: A writer's connection.
        candidates: The batch, with the hashes of its objects.
        opened: Returns the record with a hash, new or stored; None if it is missing or damaged.
    """

    connection: sa.Connection
    candidates: Sequence[Candidate]
    opened: Callable[[str], OpenRecord | None]
    state: int = field(init=False)
    changed: dict[int, None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._store = self.connection.execute(store.select()).one()
        self._counted, self._last_entry = self._store.counted, self._store.last_entry
        self._next_version = _next_key(self.connection, versions)
        self._rows: dict[sa.Table, list[dict[str, Any]]] = {}
        self._now = now()

    def publish(self) -> list[Published]:
        """Write what is new, and return where each candidate is kept.

        Raises:
            InputError: An id or a version is taken by another prediction.
        """
        self._find()
        self._sequences = self._find_sequences()
        self.state = self._store.state + 1
        published = [self._place(each) for each in self.candidates]
        if self.changed:
            self._write()
            index_text(self.connection, list(self.changed))
        return published

    def _find(self) -> None:
        """Read the entries that the candidates may belong to."""
        wanted = {each.entry_id for each in self.candidates} - {""}
        identities = {each.identity for each in self.candidates}
        columns = (entries.c.key, entries.c.entry_id, entries.c.identity, entries.c.withdrawn)
        query = (
            sa.select(*columns, versions.c.number, versions.c.content_key, models.c.digest)
            .select_from(WITH_VERSIONS)
            .where(entries.c.identity.in_(identities) | entries.c.entry_id.in_(wanted))
            .order_by(entries.c.key)
        )
        self._by_id: dict[str, _Known] = {}
        self._by_identity: dict[str, _Known] = {}
        self._published: dict[tuple[str, str], Published] = {}
        for row in self.connection.execute(query):
            if row.entry_id not in self._by_id:
                known = _Known(row.key, row.entry_id, row.identity, {}, withdrawn=row.withdrawn)
                self._remember(known)
            if row.number is not None:
                self._by_id[row.entry_id].digests[row.number] = row.digest or ""
                where = Published(row.entry_id, row.number, False)
                self._published[row.identity, row.content_key] = where
        self._purged: dict[str, dict[int, str | None]] = {}
        log = changes.select().where(changes.c.what == PURGED, changes.c.version.is_not(None))
        of_ids = changes.c.entry_id.in_(wanted | self._by_id.keys())
        for row in self.connection.execute(log.where(of_ids)):
            self._purged.setdefault(row.entry_id, {})[row.version] = row.fingerprint

    def _remember(self, known: _Known) -> None:
        self._by_id[known.entry_id] = known
        self._by_identity.setdefault(known.identity, known)

    def _find_sequences(self) -> dict[str, int]:
        """Return the number of each sequence of the batch, and add the rows of new ones."""
        letters = {chain.sequence for each in self.candidates for chain in each.chains}
        by_hash = {sha256(each.encode()): each for each in letters}
        query = sa.select(sequences.c.sha256, sequences.c.key).where(
            sequences.c.sha256.in_(by_hash)
        )
        found = {by_hash[row.sha256]: row.key for row in self.connection.execute(query)}
        following = _next_key(self.connection, sequences)
        for digest, each in by_hash.items():
            if each not in found:
                found[each] = following + len(self._rows.get(sequences, ()))
                self._add(
                    sequences,
                    key=found[each],
                    letters=each,
                    length=len(each),
                    sha256=digest,
                    md5=md5(each),
                    crc64=crc64(each),
                )
        return found

    def _place(self, candidate: Candidate) -> Published:
        """Return where a candidate is kept; add its rows if it is new."""
        what = (candidate.identity, candidate.content_key)
        if what in self._published:
            return self._published[what]
        if not candidate.digests:
            taken = "is being removed by another process"
            raise BusyError(taken, "publish it again", where=candidate.entry["name"])
        if (held := self._held(candidate)) is not None:
            return held
        known = self._entry_of(candidate)
        purged = self._purged.get(known.entry_id, {})
        number = candidate.number or max([0, *known.digests, *purged]) + 1
        if number in known.digests or self._is_purged(purged, number, candidate):
            if not candidate.is_numbered:
                return self._place(replace(candidate, number=None))
            other = f"{'has' if number in known.digests else 'had'} another prediction as version"
            advice = "publish this one as the next version"
            raise InputError(f"{other} {number}", advice, where=known.entry_id)
        self._published[what] = Published(known.entry_id, number, False)
        self._add_version(known, candidate, number)
        return Published(known.entry_id, number, True, known.withdrawn)

    def _held(self, candidate: Candidate) -> Published | None:
        """Return the version that has the number and the model of a candidate, or None.

        A file that was rendered from it comes back with another content key.
        """
        number = candidate.number or 0
        places = (self._by_id.get(candidate.entry_id), self._by_identity.get(candidate.identity))
        for known in filter(None, places):
            if kept := known.digests.get(number):
                ours, theirs = self.opened(kept), self.opened(candidate.digests[0])
                if ours and theirs and ours.covers(theirs):
                    return Published(known.entry_id, number, False)
        return None

    def _is_purged(
        self, purged: Mapping[int, str | None], number: int, candidate: Candidate
    ) -> bool:
        """Return whether a number belonged to another model, which was purged."""
        if number not in purged:
            return False
        opened = self.opened(candidate.digests[0])
        return opened is None or opened.fingerprint != purged[number]

    def _entry_of(self, candidate: Candidate) -> _Known:
        """Return the entry that a candidate belongs to, which is made if there is none."""
        wanted = candidate.entry_id
        known = self._by_id.get(wanted)
        if known is not None and known.identity == candidate.identity:
            return known
        counted = ids.counted_parts(wanted)
        known = self._by_identity.get(candidate.identity)
        if known is not None and not (counted and wanted not in self._by_id):
            return known
        if counted and counted[0] == self._store.block and counted[1] > self._counted:
            what = "belongs to another database that allots the same ids"
            raise InputError(what, "publish it under another id", where=wanted)
        if not wanted or wanted in self._by_id:
            self._counted += 1
            wanted = ids.counted_id(self._store.block, self._counted)
        return self._add_entry(candidate, wanted)

    def _add_entry(self, candidate: Candidate, entry_id: str) -> _Known:
        self._last_entry += 1
        row = {
            **candidate.entry,
            "key": self._last_entry,
            "entry_id": entry_id,
            "identity": candidate.identity,
            "first_state": self.state,
        }
        known = _Known(self._last_entry, entry_id, candidate.identity, row, is_new=True)
        self._remember(known)
        for place, chain in enumerate(candidate.chains):
            self._add(
                chains,
                entries=known.key,
                place=place,
                sequences=self._sequences[chain.sequence],
                ids=list(chain.ids),
                description=chain.description,
                accession=chain.reference.accession if chain.reference else "",
                reference=asdict(chain.reference) if chain.reference else None,
                letters_3di=candidate.letters_3di[place],
            )
        return known

    def _add_version(self, known: _Known, candidate: Candidate, number: int) -> None:
        key = self._next_version + len(self._rows.get(versions, ()))
        self._add(
            versions,
            **candidate.version,
            key=key,
            entries=known.key,
            number=number,
            predecessor=max(known.digests, default=None),
            published=self._now,
            state=self.state,
        )
        for rank, digest in enumerate(candidate.digests):
            self._add(models, versions=key, rank=rank, digest=digest)
        for place, digest in enumerate(candidate.alignments):
            self._add(alignments, versions=key, place=place, digest=digest)
        self._add(
            changes,
            state=self.state,
            what="published",
            entry_id=known.entry_id,
            version=number,
            reason="",
            at=self._now,
        )
        self.changed[known.key] = None
        known.row["state"] = self.state
        if number > max(known.digests, default=0):
            known.row |= {name: candidate.version[name] for name in ("mean_plddt", "created")}
            known.row["version"] = number
            if known.digests:
                letters = zip(candidate.chains, candidate.letters_3di, strict=True)
                known.letters_3di = {chain.sequence: each for chain, each in letters}
        known.digests[number] = candidate.digests[0]

    def _add(self, table: sa.Table, **columns: Any) -> None:
        self._rows.setdefault(table, []).append(columns)

    def _write(self) -> None:
        following = _next_key(self.connection, changes)
        for number, row in enumerate(self._rows[changes]):
            row["key"] = following + number
        for known in self._by_id.values():
            if known.is_new:
                self._add(entries, **known.row)
            elif known.row:
                change = entries.update().where(entries.c.key == known.key)
                self.connection.execute(change.values(known.row))
        for table in (sequences, entries, chains, versions, models, alignments, changes):
            if rows := self._rows.get(table):
                self.connection.execute(table.insert(), rows)
        for known in self._by_id.values():
            for sequence, letters in known.letters_3di.items():
                of_chain = chains.c.sequences == self._sequences[sequence]
                change = chains.update().where(chains.c.entries == known.key, of_chain)
                self.connection.execute(change.values(letters_3di=letters))
        numbers = {"counted": self._counted, "last_entry": self._last_entry, "state": self.state}
        self.connection.execute(store.update().values(numbers))


def log_change(
    connection: sa.Connection, state: int, what: str, entry_id: str = "", **more: Any
) -> None:
    """Write one line of the database's log, in a writer's transaction.

    Args:
        connection: The writer's connection.
        state: Number of the change (`next_state`).
        what: What happened: `withdrawn`, `restored`, `tagged`, `annotated`, `purged` …
        entry_id: The entry, or "".
        **more: Further columns.
    """
    row = {"state": state, "what": what, "entry_id": entry_id, "at": now(), **more}
    connection.execute(changes.insert().values(key=_next_key(connection, changes), **row))


def now() -> str:
    """Return the present time in ISO 8601, UTC."""
    return as_text(datetime.now(UTC))


def _next_key(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.scalar(sa.select(sa.func.max(table.c.key))) or 0) + 1

"""A database of predictions: publish, find, read, withdraw."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from foldry.database import ids, read
from foldry.database.candidate import Candidate, Contents, candidate, with_digests
from foldry.database.connection import Tables, next_state
from foldry.database.entry import Deposit, Entry, Published, StoredModel, Version
from foldry.database.filters import Filter, conditions
from foldry.database.letters_3di import letters_of_records
from foldry.database.place import OBJECTS, SEARCH, TABLES, find_place
from foldry.database.publish import (
    Publication,
    digests_in_use,
    log_change,
    now,
    published_before,
)
from foldry.database.record import OpenRecord, encode
from foldry.database.revision import check_revision, set_revision
from foldry.database.schema import entries, metadata, store, tags
from foldry.database.text_index import index_text, make_index
from foldry.errors import InputError, OutsideError, quoted
from foldry.store.files import make_folder
from foldry.store.objects import Objects, open_objects

_ALL: Final = Filter()
_NOTHING: Final[Mapping[str, bytes]] = {}
_SHOWN: Final = 10
"""How many entries a message names."""


class Database:
    """A database of predictions, from `create` or `open`; close it, or use it in a `with` block.

    Attributes:
        tables: Its tables.
        objects: Its canonical records and alignments.
        provider: Who makes its predictions.
        block: The first seven digits of the ids that it allots.
        exact_pae: Whether it keeps predicted aligned errors at 0.1 Å.

    Example:
        >>> import tempfile
        >>> with Database.create(tempfile.mkdtemp(), provider="Example Lab") as database:
        ...     database.state, database.find("P00520")
        (0, [])
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        with tables.reading() as connection:
            check_revision(connection, tables.place.shown)
            row = connection.execute(store.select()).one()
        self.provider: str = row.provider
        self.block: int = row.block
        self.exact_pae: bool = row.exact_pae
        self.objects: Objects = open_objects(row.objects or tables.place.tables.with_name(OBJECTS))

    @classmethod
    def create(
        cls,
        where: str | Path,
        *,
        provider: str,
        objects: str | Path | None = None,
        exact_pae: bool = False,
    ) -> Self:
        """Make a database.

        Args:
            where: A folder, made if missing, or the `postgresql://` URL of an empty database.
            provider: Who makes the predictions, e.g. the name of the lab.
            objects: Folder or URL for the records; required with PostgreSQL.
            exact_pae: Whether predicted aligned errors are kept at 0.1 Å.

        Raises:
            InputError: There is a database already, the folder has other files, or the place cannot
                be written.
            MissingError: A package is missing.
        """
        place = find_place(where)
        if not provider.strip():
            raise InputError("The name of the provider is empty", "give a name for `provider`")
        if objects is None and place.folder is None:
            raise InputError(
                "has no place for records", "name a folder or a URL as `objects`", where=place.shown
            )
        if objects is not None:
            objects = str(objects) if "://" in str(objects) else str(Path(objects).resolve())
            open_objects(objects)
        if place.folder is not None:
            _check_no_others(place.folder)
            make_folder(place.folder)
        tables = Tables(place, is_new=True)
        row = {
            "block": ids.LOWEST_BLOCK + secrets.randbelow(ids.HIGHEST_BLOCK - ids.LOWEST_BLOCK + 1),
            "provider": provider.strip(),
            "objects": objects or "",
            "exact_pae": exact_pae,
        }
        with _closed_on_error(tables):
            tables.prepare()
            with tables.writing() as connection:
                _make_tables(connection, row, place.shown)
            return cls(tables)

    @classmethod
    def open(cls, where: str | Path) -> Self:
        """Open a database.

        Args:
            where: Its folder or `postgresql://` URL.

        Raises:
            MissingError: There is none.
            InputError: An earlier or a later version of Foldry made it, or it cannot be read.
        """
        tables = Tables(find_place(where))
        with _closed_on_error(tables):
            return cls(tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({self.tables.place.shown!r})"

    @property
    def state(self) -> int:
        """The number of the latest change; every change counts 1."""
        with self.reading() as connection:
            return int(connection.execute(sa.select(store.c.state)).scalar_one())

    @property
    def num_entries(self) -> int:
        """The number of entries, withdrawn ones included."""
        with self.reading() as connection:
            return int(connection.execute(sa.select(sa.func.count(entries.c.key))).scalar_one())

    @property
    def search_folder(self) -> Path | None:
        """The folder of the search's data; None with PostgreSQL."""
        folder = self.tables.place.folder
        return None if folder is None else folder / SEARCH

    def close(self) -> None:
        """Close all connections."""
        self.tables.close()

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection that sees one state of the tables within the `with` block."""
        return self.tables.reading()

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """Give the connection of the only writer within the `with` block, one transaction.

        Whoever changes what a search or a page shows counts the change by `next_state`.
        """
        return self.tables.writing()

    # Publishing

    def publish(self, deposits: Sequence[Deposit]) -> list[Published]:
        """Publish predictions, all or none of them.

        A prediction with a content key or with the number and the model of a version changes
        nothing, except that missing and damaged objects are stored again. When this returns,
        everything is on the disk.

        Args:
            deposits: A batch, e.g. of 500 predictions.

        Returns:
            Where each is kept.

        Raises:
            InputError: A deposit is not valid, or its id or version is taken.
            BusyError: Another process writes for long.
            DiskFullError: No space is left.
        """
        candidates = [candidate(each, self.provider) for each in deposits]
        with self.reading() as connection:
            known = published_before(connection, candidates)
        found = [known.get((each.identity, each.content_key)) for each in candidates]
        is_new = [version is None or not self.is_whole(version) for version in found]
        contents = [
            self._contents(each) if new else Contents()
            for each, new in zip(deposits, is_new, strict=True)
        ]
        records = [each.model.record for each, new in zip(deposits, is_new, strict=True) if new]
        letters = iter(letters_of_records(records))
        complete = [
            replace(each, letters_3di=next(letters)) if new else each
            for each, new in zip(candidates, is_new, strict=True)
        ]
        return self.put(complete, contents)

    def _contents(self, deposit: Deposit) -> Contents:
        models = (deposit.model, *deposit.ensemble)
        records = tuple(encode(model, exact_pae=self.exact_pae) for model in models)
        return Contents(records, deposit.alignments, deposit.original)

    def put(self, candidates: Sequence[Candidate], contents: Sequence[Contents]) -> list[Published]:
        """Publish predictions whose records are made; see `publish`.

        Args:
            candidates: What the tables say about each prediction, without hashes.
            contents: The objects of each; empty if it was published before and is whole.
        """
        complete = list(map(with_digests, candidates, contents))
        objects = {digest: data for each in contents for digest, data in each.named}
        with self.writing() as connection:  # nothing removes objects meanwhile
            opened = partial(self.opened, new=objects)
            published = Publication(connection, complete, opened).publish()
            named = digests_in_use(connection, objects)
            self.objects.put_many([objects[digest] for digest in named])
        return published

    def is_whole(self, version: Version) -> bool:
        """Return whether no object of a version is missing or damaged."""
        return all(self.objects.get(digest) is not None for digest in version.objects)

    def opened(self, digest: str, new: Mapping[str, bytes] = _NOTHING) -> OpenRecord | None:
        """Return the record with a hash, new or stored; None if it is missing or damaged."""
        with suppress(ValueError, OutsideError):
            data = new.get(digest) or self.objects.get(digest)
            return None if data is None else OpenRecord(data)
        return None

    # Reading

    def find(self, qualifier: str) -> list[Entry]:
        """Return the entries that a qualifier names, the best match first.

        Args:
            qualifier: A UniProt accession, perhaps with an isoform; an id of an entry; in any case
                of letters, perhaps with `-vN` or `_vN` at its end; or a local name.

        Returns:
            For an accession the canonical entries, then isoforms, entries with numbered ids, and
            complexes. Empty if there is none.
        """
        with self.reading() as connection:
            return read.load(connection, read.find_keys(connection, qualifier))

    def entry(self, qualifier: str) -> Entry:
        """Return the only entry that a qualifier names (see `find`).

        An accession without an isoform names the canonical entry, if there is one.

        Raises:
            InputError: There is none, or there are several.
        """
        with self.reading() as connection:
            return self._entry(connection, qualifier)

    def _entry(self, connection: sa.Connection, qualifier: str) -> Entry:
        keys = read.find_keys(connection, qualifier)
        if not keys:
            what = f"has no entry {quoted(qualifier)}"
            raise InputError(what, "search for it", where=self.tables.place.shown)
        found = read.load(connection, keys[: read.BATCH])
        accession = ids.without_version(qualifier)[0].upper()
        exact = [each for each in found if each.accession == accession]
        if len(exact) == 1 or not found[1:]:
            return (exact or found)[0]
        some = ", ".join(each.entry_id for each in found[:_SHOWN])
        what = f"has {len(keys)} entries {quoted(qualifier)}"
        advice = f"choose one by its id ({some}{' …' if keys[_SHOWN:] else ''})"
        raise InputError(what, advice, where=self.tables.place.shown)

    def load(self, keys: Sequence[int]) -> list[Entry]:
        """Return the entries with these numbers, in this order, without those that are missing."""
        with self.reading() as connection:
            return read.load(connection, keys)

    def entries(self, *, after: int = 0, chosen: Filter = _ALL) -> Iterator[Entry]:
        """Yield entries by number; a few hundred are in memory at a time.

        Args:
            after: Number of the last entry to leave out.
            chosen: Which entries are wanted; by default all that are not withdrawn.
        """
        where = conditions(chosen)
        while True:
            with self.reading() as connection:
                batch = read.load_all(connection, after, where)
            yield from batch
            if not batch:
                return
            after = batch[-1].key

    def model(self, entry: Entry, version: int | None = None, rank: int = 0) -> StoredModel:
        """Return a model of an entry; arguments and errors are those of `record`."""
        opened = self.record(entry, version, rank)
        try:
            pae, max_pae = opened.errors()
            return StoredModel(record=opened.record(), pae=pae, max_pae=max_pae)
        except ValueError as error:
            raise _damaged(entry.entry_id) from error

    def record(self, entry: Entry, version: int | None = None, rank: int = 0) -> OpenRecord:
        """Return the record of a model of an entry; its parts are decoded when they are used.

        Args:
            entry: The entry.
            version: Number of the version; None for the latest.
            rank: Rank in the ensemble, 0 for the best.

        Raises:
            InputError: There is no such version or rank.
            OutsideError: The record is missing or damaged.
        """
        chosen = self.version(entry, version)
        if not 0 <= rank < len(chosen.digests):
            what = f"has no model of rank {quoted(rank)}"
            advice = f"the last one is {len(chosen.digests) - 1}"
            raise InputError(what, advice, where=entry.entry_id)
        try:
            return OpenRecord(self.stored(chosen.digests[rank], entry.entry_id))
        except ValueError as error:
            raise _damaged(entry.entry_id) from error

    def alignments(self, entry: Entry, version: int | None = None) -> list[bytes]:
        """Return the alignment (a3m) of each sequence of a version; empty if none are kept.

        Raises:
            InputError: There is no such version.
            OutsideError: An alignment is missing or damaged.
        """
        chosen = self.version(entry, version)
        return [self.stored(digest, entry.entry_id) for digest in chosen.alignments]

    def version(self, entry: Entry, number: int | None = None) -> Version:
        """Return a version of an entry; None for the latest.

        Raises:
            InputError: There is no such version.
        """
        if number is None:
            return entry.latest
        for each in entry.versions:
            if each.number == number:
                return each
        what = f"has no version {quoted(number)}"
        raise InputError(what, f"the latest is {entry.latest.number}", where=entry.entry_id)

    def stored(self, digest: str, entry_id: str) -> bytes:
        """Return an object of an entry.

        Raises:
            OutsideError: It is missing or damaged.
        """
        data = self.objects.get(digest)
        if data is None:
            raise _damaged(entry_id)
        return data

    # Changing entries

    def withdraw(self, qualifier: str, reason: str) -> Entry:
        """Withdraw an entry: it is kept, and shown with the reason.

        Raises:
            InputError: There is no such entry, there are several, or there is no reason.
        """
        if not reason.strip():
            raise InputError("The reason is empty", "say why the entry is withdrawn")
        return self._withdraw(qualifier, "withdrawn", reason.strip(), now())

    def restore(self, qualifier: str) -> Entry:
        """Take back the withdrawal of an entry.

        Raises:
            InputError: There is no such entry, or there are several.
        """
        return self._withdraw(qualifier, "restored", "", "")

    def _withdraw(self, qualifier: str, what: str, reason: str, when: str) -> Entry:
        with self.writing() as connection:
            entry = self._whole_entry(connection, qualifier)
            state = next_state(connection)
            columns = {"withdrawn": reason, "withdrawn_on": when}
            connection.execute(entries.update().where(entries.c.key == entry.key).values(columns))
            log_change(connection, state, what, entry.entry_id, reason=reason)
            [changed] = read.load(connection, [entry.key])
        return changed

    def _whole_entry(self, connection: sa.Connection, qualifier: str) -> Entry:
        entry = self._entry(connection, qualifier)
        if ids.named_version(qualifier, entry.entry_id, entry.name) is not None:
            advice = f"name the whole entry, {entry.entry_id}"
            raise InputError("names one version", advice, where=quoted(qualifier))
        return entry

    def tag(self, qualifier: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Entry:
        """Add tags to an entry, and remove others.

        Raises:
            InputError: There is no such entry, there are several, or a tag is empty or too long.
        """
        added = {_tag(each) for each in add}
        with self.writing() as connection:
            entry = self._whole_entry(connection, qualifier)
            after = (set(entry.tags) | added) - {each.strip() for each in remove}
            if after == set(entry.tags):
                return entry
            connection.execute(tags.delete().where(tags.c.entries == entry.key))
            rows = [{"entries": entry.key, "tag": each} for each in sorted(after)]
            if rows:
                connection.execute(tags.insert(), rows)
            index_text(connection, [entry.key])
            log_change(connection, next_state(connection), "tagged", entry.entry_id)
            [changed] = read.load(connection, [entry.key])
        return changed


@contextmanager
def _closed_on_error(tables: Tables) -> Iterator[None]:
    try:
        yield
    except BaseException:
        tables.close()
        raise


def _check_no_others(folder: Path) -> None:
    """Check that a folder is new or empty, except for what a killed `create` leaves.

    Raises:
        InputError: It has other files.
    """
    own = TABLES, OBJECTS, SEARCH, "."
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if TABLES not in names and any(not name.startswith(own) for name in names):
        raise InputError("is a folder with other files", "name a new folder", where=folder)


def _make_tables(connection: sa.Connection, row: dict[str, Any], shown: str) -> None:
    """Make all tables and the row of `store`, in a writer's transaction.

    Raises:
        InputError: There are some.
    """
    if sa.inspect(connection).has_table("store"):
        raise InputError("is a database already", "name another place", where=shown)
    metadata.create_all(connection)
    make_index(connection)
    set_revision(connection)
    connection.execute(
        store.insert().values(key=1, counted=0, last_entry=0, state=0, made=now(), **row)
    )


def _tag(text: str) -> str:
    tag = text.strip()
    if not tag.isprintable() or not 0 < len(tag) <= 100:
        raise InputError(f"{quoted(text)} is not a tag", "give a word of up to 100 characters")
    return tag


def _damaged(entry_id: str) -> OutsideError:
    return OutsideError("has a missing or damaged record", "restore it from a copy", where=entry_id)

"""What an export writes: which entries and versions, and the files of each."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import sqlalchemy as sa

from foldry.database import ids
from foldry.database.annotations import substitutions_csv
from foldry.database.database import Database
from foldry.database.entry import Entry, Version
from foldry.database.filters import Filter, conditions
from foldry.database.read import BATCH
from foldry.database.render import KINDS, file_name, render
from foldry.database.schema import entries
from foldry.database.text_search import MAX_LIMIT, TextQuery, search_text
from foldry.errors import FoldryError, InputError, quoted
from foldry.formats.model_record import ModelRecord

ORIGINAL: Final = "original"
"""The structure file that an imported prediction came from."""
SUBSTITUTIONS: Final = "substitutions"
"""AlphaMissense's scores, `AF-…-aa-substitutions.csv`, which belong to the latest version."""
ALL_KINDS: Final = (*KINDS, SUBSTITUTIONS, ORIGINAL)
_SUFFIXES: Final = {
    rb"\x1f\x8b": ".gz",
    rb"\x28\xb5\x2f\xfd": ".zst",
    rb"[\x80-\x8f\xde\xdf]": ".bcif",  # a map of MessagePack
    rb"(#.*\n|\s+)*+data_": ".cif",
    rb"": ".pdb",
}
"""Suffixes of original files by how these begin."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is exported.

    Attributes:
        keys: Numbers of entries, in the order of the export.
        state: Number of the latest change of the database that is exported.
        versions: Numbers of versions by number of the entry; of others, the latest is exported.
        all_versions: Whether all versions are exported.
        kinds: Kinds of files (see `render.py`); empty for all that the layout has.
    """

    keys: Sequence[int]
    state: int
    versions: Mapping[int, Collection[int]] = field(default_factory=dict)
    all_versions: bool = False
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in ALL_KINDS:
                what = f"{quoted(kind)} is not a kind of file"
                raise InputError(what, f"choose `kinds` from {', '.join(ALL_KINDS)}")

    def versions_of(self, entry: Entry) -> tuple[Version, ...]:
        """Return the versions of an entry that are exported."""
        if self.all_versions:
            return entry.versions
        numbers = self.versions.get(entry.key, (entry.latest.number,))
        return tuple(each for each in entry.versions if each.number in numbers)


@dataclass
class Exported:
    """What an export wrote.

    Attributes:
        num_entries, num_files: How many whole entries and how many files were written.
        left_out: Why entries were left out.
        missing: Number of versions without a file of a kind, by kind.
    """

    num_entries: int = 0
    num_files: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    left_out: list[FoldryError] = field(default_factory=list)


def select(
    database: Database, chosen: Filter, names: Sequence[str] = (), words: str | None = None
) -> Selection:
    """Return the entries to export, in the versions that their names state or the latest ones.

    Args:
        database: The database.
        chosen: Conditions on the entries.
        names: Accessions, ids and local names, perhaps with `-vN`; empty for all entries.
        words: Words that the entries have, or None (see `text_search.py`).

    Raises:
        InputError: A name stands for no entry or version, for several entries, or for a withdrawn
            one; no entry has the words.
    """
    if words is not None:
        keys = _found(database, words, chosen)
        if not keys:
            raise InputError(f"No entry matches {quoted(words)}", "search for other words")
        return Selection(keys=keys, state=database.state)
    named: dict[int, set[int]] = {}
    for name in names:
        entry = database.entry(name)
        if entry.withdrawn and not chosen.with_withdrawn:
            what, advice = f"is withdrawn ({entry.withdrawn})", "allow it by `withdrawn`"
            raise InputError(what, advice, where=entry.entry_id)
        number = ids.named_version(name, entry.entry_id, entry.name)
        named.setdefault(entry.key, set()).add(database.version(entry, number).number)
    query = sa.select(entries.c.key).where(*conditions(chosen)).order_by(entries.c.key)
    if names:
        query = query.where(entries.c.key.in_(named))
    with database.reading() as connection:
        keys = array("q", connection.execution_options(stream_results=True).scalars(query))
    if names:
        kept = set(keys)
        keys = array("q", [key for key in named if key in kept])
    return Selection(keys=keys, state=database.state, versions=named)


def _found(database: Database, words: str, chosen: Filter) -> array[int]:
    """Return the numbers of the entries that a search for words finds."""
    keys = array("q")
    query = TextQuery(text=words, chosen=chosen, limit=MAX_LIMIT)
    while True:
        with database.reading() as connection:
            page = search_text(connection, query)
        keys.extend(page.keys)
        if not page.cursor:
            return keys
        query = replace(query, cursor=page.cursor)


def read_entries(database: Database, keys: Sequence[int], state: int) -> Iterator[Entry]:
    """Yield entries by their numbers, with the versions up to a state of the database.

    Those that were purged in the meantime are left out.
    """
    for begin in range(0, len(keys), BATCH):
        for entry in database.load(keys[begin : begin + BATCH]):
            if versions := tuple(each for each in entry.versions if each.state <= state):
                yield replace(entry, versions=versions)


def rendered(
    database: Database,
    entry: Entry,
    version: Version,
    kinds: Iterable[str],
    missing: Counter[str] | None = None,
) -> tuple[ModelRecord, dict[str, bytes]]:
    """Return the record of a version's best model, and its files by name.

    `missing` counts the kinds that the version does not have.

    Raises:
        FoldryError: Its record is missing or damaged.
    """
    opened = database.record(entry, version.number)
    files: dict[str, bytes] = {}
    for kind in kinds:
        number = len(files)
        if kind == ORIGINAL:
            files |= _original(database, entry, version)
        elif kind == SUBSTITUTIONS:
            files |= _substitutions(database, entry, version)
        elif (data := render(database, entry, version, kind, opened)) is not None:
            files[file_name(entry, version, kind)] = data
        if missing is not None:
            missing[kind] += len(files) == number
    return opened.record(), files


def _substitutions(database: Database, entry: Entry, version: Version) -> dict[str, bytes]:
    """Return the scores of substitutions by the file's name; empty if there are none."""
    is_latest = version.number == entry.latest.number
    table = substitutions_csv(database, entry) if is_latest else None
    return {f"{entry.entry_id}-aa-substitutions.csv": table.encode()} if table else {}


def _original(database: Database, entry: Entry, version: Version) -> dict[str, bytes]:
    """Return the imported file by its name; empty if it was not kept."""
    if not version.original:
        return {}
    data = database.stored(version.original, entry.entry_id)
    suffix = next(suffix for start, suffix in _SUFFIXES.items() if re.match(start, data))
    return {f"{entry.entry_id}-original_v{version.number}{suffix}": data}


def each_entry(
    database: Database, chosen: Selection, found: Exported, progress: Progress
) -> Iterator[Entry]:
    """Yield the chosen entries; count those without errors, and report progress after each."""
    every = read_entries(database, chosen.keys, chosen.state)
    for number, entry in enumerate(every, start=1):
        before = len(found.left_out)
        yield entry
        found.num_entries += len(found.left_out) == before
        progress(number, len(chosen.keys))

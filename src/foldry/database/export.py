"""Entries as files for others: plain files, one zip, AlphaFold DB's bulk layout, PDBeurope's kit.

The same entries give the same bytes, whatever the machine and the time. Entries are read and
rendered one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from foldry.database import bulk, integration_kit
from foldry.database.annotations import described
from foldry.database.database import Database
from foldry.database.describe import provenance_json
from foldry.database.place import is_database
from foldry.database.selection import (
    ALL_KINDS,
    Exported,
    Progress,
    Selection,
    each_entry,
    rendered,
)
from foldry.errors import FoldryError, InputError, quoted
from foldry.store.archives import write_zip
from foldry.store.files import check_file, check_folder, new_file, write_bytes
from foldry.store.hashes import sha256
from foldry.store.locks import hold

FILES, ZIP, BULK, KIT = FORMATS = ("files", "zip", "afdb", "kit")
"""The layouts: files in a folder, one zip, AlphaFold DB's, PDBeurope's."""


def export(
    database: Database, chosen: Selection, out: Path, layout: str, progress: Progress
) -> Exported:
    """Write entries in one of `FORMATS` and return what was written.

    Args:
        database: The database.
        chosen: What is exported.
        out: The folder, or the file of a zip.
        layout: One of `FORMATS`.
        progress: Called with the number of entries done and of all.

    Raises:
        InputError: Nothing is chosen, or the place cannot be written.
        DiskFullError: No space is left.
        BusyError: Another process writes to the same folder.
    """
    if layout not in FORMATS:
        *others, last = FORMATS
        what, advice = (
            f"{quoted(layout)} is not a `format`",
            f"choose {', '.join(others)} or {last}",
        )
        raise InputError(what, advice)
    if not chosen.keys:
        what, advice = "has no such entry", "change the conditions"
        if not database.num_entries:
            what, advice = "has no entries", "publish or import some first"
        raise InputError(what, advice, where=database.tables.place.shown)
    check = check_file if layout == ZIP else check_folder
    check(out)
    if any(is_database(str(each)) for each in (out.absolute(), *out.absolute().parents)):
        raise InputError("is in the folder of a database", "name another place", where=out)
    if layout == ZIP:
        return _write_zip(database, chosen, out, progress)
    writers = {FILES: _write_files, BULK: bulk.write, KIT: integration_kit.write}
    with hold(out):
        return writers[layout](database, chosen, out, progress)


def _write_files(database: Database, chosen: Selection, out: Path, progress: Progress) -> Exported:
    found = Exported()
    for entry in each_entry(database, chosen, found, progress):
        for version in chosen.versions_of(entry):
            try:
                kinds = chosen.kinds or ALL_KINDS
                _, files = rendered(database, entry, version, kinds, found.missing)
            except FoldryError as error:
                found.left_out.append(error)
                continue
            for name, data in files.items():
                write_bytes(out / name, data)
            found.num_files += len(files)
    return found


def _write_zip(database: Database, chosen: Selection, out: Path, progress: Progress) -> Exported:
    found = Exported()
    with new_file(out) as file:
        write_zip(file, _members(database, chosen, found, progress))
    return found


def _members(
    database: Database, chosen: Selection, found: Exported, progress: Progress
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a zip: `files`, `entries`, `provenance`, and last `SHA256SUMS`."""
    sums = []
    for entry in each_entry(database, chosen, found, progress):
        members = {f"entries/{entry.entry_id}.json": _json(described(database, entry))}
        for version in chosen.versions_of(entry):
            try:
                kinds = chosen.kinds or ALL_KINDS
                record, files = rendered(database, entry, version, kinds, found.missing)
            except FoldryError as error:
                found.left_out.append(error)
                continue
            members |= {f"files/{name}": data for name, data in files.items()}
            name = f"provenance/{entry.entry_id}_v{version.number}.json"
            members[name] = _json(provenance_json(entry, version, record))
        for name, data in members.items():
            sums.append(f"{sha256(data)}  {name}\n")
            yield name, data
        found.num_files += len(members)
    yield "SHA256SUMS", "".join(sums).encode()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"

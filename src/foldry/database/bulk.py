"""AlphaFold DB's bulk layout: a tar for each proteome, and lists of what they hold.

    UP000005640_9606_HUMAN_v6.tar   files of the entries, each packed with gzip
    sequences.fasta                 all sequences
    accession_ids.csv               accession, first and last residue, id, version
    download_metadata.json          archives with size and SHA-256

Entries without a proteome are grouped by provider and organism. An interrupted export continues
with the first tar that is not complete.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from foldry.database import ids
from foldry.database.database import Database
from foldry.database.describe import accession_line, fasta_records
from foldry.database.selection import (
    Exported,
    Progress,
    Selection,
    read_entries,
    rendered,
)
from foldry.errors import FoldryError
from foldry.store.archives import pack_gzip, write_plain_tar
from foldry.store.files import append_line, new_file, new_text_file, remove, write_json
from foldry.store.hashes import content_key, file_sha256, new_sha256

KINDS: Final = ("cif", "pdb", "confidence", "pae")
_LOG: Final = ".archives.jsonl"


class _Group(NamedTuple):
    """What the entries of a tar have in common; "" or None if unknown."""

    proteome: str
    provider: str
    tax_id: int | None


@dataclass
class _Members:
    """The entries of a tar.

    Attributes:
        keys: Their numbers.
        version: The highest version among them.
        species, code: Name of the organism, and UniProt's code of it.
        sum: Hash of what the content of the tar follows from.
    """

    keys: array[int]
    version: int = 0
    species: str = ""
    code: str = ""
    sum: str = ""


@dataclass(frozen=True)
class Archive:
    """One line of `download_metadata.json`."""

    archive_name: str
    species: str
    reference_proteome: str
    num_predicted_structures: int
    size_bytes: int
    type: str
    sha256: str


def write(database: Database, chosen: Selection, out: Path, progress: Progress) -> Exported:
    """Write the entries in AlphaFold DB's bulk layout into a folder."""
    found = Exported()
    groups = _write_lists(database, chosen, out)
    log = out / _LOG
    done = _read_log(log)
    archives, num_done = [], 0
    for name, group, members in _named(groups):
        known = done.get(members.sum)
        path = out / name
        before = len(found.left_out)
        if known is None or not path.is_file() or path.stat().st_size != known.size_bytes:
            count = _write_tar(database, chosen, members, path, found)
            known = Archive(
                name,
                members.species,
                group.proteome,
                count,
                path.stat().st_size,
                "proteome" if group.proteome else "other",
                file_sha256(path),
            )
            if len(found.left_out) == before:
                append_line(log, {"sum": members.sum, **asdict(known)})
        wrong = {error.where for error in found.left_out[before:]}
        found.num_entries += len(members.keys) - len(wrong)
        found.num_files += 1
        archives.append(asdict(known))
        num_done += len(members.keys)
        progress(num_done, len(chosen.keys))
    write_json(out / "download_metadata.json", archives)
    remove(log)
    found.num_files += 3
    return found


def _write_lists(database: Database, chosen: Selection, out: Path) -> dict[_Group, _Members]:
    """Write the lists of all entries, and return which entry belongs to which tar."""
    groups: dict[_Group, _Members] = {}
    sums: dict[_Group, Any] = {}
    with (
        new_text_file(out / "sequences.fasta") as fasta,
        new_text_file(out / "accession_ids.csv") as table,
    ):
        for entry in read_entries(database, chosen.keys, chosen.state):
            facts = entry.facts
            fasta.write(fasta_records(entry))
            versions = chosen.versions_of(entry)
            table.writelines(accession_line(entry, version) for version in versions)
            group = _Group(facts.proteome, "" if facts.proteome else entry.provider, facts.tax_id)
            members = groups.setdefault(group, _Members(array("q")))
            members.keys.append(entry.key)
            members.version = max(members.version, *(each.number for each in versions))
            members.species = members.species or facts.organism
            members.code = members.code or facts.uniprot_id.partition("_")[2]
            sum_ = sums.setdefault(group, new_sha256())
            sum_.update(content_key([entry, versions, chosen.kinds]).encode())
    for group, members in groups.items():
        members.sum = sums[group].hexdigest()
    return groups


def _named(groups: dict[_Group, _Members]) -> Iterator[tuple[str, _Group, _Members]]:
    """Yield the groups with the names of their tars, e.g. `UP000005640_9606_HUMAN_v6.tar`."""
    taken = set[str]()
    for group, members in groups.items():
        parts = (group.proteome or group.provider, group.tax_id, members.code)
        stem = ids.local_name("_".join(str(each) for each in parts if each))
        name, number = f"{stem}_v{members.version}.tar", 1
        while name in taken:  # names of two providers may become equal
            number += 1
            name = f"{stem}_{number}_v{members.version}.tar"
        taken.add(name)
        yield name, group, members


def _write_tar(
    database: Database, chosen: Selection, members: _Members, path: Path, found: Exported
) -> int:
    """Write a tar, and return the number of structures in it."""
    count = 0

    def files() -> Iterator[tuple[str, bytes]]:
        nonlocal count
        for entry in read_entries(database, members.keys, chosen.state):
            for version in chosen.versions_of(entry):
                try:
                    kinds = chosen.kinds or KINDS
                    _, of_version = rendered(database, entry, version, kinds, found.missing)
                except FoldryError as error:
                    found.left_out.append(error)
                    continue
                count += 1
                for name, data in of_version.items():
                    yield f"{name}.gz", pack_gzip(data)

    with new_file(path) as file:
        write_plain_tar(file, files())
    return count


def _read_log(log: Path) -> dict[str, Archive]:
    """Return the complete tars of an interrupted export by the hash of their entries."""
    found = {}
    for line in log.read_text("utf-8").splitlines() if log.is_file() else ():
        try:
            values: dict[str, Any] = json.loads(line)
            key = str(values.pop("sum"))
            found[key] = Archive(**values)
        except (ValueError, TypeError, KeyError):  # the incomplete line of a killed process
            continue
    return found

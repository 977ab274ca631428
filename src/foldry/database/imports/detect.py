"""Which predictions are among many files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from foldry.database.entry import Deposit
from foldry.database.imports import (
    afdb,
    alphafold2,
    alphafold3,
    boltz,
    chai,
    colabfold,
    plain,
)
from foldry.database.imports.job import (
    STRUCTURES,
    Job,
    Reading,
    Unit,
    name_in_unit,
    unit_name,
    unit_of,
)
from foldry.store.members import Member, Skipped, plain_name

READERS: Final[dict[str, Callable[[Reading], Deposit]]] = {
    afdb.LAYOUT: afdb.read,
    alphafold2.FOLDRY: alphafold2.read,
    alphafold2.ALPHAFOLD: alphafold2.read,
    colabfold.LAYOUT: colabfold.read,
    alphafold3.LAYOUT: alphafold3.read,
    boltz.LAYOUT: boltz.read,
    chai.LAYOUT: chai.read,
    plain.LAYOUT: plain.read,
}
"""What reads the jobs of each layout."""
READ_WHOLE: Final = (afdb.LAYOUT, plain.LAYOUT)
"""Layouts of jobs whose files are all read."""
_FINDERS: Final = (
    *(alphafold2.find, colabfold.find, alphafold3.find, boltz.find, chai.find, plain.find),
)
_DATA: Final = (*STRUCTURES, ".json", ".npz", ".npy", ".pkl", ".a3m")
_OPEN: Final = 1000
"""Number of entries of AlphaFold DB whose files are collected at a time."""
_MAX_FILES: Final = 200_000
"""Limit on the other files of one folder."""


def order(name: str) -> tuple[str, ...]:
    """Return what sorts files so that those of one prediction follow each other."""
    return (unit_of(name) or "", name)


def find_jobs(members: Iterable[Member], skipped: Skipped, unused: Skipped) -> Iterator[Job]:
    """Yield the predictions among files, a folder at a time.

    Args:
        members: Files in the order of `order`.
        skipped: Gets files of AlphaFold DB without a structure.
        unused: Gets files of data beside predictions to which they do not belong.
    """
    entries = OrderedDict[str, dict[str, Member]]()
    unit: Unit | None = None
    place: tuple[object, str] | None = None
    for member in members:
        if key := afdb.key_of(member.name):
            entries.setdefault(key, {})[plain_name(member.name)] = member
            if len(entries) > _OPEN:
                yield from _of_entry(entries.popitem(last=False)[1], skipped)
            continue
        folder = unit_of(member.name)
        if folder is None:
            continue
        if unit is None or place != (member.container, folder):
            yield from _of_unit(unit, unused)
            place = member.container, folder
            unit = Unit(unit_name(member, folder), _shown(member, folder))
        if len(unit.files) < _MAX_FILES:
            unit.files.setdefault(name_in_unit(member, folder), member)
        else:
            what, advice = "is one file too many of a folder", "use several folders"
            skipped.add(unit.where, what, advice, name=member.name)
    yield from _of_unit(unit, unused)
    for files in entries.values():
        yield from _of_entry(files, skipped)


def _shown(member: Member, folder: str) -> str:
    """Return what messages call a folder."""
    container = member.shown or member.container
    if member.offset >= 0:
        return f"{container}, {folder}" if folder else str(container)
    return str(container / folder)


def _of_unit(unit: Unit | None, unused: Skipped) -> Iterator[Job]:
    if unit is None:
        return
    has_jobs = False
    for find in _FINDERS:
        for job in find(unit):
            has_jobs = True
            yield job
    for name, member in unit.files.items():
        if has_jobs and name.endswith(_DATA) and not name.startswith("templates/"):
            container = member.shown or member.container
            unused.add(container, "belongs to no prediction", name=member.name)


def _of_entry(files: dict[str, Member], skipped: Skipped) -> Iterator[Job]:
    job = afdb.job_of(files)
    if job is not None:
        yield job
    else:
        member = next(iter(files.values()))
        container = member.shown or member.container
        skipped.add(container, "came without its structure file", name=member.name)

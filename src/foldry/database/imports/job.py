"""The files of one prediction, and what was read of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from foldry.errors import InputError
from foldry.store.hashes import content_key, sha256
from foldry.store.members import Member, is_archive_name, plain_name

_MAX_STRUCTURE: Final = 32 * 1024**2
"""Limit on the bytes of a structure file: AlphaFold DB's have about 1 kB a residue."""
_MAX_SCORES: Final = 512 * 1024**2
"""Limit on the bytes of a file of scores and predicted aligned errors."""
_MAX_ALIGNMENT: Final = 256 * 1024**2
_MAX_UNPACKED: Final = 8 * 1024**2
_MAX_RATIO: Final = 30
"""Largest compression ratio of a file that unpacks to more than `_MAX_UNPACKED`. Structure files
have ratios of 4 to 8, scores of up to 15, and endless repetition could fill the memory."""
_MAX_SETTINGS: Final = 4 * 1024**2
STRUCTURES: Final = (".cif", ".mmcif", ".bcif", ".pdb", ".ent")
"""Suffixes of structure files, best first."""
ALIGNMENT: Final = ".a3m"
_INNER: Final = re.compile(r"(?:.*/)?(?:seed-[^/]+|msas(?:/[A-Za-z0-9])?|templates)")
"""Folders whose files belong to the prediction in the folder above, one for each chain included."""
_TEMPLATES: Final = re.compile(r"templates_\d+")
"""Folders of ColabFold's search, whose structures are no predictions."""


@dataclass(frozen=True)
class Job:
    """The files of one prediction.

    Attributes:
        layout: Name of the layout, a key of `detect.READERS`.
        name: Name of the prediction.
        where: What messages call it.
        files: Its files by their names in its folder, without the suffix of packed files.
    """

    layout: str
    name: str
    where: str
    files: Mapping[str, Member]


@dataclass
class Unit:
    """A folder whose files are sorted into predictions.

    Attributes:
        name: Name of the folder.
        where: What messages call it.
        files: The files that no layout has taken, by their names.
    """

    name: str
    where: str
    files: dict[str, Member] = field(default_factory=dict)

    def take(self, layout: str, name: str, names: list[str]) -> Job:
        """Return a job with these files, which the unit then lacks."""
        taken = {each: self.files.pop(each) for each in names}
        structures = [each for each in taken if each.endswith(STRUCTURES)]
        first = taken[min(structures or taken)]
        where = self.where if name == self.name else f"{self.where}, {name}"
        return Job(layout, name, first.where if len(taken) == 1 else where, taken)


def unit_of(name: str) -> str | None:
    """Return the folder to which a member belongs; None if it is a template.

    Example:
        >>> unit_of("jobs/a/seed-1_sample-0/model.cif"), unit_of("jobs/a/msas/B/mgnify_hits.sto")
        ('jobs/a', 'jobs/a')
    """
    parts = name.split("/")[:-1]
    if any(map(_TEMPLATES.fullmatch, parts)):
        return None
    while parts and _INNER.fullmatch("/".join(parts)):
        parts.pop()
    return "/".join(parts)


def name_in_unit(member: Member, unit: str) -> str:
    """Return the name of a member in its unit, without the suffix of packed files."""
    inner = member.name[len(unit) :].lstrip("/")
    folder, slash, _ = inner.rpartition("/")
    return f"{folder}{slash}{plain_name(inner)}"


def unit_name(member: Member, unit: str) -> str:
    """Return the name of a unit: that of its folder, or of the archive."""
    if unit:
        return unit.rpartition("/")[2]
    name = (member.shown or member.container).name if member.offset >= 0 else member.container.name
    return is_archive_name(name) or name


@dataclass
class Reading:
    """One job while its files are read.

    Attributes:
        job: The job.
        choices: What else makes the prediction another one.
        with_alignments: Whether alignments are read.
        notes: Sentences about what is left out.
        original: The first structure file that was read, as it came.
    """

    job: Job
    choices: tuple[str, ...] = ()
    with_alignments: bool = True
    original: bytes | None = None
    notes: list[str] = field(default_factory=list)
    _hashes: dict[str, str] = field(default_factory=dict)
    _latest: tuple[str, bytes] = "", b""

    def data(self, name: str, max_bytes: int = _MAX_SCORES) -> bytes:
        """Return the content of a file, which becomes part of the content key.

        Raises:
            InputError: The file is damaged, too large or missing.
        """
        if self._latest[0] == name:
            return self._latest[1]
        limit = _MAX_STRUCTURE if name.endswith(STRUCTURES) else max_bytes
        data = self.job.files[name].read(limit, _MAX_UNPACKED, _MAX_RATIO)
        self._latest = name, data
        if self.original is None and name.endswith(STRUCTURES):
            self.original = data
        self._hashes[name.rpartition(".")[2] if len(self.job.files) == 1 else name] = sha256(data)
        return data

    def alignment(self, name: str) -> bytes:
        """Return the content of an alignment.

        It is no part of the content key: a prediction is the same without its alignment's file.

        Raises:
            InputError: The file is damaged, too large or missing.
        """
        return self.job.files[name].read(_MAX_ALIGNMENT)

    def json(self, name: str) -> dict[str, Any]:
        """Return the content of a small JSON file, or nothing if there is no such file.

        Raises:
            InputError: It is not a JSON object.
        """
        if name not in self.job.files:
            return {}
        try:
            found = json.loads(self.data(name, _MAX_SETTINGS))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise InputError("is not a JSON object", "replace it", where=self.where(name))
        return found

    def where(self, name: str) -> str:
        """Return what messages call a file."""
        return self.job.files[name].where

    def find(self, *names: str) -> str | None:
        """Return the first of some names that is a file of the job."""
        return next(filter(self.job.files.__contains__, names), None)

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of a file, or None if it was not read."""
        return self._hashes.get(name)

    @property
    def key(self) -> str:
        """The identity of the prediction: the hashes of all files that were read."""
        return content_key([self.job.layout, self.choices, sorted(self._hashes.items())])

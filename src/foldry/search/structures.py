"""Libraries of known structures: the folders in which templates are found."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from foldry.errors import FoldryError, InputError, MissingError, quoted
from foldry.formats.coordinates import Deposition, read_deposition
from foldry.search import structure_index
from foldry.search.databases import INDICES, Database, default_cache, of_structures
from foldry.search.structure_index import Index, Progress, UnusableError
from foldry.store.hashes import sha256

logger = logging.getLogger(__name__)


def inspect_structures(
    folder: Path,
    name: str = "",
    obsolete: Path | None = None,
    progress: Progress | None = None,
    kept: Path | None = None,
) -> Database:
    """Return a folder of structures as a database that is not registered.

    Its index is kept with the searches; files that are new or changed are read.

    Args:
        folder: A folder with PDB, mmCIF or BinaryCIF files in it or in its folders.
        name: Name of the database; that of the folder if left out.
        obsolete, progress: As for `structure_index.update`.
        kept: The folder of kept searches; the user's if left out.

    Raises:
        InputError: As for `structure_index.update`.
        DiskFullError: No space is left.
    """
    key = sha256(os.fsencode(os.path.realpath(folder)))[:16]
    return of_structures(
        folder, (kept or default_cache()) / INDICES / key, name, obsolete, progress
    )


class StructureLibrary:
    """The structures of a folder, and the sequences of all their chains.

    A chain is called by its entry and its name, e.g. `2crb_A`. An entry has the name of its file,
    in lower case: `1abc` is in `ab/1abc.cif.gz`, `pdb1abc.ent.gz` or `1ABC.pdb`.

    Attributes:
        fasta: The sequences of all chains, with headers like those of the PDB's `pdb_seqres`.
        version: Derived from the content of the files; the same in copies.
        left_out: Why files and folders are left out, by their paths below the folder.
        listed: A text with all of `left_out`.
        num_entries: Number of entries.
        num_undated: Number of entries without a date of release.
    """

    def __init__(self, folder: Path, place: Path, index: Index) -> None:
        self._folder = folder
        self._index = index
        self.fasta = structure_index.fasta(place, index.version)
        self.version = index.version
        self.left_out: Mapping[str, str] = index.left_out
        self.listed = place / structure_index.LEFT_OUT
        self.num_entries = len(index.files)
        self.num_undated = sum(not each.release_date for each in index.files.values())

    @classmethod
    def open(cls, database: Database) -> StructureLibrary:
        """Return the library of a database, after reading what was added or changed.

        Of more than `structure_index.MAX_CHECKED` files, those that were written in place are
        noticed only when the database is inspected or checked.

        Raises:
            InputError: As for `structure_index.update`, if it has not been read before.
            MissingError: There is no such folder, or it has lost its structures.
            DiskFullError: No space is left.
        """
        database.check()
        folder, place = Path(database.path), Path(database.index)
        index = structure_index.load(place)
        if index is None or not index.files or not structure_index.is_current(index, folder):
            try:
                index = structure_index.update(folder, place)
            except UnusableError as error:
                if index is None:
                    raise
                advice = "restore them, or add the structures again"
                raise MissingError(error.what, advice, where=folder) from error
            except FoldryError as error:
                if index is None:
                    raise
                logger.warning("%s changed, but is used as it was before: %s", folder, error)
        return cls(folder, place, index)

    def sequence(self, name: str) -> str | None:
        """Return the full sequence of a chain, e.g. `2crb_A`; None if it is not in the library.

        Raises:
            MissingError: The library changed since it was opened.
        """
        entry, _, chain = name.rpartition("_")
        file = self._index.files.get(entry.lower())
        if file is None:
            return None
        with suppress(OSError, ValueError):
            lines = structure_index.read_block(self.fasta, file).decode().splitlines()
            sequences = dict(
                zip((line.split()[0] for line in lines[::2]), lines[1::2], strict=True)
            )
            return sequences.get(f">{entry.lower()}_{chain}")
        raise MissingError("cannot be read", "search again", where=self.fasta)

    def successor(self, entry: str) -> str | None:
        """Return the entry that replaces an obsolete one, or this one if it is not obsolete.

        None means that nothing replaces it. Replacements of replacements are followed.
        """
        seen, current = set[str](), entry.lower()
        while current in self._index.obsolete:
            seen.add(current)
            following = self._index.obsolete[current]
            if following is None or following in seen:  # the list leads in a circle
                return None
            current = following
        return current

    def listed_date(self, entry: str) -> str | None:
        """Return the date of an entry's first release, known without reading its file, or None.

        That of an obsolete entry is None, as its successor counts even if its own file is here.
        """
        file = self._index.files.get(entry.lower())
        if file is None or entry.lower() in self._index.obsolete:
            return None
        return file.release_date or None

    def read(self, entry: str) -> Deposition:
        """Return the chains of an entry with their full sequences.

        Raises:
            InputError: The file is damaged or was removed.
            MissingError: There is no file of this entry.
        """
        file = self._index.files.get(entry.lower())
        if file is None:
            what = f"has no structure of {quoted(entry)}"
            raise MissingError(what, "add it", where=self._folder)
        path = self._folder / file.path
        if not path.is_file():
            raise InputError("does not exist", "restore it", where=path)
        return read_deposition(path)

"""Tickets of ColabFold's protocol: the searches that its clients ask a server for.

A ticket is a FASTA text and a mode. What is found for it is kept as one archive, whose name is
derived from the ticket and from the content of the databases: a ticket that comes again is done.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final

from foldry.errors import BusyError, FoldryError, InputError, MissingError, as_foldry_error, quoted
from foldry.formats.fasta import parse_fasta
from foldry.formats.sequence import clean_sequence
from foldry.formats.template import UNDATED, deposition_mmcif
from foldry.search.databases import STRUCTURES, Database
from foldry.search.structures import StructureLibrary
from foldry.search.ticket_files import CHAIN, Ticket, TicketSearch, search_of
from foldry.store.archives import write_tar
from foldry.store.files import (
    make_folder,
    new_file,
    read_bytes,
    remove,
    scratch_folder,
    sweep,
    write_json,
)
from foldry.store.hashes import content_key
from foldry.store.locks import hold_file

logger = logging.getLogger(__name__)

MAX_SEQUENCES: Final = 200
"""Maximum number of sequences of a ticket."""
MAX_RESIDUES: Final = 20_000
"""Maximum number of residues of a ticket, over all its sequences."""
MAX_TEMPLATES: Final = 200
"""Maximum number of chains of known structures that are asked for at once."""
COMPLETE: Final = "COMPLETE"
RUNNING: Final = "RUNNING"
ERROR: Final = "ERROR"
UNKNOWN: Final = "UNKNOWN"

_FORMAT: Final = 1
"""Part of each identifier; another number makes all tickets new ones."""
_MAX_TEXT: Final = 10 * MAX_RESIDUES
"""Maximum length of a ticket's text, names and line ends included."""
_WORDS: Final = frozenset({"all", "env", "nofilter", "notemplates", "taxonomy", "m8output"})
_WORDS_OF_PAIRS: Final = frozenset({"env", "pairgreedy", "paircomplete"})
_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class State:
    """How far a ticket is.

    Attributes:
        status: `COMPLETE`, `RUNNING`, `ERROR` or `UNKNOWN`; a ticket that waits is not known.
        reason: Why it failed, in one sentence.
    """

    status: str
    reason: str = ""


def read_ticket(text: str, mode: str, *, is_paired: bool = False) -> Ticket:
    """Return the ticket of a request.

    Args:
        text: The sequences as FASTA, the form's field `q`.
        mode: The form's field `mode`, e.g. `env` or `pairgreedy-env`.
        is_paired: Whether the request is one for paired rows.

    Raises:
        InputError: The text is not FASTA, is too long or has a sequence that is not a protein, or
            the mode has an unknown word.

    Example:
        >>> read_ticket(">101\\nMKTAY\\n", "env").names
        ('101',)
    """
    source = "The ticket"
    words = {each for each in mode.split("-") if each}
    allowed = _WORDS_OF_PAIRS if is_paired else _WORDS
    if unknown := words - allowed:
        advice = f"use only {', '.join(sorted(allowed))}"
        raise InputError(f"has the mode {quoted(min(unknown))}", advice, where=source)
    if words >= {"pairgreedy", "paircomplete"}:
        what = "has the modes pairgreedy and paircomplete"
        raise InputError(what, "choose one", where=source)
    if len(text) > _MAX_TEXT:
        what = f"has more than {_MAX_TEXT} characters"
        raise InputError(what, "ask for fewer sequences at once", where=source)
    records = parse_fasta(text, source)
    if not 0 < len(records) <= MAX_SEQUENCES:
        advice = f"give 1 to {MAX_SEQUENCES}"
        raise InputError(f"has {len(records)} sequences", advice, where=source)
    sequences = tuple(clean_sequence(each.text, source, each.line) for each in records)
    if (number := sum(map(len, sequences))) > MAX_RESIDUES:
        what, advice = f"has {number} residues", f"give at most {MAX_RESIDUES} at once"
        raise InputError(what, advice, where=source)
    names = tuple(" ".join(each.header.split()) for each in records)
    known = set[str]()
    for name, record in zip(names, records, strict=True):
        word, _, _ = name.partition(" ")
        if not word or not name.isprintable() or word in known:
            what = "has no usable name, or that of another sequence"
            advice = "give each sequence a name of its own"
            raise InputError(what, advice, where=f"{source}, line {record.line}")
        known.add(word)
    return Ticket(names, sequences, tuple(sorted(words)), is_paired)


@dataclass(frozen=True)
class Tickets:
    """The tickets of a server, whose results are in a folder.

    With a clustered MMseqs2 database, the search is that of `colabfold_search`. Otherwise all FASTA
    files are searched by HMMER, and no rows are paired. Templates are found in all libraries of
    structures.

    Attributes:
        databases: The registered databases.
        folder: The folder; several processes may share it.
        num_threads: Number of threads.
    """

    databases: Sequence[Database]
    folder: Path
    num_threads: int = 1
    _libraries: list[StructureLibrary] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        libraries = [each for each in self.databases if each.kind == STRUCTURES]
        object.__setattr__(self, "_libraries", list(map(StructureLibrary.open, libraries)))

    def identifier(self, ticket: Ticket) -> str:
        """Return the name of a ticket: the same for equal tickets on equal databases.

        Raises:
            InputError: The databases do not have what the mode asks for.
            MissingError: No database is registered, or the program that searches it is missing.
        """
        return _identifier(self._search(ticket))

    def state(self, identifier: str) -> State:
        """Return how far a ticket is; whatever is no identifier is not known."""
        if not _ID.fullmatch(identifier) or not self.folder.is_dir():
            return State(UNKNOWN)
        if self.file(identifier).is_file():
            return State(COMPLETE)
        try:
            with hold_file(self.file(identifier)):
                if self.file(identifier).is_file():
                    return State(COMPLETE)
                failure = json.loads(read_bytes(self._failure(identifier)))
                return State(ERROR, str(failure["reason"]))
        except BusyError:
            return State(RUNNING)
        except (InputError, ValueError, LookupError, TypeError):
            return State(UNKNOWN)

    def file(self, identifier: str) -> Path:
        """Return the archive of a ticket, which exists once the ticket is complete.

        Raises:
            InputError: It is not an identifier.
        """
        if not _ID.fullmatch(identifier):
            raise InputError(f"{quoted(identifier)} is not a ticket", "send the query again")
        return self.folder / f"mmseqs_results_{identifier}.tar.gz"

    def run(self, ticket: Ticket) -> Path:
        """Return the archive of a ticket, after searching for what is not there.

        If another process runs the same ticket, this one waits for its archive. A failure is
        recorded for `state`; the ticket may be run again.

        Raises:
            InputError: As for `identifier`, or a database is damaged or changes.
            MissingError: As for `identifier`.
            DiskFullError: No space is left.
            OutsideError: A program failed.
        """
        search = self._search(ticket)
        identifier = _identifier(search)
        path, failure = self.file(identifier), self._failure(identifier)
        make_folder(self.folder)
        with hold_file(path, wait=True):
            if path.is_file():
                return path
            sweep(self.folder)
            remove(failure)
            try:
                with scratch_folder(self.folder) as scratch, new_file(path, sync=True) as file:
                    write_tar(file, search.files(scratch))
            except Exception as error:
                known = as_foldry_error(error)
                with suppress(FoldryError):  # the disk may be full
                    write_json(failure, {"reason": str(known), "code": known.code})
                raise known from error
        return path

    def write_templates(self, names: Iterable[str], target: BinaryIO) -> None:
        """Write the archive of known structures: their files, and an HH-suite database of chains.

        Chains that are in no library, and those whose file cannot be read, are left out.

        Args:
            names: Names of chains, e.g. `2crb_A`.
            target: Where the archive is written, a piece at a time.

        Raises:
            InputError: There are too many names, or none is in a library.
        """
        asked = sorted({*names})
        if len(asked) > MAX_TEMPLATES:
            what = f"Structures of {len(asked)} chains are asked for"
            raise InputError(what, f"ask for at most {MAX_TEMPLATES} at once")
        found: dict[str, dict[str, str]] = {}
        places: dict[str, StructureLibrary] = {}
        for name in filter(CHAIN.fullmatch, asked):
            entry = name.rpartition("_")[0].lower()
            for library in self._libraries:
                if (sequence := library.sequence(name)) is not None:
                    found.setdefault(entry, {})[name] = sequence
                    places.setdefault(entry, library)
                    break
        if not found:
            advice = "ask for chains that a search has found"
            raise InputError("No structure of these names is in the libraries", advice)
        write_tar(target, _structures(found, places))

    def _failure(self, identifier: str) -> Path:
        return self.folder / f"{identifier}.json"

    def _search(self, ticket: Ticket) -> TicketSearch:
        return search_of(ticket, self.databases, tuple(self._libraries), self.num_threads)


def _identifier(search: TicketSearch) -> str:
    return content_key([_FORMAT, search.ticket, search.identity])


def _structures(
    found: Mapping[str, Mapping[str, str]], places: Mapping[str, StructureLibrary]
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an archive of known structures.

    Args:
        found: The sequences of chains, by entry and name.
        places: The library of each entry.
    """
    rows = b""
    index = ""
    for entry, sequences in found.items():
        try:
            deposition = places[entry].read(entry)
        except (InputError, MissingError) as error:
            logger.warning("%s It is left out of the templates.", error)
            continue
        dated = replace(deposition, release_date=deposition.release_date or UNDATED)
        yield f"{entry}.cif", deposition_mmcif(dated, entry).encode()
        for name, sequence in sequences.items():
            row = f">{name}\n{sequence}\n\0".encode()
            index += f"{name}\t{len(rows)}\t{len(row)}\n"
            rows += row
    yield "pdb70_a3m.ffdata", rows
    yield "pdb70_a3m.ffindex", index.encode()

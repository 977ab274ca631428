"""The files that ColabFold's server sends for a ticket, made by searching local databases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from foldry.errors import InputError, MissingError
from foldry.formats.a3m import to_a3m
from foldry.formats.m8 import M8Record, m8_row
from foldry.query import Alignment
from foldry.search import recipes
from foldry.search.colabfold import ColabFold, ColabFoldSettings, Extras
from foldry.search.databases import Database
from foldry.search.engine import Engine, Targets, TemplateEngine
from foldry.search.hits import AlignedHit
from foldry.search.mmseqs import MAX_E_VALUE
from foldry.search.structures import StructureLibrary
from foldry.search.template_input import template_input
from foldry.store.files import make_folder, new_file, read_bytes
from foldry.store.hashes import content_key

CHAIN: Final = re.compile(r"[A-Za-z0-9]{4}_[A-Za-z0-9]+")
"""Chains as clients know them: an entry of the PDB and the name of the chain."""
_UNIREF: Final = "uniref"
_ENVIRONMENT: Final = "bfd.mgnify30.metaeuk30.smag30"
_TEMPLATES: Final = "pdb70.m8"
_TAXONOMY: Final = "uniref_tax.tsv"
_PAIRS: Final = "pair.a3m"

Files = Iterator[tuple[str, bytes | Path]]
"""The names of files, and their content or where it is."""


@dataclass(frozen=True)
class Ticket:
    """What a client asks for.

    Attributes:
        names: The names of the sequences, which begin their results.
        sequences: The sequences.
        words: The words of the mode, sorted.
        is_paired: Whether rows of the sequences are paired by species.
    """

    names: tuple[str, ...]
    sequences: tuple[str, ...]
    words: tuple[str, ...]
    is_paired: bool


class TicketSearch(Protocol):
    """The search for a ticket."""

    @property
    def ticket(self) -> Ticket:
        """The ticket."""
        ...

    @property
    def identity(self) -> str:
        """What the files depend on besides the ticket."""
        ...

    def files(self, folder: Path) -> Files:
        """Yield the files that are sent, which are made in an empty folder.

        Raises:
            InputError: A database is damaged or changes while it is searched.
            MissingError: A database is missing.
            OutsideError: A program failed.
            DiskFullError: No space is left.
        """
        ...


def search_of(
    ticket: Ticket,
    databases: Sequence[Database],
    libraries: tuple[StructureLibrary, ...],
    num_threads: int,
) -> TicketSearch:
    """Return the search for a ticket.

    Raises:
        InputError: The databases do not have what the mode asks for.
        MissingError: No database is registered, or the program that searches it is missing.
    """
    if ticket.is_paired or "notemplates" in ticket.words:
        libraries = ()
    if steps := recipes.colabfold(databases).steps:
        by_name = {each.name: each for each in databases}
        chosen = tuple(by_name[name] for name in steps[0].databases)
        return _Clustered(ticket, chosen, libraries, num_threads)
    chosen = tuple(filter(recipes.has_homologues, databases))
    if not chosen:
        what = "No FASTA file and no clustered MMseqs2 database is registered to be searched"
        raise MissingError(what, "register one", code="no_database")
    for word in ("m8output", "taxonomy"):
        if word in ticket.words:
            what = f"asks for {word}, but no clustered MMseqs2 database is registered"
            raise InputError(what, "leave it out", where="The ticket")
    return _Sequences(ticket, chosen, libraries, num_threads)


@dataclass(frozen=True)
class _Clustered:
    """ColabFold's search, with the same files as `colabfold_search` writes.

    Attributes:
        ticket: The ticket.
        databases: A clustered MMseqs2 database, then the environmental one, if there is one.
        libraries: Libraries of structures, in which templates are found.
        num_threads: Number of threads.
    """

    ticket: Ticket
    databases: tuple[Database, ...]
    libraries: tuple[StructureLibrary, ...]
    num_threads: int

    def __post_init__(self) -> None:
        if "taxonomy" in self.ticket.words and not self.databases[0].has_taxonomy:
            what = f"asks for taxonomy, which {self.databases[0].name} does not have"
            raise InputError(what, "leave it out", where="The ticket")

    @cached_property
    def engine(self) -> ColabFold | None:
        """The engine; None if no database can pair rows."""
        words = self.ticket.words
        chosen = self.databases if "env" in words else self.databases[:1]
        if self.ticket.is_paired:
            chosen = tuple(each for each in chosen if each.has_taxonomy)
        strategy = int("paircomplete" in words)
        settings = ColabFoldSettings(filter="nofilter" not in words, pairing_strategy=strategy)
        return ColabFold(chosen, settings, self.num_threads) if chosen else None

    @property
    def identity(self) -> str:
        """What the files depend on; see `TicketSearch`."""
        engine = self.engine and self.engine.identity
        return content_key([engine, [each.version for each in self.libraries]])

    def files(self, folder: Path) -> Files:
        """Yield the files that are sent; see `TicketSearch`."""
        names, sequences, words = self.ticket.names, self.ticket.sequences, self.ticket.words
        if self.ticket.is_paired:
            pairs = self.engine.write_pairs(sequences, folder) if self.engine else []
            found = [_entries(names, each) for each in pairs] or [_alone(self.ticket)]
            yield _PAIRS, _written(folder / _PAIRS, (each for part in found for each in part))
            yield "pair.sh", _record(self.ticket, self.engine.databases if self.engine else None)
            return
        assert self.engine is not None  # only pairs need a taxonomy
        is_table, has_taxonomy = "m8output" in words, "taxonomy" in words
        structures = tuple(each.fasta for each in self.libraries)
        extras = Extras(structures, table=is_table, taxonomy=has_taxonomy)
        work = folder / "work"
        make_folder(work)
        written = self.engine.write(sequences, work, extras)
        suffix, entries = (".m8", _lines) if is_table else (".a3m", _entries)
        uniref, *environment = (entries(names, each) for each in written.rows)
        yield f"{_UNIREF}{suffix}", _written(folder / _UNIREF, uniref)
        if has_taxonomy:
            taxa = {
                line
                for file in written.taxonomy
                for line in read_bytes(file).splitlines(keepends=True)
            }
            yield _TAXONOMY, b"".join(sorted(taxa))
        if "notemplates" not in words:
            templates = _lines(names, written.templates, CHAIN) if structures else ()
            yield _TEMPLATES, _written(folder / _TEMPLATES, templates)
        if "env" in words:
            rows = environment[0] if environment else () if is_table else _alone(self.ticket)
            yield f"{_ENVIRONMENT}{suffix}", _written(folder / _ENVIRONMENT, rows)
        yield "msa.sh", _record(self.ticket, self.engine.databases)


@dataclass(frozen=True)
class _Sequences:
    """HMMER's search of FASTA files, whose rows all are in the first alignment of a ticket.

    Attributes:
        ticket: The ticket.
        databases: The FASTA files.
        libraries: Libraries of structures, in which templates are found.
        num_threads: Number of threads.
    """

    ticket: Ticket
    databases: tuple[Database, ...]
    libraries: tuple[StructureLibrary, ...]
    num_threads: int

    @cached_property
    def engines(self) -> list[Engine]:
        """The engine of each FASTA file."""
        from foldry.search.engines import engine_of  # noqa: PLC0415  (most commands need none)

        by_name = {each.name: each for each in self.databases}
        steps = recipes.small(self.databases).steps
        return [engine_of(each, by_name, self.num_threads) for each in steps]

    @cached_property
    def template_engine(self) -> TemplateEngine | None:
        """The engine of all libraries; None if there are none."""
        from foldry.search.hmmsearch import HmmSearch, HmmSearchSettings  # noqa: PLC0415

        targets = tuple(Targets(each.fasta, _TEMPLATES, each.version) for each in self.libraries)
        most = MAX_E_VALUE
        settings = HmmSearchSettings(E=most, domE=most, incE=most, incdomE=most)
        return HmmSearch(targets, settings, self.num_threads) if targets else None

    @property
    def identity(self) -> str:
        """What the files depend on; see `TicketSearch`."""
        if self.ticket.is_paired:
            return content_key([])
        templates = self.template_engine and self.template_engine.identity
        return content_key([templates, *(each.identity for each in self.engines)])

    def files(self, folder: Path) -> Files:
        """Yield the files that are sent; see `TicketSearch`."""
        names, sequences, words = self.ticket.names, self.ticket.sequences, self.ticket.words
        if self.ticket.is_paired:
            yield _PAIRS, _written(folder / _PAIRS, _alone(self.ticket))
            yield "pair.sh", _record(self.ticket, None)
            return
        parts = zip(*(each.query(sequences) for each in self.engines), strict=True)
        found = [Alignment.joined(each) for each in parts]
        texts = (to_a3m(each).encode() for each in found)
        rows = map(_entry, names, texts)
        yield f"{_UNIREF}.a3m", _written(folder / _UNIREF, rows)
        if "notemplates" not in words:
            yield _TEMPLATES, b"".join(self._templates(found))
        if "env" in words:
            yield f"{_ENVIRONMENT}.a3m", _written(folder / _ENVIRONMENT, _alone(self.ticket))
        yield "msa.sh", _record(self.ticket, self.databases)

    def _templates(self, found: Sequence[Alignment]) -> Iterator[bytes]:
        """Yield the lines of the known structures that fit alignments."""
        if self.template_engine is None:
            return
        hits = self.template_engine.hits(list(map(template_input, found)))
        for name, rows, known in zip(self.ticket.names, found, hits, strict=True):
            for hit in known:
                if CHAIN.fullmatch(hit.name):
                    yield f"{m8_row(_record_of(name, rows.query, hit))}\n".encode()


def _record_of(name: str, sequence: str, hit: AlignedHit) -> M8Record:
    """Return a hit of a sequence as a record of a table."""
    ours, theirs = (
        np.frombuffer(letters.encode(), np.uint8)[column]
        for letters, column in zip((sequence, hit.sequence), hit.pairs.T, strict=True)
    )
    pairs = hit.pairs + np.array([0, hit.begin])
    begin, end = pairs[0, 1], pairs[-1, 1] + 1
    word, e_value = name.partition(" ")[0], hit.e_value or 0.0
    return M8Record(word, hit.name, float((ours == theirs).mean()), pairs, begin, end, e_value)


def _written(path: Path, parts: Iterable[bytes]) -> Path:
    """Write the parts of a file, and return it."""
    with new_file(path) as file:
        file.writelines(parts)
    return path


def _alone(ticket: Ticket) -> Iterator[bytes]:
    """Yield entries that have the sequences of a ticket alone."""
    for name, sequence in zip(ticket.names, ticket.sequences, strict=True):
        yield _entry(name, f">{name}\n{sequence}\n".encode())


def _entries(names: Sequence[str], files: Sequence[Path]) -> Iterator[bytes]:
    """Yield the a3m texts of files as entries of an MMseqs2 database."""
    return (_entry(name, read_bytes(file)) for name, file in zip(names, files, strict=True))


def _entry(name: str, text: bytes) -> bytes:
    """Return an a3m text with another name of its first row, and the NUL that ends an entry."""
    return b">%b\n%b\0" % (name.encode(), text.partition(b"\n")[2])


def _lines(
    names: Sequence[str], files: Sequence[Path], targets: re.Pattern[str] | None = None
) -> Iterator[bytes]:
    """Yield the lines of tables with other names of queries, those of some targets alone."""
    for name, file in zip(names, files, strict=True):
        for line in read_bytes(file).splitlines(keepends=True):
            _, target, rest = line.split(b"\t", 2)
            if targets is None or targets.fullmatch(target.decode(errors="replace")):
                yield b"\t".join((name.partition(" ")[0].encode(), target, rest))


def _record(ticket: Ticket, databases: Sequence[Database] | None) -> bytes:
    """Return the text that says what was searched, in place of the server's script."""
    lines = [f"mode {'-'.join(ticket.words)}"]
    lines += [f"{each.name} ({each.kind}), version {each.version}" for each in databases or ()]
    if databases is None:
        lines += ["no rows are paired: no database with a taxonomy is registered"]
    return "".join(f"# {line}\n" for line in ("Searched by Foldry", *lines)).encode()

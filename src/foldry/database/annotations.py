"""Annotations of proteins: facts from UniProt, domains, residues, substitutions, collections.

Facts become columns of the entries with the accession. Domains, residues and substitutions are kept
by subject: an accession, or the id of an entry without one. Importing a file twice changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from foldry.database import alphamissense, ids
from foldry.database.annotation_files import (
    Annotated,
    Outcome,
    Row,
    batches,
    done,
    kind_of,
    rows,
)
from foldry.database.candidate import fact_columns
from foldry.database.collections import import_collections
from foldry.database.connection import next_state
from foldry.database.database import Database
from foldry.database.describe import entry_json
from foldry.database.entry import Entry, Facts
from foldry.database.publish import log_change
from foldry.database.read import BATCH, load
from foldry.database.schema import (
    chains,
    entries,
    regions,
    substitutions,
)
from foldry.database.stretch import is_related, place_in
from foldry.database.text_index import index_text
from foldry.database.uniprot import Protein, read_flat_file, read_headers
from foldry.errors import InputError, quoted
from foldry.formats.model_record import ModelChain, Reference
from foldry.store.hashes import Content

_MAX_TEXT: Final = 10_000
_OTHER_SEQUENCE: Final = "check the accession of the entry"
_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False, kw_only=True)
class Annotation(Content):
    """What is known about some residues of a protein.

    Attributes:
        subject: UniProt accession, perhaps with an isoform, or the id of an entry.
        type: Kind, e.g. `DOMAIN`, `BINDING` or `MUTAGEN`.
        start, end: First and last residue, counted from 1.
        value, unit: A number and its unit, or None and "".
        description: Text.
        source, source_url: Where it comes from.
        evidence: Evidence, e.g. a code of ECO.
    """

    subject: str
    type: str
    start: int
    end: int
    value: float | None = None
    unit: str = ""
    description: str = ""
    source: str = ""
    source_url: str = ""
    evidence: str = ""


def annotate(database: Database, path: Path) -> Iterator[Outcome]:
    """Import a file of annotations; yield an error for each bad record, and last what was done.

    Args:
        database: The database.
        path: A flat file or FASTA file of UniProt, a table of domains (`id`, `start`, `end`), of
            residues (`id`, `position`, `letter`), of AlphaMissense or of collections
            (`collection`, `id`), packed or not.

    Raises:
        InputError: The file cannot be read, or is of another kind.
    """
    kind = kind_of(path)
    writers: dict[str, Callable[[], Iterator[Outcome]]] = {
        "uniprot": lambda: _facts(database, read_flat_file(path)),
        "fasta": lambda: _facts(database, read_headers(path)),
        "domains": lambda: _regions(database, path),
        "residues": lambda: _regions(database, path),
        "alphamissense": lambda: _substitutions(database, path),
        "collections": lambda: import_collections(database, path),
    }
    new = same = unknown = 0
    for each in writers[kind]():
        if isinstance(each, InputError):
            yield each
        else:
            new, same = new + each.num_new, same + each.num_same
            unknown += each.num_unknown
    yield Annotated(path, kind, new, same, unknown)


# Facts


def _facts(database: Database, found: Iterable[Protein | InputError]) -> Iterator[Outcome]:
    for batch in batches(found):
        yield from (each for each in batch if isinstance(each, InputError))
        yield from _write_facts(database, [each for each in batch if isinstance(each, Protein)])


def _write_facts(database: Database, proteins: Sequence[Protein]) -> Iterator[Outcome]:
    """Write the facts of a batch, in one transaction for every 500 entries."""
    by_name = {name: each for each in reversed(proteins) for name in each.accessions}
    bases = {ids.accession(name).base for name in by_name}
    query = sa.select(entries.c.key).where(entries.c.accession.in_(bases))
    with database.reading() as connection:
        keys = connection.scalars(query).all()
    known, changed, refused = set[str](), set[str](), set[str]()
    for some in batches(keys):
        new: list[tuple[Entry, dict[str, Any], tuple[ModelChain, ...]]] = []
        wrong: list[InputError] = []
        with database.writing() as connection:  # others may add facts to the same entries
            for entry in load(connection, some):
                base = ids.accession(entry.accession).base
                protein = by_name.get(entry.accession) or by_name.get(base)
                if protein is None:
                    continue
                if not _is_of(entry, protein):
                    what = f"begins a record of another sequence than that of {entry.entry_id}"
                    wrong.append(InputError(what, _OTHER_SEQUENCE, where=protein.where))
                    refused.add(protein.where)
                    continue
                known.add(protein.where)
                facts, placed = _merged(entry.facts, protein.facts), _placed(entry, protein)
                if (facts, placed) != (entry.facts, entry.chains):
                    try:
                        new.append((entry, fact_columns(facts), placed))
                        changed.add(protein.where)
                    except InputError as error:
                        wrong.append(InputError(error.what, error.advice, where=protein.where))
            if new:
                _update(connection, new)
        yield from wrong
    yield done(len(changed), len(known - changed), len(proteins) - len(known | refused))


def _is_of(entry: Entry, protein: Protein) -> bool:
    """Return whether a protein may be that of an entry, by its canonical sequence."""
    if not protein.sequence or ids.accession(entry.accession).isoform:
        return True
    return any(is_related(chain.sequence, protein.sequence) for chain in entry.chains)


def _placed(entry: Entry, protein: Protein) -> tuple[ModelChain, ...]:
    """Return the chains of an entry with their place in a protein's sequence, if it is certain."""
    named = ids.accession(entry.accession)
    if not protein.sequence or named.isoform or len(entry.chains) > 1:
        return entry.chains
    [chain] = entry.chains
    start = place_in(chain.sequence, protein.sequence)
    if start is None:
        return entry.chains
    end = start + len(chain.sequence) - 1
    known = chain.reference or Reference(named.base)
    return (replace(chain, reference=replace(known, start=start, end=end)),)


def _update(
    connection: sa.Connection,
    new: Sequence[tuple[Entry, dict[str, Any], tuple[ModelChain, ...]]],
) -> None:
    state = next_state(connection)
    for entry, columns, placed in new:
        connection.execute(entries.update().where(entries.c.key == entry.key).values(columns))
        for place, chain in enumerate(placed):
            if chain.reference and chain != entry.chains[place]:
                row = (chains.c.entries == entry.key) & (chains.c.place == place)
                values = {
                    "reference": asdict(chain.reference),
                    "accession": chain.reference.accession,
                }
                connection.execute(chains.update().where(row).values(values))
        log_change(connection, state, "annotated", entry.entry_id)
    index_text(connection, [entry.key for entry, *_ in new])


def _merged(old: Facts, new: Facts) -> Facts:
    """Return the facts with those that the new ones state; FASTA headers state few."""
    stated = {each.name: getattr(new, each.name) for each in fields(Facts)}
    return replace(old, **{name: v for name, v in stated.items() if v not in ("", (), None)})


# Regions and residues


@dataclass(frozen=True)
class _Numbered:
    """A sequence, and the number of its first residue."""

    sequence: str
    first: int

    def letter(self, number: int) -> str:
        place = number - self.first
        return self.sequence[place] if 0 <= place < len(self.sequence) else ""


class _Subjects:
    """The subjects that a file names, and their sequences; the latest ones are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[str, tuple[_Numbered, ...]]] = {}

    def find(self, name: str) -> tuple[str, tuple[_Numbered, ...]]:
        """Return the subject that a name stands for, and its sequences; none if it is unknown.

        Raises:
            InputError: Several entries have the name.
        """
        if name not in self._known:
            if len(self._known) > BATCH:
                self._known.clear()
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> tuple[str, tuple[_Numbered, ...]]:
        try:
            named = ids.accession(name)
        except InputError:
            found = self._database.find(name)
            if not found:
                return name, ()
            if found[1:]:
                what = f"is about {quoted(name)}, which {len(found)} entries are called"
                raise InputError(what, "give the id of one") from None
            if found[0].accession and not found[0].is_complex:
                return self._find(found[0].accession)
            every = {_Numbered(chain.sequence, 1) for chain in found[0].chains}
            return found[0].entry_id, tuple(every)
        numbered: dict[_Numbered, None] = {}
        for entry in self._database.find(str(named)):
            for chain in entry.chains:
                at = chain.reference
                name_of_chain = (at.isoform or at.accession) if at else entry.accession
                if name_of_chain == str(named):
                    numbered[_Numbered(chain.sequence, at.start if at else 1)] = None
        return str(named), tuple(numbered)


def _regions(database: Database, path: Path) -> Iterator[Outcome]:
    """Import a table of domains or residues."""
    subjects = _Subjects(database)
    for batch in batches(rows(path)):
        found = [_annotation(each, subjects) if isinstance(each, Row) else each for each in batch]
        yield from (each for each in found if isinstance(each, InputError))
        yield _write(database, [each for each in found if isinstance(each, Annotation)])


def _annotation(row: Row, subjects: _Subjects) -> Annotation | InputError:
    """Return the annotation in a row; an error if the sequence does not have its residues."""
    cells = row.cells
    try:
        start, end = _span(row)
        subject, sequences = subjects.find(cells["id"])
    except InputError as error:
        return row.error(error.what, error.advice)
    if not sequences:
        return row.error(f"is about {quoted(cells['id'])}, which is not in the database")
    letter = cells.get("letter", "").upper()
    if not any(each.letter(start) and each.letter(end) for each in sequences):
        return row.error(f"names residues that {subject} does not have")
    if letter and not any(each.letter(start) == letter for each in sequences):
        own = next(filter(None, (each.letter(start) for each in sequences)))
        return row.error(f"has {quoted(letter)} where {subject} has {own}")
    value = None
    if "value" in cells:
        try:
            value = float(cells["value"])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            return row.error(f"has the value {quoted(cells['value'])}, which is not a number")
    names = ("unit", "description", "source", "source_url", "evidence")
    return Annotation(
        subject=subject,
        type=cells.get("type", "DOMAIN" if "position" not in cells else "SITE")[:100],
        start=start,
        end=end,
        value=value,
        **{name: cells.get(name, "")[:_MAX_TEXT] for name in names},
    )


def _span(row: Row) -> tuple[int, int]:
    """Return the first and the last residue of a row.

    Raises:
        InputError: The row has no valid ones, or no id.
    """
    if "id" not in row.cells:
        raise row.error("has no id")
    found = [_number(row.cells, "position", name) for name in ("start", "end")]
    start, end = (each or 0 for each in found)
    if None in found:
        raise row.error("has no valid number of a residue")
    if end < start:
        raise row.error(f"ends at residue {end}, before its start {start}")
    return start, end


def _number(cells: dict[str, str], *names: str) -> int | None:
    text = next((cells[name] for name in names if name in cells), "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 8 else None


def _write(database: Database, found: Sequence[Annotation]) -> Annotated:
    if not found:
        return done()
    new = {each.key: each for each in found}
    with database.writing() as connection:
        query = sa.select(regions.c.identity).where(regions.c.identity.in_(new))
        for identity in connection.scalars(query).all():
            del new[identity]
        if new:
            rows_ = [{"identity": key, **asdict(each)} for key, each in new.items()]
            connection.execute(regions.insert(), rows_)
            _count(connection, {each.subject for each in new.values()})
    return done(len(new), len(found) - len(new))


def _count(connection: sa.Connection, subjects: Iterable[str]) -> None:
    """Count a change of the annotations of some subjects."""
    state = next_state(connection)
    for subject in sorted(subjects):
        log_change(connection, state, "annotated", subject)


def annotations_of(database: Database, entry: Entry, type: str = "") -> list[Annotation]:
    """Return the annotations of an entry, by residue.

    Args:
        database: The database.
        entry: The entry; for a complex, those of its chains are included.
        type: Kind of annotation; "" for all.
    """
    query = regions.select().where(regions.c.subject.in_(_subjects_of(entry)))
    if type:
        query = query.where(regions.c.type == type)
    columns = regions.c
    query = query.order_by(columns.subject, columns.start, columns.end, columns.identity)
    names = [each.name for each in fields(Annotation)]
    with database.reading() as connection:
        found = connection.execute(query).all()
    return [Annotation(**{name: getattr(row, name) for name in names}) for row in found]


def described(database: Database, entry: Entry) -> dict[str, Any]:
    """Return what is known about an entry as a JSON object, with its annotations."""
    notes = [asdict(each) for each in annotations_of(database, entry)]
    return entry_json(entry) | ({"annotations": notes} if notes else {})


def _subjects_of(entry: Entry) -> list[str]:
    references = [chain.reference for chain in entry.chains if chain.reference]
    named = [each.isoform or each.accession for each in references]
    return [each for each in dict.fromkeys([entry.accession, entry.entry_id, *named]) if each]


# Substitutions


def _substitutions(database: Database, path: Path) -> Iterator[Outcome]:
    """Import a table of AlphaMissense: of one protein, named by the file, or of many."""
    subjects = _Subjects(database)
    of_file = _protein_of(path)

    def name(row: Row | InputError) -> str:
        if isinstance(row, InputError):
            return ""
        return row.cells.get("uniprot_id", of_file)

    for protein, group in groupby(rows(path), key=name):
        if not protein:
            for row in group:
                advice = "name the file AF-ACCESSION-F1-aa-substitutions.csv"
                yield row if isinstance(row, InputError) else row.error("names no protein", advice)
            continue
        try:
            subject, sequences = subjects.find(protein)
        except InputError as error:
            for row in group:
                yield row.error(error.what, error.advice) if isinstance(row, Row) else row
            continue
        whole = next((each.sequence for each in sequences if each.first == 1), None)
        if whole is None:
            for _ in group:
                pass
            yield done(unknown=1)
            continue
        table = alphamissense.no_substitutions(whole)
        for row in group:
            if isinstance(row, Row):
                cells = [row.cells.get(f"{each}", "") for each in _VARIANT]
                try:
                    alphamissense.put(table, *cells)
                except ValueError as error:
                    yield row.error(f"with {quoted(cells[0])} of {subject} {error}")
        yield _write_substitutions(database, subject, table)


_VARIANT: Final = ("protein_variant", "am_pathogenicity", "am_class")


def _protein_of(path: Path) -> str:
    """Return the accession in a file's name, e.g. of `AF-P00520-F1-aa-substitutions.csv`, or ""."""
    named = ids.model_parts(path.name.partition("-aa-substitutions")[0])
    return str(named[0]) if named else ""


def _write_substitutions(
    database: Database, subject: str, table: alphamissense.Substitutions
) -> Annotated:
    if not (table.classes < len(alphamissense.CLASSES)).any():
        return done()
    row: dict[str, Any] = {"sequence": table.sequence, "scores": alphamissense.pack(table)}
    with database.writing() as connection:
        query = substitutions.select().where(substitutions.c.subject == subject)
        old = connection.execute(query).one_or_none()
        if old is not None and old.sequence == table.sequence:
            kept = alphamissense.unpack(old.sequence, bytes(old.scores))
            row["scores"] = alphamissense.pack(alphamissense.merged(kept, table))
            if row["scores"] == bytes(old.scores):
                return done(same=1)
        connection.execute(substitutions.delete().where(substitutions.c.subject == subject))
        connection.execute(substitutions.insert().values(subject=subject, **row))
        _count(connection, [subject])
    return done(1)


def substitutions_csv(database: Database, entry: Entry) -> str | None:
    """Return the substitutions of an entry as AlphaFold DB's CSV file; None if there are none.

    Args:
        database: The database.
        entry: An entry of one chain.
    """
    if entry.is_complex:
        return None
    query = substitutions.select().where(substitutions.c.subject.in_(_subjects_of(entry)))
    with database.reading() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return alphamissense.to_csv(alphamissense.unpack(row.sequence, bytes(row.scores)))

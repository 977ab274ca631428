"""`foldry db list`, `show`, `export` and `search`: what a database holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from foldry.cli.db_options import (
    AsJson,
    Id,
    Place,
    open_database,
    show_json,
    shown_number,
    takes_filters,
)
from foldry.cli.messages import sentence
from foldry.cli.options import out_option, valued
from foldry.cli.show import progress_bar, show_line, show_table
from foldry.errors import SOME_FAILED, InputError, counted
from foldry.measures import MEASURES

if TYPE_CHECKING:
    from foldry.database.annotations import Annotation
    from foldry.database.database import Database
    from foldry.database.entry import Entry
    from foldry.database.filters import Filter
    from foldry.database.similar import Similar, SimilarHit, Wanted
    from foldry.database.text_search import TextQuery

_COLUMNS = ("id", "version", "name", "organism", "residues", "pLDDT", "tool", "tags")
_LEAST = ("tags", "tool", "version", "coverage", "organism", "pLDDT", "residues")
"""Columns that a narrow terminal does not show, the least important first."""
_PAGE = 100
_MIN_TM = 0.2
"""Related structures have a TM-score of 0.5, random ones one of 0.17 (Zhang & Skolnick 2004)."""
MaxEValue = Annotated[
    float | None,
    valued("N", "With --sequence, --structure, --like: largest E-value. Default: 10.", min=0.0),
]
MinTm = Annotated[
    float | None,
    valued("N", f"For similar structures: smallest TM-score. Default: {_MIN_TM}.", min=0.0, max=1),
]


@takes_filters
def list_(
    place: Place,
    chosen: Any,
    limit: Annotated[
        int | None, valued("N", f"Maximum number of entries. Default: {_PAGE}.", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the entries in the order of their publication.

    With --json, all of them are listed unless --limit is given.
    Example: foldry db list lab.db --organism "Homo sapiens" --min-plddt 70
    """
    from foldry.database.describe import entry_json

    database = open_database(place)
    every = database.entries(chosen=chosen)
    if as_json:
        for entry in islice(every, limit):
            show_json(entry_json(entry))
        return
    limit = limit or _PAGE
    found = list(islice(every, limit + 1))
    _show_entries(found[:limit])
    if len(found) > limit:
        show_line(f"There are more than {limit}: narrow the selection, or raise --limit.")
    if not found:
        show_line(shown_number(0))
        _show_unknown(database, chosen)


def _show_unknown(database: Database, chosen: Filter) -> None:
    """Print which names in a filter no entry has."""
    from foldry.database.filters import unknown_names

    with database.reading() as connection:
        for error in unknown_names(connection, chosen):
            show_line(sentence(error), wrap=False, err=True)


def _show_entries(found: Sequence[Entry], more: Sequence[tuple[str, Sequence[str]]] = ()) -> None:
    """Print a table of entries, with further columns: their titles and cells."""
    if not found:
        return
    rows = [_cells(each) for each in found]
    for _, cells in more:
        rows = [(*row, cell) for row, cell in zip(rows, cells, strict=True)]
    show_table([*_COLUMNS, *(title for title, _ in more)], rows, _LEAST)


def _cells(entry: Entry) -> tuple[str, ...]:
    state = "withdrawn" if entry.withdrawn else str(entry.latest.number)
    facts, plddt = entry.facts, f"{entry.latest.mean_plddt:.1f}"
    name = facts.gene or entry.name
    length = f"{entry.num_residues:,}"
    return (
        *(entry.entry_id, state, name, facts.organism, length, plddt),
        *(entry.tool, ", ".join(entry.tags)),
    )


def show(
    place: Place,
    name: Id,
    as_json: AsJson = False,
) -> None:
    """Show what is known about an entry and its versions.

    -vN after the ID shows one version. An accession may stand for several entries.
    Example: foldry db show lab.db P00520
    """
    database = open_database(place)
    from foldry.database.annotations import annotations_of, described
    from foldry.database.collections import collections_of

    for entry in _named(database, name):
        groups = collections_of(database, entry)
        if as_json:
            of_groups = {"collections": groups} if groups else {}
            show_json(described(database, entry) | of_groups)
            continue
        for line in _described(entry, groups):
            show_line(line, wrap=False)
        for note in annotations_of(database, entry):
            show_line(f"  {_noted(entry, note)}", wrap=False)


def _named(database: Database, name: str) -> list[Entry]:
    """Return the entries that a name stands for, with only those versions that it names.

    Raises:
        InputError: There are none.
    """
    from foldry.database.ids import named_version

    every = database.find(name) or [database.entry(name)]
    found = []
    for entry in every:
        number = named_version(name, entry.entry_id, entry.name)
        some = tuple(each for each in entry.versions if number in (None, each.number))
        if some:
            found.append(replace(entry, versions=some))
    if not found:
        database.version(every[0], named_version(name))
    return found


def _noted(entry: Entry, note: Annotation) -> str:
    """Return an annotation in words; a single residue with its letter, if the entry has one chain.

    An annotation of a fragment counts in the sequence of the whole protein.
    """
    residues = f"{note.start}–{note.end}"
    if note.start == note.end:
        chain = entry.chains[0]
        place = note.start - (chain.reference.start if chain.reference else 1)
        letter = chain.sequence[place : place + 1] if not entry.chains[1:] and place >= 0 else ""
        residues = f"{letter}{note.start}"
    value = "" if note.value is None else f"{note.value:g} {note.unit}".rstrip()
    source = f"({note.source})" if note.source else ""
    parts = note.type, residues, value, note.description, source
    return " ".join(filter(None, parts))


def _scored(key: str, value: float) -> str:
    """Return a score with its name."""
    name = MEASURES[key].name if key in MEASURES else key
    return f"{name} {value:.2f}"


def _described(entry: Entry, groups: Sequence[str]) -> list[str]:
    facts = entry.facts
    organism = f"{facts.organism} ({facts.tax_id})" if facts.tax_id else facts.organism
    known = {
        "name": entry.name,
        "accession": entry.accession,
        "protein": facts.description if facts.description != entry.name else "",
        "gene": ", ".join(filter(None, (facts.gene, *facts.gene_synonyms))),
        "organism": organism,
        "proteome": facts.proteome,
        "EC": ", ".join(facts.ec),
        "GO": ", ".join(facts.go),
        "function": " ".join(facts.functions),
        "keywords": ", ".join(facts.keywords),
        "collections": ", ".join(groups),
        "tags": ", ".join(entry.tags),
        "predicted by": f"{entry.tool}, {entry.provider}",
        "withdrawn": f"{entry.withdrawn} ({entry.withdrawn_on})" if entry.withdrawn else "",
    }
    lines = [entry.entry_id, *(f"  {name}: {text}" for name, text in known.items() if text)]
    for chain in entry.chains:
        names = ", ".join(chain.ids)
        lines.append(f"  chain {names}: {counted(len(chain.sequence), 'residue')}")
    for version in entry.versions:
        about = (
            version.model_name,
            version.created,
            f"pLDDT {version.mean_plddt:.1f}",
            *(_scored(key, value) for key, value in version.scores.items()),
            counted(len(version.digests), "model") if version.digests[1:] else "",
            f"published {version.published}",
        )
        lines.append(f"  v{version.number}: {', '.join(filter(None, about))}")
    return lines


@takes_filters
def export(
    place: Place,
    out: Annotated[Path, out_option("PATH", "Folder to write; with --format zip, the file.")],
    chosen: Any,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID…", show_default=False, help="Entries, perhaps with -vN."),
    ] = None,
    query: Annotated[str | None, valued("WORDS", "Entries that a search finds.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All entries.")] = False,
    layout: Annotated[
        str,
        valued("NAME", "files, zip, afdb (tars as AlphaFold DB's) or kit.", "--format"),
    ] = "files",
    kinds: Annotated[
        str | None,
        valued(
            "LIST",
            "Of cif, bcif, pdb, confidence, pae, pae_png, msa, substitutions, original.",
        ),
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="All versions, not only the latest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write entries as files for other programs and people.

    Choose entries by ID, by --query or by --all; options such as --organism choose among them.
    kit is the layout of PDBeurope's AFDB-Integration-Kit. Equal entries give equal bytes.
    Example: foldry db export lab.db --all --format afdb -o bulk
    """
    if [bool(names), query is not None, every].count(True) != 1:
        raise InputError("No entries are chosen, or twice", "give ID, --query or --all")
    database = open_database(place)
    from foldry.database.export import export as write
    from foldry.database.selection import select

    some = tuple(kinds.replace(" ", "").split(",")) if kinds else ()
    found = select(database, chosen, names or (), query)
    selection = replace(found, all_versions=all_versions, kinds=some)
    with progress_bar() as progress:
        done = write(database, selection, out, layout, partial(progress, "entries"))
    missing = {kind: done.missing[kind] for kind in some if done.missing[kind]}
    if as_json:
        left_out = [str(each) for each in done.left_out]
        numbers = {"entries": done.num_entries, "files": done.num_files, "left_out": left_out}
        show_json(numbers | {"missing": missing})
    else:
        for kind, number in missing.items():
            show_line(f"{kind}: {counted(number, 'version')} without it", wrap=False, err=True)
        for error in done.left_out:
            show_line(f"left out: {sentence(error)}", wrap=False, err=True)
        entries = shown_number(done.num_entries)
        show_line(f"{entries} in {counted(done.num_files, 'file')}: {out}", wrap=False)
    if done.left_out or not done.num_files:
        is_some = done.num_entries and done.num_files
        raise typer.Exit(SOME_FAILED if is_some else InputError.exit_code)


class _Example(NamedTuple):
    """What the hits of a search are similar to, and how similar they are at least."""

    sequence: str | None
    structure: str | None
    like: str | None
    by_structure: bool
    max_e_value: float | None
    min_tm: float | None

    @property
    def names(self) -> list[str]:
        """The options that were given."""
        values = {"--sequence": self.sequence, "--structure": self.structure, "--like": self.like}
        return [name for name, value in values.items() if value]

    @property
    def is_structure(self) -> bool:
        """Whether structures are compared."""
        return bool(self.structure) or self.by_structure

    def check(self) -> None:
        """Check that no option belongs to another kind of search.

        Raises:
            InputError: One does.
        """
        if self.by_structure and not self.like:
            raise InputError("--by-structure belongs to --like", "give --like ID")
        if self.min_tm is not None and not self.is_structure:
            advice = "give --structure, or --like with --by-structure"
            raise InputError("--min-tm belongs to a search for structures", advice)
        if self.max_e_value is not None and not self.names:
            advice = "give --sequence, --structure or --like"
            raise InputError("--max-evalue belongs to a search by example", advice)


@takes_filters
def search(
    place: Place,
    chosen: Any,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORDS…", show_default=False, help="Words that all occur; word*."),
    ] = None,
    sequence: Annotated[
        str | None, valued("SEQUENCE", "Similar sequences: letters, or a FASTA file.")
    ] = None,
    structure: Annotated[
        str | None, valued("FILE", "Similar structures; FILE:A for chain A of the file.")
    ] = None,
    like: Annotated[str | None, valued("ID", "Entries with sequences similar to this one.")] = None,
    by_structure: Annotated[
        bool, typer.Option("--by-structure", help="With --like: similar structures.")
    ] = False,
    max_evalue: MaxEValue = None,
    min_tm: MinTm = None,
    limit: Annotated[int, valued("N", "Maximum number of results.", min=1)] = 20,
    order: Annotated[
        str,
        valued("NAME", "entry_id, name, organism, length, plddt, created; -plddt reverses."),
    ] = "",
    cursor: Annotated[str, valued("CURSOR", "Where the next page begins.")] = "",
    facets: Annotated[
        bool, typer.Option("--facets", help="Count the results by organism, tool, tag …")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find entries by words, sequence, structure or example.

    Example: foldry db search lab.db kinase --organism "Homo sapiens"
    """
    example = _Example(sequence, structure, like, by_structure, max_evalue, min_tm)
    given = ["WORDS"] * bool(words) + example.names
    if given[1:]:
        raise InputError(f"{' and '.join(given[:2])} exclude each other", "give one of them")
    example.check()
    database = open_database(place)
    if example.names:
        if facets or order or cursor:
            what = "--facets, --order and --cursor belong to a search for words"
            raise InputError(what, "leave them out")
        _show_similar(database, example, chosen, limit, as_json)
        return
    text = " ".join(words or ())
    if facets:
        _show_facets(database, text, chosen, as_json)
        return
    from foldry.database.text_search import TextQuery

    query = TextQuery(text=text, chosen=chosen, order=order, limit=limit, cursor=cursor)
    _show_page(database, query, as_json)


def _show_page(database: Database, query: TextQuery, as_json: bool) -> None:
    from foldry.database.describe import entry_json
    from foldry.database.text_search import search_text

    with database.reading() as connection:
        page = search_text(connection, query)
    found = database.load(page.keys)
    if as_json:
        for entry in found:
            show_json({"state": page.state, "entry": entry_json(entry)})
        if page.cursor:
            show_json({"state": page.state, "cursor": page.cursor})
        return
    _show_entries(found)
    more = f"; the next page: --cursor {page.cursor}" if page.cursor else ""
    show_line(f"{shown_number(len(found))} of state {page.state}{more}", wrap=False)
    if not found:
        _show_unknown(database, query.chosen)


def _show_facets(database: Database, text: str, chosen: Filter, as_json: bool) -> None:
    from foldry.database.text_search import facets

    with database.reading() as connection:
        found = asdict(facets(connection, text, chosen))
    if as_json:
        show_json(found)
        return
    total = found.pop("total")
    rows = [
        (kind, name, f"{number:,}")
        for kind, counts in found.items()
        for name, number in counts.items()
    ]
    show_table(["what", "value", "entries"], rows)
    show_line(shown_number(total))


def _similar(database: Database, wanted: Wanted, example: _Example) -> Similar:
    """Search for what is similar to one of three kinds of queries."""
    from foldry.database import similar

    if example.like:
        entry, by_structure = database.entry(example.like), example.by_structure
        return similar.similar_entries(database, entry, wanted, by_structure=by_structure)
    if example.structure:
        from foldry.inputs.structures import read_named

        return similar.similar_structures(database, read_named(example.structure), wanted)
    letters, name = _read_sequence(example.sequence or "")
    return similar.similar_sequences(database, letters, wanted, name)


def _read_sequence(text: str) -> tuple[str, str]:
    """Return the letters that an argument gives, or the only record of its file, and a name.

    Raises:
        InputError: The file does not exist, is a folder, or does not have one record.
    """
    path = Path(text if len(text) < 256 or "/" in text else "-")  # no name of a file is longer
    if path.is_dir():
        raise InputError("is a folder", "give letters or a FASTA file", where=text)
    if not path.is_file():
        if re.search(r"[/\\]|\.\w{1,6}$", text):
            raise InputError("does not exist", "check its name, or give letters", where=text)
        return text, "The sequence"
    from foldry.formats.fasta import parse_fasta
    from foldry.store.files import read_text

    records = parse_fasta(read_text(path), text)
    if len(records) != 1:
        advice = "give a file with one"
        raise InputError(f"has {counted(len(records), 'record')}", advice, where=text)
    return records[0].sequence, text


def _show_similar(
    database: Database, example: _Example, chosen: Filter, limit: int, as_json: bool
) -> None:
    from foldry.database.describe import entry_json
    from foldry.database.similar import Wanted

    most = Wanted.max_e_value if example.max_e_value is None else example.max_e_value
    found = _similar(database, Wanted(chosen=chosen, limit=limit, max_e_value=most), example)
    least = _MIN_TM if example.min_tm is None else example.min_tm
    hits = [hit for hit in found.hits if hit.tm is None or hit.tm >= least]
    if as_json:
        for hit in hits:
            values = asdict(hit) | {"entry": entry_json(hit.entry), "chain": hit.chain.ids[0]}
            show_json({"state": found.state, **values, "tm": hit.tm})
        return
    _show_entries([hit.entry for hit in hits], _hit_columns(hits, example.is_structure))
    chains = counted(found.num_chains, "chain")
    order = f"TM-score, {least:g} or more" if example.is_structure else f"E-value, {most:g} or less"
    among = f"{shown_number(len(hits))} among {chains} of state {found.state}"
    show_line(f"{among}; by {order}", wrap=False)
    if not hits:
        _show_unknown(database, chosen)


def _hit_columns(hits: Sequence[SimilarHit], has_tm: bool) -> list[tuple[str, list[str]]]:
    """Return the titles and cells of the columns that describe hits."""
    columns = [
        ("identity", [f"{each.identity:.0%}" for each in hits]),
        ("coverage", [f"{each.query_coverage:.0%}" for each in hits]),
        ("E-value", [f"{each.e_value:.1e}" for each in hits]),
    ]
    if has_tm:
        scores = ["" if each.tm is None else f"{each.tm:.2f}" for each in hits]
        columns.append(("TM", scores))
    if any(each.entry.is_complex for each in hits):
        columns.insert(0, ("chain", [each.chain.ids[0] for each in hits]))
    return columns

"""The folder of one query's search: its alignments as files, and a page about their depth.

The page consists of search.html, search.css, search.js and the style of the report. Everything but
the coverage plots can be read without JavaScript.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Final

import numpy as np
from jaxtyping import Bool, Int, UInt8

from foldry.align.weights import row_weights
from foldry.errors import InputError, MissingError, check_type, counted, printable
from foldry.features.msa import encode_letters, new_rows
from foldry.features.pairing import align_complex
from foldry.formats.a3m import to_a3m, to_complex_a3m
from foldry.formats.job import job_json
from foldry.inputs.queries import read_query
from foldry.measures import MEASURES
from foldry.processes import tuning
from foldry.query import GAP_LETTER, Alignment, Chain, Query
from foldry.results.coverage import coverage, evenly_spaced, identities, identity_map
from foldry.results.embedded import script_json
from foldry.results.page import page_html, resource
from foldry.search.msas import msa_files
from foldry.search.result import Found, SearchResult
from foldry.search.search import find_search, unaligned
from foldry.store.files import (
    check_folder,
    make_folder,
    named_path,
    names,
    read_bytes,
    remove,
    write_json,
    write_text,
)
from foldry.store.locks import hold

PAGE: Final = "search.html"
A3M: Final = "a3m"
"""Folder of the alignment of each chain."""
MSAS: Final = "msas"
"""Folder of the alignment of each database, named as AlphaFold's program names them."""
RECORD: Final = ".search.json"
"""The names of the files of the last search, so that the next one can replace them."""

MAX_NEFF_ROWS: Final = 2000
"""Maximum rows for Neff, evenly spaced: its time and memory grow with their square."""
MAX_NEFF_LETTERS: Final = 2**21
"""Maximum rows times residues for Neff."""
MAX_HITS: Final = 100
"""Maximum hits of a chain that the page lists."""
FEW_HOMOLOGUES: Final = 30
"""Fewer make a prediction much less accurate (Jumper 2021, Fig. 5a)."""
LOW_NEFF: Final = 10
MANY_ROWS: Final = 10
"""Number of rows with which a residue is well covered."""
FEW_ROWS: Final = 3
"""Residues with fewer rows are worth a warning, if they are `MIN_STRETCH` in a row."""
MIN_STRETCH: Final = 10
FEW_PAIRED: Final = 10
_MAX_NAMED: Final = 6
"""Maximum chains or stretches that a warning lists."""
_MAX_RECORD: Final = 2**24
"""Maximum size of the record, bytes."""
_MAX_NAME: Final = 60
"""Maximum characters of a hit's name that the page shows."""
_MAX_DESCRIPTION: Final = 200
"""Maximum characters of a hit's description that the page shows."""
_MEASURES: Final = ("depth", "neff", "median_depth", "well_covered", "species", "paired_rows")


@dataclass(frozen=True)
class ChainSummary:
    """The depth of a chain's alignment: measures of `foldry.measures`, under their keys.

    Attributes:
        ids: Names of the copies of the chain.
        residues: Number of its residues.
        depth: Number of different rows, the query included.
        neff: Effective depth of at most `MAX_NEFF_ROWS` rows.
        median_depth: Median of the numbers of rows that cover a residue.
        well_covered: Share of the residues that at least `MANY_ROWS` rows cover.
        sparse: First and last residue, from 1, of each stretch that fewer than `FEW_ROWS` cover.
        paired_rows: Rows that are paired with rows of other chains; None if sequences are equal.
        species: Species of the rows that may be paired; None if they are not paired by species.
    """

    ids: tuple[str, ...]
    residues: int
    depth: int
    neff: float
    median_depth: float
    well_covered: float
    sparse: tuple[tuple[int, int], ...]
    paired_rows: int | None = None
    species: int | None = None


@dataclass(frozen=True, eq=False)
class _Rows:
    """The different rows of a chain's alignments, the query first.

    Attributes:
        headers: One description per row.
        letters: As in `Alignment`.
        search: The number of the search that was the first to find the row; the number of all
            searches if the row came with the query.
    """

    headers: tuple[str, ...]
    letters: UInt8[np.ndarray, "S N"]
    search: Int[np.ndarray, " S"]


# Files


def write_search(result: SearchResult, out: Path, *, msas: bool = False) -> Path:
    """Write the files of a search into the query's folder, and return the folder.

    `NAME.json` is the query with its alignments. Where rows are paired by their number, which JSON
    cannot express, it is `NAME.a3m` as ColabFold writes it. Each file is complete at any time;
    files of an earlier search are replaced or removed.

    Args:
        result: The query with its alignments.
        out: Folder in which each query gets a folder of its name.
        msas: Whether to write the alignments of the databases as AlphaFold's program does, too.

    Raises:
        BusyError: Another process uses the query's folder.
        InputError: The folder cannot be written.
        DiskFullError: No space is left.
    """
    files = _files(result, msas)
    folder = out / result.query.name
    check_folder(folder)
    with hold(folder):
        before = _recorded(folder)
        # Noted before they are written, so that the files of a killed process are known.
        write_json(folder / RECORD, sorted(before | files.keys()))
        for name, text in files.items():
            make_folder((folder / name).parent)
            write_text(folder / name, text)
        for name in before - files.keys():
            _remove(folder, name)
        write_json(folder / RECORD, sorted(files))
    return folder


def _files(result: SearchResult, msas: bool) -> dict[str, str]:
    """Return the texts of the files by their names in the query's folder, the page last."""
    query = result.query
    files = {}
    for chain in query.chains:
        files[f"{A3M}/{chain.ids[0]}.a3m"] = to_a3m(chain.alignment or _alone(chain))
        if chain.paired:
            files[f"{A3M}/{chain.ids[0]}_paired.a3m"] = to_a3m(chain.paired)
    if msas:
        files |= {f"{MSAS}/{name}": text for name, text in msa_files(result).items()}
    # AlphaFold 3 needs a seed.
    with_seed = replace(query, seeds=query.seeds or (0,))
    text = to_complex_a3m(query) if query.paired_by_row else job_json(with_seed)
    return {**files, _query_file(query): text, PAGE: search_html(result)}


def _query_file(query: Query) -> str:
    """Return the name of the file of the query and its alignments."""
    return f"{query.name}.{'a3m' if query.paired_by_row else 'json'}"


def _recorded(folder: Path) -> set[str]:
    """Return the names of the files of the last search; none if they are not known."""
    try:
        recorded = json.loads(read_bytes(folder / RECORD, _MAX_RECORD))
    except (InputError, ValueError, RecursionError):
        recorded = None
    listed = recorded if isinstance(recorded, list) else []
    return {each for each in listed if isinstance(each, str)}


def _remove(folder: Path, name: str) -> None:
    """Remove a file in a folder, and the inner folders that are empty without it."""
    path = folder / name
    if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
        remove(path)
        while (path := path.parent) != folder and not names(path):
            remove(path)


def search_query(
    query: Query | str | Path,
    search: str | Path | None = None,
    *,
    out: str | Path | None = None,
    msas: bool = False,
    num_threads: int | None = None,
) -> Query:
    """Search for the alignments of one query, and return the query with them.

    Chains that have an alignment keep it. What was searched for before is not searched for again.

    Args:
        query: A `Query`, or the path of a FASTA, a3m, Stockholm or JSON file with one query.
        search: `small`, `reduced`, `full`, `colabfold`, the name or the file of a recipe, or a
            folder of FASTA files. None takes what suits the registered databases.
        out: Folder in which the query gets a folder of files, as `write_search` writes them. None
            writes nothing.
        msas: Whether to write the alignments of each database as AlphaFold's program does.
        num_threads: Number of threads; one per core if left out.

    Raises:
        InputError: The query or the recipe is not usable, or a database is damaged.
        MissingError: A database or a program is missing.
        OutsideError: A program failed.
        BusyError: Another process writes the files of this query.
        DiskFullError: No space is left.

    Example:
        >>> import foldry
        >>> found = foldry.search_query("examples/kunitz/1adz.fasta", "examples/database")
        >>> found.chains[0].alignment.num_rows > 10
        True
    """
    check_type(query, (Query, str, Path), "one query", "give a `foldry.Query` or a file")
    asked = query if isinstance(query, Query) else read_query(query)
    name = None if search is None else str(named_path(search))
    chosen = find_search(name, num_threads=num_threads or tuning.num_cores())
    if chosen is None:
        if search == "none" or not unaligned(asked):
            return asked
        raise MissingError("There is no database to search", "register one", code="no_database")
    chosen.check([asked])
    [result] = chosen.run([asked])
    if out is not None:
        write_search(result, named_path(out), msas=msas)
    return result.query


# Depth


@lru_cache(maxsize=1)  # the page, the warnings and a table need it
def summary(result: SearchResult) -> tuple[ChainSummary, ...]:
    """Return the depth of the alignment of each chain of the query.

    Raises:
        InputError: A letter of an alignment is not an amino acid, or the paired rows of the chains
            differ in number.
    """
    summaries = []
    for chain, found in zip(result.query.chains, result.found, strict=True):
        letters = _rows(chain, found).letters
        counts = (letters != GAP_LETTER).sum(axis=0)
        most = min(MAX_NEFF_ROWS, MAX_NEFF_LETTERS // len(counts))
        picked = letters[evenly_spaced(len(letters), most)]
        made = ChainSummary(
            ids=chain.ids,
            residues=len(counts),
            depth=len(letters),
            neff=float(row_weights(encode_letters(picked)).sum()),
            median_depth=float(np.median(counts)),
            well_covered=float((counts >= MANY_ROWS).mean()),
            sparse=tuple(_stretches(counts < FEW_ROWS)),
        )
        summaries.append(made)
    return tuple(_with_pairs(summaries, result.query))


def _rows(chain: Chain, found: Sequence[Found]) -> _Rows:
    """Return the different rows of a chain: those of the searches, then those of the query."""
    alignments = [each.alignment for each in found] + list(chain.alignments)
    seen: set[bytes] = set()
    headers, letters, search = [], [], []
    for number, alignment in enumerate(alignments or [_alone(chain)]):
        new = new_rows(alignment.letters, seen)
        new = new[(alignment.letters[new] != GAP_LETTER).any(axis=1)]
        headers += [alignment.headers[row] for row in new]
        letters.append(alignment.letters[new])
        search.append(np.full(len(new), min(number, len(found))))
    return _Rows(tuple(headers), np.concatenate(letters), np.concatenate(search))


def _alone(chain: Chain) -> Alignment:
    """Return the alignment of a chain without homologues."""
    return Alignment.of([chain.ids[0]], [chain.sequence])


def _stretches(marks: Bool[np.ndarray, " N"]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last residue, from 1, of each run of marks."""
    edges = np.flatnonzero(np.diff(np.pad(marks.astype(int), 1)))
    for start, end in edges.reshape(-1, 2).tolist():
        yield start + 1, end


def _with_pairs(summaries: Sequence[ChainSummary], query: Query) -> Iterator[ChainSummary]:
    """Yield the summaries with the rows that chains of different sequences have in common."""
    chains = [replace(chain, ids=chain.ids[:1]) for chain in query.chains]  # copies add nothing
    differ = np.array([[a.sequence != b.sequence for b in chains] for a in chains])
    if not differ.any():
        yield from summaries
        return
    report = align_complex(replace(query, chains=tuple(chains))).report
    there = np.array([[row is not None for row in each.rows] for each in report.rows])[1:]
    paired = (there & (there @ differ)).sum(axis=0).tolist()
    for number, each in enumerate(summaries):
        species = sum(found.counts[number] > 0 for found in report.species)
        yield replace(
            each,
            paired_rows=paired[number],
            species=None if query.paired_by_row else species,
        )


def warnings(result: SearchResult) -> list[str]:
    """Return what makes a low confidence likely, one sentence each.

    Raises:
        InputError: As for `summary`.

    Example:
        >>> alone = Query("q", (Chain(("A",), "MKTAYIAKQR"),))
        >>> warnings(SearchResult(alone, "none", ((),)))
        ['A: no homologues: expect low confidence.']
    """
    chains = summary(result)
    return [*(each for chain in chains for each in _about_depth(chain)), *_about_pairs(chains)]


def _about_depth(chain: ChainSummary) -> Iterator[str]:
    """Yield the warnings about the rows of one chain."""
    name, homologues = _joined(chain.ids), chain.depth - 1
    if homologues < FEW_HOMOLOGUES:
        many = counted(homologues, "homologue") if homologues else "no homologues"
        yield f"{name}: {many}: expect low confidence."
    elif chain.median_depth < FEW_HOMOLOGUES:
        rows = counted(int(chain.median_depth), "row")
        yield (
            f"{name}: {homologues} homologues, but at most {rows} at half of the residues: "
            "expect low confidence there."
        )
    elif chain.neff < LOW_NEFF:
        yield (
            f"{name}: {homologues} homologues, but so similar that they count as "
            f"{chain.neff:.1f} (Neff): expect low confidence."
        )
    sparse = [(first, last) for first, last in chain.sparse if last - first + 1 >= MIN_STRETCH]
    if sparse and chain.depth >= FEW_ROWS:
        ranges = _joined([f"{first}–{last}" for first, last in sparse])
        yield f"{name}: residues {ranges} are covered by fewer than {FEW_ROWS} rows."


def _about_pairs(chains: Sequence[ChainSummary]) -> Iterator[str]:
    """Yield the warnings about the rows that chains of different sequences have in common."""
    unnamed = [each for each in chains if each.species == 0 and each.depth > 1]
    if unnamed:
        yield (
            f"{_names(unnamed)}: no row names its species, such as OX=9606 in its header, so that "
            "none can be paired with rows of other chains."
        )
    named = [each for each in chains if each.paired_rows is not None and each not in unnamed]
    for count in range(FEW_PAIRED if len(named) > 1 else 0):
        few = [each for each in named if each.paired_rows == count and each.depth > 1]
        many = f"only {counted(count, 'row')}" if count else "no rows"
        if few:
            yield f"{_names(few)}: {many} could be paired by species."


def _names(chains: Iterable[ChainSummary]) -> str:
    return _joined([name for chain in chains for name in chain.ids])


def _joined(texts: Sequence[str]) -> str:
    """Return texts as `A, B and C`, or as `A, B and 9 more`."""
    if len(texts) > _MAX_NAMED:
        texts = [*texts[: _MAX_NAMED - 1], f"{len(texts) - _MAX_NAMED + 1} more"]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


# Page


def search_html(result: SearchResult) -> str:
    """Return the HTML of a page about the search, which makes no request.

    Raises:
        InputError: As for `summary`.
    """
    query, chains = result.query, summary(result)
    rows = list(map(_rows, query.chains, result.found))
    maps = [
        coverage([identity_map(chain.sequence, [each.letters])])
        for chain, each in zip(query.chains, rows, strict=True)
    ]
    data = [
        {"id": chain.ids[0], "sequence": chain.sequence, "coverage": each}
        for chain, each in zip(query.chains, maps, strict=True)
    ]
    body = Template(resource("search.html")).substitute(
        name=_escaped(query.name),
        facts="".join(
            f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in _facts(result)
        ),
        warnings=_list_of(warnings(result)),
        summary=_summary_table(chains),
        chains="\n".join(
            _section(number, *each)
            for number, each in enumerate(zip(query.chains, result.found, rows, strict=True))
        ),
        file=_escaped(_query_file(query)),
        data=script_json(data),
    )
    return page_html(
        f"{query.name}, search",
        body,
        styles=["components.css", "report.css", "search.css"],
        scripts=["components.js", "embedded.js", "search.js"],
        policy={},
    )


def _facts(result: SearchResult) -> Iterator[tuple[str, str]]:
    query = result.query
    several = f" in {query.num_chains} chains" if query.num_chains > 1 else ""
    depths = [each.depth for each in summary(result)]
    databases = dict.fromkeys(
        name for found in result.found for each in found for name in each.step.databases
    )
    yield "Residues", f"{query.num_residues}{several}"
    yield "Aligned sequences", "–".join(map(str, sorted({min(depths), max(depths)})))
    yield "Recipe", _escaped(result.recipe)
    yield "Databases", _escaped(", ".join(databases) or "none searched")


def _list_of(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{_escaped(each)}</li>" for each in texts)
    return f'<ul class="notice">{items}</ul>' if items else ""


def _summary_table(chains: Sequence[ChainSummary]) -> str:
    """Return a table of the measures of all chains, and their meanings."""
    shown = [
        MEASURES[key]
        for key in _MEASURES
        if any(getattr(chain, key) is not None for chain in chains)
    ]
    rows = [
        [
            _joined(chain.ids),
            str(chain.residues),
            *(each.text(getattr(chain, each.key)) for each in shown),
        ]
        for chain in chains
    ]
    header = ["Chain", "Residues", *(each.name for each in shown)]
    meanings = "".join(
        f"<div><dt>{each.name}</dt><dd>{_escaped(each.meaning)}.</dd></div>" for each in shown
    )
    return f'{_table("Chains", header, rows)}<dl class="meaning">{meanings}</dl>'


def _section(number: int, chain: Chain, found: Sequence[Found], rows: _Rows) -> str:
    """Return the part of the page about one chain."""
    title = f"{'Chains' if chain.ids[1:] else 'Chain'} {_joined(chain.ids)}"
    parts = [f'<h2 id="title-{number}">{title}</h2>']
    if not found:
        how = "came with an alignment" if chain.alignments else "has no alignment"
        parts.append(f'<p class="about">This chain {how} and was not searched for.</p>')
    has_hits = len(rows.letters) > 1
    if has_hits:
        parts.append(f'<div class="coverage" data-chain="{number}"></div>')
    if found:
        parts += ["<h3>Databases</h3>", _search_table(found, rows)]
    if has_hits:
        parts += ["<h3>Hits</h3>", _hit_table(chain, found, rows)]
    content = "\n".join(parts)
    return f'<section class="full foldry" aria-labelledby="title-{number}">\n{content}\n</section>'


def _search_table(found: Sequence[Found], rows: _Rows) -> str:
    """Return a table of the searches for one chain."""
    counts = [int((each.alignment.letters != GAP_LETTER).any(axis=1).sum()) - 1 for each in found]
    new = np.bincount(rows.search[1:], minlength=len(found)).tolist()
    most = max(1, *counts)
    cells = []
    for each, count, fresh in zip(found, counts, new, strict=False):
        limit = each.step.max_rows
        at_limit = " (limit)" if limit is not None and each.alignment.num_rows >= limit else ""
        seconds = each.seconds
        cells.append(
            [
                _escaped(_database(each)),
                _escaped(each.step.engine),
                _bar(count / most, f"{count}{at_limit}"),
                _bar(fresh / most, str(fresh)),
                "kept from an earlier search" if seconds is None else f"{seconds:.1f} s",
            ]
        )
    about = (
        '<p class="about">New hits differ from the query and from the hits above. The time '
        "includes all chains that were searched for together.</p>"
    )
    return about + _table("Databases", ["Database", "Engine", "Hits", "New", "Time"], cells)


def _hit_table(chain: Chain, found: Sequence[Found], rows: _Rows) -> str:
    """Return a table of the first hits of one chain."""
    letters = rows.letters[1 : MAX_HITS + 1]
    hits, descriptions = zip(*map(_split, rows.headers[1 : MAX_HITS + 1]), strict=True)
    sources = [*map(_database, found), "given"]
    columns = {
        "Name": [_clipped(each, _MAX_NAME) for each in hits],
        "Identity": list(map(_share, identities(chain.sequence, letters).tolist())),
        "Coverage": list(map(_share, (letters != GAP_LETTER).mean(axis=1).tolist())),
    }
    if found:
        columns["Database"] = [_escaped(sources[each]) for each in rows.search[1 : MAX_HITS + 1]]
    if any(descriptions):
        columns["Description"] = [
            f'<span class="description">{_clipped(each, _MAX_DESCRIPTION)}</span>'
            for each in descriptions
        ]
    number = len(rows.letters) - 1
    which = f"The first {MAX_HITS} of {number} hits" if number > MAX_HITS else "All hits"
    about = (
        f'<p class="about">{which}, in the order of the alignment. Identity is the share of the '
        "hit’s residues that equal the query’s, coverage the share of the query’s residues that "
        "are aligned.</p>"
    )
    return about + _table("Hits", list(columns), zip(*columns.values(), strict=True), "wide long")


def _split(header: str) -> tuple[str, str]:
    """Return the name and the description in the header of a row."""
    name, _, description = header.strip().partition(" ")
    return name or "–", description.strip()


def _share(share: float) -> str:
    """Return the content of a cell that shows a share."""
    return _bar(share, f"{100 * share:.0f} %")


def _database(found: Found) -> str:
    """Return the names of the databases of a search, and what its rows are for."""
    return ", ".join(found.step.databases) + (" (for pairing)" if found.for_pairing else "")


def _bar(share: float, text: str) -> str:
    """Return the content of a cell with a bar."""
    return f'<span class="share" style="--share:{share:.3f}">{text}</span>'


def _table(
    label: str, header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "wide"
) -> str:
    """Return a table; its cells are HTML."""
    head = "".join(f'<th scope="col">{each}</th>' for each in header)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _clipped(text: str, most: int) -> str:
    return _escaped(text if len(text) <= most else f"{text[: most - 1]}…")


def _escaped(text: str) -> str:
    """Return a text of a file as HTML, without control characters."""
    return html.escape(printable(text))

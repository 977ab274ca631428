"""The folder of a search: alignments and templates of one query as files, and a page about them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from foldry.errors import InputError, MissingError, check_type
from foldry.formats.a3m import to_a3m, to_complex_a3m
from foldry.formats.job import job_json
from foldry.inputs.folders import SEARCH_RECORD
from foldry.inputs.queries import read_query
from foldry.processes import tuning
from foldry.query import Query
from foldry.results.depth import alone
from foldry.results.search_page import query_file, search_html
from foldry.results.templates import template_rows
from foldry.search.msas import msa_files
from foldry.search.result import Found, FoundTemplates, SearchResult
from foldry.search.search import find_search, is_address, unaligned
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

_MAX_RECORD: Final = 2**24
"""Maximum size of the record, bytes."""


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
        files[f"{A3M}/{chain.ids[0]}.a3m"] = to_a3m(chain.alignment or alone(chain))
        if chain.paired:
            files[f"{A3M}/{chain.ids[0]}_paired.a3m"] = to_a3m(chain.paired)
    if msas:
        files |= {f"{MSAS}/{name}": text for name, text in msa_files(result).items()}
    # AlphaFold 3 needs a seed.
    with_seed = replace(query, seeds=query.seeds or (0,))
    text = to_complex_a3m(query) if query.paired_by_row else job_json(with_seed)
    record = f"{query.name}_{SEARCH_RECORD}"
    if query_file(query).lower() != SEARCH_RECORD:  # of a query of this name
        record = SEARCH_RECORD
    about = search_json(result)
    return {**files, query_file(query): text, record: about, PAGE: search_html(result)}


def search_json(result: SearchResult) -> str:
    """Return what was searched and found as JSON, beside the alignments themselves."""
    chains = []
    for number, (chain, found) in enumerate(zip(result.query.chains, result.found, strict=True)):
        search = result.templates_of(number)
        about = {
            "ids": chain.ids,
            "sequence": chain.sequence,
            "searches": [
                {
                    **_step(each),
                    "for_pairing": each.for_pairing,
                    "rows": each.alignment.num_rows,
                    "max_rows": each.step.max_rows,
                }
                for each in found
            ],
            "template_search": search and _step(search),
            "templates": list(map(asdict, template_rows(chain))),
            "left_out": [{"name": name, "reason": reason} for name, reason in chain.left_out],
        }
        chains.append(about)
    versions = [{"name": name, "version": result.versions.get(name)} for name in result.databases()]
    content = {"name": result.query.name, "recipe": result.recipe, "databases": versions}
    date = {"max_template_date": result.max_template_date}
    return json.dumps({**content, **date, "chains": chains}, indent=1) + "\n"


def _step(search: Found | FoundTemplates) -> dict[str, object]:
    return {
        "engine": search.step.engine,
        "databases": search.step.databases,
        "seconds": search.seconds,
    }


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
    search_templates: bool = True,
    max_template_date: str | None = None,
) -> Query:
    """Search for the alignments and templates of one query, and return the query with them.

    Chains that have an alignment, or templates, keep them. What was searched for before is not
    searched for again.

    Args:
        query: A `Query`, or the path of a FASTA, a3m, Stockholm or JSON file with one query.
        search: `small`, `reduced`, `full`, `colabfold`, the name or the file of a recipe, or a
            folder of FASTA files and structures. None takes what suits the registered databases.
            The address of a server, e.g. `https://…`, sends the sequences there.
        out: Folder in which the query gets a folder of files, as `write_search` writes them. None
            writes nothing.
        msas: Whether to write the alignments of each database as AlphaFold's program does.
        num_threads: Number of threads; one per core if left out.
        search_templates: Whether templates are searched for, too.
        max_template_date: Date, e.g. `2021-09-30`, after which no template may be released.

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
    name = search if isinstance(search, str) and is_address(search) else None
    if search is not None and name is None:
        name = str(named_path(search))
    chosen = find_search(
        name,
        num_threads=num_threads or tuning.num_cores(),
        search_templates=search_templates,
        max_template_date=max_template_date,
    )
    if chosen is None:
        if search == "none" or not unaligned(asked):
            return asked
        raise MissingError("There is no database to search", "register one", code="no_database")
    chosen.check([asked])
    [result] = chosen.run([asked])
    if out is not None:
        write_search(result, named_path(out), msas=msas)
    return result.query

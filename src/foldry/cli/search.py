"""`foldry search`: find alignments and templates; its databases and kept searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from foldry.cli.fold import (
    MaxDate,
    MaxLength,
    NoTemplates,
    Out,
    OutsidePaths,
    Queries,
    Recipe,
    Together,
    read_input,
)
from foldry.cli.messages import exit_code, sentence
from foldry.cli.options import valued
from foldry.cli.show import byte_progress, progress_bar, show_line, show_table
from foldry.errors import FoldryError, InputError, MissingError, counted

if TYPE_CHECKING:
    from foldry.predict.runner import Progress
    from foldry.query import Query
    from foldry.search.databases import Database
    from foldry.search.recipes import Step
    from foldry.search.search import Search

_MOST_LEFT_OUT = 20
"""Files of a library of structures that are named as left out."""
_SEARCH = "QUERY"
"""Name of the command for the words after `foldry search` that call no other."""


class _Searches(TyperGroup):
    """A group whose words are queries unless the first one is a subcommand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands:
            args = [_SEARCH, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


class _Search(TyperCommand):
    """The command for queries, which is called by the name of its group."""

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **more: Any) -> Any:
        return super().make_context(parent.info_name, args, parent=parent.parent, **more)


app = typer.Typer(
    cls=_Searches,
    no_args_is_help=True,
    help="Find alignments and templates in databases.\n\nfoldry search QUERY -o FOLDER searches; "
    "foldry search QUERY --help lists its options.",
)
databases = typer.Typer(
    help="Add, list, check, remove and get databases and libraries of structures.",
    no_args_is_help=True,
)
cache = typer.Typer(help="List and clear kept searches.", no_args_is_help=True)
app.add_typer(databases, name="db")
app.add_typer(cache, name="cache")

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", show_default=False, help="Databases. Default: all."),
]


class _Ended(NamedTuple):
    """What became of a query: its rows of the table and the remarks, or why it failed."""

    name: str
    error: FoldryError | None
    rows: Sequence[Sequence[str]] = ()
    remarks: Sequence[str] = ()


@app.command(_SEARCH, cls=_Search, hidden=True)
def search(
    queries: Queries,
    out: Out,
    search: Recipe = None,
    no_search_templates: NoTemplates = False,
    max_template_date: MaxDate = None,
    msas: Annotated[
        bool, typer.Option("--msas", help="Also write the files of AlphaFold's folder msas.")
    ] = False,
    threads: Annotated[int | None, valued("N", "Threads. Default: one per core.", min=1)] = None,
    together: Together = False,
    max_length: MaxLength = 5000,
    allow_outside_paths: OutsidePaths = False,
) -> None:
    """Find the alignments and templates of proteins in databases.

    foldry fold reads the JSON files that this command writes. The commands for databases are listed
    by foldry search db --help, those for kept searches by foldry search cache --help. Example:
    foldry search examples/kunitz/1adz.fasta --search examples/database -o found
    """
    from foldry.predict.workers import num_threads
    from foldry.search.search import find_search, unaligned
    from foldry.store.files import check_exist, check_folder

    check_folder(out)
    check_exist(map(Path, queries))
    asked = read_input(queries, max_length, together, allow_outside_paths)
    if search == "none":
        raise InputError("The recipe none searches for nothing", "choose another")
    chosen = find_search(
        search,
        num_threads=threads or num_threads(),
        search_templates=not no_search_templates,
        max_template_date=max_template_date,
    )
    needs_rows = any(map(unaligned, asked))
    if not needs_rows and not (chosen and any(map(chosen.wants, asked))):
        what = "Every chain has an alignment, so there is nothing to search for"
        raise InputError(what, "fold the query, or give the bare sequence")
    if chosen is None:
        raise MissingError("There is no database to search", "register one", code="no_database")
    chosen.check(asked)
    for query in asked:
        check_folder(out / query.name)
    with progress_bar() as progress:
        ended = list(_searched(asked, chosen, out, msas, progress))
    _show(ended)
    if code := exit_code(each.error for each in ended):
        raise typer.Exit(code)


def _searched(
    queries: Sequence[Query], chosen: Search, out: Path, msas: bool, progress: Progress
) -> Iterator[_Ended]:
    """Search for queries, write what is found, and yield how each ended."""
    from foldry.results.depth import summary, warnings
    from foldry.results.search import write_search
    from foldry.results.templates import template_lines
    from foldry.search.ahead import MAX_GROUP

    for begin in range(0, len(queries), MAX_GROUP):
        group = queries[begin : begin + MAX_GROUP]

        def show(step: Step, done: int = begin) -> None:
            progress(f"searching {', '.join(step.databases)}", done, len(queries))

        for query, result in zip(group, chosen.attempt(group, show), strict=True):
            try:
                if isinstance(result, FoldryError):
                    raise result
                folder = str(write_search(result, out, msas=msas))
            except FoldryError as error:
                yield _Ended(query.name, error)
                continue
            rows = [
                [query.name, ", ".join(each.ids), str(each.depth), f"{each.neff:.1f}", folder]
                for each in summary(result)
            ]
            remarks = [f"{query.name}: {each}" for each in warnings(result)]
            yield _Ended(query.name, None, rows, [*template_lines(result.query, query), *remarks])


def _show(ended: Sequence[_Ended]) -> None:
    """Print a table of all chains, and what the searches mean for their predictions."""
    rows = [
        row for each in ended for row in each.rows or [[each.name, "", "", "", _reason(each.error)]]
    ]
    show_table(["query", "chain", "rows", "Neff", "results, or reason"], rows)
    for remark in (remark for each in ended for remark in each.remarks):
        show_line(remark)


def _reason(error: FoldryError | None) -> str:
    return f"failed: {sentence(error)}" if error else ""


@databases.command()
def add(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="FASTA files, packed or not, or what the names of the files of an MMseqs2 or "
            "HH-suite database have in common; with --structures, folders.",
        ),
    ],
    name: Annotated[str, valued("NAME", "Name of the database. Default: that of the file.")] = "",
    structures: Annotated[
        bool,
        typer.Option(
            "--structures",
            help="Add folders of PDB, mmCIF and BinaryCIF files, in which templates are found.",
        ),
    ] = False,
    obsolete: Annotated[
        Path | None,
        valued(
            "FILE",
            "The PDB's list of obsolete entries. Default: obsolete.dat in the folder, if it is "
            "there.",
        ),
    ] = None,
) -> None:
    """Register databases, which stay where they are.

    Adding a database again records it as it is now. Example:
    foldry search db add examples/database/proteins.fasta.gz
    """
    from foldry.search.databases import Registry

    if name and files[1:]:
        raise InputError("--name is for a single database", "add the others without it")
    if obsolete and not structures:
        raise InputError("--obsolete is for structures", "add their folder with --structures")
    registry = Registry()
    known = registry.databases()
    for file in files:
        if structures:
            with progress_bar() as progress:
                show = partial(progress, "reading structures")
                found = registry.add_structures(file, name, obsolete, show)
        else:
            found = registry.add(file, name)
        old = known.get(found.name)
        how = f"replaces {old.path}" if old and old.path != found.path else "added"
        show_line(f"{_described(found)}: {how}", wrap=False)
        _show_left_out(found, is_new=True)


def _show_left_out(database: Database, *, is_new: bool = False) -> None:
    """Print why files of structures are left out and, of a new library, how many have no date."""
    from foldry.search.databases import STRUCTURES
    from foldry.search.structures import StructureLibrary

    if database.kind != STRUCTURES:
        return
    library = StructureLibrary.open(database)
    if is_new and library.num_undated:
        number = f"{library.num_undated} of {library.num_entries}"
        says = "without a date of release, so left out with --max-template-date"
        show_line(f"{says}: {number}", wrap=False)
    left_out = list(library.left_out.items())
    for path, reason in left_out[:_MOST_LEFT_OUT]:
        show_line(f"left out: {path} {reason}", wrap=False)
    if more := left_out[_MOST_LEFT_OUT:]:
        show_line(f"left out: {len(more)} more, see {library.listed}", wrap=False)


@databases.command("list")
def list_databases() -> None:
    """List the registered databases.

    Example: foldry search db list
    """
    from foldry.search.databases import Registry

    known = Registry().databases()
    if not known:
        show_line("No database is registered; `foldry search db add FILE` registers one.")
        return
    show_table(
        ["name", "kind", "sequences", "size", "version", "path"],
        [
            [each.name, each.kind, f"{each.num_sequences:,}", _size(each), each.version, each.path]
            for each in known.values()
        ],
    )


@databases.command()
def check(names: Names = None) -> None:
    """Check that databases are as they were when they were registered.

    Example: foldry search db check uniref90
    """
    from foldry.search.databases import Registry, check_content

    registry, errors = Registry(), list[FoldryError | None]()
    for each in _registered(names):
        try:
            if (found := check_content(each)) != each:  # with another time
                registry.record(found)
            errors.append(None)
            is_same = found.version == each.version
            show_line(f"{_described(found)}: {'unchanged' if is_same else 'updated'}", wrap=False)
            _show_left_out(found)
        except FoldryError as error:
            errors.append(error)
            show_line(sentence(error), wrap=False)
    if code := exit_code(errors):
        raise typer.Exit(code)


@databases.command()
def remove(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", show_default=False, help="Databases.")
    ],
) -> None:
    """Remove databases from the list; their files stay.

    Example: foldry search db remove uniref90
    """
    from foldry.search.databases import Registry

    for each in _registered(names):
        Registry().remove(each.name)
        show_line(f"{each.name}: removed from the list, {each.path} stays", wrap=False)


@databases.command()
def get(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            show_default=False,
            help="uniref90, mgnify, bfd, small_bfd, uniref30, uniprot, pdb70, pdb_seqres, "
            "colabfold_uniref30 or colabfold_envdb; or reduced, full or colabfold for all "
            "databases of that recipe.",
        ),
    ],
    folder: Annotated[
        Path | None,
        valued("FOLDER", "Where to put them. Default: the folder of the list of databases."),
    ] = None,
    mirror: Annotated[str | None, valued("URL", "Address of a folder with the same files.")] = None,
) -> None:
    """Download AlphaFold's or ColabFold's databases.

    Sizes are printed, and the space is checked, before the download begins. Running the same
    command again resumes. Example: foldry search db get reduced --folder /data
    """
    from foldry.search.databases import Registry
    from foldry.search.download import get as download
    from foldry.search.download import plan

    registry = Registry()
    folder = folder or registry.folder
    wanted = [name for each in names for name in _of_recipe(each)]
    for planned in plan(wanted, folder, registry, mirror=mirror):
        show_line(str(planned), wrap=False)
    with byte_progress() as show:
        found = download(
            wanted,
            folder,
            registry,
            mirror=mirror,
            progress=lambda _, here, whole: show(here, whole),
        )
    for each in found:
        show_line(f"{_described(each)}: registered", wrap=False)


def _of_recipe(name: str) -> Sequence[str]:
    """Return the databases of a recipe; any other name is that of a database."""
    from foldry.search.official import OFFICIAL
    from foldry.search.recipes import COLABFOLD, FULL, REDUCED

    if name == COLABFOLD:
        return [each for each in OFFICIAL if each.startswith(COLABFOLD)]
    for recipe in (REDUCED, FULL):
        if name == recipe.name:
            steps = filter(None, (*recipe.steps, recipe.pairing))
            return [each for step in steps for each in step.databases]
    return [name]


def _registered(names: Sequence[str] | None) -> list[Database]:
    """Return registered databases, all of them if none is named."""
    from foldry.search.databases import Registry

    known = Registry().databases()
    for name in names or ():
        if name not in known:
            what = f"{name!r} is not a registered database"
            raise InputError(what, f"choose from {', '.join(known) or 'an empty list'}")
    return [known[name] for name in names or known]


def _described(database: Database) -> str:
    number = counted(database.num_sequences, "sequence")
    return f"{database.name} ({database.kind}, {number}, {_size(database)}) {database.path}"


def _size(database: Database) -> str:
    return f"{database.size / 1e6:,.1f} MB"


@cache.command("list")
def list_cache() -> None:
    """Show how many results of searches are kept, and where.

    Example: foldry search cache list
    """
    kept = _cache()
    entries = list(kept.entries())
    size = sum(each.size for each in entries) / 1e6
    show_line(f"{counted(len(entries), 'result')}, {size:.1f} MB in {kept.folder}", wrap=False)


@cache.command()
def clear() -> None:
    """Remove all results of searches that are kept.

    Example: foldry search cache clear
    """
    kept = _cache()
    show_line(f"{counted(kept.clear(), 'result')} removed from {kept.folder}", wrap=False)


def _cache() -> Any:
    from foldry.search.databases import default_cache
    from foldry.store.cache import Cache

    return Cache(default_cache())

"""`foldry fold`: predict the structures of queries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from foldry.cli.db_options import open_database
from foldry.cli.messages import HINTS, as_flags, exit_code, sentence
from foldry.cli.options import out_option, takes_settings, valued
from foldry.cli.show import progress_bar, show_line, show_table
from foldry.errors import SOME_FAILED, FoldryError, InputError, MissingError, printable
from foldry.predict.settings import Settings
from foldry.processes.tuning import quick_imports

if TYPE_CHECKING:
    from foldry.database.entry import Published
    from foldry.features.pairing import PairingReport
    from foldry.predict.runner import Outcome, Publisher
    from foldry.predict.workers import Worker
    from foldry.query import Query
    from foldry.search.ahead import Group, Unsearched
    from foldry.search.search import Search
    from foldry.structure import Structure
    from foldry.weights.networks import NetworkFile

SHOWN_SPECIES: Final = 5
_SHOWN_TEMPLATES: Final = 4
NO_DATABASE: Final = (
    "No sequence database is registered, so no alignments are searched for: `foldry search db add "
    "FILE` registers one."
)

_MINI: Final = (
    "mini is far less accurate than AlphaFold; "
    f"{HINTS['official_weights']}, and --weights FOLDER selects them."
)

logger = logging.getLogger(__name__)

Queries = Annotated[
    list[str],
    typer.Argument(
        metavar="QUERY",
        show_default=False,
        help="Files, folders: FASTA, a3m, Stockholm, AlphaFold 3 JSON.",
    ),
]
Out = Annotated[Path, out_option("FOLDER", "Where the results go.")]
Templates = Annotated[
    list[str] | None,
    valued("FILE...", "Known structures, folders: a.cif b.pdb:C (chain)."),
]
Together = Annotated[
    bool, typer.Option("--together", help="Take all records of a FASTA file as one complex.")
]
OutsidePaths = Annotated[
    bool,
    typer.Option("--allow-outside-paths", help="JSON jobs may name files outside their folder."),
]
MaxLength = Annotated[int, valued("N", "Refuse longer queries.", min=1)]
Jobs = Annotated[
    int | None,
    valued(
        "N",
        "Fold N queries at once, each in its own process. Default: 1, or one per core for many "
        "short queries with mini on a CPU.",
        min=1,
    ),
]


Recipe = Annotated[
    str | None,
    valued(
        "RECIPE",
        "Where to search: none, small, reduced, full, colabfold, a registered database, your "
        "recipe, a folder of FASTA files and structures, or a server's URL, which gets the "
        "sequences. Default: small or colabfold if registered, otherwise templates alone if "
        "structures are, or none.",
    ),
]
NoTemplates = Annotated[
    bool, typer.Option("--no-search-templates", help="Do not search for templates.")
]
MaxDate = Annotated[
    str | None,
    valued("DATE", "Only templates released by then: 2021-09-30."),
]
Db = Annotated[str | None, valued("DB", "Also publish the results in this database.")]


@takes_settings()
def fold(
    queries: Queries,
    out: Out,
    settings: Settings,
    templates: Templates = None,
    together: Together = False,
    search: Recipe = None,
    no_search_templates: NoTemplates = False,
    max_template_date: MaxDate = None,
    max_length: MaxLength = 5000,
    jobs: Jobs = None,
    allow_outside_paths: OutsidePaths = False,
    db: Db = None,
) -> None:
    """Predict protein structures.

    All input is checked before anything is computed. Running the same command again resumes.
    Example: foldry fold examples/kunitz/1adz.a3m -o out
    """
    from foldry.inputs.structures import split_name
    from foldry.store.files import check_exist, check_folder

    check_folder(out)
    files, structures = split_inputs(queries, templates or [])
    check_exist([*map(Path, files), *(split_name(name)[0] for name in structures)])
    asked = read_input(files, max_length, together, allow_outside_paths)
    if together:
        _check_joined(asked)
    published = in_database(db, out)

    from foldry.predict.workers import automatic_jobs, worker_processes

    if len(asked) == 1 and (jobs or 1) > 1:
        logger.warning("`jobs` has no effect: there is one query.")
    jobs = min(jobs or automatic_jobs(asked, settings), len(asked))
    found = chosen_search(search, asked, not no_search_templates, max_template_date)
    say = partial(remark_on_databases, search, found, asked)
    with worker_processes(jobs) as workers:
        outcomes = _fold(asked, out, settings, structures, workers, found, say, published)
    _show(outcomes, out)
    code = exit_code(outcome.error for outcome in outcomes)
    if not all(each.relaxed for outcome in outcomes for each in outcome.relaxations):
        code = code or SOME_FAILED
    if code:
        raise typer.Exit(code)


def _fold(
    asked: list[Query],
    out: Path,
    settings: Settings,
    structures: Sequence[str],
    workers: Sequence[Worker],
    search: Search | None,
    say: Callable[[], None],
    others: Sequence[Publisher],
) -> list[Outcome]:
    """Check the settings, the templates and the places of the results, and fold the queries."""
    from foldry.search.ahead import SEARCHING, searched_ahead

    with (
        progress_bar() as progress,
        searched_ahead(asked, search, partial(progress, SEARCHING)) as groups,
    ):
        with quick_imports():
            from foldry.inputs.structures import read_templates
            from foldry.kernels.matmul import tuned_process
            from foldry.predict import remarks
            from foldry.predict.network import networks_for, runtime
            from foldry.predict.parallel import run_groups
            from foldry.predict.stages import with_templates
            from foldry.results.folder import ResultsFolder
            from foldry.store.files import check_folder

        known = [each for name in structures for each in read_templates(name)]
        runtime(settings)
        if search is None:
            ready = [with_templates(query, known) for query in asked]
        else:
            ready = asked
            for query in asked:
                _check_early(query, known)
        networks = dict.fromkeys(each for query in ready for each in networks_for(query, settings))
        say()
        if search is None:
            _remark(ready, settings, list(networks))
        else:
            remarks.warn(ready, settings, list(networks), are_searched=finds_rows(search))
        for query in ready:
            check_folder(out / query.name)
        folder = ResultsFolder(out, force=settings.force, keep_work=settings.relax != "none")
        complete: Iterable[Group] = [ready]
        if search is not None:
            networks_of = list(networks)
            complete = _complete(asked, groups, known, settings, networks_of, finds_rows(search))
        with tuned_process():
            publishers = [folder, *others]
            ended = run_groups(complete, len(asked), settings, publishers, workers, progress)
            return [_with_numbers(outcome, out) for _, outcome in ended]


def in_database(db: str | None, out: Path) -> list[Publisher]:
    """Return what publishes the results in a folder in a database, if one is given.

    Raises:
        MissingError: There is no such database, or a package of the extra `db` is missing.
        InputError: The database cannot be read.
    """
    if db is None:
        return []
    open_database(db).close()
    from foldry.database.publisher import DatabasePublisher

    def report(name: str, published: Published) -> None:
        known = "" if published.is_new else ", as before"
        why = f"; the entry is withdrawn ({published.withdrawn})" if published.withdrawn else ""
        where = f"{published.entry_id} v{published.version} in {db}"
        show_line(f"{name}: {where}{known}{why}", wrap=False)

    return [DatabasePublisher(db, out, report)]


def chosen_search(
    recipe: str | None, queries: Sequence[Query], templates: bool, max_date: str | None
) -> Search | None:
    """Return the search for what queries lack; None if nothing is to be searched for.

    Args:
        recipe: The name of the search.
        queries: The queries.
        templates: Whether templates are searched for.
        max_date: Date after which none may be released.

    Raises:
        InputError: There is no such recipe, a database changed, or the date is none.
        MissingError: A database or a program is missing.
    """
    from foldry.predict.workers import num_threads
    from foldry.search.search import find_search, unaligned

    needs_rows = any(map(unaligned, queries))
    try:
        search = find_search(
            recipe,
            num_threads=num_threads(),
            search_templates=templates,
            max_template_date=max_date,
        )
    except MissingError:
        if needs_rows:
            raise
        search = None
    if search is None or not any(map(search.wants, queries)):
        if recipe not in (None, "none") and not needs_rows:
            logger.warning("`search` has no effect: every chain has an alignment.")
        search = None
    else:
        search.check(queries)
    if max_date and (search is None or search.recipe.templates is None):
        logger.warning("`max_template_date` has no effect: no templates are searched for.")
    return search


def finds_rows(search: Search | None) -> bool:
    """Return whether a search finds alignments, not templates alone."""
    return search is not None and bool(search.recipe.steps)


def remark_on_databases(recipe: str | None, search: Search | None, queries: list[Query]) -> None:
    """Log what is searched, or that nothing is, if the user did not ask for that."""
    from foldry.search.search import unaligned

    if search is not None and search.server is None:  # it says itself what is sent
        aligning, for_templates = search.steps(queries)
        names = dict.fromkeys(name for s in (*aligning, *for_templates) for name in s.databases)
        if search.recipe.steps:
            logger.info("Recipe %s: searching %s.", search.recipe.name, ", ".join(names))
        else:
            logger.info("Searching %s for templates.", ", ".join(names))
    if recipe is None and not finds_rows(search) and any(map(unaligned, queries)):
        logger.info(NO_DATABASE)


def _check_early(query: Query, known: Sequence[Structure]) -> None:
    """Check templates before anything is searched for.

    Raises:
        InputError: A template is not usable in any case.
    """
    from foldry.features.templates import UnlikeError
    from foldry.predict.stages import with_templates
    from foldry.search.search import unaligned

    try:
        with_templates(query, known, quiet=True)
    except UnlikeError:
        if not unaligned(query):
            raise  # otherwise the profile of what is found may align it


def _complete(
    asked: Iterable[Query],
    groups: Iterable[Group],
    known: Sequence[Structure],
    settings: Settings,
    networks: Sequence[NetworkFile],
    are_searched: bool,
) -> Iterator[Group]:
    """Yield the groups with their templates, and log what could not be said before the search."""
    from foldry.features.pairing import align_complex
    from foldry.predict import remarks
    from foldry.predict.network import config_of
    from foldry.predict.runner import explain
    from foldry.predict.stages import with_templates
    from foldry.query import Query
    from foldry.results.templates import template_lines
    from foldry.search.ahead import Unsearched

    originals = iter(asked)
    for group in groups:
        complete: list[Query | Unsearched] = []
        for each, before in zip(group, originals, strict=False):
            if isinstance(each, Query):
                for line in template_lines(each, before):
                    logger.info("%s", line)
                try:
                    complete.append(with_templates(each, known))
                except Exception as error:  # the other queries go on
                    complete.append(Unsearched(each, explain(error, each)))
            else:
                complete.append(each)
        found = [each for each in complete if isinstance(each, Query)]
        if are_searched:
            remarks.warn_of_single_sequences(found, are_searched=True)
        remarks.remark_on_templates(found, [config_of(each) for each in networks])
        for query in found:
            if query.num_chains > 1:
                with suppress(FoldryError):  # the query itself reports it
                    _say_pairing(query, align_complex(query, settings.pairing).report)
        yield complete


def _with_numbers(outcome: Outcome, out: Path) -> Outcome:
    """Return the outcome; if the query was finished before, with the numbers of its folder."""
    from foldry.results.folder import read_results

    if outcome.status != "already done":
        return outcome
    try:
        stored = read_results(out / outcome.name)
    except FoldryError:  # another process may be replacing the files
        return outcome
    numbers: dict[str, Any] = {key: stored[0].numbers[key] for key in ("mean_plddt", "ptm", "iptm")}
    relaxations = tuple(each.relaxation for each in stored if each.relaxation)
    known = stored[0].provenance
    return replace(
        outcome,
        **numbers,
        num_predictions=len(stored),
        templates=known.templates if known else (),
        relaxations=relaxations,
    )


def _remark(queries: Sequence[Query], settings: Settings, networks: Sequence[NetworkFile]) -> None:
    """Log warnings and the pairing of rows before the queries are folded."""
    from foldry.features.pairing import align_complex
    from foldry.predict import remarks

    complexes = [query for query in queries if query.num_chains > 1]
    reports = [align_complex(query, settings.pairing).report for query in complexes]
    remarks.warn(queries, settings, networks)
    for query, report in zip(complexes, reports, strict=True):
        _say_pairing(query, report)


def read_input(
    files: Sequence[str], max_length: int, together: bool, allow_outside_paths: bool
) -> list[Query]:
    """Read the queries of files and check their lengths.

    Args:
        files: Files and folders.
        max_length: Maximum number of residues of a query, all chains together.
        together: Whether all records of a FASTA file are one complex.
        allow_outside_paths: Whether JSON jobs may name files outside their folder.

    Raises:
        InputError: A file is wrong, or a query is too long.
    """
    from foldry.inputs.queries import locate_queries

    located = locate_queries(
        [Path(file) for file in files],
        together=together,
        allow_outside_paths=allow_outside_paths,
    )
    check_lengths(((query, f"{path}, query {query.name}") for query, path in located), max_length)
    return [query for query, _ in located]


def check_lengths(queries: Iterable[tuple[Query, str]], max_length: int) -> None:
    """Check that no query is too long.

    Args:
        queries: Queries, each with its place for error messages.
        max_length: Maximum number of residues of a query.

    Raises:
        InputError: A query is too long.
    """
    for query, place in queries:
        if query.num_residues > max_length:
            pieces = "cut it into overlapping pieces, at domain borders if known"
            if query.num_chains > 1:
                pieces = "cut its chains at domain borders, leave some out"
            raise InputError(
                f"has {query.num_residues} residues and the limit is {max_length}",
                f"{pieces}, or raise --max-length if the memory allows",
                where=place,
            )


def _check_joined(queries: Sequence[Query]) -> None:
    """Check that --together joins any records; warn about queries with a single chain."""
    from foldry.predict.remarks import first_of

    alone = [query.name for query in queries if query.num_chains == 1]
    if len(alone) == len(queries):
        raise InputError(
            "--together joins the records of a FASTA file, but every file has one chain",
            "put the chains into one file, or into a JSON file with their alignments",
        )
    if alone:
        has = "they have one chain each" if alone[1:] else "it has one chain"
        logger.warning("--together changes nothing for %s: %s.", first_of(alone), has)


def split_inputs(queries: Sequence[str], templates: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate query files from templates: several structures may follow `--templates`.

    Raises:
        InputError: A structure is given as a query, or there is no query.
    """
    from foldry.inputs.structures import names_structure

    structures = [name for name in queries if names_structure(name)]
    files = [name for name in queries if name not in structures]
    if structures and not templates:
        raise InputError(
            "is a structure, not a query",
            "give it with --templates, or its sequence as FASTA",
            where=structures[0],
        )
    if not files:
        raise InputError("There is no query", "give a FASTA, a3m or JSON file")
    return files, [*templates, *structures]


def _say_pairing(query: Query, report: PairingReport) -> None:
    """Log how the rows of a complex are paired, and show the species."""
    from foldry.predict.remarks import say_pairing

    say_pairing(query, report)
    _show_species(query, report)


def _show_species(query: Query, report: PairingReport) -> None:
    """Print the species with the most paired rows; copies of a chain share a column."""
    from foldry.predict.remarks import distinct_chains

    paired = [each for each in report.species if each.num_paired]
    if not paired:
        return
    distinct = distinct_chains(query)
    paired.sort(key=lambda each: (-each.num_paired, -sum(each.counts)))
    titles = ["species", *(f"rows of {report.chains[k]}" for k in distinct), "paired"]
    rows = [
        [each.species, *(str(each.counts[k]) for k in distinct), str(each.num_paired)]
        for each in paired[:SHOWN_SPECIES]
    ]
    show_table(titles, rows)
    if paired[SHOWN_SPECIES:]:
        show_line(f"… and {len(paired) - SHOWN_SPECIES} more species with paired rows")


def _show(outcomes: Sequence[Outcome], out: Path) -> None:
    """Print a table of all queries and one of their relaxed predictions."""
    from foldry.measures import MEASURES
    from foldry.weights.bundled import MINI_NOTICE

    several = any(each.num_predictions > 1 for each in outcomes)
    shown = ["mean_plddt"]
    shown += [key for key in ("ptm", "iptm") if any(getattr(each, key) for each in outcomes)]
    rows = [
        [
            each.name,
            each.status,
            *([str(each.num_predictions or "")] if several else []),
            *(_cell(key, getattr(each, key)) for key in shown),
            sentence(each.error) if each.error else str(out / each.name),
        ]
        for each in outcomes
    ]
    titles = ["query", "status", *(["predictions"] if several else [])]
    titles += [*(MEASURES[key].name for key in shown), "results, or reason"]
    show_table(titles, rows)
    for each in outcomes:
        if each.templates:
            show_line(f"{each.name}: predicted with {_first(each.templates)}.")
    if any(outcome.relaxations for outcome in outcomes):
        show_line("")
        _show_relaxations(outcomes)
    made = [outcome for outcome in outcomes if outcome.status == "done"]
    for notice in dict.fromkeys(outcome.notice for outcome in made if outcome.notice):
        show_line(notice if notice != MINI_NOTICE else _MINI)


def _first(templates: Sequence[str]) -> str:
    """Return the first templates and the number of the others."""
    named = ", ".join(map(printable, templates[:_SHOWN_TEMPLATES]))
    more = f" and {len(templates) - _SHOWN_TEMPLATES} more" * bool(templates[_SHOWN_TEMPLATES:])
    return f"template{'s' * bool(templates[1:])} {named}{more}"


def _cell(key: str, value: float | None) -> str:
    from foldry.measures import MEASURES

    return "" if value is None else MEASURES[key].text(value)


def _show_relaxations(outcomes: Sequence[Outcome]) -> None:
    """Print what relaxation changed in each prediction, or why it changed nothing."""
    ended = [
        (f"{outcome.name} ranked_{rank}", each)
        for outcome in outcomes
        for rank, each in enumerate(outcome.relaxations)
    ]
    rows = []
    for name, each in ended:
        cells = ["–", "–", "–", f"Not relaxed. {as_flags(each.reason)}"]
        if each.relaxed:
            cells = [
                f"{each.clashes_before} → {each.clashes_after}",
                f"{each.violations_before} → {each.violations_after}",
                f"{each.median_move:.2f} Å (median), at most {each.max_move:.2f} Å",
                as_flags(each.reason),
            ]
        rows.append([name, *cells])
    titles = ["relaxation of", "clashes", "violations", "Cα displacement", "remark"]
    used = 5 if any(each.reason for _, each in ended) else 4
    show_table(titles[:used], [row[:used] for row in rows])

"""`foldry db`: a database of predictions, filled and kept in order; `db_read` reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from foldry.cli import db_read
from foldry.cli.db_options import (
    AsJson,
    Id,
    Place,
    check_packages,
    open_database,
    show_entry,
    show_json,
    shown_number,
)
from foldry.cli.messages import exit_code, sentence
from foldry.cli.options import valued
from foldry.cli.show import progress_bar, show_line, show_table
from foldry.errors import SOME_FAILED, FoldryError, InputError, counted

if TYPE_CHECKING:
    from foldry.database.imports.run import Outcome as ImportOutcome

app = typer.Typer(
    help="Keep predictions in a database: add, import, search, export.", no_args_is_help=True
)

_SHOWN = 20
"""How many new versions are listed; of the others, their number."""
_EQUAL = 3
"""How many of the files that are left out for the same reason are named."""
Provider = Annotated[
    str | None, valued("NAME", "Who predicted. Default: the provider of the database.")
]
Accession = Annotated[
    str | None, valued("ACCESSION", "UniProt accession of all that is read, e.g. P00520-4.")
]
NoAlignments = Annotated[bool, typer.Option("--no-alignments", help="Do not keep the alignments.")]


def _rounded_or_exact(text: str) -> bool:
    if text not in ("rounded", "exact"):
        raise ValueError("choose rounded or exact")
    return text == "exact"


def init(
    place: Place,
    provider: Annotated[str, valued("NAME", "Who makes the predictions, e.g. the lab.")],
    objects: Annotated[
        str | None,
        valued("URL", "Folder or URL (file, s3 …) for the records. Default: in the folder DB."),
    ] = None,
    pae: Annotated[
        Any,
        valued(
            "HOW",
            "Keep errors (PAE) of single chains rounded (whole Å, as AlphaFold DB) or exact "
            "(0.1 Å, three times the size).",
            read=_rounded_or_exact,
        ),
    ] = "rounded",
    as_json: AsJson = False,
) -> None:
    """Make an empty database.

    Example: foldry db init lab.db --provider "Example Lab"
    """
    check_packages()
    from foldry.database.database import Database

    made = Database.create(place, provider=provider, objects=objects, exact_pae=pae is True)
    shown = made.tables.place.shown
    if as_json:
        show_json({"database": shown, "provider": made.provider, "block": made.block})
    else:
        first = f"AF-{made.block}{1:09}"
        show_line(f"{shown}: made for {made.provider}; its ids begin with {first}", wrap=False)


def add(
    place: Place,
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER…", show_default=False, help="Results of `foldry fold`."),
    ],
    accession: Accession = None,
    no_alignments: NoAlignments = False,
    as_json: AsJson = False,
) -> None:
    """Publish the results folders of Foldry.

    What the database has already is not published again. Example: foldry db add lab.db out
    """
    for folder in folders:
        if not folder.is_dir():
            advice = "give the folder of results, or import the file"
            raise InputError("is not a folder", advice, where=folder)
    database = open_database(place)
    from foldry.database.imports.run import ImportOptions, import_paths

    keep = not no_alignments
    options = ImportOptions(accession=accession, keep_alignments=keep, only_foldry=True)
    _show_outcomes(import_paths(database, folders, options), as_json)


def import_(
    place: Place,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH…", show_default=False, help="Files, folders, zips and tars."),
    ],
    jobs: Annotated[int, valued("N", "Processes.", min=1)] = 1,
    keep_original: Annotated[
        bool, typer.Option("--keep-original", help="Also keep the structure file as it came.")
    ] = False,
    provider: Provider = None,
    accession: Accession = None,
    no_alignments: NoAlignments = False,
    as_json: AsJson = False,
) -> None:
    """Import predictions of AlphaFold, ColabFold, Boltz and others.

    Results of AlphaFold 2 and 3, AlphaFold Server, ColabFold, Boltz, Chai and Foldry, files and
    tars of AlphaFold DB, PDB and mmCIF files with pLDDT, and other databases of Foldry. What cannot
    be read is reported and skipped. Running the same command again continues.
    Example: foldry db import lab.db UP000005640_9606_HUMAN_v6.tar --jobs 2
    """
    database = open_database(place)
    from foldry.database.imports.run import ImportOptions, import_paths

    options = ImportOptions(
        provider=provider,
        accession=accession,
        keep_original=keep_original,
        keep_alignments=not no_alignments,
        jobs=jobs,
    )
    _show_outcomes(import_paths(database, paths, options), as_json)


def _show_outcomes(outcomes: Iterator[ImportOutcome], as_json: bool) -> None:
    """Print what became of each prediction, and exit with the code."""
    num_new = num_known = num_skipped = 0
    reasons = Counter[str]()
    with progress_bar() as progress:
        progress("predictions", 0, 0)
        for number, each in enumerate(outcomes, start=1):
            _show_outcome(each, num_new < _SHOWN, as_json, reasons)
            if each.published is not None:
                num_new += each.published.is_new
                num_known += not each.published.is_new
            num_skipped += bool(each.problem)
            progress("predictions", number, 0)
    if not as_json:
        for text, number in reasons.items():
            if number > _EQUAL:
                show_line(f"and {number - _EQUAL} more:{text}", wrap=False, err=True)
        if num_new > _SHOWN:
            show_line(f"and {counted(num_new - _SHOWN, 'more version')}", wrap=False)
        skipped = f", {num_skipped} skipped" if num_skipped else ""
        show_line(f"{counted(num_new, 'version')} published, {num_known} known{skipped}")
    if num_skipped:
        raise typer.Exit(SOME_FAILED if num_new + num_known else InputError.exit_code)


def _show_outcome(
    outcome: ImportOutcome, is_shown: bool, as_json: bool, reasons: Counter[str]
) -> None:
    """Print what became of one prediction; where it is kept if `is_shown` is set.

    The first of equal reasons why something is left out are printed, and all are counted.
    """
    kept = outcome.published
    if as_json:
        line = {"where": outcome.where, **(asdict(kept) if kept else {})}
        show_json(line | {"problem": outcome.problem, "notes": outcome.notes})
        return
    for text in filter(None, (outcome.problem, *outcome.notes)):
        reason = text.removeprefix(outcome.where)
        if reason != text:
            reasons[reason] += 1
        if reasons[reason] <= _EQUAL:
            show_line(text, wrap=False, err=True)
    if kept and kept.is_new and is_shown:
        show_line(f"{kept.entry_id} v{kept.version}: {outcome.where}", wrap=False)


def annotate(
    place: Place,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…",
            show_default=False,
            help="UniProt's .dat or FASTA; AlphaMissense; tables of domains, residues, "
            "collections.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Import facts about proteins, residues and collections.

    The content of a file determines its kind. Bad rows are reported and skipped; importing a file
    twice changes nothing. Example: foldry db annotate lab.db uniprot_sprot.dat.gz
    """
    database = open_database(place)
    from foldry.database.annotation_files import Annotated as Done
    from foldry.database.annotations import annotate as import_file

    def until_error(file: Path) -> Iterator[Done | FoldryError]:
        try:
            yield from import_file(database, file)
        except InputError as error:  # the other files may be good
            yield error

    errors: list[FoldryError | None] = []
    for each in chain.from_iterable(map(until_error, files)):
        if not isinstance(each, Done):
            errors.append(each)
            _show_problem(each, as_json)
            continue
        errors.append(None)
        if as_json:
            show_json({**asdict(each), "path": str(each.path)})
        else:
            what = f"{each.path} ({each.kind}): {each.num_new} new, {each.num_same} known"
            unknown = f", {each.num_unknown} about proteins that are not in the database"
            show_line(what + (unknown if each.num_unknown else ""), wrap=False)
    if code := exit_code(errors):
        raise typer.Exit(code)


def _show_problem(error: FoldryError, as_json: bool) -> None:
    if as_json:
        show_json({"where": error.where, "problem": str(error)})
    else:
        show_line(sentence(error), wrap=False, err=True)


class _WithSigns(TyperCommand):
    """A command with arguments such as `-draft`, which are no options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {"--json", *ctx.help_option_names}
        options = [each for each in args if each in known]
        words = [each for each in args if each not in known]
        parsed: list[str] = super().parse_args(ctx, [*options, "--", *words])
        return parsed


def tag(
    place: Place,
    name: Id,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="+TAG…", show_default=False, help="+TAG adds, -TAG removes."),
    ],
    as_json: AsJson = False,
) -> None:
    """Add tags to an entry, and remove others.

    Example: foldry db tag lab.db P00520 +kinase -draft
    """
    database = open_database(place)
    for each in changes:
        if each[:1] not in "+-" or not each[1:].strip():
            raise InputError(f"{each!r} is neither +TAG nor -TAG", "put + or - before the tag")
    added, removed = (
        [each[1:] for each in changes if each.startswith(sign)] for sign in ("+", "-")
    )
    show_entry(database.tag(name, added, removed), as_json)


def withdraw(
    place: Place,
    name: Id,
    reason: Annotated[
        str | None, typer.Argument(metavar="REASON", show_default=False, help="Why.")
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Take the withdrawal back instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw an entry: it is kept, but searches leave it out.

    foldry db show gives the reason.
    Example: foldry db withdraw lab.db P00520 "wrong sequence"
    """
    if (reason is None) != restore:
        raise InputError("A withdrawal needs a reason", "give REASON, or --restore to take it back")
    database = open_database(place)
    changed = database.restore(name) if restore else database.withdraw(name, reason or "")
    show_entry(changed, as_json)


def verify(place: Place, as_json: AsJson = False) -> None:
    """Read everything in a database and report what is wrong.

    Others may write meanwhile. Example: foldry db verify lab.db
    """
    database = open_database(place)
    from foldry.database.verify import verify as problems

    total, found = database.num_entries, 0
    with progress_bar() as progress:
        for each in problems(database, lambda count: progress("entries", count, total)):
            found += 1
            if as_json:
                show_json(asdict(each))
            else:
                show_line(str(each), wrap=False)
    if not as_json:
        show_line(f"{shown_number(total)}, {counted(found, 'problem')}")
    if found:
        raise typer.Exit(SOME_FAILED)


def gc(
    place: Place,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="First delete withdrawn entries, with all their versions."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what nothing names, and merge the search's data.

    Without --purge, no entry and no version is deleted. Example: foldry db gc lab.db
    """
    database = open_database(place)
    from foldry.database.gc import collect_garbage

    removed = collect_garbage(database, purge=purge)
    if as_json:
        show_json(asdict(removed))
        return
    for name in removed.entries:
        show_line(f"{name}: deleted with all its versions", wrap=False)
    freed = f"{removed.bytes / 1e6:,.1f} MB"
    show_line(f"{counted(removed.objects, 'object')} removed, {freed} freed", wrap=False)


def migrate(place: Place, as_json: AsJson = False) -> None:
    """Bring a database of an earlier version up to date.

    Example: foldry db migrate lab.db
    """
    check_packages()
    from foldry.database.migrate import migrate as apply
    from foldry.database.place import find_place

    revisions = apply(place)
    if as_json:
        show_json({"revisions": revisions})
    else:
        done = f"migrated to {revisions[-1]}" if revisions else "is up to date"
        show_line(f"{find_place(place).shown}: {done}", wrap=False)


def stats(place: Place, as_json: AsJson = False) -> None:
    """Show how much a database holds.

    Example: foldry db stats lab.db
    """
    database = open_database(place)
    from foldry.database.collections import all_collections
    from foldry.database.statistics import statistics

    found, collections = statistics(database), all_collections(database)
    if as_json:
        show_json(asdict(found) | {"collections": list(map(asdict, collections))})
        return
    values = [(each.name, getattr(found, each.name)) for each in fields(found)]
    numbers = [
        (name, f"{value:,}" if isinstance(value, int) and name != "block" else str(value))
        for name, value in values
    ]
    show_table(["what", "number"], numbers)
    if collections:
        rows = [
            (each.name, each.title, ", ".join(each.subjects), f"{each.num_entries:,}")
            for each in collections
        ]
        show_table(["collection", "title", "subjects", "entries"], rows)


for command in (
    *(init, add, import_, db_read.list_, db_read.show, db_read.export, db_read.search),
    *(annotate, tag, withdraw, verify, gc, migrate, stats),
):
    kind = _WithSigns if command is tag else None
    app.command(command.__name__.rstrip("_"), cls=kind)(command)

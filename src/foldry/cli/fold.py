"""`foldry fold`: queries → predictions."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from foldry.cli.messages import HINTS, exit_code, sentence
from foldry.errors import InputError
from foldry.relax.result import MAX_ROUNDS, MAX_SECONDS
from foldry.store.files import check_folder

if TYPE_CHECKING:
    from rich.table import Table

    from foldry.features.pairing import PairingReport
    from foldry.predict.runner import Outcome, Progress
    from foldry.query import Query
    from foldry.structure import Structure

MAX_SEEDS: Final = 1000
SHOWN_SPECIES: Final = 5

_STRUCTURE: Final = re.compile(r".+\.(cif|mmcif|bcif|pdb|ent)(\.gz)?(:[^/:]+)?", re.IGNORECASE)

logger = logging.getLogger(__name__)


Queries = Annotated[
    list[str],
    typer.Argument(
        metavar="QUERY",
        show_default=False,
        help="Files or folders: FASTA, a3m, Stockholm or AlphaFold 3's JSON, gzipped or not.",
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the results go.")]
Weights = Annotated[
    str, typer.Option(metavar="WHICH", help="mini, or a file or folder of parameters.")
]
Models = Annotated[
    str | None, typer.Option(metavar="LIST", help="Such as 1-5, 1,3 or model_1_ptm; or all.")
]
Seeds = Annotated[
    str | None, typer.Option(metavar="LIST", help="Such as 0-4 or 1,7; or the query's; or 0.")
]
Templates = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE...", help="Known structures: a.cif b.pdb:C (chain C)."),
]
Together = Annotated[
    bool, typer.Option("--together", help="All records of a FASTA file are one complex.")
]
Pairing = Annotated[
    str, typer.Option(metavar="HOW", help="Of chains' rows: alphafold, greedy, complete or none.")
]
MaxMSA = Annotated[
    str | None, typer.Option(metavar="N:EXTRA", help="Alignment rows, such as 512:1024.")
]
MaxLength = Annotated[
    int, typer.Option(metavar="N", min=1, help="Refuse queries of more residues.")
]
NumRecycles = Annotated[
    int | None, typer.Option(metavar="N", min=0, max=100, help="Passes after the first.")
]
RecycleTolerance = Annotated[
    float | None, typer.Option(metavar="Å", min=0, help="Stop when the change is less.")
]
Ensemble = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=100, help="Alignment draws a pass.")
]
Dropout = Annotated[bool, typer.Option("--dropout", help="Keep dropout on, to sample structures.")]
Representations = Annotated[
    bool, typer.Option("--save-representations", help="Also write the network's last state.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:1.")]
DType = Annotated[str, typer.Option(metavar="NAME", help="float32 or bfloat16.")]
Relax = Annotated[str, typer.Option(metavar="WHICH", help="Relax none, the best or all.")]
RelaxPlatform = Annotated[
    str, typer.Option(metavar="NAME", help="Relax on auto, cuda, cpu or reference.")
]
RelaxRounds = Annotated[
    int, typer.Option(metavar="N", min=1, max=100, help="Minimisations at most.")
]
RelaxSeconds = Annotated[
    float, typer.Option(metavar="S", min=1, help="Time to relax a prediction at most.")
]
Force = Annotated[bool, typer.Option("--force", help="Compute finished predictions again.")]


def fold(
    queries: Queries,
    out: Out,
    weights: Weights = "mini",
    models: Models = None,
    seeds: Seeds = None,
    templates: Templates = None,
    together: Together = False,
    pairing: Pairing = "alphafold",
    max_msa: MaxMSA = None,
    max_length: MaxLength = 5000,
    num_recycles: NumRecycles = None,
    recycle_tolerance: RecycleTolerance = None,
    ensemble: Ensemble = None,
    dropout: Dropout = False,
    save_representations: Representations = False,
    device: Device = "auto",
    dtype: DType = "float32",
    relax: Relax = "none",
    relax_platform: RelaxPlatform = "auto",
    relax_rounds: RelaxRounds = MAX_ROUNDS,
    relax_seconds: RelaxSeconds = MAX_SECONDS,
    force: Force = False,
) -> None:
    """Predict protein structures.

    All input is checked before anything is computed. Running the same command again resumes.
    """
    from foldry.predict.settings import Settings

    settings = Settings(
        weights=weights,
        models=parse_models(models),
        num_recycles=num_recycles,
        recycle_tolerance=recycle_tolerance,
        seeds=parse_seeds(seeds),
        max_msa=parse_max_msa(max_msa),
        pairing=pairing,  # type: ignore[arg-type]
        dropout=dropout,
        num_ensemble=ensemble,
        save_representations=save_representations,
        device=device,
        dtype=dtype,
        relax=relax,
        relax_platform=relax_platform,
        relax_rounds=relax_rounds,
        relax_seconds=relax_seconds,
        force=force,
    )
    check_folder(out)
    files, structures = split_inputs(queries, templates or [])
    asked = read_input(files, max_length, together)
    known = [read_template(name) for name in structures]

    from foldry.features.pairing import align_complex
    from foldry.predict import remarks, runner

    runner.runtime(settings)
    asked = [runner.with_templates(query, known) for query in asked]
    for query in asked:
        runner.networks_for(query, settings)
    complexes = [query for query in asked if query.num_chains > 1]
    reports = [align_complex(query, settings.pairing).report for query in complexes]
    remarks.warn_of_nucleic_acids(asked)
    remarks.warn_of_single_sequences(asked)
    remarks.warn_of_unused_pairing(asked, settings.pairing)
    if together:
        _check_joined(asked)
    for query, report in zip(complexes, reports, strict=True):
        remarks.tell_pairing(query, report)
        _show_species(query, report)
    for query in asked:
        check_folder(out / query.name)
    with progress_bar() as progress:
        outcomes = runner.run(asked, out, settings, progress=progress)
    _show(outcomes)
    if code := exit_code(outcome.error for outcome in outcomes):
        raise typer.Exit(code)


def read_input(files: Sequence[str], max_length: int, together: bool = False) -> list[Query]:
    """The queries of these files, each one that can be folded.

    Args:
        files: Files and folders.
        max_length: Residues of the longest query allowed, all chains together.
        together: Whether all records of a FASTA file are one complex.

    Raises:
        InputError: A file is wrong, or a query is too long.
    """
    from foldry.inputs.queries import locate_queries

    queries = locate_queries([Path(file) for file in files], together=together)
    for query, path in queries:
        if query.num_residues > max_length:
            raise InputError(
                f"has {query.num_residues} residues and the limit is {max_length}",
                "cut it into overlapping pieces, at domain borders if they are known, or raise "
                "--max-length if the memory allows",
                where=f"{path}, query {query.name}",
            )
    return [query for query, _ in queries]


def _check_joined(queries: Sequence[Query]) -> None:
    """Whether --together had something to join: nothing at all is an error, a lone chain a word."""
    alone = [query.name for query in queries if query.num_chains == 1]
    if len(alone) == len(queries):
        raise InputError(
            "--together joins the records of one FASTA file, and here every file has one chain",
            "put the chains into one file, or into a JSON file with their alignments",
        )
    if alone:
        more = f" and {len(alone) - 1} more queries are" if alone[1:] else " is"
        logger.warning("--together finds nothing to join: %s one chain.", alone[0] + more)


def split_inputs(queries: Sequence[str], templates: Sequence[str]) -> tuple[list[str], list[str]]:
    """Query files and templates; after `--templates` several structures may follow.

    Raises:
        InputError: A structure is given as a query, or there is no query.
    """
    structures = [name for name in queries if _STRUCTURE.fullmatch(name)]
    files = [name for name in queries if name not in structures]
    if structures and not templates:
        raise InputError(
            "is a structure and not a query",
            "give it with --templates, or its sequence as FASTA",
            where=structures[0],
        )
    if not files:
        raise InputError("There is no query", "give a FASTA, a3m or JSON file")
    return files, [*templates, *structures]


def read_template(name: str) -> Structure:
    """The structure of a file, or of it the chains after a last `:`, such as `x.cif:A`.

    Raises:
        InputError: The file is no structure, or has no such chain.
    """
    from foldry.inputs.structures import read_named

    return read_named(name)


def parse_models(text: str | None) -> tuple[str, ...] | None:
    """Numbers and names of `1-5`, `1,3` or `model_1_ptm,model_2_ptm`; None for `all` or None.

    Raises:
        InputError: A part is neither a number from 1 to 5, a range of these, nor a name.
    """
    if text in (None, "all"):
        return None
    chosen: list[str] = []
    for part in map(str.strip, text.split(",")):
        numbers = re.fullmatch(r"([1-5])-([1-5])", part)
        names = [part]
        if numbers:
            names = [str(number) for number in range(int(numbers[1]), int(numbers[2]) + 1)]
        if not names or not all(re.fullmatch(r"[1-5]|[A-Za-z]\w*", name) for name in names):
            raise InputError(
                f"--models {text!r} is not understood",
                "write numbers from 1 to 5 as 1-5 or 1,3, or names such as model_1_ptm",
            )
        chosen += names
    return tuple(dict.fromkeys(chosen))


def parse_seeds(text: str | None) -> tuple[int, ...]:
    """Seeds of `7`, `1,2,3` or `0-4`; empty for None.

    Raises:
        InputError: A part is neither a whole number nor a range, or there are too many.
    """
    from foldry.formats.job import MAX_SEED

    if text is None:
        return ()
    chosen: list[int] = []
    for part in text.split(","):
        numbers = re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", part)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (1, 0)
        if not first <= last <= MAX_SEED or len(chosen) + last - first >= MAX_SEEDS:
            raise InputError(
                f"--seeds {text!r} is not understood",
                f"write whole numbers from 0 to {MAX_SEED} as 7, 1,2,3 or 0-4, at most "
                f"{MAX_SEEDS} of them",
            )
        chosen += range(first, last + 1)
    return tuple(dict.fromkeys(chosen))


def parse_max_msa(text: str | None) -> tuple[int, int] | None:
    """Rows of `clusters:extra`; None for None.

    Raises:
        InputError: It is not two whole numbers, the first at least 1.
    """
    if text is None:
        return None
    numbers = re.fullmatch(r"(\d{1,6}):(\d{1,6})", text)
    if numbers is None or not int(numbers[1]):
        raise InputError(
            f"--max-msa {text!r} is not understood", "write clusters:extra, such as 512:1024"
        )
    return int(numbers[1]), int(numbers[2])


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A line on standard error that says what is being done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", visible=False)

        def show(what: str, finished: int, total: int) -> None:
            bar.update(task, description=what, completed=finished, total=total, visible=True)

        yield show


def _show_species(query: Query, report: PairingReport) -> None:
    """A table of the species with the most paired rows; copies of a chain share a column."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from foldry.predict.remarks import distinct_chains

    if not report.species:
        return
    distinct = distinct_chains(query)
    table = Table(box=None)
    of_chains = (f"rows of {report.chains[k]}" for k in distinct)
    for title in ("species", *of_chains, "paired", "why not"):
        table.add_column(title, overflow="fold")
    ranked = sorted(report.species, key=lambda each: (-each.num_paired, -sum(each.counts)))
    for each in ranked[:SHOWN_SPECIES]:
        counts = (*(each.counts[k] for k in distinct), each.num_paired)
        table.add_row(Text(each.species), *map(str, counts), each.reason)
    console = Console()
    console.print(table)
    if ranked[SHOWN_SPECIES:]:
        console.print(Text(f"… and {len(ranked) - SHOWN_SPECIES} more species"))


def _show(outcomes: Sequence[Outcome]) -> None:
    """A table of how every query ended, and one of what was relaxed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from foldry.weights.bundled import MINI_NOTICE

    table = Table(box=None)
    known = {
        "pLDDT": [outcome.mean_plddt for outcome in outcomes],
        "pTM": [outcome.ptm for outcome in outcomes],
        "ipTM": [outcome.iptm for outcome in outcomes],
    }
    measures = {name: values for name, values in known.items() if any(values) or name == "pLDDT"}
    for title in ("query", "status", *measures, "where, or why not"):
        table.add_column(title, overflow="fold")
    for outcome, *numbers in zip(outcomes, *measures.values(), strict=True):
        cells = (
            "" if value is None else f"{value:.{1 if name == 'pLDDT' else 2}f}"
            for name, value in zip(measures, numbers, strict=True)
        )
        last = Text(sentence(outcome.error) if outcome.error else str(outcome.folder))
        table.add_row(Text(outcome.name), outcome.status, *cells, last)
    console = Console()
    console.print(table)
    if any(outcome.relaxations for outcome in outcomes):
        console.print()
        console.print(_relaxed(outcomes))
    for notice in dict.fromkeys(outcome.notice for outcome in outcomes if outcome.notice):
        console.print(Text(notice))
        if notice == MINI_NOTICE:
            console.print(Text(f"{HINTS['official_weights']}; name their folder by --weights."))


def _relaxed(outcomes: Sequence[Outcome]) -> Table:
    """What relaxing changed in each prediction, or why it changed nothing."""
    from rich.table import Table
    from rich.text import Text

    ended = [
        (f"{outcome.name} ranked_{rank}", each)
        for outcome in outcomes
        for rank, each in enumerate(outcome.relaxations)
    ]
    titles = ["relaxation of", "clashes", "violations", "Cα moved by"]
    if any(each.reason for _, each in ended):
        titles.append("remark")
    table = Table(box=None)
    for title in titles:
        table.add_column(title, overflow="fold")
    for name, each in ended:
        cells = ["–", "–", "–"]
        if each.relaxed:
            cells = [
                f"{each.clashes_before} → {each.clashes_after}",
                f"{each.violations_before} → {each.violations_after}",
                f"{each.median_move:.2f} Å, at most {each.max_move:.2f} Å",
            ]
        remark = each.reason if each.relaxed else f"Not relaxed: {each.reason}"
        table.add_row(Text(name), *cells, *map(Text, [remark][: len(titles) - 4]))
    return table

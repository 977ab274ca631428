"""`foldry fold`: queries → predictions."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from foldry.errors import InputError
from foldry.relax.relaxation import MAX_ROUNDS, MAX_SECONDS

if TYPE_CHECKING:
    from foldry.features.pairing import PairingReport
    from foldry.predict.runner import Outcome, Progress
    from foldry.query import Query
    from foldry.structure import Structure

MAX_SEEDS: Final = 1000
MIN_NUCLEOTIDES: Final = 12
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
        models=None if models in (None, "all") else parse_models(models),
        num_recycles=num_recycles,
        recycle_tolerance=recycle_tolerance,
        seeds=() if seeds is None else parse_seeds(seeds),
        max_msa=None if max_msa is None else parse_max_msa(max_msa),
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
    check_out(out)
    files, structures = split_inputs(queries, templates or [])
    asked = read_input(files, max_length, together)
    known = [read_template(name) for name in structures]

    from foldry.features.pairing import align_complex
    from foldry.predict import runner

    runner.runtime(settings)
    asked = [runner.with_templates(query, known) for query in asked]
    for query in asked:
        runner.networks_for(query, settings)
    complexes = [query for query in asked if query.num_chains > 1]
    reports = [align_complex(query, settings.pairing).report for query in complexes]
    _warn_of_nucleic_acids(asked)
    warn_of_single_sequences(asked)
    if together:
        _check_joined(asked)
    for query, report in zip(complexes, reports, strict=True):
        _show_pairing(query, report)
    with progress_bar() as progress:
        outcomes = runner.run(asked, out, settings, progress=progress)
    _show(outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def read_input(files: Sequence[str], max_length: int, together: bool = False) -> list[Query]:
    """The queries of these files, each one that can be folded.

    Args:
        files: Files and folders.
        max_length: Residues of the longest query allowed, all chains together.
        together: Whether all records of a FASTA file are one complex.

    Raises:
        InputError: A file is wrong, or a query is too long.
    """
    from foldry.formats.query import locate_queries

    queries = locate_queries([Path(file) for file in files], together=together)
    for query, path in queries:
        if query.num_residues > max_length:
            raise InputError(
                f"{path}: {query.name} has {query.num_residues} residues and the limit is "
                f"{max_length}: cut it into overlapping pieces, at domain borders if they are "
                "known, or raise --max-length if the memory allows."
            )
    return [query for query, _ in queries]


def _check_joined(queries: Sequence[Query]) -> None:
    """Whether --together had something to join: nothing at all is an error, a lone chain a word."""
    alone = [query.name for query in queries if query.num_chains == 1]
    if len(alone) == len(queries):
        raise InputError(
            "--together joins the records of one FASTA file, and here every file has one chain: "
            "put the chains into one file, or into a JSON file with their alignments."
        )
    if alone:
        more = f" and {len(alone) - 1} more queries are" if alone[1:] else " is"
        logger.warning("--together finds nothing to join: %s one chain.", alone[0] + more)


def warn_of_single_sequences(queries: Sequence[Query]) -> None:
    """Names the first query with a chain that is its own only row, and counts the others."""
    single = [
        query.name
        for query in queries
        if any(
            max((len(rows.sequences) for rows in c.alignments), default=1) < 2 for c in query.chains
        )
    ]
    if single:
        more = f" and {len(single) - 1} more queries have" if single[1:] else " has"
        logger.warning(
            "%s no alignment; a single sequence is folded with low confidence.", single[0] + more
        )


def _warn_of_nucleic_acids(queries: Sequence[Query]) -> None:
    for query in queries:
        for chain in query.chains:
            if len(chain.sequence) >= MIN_NUCLEOTIDES and set(chain.sequence) <= set("ACGTNX"):
                logger.warning(
                    "%s has no letters but those of DNA or RNA and is folded as a protein: give "
                    "the amino acids.",
                    query.name,
                )


def split_inputs(queries: Sequence[str], templates: Sequence[str]) -> tuple[list[str], list[str]]:
    """Query files and templates; after `--templates` several structures may follow.

    Raises:
        InputError: A structure is given as a query, or there is no query.
    """
    structures = [name for name in queries if _STRUCTURE.fullmatch(name)]
    files = [name for name in queries if name not in structures]
    if structures and not templates:
        raise InputError(
            f"{structures[0]} is a structure and no query: give it with --templates, or its "
            "sequence as FASTA."
        )
    if not files:
        raise InputError("There is no query: give a FASTA, a3m or JSON file.")
    return files, [*templates, *structures]


def read_template(name: str) -> Structure:
    """The structure of a file, or of it the chains after a last `:`, such as `x.cif:A`.

    Raises:
        InputError: The file is no structure, or has no such chain.
    """
    from foldry.formats.chains import read_named

    return read_named(name)


def parse_models(text: str) -> tuple[str, ...]:
    """Numbers and names of `1-5`, `1,3` or `model_1_ptm,model_2_ptm`.

    Raises:
        InputError: A part is neither a number from 1 to 5, a range of these, nor a name.
    """
    chosen: list[str] = []
    for part in map(str.strip, text.split(",")):
        numbers = re.fullmatch(r"([1-5])-([1-5])", part)
        names = [part]
        if numbers:
            names = [str(number) for number in range(int(numbers[1]), int(numbers[2]) + 1)]
        if not names or not all(re.fullmatch(r"[1-5]|[A-Za-z]\w*", name) for name in names):
            raise InputError(
                f"--models {text!r} is not understood: write numbers from 1 to 5 as 1-5 or 1,3, or "
                "names such as model_1_ptm."
            )
        chosen += names
    return tuple(dict.fromkeys(chosen))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds of `7`, `1,2,3` or `0-4`.

    Raises:
        InputError: A part is neither a whole number nor a range, or there are too many.
    """
    from foldry.formats.job import MAX_SEED

    chosen: list[int] = []
    for part in text.split(","):
        numbers = re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", part)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (1, 0)
        if not first <= last <= MAX_SEED or len(chosen) + last - first >= MAX_SEEDS:
            raise InputError(
                f"--seeds {text!r} is not understood: write whole numbers from 0 to {MAX_SEED} as "
                f"7, 1,2,3 or 0-4, at most {MAX_SEEDS} of them."
            )
        chosen += range(first, last + 1)
    return tuple(dict.fromkeys(chosen))


def parse_max_msa(text: str) -> tuple[int, int]:
    """Rows of `clusters:extra`.

    Raises:
        InputError: It is not two whole numbers, the first at least 1.
    """
    numbers = re.fullmatch(r"(\d{1,6}):(\d{1,6})", text)
    if numbers is None or not int(numbers[1]):
        raise InputError(
            f"--max-msa {text!r} is not understood: write clusters:extra, such as 512:1024."
        )
    return int(numbers[1]), int(numbers[2])


def check_out(out: Path) -> None:
    """Whether a folder of this name can be made and written.

    Raises:
        InputError: It cannot.
    """
    folder = next(each for each in (out, *out.absolute().parents) if each.exists())
    if not folder.is_dir():
        raise InputError(f"--out {out} cannot be a folder: {folder} is a file; name another.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--out {out} cannot be written in {folder}: name another folder.")


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


def _show_pairing(query: Query, report: PairingReport) -> None:
    """A line, also logged, of how the alignments were paired, and a table of the first species.

    Copies of a chain share their rows, which are told once.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from foldry.formats.query import stoichiometry

    paired = [each for each in report.species if each.num_paired]
    others = Counter(each.reason for each in report.species if each.reason)
    how = f"of {len(paired)} species" if report.species else "as the file pairs them"
    sequences = [chain.sequence for chain in query.chains for _ in chain.ids]
    distinct = [sequences.index(sequence) for sequence in dict.fromkeys(sequences)]
    if len(distinct) == 1:
        how = "as all chains are equal"
    logger.info(
        "%s (%s): %d paired rows %s; unpaired rows: %s.",
        query.name,
        stoichiometry(query),
        max(len(report.rows) - 1, 0),
        how,
        ", ".join(f"{report.chains[k]} {report.num_unpaired[k]}" for k in distinct),
    )
    for reason, number in others.most_common():
        logger.info("%s: %d species not paired: %s.", query.name, number, reason)
    if not report.species:
        return
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
    """A table of how every query ended."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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
        last = Text(outcome.reason or str(outcome.folder))
        table.add_row(Text(outcome.name), outcome.status, *cells, last)
    console = Console()
    console.print(table)
    for notice in dict.fromkeys(outcome.notice for outcome in outcomes if outcome.notice):
        console.print(Text(notice))

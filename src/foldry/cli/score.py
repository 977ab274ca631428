"""`foldry score`: how right a model is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldry.errors import InputError

if TYPE_CHECKING:
    from foldry.score.assess import Assessment, ScoreSettings

_MOST_NAMED = 8
_SUSPICIOUS = 0.1


def score(
    model: Annotated[
        str | None,
        typer.Argument(help="PDB, mmCIF or BinaryCIF file, gzipped or not; FILE:A,B for chains."),
    ] = None,
    reference: Annotated[
        str | None, typer.Argument(help="The experiment, in any of these formats.")
    ] = None,
    align: Annotated[
        bool, typer.Option("--align", help="Match residues by sequence, not by number.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON with OpenStructure's names.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: a line of names, a line of numbers.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="SVG to write: lDDT, and pLDDT if any, along the sequence.")
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            metavar="PAIRS", help="CSV with the columns model, reference and, if any, name."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV that --batch writes, a row a pair.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes of --batch; one a core if left out.")
    ] = None,
) -> None:
    """Compare a model with the experiment: lDDT, TM-score, GDT, RMSD.

    With --batch many pairs: the exit code is 1 if a pair could not be scored.
    """
    from foldry.score.assess import ScoreSettings, score_files

    settings = ScoreSettings(align=align)
    if batch is not None:
        _check_batch(model, json or csv, batch, out)
        _score_batch(batch, out or Path(), settings, jobs)
        return
    if out is not None or jobs is not None:
        raise InputError("--out and --jobs belong to --batch: leave them out for one pair.")
    if json and csv:
        raise InputError("--json and --csv are two forms of the same: choose one.")
    if model is None or reference is None:
        raise InputError("A MODEL and a REFERENCE are needed: see `foldry score --help`.")
    assessment = score_files(model, reference, settings)
    if plot is not None:
        _write_plot(assessment, plot)
    if json:
        _print_json(assessment)
    elif csv:
        _print_csv(assessment, model, reference)
    else:
        _print_table(assessment, align)


def _check_batch(model: str | None, printed: bool, batch: Path, out: Path | None) -> None:
    if model is not None or printed:
        raise InputError("--batch writes CSV of the pairs in its file: give it and --out alone.")
    if out is None:
        raise InputError("--batch needs --out: name the CSV file for the scores.")
    if not out.parent.is_dir():
        raise InputError(f"--out {out} cannot be written: there is no folder {out.parent}.")
    if out.is_dir() or (out.exists() and batch.exists() and out.samefile(batch)):
        raise InputError(f"--out {out} would replace a folder or the pairs: name another file.")


def _score_batch(batch: Path, out: Path, settings: ScoreSettings, jobs: int | None) -> None:
    from rich.console import Console
    from rich.progress import track

    from foldry.score.batch import read_pairs, save_rows, score_pairs

    pairs = read_pairs(batch)
    console = Console(stderr=True)
    rows = track(
        score_pairs(pairs, settings, jobs),
        "scoring",
        len(pairs),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    failed = save_rows(rows, out)
    typer.echo(f"{len(pairs) - failed} of {len(pairs)} pairs scored: {out}")
    if failed:
        typer.echo(f"{failed} could not be scored: the column error says why.", err=True)
        raise typer.Exit(1)


def _write_plot(assessment: Assessment, path: Path) -> None:
    from foldry.score.plot import to_svg, tracks

    scores = assessment.scores
    title = f"lDDT {scores.lddt:.2f}: {scores.model_name} against {scores.reference_name}"
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(to_svg(title, tracks(assessment)), encoding="utf-8")
    partial.replace(path)


def _print_json(assessment: Assessment) -> None:
    from json import dumps

    from foldry.score.table import to_json

    typer.echo(dumps(to_json(assessment), indent=1))


def _print_csv(assessment: Assessment, model: str, reference: str) -> None:
    from foldry.score.batch import Pair, Row, write_rows
    from foldry.score.table import numbers

    row = Row(Pair(assessment.scores.model_name, model, reference), numbers(assessment))
    write_rows([row], sys.stdout)


def _print_table(assessment: Assessment, align: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from foldry.score.table import NUMBERS, numbers

    table = Table("score", "value", "of what", box=None)
    for number, value in zip(NUMBERS, numbers(assessment), strict=True):
        if number.label:
            shown = "–" if value is None else f"{value:.4f}"
            table.add_row(number.label, shown, number.meaning)
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for line in _matching(assessment, align):
        console.print(line, markup=False)


def _matching(assessment: Assessment, align: bool) -> list[str]:
    """What was compared, and what was not."""
    scores, match = assessment.scores, assessment.scores.match
    lines = [f"{scores.num_matched} of the reference's {scores.num_reference} residues compared."]
    for what, residues in (
        ("Not in the model", match.unmatched_reference),
        ("Not in the reference", match.unmatched_model),
        ("Of different amino acids (reference-model)", match.mismatched),
    ):
        if residues:
            more = f" and {len(residues) - _MOST_NAMED} more" if len(residues) > _MOST_NAMED else ""
            lines.append(f"{what}: {', '.join(residues[:_MOST_NAMED])}{more}.")
    if not align and len(match.mismatched) > _SUSPICIOUS * len(match.pairs):
        lines.append("The numbers of the two files seem to differ: try --align.")
    return lines

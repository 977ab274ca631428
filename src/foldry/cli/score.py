"""`foldry score`: how right a model is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from foldry.cli.messages import as_flags
from foldry.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from foldry.assess.assess import Agreement, Assessment, ScoreSettings
    from foldry.score.confidence import InterfaceConfidence
    from foldry.score.dockq import DockQ

_MOST_NAMED = 8
_PDB_ENTRY = re.compile(r"[1-9][A-Za-z0-9]{3}")
_SUSPICIOUS, _UNRELATED = 0.1, 0.5
"""Shares of partners of different amino acids, by number and by alignment."""


def score(
    model: Annotated[
        str | None,
        typer.Argument(help="Structure file, FILE:A,B for chains, or a folder of `foldry fold`."),
    ] = None,
    reference: Annotated[
        str | None, typer.Argument(help="The experiment; without it what the model alone tells.")
    ] = None,
    align: Annotated[
        bool, typer.Option("--align", help="Match residues by sequence, not by number.")
    ] = False,
    stereochemistry: Annotated[
        bool,
        typer.Option("--stereochemistry", help="Atoms with bad geometry count as lost in lDDT."),
    ] = False,
    pae: Annotated[
        Path | None, typer.Option(help="JSON of the model's predicted aligned errors.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON with OpenStructure's names.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: a line of names, a line of numbers.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="SVG to write: lDDT-Cα and pLDDT along the sequence.")
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(metavar="PAIRS", help="CSV with the columns model, reference and maybe name."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV that --batch writes, a row a pair.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes of --batch; one a core if left out.")
    ] = None,
) -> None:
    """Compare a model with the experiment: lDDT, TM-score, GDT, RMSD, DockQ, confidence.

    Structures are PDB, mmCIF or BinaryCIF, gzipped or not. With --batch the exit code is 1 if a
    pair could not be scored.
    """
    from foldry.assess.assess import ScoreSettings, assess_files

    settings = ScoreSettings(align=align, stereochemistry=stereochemistry)
    if batch is not None:
        alone = {"MODEL": model, "--json": json, "--csv": csv, "--plot": plot, "--pae": pae}
        _check_batch([name for name, given in alone.items() if given], batch, out)
        _score_batch(batch, out or Path(), settings, jobs)
        return
    if model is None:
        raise InputError("A MODEL is needed, or --batch", "see `foldry score --help`")
    if out is not None or jobs is not None:
        raise InputError("--out and --jobs belong to --batch", "leave them out for one pair")
    if json and csv:
        raise InputError("--json and --csv are two forms of the same", "choose one")
    needy = {"--align": align, "--stereochemistry": stereochemistry, "--plot": plot}
    if reference is None:
        _check_alone([name for name, given in needy.items() if given])
    inputs = [model, reference or "", str(pae or "")]
    _check_files(inputs)
    if plot is not None:
        _check_plot(plot, inputs)
    assessment = assess_files(model, reference, settings, pae)
    if plot is not None:
        _write_plot(assessment, plot)
    if json:
        _print_json(assessment, model, reference)
    elif csv:
        _print_csv(assessment, model, reference or "")
    else:
        _print_tables(assessment, settings)


def _check_alone(needy: Sequence[str]) -> None:
    if needy:
        raise InputError(f"{needy[0]} needs a REFERENCE", f"give one, or leave {needy[0]} out")


def _check_files(inputs: Iterable[str]) -> None:
    from foldry.inputs.structures import split_name

    for path, _ in map(split_name, inputs):
        if _PDB_ENTRY.fullmatch(str(path)) and not path.exists():
            raise InputError("is not a file", "download the entry and give its path", where=path)


def _check_plot(plot: Path, inputs: Iterable[str]) -> None:
    if plot.suffix.lower() != ".svg":
        raise InputError("is not an SVG file", "end its name in .svg", where=f"--plot {plot}")
    _check_target("--plot", plot, inputs)


def _check_batch(useless: Sequence[str], batch: Path, out: Path | None) -> None:
    if useless:
        raise InputError("--batch writes CSV of the pairs in its file", f"leave out {useless[0]}")
    if out is None:
        raise InputError("--batch needs --out", "name the CSV file for the scores")
    _check_target("--out", out, [str(batch)])


def _check_target(option: str, path: Path, inputs: Iterable[str]) -> None:
    """Refuses a file that cannot be written, or is one of these structures or tables."""
    from foldry.inputs.structures import split_name
    from foldry.store.files import check_file

    check_file(path)
    if not path.exists():
        return
    for name in inputs:
        source = split_name(name)[0]
        if source.exists() and path.samefile(source):
            raise InputError(f"{option} {path} would replace an input", "name another file")


def _score_batch(batch: Path, out: Path, settings: ScoreSettings, jobs: int | None) -> None:
    from rich.console import Console
    from rich.progress import track

    from foldry.assess.batch import read_pairs, save_rows, score_pairs
    from foldry.store.locks import hold_file

    pairs = read_pairs(batch)
    files = (str(each.folder / name) for each in pairs for name in (each.model, each.reference))
    _check_target("--out", out, files)
    console = Console(stderr=True)
    rows = track(
        score_pairs(pairs, settings, jobs),
        "scoring",
        len(pairs),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with hold_file(out):
        failed = save_rows((replace(row, error=as_flags(row.error)) for row in rows), out)
    typer.echo(f"{len(pairs) - failed} of {len(pairs)} pairs scored: {out}")
    if failed:
        typer.echo(f"{failed} could not be scored: the column error says why.", err=True)
        raise typer.Exit(1)


def _write_plot(assessment: Assessment, path: Path) -> None:
    from foldry.assess.plot import to_svg, tracks
    from foldry.store.files import write_text
    from foldry.store.locks import hold_file

    if assessment.agreement is None:
        return
    scores = assessment.agreement.scores
    names = scores.model_name, scores.reference_name
    drawn = tracks(assessment.model, assessment.agreement)
    with hold_file(path):
        write_text(path, to_svg(f"lDDT-Cα {scores.lddt_ca:.2f}", names, drawn))


def _print_json(assessment: Assessment, model: str, reference: str | None) -> None:
    from json import dumps

    from foldry.assess.table import to_json

    typer.echo(dumps(to_json(assessment, model, reference), indent=1))


def _print_csv(assessment: Assessment, model: str, reference: str) -> None:
    from foldry.assess.batch import Pair, Row, write_rows
    from foldry.assess.table import numbers

    row = Row(Pair(model, model, reference), numbers(assessment))
    write_rows([row], sys.stdout)


def _print_tables(assessment: Assessment, settings: ScoreSettings) -> None:
    from rich.console import Console
    from rich.table import Table

    from foldry.assess.table import NUMBERS, value

    console = Console(soft_wrap=True, highlight=False)
    table = Table("score", "value", "of what", box=None)
    for number in NUMBERS:
        found = value(assessment, number)
        if number.label and found is not None:
            table.add_row(number.label, _shown(found), number.meaning)
    console.print(table)
    agreement, confidence = assessment.agreement, assessment.confidence.complex
    if agreement is not None and agreement.complex is not None:
        console.print(_interface_table(agreement.complex.dockq))
    if confidence is not None:
        console.print(_confidence_table(confidence.chains))
    if agreement is not None:
        for line in (*_matching(agreement), *_hints(assessment, settings)):
            console.print(line, markup=False)


def _shown(number: float) -> str:
    if isinstance(number, int):
        return str(number)
    return f"{number:.4f}" if isfinite(number) else "–"


def _interface_table(dockq: DockQ) -> Table:
    """A row for each interface of the reference."""
    from rich.table import Table

    titles = ("interface", "in the model", "DockQ", "Fnat", "iRMSD", "LRMSD", "below 2 Å")
    table = Table(*titles, box=None)
    for each in dockq.interfaces:
        numbers = each.dockq, each.fnat, each.irmsd, each.lrmsd, each.clashes
        names = ("–".join(chains) for chains in (each.reference_chains, each.model_chains))
        table.add_row(*map(escape, names), *map(_shown, numbers))
    for chains, _ in dockq.missing:
        table.add_row(escape("–".join(chains)), "missing", _shown(0.0))
    return table


def _confidence_table(found: InterfaceConfidence) -> Table:
    """A row for each two chains, of the two directions the higher."""
    from rich.table import Table

    table = Table("chains", "ipTM", "ipSAE", "pDockQ", "LIS", box=None)
    for b, other in enumerate(found.chains):
        for a, one in enumerate(found.chains[:b]):
            numbers = [
                max(float(matrix[a, b]), float(matrix[b, a]))
                for matrix in (found.iptm, found.ipsae, found.pdockq)
            ]
            lis = float(found.lis[a, b] + found.lis[b, a]) / 2
            table.add_row(escape(f"{one}–{other}"), *map(_shown, [*numbers, lis]))
    return table


def _matching(agreement: Agreement) -> list[str]:
    """What was compared, and what was not."""
    scores, match = agreement.scores, agreement.scores.match
    lines = [f"Residues of the reference compared: {scores.num_matched} of {scores.num_reference}."]
    if agreement.num_missing_atoms:
        lines.append(
            f"The model lacks {agreement.num_missing_atoms} of their {agreement.num_atoms} atoms: "
            "these count as wrong in lDDT."
        )
    if len(match.chains) > 1 or match.chains[0][0] != match.chains[0][1]:
        pairs = ", ".join(f"{there}–{here}" for here, there in match.chains)
        lines.append(f"Chains (reference–model): {pairs}.")
    for what, names in (
        ("Chains that are not in the model", match.unmatched_reference_chains),
        ("Chains that are not in the reference", match.unmatched_model_chains),
        ("Not in the model", _others(match.unmatched_reference, match.unmatched_reference_chains)),
        ("Not in the reference", _others(match.unmatched_model, match.unmatched_model_chains)),
        ("Of different amino acids (reference-model)", match.mismatched),
    ):
        if names:
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            shown = ", ".join(name.rstrip(".") for name in names[:_MOST_NAMED])
            lines.append(f"{what}: {shown}{more}.")
    return lines


def _hints(assessment: Assessment, settings: ScoreSettings) -> Iterator[str]:
    """What may be wrong with the comparison."""
    from foldry.assess.inputs import plddt_of
    from foldry.score.stereochemistry import keep_mask

    agreement, model = assessment.agreement, assessment.model
    if agreement is None:
        return
    match = agreement.scores.match
    differing = len(match.mismatched) / len(match.pairs)
    strangers = match.unmatched_model_chains and match.unmatched_reference_chains
    if settings.align and differing > _UNRELATED:
        yield "Most matched residues differ: these seem to be different proteins."
    elif not settings.align and differing > _SUSPICIOUS:
        yield "The numbers of the two files seem to differ: try --align."
    elif not settings.align and strangers:
        yield "Both have chains without a partner: if their numbers differ, try --align."
    if model.plddt is None and plddt_of(agreement.reference) is not None:
        yield "The reference has pLDDT and the model has none: the order is MODEL REFERENCE."
    if settings.stereochemistry:
        mask = model.structure.atom_mask
        lost = mask & ~keep_mask(model.structure, assessment.violations)
        yield (
            f"Bad geometry: {lost.sum()} of the model's {mask.sum()} atoms, in "
            f"{lost.any(axis=1).sum()} of {len(mask)} residues, count as lost in lDDT."
        )


def _others(residues: Sequence[str], chains: Sequence[str]) -> list[str]:
    """The residues that are not of these chains."""
    return [residue for residue in residues if residue.split(".")[0] not in chains]

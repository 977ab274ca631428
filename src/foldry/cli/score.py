"""`foldry score`: how right a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from foldry.score.report import Scores

_MOST_NAMED = 8
_SUSPICIOUS = 0.1


def score(
    model: Annotated[Path, typer.Argument(help="PDB, mmCIF or BinaryCIF file, gzipped or not.")],
    reference: Annotated[Path, typer.Argument(help="The experiment, in any of these formats.")],
    align: Annotated[
        bool, typer.Option("--align", help="Match residues by sequence, not by number.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON with OpenStructure's names.")
    ] = False,
) -> None:
    """Compare a model with the experiment: lDDT, TM-score, GDT, RMSD."""
    from json import dumps

    from foldry.formats.coordinates import read_structure
    from foldry.score.report import compare, to_json

    scores = compare(read_structure(model), read_structure(reference), align)
    if json:
        typer.echo(dumps(to_json(scores), indent=1))
    else:
        _print_table(scores, align)


def _print_table(scores: Scores, align: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("score", "value", "of what", box=None)
    for name, value, meaning in (
        ("lDDT", scores.lddt, "all atoms, 0–1"),
        ("lDDT-Cα", scores.lddt_ca, "Cα atoms, 0–1"),
        ("lDDT-backbone", scores.lddt_backbone, "N, CA, C, O, 0–1"),
        ("TM-score", scores.tm_score, "0–1; above 0.5 the same fold"),
        ("GDT_TS", scores.gdt_ts, "0–1, within 1, 2, 4, 8 Å"),
        ("GDT_HA", scores.gdt_ha, "0–1, within 0.5, 1, 2, 4 Å"),
        ("RMSD", scores.rmsd_ca, "Å, matched Cα atoms"),
    ):
        table.add_row(name, f"{value:.4f}", meaning)
    match = scores.match
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
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for line in lines:
        console.print(line, markup=False)

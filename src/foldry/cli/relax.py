"""`foldry relax`: a structure → the same with sound bonds and without clashes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldry.errors import InputError
from foldry.relax.result import MAX_ROUNDS, MAX_SECONDS

if TYPE_CHECKING:
    from foldry.relax.result import Relaxation

Platform = Annotated[str, typer.Option(metavar="NAME", help="auto, cuda, cpu or reference.")]
Rounds = Annotated[int, typer.Option(metavar="N", min=1, max=100, help="Minimisations at most.")]
Seconds = Annotated[float, typer.Option(metavar="S", min=1, help="Time at most.")]


def relax(
    model: Annotated[
        str, typer.Argument(metavar="FILE", help="PDB or mmCIF file, or FILE:A,B for chains.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="The PDB file to write.")
    ],
    platform: Platform = "auto",
    rounds: Rounds = MAX_ROUNDS,
    seconds: Seconds = MAX_SECONDS,
) -> None:
    """Relax a structure in Amber's force field, near to what it is.

    Where that fails, the structure is written as it was, a sentence says why, and the exit code
    is 1.
    """
    from foldry.formats.coordinates import to_pdb
    from foldry.inputs.structures import read_named, split_name
    from foldry.relax.relax import relax as run
    from foldry.store.files import check_file, new_file
    from foldry.store.locks import hold_file

    if out.suffix.lower() not in (".pdb", ".ent"):
        raise InputError(
            "is not a PDB file", "give it a name that ends in .pdb", where=f"--out {out}"
        )
    check_file(out)
    structure = read_named(model)
    if out.exists() and out.samefile(split_name(model)[0]):
        raise InputError(
            f"--out {out} is the model itself", "name another file, or it would be lost"
        )
    text = to_pdb(structure)  # refuses now what the format cannot hold
    # Relaxing may add atoms, and its result must not be lost for want of space.
    with hold_file(out), new_file(out, reserve=2 * len(text)) as file:
        relaxed, result = run(structure, platform, rounds, seconds)
        file.write(to_pdb(relaxed).encode())
    _show(result, rounds, out)
    if not result.relaxed:
        raise typer.Exit(1)


def _show(result: Relaxation, rounds: int, out: Path) -> None:
    """What changed, or why nothing did, and where the model is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not result.relaxed:
        told = f"Not relaxed: {result.reason} The model as it was is in {out}."
        console.print(Text(told), soft_wrap=True)
        return
    table = Table(box=None)
    for title in ("", "before", "after"):
        table.add_column(title)
    rows = (
        ("energy, kcal/mol", result.energy_before, result.energy_after),
        ("clashes", result.clashes_before, result.clashes_after),
        ("residues that violate", result.violations_before, result.violations_after),
    )
    for what, *numbers in rows:
        table.add_row(what, *("–" if each is None else f"{each:.6g}" for each in numbers))
    console.print(table)
    told = (
        f"Cα moved by {result.median_move:.2f} Å in the median, {result.max_move:.2f} Å at most; "
        f"{result.rounds} of {rounds} rounds, {result.seconds:.0f} s on {result.platform}. "
        f"The model is in {out}."
    )
    console.print(Text(told), soft_wrap=True)
    if result.reason:
        console.print(Text(result.reason))

"""`foldry relax`: remove clashes and distorted bonds from a structure."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from foldry.cli.messages import as_flags
from foldry.cli.options import option, out_option
from foldry.cli.show import progress_bar, show_line, show_table
from foldry.errors import SOME_FAILED, InputError, counted
from foldry.relax.result import MAX_ROUNDS, MAX_SECONDS, number_text

if TYPE_CHECKING:
    from foldry.relax.result import Relaxation

PDB_SUFFIXES: Final = (".pdb", ".ent")
CIF_SUFFIXES: Final = (".cif", ".mmcif")

logger = logging.getLogger(__name__)


def relax(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Structure file, FILE:A,B for its chains, or a query's folder of `foldry fold`.",
        ),
    ],
    out: Annotated[Path, out_option("FILE", "The PDB or mmCIF file to write.")],
    platform: Annotated[str, option("relax_platform", "platform")] = "auto",
    rounds: Annotated[int, option("relax_rounds", "rounds")] = MAX_ROUNDS,
    seconds: Annotated[float, option("relax_seconds", "seconds")] = int(MAX_SECONDS),
) -> None:
    """Remove clashes and distorted bonds with Amber's force field.

    If relaxation fails, the structure is written unchanged, a sentence says why, and the exit
    code is 1. Example: foldry relax out/1adz/ranked_0.cif -o relaxed.pdb
    """
    from foldry.formats.coordinates import to_pdb
    from foldry.formats.plain_mmcif import to_mmcif
    from foldry.formats.tokens import read_molecules
    from foldry.inputs.structures import read_named, split_name
    from foldry.relax.relax import relax_structure
    from foldry.results.folder import read_results
    from foldry.store.files import check_file, new_file
    from foldry.store.locks import hold_file

    if out.suffix.lower() not in PDB_SUFFIXES + CIF_SUFFIXES:
        advice = "give it a name that ends in .pdb or .cif"
        raise InputError("is not a PDB or mmCIF file", advice, where=f"--out {out}")
    check_file(out)
    if Path(model).is_dir():
        [best] = read_results(Path(model), most=1)
        model = str(best.structure)
    structure = read_named(model)
    if others := sum(not each.is_standard for each in read_molecules(split_name(model)[0])):
        says = "%s has %d ligands, ions, waters and modified residues: %s."
        logger.warning(says, model, others, "the result has standard amino acids alone")
    write = to_pdb if out.suffix.lower() in PDB_SUFFIXES else to_mmcif
    try:
        text = write(structure)
    except InputError as error:  # chain names, numbers or coordinates are too long for PDB
        out, write, text = out.with_suffix(".cif"), to_mmcif, to_mmcif(structure)
        logger.warning("%s: it is written as mmCIF to %s.", error.what, out)
        check_file(out)
    if out.exists() and out.samefile(split_name(model)[0]):
        raise InputError(
            f"--out {out} is the model itself", "name another file, or it would be lost"
        )
    # Relaxation may add atoms, and a full disk must not lose its result.
    with progress_bar() as show, hold_file(out), new_file(out, reserve=2 * len(text)) as file:
        show(f"relaxing {model}", 0, 1)
        relaxed, result = relax_structure(structure, platform, rounds, seconds)
        file.write(write(relaxed).encode())
    _show(result, rounds, out)
    if not result.relaxed:
        raise typer.Exit(SOME_FAILED)


def _show(result: Relaxation, rounds: int, out: Path) -> None:
    """Print what changed, or why the model is unchanged, and the file of the model."""
    reason = as_flags(result.reason)
    if not result.relaxed:
        show_line(f"Not relaxed. {reason} The unchanged model is in {out}.", wrap=False)
        return
    numbers = {
        "energy, kcal/mol": (result.energy_before, result.energy_after),
        "clashes": (result.clashes_before, result.clashes_after),
        "residues with violations": (result.violations_before, result.violations_after),
    }
    rows = [
        [name, *("not finite" if each is None else number_text(each) for each in pair)]
        for name, pair in numbers.items()
    ]
    show_table(["", "before", "after"], rows)
    show_line(
        f"Cα atoms moved by {result.median_move:.2f} Å (median), at most {result.max_move:.2f} Å; "
        f"{result.rounds} of {counted(rounds, 'round')}, {result.seconds:.0f} s on "
        f"{result.platform}. The model is in {out}.",
        wrap=False,
    )
    if reason:
        show_line(reason)

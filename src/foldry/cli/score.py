"""`foldry score`: compare a model with an experiment."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldry.cli.messages import as_flags
from foldry.cli.options import out_option, valued
from foldry.cli.show import progress_bar, show_line, show_table
from foldry.errors import SOME_FAILED, InputError, counted

if TYPE_CHECKING:
    from foldry.assess.assess import Agreement, Assessment, ScoreSettings
    from foldry.measures import Measure
    from foldry.score.confidence import InterfaceConfidence
    from foldry.score.dockq import DockQ

_MOST_NAMED = 8
_FROM_PAE = ("ptm", "iptm")
"""Keys of scores that are estimated from the PAE, although a network computes its own."""
_PDB_ENTRY = re.compile(r"[1-9][A-Za-z0-9]{3}")
_SUSPICIOUS, _UNRELATED = 0.1, 0.5
"""Shares of matched residues that differ in amino acid, matched by number and by alignment."""
_IN_FILES_ONLY = {
    *("oligo_gdtts", "oligo_gdtha", "num_matched", "num_reference", "num_atoms"),
    *("num_missing_atoms", "dockq_ave", "dockq_wave", "dockq_wave_full", "qs_best", "iptm_best"),
    *("ics_precision", "ics_recall", "ips_precision", "ips_recall"),
}


def score(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Structure file, FILE:A,B for its chains, or a query's folder of `foldry fold`.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="REFERENCE",
            help="The experiment. Default: confidence and stereochemistry only.",
        ),
    ] = None,
    align: Annotated[
        bool, typer.Option("--align", help="Match residues by sequence instead of number.")
    ] = False,
    stereochemistry: Annotated[
        bool,
        typer.Option("--stereochemistry", help="Count atoms with bad geometry as missing in lDDT."),
    ] = False,
    pae: Annotated[
        Path | None, valued("FILE", "JSON, .npz or .npy with the model's predicted aligned errors.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON with OpenStructure's names.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: a line of names and a line of numbers.")
    ] = False,
    plot: Annotated[
        Path | None, valued("FILE", "Write lDDT-Cα and pLDDT along the sequence as an SVG file.")
    ] = None,
    batch: Annotated[
        Path | None,
        valued(
            "FILE",
            (
                "Score the pairs of a CSV file with the columns model, reference and, optionally, "
                "name."
            ),
        ),
    ] = None,
    out: Annotated[
        Path | None, out_option("FILE", "CSV file for --batch, one row per pair.")
    ] = None,
    jobs: Annotated[
        int | None,
        valued("N", "Number of processes for --batch. Default: one per core.", min=1),
    ] = None,
) -> None:
    """Compare a model with an experiment.

    Scores are lDDT, TM-score, GDT, RMSD, DockQ, confidence and stereochemistry. Structures are
    PDB, mmCIF or BinaryCIF, packed or not. With --batch, the exit code is 1 if a pair could not
    be scored. Example: foldry score out/1adz examples/kunitz/1adz.cif
    """
    from foldry.assess.assess import ScoreSettings, assess_files

    settings = ScoreSettings(align=align, stereochemistry=stereochemistry)
    needing = {"--align": align, "--stereochemistry": stereochemistry, "--plot": plot}
    if batch is not None:
        alone = {"MODEL": model, "--json": json, "--csv": csv, "--plot": plot, "--pae": pae}
        if name := _first(alone):
            what = "takes its pairs from" if name == "MODEL" else "writes all scores to"
            raise InputError(f"--batch {what} a CSV file", f"leave out {name}")
        if out is None:
            raise InputError("--batch needs --out", "name the CSV file for the scores")
        _score_batch(batch, out, settings, jobs)
        return
    if model is None:
        raise InputError("There is no MODEL and no --batch", "see `foldry score --help`")
    if out is not None or jobs is not None:
        raise InputError("--out and --jobs belong to --batch", "leave them out for one pair")
    if json and csv:
        raise InputError("--json and --csv exclude each other", "choose one")
    if reference is None and (name := _first(needing)):
        raise InputError(f"{name} needs a REFERENCE", f"give one, or leave {name} out")
    _check_files(plot, [model, reference or "", str(pae or "")])
    assessment = assess_files(model, reference, settings, pae)
    if plot is not None and assessment.agreement is not None:
        from foldry.assess import plot as plots
        from foldry.store.files import write_text
        from foldry.store.locks import hold_file

        with hold_file(plot):
            write_text(plot, plots.plot(assessment.model, assessment.agreement))
    if json:
        from foldry.assess.table import to_json

        typer.echo(dumps(to_json(assessment, model, reference), indent=1))
    elif csv:
        from foldry.assess.batch import Pair, Row, write_rows

        pair = Pair(model, model, reference or "")
        write_rows([Row.of(pair, assessment)], sys.stdout)
    else:
        _show_tables(assessment, settings, reference or "")


def _first(options: Mapping[str, object]) -> str | None:
    """Return the first option that was given."""
    return next((name for name, value in options.items() if value), None)


def _check_files(plot: Path | None, inputs: Sequence[str]) -> None:
    from foldry.inputs.structures import split_name
    from foldry.store.files import check_exist

    paths = [split_name(name)[0] for name in inputs if name]
    for path in paths:
        if _PDB_ENTRY.fullmatch(str(path)) and not path.exists():
            raise InputError("is not a file", "download the entry and give its path", where=path)
    check_exist(paths)
    if plot is not None:
        if plot.suffix.lower() != ".svg":
            raise InputError("is not an SVG file", "end its name in .svg", where=f"--plot {plot}")
        _check_target("--plot", plot, inputs)


def _check_target(option: str, path: Path, inputs: Iterable[str]) -> None:
    """Check that a file can be written and is not an input."""
    from foldry.inputs.structures import split_name
    from foldry.store.files import check_file

    check_file(path)
    sources = (split_name(name)[0] for name in inputs if path.exists())
    if any(source.exists() and path.samefile(source) for source in sources):
        raise InputError(f"{option} {path} would replace an input", "name another file")


def _score_batch(batch: Path, out: Path, settings: ScoreSettings, jobs: int | None) -> None:
    from foldry.assess.batch import Row, read_pairs, save_rows, score_pairs
    from foldry.store.locks import hold_file

    pairs = read_pairs(batch)
    files = (str(each.folder / name) for each in pairs for name in (each.model, each.reference))
    _check_target("--out", out, [str(batch), *files])

    def rows() -> Iterator[Row]:
        with progress_bar() as show:
            for number, row in enumerate(score_pairs(pairs, settings, jobs), start=1):
                show("scoring", number, len(pairs))
                yield replace(row, error=as_flags(row.error))

    with hold_file(out):
        failed = save_rows(rows(), out)
    show_line(f"{len(pairs) - failed} of {counted(len(pairs), 'pair')} scored: {out}", wrap=False)
    if failed:
        reasons = "see the column `error` for the reasons"
        show_line(f"{failed} could not be scored: {reasons}.", wrap=False, err=True)
        raise typer.Exit(SOME_FAILED)


def _show_tables(assessment: Assessment, settings: ScoreSettings, reference: str) -> None:
    from foldry.assess.table import NUMBERS, value
    from foldry.measures import MEASURES

    agreement, chains = assessment.agreement, assessment.confidence.chains
    if agreement is not None:
        for line in _hints(assessment, agreement, settings, reference):
            show_line(line, wrap=False)
    found = {key: value(assessment, key) for key in NUMBERS if key not in _IN_FILES_ONLY}
    shown = [(MEASURES[key], number) for key, number in found.items() if number is not None]
    show_table(
        ("score", "value", "unit", "meaning"),
        ([_name(each), each.text(number), each.unit, _meaning(each)] for each, number in shown),
    )
    if not assessment.model.is_stated:
        show_line("The B factors were read as pLDDT; the file does not state what they are.")
    if agreement is not None and agreement.complex is not None:
        _show_interfaces(agreement.complex.dockq)
    if chains is not None:
        _show_pairs(chains)
    if assessment.confidence.ptm is not None:
        own = {key: assessment.model.reported.get(key) for key in _FROM_PAE}
        texts = [
            f"{MEASURES[k].name} {MEASURES[k].text(v)}" for k, v in own.items() if v is not None
        ]
        show_line(
            f"The network's own values, from its whole distribution of errors: {', '.join(texts)}."
            if texts
            else "pTM and ipTM are estimates from the PAE; the network's own values may differ.",
            wrap=False,
        )
    if agreement is not None:
        for line in _matching(agreement):
            show_line(line, wrap=False)


def _name(measure: Measure) -> str:
    """Return a name that distinguishes estimates from the values that a network computes."""
    return f"{measure.name} from PAE" if measure.key in _FROM_PAE else measure.name


def _meaning(measure: Measure) -> str:
    """Return what a score means here: a network computes its own pTM and ipTM in another way."""
    text = measure.meaning
    from_pae = measure.key in _FROM_PAE
    return f"Estimated from the PAE: {text[0].lower()}{text[1:]}" if from_pae else text


def _show_interfaces(dockq: DockQ) -> None:
    """Print a row for each interface of the reference."""
    from foldry.measures import MEASURES

    shown = [MEASURES[key] for key in ("dockq", "fnat", "irmsd", "lrmsd", "dockq_clashes")]
    rows = []
    for each in dockq.interfaces:
        names = ("–".join(chains) for chains in (each.reference_chains, each.model_chains))
        numbers = (each.dockq, each.fnat, each.irmsd, each.lrmsd, each.clashes)
        texts = (measure.text(number) for measure, number in zip(shown, numbers, strict=True))
        rows.append([*names, *texts])
    rows += [["–".join(chains), "missing", shown[0].text(0)] for chains, _ in dockq.missing]
    show_table(("interface", "in the model", *(each.name for each in shown)), rows)


def _show_pairs(found: InterfaceConfidence) -> None:
    """Print a row for each pair of chains, with one number for both directions."""
    from foldry.measures import MEASURES
    from foldry.score.confidence import quoted

    shown = [MEASURES[key] for key in ("iptm", "ipsae", "pdockq", "lis")]
    matrices = [quoted(each.key, getattr(found, each.key)) for each in shown]
    rows = []
    for a, b in combinations(range(len(found.chains)), 2):
        texts = (each.text(values[a, b]) for each, values in zip(shown, matrices, strict=True))
        rows.append([f"{found.chains[a]}–{found.chains[b]}", *texts])
    show_table(("chains", *map(_name, shown)), rows)


def _matching(agreement: Agreement) -> list[str]:
    """Return lines that list what was compared and what was not."""
    scores, match = agreement.scores, agreement.scores.match
    lines = [f"Residues of the reference compared: {scores.num_matched} of {scores.num_reference}."]
    if agreement.num_missing_atoms:
        lines.append(
            f"In these residues, the model lacks {agreement.num_missing_atoms} of the reference's "
            f"{counted(agreement.num_atoms, 'atom')}, counted as wrong in lDDT."
        )
    if len(match.chains) > 1 or match.chains[0][0] != match.chains[0][1]:
        named = [[name or "without a name" for name in pair] for pair in match.chains]
        pairs = ", ".join(f"{there}–{here}" for here, there in named)
        lines.append(f"Chains (reference–model): {pairs}.")
    for what, names in (
        ("Chains that are not in the model", match.unmatched_reference_chains),
        ("Chains that are not in the reference", match.unmatched_model_chains),
        ("Not in the model", _others(match.unmatched_reference, match.unmatched_reference_chains)),
        ("Not in the reference", _others(match.unmatched_model, match.unmatched_model_chains)),
        ("Different amino acids (reference-model)", match.mismatched),
    ):
        if names:
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            shown = ", ".join(name.rstrip(".") for name in names[:_MOST_NAMED])
            lines.append(f"{what}: {shown}{more}.")
    return lines


def _hints(
    assessment: Assessment, agreement: Agreement, settings: ScoreSettings, reference: str
) -> Iterator[str]:
    """Yield hints on what may be wrong with the comparison."""
    from foldry.assess.inputs import read_model
    from foldry.score.stereochemistry import keep_mask

    model = assessment.model
    match = agreement.scores.match
    differing = len(match.mismatched) / len(match.pairs)
    strangers = match.unmatched_model_chains and match.unmatched_reference_chains
    # Backbones, e.g. of RFdiffusion, have one kind of residue in place of a sequence.
    is_placeholder = len(set(model.structure.sequence)) == 1
    if settings.align and differing > _UNRELATED:
        yield "Most matched residues differ: these may be different proteins."
    elif not settings.align and differing > _SUSPICIOUS and not is_placeholder:
        yield "The residue numbers of the two files seem to differ: try --align."
    elif not settings.align and strangers:
        yield "Both have chains without a partner: try --align if their numbers differ."
    if model.plddt is None and read_model(reference).plddt is not None:
        yield "The reference has pLDDT, but the model has none: give MODEL before REFERENCE."
    if settings.stereochemistry:
        mask = model.structure.atom_mask
        lost = mask & ~keep_mask(model.structure, assessment.violations)
        yield (
            f"Atoms that count as lost in lDDT because of bad geometry: {lost.sum()} of "
            f"{mask.sum()}, in {lost.any(axis=1).sum()} of {counted(len(mask), 'residue')}."
        )


def _others(residues: Sequence[str], chains: Sequence[str]) -> list[str]:
    """Return the residues that are not in these chains."""
    return [residue for residue in residues if residue.split(".")[0] not in chains]

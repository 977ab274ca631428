"""`foldry train prepare`, `pack` and `unpack`: data to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def prepare(
    structures: Annotated[
        Path, typer.Argument(metavar="STRUCTURES", help="Folder of mmCIF, BinaryCIF or PDB files.")
    ],
    alignments: Annotated[
        Path,
        typer.Argument(metavar="ALIGNMENTS", help="Folder of a3m or Stockholm files: 1abc_A.a3m."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of packs; an earlier run in it goes on.")
    ],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one for each processor.")
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option(help="Table of cluster and chain, instead of clusters by MMseqs2."),
    ] = None,
    identity: Annotated[
        float, typer.Option(min=0, max=1, help="Sequence identity within a cluster.")
    ] = 0.3,
    val_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the clusters to validate on.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Which clusters those are.")] = 0,
    min_length: Annotated[int, typer.Option(min=1, help="Residues of a chain at least.")] = 30,
    max_length: Annotated[int, typer.Option(min=1, help="Residues of a chain at most.")] = 2000,
    max_resolution: Annotated[float, typer.Option(min=0, help="Å at most, where known.")] = 3.5,
    max_unknown: Annotated[
        float, typer.Option(min=0, max=1, help="Share of residues that may be X.")
    ] = 0.05,
    min_backbone: Annotated[
        float, typer.Option(min=0, max=1, help="Share of residues that have N, CA and C.")
    ] = 0.8,
    min_steps: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of neighbours with CA as far apart as in a peptide."
        ),
    ] = 0.95,
    rows: Annotated[int, typer.Option(min=1, help="Rows of an alignment at most.")] = 256,
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="B factors are pLDDT even where a file doesn't say so."),
    ] = False,
) -> None:
    """Make data to train on from structures and alignments; run again to go on.

    report.tsv says of every chain what became of it, report.json counts them.
    """
    import os

    from rich.console import Console
    from rich.progress import Progress

    from foldry.dataset import prepare as preparing
    from foldry.dataset.chains import PrepareConfig

    config = PrepareConfig(
        min_length=min_length,
        max_length=max_length,
        max_resolution=max_resolution,
        max_unknown=max_unknown,
        min_backbone=min_backbone,
        min_steps=min_steps,
        max_rows=rows,
        predictions=predictions,
    )
    split = preparing.SplitConfig(clusters, identity, val_share, seed)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        files = progress.add_task("files", total=None)
        table = preparing.prepare(
            structures,
            alignments,
            out,
            config,
            split,
            workers or os.cpu_count() or 1,
            lambda done, total: progress.update(files, completed=done, total=total),
        )
    kept = [row for row in table if not row.reason]
    alone = sum(row.rows == 1 for row in kept)
    typer.echo(
        f"{len(kept)} chains kept, {alone} of them without an alignment, "
        f"{len(table) - len(kept)} dropped: {out / preparing.REPORT}.tsv"
    )


def pack(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of packs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle's folder.")],
    weights: Annotated[
        Path | None, typer.Option(help="Weights to start from; default: the bundled mini.")
    ] = None,
    max_part_size: Annotated[int, typer.Option(min=1, help="MiB of a part at most.")] = 40,
    rows: Annotated[int, typer.Option(min=1, help="Rows of an alignment at most.")] = 48,
) -> None:
    """Bundle data and weights into a few files that a machine without network can be given."""
    from foldry.errors import InputError
    from foldry.train import bundle
    from foldry.weights.bundled import MINI

    start = weights or MINI
    if not start.is_file():
        raise InputError("does not exist", "check --weights", where=start)
    parts = bundle.pack(data, out, start, max_part_size, rows)
    for part in parts:
        typer.echo(f"{out / part.name}  {part.size / 2**20:.1f} MiB  sha256 {part.sha256}")


def unpack(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Folder of the parts and manifest.json.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the packs, new or empty.")],
) -> None:
    """Check a bundle and write its packs, and start.safetensors, into a folder."""
    from foldry.train import bundle as bundles

    bundles.unpack(bundle, out)
    typer.echo(f"{out}: foldry train --data {out} --start {out / bundles.WEIGHTS} -o RUN")

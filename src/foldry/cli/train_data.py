"""`foldry train prepare`, `pack` and `unpack`: data to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldry.cli.options import takes_settings
from foldry.cli.show import progress_bar
from foldry.dataset.config import PrepareConfig, SplitConfig


@takes_settings(kind=PrepareConfig)
def prepare(
    structures: Annotated[
        Path, typer.Argument(metavar="STRUCTURES", help="Folder of mmCIF, BinaryCIF or PDB files.")
    ],
    alignments: Annotated[
        Path, typer.Argument(metavar="ALIGNMENTS", help="Folder of a3m or Stockholm files.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of packs, new or begun.")],
    settings: PrepareConfig,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one for each processor.")
    ] = None,
    clusters: Annotated[
        Path | None, typer.Option(help="Table of cluster and chain. Default: MMseqs2 makes one.")
    ] = None,
    identity: Annotated[float, typer.Option(min=0, max=1, help="Identity in clusters.")] = 0.3,
    val_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the clusters to validate on.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Which clusters those are.")] = 0,
) -> None:
    """Make data to train on from structures and alignments; run again to go on.

    report.tsv says of every chain what became of it, report.json counts them.
    """
    import functools
    import os

    from foldry.dataset import prepare as preparing

    split = SplitConfig(clusters, identity, val_share, seed)
    processes = workers or os.cpu_count() or 1
    with progress_bar() as show:
        watch = functools.partial(show, "files")
        table = preparing.prepare(structures, alignments, out, settings, split, processes, watch)
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
        Path | None, typer.Option(help="Weights to start from. Default: the bundled mini.")
    ] = None,
    max_part_size: Annotated[int, typer.Option(min=1, help="Most MiB of a part.")] = 40,
    rows: Annotated[int, typer.Option(min=1, help="Most rows of an alignment.")] = 48,
) -> None:
    """Bundle data and weights into a few files that a machine without network can be given."""
    from foldry.errors import InputError
    from foldry.train import bundle
    from foldry.weights.bundled import MINI

    start = weights or MINI
    if not start.is_file():
        raise InputError("does not exist", "check --weights", where=start)
    for part in bundle.pack(data, out, start, max_part_size, rows):
        typer.echo(f"{out / part.name}  {part.size / 2**20:.1f} MiB  sha256 {part.sha256}")


def unpack(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the packs, new or empty.")],
) -> None:
    """Check a bundle and write its packs, and start.safetensors, into a folder."""
    from foldry.train import bundle as bundles

    bundles.unpack(bundle, out)
    typer.echo(f"{out}: foldry train --data {out} --start {out / bundles.WEIGHTS} -o RUN")

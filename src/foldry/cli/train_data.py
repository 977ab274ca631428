"""`foldry train prepare`, `pack` and `unpack`: training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldry.cli.options import out_option, takes_settings, valued
from foldry.cli.show import progress_bar, show_line
from foldry.dataset.config import PrepareConfig, SplitConfig


@takes_settings(kind=PrepareConfig)
def prepare(
    structures: Annotated[
        Path, typer.Argument(metavar="STRUCTURES", help="Folder of mmCIF, BinaryCIF or PDB files.")
    ],
    alignments: Annotated[
        Path,
        typer.Argument(
            metavar="ALIGNMENTS",
            help="Folder of a3m or Stockholm files, e.g. 1abc_A.a3m for chain A of 1abc.cif.",
        ),
    ],
    out: Annotated[
        Path, out_option("FOLDER", "Folder for the training data; unfinished data are resumed.")
    ],
    settings: PrepareConfig,
    workers: Annotated[
        int | None, valued("N", "Number of processes. Default: one per core.", min=1)
    ] = None,
    clusters: Annotated[
        Path | None,
        valued("FILE", "Table of cluster and chain, tab-separated. Default: MMseqs2 computes it."),
    ] = None,
    identity: Annotated[
        float, valued("X", "Minimum sequence identity within a cluster.", min=0.0, max=1)
    ] = 0.3,
    val_share: Annotated[
        float, valued("X", "Share of the clusters for validation.", min=0.0, max=1)
    ] = 0.05,
    seed: Annotated[int, valued("N", "Random seed that selects these clusters.", min=0)] = 0,
) -> None:
    """Convert structures and alignments into training data.

    Running the same command again resumes. report.tsv lists every chain and why it was kept or
    dropped; report.json counts the chains.

    Example: foldry train prepare structures alignments -o DATA
    """
    import functools
    import os

    from foldry.dataset import prepare as preparing
    from foldry.errors import counted

    split = SplitConfig(clusters, identity, val_share, seed)
    processes = workers or os.cpu_count() or 1
    with progress_bar() as show:
        watch = functools.partial(show, "files")
        table = preparing.prepare(structures, alignments, out, settings, split, processes, watch)
    kept = [row for row in table if not row.reason]
    alone = sum(row.rows == 1 for row in kept)
    held_out, dropped = sum(row.split == "val" for row in kept), len(table) - len(kept)
    show_line(
        f"{counted(len(kept), 'chain')} kept, {alone} of them without an alignment, "
        f"{held_out} for validation; {dropped} dropped: {out / preparing.REPORT}.tsv",
        wrap=False,
    )


def pack(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Training data, as written by prepare.")
    ],
    out: Annotated[
        Path, out_option("FOLDER", "Folder for the bundle; an earlier bundle in it is replaced.")
    ],
    weights: Annotated[
        Path | None, valued("FILE", "Weights to start from. Default: the bundled mini.")
    ] = None,
    max_part_size: Annotated[int, valued("MIB", "Maximum size of a part in MiB.", min=1)] = 40,
    rows: Annotated[int, valued("N", "Maximum rows of an alignment.", min=1)] = 48,
) -> None:
    """Bundle data and weights for a machine without network access.

    Example: foldry train pack DATA -o BUNDLE
    """
    from foldry.errors import InputError
    from foldry.store.files import check_folder
    from foldry.train import bundle
    from foldry.weights.bundled import MINI

    check_folder(out)
    start = weights or MINI
    if not start.is_file():
        raise InputError("does not exist", "check --weights", where=start)
    for part in bundle.pack(data, out, start, max_part_size, rows):
        show_line(
            f"{out / part.name}  {part.size / 2**20:.1f} MiB  sha256 {part.sha256}", wrap=False
        )


def unpack(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle, as written by pack.")],
    out: Annotated[
        Path, out_option("FOLDER", "Folder for the training data; must be new or empty.")
    ],
) -> None:
    """Check a bundle and unpack its data and start.safetensors.

    Example: foldry train unpack BUNDLE -o DATA
    """
    from foldry.train import bundle as bundles

    bundles.unpack(bundle, out)
    command = f"foldry train --data {out} --start {out / bundles.WEIGHTS} -o RUN"
    show_line(f"The data are in {out}. To train on them:", wrap=False)
    show_line(command, wrap=False)

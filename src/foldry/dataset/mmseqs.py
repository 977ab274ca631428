"""Sequences → clusters and template hits, with the program MMseqs2."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from foldry.dataset.packs import pairs_of
from foldry.errors import DiskFullError, OutsideError
from foldry.processes.program import find_program, run_program
from foldry.query import Hit
from foldry.store.files import scratch_folder, write_text

PROGRAM: Final = "mmseqs"
COVERAGE: Final = 0.8
SENSITIVITY: Final = 7.5
MAX_E_VALUE: Final = 0.1
MAX_HITS: Final = 20
"""Maximum number of template hits kept for one chain."""
PREFILTERED: Final = 300
"""Targets aligned per query if only the best hits are needed."""
FULL: Final = 1 << 20
"""Free bytes below which a failure of MMseqs2 counts as a full disk."""


def is_here() -> bool:
    """Return whether MMseqs2 is installed."""
    return shutil.which(PROGRAM) is not None


def find() -> str:
    """Return the path of MMseqs2.

    Raises:
        MissingError: MMseqs2 is not installed.
    """
    return find_program(PROGRAM, "install MMseqs2 (Debian: apt install mmseqs2), or set `clusters`")


def cluster(
    sequences: Mapping[str, str], identity: float, workers: int, scratch: Path
) -> dict[str, str]:
    """Return the cluster of each sequence; a cluster is named after one of its members.

    Members of a cluster cover 80 % of each other.

    Args:
        sequences: Sequences by name.
        identity: Minimum share of equal residues, 0–1.
        workers: Number of threads.
        scratch: A locked folder for temporary files.

    Raises:
        MissingError: MMseqs2 is not installed.
        DiskFullError: No space is left for its files.
        OutsideError: MMseqs2 failed.
    """
    options = ["--min-seq-id", identity, "-c", COVERAGE, "--cov-mode", 0, "-s", SENSITIVITY]
    options += ["--cluster-reassign", 1, "--threads", workers]
    rows = _table(scratch, "easy-cluster", [sequences], "out_cluster.tsv", *options)
    return {member: first for first, member in rows}


def search(
    queries: Mapping[str, str],
    targets: Mapping[str, str],
    workers: int,
    scratch: Path,
    max_hits: int | None = None,
) -> dict[str, list[Hit]]:
    """Return the template hits of each query among other sequences, best first.

    The identity of a hit is the share of equal residues among those aligned.

    Args:
        queries, targets: Sequences by name; a query is not a hit of itself.
        workers: Number of threads.
        scratch: A locked folder for temporary files.
        max_hits: Maximum number of hits per query; None aligns every target and keeps all hits.

    Raises:
        MissingError: MMseqs2 is not installed.
        DiskFullError: No space is left for its files.
        OutsideError: MMseqs2 failed.
    """
    hits: dict[str, list[Hit]] = {name: [] for name in queries}
    if not queries:
        return hits
    prefiltered = max(PREFILTERED, 0 if max_hits else len(targets))
    options = ["-e", MAX_E_VALUE, "-s", SENSITIVITY, "--max-seqs", prefiltered, "-a", 1]
    options += ["--format-output", "query,target,qstart,tstart,cigar", "--threads", workers]
    rows = _table(scratch, "easy-search", [queries, targets], "out", *options)
    for one, other, query_start, target_start, cigar in rows:
        if one == other or len(hits[one]) == max_hits:
            continue
        pairs = pairs_of(cigar, int(query_start) - 1, int(target_start) - 1)
        ours, theirs = (
            np.frombuffer(letters.encode(), np.uint8)[column]
            for letters, column in zip((queries[one], targets[other]), pairs.T, strict=True)
        )
        identity = float((ours == theirs).mean())
        # Millions of hits stay in memory until they are written.
        small = pairs.astype(np.int16 if pairs.max() < 1 << 15 else np.int32)
        hits[one].append(Hit(other, small, identity=identity))
    return hits


def _table(
    scratch: Path, command: str, fastas: Sequence[Mapping[str, str]], result: str, *options: object
) -> list[list[str]]:
    """Run a command and return the cells of its table, whose first two columns name sequences.

    MMseqs2 sees numbers instead of names, which it would cut at some characters.
    """
    with scratch_folder(scratch) as folder:
        files = [folder / f"{number}.fasta" for number in range(len(fastas))]
        for file, sequences in zip(files, fastas, strict=True):
            records = (f">{number}\n{row}\n" for number, row in enumerate(sequences.values()))
            write_text(file, "".join(records))
        _run(folder, command, *files, folder / "out", folder / "tmp", *options)
        rows = [row.split("\t") for row in (folder / result).read_text("utf-8").splitlines()]
    first, last = list(fastas[0]), list(fastas[-1])
    return [[first[int(one)], last[int(other)], *rest] for one, other, *rest in rows]


def _run(folder: Path, *arguments: object) -> None:
    try:
        run_program([find(), *map(str, arguments), "-v", "1"])
    except OutsideError as error:
        if shutil.disk_usage(folder).free < FULL:
            advice = "free some space and run the same command again"
            what = "has no space left for MMseqs2"
            raise DiskFullError(what, advice, where=folder.parent) from error
        raise

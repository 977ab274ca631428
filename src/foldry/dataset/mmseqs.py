"""Sequences → clusters and template hits, by the program MMseqs2."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from foldry.dataset.packs import Hit
from foldry.errors import DiskFullError, OutsideError
from foldry.processes.program import find_program, run_program
from foldry.store.files import free_space, scratch_folder, write_text

PROGRAM: Final = "mmseqs"
COVERAGE: Final = 0.8
SENSITIVITY: Final = 7.5
MAX_E_VALUE: Final = 0.1
MAX_HITS: Final = 20
"""Template hits of one chain that are kept."""
PREFILTERED: Final = 300
"""Targets of a query that are aligned where only the best hits are wanted."""
FULL: Final = 1 << 20
"""Bytes: with less left, the disk is full for MMseqs2."""


def is_here() -> bool:
    """Whether the program is installed."""
    return shutil.which(PROGRAM) is not None


def find() -> str:
    """The program's path.

    Raises:
        MissingError: It is not installed.
    """
    return find_program(PROGRAM, "install MMseqs2 (Debian: apt install mmseqs2), or set `clusters`")


def cluster(
    sequences: Mapping[str, str], identity: float, workers: int, scratch: Path
) -> dict[str, str]:
    """The cluster of each sequence, named after one member.

    Members cover 80 % of each other with at least this identity (0–1).

    Args:
        sequences: Sequences by name.
        identity: Share of equal residues, 0–1.
        workers: Threads.
        scratch: A folder that is held, for temporary files.

    Raises:
        MissingError: The program is not installed.
        DiskFullError: No space is left for its files.
        OutsideError: It failed.
    """
    names = list(sequences)
    with scratch_folder(scratch) as folder:
        _write(folder / "all.fasta", sequences)
        options = ["--min-seq-id", identity, "-c", COVERAGE, "--cov-mode", 0, "-s", SENSITIVITY]
        options += ["--cluster-reassign", 1, "--threads", workers]
        _run(folder, "easy-cluster", folder / "all.fasta", folder / "out", folder / "tmp", *options)
        rows = (folder / "out_cluster.tsv").read_text("utf-8").splitlines()
    pairs = (row.split("\t") for row in rows)
    return {names[int(member)]: names[int(first)] for first, member in pairs}


def search(
    queries: Mapping[str, str],
    targets: Mapping[str, str],
    workers: int,
    scratch: Path,
    max_hits: int | None = None,
) -> dict[str, list[Hit]]:
    """Template hits of each query among other sequences, best first.

    The identity of a hit is the share of its aligned residues that are equal.

    Args:
        queries, targets: Sequences by name; a query is no hit of itself.
        workers: Threads.
        scratch: A folder that is held, for temporary files.
        max_hits: Of a query; None has every target considered and all hits kept.

    Raises:
        MissingError: The program is not installed.
        DiskFullError: No space is left for its files.
        OutsideError: It failed.
    """
    names, others = list(queries), list(targets)
    hits: dict[str, list[Hit]] = {name: [] for name in names}
    if not names:
        return hits
    prefiltered = max(PREFILTERED, 0 if max_hits else len(others))
    with scratch_folder(scratch) as folder:
        _write(folder / "queries.fasta", queries)
        _write(folder / "targets.fasta", targets)
        columns = "query,target,qstart,tstart,cigar"
        options = ["-e", MAX_E_VALUE, "-s", SENSITIVITY, "--max-seqs", prefiltered, "-a", 1]
        options += ["--format-output", columns, "--threads", workers]
        files = [folder / each for each in ("queries.fasta", "targets.fasta", "out.tsv", "tmp")]
        _run(folder, "easy-search", *files, *options)
        rows = (folder / "out.tsv").read_text("utf-8").splitlines()
    for row in rows:
        query, target, query_start, target_start, cigar = row.split("\t")
        one, other = names[int(query)], others[int(target)]
        if one == other or len(hits[one]) == max_hits:
            continue
        hit = Hit(other, 0.0, int(query_start) - 1, int(target_start) - 1, cigar)
        here, there = hit.pairs.T
        letters = [np.array(list(text)) for text in (queries[one], targets[other])]
        identity = float((letters[0][here] == letters[1][there]).mean())
        hits[one].append(Hit(other, identity, hit.query_start, hit.target_start, cigar))
    return hits


def _write(path: Path, sequences: Mapping[str, str]) -> None:
    """FASTA with numbers for names, which the program leaves as they are."""
    records = (f">{number}\n{letters}\n" for number, letters in enumerate(sequences.values()))
    write_text(path, "".join(records))


def _run(folder: Path, *arguments: object) -> None:
    try:
        run_program([find(), *map(str, arguments), "-v", "1"])
    except OutsideError as error:
        if free_space(folder) < FULL:
            raise DiskFullError(
                "has no space left for MMseqs2",
                "free some and run the same command again",
                where=folder.parent,
            ) from error
        raise

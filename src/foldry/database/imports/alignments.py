"""The alignments that programs leave beside their predictions, as a3m."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from foldry.database.imports.job import Reading
from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m, parse_complex_a3m, to_a3m
from foldry.formats.model_record import ModelChain
from foldry.formats.stockholm import parse_stockholm
from foldry.inputs.folders import A3M_SUFFIXES, in_order, suffix
from foldry.query import Alignment
from foldry.store.files import decode

_JOB_MSA: Final = re.compile(rb'"unpairedMsa"\s*:\s*("(?:[^"\\]++|\\.)*+")')
"""An alignment in AlphaFold 3's JSON, whose values are not parsed: it may have any number."""


def of_chains(
    reading: Reading, found: Iterable[bytes], chains: Sequence[ModelChain]
) -> tuple[bytes, ...]:
    """Return the alignment of each chain; its sequence alone if only other chains have one.

    Args:
        reading: The job, which gets a note if an alignment is left out.
        found: Alignments (a3m), which begin with the sequence of their chain.
        chains: The chains.
    """
    if not reading.with_alignments:
        return ()
    try:
        by_query = [(_query(each), each) for each in found]
    except InputError as error:
        reading.notes.append(f"The alignment is left out: {error}")
        return ()
    if [query for query, _ in by_query] == [each.sequence for each in chains]:
        return tuple(data for _, data in by_query)
    known = dict(by_query)
    if not any(each.sequence in known for each in chains):
        if known:
            where = reading.job.where
            reading.notes.append(f"{where}: the alignment of another sequence is left out.")
        return ()
    alone = (f">query\n{each.sequence}\n".encode() for each in chains)
    return tuple(known.get(each.sequence, other) for each, other in zip(chains, alone, strict=True))


def _query(a3m: bytes) -> str:
    """Return the first row of an alignment."""
    first = a3m.removeprefix(b">").partition(b"\n>")[0]
    return b"".join(first.split(b"\n")[1:]).decode("ascii", "replace").strip().upper()


def searched(reading: Reading) -> Iterator[bytes]:
    """Yield the alignment of each chain below `msas`, as AlphaFold 2 keeps them.

    Raises:
        InputError: An alignment is damaged, or those of a folder are of different chains.
    """
    folders: dict[str, list[Path]] = {}
    for name in sorted(reading.job.files):
        if name.startswith("msas/"):
            folders.setdefault(name.rpartition("/")[0], []).append(Path(name))
    for files in folders.values():
        if names := in_order(files):
            rows = [_read(reading, each) for each in names]
            yield to_a3m(Alignment.joined(rows)).encode()


def _read(reading: Reading, path: Path) -> Alignment:
    name, where = path.as_posix(), reading.where(path.as_posix())
    parse = parse_a3m if suffix(path) in A3M_SUFFIXES else parse_stockholm
    return parse(decode(reading.alignment(name), where), where)


def of_job(reading: Reading, name: str) -> Iterator[bytes]:
    """Yield the alignments in AlphaFold 3's JSON of a job.

    Raises:
        InputError: The file is damaged.
    """
    for found in _JOB_MSA.finditer(reading.alignment(name)):
        try:
            data = str(json.loads(found[1])).encode()
        except ValueError:  # also of half a pair of UTF-16
            what = "has an alignment that is not text"
            raise InputError(what, "replace it", where=reading.where(name)) from None
        if data.startswith(b">") and b"\0" not in data:
            yield data


def of_a3m(reading: Reading, name: str) -> Iterator[bytes]:
    """Yield the alignments of an a3m file: one, those of ColabFold's complex, or separated by NUL.

    Raises:
        InputError: The file is damaged.
    """
    data = reading.alignment(name)
    first, _, rest = data.partition(b"\n")
    if first.startswith(b"#") and b"," in first:
        where = reading.where(name)
        for chain in parse_complex_a3m(decode(data, where), where):
            if chain.alignment is not None:
                yield to_a3m(chain.alignment).encode()
    else:
        yield from (rest if first.startswith(b"#") else data).split(b"\0")  # as `render` joins them

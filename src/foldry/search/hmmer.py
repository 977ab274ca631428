"""HMMER in this process: one round of jackhmmer over a FASTA file, as AlphaFold runs it.

The file is read in blocks, which bounds the memory, and all queries search a block before the next
is read. E-values count all sequences, so the hits do not depend on the size of the blocks.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from pyhmmer import easel, plan7

from foldry.errors import InputError, MissingError, reason
from foldry.formats.stockholm import align_to_first
from foldry.query import Alignment, Source
from foldry.search.databases import Database
from foldry.store.hashes import content_key
from foldry.store.packing import open_unpacked

BLOCK: Final = 20_000
"""Sequences of a block."""
LONGEST: Final = 100_000
"""Residues of the longest sequence that HMMER searches."""
AHEAD: Final = 2
"""Blocks that are read while others are searched."""
_AMINO: Final = easel.Alphabet.amino()
_PIECE: Final = 2**16
"""Bytes that are read from a packed file at a time."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HmmerSettings:
    """The thresholds of a search; the defaults are AlphaFold's for jackhmmer.

    Attributes:
        F1, F2, F3: Share of unrelated sequences that pass each filter.
        E: Maximum E-value of a hit.
        incE: Maximum E-value of a hit in the alignment.
        incdomE: Maximum E-value of a domain in the alignment, among the hits alone.
    """

    F1: float = 5e-4
    F2: float = 5e-5
    F3: float = 5e-7
    E: float = 1e-4
    incE: float = 1e-4  # noqa: N815  (HMMER's name)
    incdomE: float = 1e-3  # noqa: N815


@dataclass(frozen=True)
class Hmmer:
    """An engine for one FASTA file, which may be compressed with gzip or zstd.

    Attributes:
        database: The file, as it was recorded.
        settings: The thresholds.
        num_threads: Number of threads.
        block: Number of sequences that are in memory at a time, for each of a few blocks.
        described: Whether headers include the descriptions of the file, which may name species.

    Example:
        >>> from foldry.search.databases import inspect
        >>> engine = Hmmer(inspect(Path("proteins.fasta")))  # doctest: +SKIP
        >>> [found] = engine.query(["MKTAYIAKQR"])  # doctest: +SKIP
    """

    database: Database
    settings: HmmerSettings = HmmerSettings()
    num_threads: int = 1
    block: int = BLOCK
    described: bool = False

    @property
    def identity(self) -> str:
        """What the results depend on besides the sequence; see `Engine`."""
        return content_key(["jackhmmer", 1, self.settings, self.described, self.database.version])

    @property
    def source(self) -> Source:
        """The engine and the database, for people."""
        return Source("jackhmmer", self.database.name)

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        """Yield the alignment of each sequence; see `Engine`."""
        self.database.check()
        background = plan7.Background(_AMINO)
        builder = plan7.Builder(_AMINO)
        queries = [
            easel.TextSequence(name="query", sequence=sequence).digitize(_AMINO)
            for sequence in sequences
        ]
        models = [builder.build(query, background)[0] for query in queries]
        hits: list[plan7.TopHits[Any] | None] = [None] * len(queries)
        running: deque[tuple[int, Future[plan7.TopHits[Any]]]] = deque()

        def collect(most: int) -> None:
            while len(running) > most:
                number, future = running.popleft()
                before = hits[number]
                hits[number] = future.result() if before is None else before.merge(future.result())

        with ThreadPoolExecutor(self.num_threads) as pool:
            for block in blocks(Path(self.database.path), self.block):
                for number, model in enumerate(models):
                    running.append((number, pool.submit(self._search, model, block)))
                collect(AHEAD * len(queries))
            collect(0)
        for query, found in zip(queries, hits, strict=True):
            alignment = _alignment(query, found)
            if self.described:
                alignment = replace(alignment, headers=_described(alignment.headers, found))
            yield replace(alignment, source=self.source)

    def _search(
        self, model: plan7.HMM[Any], block: easel.DigitalSequenceBlock[Any]
    ) -> plan7.TopHits[Any]:
        return plan7.Pipeline(_AMINO, **asdict(self.settings)).search_hmm(model, block)


def _alignment(query: easel.DigitalSequence[Any], hits: plan7.TopHits[Any] | None) -> Alignment:
    """Return the alignment of the hits to the query, row for row as jackhmmer writes it."""
    if hits is None:
        raise AssertionError("a database has at least one block")
    hits.sort()
    trace = plan7.Trace.from_sequence(query)
    digital: Any = hits.to_msa(  # as letters, insertions would be lower case
        _AMINO, sequences=[query], traces=[trace], all_consensus_cols=True, digitize=True
    )
    found = digital.textize()
    return align_to_first(found.names, list(found.alignment), "the hits of a search")


def _described(headers: tuple[str, ...], hits: plan7.TopHits[Any] | None) -> tuple[str, ...]:
    """Return the headers of the hits' rows, `NAME/1-90`, with their descriptions."""
    texts = {hit.name: hit.description for hit in hits or () if hit.description}
    names = (header.rpartition("/")[0] for header in headers)
    return tuple(
        f"{header} {texts[name]}" if name in texts else header
        for header, name in zip(headers, names, strict=True)
    )


def blocks(path: Path, size: int = BLOCK) -> Iterator[easel.DigitalSequenceBlock[Any]]:
    """Yield the proteins of a FASTA file, so many at a time.

    Raises:
        InputError: The file is damaged, is not FASTA, or changes while it is read.
        MissingError: The file is missing.
    """
    try:
        before = path.stat()
        with open_unpacked(path) as unpacked:
            try:
                source = path if unpacked is None else BufferedReader(unpacked, _PIECE)
                with easel.SequenceFile(source, digital=True, alphabet=_AMINO, format="fasta") as f:
                    while block := f.read_block(sequences=size):
                        yield _short(block, path)  # type: ignore[arg-type]  # its stub is wrong
            finally:
                if unpacked is not None:
                    unpacked.check()
        after = path.stat()
    except FileNotFoundError as error:
        raise MissingError("does not exist", "restore it or name another", where=path) from error
    except (ValueError, EOFError) as error:
        what = f"cannot be read as FASTA ({reason(error)})"
        raise InputError(what, "replace it by a whole copy", where=path) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError("changed while it was searched", "search again", where=path)


def _short(block: easel.DigitalSequenceBlock[Any], path: Path) -> easel.DigitalSequenceBlock[Any]:
    """Return a block without the sequences that are too long for HMMER."""
    if len(block.largest()) <= LONGEST:
        return block
    short = [each for each in block if len(each) <= LONGEST]
    says = "%s: sequences of more than %d residues are not searched: %d"
    logger.warning(says, path, LONGEST, len(block) - len(short))
    return easel.DigitalSequenceBlock(_AMINO, short)

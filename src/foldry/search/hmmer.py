"""HMMER in this process: one round of jackhmmer over a FASTA file, as AlphaFold runs it.

The file is read in blocks, which bounds the memory, and all queries search a block before the next
is read. E-values count all sequences, so the hits do not depend on the size of the blocks.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from io import BufferedReader, BytesIO
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
_TOGETHER: Final = 32
"""Blocks whose hits are merged at once: merging copies all hits that were found before."""
AMINO: Final = easel.Alphabet.amino()
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
        max_rows: Maximum number of rows of an alignment, the query's included; None keeps all.

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
    max_rows: int | None = None

    @property
    def identity(self) -> str:
        """What the results depend on besides the sequence; see `Engine`."""
        program = ["jackhmmer", 2, version("pyhmmer")]
        options = [self.settings, self.described, self.max_rows]
        return content_key([*program, *options, self.database.version])

    @property
    def source(self) -> Source:
        """The engine and the database, for people."""
        return Source("jackhmmer", self.database.name)

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        """Yield the alignment of each sequence; see `Engine`."""
        self.database.check()
        background = plan7.Background(AMINO)
        builder = plan7.Builder(AMINO)
        queries = [
            easel.TextSequence(name="query", sequence=sequence).digitize(AMINO)
            for sequence in sequences
        ]
        models = [builder.build(query, background)[0] for query in queries]
        read = blocks(Path(self.database.path), self.block)
        every = search_blocks(models, read, asdict(self.settings), self.num_threads)
        for query, hits in zip(queries, every, strict=True):
            yield self._alignment(query, hits)

    def _alignment(self, query: easel.DigitalSequence[Any], hits: plan7.TopHits[Any]) -> Alignment:
        """Return the alignment of the hits to the query, row for row as jackhmmer writes it."""
        hits.sort()
        descriptions = [""]
        for hit, domain in included(hits):
            if self.max_rows is not None and len(descriptions) >= self.max_rows:
                domain.included = False
            else:
                descriptions.append(hit.description or "")
        trace = plan7.Trace.from_sequence(query)
        digital: Any = hits.to_msa(  # as letters, insertions would be lower case
            AMINO, sequences=[query], traces=[trace], all_consensus_cols=True, digitize=True
        )
        found = digital.textize()
        rows = align_to_first(found.names, list(found.alignment), "the hits of a search")
        texts = descriptions if self.described else [""] * len(descriptions)
        named = zip(rows.headers, texts, strict=True)
        # White space other than single blanks would not survive writing and reading.
        headers = tuple(" ".join(f"{name} {text}".split()) for name, text in named)
        return replace(rows, headers=headers, source=self.source)


def search_blocks(
    models: Sequence[plan7.HMM[Any]],
    read: Iterable[easel.DigitalSequenceBlock[Any]],
    thresholds: Mapping[str, float],
    num_threads: int,
) -> Iterator[plan7.TopHits[Any]]:
    """Yield the hits of each model, in order; the models share one pass over the blocks.

    Args:
        models: The models.
        read: The blocks of a database; E-values count the sequences of all.
        thresholds: Settings of HMMER's pipeline by name.
        num_threads: Number of threads.
    """
    found: list[list[plan7.TopHits[Any]]] = [[] for _ in models]
    running: deque[tuple[int, Future[plan7.TopHits[Any]]]] = deque()

    def collect(most: int) -> None:
        while len(running) > most:
            number, future = running.popleft()
            found[number].append(future.result())
            if len(found[number]) > _TOGETHER:
                found[number] = [_merged(found[number])]

    pool = ThreadPoolExecutor(num_threads)
    try:
        for block in read:
            for number, model in enumerate(models):
                running.append((number, pool.submit(_search, model, block, thresholds)))
            collect(AHEAD * len(models))
        collect(0)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted search ends at once
    found.reverse()
    for model in models:
        yield _merged(found.pop() or [plan7.TopHits(model)])  # which are freed now


def _search(
    model: plan7.HMM[Any], block: easel.DigitalSequenceBlock[Any], thresholds: Mapping[str, Any]
) -> plan7.TopHits[Any]:
    return plan7.Pipeline(AMINO, **thresholds).search_hmm(model, block)


def _merged(parts: list[plan7.TopHits[Any]]) -> plan7.TopHits[Any]:
    """Return the hits in all parts of a database, which are at least one."""
    return parts[0].merge(*parts[1:]) if parts[1:] else parts[0]


def included(hits: plan7.TopHits[Any]) -> Iterator[tuple[plan7.Hit, plan7.Domain]]:
    """Yield the hit and the domain of each row of HMMER's alignment, except the query's."""
    for hit in hits:
        if hit.included:
            for domain in hit.domains:
                if domain.included:
                    yield hit, domain


def blocks(path: Path, size: int = BLOCK) -> Iterator[easel.DigitalSequenceBlock[Any]]:
    """Yield the proteins of a FASTA file, so many at a time.

    Raises:
        InputError: The file is damaged, is not FASTA, or changes while it is read.
        MissingError: The file is missing.
    """
    num_long = 0
    try:
        before = path.stat()
        with open_unpacked(path) as unpacked:
            try:
                source = path if unpacked is None else BufferedReader(unpacked, _PIECE)
                with easel.SequenceFile(source, digital=True, alphabet=AMINO, format="fasta") as f:
                    while block := f.read_block(sequences=size):
                        _decode_names(block)  # type: ignore[arg-type]  # the stub is wrong
                        short = _short(block)  # type: ignore[arg-type]
                        num_long += len(block) - len(short)
                        yield short
            finally:
                if unpacked is not None:
                    unpacked.check()
        after = path.stat()
    except FileNotFoundError as error:
        raise MissingError("does not exist", "restore it or name another", where=path) from error
    except InputError:
        raise
    except (ValueError, EOFError) as error:
        what = f"cannot be read as FASTA ({reason(error)})"
        raise InputError(what, "replace it by a whole copy", where=path) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError("changed while it was searched", "search again", where=path)
    if num_long:
        says = "%s: sequences of more than %d residues are skipped: %d"
        logger.warning(says, path, LONGEST, num_long)


def _decode_names(block: easel.DigitalSequenceBlock[Any]) -> None:
    """Replace what is not UTF-8 in names and descriptions, which are decoded when they are read."""
    for each in block:
        try:
            _ = each.name, each.description
        except UnicodeDecodeError:
            text = BytesIO()
            each.write(text)
            header = text.getvalue().partition(b"\n")[0].removeprefix(b">")
            each.name, _, each.description = header.decode(errors="replace").partition(" ")


def _short(block: easel.DigitalSequenceBlock[Any]) -> easel.DigitalSequenceBlock[Any]:
    """Return a block without the sequences that are too long for HMMER."""
    if len(block.largest()) <= LONGEST:
        return block
    return easel.DigitalSequenceBlock(AMINO, [each for each in block if len(each) <= LONGEST])

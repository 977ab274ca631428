"""HMMER in this process: hmmbuild and hmmsearch, as AlphaFold finds templates of complexes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from io import BytesIO
from itertools import chain
from typing import Any, Final

import numpy as np
from pyhmmer import easel, plan7

from foldry.formats.stockholm import to_stockholm
from foldry.query import Alignment, Source
from foldry.search.engine import Targets
from foldry.search.hits import AlignedHit
from foldry.search.hmmer import AMINO, BLOCK, blocks, included, search_blocks
from foldry.search.templates_read import is_protein
from foldry.store.hashes import content_key

PROGRAM: Final = "hmmsearch"
_REFERENCE: Final = "#=GC RF"
_INSERTED, _DELETED = (ord(letter) for letter in ".-")
"""Letters of the model where the chain alone has a residue, and of the chain where it has none."""


@dataclass(frozen=True)
class HmmSearchSettings:
    """The thresholds of a search; the defaults are AlphaFold's.

    Attributes:
        F1, F2, F3: Share of unrelated sequences that pass each filter.
        E, domE: Maximum E-value of a chain, and of a domain in it.
        incE, incdomE: Maximum E-value of a chain and of a domain among the hits.
    """

    F1: float = 0.1
    F2: float = 0.1
    F3: float = 0.1
    E: float = 100.0
    domE: float = 100.0  # noqa: N815  (HMMER's name)
    incE: float = 100.0  # noqa: N815
    incdomE: float = 100.0  # noqa: N815


@dataclass(frozen=True)
class HmmSearch:
    """An engine for FASTA files of chains, such as `pdb_seqres` or those of a library.

    Attributes:
        targets: The files; E-values count the sequences of all.
        settings: The thresholds.
        num_threads: Number of threads.
        block: Number of sequences that are in memory at a time, for each of a few blocks.

    Example:
        >>> from foldry.search.template_input import template_input
        >>> engine = HmmSearch((Targets(Path("pdb_seqres.fasta"), "pdb", "1"),))  # doctest: +SKIP
        >>> [found] = engine.hits([template_input(alignment)])  # doctest: +SKIP
    """

    targets: tuple[Targets, ...]
    settings: HmmSearchSettings = HmmSearchSettings()
    num_threads: int = 1
    block: int = BLOCK

    @property
    def identity(self) -> str:
        """What the hits depend on besides the alignments; see `TemplateEngine`."""
        versions = [each.version for each in self.targets]
        return content_key([PROGRAM, 1, version("pyhmmer"), self.settings, versions])

    @property
    def source(self) -> Source:
        """The engine and the databases, for people."""
        return Source(PROGRAM, ", ".join(each.name for each in self.targets))

    def hits(self, alignments: Sequence[Alignment]) -> Iterator[list[AlignedHit]]:
        """Yield the hits of each alignment, one for each domain; see `TemplateEngine`.

        E-values are those of the chains, by which they are sorted. Chains that are not proteins by
        their headers are left out, as by AlphaFold.
        """
        builder = plan7.Builder(AMINO, architecture="hand")
        background = plan7.Background(AMINO)
        models = [builder.build_msa(_msa(each), background)[0] for each in alignments]
        read = chain.from_iterable(blocks(each.fasta, self.block) for each in self.targets)
        for found in search_blocks(models, read, asdict(self.settings), self.num_threads):
            found.sort()
            hits = (_aligned(*each) for each in included(found))
            yield [hit for hit in hits if is_protein(hit.title)]


def _msa(alignment: Alignment) -> easel.DigitalMSA[Any]:
    """Return an alignment as hmmbuild reads it, with a model's position for each query residue.

    The query is the last row: Easel sorts the rows of jackhmmer's files by their descriptions'
    lines, and the query has none. Weights, which are sums, are thus the same to the last bit.
    """
    numbers = map(str, range(1, alignment.num_rows))
    text = to_stockholm(replace(alignment, headers=("query", *numbers)))
    begin, blank, query, others = text.split("\n", 3)
    rows, reference, end = others.rpartition(_REFERENCE)
    text = f"{begin}\n{blank}\n{rows}{query}\n{reference}{end}"
    with easel.MSAFile(
        BytesIO(text.encode()), format="stockholm", digital=True, alphabet=AMINO
    ) as file:
        msa = file.read()
    assert msa is not None, "the text has an alignment"
    msa.name = "query"
    return msa


def _aligned(hit: plan7.Hit, domain: plan7.Domain) -> AlignedHit:
    """Return the aligned part of a chain."""
    found = domain.alignment
    model, there = (
        np.frombuffer(row.encode(), np.uint8) for row in (found.hmm_sequence, found.target_sequence)
    )
    is_here, is_there = model != _INSERTED, there != _DELETED
    pairs = np.stack([found.hmm_from - 2 + np.cumsum(is_here), np.cumsum(is_there) - 1], axis=1)
    return AlignedHit(
        name=hit.name,
        pairs=pairs[is_here & is_there].astype(np.int32),
        sequence=there[is_there].tobytes().decode().upper(),
        begin=found.target_from - 1,
        title=hit.description or "",
        e_value=hit.evalue,
    )

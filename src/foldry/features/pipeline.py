"""Query → Features."""

from __future__ import annotations

import numpy as np

from foldry.errors import InputError
from foldry.features.features import FeatureConfig, Features
from foldry.features.msa import merge_alignments
from foldry.features.sequence import sequence_features
from foldry.features.templates import template_features
from foldry.query import Alignment, Chain, Query
from foldry.residues import RESTYPE_ORDER, UNKNOWN


def make_features(query: Query, config: FeatureConfig, seed: int) -> Features:
    """Everything that the network reads of a query, but for the draws of its alignment.

    A chain without an alignment is its own single row. Rows that could be paired stand before
    the others.

    Raises:
        InputError: There are several chains, or an alignment or template does not fit the chain.
    """
    if query.num_chains != 1:
        raise InputError(
            f"{query.name!r} has {query.num_chains} chains and complexes are not folded yet: "
            "give one chain a query."
        )
    chain = query.chains[0]
    sequence = sequence_features(query)
    for alignment in chain.alignments:
        _check_query_row(chain, alignment)
    msa, deletions = merge_alignments(chain.alignments or [_single(chain, query.name)])
    templates = None
    if config.num_templates and chain.templates:
        templates = template_features(chain.sequence, chain.templates, config.num_templates)
    return Features(
        **vars(sequence),
        msa=msa,
        deletion_matrix=deletions,
        templates=templates,
        config=config,
        seed=seed,
    )


def _single(chain: Chain, name: str) -> Alignment:
    return Alignment((name,), (chain.sequence,), np.zeros((1, len(chain.sequence)), np.int32))


def _check_query_row(chain: Chain, alignment: Alignment) -> None:
    """The first row must be the query, but for rare letters that the query has as X."""
    first = alignment.sequences[0]
    if len(first) != len(chain.sequence):
        raise InputError(
            f"The alignment of chain {chain.ids[0]} starts with a row of {len(first)} residues and "
            f"the chain has {len(chain.sequence)}: its first row must be the query without gaps."
        )
    for number, (ours, theirs) in enumerate(zip(chain.sequence, first, strict=True), start=1):
        if ours != theirs and RESTYPE_ORDER.get(ours, UNKNOWN) != UNKNOWN:
            raise InputError(
                f"The alignment of chain {chain.ids[0]} starts with another sequence ({theirs} for "
                f"{ours} at residue {number}): its first row must be the query."
            )

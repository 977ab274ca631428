"""Conversion of a query to the features that the network reads."""

from __future__ import annotations

from foldry.errors import InputError
from foldry.features.coevolution import alignment_statistics
from foldry.features.config import FeatureConfig, Pairing
from foldry.features.features import Features
from foldry.features.pairing import align_complex
from foldry.features.sequence import sequence_features
from foldry.features.templates import template_features, template_features_of_complex
from foldry.query import Query


def make_features(
    query: Query, config: FeatureConfig, seed: int, pairing: Pairing = "alphafold"
) -> Features:
    """Return all inputs of the network for a query, except the draws of its alignment.

    Without an alignment, the sequence of a chain is its only row. With a single chain, rows that
    could be paired come before the others.

    Args:
        query: Chains with their alignments and templates.
        config: How much the model reads.
        seed: Seed of every draw.
        pairing: How rows of different chains are paired.

    Raises:
        InputError: As for `check_chains`, or a template does not fit its chain.
    """
    check_chains(query, config)
    aligned = align_complex(query, pairing)
    templates = None
    if config.pad_templates and config.num_templates:
        copies = [chain for chain in query.chains for _ in chain.ids]
        templates = template_features_of_complex(copies, config.num_templates)
    elif config.num_templates and query.chains[0].templates:
        first = query.chains[0]
        templates = template_features(first.sequence, first.templates, config.num_templates)
    return Features(
        **vars(sequence_features(query)),
        msa=aligned.msa,
        deletion_matrix=aligned.deletion_matrix,
        templates=templates,
        config=config,
        seed=seed,
        covered=aligned.covered,
        **alignment_statistics(aligned.msa, config),
    )


def check_chains(query: Query, config: FeatureConfig) -> None:
    """Check that a model with this config can fold the chains of a query.

    Raises:
        InputError: There are several chains but the network is for single chains, or a chain
            contains only X.
    """
    for chain in query.chains:
        if not chain.sequence.strip("X"):
            what, advice = "contains only X", "give at least one known amino acid"
            raise InputError(what, advice, where=f"Chain {chain.ids[0]} of {query.name}")
    if query.num_chains > 1 and not config.pad_templates:
        raise InputError(
            f"{query.name!r} has {query.num_chains} chains, but the network is for single chains",
            "set `weights` to multimer parameters, or fold each chain as a query",
            code="multimer_weights",
        )

"""Query → Features."""

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
    """Everything that the network reads of a query, but for the draws of its alignment.

    A chain without an alignment is its own single row. In a single chain's alignment, rows that
    could be paired stand before the others.

    Args:
        query: Chains with their alignments and templates.
        config: How much the model reads.
        seed: Where every draw starts from.
        pairing: Which rows of several chains are paired.

    Raises:
        InputError: There are several chains and the model reads one, or a template does not fit
            its chain.
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
    """Whether a model that reads such features was made for as many chains.

    Raises:
        InputError: There are several chains and the model reads one.
    """
    if query.num_chains > 1 and not config.pad_templates:
        raise InputError(
            f"{query.name!r} has {query.num_chains} chains and the model was made for one",
            "set `weights` to multimer parameters, or give one chain a query",
            code="multimer_weights",
        )

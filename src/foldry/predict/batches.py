"""Short queries that pass a network together, which saves time where a pass is mostly overhead.

Each query keeps its own content keys, files and errors. A prediction that an interruption finds
computed but not yet asked for is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Final

import torch

from foldry.features.features import Features
from foldry.model.alphafold import AlphaFold
from foldry.predict import stages
from foldry.predict.recycle import Begin
from foldry.predict.settings import Settings
from foldry.predict.stages import RawPrediction
from foldry.query import Query
from foldry.weights.networks import NetworkFile

MAX_MEMBERS: Final = 8
"""Maximum number of queries of a batch."""
MAX_RESIDUES_CPU: Final = 32
"""Maximum number of residues on a CPU: a batch gains nothing at 40 and loses time at 88."""
MAX_RESIDUES_GPU: Final = 256
"""Maximum number of residues on a GPU; not measured yet."""
MAX_PAIRS: Final = 2 * MAX_RESIDUES_GPU**2
"""Maximum number of pairs of residues of a batch, padding included; not measured yet."""
MAX_PADDING: Final = 0.12
"""Maximum padding of residues and of alignment rows, as a fraction of the real ones."""
MAX_SEEDS: Final = 10
"""Maximum number of seeds: an interruption loses the predictions of members that wait."""

logger = logging.getLogger(__name__)


def grouped(queries: Sequence[Query], settings: Settings, most: int) -> list[list[int]]:
    """Return the numbers of the queries, from 0, in groups of which each is to be a `Batch`.

    Args:
        queries: The queries.
        settings: Settings of all queries.
        most: Maximum number of members, if it is smaller than `MAX_MEMBERS`.

    Returns:
        Groups in the order of their first members, each ascending. Members have one chain, the
        same seeds, and similar lengths and depths. With dropout or relaxation, or if the queries
        are long, a group has one member.
    """
    on_gpu = settings.device != "cpu" and torch.cuda.is_available()
    longest = MAX_RESIDUES_GPU if on_gpu else MAX_RESIDUES_CPU
    most = 1 if settings.dropout or settings.relax != "none" else min(most, MAX_MEMBERS)
    sizes = [_size(query) for query in queries]
    seeds = [stages.seeds_of(query, settings) for query in queries]

    def fit(group: Sequence[int]) -> bool:
        lengths, depths = zip(*(sizes[number] for number in group), strict=True)
        padding = max(len(group) * max(each) / sum(each) - 1 for each in (lengths, depths))
        return (
            len(group) <= most
            and max(lengths) <= longest
            and len(group) * max(lengths) ** 2 <= MAX_PAIRS
            and padding <= MAX_PADDING
            and {queries[number].num_chains for number in group} == {1}
            and len({seeds[number] for number in group}) == 1
            and len(seeds[group[0]]) <= MAX_SEEDS
        )

    groups: list[list[int]] = []
    similar = [(each, size[1].bit_length(), *size) for each, size in zip(seeds, sizes, strict=True)]
    for number in sorted(range(len(queries)), key=similar.__getitem__):
        if groups and fit([*groups[-1], number]):
            groups[-1].append(number)
        else:
            groups.append([number])
    return sorted(map(sorted, groups))


def _size(query: Query) -> tuple[int, int]:
    """Return the number of residues and of alignment rows."""
    rows = sum(each.num_rows for chain in query.chains for each in chain.alignments)
    return query.num_residues, max(rows, 1)


class Batch:
    """Queries with one chain and the same seeds, predicted together when the first one needs it.

    Queries ask in their order. The first one that needs a prediction has it computed for all that
    follow as well; if one of these turns out to be finished, its prediction was computed in vain.
    """

    def __init__(self, queries: Sequence[Query], settings: Settings) -> None:
        self._queries = queries
        self._settings = settings
        self._waiting: dict[tuple[NetworkFile, int], dict[int, RawPrediction]] = {}

    def take(
        self, query: Query, model: AlphaFold, network: NetworkFile, seed: int, begin: Begin
    ) -> RawPrediction | None:
        """Return the prediction of a member; None if it must be predicted alone.

        Reasons are that its features cannot be made, that the network tries several templates for
        it, that its numbers are not finite, that no other member is left, or that the batch failed,
        e.g. for lack of memory.
        """
        key = network, seed
        if key not in self._waiting:
            [first, *_] = [n for n, each in enumerate(self._queries) if each is query]
            self._waiting[key] = self._infer(self._queries[first:], model, seed, begin)
        return self._waiting[key].pop(id(query), None)

    def _infer(
        self, queries: Sequence[Query], model: AlphaFold, seed: int, begin: Begin
    ) -> dict[int, RawPrediction]:
        """Return the predictions by the `id` of their queries."""
        if len(queries) == 1:
            return {}
        found: dict[int, RawPrediction | ArithmeticError] = {}
        alike: dict[tuple[bool, ...], list[tuple[int, Features]]] = {}
        for query in queries:
            tried, *others = stages.tried_queries(query, model.config)
            if others:
                continue
            try:
                features = stages.featurise(tried, model.config, seed, self._settings)
            except Exception:  # it fails by itself
                logger.debug("%s leaves its batch", query.name, exc_info=True)
                continue
            absent = tuple(getattr(features, each.name) is None for each in fields(features))
            alike.setdefault(absent, []).append((id(query), features))
        for batch in alike.values():
            names, members = zip(*batch, strict=True)
            try:
                raws = stages.infer_batch(members, model, self._settings, begin)
            except Exception:  # one by one, they may fit into memory
                logger.debug("A batch of %d queries failed", len(members), exc_info=True)
                continue
            found |= zip(names, raws, strict=True)
        return {name: raw for name, raw in found.items() if isinstance(raw, RawPrediction)}

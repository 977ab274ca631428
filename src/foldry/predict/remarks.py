"""Log messages about queries that are going to be folded."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

from foldry.errors import counted
from foldry.features.config import DEFAULT_PAIRING, Pairing
from foldry.features.pairing import PairingReport
from foldry.model.config import ModelConfig
from foldry.predict.network import configured
from foldry.predict.settings import Settings
from foldry.predict.stages import (
    MAX_E_VALUE,
    MAX_TRIED,
    num_unrelated,
    pairs_rows,
    tried_queries,
)
from foldry.query import Chain, Query
from foldry.weights.networks import NetworkFile

MIN_NUCLEOTIDES: Final = 12

logger = logging.getLogger(__name__)


def warn(
    queries: Sequence[Query],
    settings: Settings,
    networks: Sequence[NetworkFile],
    *,
    are_searched: bool = False,
) -> None:
    """Log all remarks and warnings, except those on alignments that a search will find."""
    warn_of_nucleic_acids(queries)
    if not are_searched:
        warn_of_single_sequences(queries)
    warn_of_unused_pairing(queries, settings.pairing)
    configs = [configured(network.config(), settings) for network in networks]
    warn_of_unused_settings(queries, settings, configs, are_searched=are_searched)
    remark_on_templates(queries, configs)


def remark_on_templates(queries: Sequence[Query], configs: Sequence[ModelConfig]) -> None:
    """Log which templates have no effect and which are tried one after the other."""
    warn_of_unused_templates(queries, configs)
    say_unrelated_templates(queries, configs)
    say_tried_templates(queries, configs)


def warn_of_unused_settings(
    queries: Sequence[Query],
    settings: Settings,
    configs: Sequence[ModelConfig],
    *,
    are_searched: bool = False,
) -> None:
    """Warn of settings that change nothing for these queries and networks, and say why."""
    unused: dict[str, str] = {}
    if settings.relax == "none":
        names = ("relax_platform", "relax_rounds", "relax_seconds")
        unused |= dict.fromkeys(names, "nothing is relaxed (`relax`)")
    if configs and max(each.num_recycles for each in configs) < 2:
        unused["recycle_tolerance"] = "it needs 2 recycles or more (`num_recycles`)"
    if not are_searched and not any(pairs_rows(q) or q.paired_by_row for q in queries):
        unused["pairing"] = "no query has different chains with alignments"
    rows = [each for query in queries for chain in query.chains for each in chain.alignments]
    if not are_searched and all(each.num_rows == 1 for each in rows):
        unused["max_msa"] = "no query has an alignment"
    default = Settings()
    for name, why in unused.items():
        if getattr(settings, name) != getattr(default, name):
            logger.warning("`%s` has no effect: %s.", name, why)


def warn_of_unused_templates(queries: Sequence[Query], configs: Sequence[ModelConfig]) -> None:
    """Warn of queries with more given templates for a chain than any network reads or tries."""
    numbers = [each.features.num_templates for each in configs]
    limits = [(MAX_TRIED, False) if each == 1 else (each, True) for each in numbers]
    most, is_read = max(limits, default=(0, True))
    more = [q.name for q in queries if any(_num_given(chain) > most for chain in q.chains)]
    if configs and more:
        read = f"{counted(most, 'template')} per chain: others" if most else "no templates: those"
        verb = "read" if is_read else "try"
        logger.warning("The networks %s %s of %s have no effect.", verb, read, first_of(more))


def _num_given(chain: Chain) -> int:
    """Return the number of templates that no search found."""
    return sum(not hit.how for hit in chain.templates)


def say_unrelated_templates(queries: Sequence[Query], configs: Sequence[ModelConfig]) -> None:
    """Log how many templates that were found networks do not read, and why."""
    for config in configs:
        for query in queries:
            if number := num_unrelated(query, config):
                total = sum(len(chain.templates) for chain in query.chains)
                says = "%s: %s does not read %s, which may be unrelated (E-value above %g)."
                which = f"{number} of {counted(total, 'template')}"
                logger.info(says, query.name, config.name, which, MAX_E_VALUE)


def say_tried_templates(queries: Sequence[Query], configs: Sequence[ModelConfig]) -> None:
    """Log which networks predict a query once with each template, which takes longer."""
    for config in configs:
        if several := [q.name for q in queries if len(tried_queries(q, config)) > 1]:
            says = (
                "%s reads one template per chain: for %s, it tries each template, at most %d, and "
                "the prediction with the highest confidence is kept."
            )
            logger.info(says, config.name, first_of(several), MAX_TRIED)


def warn_of_single_sequences(queries: Sequence[Query], *, are_searched: bool = False) -> None:
    """Warn of queries with a chain without an alignment: name the first, count the others."""
    single = [query.name for query in queries if _has_single_sequence(query)]
    if single and are_searched:
        logger.warning("No homologues were found for %s; expect low confidence.", first_of(single))
    elif single:
        has = "have" if single[1:] else "has"
        says = "%s %s no alignment; a single sequence gives low confidence."
        logger.warning(says, first_of(single), has)


def _has_single_sequence(query: Query) -> bool:
    """Return whether a chain has no other rows than itself; equal chains share their rows."""
    aligned = {c.sequence for c in query.chains for a in c.alignments if a.num_rows > 1}
    return any(chain.sequence not in aligned for chain in query.chains)


def warn_of_unused_pairing(queries: Sequence[Query], pairing: Pairing) -> None:
    """Warn of queries whose files pair the rows, so that `pairing` has no effect."""
    by_file = [query.name for query in queries if query.paired_by_row]
    if by_file and pairing != DEFAULT_PAIRING:
        says = "`pairing` %s has no effect on %s: the file pairs the rows."
        logger.warning(says, pairing, first_of(by_file))


def warn_of_nucleic_acids(queries: Sequence[Query]) -> None:
    """Warn of queries that look like DNA or RNA."""
    for query in queries:
        for chain in query.chains:
            letters = set(chain.sequence)
            # Poly-Ala and poly-Gly are peptides.
            is_nucleic = letters <= set("ACGTNX") and len(letters & set("ACGT")) > 1
            if is_nucleic and len(chain.sequence) >= MIN_NUCLEOTIDES:
                logger.warning(
                    "%s looks like DNA or RNA and is folded as a protein: give the amino acids.",
                    query.name,
                )


def first_of(names: Sequence[str]) -> str:
    """Return the first name, and the number of the others."""
    return f"{names[0]!r}" + (f" and {len(names) - 1} more" if names[1:] else "")


def distinct_chains(query: Query) -> list[int]:
    """Return the index of the first chain of each sequence; copies count as chains."""
    sequences = [chain.sequence for chain in query.chains for _ in chain.ids]
    return [sequences.index(sequence) for sequence in dict.fromkeys(sequences)]


def say_pairing(query: Query, report: PairingReport) -> None:
    """Log how many rows of a complex are paired, how many are not, and why."""
    distinct = distinct_chains(query)
    # If nothing can be paired, the query itself is the first of the unpaired rows.
    query_too = not report.rows
    unpaired = ", ".join(
        f"{report.chains[k]} {report.num_unpaired[k] - query_too}" for k in distinct
    )
    logger.info(
        "%s (%s): %s; unpaired rows: %s.",
        query.name,
        _copies(query),
        _paired(query, report),
        unpaired,
    )
    others = Counter(each.reason for each in report.species if each.reason)
    for reason, number in others.most_common():
        logger.info("%s: %d species not paired: %s.", query.name, number, reason)


def _copies(query: Query) -> str:
    """Return the first chain of each sequence with the number of its copies: `2 × A, C`."""
    sequences = Counter(chain.sequence for chain in query.chains for _ in chain.ids)
    names = {chain.sequence: chain.ids[0] for chain in reversed(query.chains)}
    copies = ((names[each], number) for each, number in sequences.items())
    return ", ".join(f"{number} × {name}" if number > 1 else name for name, number in copies)


def _paired(query: Query, report: PairingReport) -> str:
    """Return how many rows are paired and how, or why no rows are paired."""
    number = report.num_paired
    rows = counted(number, "paired row")
    if query.paired_by_row:
        return f"{rows}, as in the file" if number else "the file pairs no rows"
    if number:
        return f"{rows} of {sum(each.num_paired > 0 for each in report.species)} species"
    if len(distinct_chains(query)) == 1:
        return "no rows are paired, because all chains are equal"
    if not report.species and any(report.without_species):
        return "no rows are paired, because no header names a species"
    if not report.species:
        return "no rows are paired, because no chain has an alignment"
    return "no rows are paired"

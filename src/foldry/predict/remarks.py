"""Log messages about queries that are going to be folded."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

from foldry.features.config import DEFAULT_PAIRING, Pairing
from foldry.features.pairing import PairingReport
from foldry.inputs.queries import stoichiometry
from foldry.query import Query

MIN_NUCLEOTIDES: Final = 12

logger = logging.getLogger(__name__)


def warn(queries: Sequence[Query], pairing: Pairing) -> None:
    """Log every warning of this module."""
    warn_of_nucleic_acids(queries)
    warn_of_single_sequences(queries)
    warn_of_unused_pairing(queries, pairing)


def warn_of_single_sequences(queries: Sequence[Query]) -> None:
    """Warn of queries with a chain without an alignment: name the first, count the others."""
    single = [query.name for query in queries if _has_single_sequence(query)]
    if single:
        more = f" and {len(single) - 1} more have" if single[1:] else " has"
        logger.warning("%s no alignment; a single sequence gives low confidence.", single[0] + more)


def _has_single_sequence(query: Query) -> bool:
    """Return whether a chain has no other rows than itself; equal chains share their rows."""
    aligned = {c.sequence for c in query.chains for a in c.alignments if a.num_rows > 1}
    return any(chain.sequence not in aligned for chain in query.chains)


def warn_of_unused_pairing(queries: Sequence[Query], pairing: Pairing) -> None:
    """Warn of queries whose files pair the rows, so that `pairing` has no effect."""
    by_file = [query.name for query in queries if query.paired_by_row]
    if by_file and pairing != DEFAULT_PAIRING:
        more = f" and {len(by_file) - 1} more" if by_file[1:] else ""
        logger.warning(
            "`pairing` %s has no effect on %s: the file pairs the rows.",
            pairing,
            by_file[0] + more,
        )


def warn_of_nucleic_acids(queries: Sequence[Query]) -> None:
    """Warn of queries that look like DNA or RNA."""
    for query in queries:
        for chain in query.chains:
            if len(chain.sequence) >= MIN_NUCLEOTIDES and set(chain.sequence) <= set("ACGTNX"):
                logger.warning(
                    "%s looks like DNA or RNA and is folded as a protein: give the amino acids.",
                    query.name,
                )


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
        stoichiometry(query),
        _paired(query, report),
        unpaired,
    )
    others = Counter(each.reason for each in report.species if each.reason)
    for reason, number in others.most_common():
        logger.info("%s: %d species not paired: %s.", query.name, number, reason)


def _paired(query: Query, report: PairingReport) -> str:
    """Return how many rows are paired and how, or why no rows are paired."""
    number = report.num_paired
    rows = f"{number} paired row" + "s" * (number > 1)
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

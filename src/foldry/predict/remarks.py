"""What is worth knowing of queries before they are folded."""

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


def warn_of_single_sequences(queries: Sequence[Query]) -> None:
    """Names the first query with a chain that is its own only row, and counts the others."""
    single = [query.name for query in queries if _has_single_sequence(query)]
    if single:
        more = f" and {len(single) - 1} more have" if single[1:] else " has"
        logger.warning(
            "%s no alignment; a single sequence is folded with low confidence.", single[0] + more
        )


def _has_single_sequence(query: Query) -> bool:
    """Whether no chain of a sequence has more rows than itself; equal chains share theirs."""
    aligned = {c.sequence for c in query.chains for a in c.alignments if a.num_rows > 1}
    return any(chain.sequence not in aligned for chain in query.chains)


def warn_of_unused_pairing(queries: Sequence[Query], pairing: Pairing) -> None:
    """Names the first query whose file pairs the rows, where a way to pair them is asked for."""
    by_file = [query.name for query in queries if query.paired_by_row]
    if by_file and pairing != DEFAULT_PAIRING:
        more = f" and {len(by_file) - 1} more queries" if by_file[1:] else ""
        logger.warning(
            "`pairing` %s changes nothing for %s: the file itself pairs the rows.",
            pairing,
            by_file[0] + more,
        )


def warn_of_nucleic_acids(queries: Sequence[Query]) -> None:
    """Names the queries whose letters are those of DNA or RNA."""
    for query in queries:
        for chain in query.chains:
            if len(chain.sequence) >= MIN_NUCLEOTIDES and set(chain.sequence) <= set("ACGTNX"):
                logger.warning(
                    "%s has no letters but those of DNA or RNA and is folded as a protein: give "
                    "the amino acids.",
                    query.name,
                )


def distinct_chains(query: Query) -> list[int]:
    """The numbers of the chains, copies counted, that are the first of their sequence."""
    sequences = [chain.sequence for chain in query.chains for _ in chain.ids]
    return [sequences.index(sequence) for sequence in dict.fromkeys(sequences)]


def say_pairing(query: Query, report: PairingReport) -> None:
    """Logs how many rows of a complex are paired and how many are not, and why not."""
    distinct = distinct_chains(query)
    # Where nothing can be paired, the query itself is the first of the unpaired rows.
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
    """How many rows are paired and by what, or why none is."""
    number = max(len(report.rows) - 1, 0)  # the first is the query
    rows = f"{number} paired row" + "s" * (number > 1)
    if query.paired_by_row:
        return f"{rows}, as the file pairs them" if number else "no rows are paired by the file"
    if number:
        return f"{rows} of {sum(each.num_paired > 0 for each in report.species)} species"
    if len(distinct_chains(query)) == 1:
        return "no rows are paired, as all chains are equal"
    if not report.species and any(report.without_species):
        return "no rows are paired, as no header tells a species"
    if not report.species:
        return "no rows are paired, as no chain has an alignment"
    return "no rows are paired"

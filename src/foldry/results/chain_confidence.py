"""Confidence of chains and interfaces, for the files and the report of a complex."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from foldry.errors import InputError
from foldry.formats.model_record import ChainMetric
from foldry.measures import MEASURES, rounded
from foldry.results.prediction import Prediction
from foldry.score.confidence import (
    chain_clashes,
    interface_confidence,
    quoted,
)
from foldry.score.interface import Contacts

logger = logging.getLogger(__name__)


class Measured(ChainMetric):
    """One measure of every chain, or of every pair of chains."""

    def of(self, a: int, b: int) -> float | None:
        """Return the value that represents both directions of a pair of chains."""
        both = self.values[np.ix_((a, b), (a, b))]
        return rounded(quoted(self.measure.key, both)[0, 1].item())

    def stored(self, a: int, b: int) -> float | list[float | None] | None:
        """Return the value of a pair of chains, or both values if the directions differ."""
        if not self.measure.quoted:
            return rounded(self.values[a, b].item())
        return [rounded(self.values[at].item()) for at in ((a, b), (b, a))]


@dataclass(frozen=True)
class ChainConfidence:
    """Confidence of a prediction's chains and interfaces.

    Attributes:
        chains: Names of the chains, in order.
        num_residues: Number of residues of each chain.
        of_chains, of_pairs: Measures of chains and of pairs of chains.
        clashing: Whether each chain [C] clashes with others.
        contacts: Pairs of residues of different chains with Cβ at most 8 Å apart.
    """

    chains: tuple[str, ...]
    num_residues: tuple[int, ...]
    of_chains: tuple[Measured, ...]
    of_pairs: tuple[Measured, ...]
    clashing: Bool[np.ndarray, " C"]
    contacts: Contacts

    def pairs(self) -> list[tuple[int, int]]:
        """Return every pair of chains once, the earlier chain first."""
        return [(a, b) for a in range(len(self.chains)) for b in range(a + 1, len(self.chains))]


def chain_confidence(prediction: Prediction) -> ChainConfidence | None:
    """Return the measures of all chains; None for one chain, without PAE, or if atoms coincide."""
    structure, pae = prediction.structure, prediction.pae
    ptm, iptm, actifptm = prediction.chain_ptm, prediction.chain_pair_iptm, prediction.actifptm
    if pae is None or ptm is None or iptm is None or actifptm is None:
        return None
    try:
        found = interface_confidence(structure, pae, prediction.plddt)
        clashes = chain_clashes(structure)
    except InputError as error:
        logger.warning("The interfaces of %s are not scored: %s", prediction.query.name, error)
        return None
    members = [structure.chain_id == chain for chain in structure.chains]
    plddt = np.array([prediction.plddt[each].mean() for each in members])
    return ChainConfidence(
        chains=structure.chains,
        num_residues=tuple(int(each.sum()) for each in members),
        of_chains=_measured(
            mean_plddt=plddt, ptm=ptm, pdockq2=found.pdockq2, clashing_share=clashes.share
        ),
        of_pairs=_measured(
            iptm=iptm,
            actifptm=actifptm,
            ipsae=found.ipsae,
            lis=found.lis,
            pdockq=found.pdockq,
            interface_pae=found.interface_pae,
            contacts=found.contacts,
            clashing_atoms=clashes.atoms,
        ),
        clashing=clashes.clashing,
        contacts=found.touching,
    )


def _measured(**values: np.ndarray) -> tuple[Measured, ...]:
    return tuple(Measured(MEASURES[key], each) for key, each in values.items())


def chains_json(found: ChainConfidence) -> dict[str, object]:
    """Return the keys of `scores_….json` that only complexes have.

    A measure that depends on the direction is a list of two numbers: aligned on the first chain
    and on the second.
    """
    return {
        "has_clash": bool(found.clashing.any()),
        "chains": [
            {
                "chain": chain,
                "residues": found.num_residues[k],
                **{each.measure.key: rounded(each.values[k].item()) for each in found.of_chains},
            }
            for k, chain in enumerate(found.chains)
        ],
        "interfaces": [
            {
                "chains": [found.chains[a], found.chains[b]],
                **{each.measure.key: each.stored(a, b) for each in found.of_pairs},
            }
            for a, b in found.pairs()
        ],
    }


def chain_metrics(found: ChainConfidence) -> list[ChainMetric]:
    """Return the measures that are ModelCIF quality metrics; symmetric ones only once."""
    metrics: list[ChainMetric] = []
    for each in (*found.of_chains, *found.of_pairs):
        if each.measure.kind and each.values.ndim == 2 and not each.measure.quoted:
            upper = np.where(np.tri(len(each.values), dtype=bool), np.nan, each.values)
            metrics.append(ChainMetric(each.measure, upper))
        elif each.measure.kind:
            metrics.append(each)
    return metrics

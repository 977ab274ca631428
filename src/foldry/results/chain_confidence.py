"""How sure a prediction is of its chains and their interfaces, for its files and the report."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from foldry.errors import InputError
from foldry.formats.modelcif import ChainMetric
from foldry.measures import rounded
from foldry.results.prediction import Prediction
from foldry.score.confidence import (
    QUOTED,
    ChainClashes,
    InterfaceConfidence,
    chain_clashes,
    interface_confidence,
    quoted,
)
from foldry.score.interface import Contacts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measure:
    """One measure of all chains, or of all pairs of chains.

    Attributes:
        key: Its name in `scores_….json`.
        name: Its name for people.
        meaning: One line of explanation.
        values: [C] of each chain or [C, C], row a aligned on chain a; NaN where there is none.
        kind: What it is in the dictionary of ModelCIF; "" for what is no quality metric.
    """

    key: str
    name: str
    meaning: str
    values: Num[np.ndarray, " C *other"]
    kind: str = ""

    @property
    def is_directed(self) -> bool:
        """Whether it depends on which of two chains is aligned."""
        return self.key in QUOTED

    def of(self, a: int, b: int) -> float | None:
        """The number that is quoted of two chains."""
        return rounded(quoted(self.key, self.values[np.ix_((a, b), (a, b))])[0, 1].item())


@dataclass(frozen=True)
class ChainConfidence:
    """How sure a prediction is of its chains and of each two of them.

    Attributes:
        chains: Names in order.
        num_residues: Of each chain.
        of_chains, of_pairs: The measures.
        clashing: Chains [C] that run into others.
        contacts: Residues of different chains with Cβ at most 8 Å apart.
    """

    chains: tuple[str, ...]
    num_residues: tuple[int, ...]
    of_chains: tuple[Measure, ...]
    of_pairs: tuple[Measure, ...]
    clashing: Bool[np.ndarray, " C"]
    contacts: Contacts

    def pairs(self) -> list[tuple[int, int]]:
        """Each two chains once, the earlier first."""
        return [(a, b) for a in range(len(self.chains)) for b in range(a + 1, len(self.chains))]


def chain_confidence(prediction: Prediction) -> ChainConfidence | None:
    """Everything of the chains; None of a single chain, without PAE, or of a heap of atoms."""
    structure, pae = prediction.structure, prediction.pae
    ptm, iptm, actifptm = prediction.chain_ptm, prediction.chain_pair_iptm, prediction.actifptm
    if pae is None or ptm is None or iptm is None or actifptm is None:
        return None
    try:
        found = interface_confidence(structure, pae, prediction.plddt)
        clashes = chain_clashes(structure)
    except InputError as error:
        logger.warning("The interfaces of %s are not judged: %s", prediction.query.name, error)
        return None
    members = [structure.chain_id == chain for chain in structure.chains]
    return ChainConfidence(
        chains=structure.chains,
        num_residues=tuple(int(each.sum()) for each in members),
        of_chains=_of_chains(prediction, ptm, found, clashes),
        of_pairs=_of_pairs(iptm, actifptm, found, clashes),
        clashing=clashes.clashing,
        contacts=found.touching,
    )


def _of_chains(
    prediction: Prediction,
    ptm: Float[np.ndarray, " C"],
    found: InterfaceConfidence,
    clashes: ChainClashes,
) -> tuple[Measure, ...]:
    chain_id = prediction.structure.chain_id
    plddt = np.array([prediction.plddt[chain_id == chain].mean() for chain in found.chains])
    return (
        Measure(
            "mean_plddt", "pLDDT", "Mean predicted lDDT-Cα of the chain, 0–100.", plddt, "pLDDT"
        ),
        Measure(
            "ptm",
            "pTM",
            "Predicted TM-score of the chain alone, 0–1.",
            ptm,
            "pTM",
        ),
        Measure(
            "pdockq2",
            "pDockQ2",
            "Expected DockQ of the chain with all others, by pLDDT and PAE of its contacts; "
            "above 0.23 mostly acceptable.",
            found.pdockq2,
            "other",
        ),
        Measure(
            "clashing_share",
            "Clashing share",
            "Share of the chain's atoms that are less than 1.1 Å from other chains. A chain "
            "clashes where it is above 0.5, or where there are more than 100 such atoms.",
            clashes.share,
        ),
    )


def _of_pairs(
    iptm: Float[np.ndarray, "C C"],
    actifptm: Float[np.ndarray, "C C"],
    found: InterfaceConfidence,
    clashes: ChainClashes,
) -> tuple[Measure, ...]:
    return (
        Measure(
            "iptm",
            "ipTM",
            "Predicted TM-score of one chain as placed by the other, 0–1; above 0.8 confident, "
            "below 0.6 mostly wrong.",
            iptm,
            "ipTM",
        ),
        Measure(
            "actifptm",
            "actifpTM",
            "ipTM of the residues in contact alone, 0–1: disordered tails do not lower it.",
            actifptm,
            "normalized score",
        ),
        Measure(
            "ipsae",
            "ipSAE",
            "ipTM of the pairs with PAE under 10 Å alone, 0–1: what is unsure does not count.",
            found.ipsae,
            "normalized score",
        ),
        Measure(
            "lis",
            "LIS",
            "Local interaction score: mean of 1 − PAE / 12 Å over pairs with PAE under 12 Å, 0–1.",
            found.lis,
            "normalized score",
        ),
        Measure(
            "pdockq",
            "pDockQ",
            "Expected DockQ, by the interface's pLDDT and number of contacts, 0–0.74; above 0.23 "
            "mostly acceptable.",
            found.pdockq,
            "normalized score",
        ),
        Measure(
            "interface_pae",
            "Interface PAE",
            "Mean predicted aligned error of the residue pairs in contact, Å.",
            found.interface_pae,
            "PAE",
        ),
        Measure(
            "contacts",
            "Contacts",
            "Residue pairs with Cβ (Cα of glycine) at most 8 Å apart.",
            found.contacts,
        ),
        Measure(
            "clashing_atoms",
            "Clashing atoms",
            "Atoms of both chains that are less than 1.1 Å from the other chain.",
            clashes.atoms,
        ),
    )


def chains_json(found: ChainConfidence) -> dict[str, object]:
    """The keys of `scores_….json` that only complexes have.

    What depends on the direction is a list of two numbers: aligned on the first chain and on the
    second.
    """
    return {
        "has_clash": bool(found.clashing.any()),
        "chains": [
            {
                "chain": chain,
                "residues": found.num_residues[k],
                **{each.key: rounded(each.values[k].item()) for each in found.of_chains},
            }
            for k, chain in enumerate(found.chains)
        ],
        "interfaces": [
            {
                "chains": [found.chains[a], found.chains[b]],
                **{
                    each.key: [rounded(each.values[k].item()) for k in ((a, b), (b, a))]
                    if each.is_directed
                    else rounded(each.values[a, b].item())
                    for each in found.of_pairs
                },
            }
            for a, b in found.pairs()
        ],
    }


def chain_metrics(found: ChainConfidence) -> list[ChainMetric]:
    """The measures that are quality metrics in ModelCIF; where both directions are one, once."""
    metrics = []
    for each in (*found.of_chains, *found.of_pairs):
        values = each.values
        if each.kind and values.ndim == 2 and not each.is_directed:
            values = np.where(np.tri(len(values), dtype=bool), np.nan, values)
        if each.kind:
            metrics.append(ChainMetric(each.name, each.meaning, each.kind, values))
    return metrics

"""DockQ, the quality of each interface of a complex.

Basu & Wallner (PLoS One 2016, 11, e0161879) define it for one interface, Mirabello & Wallner
(Bioinformatics 2024, 40, btae586) for complexes of many chains.

Axes: M matched residues.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from foldry.residues import CA, C, N, O
from foldry.score.interface import CONTACT, Contacts, residue_contacts, share_contacts
from foldry.score.superpose import Superposition, rmsd, superpose
from foldry.score.tm import tm_term
from foldry.structure import Structure

INTERFACE: Final = 10.0
"""Residues with two heavy atoms nearer than this, in Å, form the interface for iRMSD."""
CLASH: Final = 2.0
"""Residues with two heavy atoms nearer than this, in Å, clash."""
_BACKBONE: Final = [N, CA, C, O]
_IRMSD_SCALE: Final = 1.5
_LRMSD_SCALE: Final = 8.5

ResiduePairs: TypeAlias = Int[np.ndarray, "M 2"]
"""Pairs (model residue, reference residue)."""
Names: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Interface:
    """How well a model reproduces one interface of the reference.

    Residues of the reference without a partner count only in `fnat` and `f1`; residues of the model
    without a partner do not count at all. The DockQ program has the same rules.

    Attributes:
        reference_chains, model_chains: The two chains in each structure, in the same order.
        dockq: (Fnat + 1/(1 + (iRMSD/1.5)²) + 1/(1 + (LRMSD/8.5)²)) / 3, 0–1.
        fnat: Share of the native contacts (5 Å) that the model has, 0–1.
        fnonnat: Share of the model's contacts that are not native, 0–1.
        f1: F1 of the model's contacts, 0–1.
        irmsd: RMSD in Å of N, Cα, C and O of the residues within 10 Å of the other chain in the
            reference, superposed. If the model has none of them, NaN, with a term of 0 in `dockq`.
        lrmsd: RMSD in Å of N, Cα, C and O of the shorter chain after superposition of the longer
            one; of two equally long chains, the first counts as the shorter. If the model lacks
            one of the chains, NaN, with a term of 0 in `dockq`.
        num_native: Number of contacts in the reference.
        num_model: Number of contacts in the model.
        clashes: Number of residue pairs of the model nearer than 2 Å.
    """

    reference_chains: Names
    model_chains: Names
    dockq: float
    fnat: float
    fnonnat: float
    f1: float
    irmsd: float
    lrmsd: float
    num_native: int
    num_model: int
    clashes: int


@dataclass(frozen=True)
class DockQ:
    """All interfaces of the reference.

    Attributes:
        interfaces: Interfaces whose two chains are in the model.
        missing: The chains of the other interfaces, and their numbers of contacts.
    """

    interfaces: tuple[Interface, ...]
    missing: tuple[tuple[Names, int], ...]

    @property
    def ave(self) -> float:
        """Mean DockQ of `interfaces`, GlobalDockQ in the DockQ program; NaN without interfaces."""
        return self._mean([1.0] * len(self.interfaces))

    @property
    def wave(self) -> float:
        """Mean DockQ of `interfaces`, weighted by native contacts."""
        return self._mean([interface.num_native for interface in self.interfaces])

    @property
    def ave_full(self) -> float:
        """Mean DockQ of all interfaces; missing ones count as 0."""
        return self._mean([1.0] * (len(self.interfaces) + len(self.missing)))

    @property
    def wave_full(self) -> float:
        """Mean DockQ of all interfaces, weighted by native contacts; missing ones count as 0."""
        found = [interface.num_native for interface in self.interfaces]
        return self._mean([*found, *(contacts for _, contacts in self.missing)])

    def _mean(self, weights: list[float] | list[int]) -> float:
        scores = [interface.dockq for interface in self.interfaces]
        scores += [0.0] * (len(weights) - len(scores))
        return float(np.average(scores, weights=weights)) if scores else float("nan")


def dockq(scorer: InterfaceScorer, chains: Iterable[Names]) -> DockQ:
    """Return the DockQ of every pair of chains of the reference that are in contact.

    Args:
        scorer: The scorer of the two structures, e.g. `Match.scorer`.
        chains: Pairs (model chain, reference chain), each chain once.

    Example:
        >>> from foldry import compare, read_structure
        >>> dimer = read_structure("examples/malate_dehydrogenase/1mld_AB.cif.gz")
        >>> match = compare(dimer, dimer).match
        >>> round(dockq(match.scorer, match.chains).ave, 3)
        1.0
    """
    partner = {there: here for here, there in chains}
    found, missing = [], []
    for (one, other), num_contacts in scorer.interfaces.items():
        if one in partner and other in partner:
            found.append(scorer.score((one, other), (partner[one], partner[other])))
        else:
            missing.append(((one, other), num_contacts))
    return DockQ(tuple(found), tuple(missing))


class InterfaceScorer:
    """Computes the DockQ of any two chains of a model as any interface of a reference.

    The search for the best mapping of chains scores many pairs. Contacts and superpositions of
    whole chains are therefore computed only once, when they are first needed.

    Args:
        partners: Matched residues of each pair (model chain, reference chain).
    """

    def __init__(
        self, model: Structure, reference: Structure, partners: Mapping[Names, ResiduePairs]
    ) -> None:
        self._model, self._reference, self.partners = model, reference, partners
        self._chains: dict[Names, tuple[np.ndarray, np.ndarray, Superposition | None]] = {}

    @cached_property
    def interfaces(self) -> dict[Names, int]:
        """The number of contacts of each pair of the reference's chains in contact, in order."""
        counts = {
            names: int((self._native[frozenset(names)].distance < CONTACT).sum())
            for names in combinations(self._reference.chains, 2)
            if frozenset(names) in self._native
        }
        return {names: count for names, count in counts.items() if count}

    @cached_property
    def _native(self) -> dict[frozenset[str], Contacts]:
        return _by_chains(self._reference, residue_contacts(self._reference, INTERFACE))

    @cached_property
    def _contacts(self) -> dict[frozenset[str], Contacts]:
        return _by_chains(self._model, residue_contacts(self._model, CONTACT))

    def score(self, reference_chains: Names, model_chains: Names) -> Interface:
        """Return the score of one interface; the model's two chains are in the same order."""
        one, other = zip(model_chains, reference_chains, strict=True)
        pairs = np.concatenate([self.partners[one], self.partners[other]])
        near = self._native[frozenset(reference_chains)]
        native = near.take(near.distance < CONTACT)
        contacts = self._contacts.get(frozenset(model_chains), _NO_CONTACTS)
        shared = share_contacts(contacts, native, pairs)
        contacts = contacts.take(shared.model_mapped)
        num_kept, num_model, num_native = len(shared.model), len(contacts.first), len(native.first)
        irmsd = self._irmsd(near, pairs)
        # The shorter chain is the ligand, as in the DockQ program; of two equal ones, the first.
        lengths = [(self._reference.chain_id == name).sum() for name in reference_chains]
        lrmsd = self._lrmsd(one, other) if lengths[0] > lengths[1] else self._lrmsd(other, one)
        fnat = num_kept / num_native
        return Interface(
            reference_chains=reference_chains,
            model_chains=model_chains,
            dockq=(fnat + _scaled(irmsd, _IRMSD_SCALE) + _scaled(lrmsd, _LRMSD_SCALE)) / 3,
            fnat=fnat,
            fnonnat=1 - num_kept / num_model if num_model else 0.0,
            f1=2 * num_kept / (num_model + num_native),
            irmsd=irmsd,
            lrmsd=lrmsd,
            num_native=num_native,
            num_model=num_model,
            clashes=int((contacts.distance < CLASH).sum()),
        )

    def _irmsd(self, near: Contacts, pairs: ResiduePairs) -> float:
        known = np.isin(near.first, pairs[:, 1]) & np.isin(near.second, pairs[:, 1])
        interface = np.concatenate([near.first[known], near.second[known]])
        mobile, target = self._backbone(pairs[np.isin(pairs[:, 1], interface)])
        if not len(mobile):
            return float("nan")
        return rmsd(superpose(mobile, target).apply(mobile), target)

    def _lrmsd(self, receptor: Names, ligand: Names) -> float:
        *_, motion = self._chain(receptor)
        mobile, target, _ = self._chain(ligand)
        if motion is None or not len(mobile):
            return float("nan")
        return rmsd(motion.apply(mobile), target)

    def _chain(self, names: Names) -> tuple[np.ndarray, np.ndarray, Superposition | None]:
        """Return a chain's backbone in both structures and the motion between them, if any."""
        if names not in self._chains:
            mobile, target = self._backbone(self.partners[names])
            motion = superpose(mobile, target) if len(mobile) else None
            self._chains[names] = mobile, target, motion
        return self._chains[names]

    def _backbone(
        self, pairs: ResiduePairs
    ) -> tuple[Float[np.ndarray, "A 3"], Float[np.ndarray, "A 3"]]:
        """Return the N, Cα, C and O that both structures have, Å."""
        here, there = (np.ix_(side, _BACKBONE) for side in pairs.T)
        both = self._model.atom_mask[here] & self._reference.atom_mask[there]
        return self._model.atom_positions[here][both], self._reference.atom_positions[there][both]


_NO_CONTACTS: Final = Contacts(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def _by_chains(structure: Structure, contacts: Contacts) -> dict[frozenset[str], Contacts]:
    """Return the contacts of each pair of chains, in either order."""
    names, chain = np.unique(structure.chain_id, return_inverse=True)
    ends = np.sort([chain[contacts.first], chain[contacts.second]], axis=0)
    pairs, pair = np.unique(ends[0] * len(names) + ends[1], return_inverse=True)
    return {
        frozenset(names[list(divmod(key, len(names)))].tolist()): contacts.take(pair == number)
        for number, key in enumerate(pairs.tolist())
    }


def _scaled(distance: float, scale: float) -> float:
    return 0.0 if np.isnan(distance) else float(tm_term(np.array(distance), scale))

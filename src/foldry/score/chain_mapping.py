"""Which chain of a model is which chain of a reference.

Chains are alike by the amino acids of their residues. Among alike chains the mapping is taken that
has the highest sum of DockQ over the reference's interfaces (Mirabello & Wallner 2024), and among
equals, such as chains that touch none, the one that matches most residues, then the one of least
RMSD. Where the model lacks chains, the
mappings differ in which interfaces they have: there, incorrect ones (under 0.23) count for nothing.

Up to 40,320 mappings (eight copies of one chain) are all tried. Beyond, one chain of the model
after another is superposed on one of the reference, and each other chain goes to the nearest.

Axes: K mappings, R chains of the reference, P pairs of alike chains, M matched residues.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from math import perm
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.align.pairwise import align_local
from foldry.residues import CA, UNKNOWN
from foldry.score.dockq import InterfaceScorer
from foldry.score.superpose import nearest_rotation, superpose
from foldry.structure import Structure

_MAX_TRIED: Final = 40_320
_MIN_IDENTITY: Final = 0.3
_NEARLY_AS_ALIKE: Final = 0.9
_NUM_ANCHORS: Final = 3
_ROUNDS: Final = 5
_NEAR: Final = 5.0
"""Å between the parts of two chains: as one rigid body."""
_PARTS: Final = 4
"""A chain is seen as the centres of this many parts while chains are assigned."""
_NONE: Final = -1
_INCORRECT: Final = 0.23
_EQUAL: Final = 1e-6
"""Sums of DockQ that differ by less are equal."""

ResiduePairs: TypeAlias = Int[np.ndarray, "M 2"]
"""(model residue, reference residue)."""
Names: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class ChainMapping:
    """Chains that belong together.

    Attributes:
        chains: (model chain, reference chain) in the reference's order.
        residues: (model residue, reference residue), counted from 0, of all these chains.
        unmatched_model, unmatched_reference: The chains that found no partner.
    """

    chains: tuple[Names, ...]
    residues: ResiduePairs
    unmatched_model: tuple[str, ...]
    unmatched_reference: tuple[str, ...]


def map_chains(model: Structure, reference: Structure, align: bool = False) -> ChainMapping:
    """The best mapping of chains; nothing is matched where no chains are alike.

    Two chains are alike where at least 30% of the shorter one's residues have a partner of the same
    amino acid in the other, and neither has a clearly better partner. Two single chains
    always belong together, and so do chains of one name where no chains at all are alike.

    Args:
        align: Match residues by local sequence alignment instead of by number and insertion code.
    """
    partners = _alike(model, reference, align)
    search = _Search(model, reference, partners)
    chains = search.named(search.best())
    matched = [partners[names] for names in chains]
    return ChainMapping(
        chains=chains,
        residues=np.concatenate([np.zeros((0, 2), np.int64), *matched]),
        unmatched_model=_rest(model, [here for here, _ in chains]),
        unmatched_reference=_rest(reference, [there for _, there in chains]),
    )


def _rest(structure: Structure, names: list[str]) -> tuple[str, ...]:
    return tuple(name for name in structure.chains if name not in names)


def _alike(model: Structure, reference: Structure, align: bool) -> dict[Names, ResiduePairs]:
    """The residues that belong together in each two chains that may."""
    here = {name: np.flatnonzero(model.chain_id == name) for name in model.chains}
    there = {name: np.flatnonzero(reference.chain_id == name) for name in reference.chains}
    match = _BySequence(model, reference) if align else _ByNumber(model, reference)
    pairs = {(m, r): match(here[m], there[r]) for m in here for r in there}
    if len(pairs) > 1:
        identity = np.array(
            [
                _num_identical(model, reference, pairs[m, r]) / min(len(here[m]), len(there[r]))
                for m, r in pairs
            ]
        ).reshape(len(here), len(there))
        best = np.maximum(identity.max(axis=1, keepdims=True), identity.max(axis=0))
        alike = (identity >= _MIN_IDENTITY) & (identity >= _NEARLY_AS_ALIKE * best)
        if alike.any():
            chosen = [names for names, keep in zip(pairs, alike.ravel(), strict=True) if keep]
        else:
            chosen = [(name, name) for name in there if name in here]
        pairs = {names: pairs[names] for names in chosen}
    return {names: matched for names, matched in pairs.items() if len(matched)}


def _num_identical(model: Structure, reference: Structure, pairs: ResiduePairs) -> int:
    one, other = model.aatype[pairs[:, 0]], reference.aatype[pairs[:, 1]]
    return int(((one == other) | (one == UNKNOWN) | (other == UNKNOWN)).sum())


class _ByNumber:
    """Residues of two chains that have the same number and insertion code."""

    def __init__(self, model: Structure, reference: Structure) -> None:
        self._keys = [
            list(zip(side.residue_number.tolist(), side.insertion_code.tolist(), strict=True))
            for side in (model, reference)
        ]

    def __call__(self, here: np.ndarray, there: np.ndarray) -> ResiduePairs:
        model, reference = self._keys
        partners = {reference[index]: index for index in there[::-1].tolist()}
        pairs = [
            (index, partners.pop(model[index]))
            for index in here.tolist()
            if model[index] in partners
        ]
        return np.array(pairs, np.int64).reshape(-1, 2)


class _BySequence:
    """Residues of two chains by local alignment, once for chains of the same sequence."""

    def __init__(self, model: Structure, reference: Structure) -> None:
        self._types = model.aatype, reference.aatype
        self._seen: dict[tuple[bytes, bytes], ResiduePairs] = {}

    def __call__(self, here: np.ndarray, there: np.ndarray) -> ResiduePairs:
        one, other = self._types[0][here], self._types[1][there]
        key = one.tobytes(), other.tobytes()
        if key not in self._seen:
            self._seen[key] = align_local(one, other).pairs
        aligned = self._seen[key]
        return np.stack([here[aligned[:, 0]], there[aligned[:, 1]]], axis=1)


class _Search:
    """Looks for the best mapping: for each chain of the reference the number of a model's chain.

    Args:
        partners: The residues that belong together, by alike model and reference chain.
    """

    def __init__(
        self, model: Structure, reference: Structure, partners: dict[Names, ResiduePairs]
    ) -> None:
        self._model, self._reference, self._partners = model, reference, partners
        self._names = model.chains
        self._here = {name: number for number, name in enumerate(self._names)}
        self._there = {name: number for number, name in enumerate(reference.chains)}
        self._pairs = np.array(
            [(self._here[m], self._there[r]) for m, r in partners], np.int64
        ).reshape(-1, 2)
        self._points = _points(model), _points(reference)
        self._scores: dict[tuple[Names, Names], float] = {}

    def best(self) -> Int[np.ndarray, " R"]:
        """The best mapping, −1 for a chain without a partner."""
        groups = _groups(self._pairs)
        count = 1
        for here, there in groups:
            count *= perm(max(len(here), len(there)), min(len(here), len(there)))
        if count == 1:
            mapping: Int[np.ndarray, " R"] = self._all(groups)[0]
            return mapping
        self._scorer = InterfaceScorer(self._model, self._reference, self._partners)
        self._least = _INCORRECT if any(len(one) < len(two) for one, two in groups) else 0.0
        if count <= _MAX_TRIED and self._scorer.interfaces:
            mappings = self._all(groups)
        else:
            mappings = self._superposed()
        totals = self._totals(mappings)
        return self._nearest(mappings[totals > totals.max() - _EQUAL])

    def named(self, mapping: Int[np.ndarray, " R"]) -> tuple[Names, ...]:
        """The (model chain, reference chain) of a mapping that have residues in common."""
        named = zip((self._names[here] for here in mapping), self._there, strict=True)
        return tuple(
            names
            for names, here in zip(named, mapping, strict=True)
            if here != _NONE and names in self._partners
        )

    def _all(self, groups: list[tuple[list[int], list[int]]]) -> Int[np.ndarray, "K R"]:
        """Every mapping that leaves no chain without a partner that could have one."""
        mappings = np.full((1, len(self._there)), _NONE)
        for here, there in groups:
            if len(here) >= len(there):
                ways = np.array(list(permutations(here, len(there))))
            else:
                ways = np.full((perm(len(there), len(here)), len(there)), _NONE)
                for way, places in zip(
                    ways, permutations(range(len(there)), len(here)), strict=True
                ):
                    way[list(places)] = here
            mappings = np.repeat(mappings, len(ways), axis=0)
            mappings[:, there] = np.tile(ways, (len(mappings) // len(ways), 1))
        return mappings

    def _totals(self, mappings: Int[np.ndarray, "K R"]) -> Float[np.ndarray, " K"]:
        """The sum of DockQ over the reference's interfaces for each mapping."""
        totals = np.zeros(len(mappings))
        for names in self._scorer.interfaces:
            ends = mappings[:, [self._there[name] for name in names]]
            kinds, kind = np.unique(ends, axis=0, return_inverse=True)
            totals += np.array([self._dockq(names, one, other) for one, other in kinds])[kind]
        return totals

    def _dockq(self, reference: Names, one: int, other: int) -> float:
        """DockQ of an interface by two of the model's chains; 0 without one of them."""
        model = self._names[one], self._names[other]
        if _NONE in (one, other) or not all(
            names in self._partners for names in zip(model, reference, strict=True)
        ):
            return 0.0
        key = reference, model
        if key not in self._scores:
            score = self._scorer.score(reference, model).dockq
            self._scores[key] = score if score >= self._least else 0.0
        return self._scores[key]

    def _superposed(self) -> Int[np.ndarray, "K R"]:
        """The mappings that follow from laying one chain on another, and the one by rigid bodies.

        In the latter the most chains that one superposition brings near go first, then the most of
        those that are left, and so on: the parts of a complex may stand wrongly to each other.
        """
        everything = np.ones(len(self._pairs), bool)
        found = [chosen for chosen, _ in self._ways(everything)]
        bodies, free = np.zeros(0, np.int64), everything
        while free.any():
            body = max((near for _, near in self._ways(free)), key=len)
            bodies = np.concatenate([bodies, body])
            used = [np.isin(side, side[bodies]) for side in self._pairs.T]
            free = ~(used[0] | used[1])
        mappings = np.full((len(found) + 1, len(self._there)), _NONE)
        for mapping, chosen in zip(mappings, [*found, bodies], strict=True):
            mapping[self._pairs[chosen, 1]] = self._pairs[chosen, 0]
        return np.unique(mappings, axis=0)

    def _ways(
        self, free: Bool[np.ndarray, " P"]
    ) -> list[tuple[Int[np.ndarray, " C"], Int[np.ndarray, " D"]]]:
        """The pairs of chains after one free pair was superposed: all, and those that are near."""
        mobile, target = self._parts
        side = int(len(self._here) >= len(self._there))
        ends = np.unique(self._pairs[free, side])
        fixed = ends[np.linspace(0, len(ends) - 1, min(_NUM_ANCHORS, len(ends))).astype(int)]
        found = []
        for anchor in np.flatnonzero(free & np.isin(self._pairs[:, side], fixed)):
            near = np.array([anchor])
            for _ in range(_ROUNDS):
                motion = superpose(*(parts[near].reshape(-1, 3) for parts in (mobile, target)))
                squared = ((motion.apply(mobile) - target) ** 2).sum(axis=2).mean(axis=1)
                chosen = self._assigned(np.where(free, squared, np.inf))
                before, near = near, chosen[squared[chosen] < _NEAR**2]
                if not len(near) or np.array_equal(before, near):
                    break
            found.append((chosen, near if len(near) else np.array([anchor])))
        return found

    def _assigned(self, squared: Float[np.ndarray, " P"]) -> Int[np.ndarray, " C"]:
        """Pairs of chains, the nearest first, then the nearest of the chains that are left."""
        distance = np.full((len(self._here), len(self._there)), np.inf)
        number = np.zeros(distance.shape, np.int64)
        distance[*self._pairs.T] = squared
        number[*self._pairs.T] = np.arange(len(self._pairs))
        chosen = []
        while distance.size and np.isfinite(distance).any():
            place = np.unravel_index(distance.argmin(), distance.shape)
            chosen.append(number[place])
            distance[place[0]] = distance[:, place[1]] = np.inf
        return np.sort(chosen)

    @cached_property
    def _parts(self) -> tuple[Float[np.ndarray, "P 4 3"], Float[np.ndarray, "P 4 3"]]:
        """Where the parts of two chains are that belong together, for each pair of chains."""
        centers = np.empty((2, len(self._pairs), _PARTS, 3))
        for pair, matched in enumerate(self._partners.values()):
            for part in range(_PARTS):
                start, end = (len(matched) * edge // _PARTS for edge in (part, part + 1))
                residues = matched[start : max(end, start + 1)]
                for points, side, center in zip(
                    self._points, residues.T, centers[:, pair, part], strict=True
                ):
                    center[:] = points[side].mean(axis=0)
        return centers[0], centers[1]

    def _nearest(self, mappings: Int[np.ndarray, "K R"]) -> Int[np.ndarray, " R"]:
        """The mapping of most residues, then of least RMSD, then of fewest changed names."""
        names = np.array([self._here.get(name, _NONE) for name in self._there])
        matched, apart = self._fits(mappings)
        order = np.lexsort((-(mappings == names).sum(axis=1), apart.round(2), -matched))
        nearest: Int[np.ndarray, " R"] = mappings[order[0]]
        return nearest

    def _fits(
        self, mappings: Int[np.ndarray, "K R"]
    ) -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, " K"]]:
        """Residues that each mapping matches, and RMSD (Å) of their Cα in one superposition.

        All that a superposition needs are sums over residues: they add up over pairs of chains.
        """
        number = np.full((len(self._here) + 1, len(self._there)), len(self._pairs))
        number[*self._pairs.T] = np.arange(len(self._pairs))
        sums = np.zeros((len(self._pairs) + 1, 17))
        middle = [points.mean(axis=0) for points in self._points]
        for row, matched in zip(sums, self._partners.values(), strict=False):
            mobile, target = (
                points[side] - center
                for points, side, center in zip(self._points, matched.T, middle, strict=True)
            )
            row[0], row[1:4], row[4:7] = len(matched), mobile.sum(axis=0), target.sum(axis=0)
            row[7:16] = (target.T @ mobile).ravel()
            row[16] = (mobile**2).sum() + (target**2).sum()
        total = np.zeros((len(mappings), 17))
        for there, here in enumerate(mappings.T):
            total += sums[number[here, there]]
        count = np.maximum(total[:, 0], 1)
        mobile, target = total[:, 1:4], total[:, 4:7]
        covariance = total[:, 7:16].reshape(-1, 3, 3)
        covariance = covariance - target[:, :, None] * mobile[:, None] / count[:, None, None]
        squared = total[:, 16] - ((mobile**2).sum(axis=1) + (target**2).sum(axis=1)) / count
        squared -= 2 * (nearest_rotation(covariance) * covariance).sum(axis=(1, 2))
        return total[:, 0].astype(np.int64), np.sqrt(np.maximum(squared, 0) / count)


def _groups(pairs: Int[np.ndarray, "P 2"]) -> list[tuple[list[int], list[int]]]:
    """Model and reference chains that are alike, or are both alike a third one."""
    groups: list[tuple[set[int], set[int]]] = []
    for here, there in pairs.tolist():
        joined = ({here}, {there})
        apart = []
        for group in groups:
            if here in group[0] or there in group[1]:
                joined = (joined[0] | group[0], joined[1] | group[1])
            else:
                apart.append(group)
        groups = [*apart, joined]
    return [(sorted(here), sorted(there)) for here, there in groups]


def _points(structure: Structure) -> Float[np.ndarray, "N 3"]:
    """Cα of each residue, or its first atom, Å."""
    slot = np.where(structure.atom_mask[:, CA], CA, structure.atom_mask.argmax(axis=1))
    return structure.atom_positions[np.arange(len(slot)), slot].astype(np.float64)

"""Mapping of a model's chains to the chains of a reference.

Chain names cannot be trusted: programs name copies in any order, and for a homomer every order is
equally right. Chains are therefore compared by sequence, and among all mappings of similar chains,
the one with the highest sum of DockQ over the reference's interfaces is chosen (Mirabello & Wallner
2024). If several are equal, e.g. for chains without contacts, the one that matches most residues
wins, then the one with the lowest RMSD. If the model lacks chains, mappings differ in the
interfaces that they contain; incorrect interfaces (DockQ below 0.23) then count as 0, so that the
sum does not favour a mapping for many bad interfaces.

The number of mappings grows as a factorial: 40,320 for eight copies of one chain, which are all
tried (a DockQ depends on two chains only, so each is computed once). Beyond that, candidates come
from superposition: one chain of the model is superposed on one of the reference, every other chain
is assigned to the nearest one, and the superposition is refined with the chains that came near. It
is enough that some part of the complex is placed correctly.

Axes: K mappings, R chains of the reference, P pairs of similar chains, M matched residues.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise, permutations
from math import perm, prod
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.align.pairwise import align_local
from foldry.residues import CA, UNKNOWN
from foldry.score.dockq import InterfaceScorer, Names, ResiduePairs
from foldry.score.superpose import nearest_rotation, superpose
from foldry.structure import Structure

_MAX_TRIED: Final = 40_320
_MIN_IDENTITY: Final = 0.3
_NEARLY_AS_ALIKE: Final = 0.9
_NUM_ANCHORS: Final = 3
_ROUNDS: Final = 5
_NEAR: Final = 5.0
"""Largest distance in Å between parts of two chains that move as one rigid body."""
_PARTS: Final = 4
"""Parts whose centres represent a chain while chains are assigned."""
_NONE: Final = -1
_INCORRECT: Final = 0.23
_EQUAL: Final = 1e-6
"""Sums of DockQ that differ by less count as equal."""

_Matcher: TypeAlias = Callable[[np.ndarray, np.ndarray], ResiduePairs]


def map_chains(
    model: Structure, reference: Structure, align: bool = False
) -> tuple[tuple[Names, ...], InterfaceScorer]:
    """Return the best mapping of chains, which is empty if no chains are similar.

    Two chains are similar if at least 30% of the shorter one's residues have a partner of the same
    amino acid in the other, and neither has a clearly better partner. Two single chains are always
    matched. If no chains are similar, chains of the same name are matched.

    Args:
        align: Match residues by local sequence alignment instead of by number and insertion code.

    Returns:
        Pairs (model chain, reference chain) in the reference's order, and the scorer of their
        interfaces, which holds the matched residues of all similar chains.
    """
    search = _Search(model, reference, _alike(model, reference, align))
    return search.named(search.best()), search.scorer


def _alike(model: Structure, reference: Structure, align: bool) -> dict[Names, ResiduePairs]:
    """Return the matched residues of each pair of similar chains."""
    here = {name: np.flatnonzero(model.chain_id == name) for name in model.chains}
    there = {name: np.flatnonzero(reference.chain_id == name) for name in reference.chains}
    match = (_by_sequence if align else _by_number)(model, reference)
    pairs = {(m, r): match(here[m], there[r]) for m in here for r in there}
    if len(pairs) > 1:
        same = [identical(model, reference, matched).sum() for matched in pairs.values()]
        shorter = [min(len(here[m]), len(there[r])) for m, r in pairs]
        identity = np.divide(same, shorter).reshape(len(here), len(there))
        best = np.maximum(identity.max(axis=1, keepdims=True), identity.max(axis=0))
        alike = (identity >= _MIN_IDENTITY) & (identity >= _NEARLY_AS_ALIKE * best)
        if alike.any():
            chosen = [names for names, keep in zip(pairs, alike.ravel(), strict=True) if keep]
        else:
            chosen = [(name, name) for name in there if name in here]
        pairs = {names: pairs[names] for names in chosen}
    return {names: matched for names, matched in pairs.items() if len(matched)}


def identical(
    model: Structure, reference: Structure, pairs: ResiduePairs
) -> Bool[np.ndarray, " M"]:
    """Return which partners have the same amino acid; an unknown one matches any other."""
    one, other = model.aatype[pairs[:, 0]], reference.aatype[pairs[:, 1]]
    return np.asarray((one == other) | (one == UNKNOWN) | (other == UNKNOWN))


def _by_number(model: Structure, reference: Structure) -> _Matcher:
    """Match residues of two chains by number and insertion code."""
    codes = np.concatenate([model.insertion_code, reference.insertion_code])
    names, code = np.unique(codes, return_inverse=True)
    numbers = np.concatenate([model.residue_number, reference.residue_number])
    keys = np.split(numbers * len(names) + code, [len(model)])

    def match(here: np.ndarray, there: np.ndarray) -> ResiduePairs:
        _, one, other = np.intersect1d(keys[0][here], keys[1][there], return_indices=True)
        order = np.argsort(one)
        return np.stack([here[one[order]], there[other[order]]], axis=1)

    return match


def _by_sequence(model: Structure, reference: Structure) -> _Matcher:
    """Match residues of two chains by local alignment, once per pair of sequences."""
    seen: dict[tuple[bytes, bytes], ResiduePairs] = {}

    def match(here: np.ndarray, there: np.ndarray) -> ResiduePairs:
        one, other = model.aatype[here], reference.aatype[there]
        key = one.tobytes(), other.tobytes()
        if key not in seen:
            seen[key] = align_local(one, other).pairs
        return np.stack([here[seen[key][:, 0]], there[seen[key][:, 1]]], axis=1)

    return match


class _Search:
    """The search for the best mapping, an array with a model chain for each reference chain.

    Args:
        partners: Matched residues of each pair (model chain, reference chain) of similar chains.
    """

    def __init__(
        self, model: Structure, reference: Structure, partners: dict[Names, ResiduePairs]
    ) -> None:
        self.scorer = InterfaceScorer(model, reference, partners)
        self._partners = partners
        self._names = model.chains
        self._here = {name: number for number, name in enumerate(self._names)}
        self._there = {name: number for number, name in enumerate(reference.chains)}
        pairs = [(self._here[m], self._there[r]) for m, r in partners]
        self._pairs = np.array(pairs, np.int64).reshape(-1, 2)
        self._points = _points(model), _points(reference)

    def best(self) -> Int[np.ndarray, " R"]:
        """Return the best mapping; −1 marks a chain without a partner."""
        groups = _groups(self._pairs)
        sizes = [sorted((len(here), len(there))) for here, there in groups]
        count = prod(perm(larger, smaller) for smaller, larger in sizes)
        if count == 1:
            return np.asarray(self._all(groups)[0])
        if count <= _MAX_TRIED and self.scorer.interfaces:
            mappings = self._all(groups)
        else:
            mappings = self._superposed()
        lacking = any(len(here) < len(there) for here, there in groups)
        totals = self._totals(mappings, _INCORRECT if lacking else 0.0)
        return self._nearest(mappings[totals > totals.max() - _EQUAL])

    def named(self, mapping: Int[np.ndarray, " R"]) -> tuple[Names, ...]:
        """Return the pairs (model chain, reference chain) that share residues."""
        ends = zip(mapping, self._there, strict=True)
        named = [(self._names[here], there) for here, there in ends if here != _NONE]
        return tuple(names for names in named if names in self._partners)

    def _all(self, groups: list[tuple[list[int], list[int]]]) -> Int[np.ndarray, "K R"]:
        """Return every mapping in which as many chains as possible have a partner."""
        mappings = np.full((1, len(self._there)), _NONE)
        for here, there in groups:
            if len(here) >= len(there):
                ways = np.array(list(permutations(here, len(there))))
            else:
                places = np.array(list(permutations(range(len(there)), len(here))))
                ways = np.full((len(places), len(there)), _NONE)
                np.put_along_axis(ways, places, np.array([here]), axis=1)
            mappings = np.repeat(mappings, len(ways), axis=0)
            mappings[:, there] = np.tile(ways, (len(mappings) // len(ways), 1))
        return mappings

    def _totals(self, mappings: Int[np.ndarray, "K R"], least: float) -> Float[np.ndarray, " K"]:
        """Return the sum of DockQ over the reference's interfaces; below `least` it counts as 0."""
        totals = np.zeros(len(mappings))
        for names in self.scorer.interfaces:
            ends = mappings[:, [self._there[name] for name in names]]
            kinds, kind = np.unique(ends, axis=0, return_inverse=True)
            scores = np.array([self._dockq(names, one, other) for one, other in kinds.tolist()])
            totals += np.where(scores >= least, scores, 0)[kind]
        return totals

    def _dockq(self, reference: Names, one: int, other: int) -> float:
        """Return the DockQ of an interface in two chains of the model; 0 if one is missing."""
        model = self._names[one], self._names[other]
        matched = self._partners.keys() >= set(zip(model, reference, strict=True))
        if _NONE in (one, other) or not matched:
            return 0.0
        return self.scorer.score(reference, model).dockq

    def _superposed(self) -> Int[np.ndarray, "K R"]:
        """Return the mappings found by superposing one pair of chains, and one by rigid bodies.

        The parts of a complex may be placed wrongly relative to each other, and then no single
        superposition fits. The last mapping therefore takes the largest set of chains that one
        superposition brings near, then the largest set of the remaining chains, and so on.
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
        """Return, for each anchor pair that is superposed, all assigned pairs and the near ones.

        Superposing every pair would take too long: the anchors are the pairs of at most three
        chains of the structure with fewer chains.
        """
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
        """Return pairs of chains: the nearest pair, then the nearest of the remaining chains, …"""
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
    def _parts(self) -> Float[np.ndarray, "2 P 4 3"]:
        """The centres (Å) of the matched parts of both chains, for each pair of chains.

        Four centres per chain fix a superposition and keep it cheap, whatever the chain's length.
        """
        centers = np.empty((2, len(self._pairs), _PARTS, 3))
        for pair, matched in enumerate(self._partners.values()):
            edges = len(matched) * np.arange(_PARTS + 1) // _PARTS
            for part, (start, end) in enumerate(pairwise(edges)):
                residues = matched[start : max(end, start + 1)].T
                for side, points in enumerate(self._points):
                    centers[side, pair, part] = points[residues[side]].mean(axis=0)
        return centers

    def _nearest(self, mappings: Int[np.ndarray, "K R"]) -> Int[np.ndarray, " R"]:
        """Return the mapping with the most residues, lowest RMSD and fewest renamed chains."""
        names = np.array([self._here.get(name, _NONE) for name in self._there])
        matched, apart = self._fits(mappings)
        order = np.lexsort((-(mappings == names).sum(axis=1), apart.round(2), -matched))
        return np.asarray(mappings[order[0]])

    def _fits(
        self, mappings: Int[np.ndarray, "K R"]
    ) -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, " K"]]:
        """Return the number of residues that each mapping matches, and the RMSD (Å) of their Cα.

        A superposition needs only sums over residues. They are computed once per pair of chains
        and added up for each mapping.
        """
        number = np.full((len(self._here) + 1, len(self._there)), len(self._pairs))
        number[*self._pairs.T] = np.arange(len(self._pairs))
        sums = np.zeros((len(self._pairs) + 1, 17))
        middle = [points.mean(axis=0) for points in self._points]
        for row, matched in zip(sums, self._partners.values(), strict=False):
            mobile, target = (
                self._points[side][matched[:, side]] - middle[side] for side in (0, 1)
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
    """Return groups of model and reference chains connected by similarity."""
    groups: list[tuple[set[int], set[int]]] = []
    for here, there in pairs.tolist():
        joined = [group for group in groups if here in group[0] or there in group[1]]
        groups = [group for group in groups if group not in joined]
        ours, theirs = zip(({here}, {there}), *joined, strict=True)
        groups.append((set().union(*ours), set().union(*theirs)))
    return [(sorted(here), sorted(there)) for here, there in groups]


def _points(structure: Structure) -> Float[np.ndarray, "N 3"]:
    """Return the Cα of each residue, or its first atom, in Å."""
    slot = np.where(structure.atom_mask[:, CA], CA, structure.atom_mask.argmax(axis=1))
    return structure.atom_positions[np.arange(len(slot)), slot].astype(np.float64)

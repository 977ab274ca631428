"""Agreement of two complexes at their interfaces: QS-score, ICS and IPS.

They are defined as in OpenStructure.

Axes: N residues, K contacts, M matched residues.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.residues import CA, CB, RESNAME_TO_CODE
from foldry.score.neighbours import near_pairs
from foldry.structure import Structure

CONTACT: Final = 5.0
"""Residues with two heavy atoms nearer than this, in Å, are in contact for ICS, IPS and Fnat."""
QS_CONTACT: Final = 12.0
"""Residues with Cβ nearer than this, in Å, are in contact for the QS-score."""
_BLOCK: Final = 20_000
_WIDE: Final = 20.0
"""Extent along an axis in Å that marks a broken residue; an intact one has less than half of it."""
_GLY: Final = RESNAME_TO_CODE["GLY"]


@dataclass(frozen=True)
class Contacts:
    """Pairs of residues of different chains that are near each other.

    Attributes:
        first, second: Residues, counted from 0, `first` < `second`.
        distance: Distance of the two residues' nearest atoms, Å.
    """

    first: Int[np.ndarray, " K"]
    second: Int[np.ndarray, " K"]
    distance: Float[np.ndarray, " K"]

    def take(self, index: np.ndarray) -> Contacts:
        """Return the contacts selected by a mask or an index array."""
        return Contacts(self.first[index], self.second[index], self.distance[index])


def residue_contacts(structure: Structure, cutoff: float) -> Contacts:
    """Return residues of different chains with two atoms nearer than `cutoff` Å.

    Residues are compared as spheres first: most atoms are too far apart to be compared one by one.

    Raises:
        InputError: A coordinate is not a finite number.
    """
    there = np.flatnonzero(structure.atom_mask.any(axis=1))
    # Empty slots repeat the first atom, which changes no smallest distance.
    mask = structure.atom_mask[there]
    order = np.argsort(~mask, axis=1, kind="stable")[:, : mask.sum(axis=1).max(initial=1)]
    order = np.where(np.take_along_axis(mask, order, axis=1), order, order[:, :1])
    points = structure.atom_positions[there[:, None], order].astype(np.float64)
    # The sphere of a residue with a stray atom would be too large: its atoms are compared singly.
    wide = np.ptp(points, axis=1).max(axis=1, initial=0) > _WIDE
    astray = np.repeat(points[wide].reshape(-1, 1, 3), points.shape[1], axis=1)
    points = np.concatenate([points[~wide], astray])
    residue = np.concatenate([there[~wide], np.repeat(there[wide], points.shape[1])])
    center = (points.min(axis=1) + points.max(axis=1)) / 2
    radius = np.linalg.norm(points - center[:, None], axis=2).max(axis=1, initial=0)
    chain = np.unique(structure.chain_id, return_inverse=True)[1][residue]
    first, second, apart = near_pairs(center, cutoff + 2 * radius.max(initial=0), chain)
    near = apart < cutoff + radius[first] + radius[second]
    first, second = first[near], second[near]
    blocks = np.split(np.stack([first, second]), range(_BLOCK, len(first), _BLOCK), axis=1)
    distance = np.concatenate([_smallest_distance(*points[block]) for block in blocks])
    return _nearest_of_each(residue[first], residue[second], distance, cutoff)


def _nearest_of_each(
    one: Int[np.ndarray, " K"],
    other: Int[np.ndarray, " K"],
    distance: Float[np.ndarray, " K"],
    cutoff: float,
) -> Contacts:
    """Return each pair of residues once, with its smallest distance, if below the cutoff."""
    near = np.flatnonzero(distance < cutoff)
    near = near[np.argsort(distance[near], kind="stable")]
    first, second = np.minimum(one, other)[near], np.maximum(one, other)[near]
    size = second.max(initial=0) + 1
    _, kept = np.unique(first * size + second, return_index=True)
    return Contacts(first[kept], second[kept], distance[near[kept]])


def _smallest_distance(
    one: Float[np.ndarray, "K A 3"], other: Float[np.ndarray, "K A 3"]
) -> Float[np.ndarray, " K"]:
    center = one[:, :1]
    one, other = one - center, other - center
    squared = (one**2).sum(axis=2)[:, :, None] + (other**2).sum(axis=2)[:, None, :]
    squared -= 2 * (one @ other.swapaxes(1, 2))
    return np.asarray(np.sqrt(np.maximum(squared.min(axis=(1, 2)), 0)))


@dataclass(frozen=True)
class SharedContacts:
    """The contacts that a model and its reference have in common.

    Attributes:
        model, reference: Indices of the shared contacts in each structure, in the same order.
        model_mapped, reference_mapped: Whether both residues of each contact have a partner, for
            all contacts of each structure.
    """

    model: Int[np.ndarray, " S"]
    reference: Int[np.ndarray, " S"]
    model_mapped: Bool[np.ndarray, " K"]
    reference_mapped: Bool[np.ndarray, " L"]


def share_contacts(model: Contacts, reference: Contacts, pairs: np.ndarray) -> SharedContacts:
    """Return the contacts that a model and its reference have in common.

    Args:
        pairs: Pairs (model residue, reference residue), each residue at most once.
    """
    size = 1 + max(int(each.max(initial=-1)) for each in (*pairs.T, model.second, reference.second))
    partner = np.full(size, -1)
    partner[pairs[:, 0]] = pairs[:, 1]
    matched = np.zeros(size, bool)
    matched[pairs[:, 1]] = True
    one, other = partner[model.first], partner[model.second]
    model_mapped = (one >= 0) & (other >= 0)
    # Contacts of residues without a partner get negative keys, which match no reference contact.
    keys = np.where(
        model_mapped, np.minimum(one, other) * size + np.maximum(one, other), ~np.arange(len(one))
    )
    _, here, there = np.intersect1d(
        keys, reference.first * size + reference.second, assume_unique=True, return_indices=True
    )
    return SharedContacts(
        here, there, model_mapped, matched[reference.first] & matched[reference.second]
    )


@dataclass(frozen=True)
class QSScore:
    """QS-score, 0–1.

    Attributes:
        best: QS-score over contacts of residues that both structures have.
        total: QS-score over all contacts, including residues and chains without a partner;
            OpenStructure's `qs_global`.
    """

    best: float
    total: float


def qs_score(model: Structure, reference: Structure, pairs: np.ndarray) -> QSScore:
    """Return the QS-score (Bertoni et al., Sci. Rep. 2017, 7, 10480) of a mapping of residues.

    Residues of different chains are in contact if their Cβ (Cα of glycine) are nearer than 12 Å. A
    contact at distance d has the weight w(d) = exp(−2 ((d − 5) / 4.28)²), or 1 for d ≤ 5 Å. With
    the distances d and d′ in the two structures,

        QS = Σ_shared w(min(d, d′)) (1 − |d − d′| / 12) / (Σ_shared w(min(d, d′)) + Σ_others w).

    If neither structure has a contact, the score is 1 if all chains have a partner, otherwise 0.

    Args:
        pairs: Pairs (model residue, reference residue).
    """
    model_beta, reference_beta = _beta_only(model), _beta_only(reference)
    both = (model_beta.atom_mask[pairs[:, 0]].any(axis=1)) & (
        reference_beta.atom_mask[pairs[:, 1]].any(axis=1)
    )
    here = residue_contacts(model_beta, QS_CONTACT)
    there = residue_contacts(reference_beta, QS_CONTACT)
    shared = share_contacts(here, there, pairs[both])
    d, e = here.distance[shared.model], there.distance[shared.reference]
    weights = _qs_weight(np.minimum(d, e))
    agreement = float((weights * (1 - np.abs(d - e) / QS_CONTACT)).sum())
    best = everything = float(weights.sum())
    for contacts, both_have, mapped in (
        (here, shared.model, shared.model_mapped),
        (there, shared.reference, shared.reference_mapped),
    ):
        rest = _qs_weight(contacts.distance)
        rest[both_have] = 0
        best += float(rest[mapped].sum())
        everything += float(rest.sum())
    complete = all(
        set(structure.chain_id[side]) == set(structure.chains)
        for structure, side in zip((model, reference), pairs.T, strict=True)
    )
    return QSScore(
        best=agreement / best if best else float(complete),
        total=agreement / everything if everything else float(complete),
    )


def _beta_only(structure: Structure) -> Structure:
    slot = np.where(structure.aatype == _GLY, CA, CB)[:, None]
    return replace(structure, atom_mask=structure.atom_mask & (np.arange(37) == slot))


def _qs_weight(distance: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    return np.asarray(np.exp(-2 * (np.maximum(distance - 5, 0) / 4.28) ** 2))


@dataclass(frozen=True)
class ContactSimilarity:
    """ICS and IPS, 0–1; NaN if the reference has no contact between chains.

    Attributes:
        ics: F1 of the contacts between chains.
        ics_precision, ics_recall: Precision and recall of these contacts.
        ips: Jaccard index of the residues in such a contact.
        ips_precision, ips_recall: Precision and recall of these residues.
    """

    ics: float
    ics_precision: float
    ics_recall: float
    ips: float
    ips_precision: float
    ips_recall: float


def contact_similarity(
    model: Structure, reference: Structure, pairs: np.ndarray
) -> ContactSimilarity:
    """Return interface contact and patch similarity (Lafita et al., Proteins 2018, 86, 247).

    Two residues of different chains are in contact if two of their heavy atoms are nearer than 5 Å.
    Contacts of residues without a partner count as wrong.

    Args:
        pairs: Pairs (model residue, reference residue).
    """
    here, there = residue_contacts(model, CONTACT), residue_contacts(reference, CONTACT)
    if not len(there.first):
        return ContactSimilarity(*[float("nan")] * 6)
    common = len(share_contacts(here, there, pairs).model)
    patches = [np.unique([contacts.first, contacts.second]) for contacts in (here, there)]
    both = (np.isin(pairs[:, 0], patches[0]) & np.isin(pairs[:, 1], patches[1])).sum()
    num_model, num_reference = len(here.first), len(there.first)
    return ContactSimilarity(
        ics=2 * common / (num_model + num_reference),
        ics_precision=common / max(num_model, 1),
        ics_recall=common / num_reference,
        ips=float(both / (len(patches[0]) + len(patches[1]) - both)),
        ips_precision=float(both / max(len(patches[0]), 1)),
        ips_recall=float(both / len(patches[1])),
    )

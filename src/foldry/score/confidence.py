"""Confidence of a prediction, and its agreement with the true errors.

Predicted aligned errors (PAE) are in Å, row i aligned on residue i; pLDDT is 0–100.

Axes: N residues, C chains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from foldry.errors import InputError, counted
from foldry.features.known_atoms import backbone_frames, pseudo_beta
from foldry.measures import MEASURES
from foldry.residues import CA
from foldry.score.interface import Contacts
from foldry.score.neighbours import near_pairs
from foldry.score.tm import tm_d0, tm_term
from foldry.structure import Structure

MAX_PAE: Final = 31.75
"""Largest error that AlphaFold 2's PAE head can express, Å."""
PLDDT_EDGES: Final = tuple(range(0, 101, 10))
PAE_EDGES: Final = (0, 2, 4, 6, 8, 10, 15, 20, 25, MAX_PAE)
"""Limits of the bins, Å."""
CONTACT: Final = 8.0
"""Largest distance in Å of two Cβ (Cα of glycine) in contact."""
CONTACT_PROBABILITY: Final = 0.6
"""Lowest distogram probability of a contact that counts for actifpTM."""
CLASH: Final = 1.1
"""Atoms of different chains clash below this distance, Å (Abramson 2024, SI 5.9.2)."""
CLASHING_ATOMS: Final = 100
CLASHING_SHARE: Final = 0.5
"""A chain clashes if more than `CLASHING_ATOMS`, or more than this share, of its atoms clash."""
IPSAE_CUTOFF: Final = 10.0
"""The PAE cutoff that `ipsae.py` recommends for AlphaFold 2 and 3, Å."""
_LIS_CUTOFF: Final = 12.0
_LEAST_D0: Final = 1.0
"""Smallest d₀ of ipSAE, Å."""
_BLOCK: Final = 256


@dataclass(frozen=True)
class Calibration:
    """A predicted quantity against the true one, in bins of the prediction.

    Attributes:
        edges: K + 1 limits of the bins; the last bin includes its upper limit.
        count: Number of values in each bin.
        predicted, true: Means in each bin, NaN in an empty bin.
        pearson: Correlation of predicted and true values; NaN if either does not vary.
        error: Mean absolute error.
        calibration_error: Expected calibration error (Naeini et al., AAAI 2015): the mean over
            all values of |predicted − true| of their bin.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    predicted: tuple[float, ...]
    true: tuple[float, ...]
    pearson: float
    error: float
    calibration_error: float


def calibrate(
    predicted: Float[np.ndarray, " N *dims"],
    true: Float[np.ndarray, " N *dims"],
    edges: Sequence[int | float],
) -> Calibration:
    """Return the agreement of predictions with true values; NaN true values are left out.

    Raises:
        InputError: No true value is known, or a prediction is outside the edges.

    Example:
        >>> found = calibrate(np.array([62.0, 91.0]), np.array([60.0, 95.0]), PLDDT_EDGES)
        >>> found.error, found.count
        (3.0, (0, 0, 0, 0, 0, 0, 1, 0, 0, 1))
    """
    num_bins = len(edges) - 1
    count, sums, absolute = np.zeros(num_bins, np.int64), np.zeros((2, num_bins)), 0.0
    moments, spread, centers = np.zeros(2), np.zeros((2, 2)), np.empty((2, 0))
    for start in range(0, len(true), _BLOCK):
        rows = slice(start, start + _BLOCK)
        known = np.isfinite(true[rows])
        values = np.stack([predicted[rows][known], true[rows][known]]).astype(np.float64)
        if not values.size:
            continue
        if not ((values[0] >= edges[0]) & (values[0] <= edges[-1])).all():
            raise InputError(f"A prediction is not between {edges[0]:g} and {edges[-1]:g}")
        bins = np.minimum(np.searchsorted(edges, values[0], side="right"), num_bins) - 1
        count += np.bincount(bins, minlength=num_bins)
        sums += [np.bincount(bins, each, num_bins) for each in values]
        absolute += float(np.abs(values[0] - values[1]).sum())
        # Relative to the first values, so that constant values have a variance of exactly 0.
        centers = centers if centers.size else values[:, :1].copy()
        values -= centers
        moments += values.sum(axis=1)
        spread += values @ values.T
    total = int(count.sum())
    if not total:
        raise InputError("No prediction has a true value to compare it with")
    some = count > 0
    means = np.divide(sums, count, out=np.full((2, num_bins), np.nan), where=some)
    gaps = np.abs(means[0] - means[1])
    spread -= np.outer(moments, moments) / total
    scale = np.sqrt(np.prod(np.maximum(np.diag(spread), 0)))
    return Calibration(
        edges=tuple(float(edge) for edge in edges),
        count=tuple(count.tolist()),
        predicted=tuple(means[0].tolist()),
        true=tuple(means[1].tolist()),
        pearson=float(spread[0, 1] / scale) if scale > 0 else float("nan"),
        error=absolute / total,
        calibration_error=float((gaps[some] * count[some]).sum() / total),
    )


def pae_calibration(
    pae: Float[np.ndarray, "N N"], true_errors: Float[np.ndarray, "N N"], max_pae: float = MAX_PAE
) -> Calibration:
    """Return the agreement of the PAE with true aligned errors (Å, NaN if unknown).

    The error of a residue aligned on itself is 0 and is left out. True errors above `max_pae`,
    which the head cannot express, count as `max_pae`.

    Raises:
        InputError: As for `calibrate`.
    """
    edges = (*PAE_EDGES[:-1], max(max_pae, PAE_EDGES[-1]))
    others = np.minimum(true_errors, max_pae)
    np.fill_diagonal(others, np.nan)
    return calibrate(pae, others, edges)


def aligned_errors(
    model: Float[np.ndarray, "N 37 3"],
    reference: Float[np.ndarray, "N 37 3"],
    known: Bool[np.ndarray, "N 37"],
) -> Float[np.ndarray, "N N"]:
    """Return the error of residue j's Cα with both structures aligned on residue i's frame, Å.

    |Tᵢ⁻¹ xⱼ − Tᵢ*⁻¹ xⱼ*| with frames T of N, CA and C (Jumper 2021, SI 1.9.7); NaN if an atom is
    unknown.

    Args:
        model, reference: Positions in Å, in atom37 order; residue n of both is the same residue.
        known: Atoms that both have.
    """
    errors = np.full((len(model), len(model)), np.nan, np.float32)
    frames, has_frame = backbone_frames(np.stack([model, reference]), known)
    rows, columns = np.flatnonzero(has_frame), np.flatnonzero(known[:, CA])
    points = np.stack([model, reference])[:, columns, CA]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        turn, origin = frames[:, block, :, :3], frames[:, block][..., 3]
        local = (points[:, None] - origin[:, :, None]) @ turn
        errors[np.ix_(block, columns)] = np.linalg.norm(local[0] - local[1], axis=-1)
    return errors


def predicted_tm_d0(num_residues: int) -> float:
    """Return AlphaFold's d₀ in Å: 1.24 (max(N, 19) − 15)^⅓ − 1.8 (Jumper 2021, SI 1.9.7)."""
    return float(tm_d0(max(num_residues, 19), least=0.0))


def predicted_tm(terms: Float[np.ndarray, "N N"], chain_id: np.ndarray | None = None) -> float:
    """Return pTM, or ipTM if chains are given: the best row's mean.

    Sources: Jumper 2021, SI equation 38; Evans 2021.

    Args:
        terms: The expected `tm_term` of each pair. For AlphaFold's own pTM and ipTM, the
            expectation is over the bins of the PAE head. If only expected errors are known,
            `tm_term(pae, predicted_tm_d0(N))` is an estimate: the mean of a function differs from
            the function of the mean.
        chain_id: The chain of each residue. Only pairs of different chains then count; the result
            is NaN for a single chain.
    """
    if chain_id is None:
        return float(terms.mean(axis=1).max())
    apart = chain_id[:, None] != chain_id[None]
    if not apart.any():
        return float("nan")
    return float(_masked_mean(terms, apart).max())


def chain_pair_tm(
    terms: Float[np.ndarray, "N N"],
    chain_id: np.ndarray,
    contacts: Bool[np.ndarray, "N N"] | None = None,
) -> Float[np.ndarray, "C C"]:
    """Return the ipTM of each pair of chains, or actifpTM if contacts are given.

    [a, b] is the best row's mean among the rows of chain a over the columns of chain b. The larger
    of [a, b] and [b, a] is the ipTM of these two chains alone, except that d₀ is the one in the
    terms. AlphaFold 3 (`chain_pair_iptm`, Abramson 2024, SI 5.9.1) and ColabFold also use the d₀ of
    the whole complex.

    actifpTM (Varga et al., Bioinformatics 2025, 41, btaf107) uses only residues with a contact in
    the other chain; it is 0 for chains without contacts.

    Args:
        terms: The same as for `predicted_tm`.
        chain_id: The chain of each residue; chains are in the order of their first residues.
        contacts: Symmetric mask of residues in contact.

    Returns:
        Values from 0 to 1, NaN on the diagonal.
    """
    members = [np.flatnonzero(chain_id == chain) for chain in dict.fromkeys(chain_id.tolist())]
    found = np.full((len(members), len(members)), np.nan)
    for a, b in permutations(range(len(members)), 2):
        rows, columns = members[a], members[b]
        if contacts is not None:
            touching = contacts[np.ix_(rows, columns)]
            rows, columns = rows[touching.any(axis=1)], columns[touching.any(axis=0)]
        block = terms[np.ix_(rows, columns)]
        found[a, b] = block.mean(axis=1).max() if block.size else 0
    return found


@dataclass(frozen=True)
class InterfaceConfidence:
    """Confidence in each pair of chains, from PAE, pLDDT and coordinates; mostly 0–1.

    Matrices [C, C] are NaN on the diagonal. If a matrix is not symmetric, [a, b] is aligned on
    chain a and judges chain b; `quoted` combines both directions.

    Attributes:
        chains: Names of the chains, in order.
        iptm: Best row's mean of tm_term(PAE, d₀ of both chains' residues).
        ipsae: ipSAE (Dunbrack 2025, bioRxiv 2025.02.10.637595): in each row, only pairs with a PAE
            below the cutoff count, and their number gives d₀ (`ipSAE_d0res`).
        ipsae_d0chn, ipsae_d0dom: ipSAE with the d₀ of both chains' residues, and with the d₀ of
            the residues in any such pair.
        pdockq: pDockQ (Bryant et al., Nat. Commun. 2022, 13, 1265), symmetric; NaN without pLDDT.
        lis: Local interaction score (Kim et al., bioRxiv 2024.02.19.580970): mean of
            1 − PAE / 12 Å over pairs with a PAE below 12 Å.
        pdockq2: pDockQ2 of each chain [C] with all others (Zhu et al., Bioinformatics 2023, 39,
            btad424); NaN without pLDDT.
        contacts: Number of residue pairs with Cβ at most 8 Å apart, symmetric, 0 on the diagonal.
        touching: The contacts (`interface_contacts`).
        interface_pae: Mean PAE of the contacts, Å; NaN without contacts.
    """

    chains: tuple[str, ...]
    iptm: Float[np.ndarray, "C C"]
    ipsae: Float[np.ndarray, "C C"]
    ipsae_d0chn: Float[np.ndarray, "C C"]
    ipsae_d0dom: Float[np.ndarray, "C C"]
    pdockq: Float[np.ndarray, "C C"]
    lis: Float[np.ndarray, "C C"]
    pdockq2: Float[np.ndarray, " C"]
    contacts: Int[np.ndarray, "C C"]
    touching: Contacts
    interface_pae: Float[np.ndarray, "C C"]


def interface_confidence(
    structure: Structure,
    pae: Float[np.ndarray, "M M"],
    plddt: Float[np.ndarray, " N"] | None,
) -> InterfaceConfidence:
    """Return the confidence in every pair of chains of a prediction.

    Args:
        structure: The predicted atoms.
        pae: PAE in Å, not symmetrised.
        plddt: pLDDT, 0–100; without it pDockQ and pDockQ2 are NaN.

    Raises:
        InputError: The PAE matrix does not belong to the structure, or is not finite.
    """
    if pae.shape != (len(structure), len(structure)):
        raise InputError(
            f"The PAE matrix is {' × '.join(map(str, pae.shape))}, but {structure.name!r} has "
            f"{counted(len(structure), 'residue')}",
            "give the PAE of this prediction",
        )
    if not np.isfinite(pae).all():
        raise InputError("The PAE matrix holds a value that is not a finite number")
    pae = np.asarray(pae, np.float64)
    chain, num = _chain_numbers(structure), len(structure.chains)
    iptm, ipsae, of_chains, of_domain, lis = np.full((5, num, num), np.nan)
    for a, b in permutations(range(num), 2):
        block = pae[np.ix_(chain == a, chain == b)]
        iptm[a, b], ipsae[a, b], of_chains[a, b], of_domain[a, b] = _ipsae(block)
        near = block[block < _LIS_CUTOFF]
        lis[a, b] = (1 - near / _LIS_CUTOFF).mean() if len(near) else 0
    touching = interface_contacts(structure)
    count, interface_pae, pdockq = _of_contacts(chain, touching, pae, plddt)
    return InterfaceConfidence(
        chains=structure.chains,
        iptm=iptm,
        ipsae=ipsae,
        ipsae_d0chn=of_chains,
        ipsae_d0dom=of_domain,
        pdockq=pdockq,
        lis=lis,
        pdockq2=_pdockq2(structure, plddt, pae),
        contacts=count,
        touching=touching,
        interface_pae=interface_pae,
    )


def quoted(measure: str, values: Num[np.ndarray, "C C"]) -> Num[np.ndarray, "C C"]:
    """Return one number for both directions of each pair of chains (`Measure.quoted`)."""
    match MEASURES[measure].quoted:
        case "higher":
            values = np.maximum(values, values.T)
        case "mean":
            values = (values + values.T) / 2
        case "sum":
            values = values + values.T
    return values


def interface_contacts(structure: Structure) -> Contacts:
    """Return residues of different chains with Cβ (Cα of glycine) at most 8 Å apart.

    Raises:
        InputError: A coordinate is not a finite number, or the atoms lie on top of each other.
    """
    beta, has_beta = pseudo_beta(structure.aatype, structure.atom_positions, structure.atom_mask)
    return _contacts(beta, has_beta > 0, _chain_numbers(structure))


@dataclass(frozen=True)
class ChainClashes:
    """Clashes between chains by the rule of AlphaFold 3's `has_clash`.

    Attributes:
        atoms: Number of atoms of chain a that are nearer than `CLASH` to an atom of chain b,
            [C, C].
        share: Share of each chain's atoms [C] that clash with any other chain, 0–1.
        clashing: Chains [C] in which more than 100 atoms, or more than half of all, clash.
    """

    atoms: Int[np.ndarray, "C C"]
    share: Float[np.ndarray, " C"]
    clashing: Bool[np.ndarray, " C"]


def chain_clashes(structure: Structure) -> ChainClashes:
    """Return the atoms and chains that clash with other chains.

    Raises:
        InputError: A coordinate is not a finite number, or the atoms lie on top of each other.
    """
    chain, num = _chain_numbers(structure), len(structure.chains)
    residue, slot = np.nonzero(structure.atom_mask)
    chain_of = chain[residue]
    first, second, _ = near_pairs(structure.atom_positions[residue, slot], CLASH, chain_of)
    # Pair each atom of a clash with the chain of the other atom.
    atom, other = np.concatenate([first, second]), np.concatenate([second, first])
    atom, partner = np.unique(np.stack([atom, chain_of[other]]), axis=1)
    pairs = np.bincount(chain_of[atom] * num + partner, minlength=num * num).reshape(num, num)
    clashing = np.bincount(chain_of[np.unique(atom)], minlength=num)
    share = clashing / np.maximum(np.bincount(chain_of, minlength=num), 1)
    clashes = (clashing > CLASHING_ATOMS) | (share > CLASHING_SHARE)
    return ChainClashes(pairs, share, clashes)


def _ipsae(block: Float[np.ndarray, "A B"]) -> Iterator[float]:
    """Yield ipTM, and ipSAE with the d₀ of each row, of both chains and of the domain.

    The rows are the frames of one chain, the columns the residues of the other (`ipsae.py`,
    version 4).
    """
    good = block < IPSAE_CUTOFF
    per_row = good.sum(axis=1, keepdims=True)
    domain = int(good.any(axis=0).sum() + good.any(axis=1).sum())
    yield float(tm_term(block, tm_d0(sum(block.shape), _LEAST_D0)).mean(axis=1).max())
    for length in (per_row, sum(block.shape), domain):
        yield float(_masked_mean(tm_term(block, tm_d0(length, _LEAST_D0)), good).max())


def _of_contacts(
    chain: Int[np.ndarray, " N"],
    contacts: Contacts,
    pae: Float[np.ndarray, "N N"],
    plddt: Float[np.ndarray, " N"] | None,
) -> tuple[Int[np.ndarray, "C C"], Float[np.ndarray, "C C"], Float[np.ndarray, "C C"]]:
    """Return for each pair of chains the number of contacts, their mean PAE (Å) and pDockQ.

    pDockQ is 0.724 / (1 + exp(−0.052 (x − 152.611))) + 0.018, or 0 without a contact; x is the mean
    pLDDT of the residues in contact times log₁₀ of the number of contacts.
    """
    num = chain.max(initial=-1) + 1
    ends = _both_ways(contacts)
    pair = chain[ends[0]] * num + chain[ends[1]]
    count = np.bincount(pair, minlength=num * num).reshape(num, num)
    total = np.bincount(pair, pae[*ends], num * num).reshape(num, num)
    mean = np.divide(total, count, out=np.full((num, num), np.nan), where=count > 0)
    pdockq = np.full((num, num), np.nan)
    if plddt is not None:
        pdockq[~np.eye(num, dtype=bool)] = 0
        for each in np.unique(pair):
            x = plddt[np.unique(ends[:, pair == each])].mean() * np.log10(count.flat[each])
            pdockq.flat[each] = 0.724 / (1 + np.exp(-0.052 * (x - 152.611))) + 0.018
    return count, mean, pdockq


def _pdockq2(
    structure: Structure, plddt: Float[np.ndarray, " N"] | None, pae: Float[np.ndarray, "N N"]
) -> Float[np.ndarray, " C"]:
    """Return pDockQ2 = 1.31 / (1 + exp(−0.0747 (x − 84.7))) + 0.005 of each chain.

    x is the chain's mean pLDDT over its Cα contacts times the mean tm_term(PAE, 10 Å) over them.
    The code has all digits of the published program.
    """
    chain, num = _chain_numbers(structure), len(structure.chains)
    if plddt is None:
        return np.full(num, np.nan)
    contacts = _contacts(structure.atom_positions[:, CA], structure.atom_mask[:, CA], chain)
    first, second = _both_ways(contacts)
    count = np.maximum(np.bincount(chain[first], minlength=num), 1)
    sure, near = (
        np.bincount(chain[first], values, num) / count
        for values in (plddt[first], tm_term(pae[first, second], 10.0))
    )
    x = sure * near
    return np.asarray(1.31034849 / (1 + np.exp(-7.47157696e-2 * (x - 84.7326239))) + 5.01886443e-3)


def _chain_numbers(structure: Structure) -> Int[np.ndarray, " N"]:
    """Return the index of each residue's chain in `structure.chains`."""
    place = {name: number for number, name in enumerate(structure.chains)}
    return np.array([place[name] for name in structure.chain_id.tolist()])


def _contacts(
    points: Float[np.ndarray, "N 3"], there: Bool[np.ndarray, " N"], chain: Int[np.ndarray, " N"]
) -> Contacts:
    """Return pairs of residues of different chains at most 8 Å apart, each once."""
    residues = np.flatnonzero(there)
    first, second, distance = near_pairs(
        points[residues], np.nextafter(CONTACT, np.inf), chain[residues]
    )
    return Contacts(residues[first], residues[second], distance)


def _both_ways(contacts: Contacts) -> Int[np.ndarray, "2 K"]:
    """Return both ends of each contact, then again in reverse order."""
    first, second = contacts.first, contacts.second
    return np.stack([np.concatenate([first, second]), np.concatenate([second, first])])


def _masked_mean(
    values: Float[np.ndarray, "A B"], mask: Bool[np.ndarray, "A B"]
) -> Float[np.ndarray, " A"]:
    """Return the mean of each row over the mask; 0 for rows without any."""
    return np.asarray((values * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1))

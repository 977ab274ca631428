"""The 3Di letters of protein chains (van Kempen et al., Nat. Biotechnol. 2024, 42, 243).

A letter is the shape of a residue's contact with its nearest neighbour in space. Ten descriptors of
both backbones go through a small network, and the nearest of 20 centroids is the letter. The
network and the virtual centres, between which distances are measured, are those of mini3di. The
descriptors are computed here for many chains at once, which takes a fifth of the time.

Axes: N residues of all chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.errors import MissingError
from foldry.formats.model_record import ModelRecord
from foldry.structure import Structure

if TYPE_CHECKING:
    import mini3di

ALPHABET: Final = "ACDEFGHIKLMNPQRSTVWY"
"""The letters in the order of the centroids."""
MATRIX: Final = "matrix_3di.out"
"""The substitution matrix in the format of MMseqs2, made by benchmarks/matrix_3di.py."""
_CODES: Final = np.frombuffer(ALPHABET.encode(), np.uint8)
_UNDEFINED: Final = 2
"""Code of residues without a contact or backbone, and of the ends of a chain, as in Foldseek."""
_N, _CA, _C, _CB = 0, 1, 2, 3
_MOST_SEPARATED: Final = 4


def letters(chains: Sequence[Structure]) -> list[str]:
    """Return the 3Di letters of each chain, one per residue.

    Args:
        chains: Structures of one chain each; residues without N, Cα or C get D.

    Raises:
        MissingError: mini3di is not installed.

    Example:
        >>> from foldry.formats.coordinates import read_structure
        >>> [row] = letters([read_structure("examples/kunitz/1adz.cif")])
        >>> row[:20]
        'DADVVLCPDWWQADQQPFQQ'
    """
    encoder = _encoder()
    ends = np.cumsum([0, *map(len, chains)])
    if not ends[-1]:
        return ["" for _ in chains]
    backbone = np.concatenate([_backbone(each) for each in chains])
    known = np.isfinite(backbone[:, :_CB]).all(axis=(1, 2))
    ca, cb, n, c = (backbone[:, atom] for atom in (_CA, _CB, _N, _C))
    centers = np.asarray(encoder.feature_encoder.vc_encoder.encode_atoms(ca, cb, n, c))
    partners = np.full(len(ca), -1)
    for start, end in pairwise(ends.tolist()):
        partners[start:end] = _partners(centers[start:end], known[start:end], start)
    here = np.flatnonzero(partners >= 0)
    there = partners[here]
    has_neighbours = known & np.roll(known, 1) & np.roll(known, -1)
    is_defined = has_neighbours[here] & has_neighbours[there]
    here, there = here[is_defined], there[is_defined]
    codes = np.full(len(ca), _UNDEFINED, np.uint8)
    codes[here] = encoder.vae_encoder(_descriptors(ca, here, there))
    text = _CODES[codes].tobytes().decode()
    return [text[start:end] for start, end in pairwise(ends.tolist())]


def letters_of_records(records: Sequence[ModelRecord]) -> list[tuple[str, ...]]:
    """Return the 3Di letters of the first copy of each sequence of each model.

    Raises:
        MissingError: mini3di is not installed.
    """
    chains, counts = [], []
    for record in records:
        start = 0
        for chain in record.chains:
            chains.append(record.structure.select(start + np.arange(len(chain.sequence))))
            start += len(chain.sequence) * len(chain.ids)
        counts.append(len(record.chains))
    found = iter(letters(chains))
    return [tuple(islice(found, count)) for count in counts]


def matrix() -> str:
    """Return the substitution matrix of 3Di letters in half-bits, in the format of MMseqs2."""
    return files("foldry").joinpath("database", MATRIX).read_text("utf-8")


def _backbone(chain: Structure) -> Float[np.ndarray, "N 4 3"]:
    """Return N, Cα, C and Cβ of each residue; NaN if absent."""
    positions = chain.atom_positions[:, : _CB + 1].astype(np.float64)
    positions[~chain.atom_mask[:, : _CB + 1]] = np.nan
    return positions


def _partners(
    centers: Float[np.ndarray, "N 3"], known: Bool[np.ndarray, " N"], first: int
) -> Int[np.ndarray, " N"]:
    """Return the number of the residue nearest to each one; -1 if there is none.

    Args:
        centers: Virtual centres of one chain.
        known: Which residues have one.
        first: Number of the first residue.
    """
    partners = np.full(len(centers), -1)
    usable = np.flatnonzero(known[1:-1]) + 1  # the ends have no contacts, as in Foldseek
    if len(usable) > 1:
        points = centers[usable] - centers[usable].mean(axis=0)
        squares = (points * points).sum(axis=1)
        distances = points @ points.T
        distances *= -2
        distances += squares  # squared distances, but for the own square of each row
        np.fill_diagonal(distances, np.inf)
        partners[usable] = usable[distances.argmin(axis=1)] + first
    return partners


def _descriptors(
    ca: Float[np.ndarray, "N 3"], here: Int[np.ndarray, " K"], there: Int[np.ndarray, " K"]
) -> Float[np.ndarray, "K 10"]:
    """Return the descriptors of residues and their partners (eq. 2 of the supplement)."""
    steps = np.diff(ca, axis=0)
    steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)
    before, after = steps[here - 1], steps[here]
    before_partner, after_partner = steps[there - 1], steps[there]
    contact = ca[there] - ca[here]
    distance = np.linalg.norm(contact, axis=1)
    contact /= np.maximum(distance, 1e-9)[:, None]
    products = (
        (before, after),
        (before_partner, after_partner),
        (before, contact),
        (before_partner, contact),
        (before, after_partner),
        (after, before_partner),
        (before, before_partner),
    )
    cosines = [np.einsum("kx,kx->k", one, other) for one, other in products]
    apart = there - here
    rest = [
        distance,
        np.clip(apart, -_MOST_SEPARATED, _MOST_SEPARATED),
        np.copysign(np.log(np.abs(apart) + 1), apart),
    ]
    return np.stack([*cosines, *rest], axis=1).astype(np.float32)


@cache
def _encoder() -> mini3di.Encoder:
    try:
        import mini3di  # noqa: PLC0415
    except ImportError:
        what = "The package mini3di is not installed"
        raise MissingError(what, 'run `pip install "foldry[db]"`') from None
    return mini3di.Encoder()

"""Codes of alignments, and the MSA features of one recycle (Jumper 2021, SI 1.2.6–1.2.9).

Axes: M alignment rows, S clusters, E extra rows, N residues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from foldry.errors import InputError
from foldry.features.config import FeatureConfig
from foldry.features.features import Features, MSADraw
from foldry.query import Alignment
from foldry.residues import GAP, MASKED, RESTYPES, RESTYPES_WITH_X, UNKNOWN, encode_sequence

NUM_LETTERS: Final = MASKED + 1
"""Number of codes: 20 amino acids, X, gap and mask."""

_NO_LETTER: Final = -1
_ROW_BLOCK: Final = 512
"""Rows compared with the clusters at once, few enough for their counts to fit into the cache."""
_CODES: Final = np.full(256, _NO_LETTER, np.int8)
_CODES[list(f"{RESTYPES_WITH_X}-".encode())] = range(GAP + 1)
# As in HHblits: selenocysteine, Asx, Glx, Leu or Ile, pyrrolysine.
_CODES[list(b"UBZJO")] = encode_sequence("CDEXX")


@dataclass(frozen=True)
class Rows:
    """Distinct rows of the alignments of one query.

    Attributes:
        headers: One description per row.
        codes: Codes in AlphaFold's order, 20 for X, 21 for a gap.
        deletions: Inserted letters before each residue.
    """

    headers: tuple[str, ...]
    codes: Integer[np.ndarray, "M N"]
    deletions: Float[np.ndarray, "M N"]


def merge_alignments(alignments: Sequence[Alignment]) -> Rows:
    """Return the distinct rows of all alignments of one sequence.

    Rows are equal if their letters are equal; the deletions of the first are kept (SI 1.2.1).

    Raises:
        InputError: A letter is not an amino acid.
    """
    seen: set[bytes] = set()
    parts = [alignment.rows(new_rows(alignment.letters, seen)) for alignment in alignments]
    return Rows(
        headers=tuple(header for part in parts for header in part.headers),
        codes=encode_letters(np.concatenate([part.letters for part in parts])),
        deletions=np.concatenate([part.deletions for part in parts]).astype(np.float32),
    )


def new_rows(letters: UInt8[np.ndarray, "S N"], seen: set[bytes]) -> Int[np.ndarray, " M"]:
    """Return the numbers of the rows that are not in `seen`, and add the rows to `seen`."""
    text, length = letters.tobytes(), letters.shape[1]
    new = []
    for number in range(len(letters)):
        row = text[number * length : (number + 1) * length]
        if row not in seen:
            seen.add(row)
            new.append(number)
    return np.array(new, np.int64)


def encode_letters(letters: UInt8[np.ndarray, "S N"]) -> Integer[np.ndarray, "S N"]:
    """Return the codes of an alignment's letters in AlphaFold's order, 20 for X, 21 for a gap.

    Raises:
        InputError: A letter is not an amino acid.
    """
    codes: np.ndarray = _CODES[letters]
    if (codes == _NO_LETTER).any():
        row, column = np.argwhere(codes == _NO_LETTER)[0]
        what = f"The alignment has {chr(letters[row, column])!r} at residue {column + 1} of a row"
        raise InputError(what, "use only upper-case letters of amino acids and '-'")
    return codes


def draw_msa(features: Features, recycle: int, member: int = 0) -> MSADraw:
    """Return the alignment that one recycle and ensemble member reads.

    The query stays first, the other rows are shuffled. The first `num_msa` rows become cluster
    centres and are masked, the next rows are the extra alignment. The draw depends only on the
    seed of the features, the recycle and the member.
    """
    config = features.config
    if not config.resample_msa:
        recycle = 0
    rng = np.random.default_rng(np.random.SeedSequence(features.seed, spawn_key=(recycle, member)))

    order = np.concatenate([[0], 1 + rng.permutation(len(features.msa) - 1)])
    clusters = order[: config.num_msa]
    msa, bert_mask = mask_msa(features.msa[clusters], features.msa, config, rng)
    if features.covered is not None:
        bert_mask *= features.covered[clusters]
    return read_rows(features, order, msa, bert_mask)


def read_rows(
    features: Features,
    order: Int[np.ndarray, " M"],
    msa: Integer[np.ndarray, "S N"],
    bert_mask: Float[np.ndarray, "S N"],
) -> MSADraw:
    """Return what the network reads for a given order of rows and given masked positions.

    Args:
        features: The features with the whole alignment and the configuration.
        order: Row numbers: the cluster centres, then the others.
        msa: Codes of the centres, masked.
        bert_mask: 1 for masked positions.
    """
    config = features.config
    clusters, rest = order[: config.num_msa], order[config.num_msa :]
    deletions = features.deletion_matrix[clusters]
    # Clusters summarize all other rows, also those that the network does not read (SI 1.2.7).
    others = rest[: config.cluster_extra_rows]
    profile, deletion_mean = summarize_clusters(
        msa,
        deletions,
        features.msa[others],
        features.deletion_matrix[others],
        cluster_members(msa, features.msa[others], share=config.share_rows),
    )
    extra = rest[: config.num_extra_msa]
    extra_msa = features.msa[extra].astype(np.int64)
    extra_has_deletion, extra_deletion_value = deletion_features(features.deletion_matrix[extra])
    return MSADraw(
        msa_feat=msa_feat(msa, deletions, profile, deletion_mean),
        msa_mask=np.ones(msa.shape, np.float32),
        true_msa=features.msa[clusters].astype(np.int64),
        bert_mask=bert_mask,
        extra_msa=extra_msa,
        extra_has_deletion=extra_has_deletion,
        extra_deletion_value=extra_deletion_value,
        extra_msa_mask=np.ones(extra_msa.shape, np.float32),
    )


def mask_msa(
    msa: Integer[np.ndarray, "S N"],
    alignment: Integer[np.ndarray, "M N"],
    config: FeatureConfig,
    rng: np.random.Generator,
) -> tuple[Integer[np.ndarray, "S N"], Float[np.ndarray, "S N"]]:
    """Return the alignment with a random fraction of positions replaced (SI 1.2.7).

    Returns:
        The masked codes, and 1 for picked positions (some of which keep their letter).
    """
    picked = rng.random(msa.shape) < config.masked_fraction
    column = np.nonzero(picked)[1]
    count = len(column)
    # The letter of a random row is a draw from the column's profile.
    uniform = rng.integers(0, len(RESTYPES), count)
    profile = alignment[rng.integers(0, len(alignment), count), column]
    choices = np.stack([uniform, profile, msa[picked], np.full(count, MASKED)])
    shares = config.uniform_probability, config.profile_probability, config.same_probability
    kind = np.searchsorted(np.cumsum(shares), rng.random(count), side="right")
    masked = msa.copy()
    masked[picked] = choices[kind, np.arange(count)]
    return masked, picked.astype(np.float32)


@dataclass(frozen=True)
class Members:
    """The assignment of rows to clusters, one entry per pair of row and cluster.

    Attributes:
        row: Row number; a row may be in several clusters.
        cluster: Cluster number.
        weight: Weight of the row in the cluster; the centre itself has weight 1.
        epsilon: Added to the total weight of each cluster.
    """

    row: Int[np.ndarray, " P"]
    cluster: Int[np.ndarray, " P"]
    weight: Float[np.ndarray, " P"]
    epsilon: float


def cluster_members(
    msa: Integer[np.ndarray, "S N"], extra_msa: Integer[np.ndarray, "E N"], *, share: bool
) -> Members:
    """Return the cluster of each extra row: the centre with which most residues agree.

    Gaps and masked positions are never equal (SI 1.2.7). Among centres with equal agreement, the
    first gets the row. With `share`, all of them share it, and each row counts once for each
    residue: the limit of the multimer program's softmax of 1,000 times the agreement.
    """
    length = msa.shape[1]
    columns = np.where(msa <= UNKNOWN, msa, 254).astype(np.uint8).T.copy()
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    # Comparing bytes is exact, and takes a quarter of the time of multiplying one-hot rows.
    for start in range(0, len(extra_msa), _ROW_BLOCK):
        block = extra_msa[start : start + _ROW_BLOCK]
        rows = np.where(block <= UNKNOWN, block, 255).astype(np.uint8).T.copy()
        agreement = np.zeros((len(block), len(msa)), np.min_scalar_type(length))
        for row_letters, cluster_letters in zip(rows, columns, strict=True):
            agreement += row_letters[:, None] == cluster_letters
        if share:
            best = agreement == agreement.max(axis=1, keepdims=True)
            row, cluster = np.nonzero(best)
            weight = (length / best.sum(axis=1))[row]
        else:
            row, cluster = np.arange(len(block)), agreement.argmax(axis=1)
            weight = np.ones(len(block))
        found.append((start + row, cluster, weight))
    row, cluster, weight = map(np.concatenate, zip(*found, strict=True))
    return Members(row, cluster, weight, epsilon=0.0 if share else 1e-6)


def summarize_clusters(
    msa: Integer[np.ndarray, "S N"],
    deletions: Float[np.ndarray, "S N"],
    extra_msa: Integer[np.ndarray, "E N"],
    extra_deletions: Float[np.ndarray, "E N"],
    members: Members,
) -> tuple[Float[np.ndarray, "S N 23"], Float[np.ndarray, "S N"]]:
    """Return letter frequencies and mean deletions of each cluster with its centre (SI 1.2.7)."""
    num_clusters, length = msa.shape
    cells = members.cluster[:, None] * length + np.arange(length)
    weight = np.broadcast_to(members.weight[:, None], cells.shape)
    codes = cells * NUM_LETTERS + extra_msa[members.row]
    letters = np.bincount(codes.ravel(), weight.ravel(), msa.size * NUM_LETTERS)
    letters = letters.reshape(*msa.shape, NUM_LETTERS) + np.eye(NUM_LETTERS)[msa]
    lost = weight * extra_deletions[members.row]
    deleted = np.bincount(cells.ravel(), lost.ravel(), msa.size).reshape(msa.shape) + deletions
    count = np.bincount(members.cluster, members.weight, minlength=num_clusters)
    rows = count + np.float32(members.epsilon) + np.float32(1)
    rows = rows.astype(np.float32)[:, None]
    return letters.astype(np.float32) / rows[..., None], deleted.astype(np.float32) / rows


def deletion_features(
    deletions: Float[np.ndarray, "S N"],
) -> tuple[Float[np.ndarray, "S N"], Float[np.ndarray, "S N"]]:
    """Return whether there is a deletion, and 2/π · arctan(deletions / 3) (SI Table 1)."""
    value = np.arctan(deletions / np.float32(3)) * np.float32(2 / np.pi)
    return np.minimum(deletions, 1).astype(np.float32), value.astype(np.float32)


def msa_feat(
    msa: Integer[np.ndarray, "S N"],
    deletions: Float[np.ndarray, "S N"],
    profile: Float[np.ndarray, "S N 23"],
    deletion_mean: Float[np.ndarray, "S N"],
) -> Float[np.ndarray, "S N 49"]:
    """Return letters and deletions of the cluster centres and their clusters (SI Table 1)."""
    letters = np.eye(NUM_LETTERS, dtype=np.float32)[msa]
    deleted = np.stack(deletion_features(deletions), axis=-1)
    mean_value = deletion_features(deletion_mean)[1][..., None]
    return np.concatenate([letters, deleted, profile, mean_value], axis=-1)


def block_deletion(
    num_rows: int, rng: np.random.Generator, fraction: float = 0.3, num_blocks: int = 5
) -> Int[np.ndarray, " K"]:
    """Return the rows of an alignment that remain after deleting random blocks of rows.

    Jumper 2021, SI Algorithm 1. Neighbouring rows are similar sequences. The first row (the query)
    is always kept.

    Args:
        num_rows: Rows of the alignment, in the order of the search's hits.
        rng: Random generator for the starts of the blocks.
        fraction: Rows of one block, as a fraction of all rows.
        num_blocks: Number of blocks, which may overlap.
    """
    starts = rng.integers(0, num_rows, num_blocks)
    blocks = starts[:, None] + np.arange(int(fraction * num_rows))
    keep = np.ones(num_rows, bool)
    keep[np.minimum(blocks, num_rows - 1)] = False
    keep[0] = True
    return np.flatnonzero(keep)

"""Codes of alignments, and the MSA features of one recycle (Jumper 2021, SI 1.2.6–1.2.9).

Axes: M alignment rows, S clusters, E extra rows, N residues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer, UInt, UInt8, UInt64

from foldry.errors import InputError
from foldry.features.config import FeatureConfig
from foldry.features.features import Features, MSADraw
from foldry.query import Alignment
from foldry.residues import GAP, MASKED, RESTYPES, RESTYPES_WITH_X, UNKNOWN, encode_sequence

NUM_LETTERS: Final = MASKED + 1
"""Number of codes: 20 amino acids, X, gap and mask."""

_NO_LETTER: Final = -1
_ROW_BLOCK: Final = 5000
_CENTRE_BLOCK: Final = 6
"""Rows and centres that are compared at once: few enough for the cache, and more rows than half of
NumPy's buffer of 8,192 numbers, because it copies the rows if they fit into the buffer twice."""
_MEMBER_BLOCK: Final = 128
"""Rows of a cluster that are counted at once."""
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
    parts = []
    for alignment in alignments:
        new = new_rows(alignment.letters, seen)
        parts.append(alignment if len(new) == alignment.num_rows else alignment.rows(new))
    return Rows(
        headers=tuple(header for part in parts for header in part.headers),
        codes=encode_letters(np.concatenate([part.letters for part in parts])),
        deletions=np.concatenate([part.deletions for part in parts], dtype=np.float32),
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
    members = cluster_members(msa, features.msa[others], share=config.share_rows)
    members = replace(members, row=others[members.row])
    profile, deletion_mean = summarize_clusters(
        msa, deletions, features.msa, features.deletion_matrix, members
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
    centres = _letter_bits(msa, never=30)[..., None]
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for start in range(0, len(extra_msa), _ROW_BLOCK):
        differences = _differences(centres, extra_msa[start : start + _ROW_BLOCK])
        if share:
            row, cluster = np.nonzero((differences == differences.min(axis=0)).T)
            weight = (msa.shape[1] / np.bincount(row))[row]
        else:
            cluster = differences.argmin(axis=0)
            row, weight = np.arange(len(cluster)), np.ones(len(cluster))
        found.append((start + row, cluster, weight))
    row, cluster, weight = map(np.concatenate, zip(*found, strict=True))
    return Members(row, cluster, weight, epsilon=0.0 if share else 1e-6)


def _differences(
    centres: UInt64[np.ndarray, "W 5 S 1"], rows: Integer[np.ndarray, "R N"]
) -> UInt[np.ndarray, "S R"]:
    """Return the number of residues at which each centre, as `_letter_bits`, differs from each row.

    Two letters differ if any of their five bits does, which is found for 64 residues at once.
    """
    bits = _letter_bits(rows, never=31)
    counts = np.zeros((centres.shape[2], len(rows)), np.min_scalar_type(rows.shape[1]))
    either, differs = np.empty((2, _CENTRE_BLOCK, len(rows)), np.uint64)
    for start in range(0, len(counts), _CENTRE_BLOCK):
        block = counts[start : start + _CENTRE_BLOCK]
        either, differs = either[: len(block)], differs[: len(block)]
        some = centres[:, :, start : start + _CENTRE_BLOCK]
        for row_word, centre_word in zip(bits, some, strict=True):
            np.bitwise_xor(row_word[0], centre_word[0], out=either)
            for row_bit, centre_bit in zip(row_word[1:], centre_word[1:], strict=True):
                np.bitwise_xor(row_bit, centre_bit, out=differs)
                np.bitwise_or(either, differs, out=either)
            block += np.bitwise_count(either)
    return counts


def _letter_bits(codes: Integer[np.ndarray, "R N"], never: int) -> UInt64[np.ndarray, "W 5 R"]:
    """Return the codes as five bits; each word W has one bit of 64 residues.

    Gaps and masks become `never`, a code that no other row has.
    """
    padded = np.zeros((len(codes), -(-codes.shape[1] // 64) * 64), np.uint8)
    padded[:, : codes.shape[1]] = np.where(codes <= UNKNOWN, codes, never)
    bits = [np.packbits(padded & (1 << bit), axis=1).view(np.uint64) for bit in range(5)]
    return np.ascontiguousarray(np.transpose(bits, (2, 0, 1)))


def summarize_clusters(
    msa: Integer[np.ndarray, "S N"],
    deletions: Float[np.ndarray, "S N"],
    extra_msa: Integer[np.ndarray, "E N"],
    extra_deletions: Float[np.ndarray, "E N"],
    members: Members,
) -> tuple[Float[np.ndarray, "S N 23"], Float[np.ndarray, "S N"]]:
    """Return letter frequencies and mean deletions of each cluster with its centre (SI 1.2.7)."""
    cells = np.arange(msa.shape[1]) * NUM_LETTERS
    letters = np.empty((*msa.shape, NUM_LETTERS), np.float32)
    deleted = np.empty(msa.shape, np.float32)
    order = np.argsort(members.cluster, kind="stable")
    ends = np.cumsum(np.bincount(members.cluster, minlength=len(msa)))
    # The counts of one cluster and of a few of its rows fit into the cache.
    for cluster, picked in enumerate(np.split(order, ends[:-1])):
        lost: np.ndarray
        counts, lost = np.zeros(cells.size * NUM_LETTERS), np.zeros(cells.size)
        for start in range(0, len(picked), _MEMBER_BLOCK):
            some = picked[start : start + _MEMBER_BLOCK]
            row, weight = members.row[some], members.weight[some]
            codes = cells + extra_msa[row]
            np.add.at(counts, codes.ravel(), np.repeat(weight, cells.size))
            lost = np.vstack([lost, weight[:, None] * extra_deletions[row]]).sum(axis=0)
        counts[cells + msa[cluster]] += 1
        letters[cluster] = counts.reshape(-1, NUM_LETTERS)
        deleted[cluster] = lost + deletions[cluster]
    total = np.bincount(members.cluster, members.weight, minlength=len(msa))
    rows = total + np.float32(members.epsilon) + np.float32(1)
    rows = rows.astype(np.float32)[:, None]
    letters /= rows[..., None]
    deleted /= rows
    return letters, deleted


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
    feat = np.zeros((*msa.shape, 2 * NUM_LETTERS + 3), np.float32)
    np.put_along_axis(feat, msa[..., None], 1, axis=-1)
    feat[..., NUM_LETTERS], feat[..., NUM_LETTERS + 1] = deletion_features(deletions)
    feat[..., NUM_LETTERS + 2 : -1] = profile
    feat[..., -1] = deletion_features(deletion_mean)[1]
    return feat


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

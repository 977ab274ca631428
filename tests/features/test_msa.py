"""Merging, drawing, masking and clustering of alignments."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.features.config import FeatureConfig
from foldry.features.features import Features
from foldry.features.msa import (
    block_deletion,
    cluster_members,
    deletion_features,
    draw_msa,
    mask_msa,
    merge_alignments,
    msa_feat,
    summarize_clusters,
)
from foldry.features.pipeline import make_features
from foldry.query import Alignment, Chain, Query
from foldry.residues import GAP, HHBLITS_ORDER, MASKED, RESTYPE_ORDER
from tests.alignments import counted
from tests.features.conftest import Recorded

CONFIG = FeatureConfig(num_msa=8, num_extra_msa=5, num_templates=0)
LETTERS = "ARNDCQEGHILKMFPSTWYVX-"
HHBLITS_TO_OURS = np.array([RESTYPE_ORDER.get(letter, GAP) for letter in HHBLITS_ORDER])


def alignment(rows: list[str], deletions: np.ndarray | None = None) -> Alignment:
    if deletions is None:
        deletions = np.zeros((len(rows), len(rows[0])), np.int32)
    letters = np.frombuffer("".join(rows).encode(), np.uint8).reshape(len(rows), -1)
    return counted([f"row{n}" for n in range(len(rows))], letters, deletions)


def features(
    seed: int, rows: int = 30, length: int = 11, config: FeatureConfig = CONFIG
) -> Features:
    """Features of a random alignment; every row is another one."""
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list(LETTERS[:20]), length))]
    texts += ["".join(rng.choice(list(LETTERS), length)) for _ in range(rows - 1)]
    deletions = rng.integers(0, 4, (rows, length))
    deletions[0] = 0
    chain = Chain(("A",), texts[0], alignment(texts, deletions))
    return make_features(Query("q", (chain,)), config, seed)


@pytest.fixture(scope="module")
def official(recorded: Recorded) -> dict[str, np.ndarray]:
    return recorded("data/tf_transforms_monomer.npz")


@pytest.mark.parity
def test_clusters_are_the_official_ones(official: dict[str, np.ndarray]) -> None:
    msa, deletions = official["masked/msa"], official["masked/deletion_matrix"]
    extra, extra_deletions = official["masked/extra_msa"], official["masked/extra_deletion_matrix"]
    members = cluster_members(msa, extra, share=False)
    np.testing.assert_array_equal(members.row, np.arange(len(extra)))
    np.testing.assert_array_equal(members.cluster, official["clustered/extra_cluster_assignment"])
    profile, mean = summarize_clusters(msa, deletions, extra, extra_deletions, members)
    np.testing.assert_array_equal(profile, official["clustered/cluster_profile"])
    np.testing.assert_array_equal(mean, official["clustered/cluster_deletion_mean"])
    feat = msa_feat(msa, deletions, profile, mean)
    assert feat.dtype == profile.dtype == mean.dtype == np.float32
    np.testing.assert_allclose(feat, official["feat/msa_feat"], rtol=0, atol=5e-8)
    has_deletion, value = deletion_features(extra_deletions)
    np.testing.assert_array_equal(has_deletion, official["feat/extra_has_deletion"])
    np.testing.assert_allclose(value, official["feat/extra_deletion_value"], rtol=0, atol=5e-8)


@pytest.mark.parity
def test_merged_alignments_are_the_official_ones(recorded: Recorded) -> None:
    official = recorded("data/pipeline_features.npz")
    names = ("in_msa0_sto", "in_msa1_a3m", "in_msa2_sto")
    first, second, third = (bytes(official[name]).decode() for name in names)
    merged = [aligned(rows_of_stockholm(first)), aligned(rows_of_a3m(second))]
    merged.append(aligned(rows_of_stockholm(third)))
    rows = merge_alignments(merged)
    np.testing.assert_array_equal(rows.codes, HHBLITS_TO_OURS[official["msa/msa"]])
    np.testing.assert_array_equal(rows.deletions, official["msa/deletion_matrix_int"])
    assert (official["msa/num_alignments"] == len(rows.codes)).all()


def rows_of_stockholm(text: str) -> list[str]:
    """Rows with capitals and '-' where the query has a residue, small letters elsewhere."""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "//")):
            name, part = line.split()
            rows[name] = rows.get(name, "") + part
    query = next(iter(rows.values()))
    return [
        "".join(
            letter if residue != "-" else letter.lower().strip("-.")
            for letter, residue in zip(row, query, strict=True)
        )
        for row in rows.values()
    ]


def rows_of_a3m(text: str) -> list[str]:
    return ["".join(record.split("\n")[1:]) for record in text.split(">")[1:]]


def aligned(rows: list[str]) -> Alignment:
    deletions = []
    for row in rows:
        lost = [len(piece) for piece in re.split("[A-Z-]", row)]
        deletions.append(lost[:-1])
    return alignment([re.sub("[a-z]", "", row) for row in rows], np.array(deletions))


def test_equal_rows_are_kept_once_with_the_first_deletions() -> None:
    first = alignment(["ACD", "A-D"], np.array([[0, 0, 0], [0, 2, 0]]))
    second = alignment(["ACD", "UBZ", "A-D"], np.array([[0, 0, 0], [1, 0, 0], [9, 9, 9]]))
    rows = merge_alignments([first, second])
    letters = [[LETTERS[code] for code in row] for row in rows.codes]
    assert letters == [list("ACD"), list("A-D"), list("CDE")]
    assert rows.headers == ("row0", "row1", "row1")
    assert rows.deletions.tolist() == [[0, 0, 0], [0, 2, 0], [1, 0, 0]]


def test_an_invalid_letter_is_named() -> None:
    with pytest.raises(InputError, match="'c' at residue 2"):
        merge_alignments([alignment(["ACD", "AcD"])])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 40))
def test_a_draw_holds_rows_of_the_alignment(seed: int, rows: int) -> None:
    whole = features(seed, rows)
    draw = draw_msa(whole, recycle=1)
    num_clusters = min(rows, CONFIG.num_msa)
    num_extra = min(rows - num_clusters, CONFIG.num_extra_msa)
    assert draw.msa_feat.shape == (num_clusters, 11, 49)
    assert draw.extra_msa.shape == (num_extra, 11)
    np.testing.assert_array_equal(draw.true_msa[0], whole.aatype)
    drawn = [tuple(row) for row in np.concatenate([draw.true_msa, draw.extra_msa])]
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= {tuple(row) for row in whole.msa}

    masked = draw.msa_feat[..., :23].argmax(-1)
    untouched = draw.bert_mask == 0
    np.testing.assert_array_equal(masked[untouched], draw.true_msa[untouched])
    np.testing.assert_allclose(draw.msa_feat[..., 25:48].sum(-1), 1, rtol=0, atol=1e-5)
    assert draw.msa_mask.all() and draw.extra_msa_mask.all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_draws_depend_only_on_seed_recycle_and_member(seed: int) -> None:
    whole = features(seed)

    def same(left: object, right: object) -> bool:
        names = [field.name for field in fields(draw_msa(whole, 0))]
        return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)

    assert same(draw_msa(whole, 2, 1), draw_msa(whole, 2, 1))
    others = (
        draw_msa(whole, 2, 0),
        draw_msa(whole, 1, 1),
        draw_msa(replace(whole, seed=seed + 1), 2, 1),
    )
    assert not any(same(draw_msa(whole, 2, 1), other) for other in others)
    fixed = replace(whole, config=replace(CONFIG, resample_msa=False))
    assert same(draw_msa(fixed, 3), draw_msa(fixed, 0))
    assert same(draw_msa(fixed, 3), draw_msa(whole, 0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.sampled_from([1, 9, 63, 64, 65, 130]))
def test_clusters_agree_with_their_definition(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    letters = rng.permutation(22)[:3]
    msa, extra = rng.choice([*letters, 22], (5, length)), rng.choice(letters, (12, length))
    deletions = rng.integers(0, 3, (5, length)).astype(float)
    extra_deletions = rng.integers(0, 3, (12, length)).astype(float)
    one_hot = np.eye(23)
    agreement = np.einsum("enc,snc->es", one_hot[extra][..., :21], one_hot[msa][..., :21])
    nearest = cluster_members(msa, extra, share=False)
    np.testing.assert_array_equal(nearest.cluster, agreement.argmax(1))
    # As in the multimer program, in double precision.
    softmax = np.exp(1e3 * (agreement - agreement.max(1, keepdims=True)))
    shares = length * softmax / softmax.sum(1, keepdims=True)
    for share, weights in ((False, np.eye(5)[nearest.cluster]), (True, shares)):
        members = cluster_members(msa, extra, share=share)
        profile, mean = summarize_clusters(msa, deletions, extra, extra_deletions, members)
        count = 1 + weights.sum(0)
        letters = one_hot[msa] + np.einsum("es,enc->snc", weights, one_hot[extra])
        lost = deletions + np.einsum("es,en->sn", weights, extra_deletions)
        np.testing.assert_allclose(profile, letters / count[:, None, None], rtol=0, atol=2e-6)
        np.testing.assert_allclose(mean, lost / count[:, None], rtol=0, atol=6e-6)


@pytest.mark.parametrize("share", [False, True])
def test_clusters_do_not_depend_on_the_blocks_in_which_they_are_found(
    share: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    msa, extra = rng.integers(0, 4, (7, 70)), rng.integers(0, 4, (50, 70))
    deletions, extra_deletions = rng.random(msa.shape), rng.random(extra.shape)

    def found() -> list[bytes]:
        members = cluster_members(msa, extra, share=share)
        sums = summarize_clusters(msa, deletions, extra, extra_deletions, members)
        return [each.tobytes() for each in (members.row, members.cluster, members.weight, *sums)]

    whole = found()
    for rows, centres, counted_rows in ((1, 1, 1), (7, 3, 2), (49, 7, 5), (50, 6, 50)):
        monkeypatch.setattr("foldry.features.msa._ROW_BLOCK", rows)
        monkeypatch.setattr("foldry.features.msa._CENTRE_BLOCK", centres)
        monkeypatch.setattr("foldry.features.msa._MEMBER_BLOCK", counted_rows)
        assert found() == whole


def test_every_letter_agrees_with_itself_alone() -> None:
    codes = np.arange(MASKED + 1)[:, None]
    members = cluster_members(codes, codes, share=True)
    agreeing = [members.cluster[members.row == code].tolist() for code in codes[:, 0]]
    everywhere = codes[:, 0].tolist()  # no centre is better than any other
    assert agreeing == [[code] for code in range(GAP)] + [everywhere, everywhere]


def test_equally_similar_clusters_share_a_row() -> None:
    msa, extra = np.array([[0, 1, 2], [0, 3, 2], [5, 5, 5]]), np.array([[0, GAP, 2], [5, 1, 2]])
    # Row 0 agrees with the centres 0 and 1 at two residues, row 1 with the centre 0 at two.
    members = cluster_members(msa, extra, share=True)
    assert members.row.tolist() == [0, 0, 1]
    assert members.cluster.tolist() == [0, 1, 0]
    assert members.weight.tolist() == [1.5, 1.5, 3]
    profile, mean = summarize_clusters(msa, np.ones((3, 3)), extra, np.full((2, 3), 5.0), members)
    assert profile[0, 0, [0, 5]].tolist() == pytest.approx([2.5 / 5.5, 3 / 5.5])
    assert profile[1, 1, [3, GAP]].tolist() == pytest.approx([1 / 2.5, 1.5 / 2.5])
    assert profile[2, 2, 5] == 1
    assert mean[:, 0].tolist() == pytest.approx([23.5 / 5.5, 8.5 / 2.5, 1])


def test_clusters_use_the_configured_number_of_rows() -> None:
    def rows_seen(cluster_extra_rows: int | None) -> int:
        """Return the number of rows beyond the clusters that are counted: only these have gaps."""
        config = FeatureConfig(1, 0, 0, masked_fraction=0.0, cluster_extra_rows=cluster_extra_rows)
        rows = ["AC"] + ["-" + letter for letter in LETTERS[:20]]
        chain = Chain(("A",), "AC", alignment(rows))
        draw = draw_msa(make_features(Query("q", (chain,)), config, 0), 0)
        assert draw.extra_msa.shape == (0, 2)
        letter, gap = draw.msa_feat[0, 0, 25], draw.msa_feat[0, 0, 25 + GAP]
        return round(gap / letter)

    assert [rows_seen(limit) for limit in (0, 3, None)] == [0, 3, 20]


def test_masking_has_the_configured_fractions() -> None:
    rng = np.random.default_rng(0)
    length, num_rows = 400, 500
    rows = np.zeros((num_rows, length), np.int64)
    # The column's profile is half W (17), half gap, so each way of replacing can be recognized.
    column = np.where(np.arange(100)[:, None] % 2, 17, GAP) * np.ones(length, int)
    masked, bert_mask = mask_msa(rows, column, CONFIG, rng)
    count = bert_mask.sum()
    assert abs(count / rows.size - 0.15) < 0.005
    picked = masked[bert_mask == 1]
    uniform = 0.1 / 20
    expected = {
        MASKED: 0.7,
        GAP: 0.05,
        17: 0.05 + uniform,
        0: 0.1 + uniform,
        **{code: uniform for code in range(1, 20) if code != 17},
    }
    assert set(np.unique(picked)) <= set(expected)
    for code, share in expected.items():
        assert abs((picked == code).mean() - share) < 5 * np.sqrt(share / count), code
    assert (masked[bert_mask == 0] == 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 60))
def test_block_deletion_takes_blocks_and_never_the_query(seed: int, rows: int) -> None:
    kept = block_deletion(rows, np.random.default_rng(seed), fraction=0.2, num_blocks=2)
    assert kept[0] == 0
    assert (np.diff(kept) > 0).all()
    size = int(0.2 * rows)
    lost = np.setdiff1d(np.arange(rows), kept)
    assert len(lost) <= 2 * size
    starts = lost[np.diff(lost, prepend=-2) > 1]
    assert len(starts) <= 2
    again = block_deletion(rows, np.random.default_rng(seed), fraction=0.2, num_blocks=2)
    np.testing.assert_array_equal(again, kept)


def test_every_field_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "msa.md").read_text("utf-8")
    for field in fields(FeatureConfig):
        assert f"`{field.name}`" in text

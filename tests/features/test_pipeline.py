"""From a query to features."""

from __future__ import annotations

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.features.config import FeatureConfig
from foldry.features.msa import draw_msa
from foldry.features.pipeline import check_chains, make_features
from foldry.query import Alignment, Chain, Hit, Query
from foldry.structure import Structure

CONFIG = FeatureConfig(num_msa=4, num_extra_msa=4, num_templates=2)


def rows(*sequences: str) -> Alignment:
    headers = tuple(f"row{number}" for number in range(len(sequences)))
    return Alignment.of(headers, sequences)


def test_without_an_alignment_the_sequence_is_the_only_row() -> None:
    features = make_features(Query("q", (Chain(("A",), "ACDX"),)), CONFIG, 7)
    assert features.msa.tolist() == [[0, 4, 3, 20]]
    assert not features.deletion_matrix.any()
    assert features.templates is None
    assert features.seed == 7
    draw = draw_msa(features, 0)
    assert draw.msa_feat.shape == (1, 4, 49)
    assert draw.extra_msa.shape == draw.extra_msa_mask.shape == (0, 4)


def test_paired_rows_come_first() -> None:
    chain = Chain(("A",), "ACD", rows("ACD", "GGG", "ACE"), rows("ACD", "WWW", "ACE"))
    features = make_features(Query("q", (chain,)), CONFIG, 0)
    letters = ["".join("ARNDCQEGHILKMFPSTWYVX-"[code] for code in row) for row in features.msa]
    assert letters == ["ACD", "WWW", "ACE", "GGG"]


def test_the_alignment_may_keep_rare_letters_of_the_query() -> None:
    features = make_features(Query("q", (Chain(("A",), "AXD", rows("AUD")),)), CONFIG, 0)
    assert features.aatype.tolist() == [0, 20, 3]
    assert features.msa.tolist() == [[0, 4, 3]]


def test_a_model_of_one_chain_refuses_several() -> None:
    with pytest.raises(InputError, match="2 chains"):
        make_features(Query("q", (Chain(("A", "B"), "ACD"),)), CONFIG, 0)


def test_templates_are_read_only_by_models_that_have_them() -> None:
    length = 6
    mask = np.zeros((length, 37), bool)
    mask[:, :5] = True
    template = Structure(
        "t",
        np.arange(length),
        np.arange(length),
        np.full(length, ""),
        np.full(length, "A"),
        np.ones((length, 37, 3), np.float32) * mask[..., None],
        mask,
        np.zeros((length, 37)),
    )
    hit = Hit("t_A", np.arange(length)[:, None] * [1, 1], template)
    query = Query("q", (Chain(("A",), "ARNDCQ", templates=(hit, hit, hit)),))
    templates = make_features(query, CONFIG, 0).templates
    assert templates is not None
    assert templates.aatype.tolist() == [list(range(6))] * 2
    without = FeatureConfig(num_msa=4, num_extra_msa=4, num_templates=0)
    assert make_features(query, without, 0).templates is None


def test_a_chain_without_a_known_amino_acid_is_refused() -> None:
    query = Query("q", (Chain(("A",), "MKT"), Chain(("B",), "XXX")))
    with pytest.raises(InputError, match="Chain B of q contains only X: give at least one"):
        check_chains(query, FeatureConfig(4, 4, num_templates=0, pad_templates=True))

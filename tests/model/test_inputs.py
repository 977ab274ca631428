"""Queries of different lengths become one batch; its padding is zero and masked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from foldry.features.config import FeatureConfig
from foldry.features.features import Features
from foldry.features.msa import draw_msa
from foldry.features.pipeline import make_features
from foldry.model.inputs import stack_draws, stack_features
from foldry.query import Alignment, Chain, Query

CONFIG = FeatureConfig(
    num_msa=2, num_extra_msa=3, num_templates=2, pad_templates=True, profile=True, coevolution=True
)


def features(sequence: str, num_rows: int) -> Features:
    rows = [sequence, *(sequence[:number] + "A" + sequence[number + 1 :] for number in range(9))]
    alignment = Alignment.of([f"r{number}" for number in range(num_rows)], rows[:num_rows])
    return make_features(Query("q", (Chain(("A",), sequence, alignment),)), CONFIG, 0)


@pytest.fixture(scope="module")
def pair() -> list[Features]:
    return [features("ACDEFGHIKLMNPQ", 9), features("WYVTSRQPN", 3)]


def test_shorter_queries_are_padded_with_zeros(pair: list[Features]) -> None:
    inputs = stack_features(pair)
    assert inputs.seq_mask.sum(1).tolist() == [14, 9]
    assert inputs.coevolution is not None and inputs.templates is not None
    assert inputs.coevolution.shape == (2, 14, 14, 2)
    assert inputs.templates.atom_positions.shape == (2, 2, 14, 37, 3)
    assert not inputs.coevolution[1, 9:].any() and not inputs.coevolution[1, :, 9:].any()
    alone = stack_features(pair[1:])
    for name in ("aatype", "target_feat", "residue_index", "profile"):
        padded = getattr(inputs, name)
        assert torch.equal(padded[1:, :9], getattr(alone, name))
        assert not padded[1, 9:].any()
    draws = [draw_msa(each, 0) for each in pair]
    stacked, single = stack_draws(draws), stack_draws(draws[1:])
    assert stacked.msa_feat.shape == (2, 2, 14, 49)
    assert stacked.extra_msa.shape == (2, 3, 14)
    assert torch.equal(stacked.msa_feat[1:, : single.msa_feat.shape[1], :9], single.msa_feat)
    assert stacked.extra_msa_mask[1].sum() == single.extra_msa_mask.sum()


def test_the_batch_has_the_sizes_asked_for(pair: list[Features]) -> None:
    inputs = stack_features(pair, sizes={"N": 20})
    assert inputs.aatype.shape == (2, 20)
    draw = stack_draws([draw_msa(pair[1], 0)], sizes={"N": 20, "S": 4, "E": 5})
    assert (draw.msa_feat.shape, draw.extra_msa.shape) == ((1, 4, 20, 49), (1, 5, 20))
    with pytest.raises(ValueError, match="negative"):
        stack_features(pair, sizes={"N": 10})


def test_a_field_of_only_some_queries_is_refused(pair: list[Features]) -> None:
    with pytest.raises(ValueError, match="profile must be present in the whole batch"):
        stack_features([pair[0], replace(pair[1], profile=None)])
    bare = [replace(each, profile=None, templates=None) for each in pair]
    assert stack_features(bare).profile is None and stack_features(bare).templates is None

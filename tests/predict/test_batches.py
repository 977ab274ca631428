"""Features that pass a network together give the predictions that each gives alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
import torch

from foldry.features.features import Features
from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import read_structure
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.predict import stages
from foldry.predict.network import load_model
from foldry.predict.settings import Settings
from foldry.predict.stages import RawPrediction
from foldry.query import Alignment, Chain, Query
from foldry.weights.networks import find_networks
from tests.predict.fake import EXAMPLE
from tests.weights.archive import small

ROWS = parse_a3m((EXAMPLE / "1adz.a3m").read_text()).sequences
LENGTHS = ((0, 30), (12, 43), (30, 63))


@cache
def network(name: str) -> AlphaFold:
    """Return mini, or a small official network with random parameters, none of them zero."""
    if name == "mini":
        [mini] = find_networks(name)
        return load_model(mini, Settings(device="cpu"))
    torch.manual_seed(0)
    model = AlphaFold(small(name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def piece(start: int, end: int, depth: int) -> Chain:
    """A piece of the Kunitz domain with its alignment."""
    rows = [row[start:end] for row in ROWS[:depth]]
    return Chain(("A",), rows[0], Alignment.of([f"row{n}" for n in range(depth)], rows))


def queries(config: ModelConfig, *, templates: bool) -> list[Query]:
    """Queries of different lengths and depths; complexes if the network reads them."""
    found = []
    for number, ends in enumerate(LENGTHS):
        chains = [piece(*ends, 5 + 7 * number)]
        if config.features.share_rows or "multimer" in config.name:
            chains.append(replace(piece(3, 20 + 2 * number, 9), ids=("B",)))
        found.append(Query(f"q{number}", tuple(chains)))
    if templates:
        known = read_structure(EXAMPLE / "1adz.cif")
        found = [stages.with_templates(query, [known] * (n + 1)) for n, query in enumerate(found)]
    return found


def featured(model: AlphaFold, settings: Settings, *, templates: bool = False) -> list[Features]:
    asked = queries(model.config, templates=templates)
    return [
        stages.featurise(query, model.config, seed, settings) for seed, query in enumerate(asked)
    ]


def alone(batch: Sequence[Features], model: AlphaFold, settings: Settings) -> list[RawPrediction]:
    return [stages.infer(each, model, settings, lambda *_: None) for each in batch]


def together(
    batch: Sequence[Features], model: AlphaFold, settings: Settings
) -> list[RawPrediction | ArithmeticError]:
    return stages.infer_batch(batch, model, settings, lambda *_: None)


def assert_alike(
    found: RawPrediction | ArithmeticError, expected: RawPrediction, within: float = 1e-3
) -> None:
    assert isinstance(found, RawPrediction)
    for each in fields(expected):
        ours, theirs = getattr(found, each.name), getattr(expected, each.name)
        if theirs is None:
            assert ours is None
            continue
        assert np.shape(ours) == np.shape(theirs), each.name
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=within, err_msg=each.name)


@pytest.mark.parametrize("name", ["mini", "model_1_ptm", "model_1_multimer_v3"])
@pytest.mark.parametrize("templates", [False, True])
def test_a_batch_gives_the_predictions_of_its_members(name: str, templates: bool) -> None:
    model = network(name)
    settings = Settings(
        num_recycles=1,
        recycle_tolerance=0,
        num_ensemble=2,
        max_msa=(8, 12),
        save_representations=True,
    )
    if name == "mini":
        settings = replace(settings, max_msa=(8, 0))
    batch = featured(model, settings, templates=templates)
    for found, expected in zip(
        together(batch, model, settings), alone(batch, model, settings), strict=True
    ):
        # Medians of the distogram, from which mini starts, amplify rounding.
        assert_alike(found, expected, within=1e-2 if name == "mini" else 1e-3)
        assert expected.num_recycles == 1


def test_each_member_stops_recycling_by_itself() -> None:
    model = network("model_1_ptm")
    for tolerance in np.geomspace(10, 0.01, 30):
        settings = Settings(
            num_recycles=4, recycle_tolerance=float(tolerance), num_ensemble=1, max_msa=(8, 12)
        )
        batch = featured(model, settings)
        expected = alone(batch, model, settings)
        ends = [each.num_recycles for each in expected]
        if len(set(ends)) > 1:
            break
    assert len(set(ends)) > 1
    for found, each in zip(together(batch, model, settings), expected, strict=True):
        assert_alike(found, each)


def test_a_member_that_is_not_finite_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = network("mini"), Settings()
    batch = featured(model, settings)
    expected = alone(batch, model, settings)
    true = stages.confidence

    def broken(logits: object, asym_id: np.ndarray, config: ModelConfig) -> object:
        sure = true(logits, asym_id, config)  # type: ignore[arg-type]
        if len(asym_id) != len(batch[1].aatype):
            return sure
        return replace(sure, plddt=np.full_like(sure.plddt, np.nan))

    monkeypatch.setattr(stages, "confidence", broken)
    first, second, third = together(batch, model, settings)
    assert isinstance(second, ArithmeticError)
    assert_alike(first, expected[0], within=1e-2)
    assert_alike(third, expected[2], within=1e-2)

"""Configurations from files: valid ones are built, others are refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from foldry.model.config import MODELS, ModelConfig, preset

ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 2, 10**7, 2**63, 10**400, 0.5, -0.5, 1e308, float("nan")),
    *(float("inf"), "", "x", "\x1b[2J", "9" * 400, [], ["x"], {}, {"x": 1}),
)


def places(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield the holder, the key there and the full name of every value in a configuration."""
    for name, value in values.items():
        yield values, name, f"{prefix}{name}"
        if isinstance(value, dict):
            yield from places(value, f"{prefix}{name}.")


def test_every_preset_is_read_back() -> None:
    for name in ("mini", *MODELS):
        values = json.loads(json.dumps(preset(name).to_dict()))
        assert ModelConfig.from_dict(values) == preset(name)


def test_odd_values_are_refused_by_name_or_fit_their_type() -> None:
    values = preset("model_1_multimer_v3").to_dict()
    refused = 0
    for holder, key, name in list(places(values)):
        known = holder[key]
        for odd in ODD:
            holder[key] = odd
            try:
                built: Any = ModelConfig.from_dict(values).to_dict()
            except ValueError as error:
                said = str(error)
                assert key in said and said.isprintable() and len(said) < 300, (name, odd)
                refused += 1
            else:
                for part in name.split("."):
                    built = built[part]
                if odd != {}:  # which is valid for a part whose values all have defaults
                    assert built == odd, name
                    assert known is None or odd is None or type(built) is type(known), name
        holder[key] = known
    assert refused > len(ODD) * len(list(places(values))) / 2


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("name", ["mini"], "name must be text, not ['mini']"),
        (
            "evoformer.num_blocks",
            10**7,
            "evoformer.num_blocks must be a whole number from 1 to 200",
        ),
        (
            "evoformer.num_blocks",
            -1,
            "evoformer.num_blocks must be a whole number from 1 to 200, not -1",
        ),
        (
            "heads.num_masked_msa",
            21,
            "heads.num_masked_msa must be a whole number from 22 to 23, not 21",
        ),
        ("heads.max_pae_break", 0, "heads.max_pae_break must be a number from 0.01 to 1000, not 0"),
        ("name", "../x", "name must be 1 to 100 letters, digits, spaces or . + - _, not '../x'"),
        *(("name", name, "name must be") for name in ("", ".x", "/x", "a/b", "a\\b", "a\n", "<i>")),
        *(("name", name, "name must be") for name in ("x" * 101, "a:b", "a\u202eb", "é")),
        (
            "evoformer.num_blocks",
            True,
            "evoformer.num_blocks must be a whole number from 1 to 200, not True",
        ),
        (
            "evoformer.num_blocks",
            6.0,
            "evoformer.num_blocks must be a whole number from 1 to 200, not 6.0",
        ),
        (
            "evoformer.dropout_msa",
            float("nan"),
            "evoformer.dropout_msa must be a number from 0 to 0.99, not nan",
        ),
        ("evoformer.dropout_msa", 1.0, "evoformer.dropout_msa must be a number from 0 to 0.99"),
        ("evoformer", None, "evoformer must be an object with named values, not None"),
        ("evoformer.num_heads_msa", 7, "c_msa (64) must be a multiple of num_heads_msa (7)"),
        ("template.c_pointwise", 31, "c_pointwise (31) must be a multiple of"),
        ("template.max_bin", 1.0, "max_bin must be larger than min_bin"),
        ("template.num_bins", 2, "num_bins must be a whole number from 3 to 65536, not 2"),
        ("structure.initial_frames", "x", "must be one of origin, distogram, not 'x'"),
        ("features.same_probability", 0.9, "must be at most 1 together"),
        ("structure.num_layer", 3, "the configuration has no value 'structure.num_layer'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_allowed_values(name: str, value: Any, said: str) -> None:
    values: Any = preset("mini").to_dict()
    holder = values
    for part in name.split(".")[:-1]:
        holder = holder[part]
    holder[name.rpartition(".")[2]] = value
    with pytest.raises(ValueError) as caught:
        ModelConfig.from_dict(values)
    assert said in str(caught.value)


def test_a_network_with_its_own_name_and_bins_is_read() -> None:
    values = preset("mini").to_dict() | {"name": "my model-2.1+x", "recycle_min_bin": 0}
    values["heads"] |= {"distogram_first_break": 0, "num_pae_bins": 32, "max_pae_break": 15}
    config = ModelConfig.from_dict(values)
    assert config.name == "my model-2.1+x" and config.heads.num_pae_bins == 32


def test_a_value_without_a_default_is_required() -> None:
    values = preset("mini").to_dict()
    del values["evoformer"]["num_blocks"]
    with pytest.raises(ValueError, match=r"lacks evoformer\.num_blocks"):
        ModelConfig.from_dict(values)
    for other in ([], None, "mini", 3):
        with pytest.raises(ValueError, match="must be an object with named values"):
            ModelConfig.from_dict(other)
    with pytest.raises(ValueError, match="no model is called 'model_6'"):
        preset("model_6")


def test_templates_are_embedded_differently_in_complexes() -> None:
    """SI Algorithm 2 for single chains, AlphaFold-Multimer for complexes."""
    single, multimer = preset("model_1_ptm").template, preset("model_1_multimer_v3").template
    assert single is not None and multimer is not None
    for name in ("use_unit_vector", "average", "multiplication_first", "chi_only"):
        assert (getattr(single, name), getattr(multimer, name)) == (False, True), name

"""The table of official names and ours is complete and works without loss."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.model.config import MULTIMER_MODELS, OFFICIAL_MODELS, ModelConfig, preset
from foldry.weights.layout import state_shapes
from foldry.weights.networks import NetworkFile
from foldry.weights.official import (
    from_official,
    official_shapes,
    read_params,
    table,
    to_official,
)
from tests.conftest import parity_root
from tests.weights.archive import npz

NAME_LISTS = sorted((parity_root() / "names").glob("names_*.json"))


@pytest.mark.parity
@pytest.mark.parametrize("path", NAME_LISTS, ids=lambda path: path.stem)
def test_full_name_list_converts_and_converts_back(path: Path) -> None:
    name = path.stem.removeprefix("names_")
    config = preset(name)
    shapes = {key: tuple(shape) for key, shape in json.loads(path.read_text()).items()}
    assert official_shapes(config) == shapes
    rng = np.random.default_rng(0)
    params = {key: rng.random(shape, np.float32) for key, shape in shapes.items()}
    back = to_official(from_official(params, config), config)
    assert set(back) == set(params)
    for key, array in params.items():
        assert back[key].dtype == array.dtype, key
        assert np.array_equal(back[key], array), key


@pytest.mark.parametrize("name", [*OFFICIAL_MODELS, *MULTIMER_MODELS[::5], "mini"])
def test_every_parameter_has_one_official_name(name: str) -> None:
    config = preset(name)
    shapes = state_shapes(config)
    named: dict[str, list[int]] = {}
    for row in chain.from_iterable(table(config).values()):
        for index in range(row.num_blocks):
            ours = row.ours.format(index)
            named.setdefault(ours, []).extend(row.outputs or range(shapes[ours][0]))
    # Statistics of the whole alignment are Foldry's own and off in every official network.
    assert set(named) == {ours for ours in shapes if not ours.startswith("alignment.")}
    for ours, outputs in named.items():
        assert sorted(outputs) == list(range(shapes[ours][0])), ours


def test_presets_of_multimers_are_the_documented_table() -> None:
    for name in MULTIMER_MODELS:
        config, version = preset(name), name.partition("multimer")[2]
        sizes = (508, 2048 if name[6] in "123" else 1152) if version == "_v3" else (252, 1152)
        features = config.features
        assert (features.num_msa, features.num_extra_msa, features.num_templates) == (*sizes, 4)
        assert (config.num_recycles, config.recycle_tolerance) == (20, 0.5)
        assert config.fused_triangles == (version == "_v3")
        assert ModelConfig.from_dict(config.to_dict()) == config


def test_wrong_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^a\.npz does not hold .* model_1 \("):
        from_official({}, preset("model_1"), "a.npz")
    objects = tmp_path / "params_model_1.npz"
    np.savez(objects, a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="cannot be read as parameters"):
        read_params(objects)


def test_a_file_that_is_cut_off_has_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "params_model_1_ptm.npz"
    path.write_bytes(npz({"array": np.zeros(100)}))
    network = NetworkFile("model_1_ptm", path)
    assert network.config() == preset("model_1_ptm")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="cannot be read as parameters"):
        network.config()

"""OpenFold's checkpoints against the official arrays they were made from."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foldry.errors import InputError
from foldry.model.config import preset
from foldry.store.hashes import file_sha256
from foldry.weights.bundled import MINI
from foldry.weights.convert import convert
from foldry.weights.networks import MINI_NOTICE, OWN_NOTICE, find_networks
from foldry.weights.official import from_official, official_shapes, read_params, to_official
from foldry.weights.openfold import from_openfold, read_checkpoint, table
from foldry.weights.read import load_weights
from foldry.weights.state_file import load_config, save
from tests.weights.archive import parameters, small, small_models

__all__ = ["small_models"]

# Where OpenFold keeps each official scope (its import_weights.py); `#` is the block's number.
ROOT = "alphafold/alphafold_iteration/"
SCOPES = {
    "evoformer/preprocess_1d": "input_embedder.linear_tf_m",
    "evoformer/preprocess_msa": "input_embedder.linear_msa_m",
    "evoformer/left_single": "input_embedder.linear_tf_z_i",
    "evoformer/right_single": "input_embedder.linear_tf_z_j",
    "evoformer/prev_pos_linear": "recycling_embedder.linear",
    "evoformer/prev_msa_first_row_norm": "recycling_embedder.layer_norm_m",
    "evoformer/prev_pair_norm": "recycling_embedder.layer_norm_z",
    "evoformer/pair_activiations": "input_embedder.linear_relpos",
    "evoformer/extra_msa_activations": "extra_msa_embedder.linear",
    "evoformer/single_activations": "evoformer.linear",
    "evoformer/template_single_embedding": "template_embedder.template_single_embedder.linear_1",
    "evoformer/template_projection": "template_embedder.template_single_embedder.linear_2",
    "evoformer/template_embedding/attention": "template_embedder.template_pointwise_att.mha",
    "evoformer/template_embedding/single_template_embedding/embedding2d": (
        "template_embedder.template_pair_embedder.linear"
    ),
    "evoformer/template_embedding/single_template_embedding/output_layer_norm": (
        "template_embedder.template_pair_stack.layer_norm"
    ),
    "structure_module/single_layer_norm": "structure_module.layer_norm_s",
    "structure_module/pair_layer_norm": "structure_module.layer_norm_z",
    "structure_module/initial_projection": "structure_module.linear_in",
    "structure_module/fold_iteration/attention_layer_norm": "structure_module.layer_norm_ipa",
    "structure_module/fold_iteration/transition_layer_norm": (
        "structure_module.transition.layer_norm"
    ),
    "structure_module/fold_iteration/affine_update": "structure_module.bb_update.linear",
    "predicted_lddt_head/input_layer_norm": "aux_heads.plddt.layer_norm",
    "predicted_lddt_head/act_0": "aux_heads.plddt.linear_1",
    "predicted_lddt_head/act_1": "aux_heads.plddt.linear_2",
    "predicted_lddt_head/logits": "aux_heads.plddt.linear_3",
    "distogram_head/half_logits": "aux_heads.distogram.linear",
    "experimentally_resolved_head/logits": "aux_heads.experimentally_resolved.linear",
    "masked_msa_head/logits": "aux_heads.masked_msa.linear",
    "predicted_aligned_error_head/logits": "aux_heads.tm.linear",
}
FOLD = {
    "invariant_point_attention": "ipa",
    "invariant_point_attention/q_scalar": "ipa.linear_q",
    "invariant_point_attention/kv_scalar": "ipa.linear_kv",
    "invariant_point_attention/q_point_local": "ipa.linear_q_points.linear",
    "invariant_point_attention/kv_point_local": "ipa.linear_kv_points.linear",
    "invariant_point_attention/attention_2d": "ipa.linear_b",
    "invariant_point_attention/output_projection": "ipa.linear_out",
    "transition": "transition.layers.0.linear_1",
    "transition_1": "transition.layers.0.linear_2",
    "transition_2": "transition.layers.0.linear_3",
    "rigid_sidechain/input_projection": "angle_resnet.linear_in",
    "rigid_sidechain/input_projection_1": "angle_resnet.linear_initial",
    "rigid_sidechain/resblock1": "angle_resnet.layers.0.linear_1",
    "rigid_sidechain/resblock2": "angle_resnet.layers.0.linear_2",
    "rigid_sidechain/resblock1_1": "angle_resnet.layers.1.linear_1",
    "rigid_sidechain/resblock2_1": "angle_resnet.layers.1.linear_2",
    "rigid_sidechain/unnormalized_angles": "angle_resnet.linear_out",
}
STACKS = {
    "evoformer/evoformer_iteration/": "evoformer.blocks.#.",
    "evoformer/extra_msa_stack/": "extra_msa_stack.blocks.#.",
    "evoformer/template_embedding/single_template_embedding/template_pair_stack/"
    "__layer_stack_no_state/": "template_embedder.template_pair_stack.blocks.#.",
}
BLOCK = {
    "msa_row_attention_with_pair_bias": "msa_att_row.linear_z",
    "msa_row_attention_with_pair_bias/query_norm": "msa_att_row.layer_norm_m",
    "msa_row_attention_with_pair_bias/feat_2d_norm": "msa_att_row.layer_norm_z",
    "msa_row_attention_with_pair_bias/attention": "msa_att_row.mha",
    "msa_column_attention/query_norm": "msa_att_col._msa_att.layer_norm_m",
    "msa_column_attention/attention": "msa_att_col._msa_att.mha",
    "msa_column_global_attention/query_norm": "msa_att_col.layer_norm_m",
    "msa_column_global_attention/attention": "msa_att_col.global_attention",
    "msa_transition/input_layer_norm": "msa_transition.layer_norm",
    "msa_transition/transition1": "msa_transition.linear_1",
    "msa_transition/transition2": "msa_transition.linear_2",
    "outer_product_mean": "outer_product_mean.linear_out",
    "outer_product_mean/layer_norm_input": "outer_product_mean.layer_norm",
    "outer_product_mean/left_projection": "outer_product_mean.linear_1",
    "outer_product_mean/right_projection": "outer_product_mean.linear_2",
}
PAIR_BLOCK = {
    "pair_transition/input_layer_norm": "pair_transition.layer_norm",
    "pair_transition/transition1": "pair_transition.linear_1",
    "pair_transition/transition2": "pair_transition.linear_2",
}
for _node in ("start", "end"):
    _scope = f"triangle_attention_{_node}ing_node"
    PAIR_BLOCK[_scope] = f"tri_att_{_node}.linear"
    PAIR_BLOCK[f"{_scope}/query_norm"] = f"tri_att_{_node}.layer_norm"
    PAIR_BLOCK[f"{_scope}/attention"] = f"tri_att_{_node}.mha"
for _scope, _theirs, _left, _right in (
    ("triangle_multiplication_outgoing", "tri_mul_out", "a", "b"),
    ("triangle_multiplication_incoming", "tri_mul_in", "b", "a"),
):
    PAIR_BLOCK |= {
        f"{_scope}/layer_norm_input": f"{_theirs}.layer_norm_in",
        f"{_scope}/left_projection": f"{_theirs}.linear_{_left}_p",
        f"{_scope}/right_projection": f"{_theirs}.linear_{_right}_p",
        f"{_scope}/left_gate": f"{_theirs}.linear_{_left}_g",
        f"{_scope}/right_gate": f"{_theirs}.linear_{_right}_g",
        f"{_scope}/center_layer_norm": f"{_theirs}.layer_norm_out",
        f"{_scope}/output_projection": f"{_theirs}.linear_z",
        f"{_scope}/gating_linear": f"{_theirs}.linear_g",
    }
SUFFIXES = {
    "weights": ".weight",
    "bias": ".bias",
    "scale": ".weight",
    "offset": ".bias",
    "feat_2d_weights": ".weight",
    "trainable_point_weights": ".head_weights",
    "gating_w": ".linear_g.weight",
    "gating_b": ".linear_g.bias",
    "query_w": ".linear_q.weight",
    "key_w": ".linear_k.weight",
    "value_w": ".linear_v.weight",
    "output_w": ".linear_o.weight",
    "output_b": ".linear_o.bias",
}


def module(scope: str) -> str:
    """Return OpenFold's module for an official scope."""
    if scope in SCOPES:
        return SCOPES[scope]
    if scope.removeprefix("structure_module/fold_iteration/") in FOLD:
        return f"structure_module.{FOLD[scope.removeprefix('structure_module/fold_iteration/')]}"
    stack = next(prefix for prefix in STACKS if scope.startswith(prefix))
    inner = scope.removeprefix(stack)
    if inner in BLOCK:
        return STACKS[stack] + BLOCK[inner]
    return STACKS[stack] + ("" if "template" in stack else "pair_stack.") + PAIR_BLOCK[inner]


def openfold_arrays(params: dict[str, np.ndarray]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield OpenFold's arrays, made of the official ones as OpenFold imports them."""
    for key, array in params.items():
        scope, _, leaf = key.removeprefix(ROOT).partition("//")
        name = module(scope)
        suffix = SUFFIXES[leaf]
        if "outer_product_mean" in name and leaf.startswith("output_"):
            suffix = suffix.removeprefix(".linear_o")
        for index, block in enumerate(array if "#" in name else [array]):
            values = block
            if leaf in ("weights", "feat_2d_weights"):
                values = block.T
            elif leaf in ("query_w", "key_w", "value_w", "gating_w"):
                values = block.reshape(block.shape[0], -1).T
            elif leaf == "output_w":
                values = block.reshape(-1, block.shape[-1]).T
            elif leaf == "gating_b":
                values = block.reshape(-1)
            yield name.replace("#", str(index)) + suffix, torch.tensor(values)


def earlier(name: str) -> str:
    """Return the OpenFold 1 name of an array of OpenFold 2."""
    name = name.replace("template_embedder.", "").replace(
        "template_single_embedder", "template_angle_embedder"
    )
    inner = r"(blocks\.\d+\.)(pair_stack\.|(?=msa_transition|outer_product_mean))"
    return re.sub(inner, r"\1core.", name).replace("_points.linear.", "_points.")


@pytest.mark.parametrize("model", ["model_1", "model_1_ptm", "model_3", "model_3_ptm"])
def test_the_numbers_are_the_official_ones(model: str, tmp_path: Path) -> None:
    params, config = parameters(model), small(model)
    expected = from_official(params, config)
    theirs = dict(openfold_arrays(params))
    assert sorted(table(config).values()) == sorted(theirs)
    old = {earlier(name): tensor for name, tensor in theirs.items()}
    assert len(set(old) - set(theirs)) > len(theirs) // 3
    files: dict[str, dict[str, Any]] = {
        "plain.pt": theirs,
        "averaged.pt": {"ema": {"params": theirs, "decay": 0.999}, "global_step": 3},
        "wrapped.pt": {f"module.model.{name}": tensor for name, tensor in theirs.items()},
        "old.pt": old,
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
        state = from_openfold(read_checkpoint(tmp_path / name), config)
        assert set(state) == set(expected)
        for key, tensor in expected.items():
            assert torch.equal(state[key], tensor), (name, key)


@pytest.mark.parametrize("model", ["model_1_ptm", "model_3"])
def test_the_table_covers_the_full_size_networks(model: str) -> None:
    config = preset(model)
    expected = set()
    for official, shape in official_shapes(config).items():
        name = module(official.removeprefix(ROOT).partition("//")[0])
        expected |= {name.replace("#", str(index)) for index in range(shape[0])}
    found = {name.rpartition(".")[0] for name in table(config).values()}
    attention = r"\.linear_[qkvgo]$"
    assert {re.sub(attention, "", name) for name in found} == {
        re.sub(attention, "", name) for name in expected
    }


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize("model", ["model_1_ptm", "model_3"])
def test_from_openfold_to_ours_to_official(model: str, tmp_path: Path) -> None:
    params = parameters(model)
    source, ours, official = (tmp_path / name for name in ("a.pt", "b.safetensors", "c.npz"))
    torch.save(dict(openfold_arrays(params)), source)
    first = convert(source, ours)
    assert (first.config.name, first.named, first.unread) == (model, False, ())
    assert convert(ours, official).named
    back = read_params(official)
    assert sorted(back) == sorted(params)
    assert all(np.array_equal(back[name], array) for name, array in params.items())
    assert to_official(load_weights(ours).state, small(model)).keys() == params.keys()
    assert load_weights(source, "model_5" if model == "model_3" else "model_2_ptm").named


def broken(change: str) -> Any:
    arrays = dict(openfold_arrays(parameters("model_3")))
    name = "evoformer.linear.weight"
    if change == "missing":
        del arrays[name]
    elif change == "shape":
        arrays[name] = arrays[name][:-1]
    elif change == "nan":
        arrays[name] = arrays[name] * float("nan")
    elif change == "sparse":
        arrays[name] = arrays[name].to_sparse()
    elif change == "nested":
        with warnings.catch_warnings(action="ignore"):  # they are a prototype
            arrays[name] = torch.nested.nested_tensor([arrays[name]])
    elif change == "meta":
        arrays[name] = arrays[name].to("meta")
    elif change == "integers":
        arrays[name] = arrays[name].int()
    return arrays


class Runs:
    """Code that an unsafe reader would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("ran").touch, ())


HOSTILE = {
    "code": (lambda: {"weight": Runs()}, "cannot be read as an OpenFold checkpoint"),
    "list": (lambda: [1, 2], "is not an OpenFold checkpoint"),
    "empty": (lambda: {}, "is not an OpenFold checkpoint"),
    "numbers": (lambda: {"a": 1}, "is not an OpenFold checkpoint"),
    "lightning": (lambda: {"state_dict": {}, "ema": 3}, "is not an OpenFold checkpoint"),
    "other network": (
        lambda: {"weight": torch.zeros(2)},
        "a.pt does not hold the parameters of model_",
    ),
    "missing": (lambda: broken("missing"), "1 of "),
    "shape": (lambda: broken("shape"), "has shape (11, 8) and not (12, 8)"),
    "not finite": (lambda: broken("nan"), "not finite"),
    "sparse": (lambda: broken("sparse"), "is not an OpenFold checkpoint"),
    "meta": (lambda: broken("meta"), "OpenFold checkpoint"),
    "nested": (lambda: broken("nested"), "is not an OpenFold checkpoint"),
    "integers": (lambda: broken("integers"), "is not an OpenFold checkpoint"),
}


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_checkpoint_gets_one_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, sentence = HOSTILE[case]
    torch.save(make(), "a.pt")
    with pytest.raises(InputError) as caught:
        load_weights(Path("a.pt"))
    assert sentence in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000
    assert not Path("ran").exists()


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02.", b"text\n" * 100])
def test_a_damaged_checkpoint_gets_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as an OpenFold checkpoint"):
        load_weights(path)


def test_a_network_that_is_not_official_has_no_official_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an official model"):
        convert(MINI, tmp_path / "mini.npz")
    assert list(tmp_path.iterdir()) == []
    state = load_weights(MINI).state
    save(tmp_path / "a.safetensors", state, replace(preset("mini"), name="model_1_ptm"))
    with pytest.raises(InputError, match="cannot hold this model_1_ptm"):
        convert(tmp_path / "a.safetensors", tmp_path / "model_1_ptm.npz")


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "mini.safetensors"
    target.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists: delete it first"):
        convert(MINI, target)
    assert target.read_bytes() == b"mine"


def test_number_types_are_named_as_numpy_names_them() -> None:
    assert load_weights(MINI).dtypes == ("float32",)


def test_notes_of_a_converted_file_name_it_unless_it_names_a_first_source(tmp_path: Path) -> None:
    weights = load_weights(MINI)
    for name, notes, source in (
        ("first", {"licence": "CC0 1.0"}, "first.safetensors"),
        ("second", {"source": "params_x.pt", "source_sha256": "0"}, "params_x.pt"),
    ):
        path, copy = tmp_path / f"{name}.safetensors", tmp_path / f"{name}_copy.safetensors"
        save(path, weights.state, weights.config, notes)
        convert(path, copy)
        found = load_config(copy)[1]
        assert found == {"source": source, "source_sha256": file_sha256(path), **notes}


def test_a_network_trained_from_mini_has_another_notice(tmp_path: Path) -> None:
    [mini] = find_networks(str(MINI))
    weights = load_weights(MINI)
    own = tmp_path / "own.safetensors"
    first = next(iter(weights.state))
    save(own, {**weights.state, first: weights.state[first] + 1}, weights.config)
    convert(MINI, tmp_path / "copy.safetensors")
    [other], [copy] = (find_networks(str(path)) for path in (own, tmp_path / "copy.safetensors"))
    assert (mini.notice, other.notice) == (MINI_NOTICE, OWN_NOTICE)
    assert (mini.licence, other.licence, copy.licence) == ("", "not stated", "")
    assert copy.notice == MINI_NOTICE and copy.sha256() != mini.sha256()

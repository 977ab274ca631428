"""The whole network: chunks, padding and dtype change nothing except for rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foldry.features.msa import draw_msa
from foldry.features.pipeline import make_features
from foldry.features.templates import template_features_of_atoms
from foldry.kernels.choose import Kernels
from foldry.model.alphafold import AlphaFold, Pass
from foldry.model.config import ModelConfig, preset
from foldry.model.inputs import (
    Inputs,
    MSAInputs,
    TemplateInputs,
    stack_draws,
    stack_features,
)
from foldry.model.runtime import Runtime
from foldry.query import Alignment, Chain, Query
from foldry.residues import GAP
from tests.kernels.cases import both_kernels

LENGTH = 19
NUM_ROWS = 9


def tiny(name: str = "model_1_ptm") -> ModelConfig:
    """Return an official network with one narrow block in each stack."""
    config = preset(name)
    assert config.extra is not None and config.template is not None
    narrow = {"num_blocks": 1, "num_heads_msa": 2, "c_outer": 3, "c_triangle": 6}
    return replace(
        config,
        features=replace(config.features, num_msa=5),
        evoformer=replace(config.evoformer, c_msa=16, **narrow),
        extra=replace(config.extra, c_msa=8, **narrow),
        template=replace(config.template, num_blocks=1, c_template=8, c_attention=8),
        structure=replace(config.structure, num_layers=2, c=16, num_heads=2),
        c_pair=16,
        c_single=12,
    )


def network(runtime: Runtime, config: ModelConfig | None = None) -> AlphaFold:
    """Return the tiny network with random parameters, none of them zero."""
    torch.manual_seed(0)
    model = AlphaFold(config or tiny(), runtime)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape).to(parameter.dtype)
    return model.eval()


@pytest.fixture(scope="module")
def fed() -> tuple[Inputs, MSAInputs]:
    """A chain with an alignment and two templates that lack half of their atoms."""
    rng = np.random.default_rng(0)
    rows = ["".join(row) for row in rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), (NUM_ROWS, LENGTH))]
    headers = tuple(map(str, range(NUM_ROWS)))
    alignment = Alignment.of(headers, rows)
    query = Query("q", (Chain(("A",), rows[0], alignment),))
    features = make_features(query, tiny().features, 0)
    mask = (rng.random((2, LENGTH, 37)) > 0.5).astype(np.float32)
    positions = (10 * rng.normal(size=(2, LENGTH, 37, 3))).astype(np.float32) * mask[..., None]
    templates = template_features_of_atoms(rng.integers(0, GAP + 1, (2, LENGTH)), positions, mask)
    inputs = stack_features([replace(features, templates=templates)])
    return inputs, stack_draws([draw_msa(features, 0)])


def two_passes(model: AlphaFold, inputs: Inputs, draw: MSAInputs) -> Pass:
    with torch.inference_mode():
        first: Pass = model(inputs, [draw], model.first_recycled(inputs))
        second: Pass = model(inputs, [draw], first.recycled())
    return second


def assert_same(ours: Pass, theirs: Pass) -> None:
    pair = theirs.representations.pair
    torch.testing.assert_close(ours.representations.pair, pair, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.atom37, theirs.atom37, rtol=0, atol=1e-3)


@both_kernels
@pytest.mark.parametrize("chunk_size", [1, 150, 2000])
def test_chunks_change_nothing(
    fed: tuple[Inputs, MSAInputs], kernels: Kernels, chunk_size: int
) -> None:
    whole = two_passes(network(Runtime(chunk_size=10**9)), *fed)
    chunked = two_passes(network(Runtime(kernels=kernels, chunk_size=chunk_size)), *fed)
    assert_same(chunked, whole)


@both_kernels
def test_a_pass_changes_none_of_its_inputs(fed: tuple[Inputs, MSAInputs], kernels: Kernels) -> None:
    """Kernels write into their first argument; the next draw and the next pass read the inputs."""
    inputs, draw = fed
    model = network(Runtime(kernels=kernels))
    with torch.inference_mode():
        recycled = model(inputs, [draw], model.first_recycled(inputs)).recycled()
        given = (inputs, inputs.templates, draw, recycled)
        arrays = [each for part in given for each in vars(part).values() if torch.is_tensor(each)]
        before = [array.clone() for array in arrays]
        model(inputs, [draw, draw], recycled)
    assert all(map(torch.equal, arrays, before))


@both_kernels
def test_masked_rows_change_nothing(fed: tuple[Inputs, MSAInputs], kernels: Kernels) -> None:
    """The official program pads alignments with masked rows; Foldry does not."""
    inputs, draw = fed

    def padded(array: torch.Tensor) -> torch.Tensor:
        return torch.cat([array, torch.zeros_like(array)], dim=1)

    model = network(Runtime(kernels=kernels))
    longer = MSAInputs(**{name: padded(array) for name, array in vars(draw).items()})
    assert_same(two_passes(model, inputs, longer), two_passes(model, inputs, draw))


def longer(array: torch.Tensor) -> torch.Tensor:
    """Return the array with four residues of zeros at the end of every axis of residues."""
    for axis, size in enumerate(array.shape):
        if size == LENGTH:
            shape = [4 if each == axis else array.shape[each] for each in range(array.dim())]
            array = torch.cat([array, array.new_zeros(shape)], dim=axis)
    return array


@both_kernels
def test_padding_residues_change_nothing(fed: tuple[Inputs, MSAInputs], kernels: Kernels) -> None:
    inputs, draw = fed
    arrays = {name: array for name, array in vars(inputs).items() if array is not None}
    templates = vars(arrays.pop("templates"))
    padded = Inputs(
        **{name: longer(array) for name, array in arrays.items()},
        templates=TemplateInputs(**{name: longer(array) for name, array in templates.items()}),
    )
    padded_draw = MSAInputs(**{name: longer(array) for name, array in vars(draw).items()})
    model = network(Runtime(kernels=kernels))
    plain, other = two_passes(model, inputs, draw), two_passes(model, padded, padded_draw)
    pair = other.representations.pair[:, :LENGTH, :LENGTH]
    torch.testing.assert_close(pair, plain.representations.pair, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.atom37[:, :LENGTH], plain.atom37, rtol=0, atol=1e-3)


@both_kernels
def test_absent_extra_rows_equal_masked_extra_rows(
    fed: tuple[Inputs, MSAInputs], kernels: Kernels
) -> None:
    inputs, draw = fed
    extra = {name: array for name, array in vars(draw).items() if name.startswith("extra")}
    none = replace(draw, **{name: array[:, :0] for name, array in extra.items()})
    masked = replace(draw, **{name: torch.zeros_like(array) for name, array in extra.items()})
    model = network(Runtime(kernels=kernels))
    assert_same(two_passes(model, inputs, none), two_passes(model, inputs, masked))


@both_kernels
def test_only_embedders_and_evoformer_run_in_bfloat16(
    fed: tuple[Inputs, MSAInputs], kernels: Kernels
) -> None:
    exact = two_passes(network(Runtime()), *fed)
    model = network(Runtime(dtype=torch.bfloat16, kernels=kernels))
    rough = two_passes(model, *fed)
    for name, array in vars(rough.representations).items():
        assert array.dtype == torch.bfloat16, name
    with torch.inference_mode():
        logits = vars(model.predict_heads(rough)).values()
    for array in (*logits, rough.atom37, rough.structure.single, rough.structure.sin_cos):
        assert array.dtype == torch.float32
    true = exact.representations.pair
    assert (rough.representations.pair - true).norm() < 0.05 * true.norm()


@both_kernels
def test_order_and_numbering_of_chains_change_nothing(kernels: Kernels) -> None:
    """The order of two different chains, and shifted residue numbers in one, have no effect."""
    config = tiny("model_1_multimer_v3")
    chains = (Chain(("A",), "MKTAYIAKQR"), Chain(("B",), "GSHEDLLNWC"))
    features = make_features(Query("q", chains), config.features, 0)
    rng = np.random.default_rng(0)
    atoms = (5 * rng.normal(size=(4, 20, 37, 3))).astype(np.float32)
    mask = np.ones(atoms.shape[:3], np.float32)
    templates = template_features_of_atoms(rng.integers(0, 20, (4, 20)), atoms, mask)
    inputs = stack_features([replace(features, templates=templates)])
    draw = stack_draws([draw_msa(features, 0)])
    model = network(Runtime(kernels=kernels), config)
    plain = two_passes(model, inputs, draw)

    moved = inputs.residue_index + 50 * (inputs.asym_id == 2)
    assert_same(two_passes(model, replace(inputs, residue_index=moved), draw), plain)
    together = replace(inputs, asym_id=torch.ones_like(inputs.asym_id))
    assert (two_passes(model, together, draw).atom37 - plain.atom37).abs().max() > 1e-2

    order = torch.cat([torch.arange(10, 20), torch.arange(10)])
    assert inputs.templates is not None
    turned_templates = TemplateInputs(
        **{
            name: array if name == "mask" else array[:, :, order]
            for name, array in vars(inputs.templates).items()
        }
    )
    turned_inputs = Inputs(
        **{
            name: array[:, order]
            for name, array in vars(inputs).items()
            if name != "templates" and array is not None
        },
        templates=turned_templates,
    )
    turned_draw = MSAInputs(**{name: array[:, :, order] for name, array in vars(draw).items()})
    turned = two_passes(model, turned_inputs, turned_draw)
    pair = turned.representations.pair[:, order][:, :, order]
    torch.testing.assert_close(pair, plain.representations.pair, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(turned.atom37[:, order], plain.atom37, rtol=0, atol=1e-3)

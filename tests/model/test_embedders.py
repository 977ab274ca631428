"""Embedders: relative positions by their definition, templates, statistics of an alignment."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.features.templates import template_features_of_atoms
from foldry.model.config import TemplateConfig, preset
from foldry.model.embedders import (
    AlignmentEmbedder,
    InputEmbedder,
    SummedLinear,
    TemplateEmbedder,
    TemplatePointwiseAttention,
    TemplateTorsionEmbedder,
    distance_bins,
    pseudo_beta,
)
from foldry.model.inputs import Inputs, TemplateInputs, stack_templates
from foldry.model.runtime import Runtime
from foldry.residues import CA, CB, RESTYPES

MULTIMER = preset("model_1_multimer_v3")


def complex_inputs(rng: np.random.Generator, length: int) -> Inputs:
    """Return residues of random chains, with long gaps in their numbering."""

    def drawn(low: int, high: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(low, high, (1, length)))

    ones = torch.ones(1, length)
    return Inputs(
        aatype=drawn(0, 20),
        target_feat=torch.zeros(1, length, 22),
        residue_index=drawn(0, 90),
        asym_id=drawn(1, 4),
        entity_id=drawn(1, 3),
        sym_id=drawn(1, 7),
        seq_mask=ones,
        templates=None,
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_relative_positions_by_their_definition(seed: int) -> None:
    """Evans 2021, relative positional encoding, one pair at a time."""
    torch.manual_seed(seed)
    inputs = complex_inputs(np.random.default_rng(seed), 6)
    embedder = InputEmbedder(MULTIMER, Runtime())
    ours = embedder.relative_positions(inputs, torch.arange(6))[0]
    index, asym, entity, sym = (
        getattr(inputs, name)[0].tolist()
        for name in ("residue_index", "asym_id", "entity_id", "sym_id")
    )
    for i in range(6):
        for j in range(6):
            one_hot = torch.zeros(66 + 1 + 6)
            offset = min(max(index[i] - index[j], -32), 32) + 32
            one_hot[offset if asym[i] == asym[j] else 65] = 1
            one_hot[66] = entity[i] == entity[j]
            copy = min(max(sym[i] - sym[j], -2), 2) + 2
            one_hot[67 + (copy if entity[i] == entity[j] else 5)] = 1
            theirs = embedder.relative_position(one_hot)
            torch.testing.assert_close(ours[i, j], theirs, rtol=0, atol=1e-6)


def test_networks_of_single_chains_read_residue_offsets_only() -> None:
    embedder = InputEmbedder(preset("model_1"), Runtime())
    inputs = complex_inputs(np.random.default_rng(0), 6)
    ours = embedder.relative_positions(inputs, torch.arange(6))[0]
    index = inputs.residue_index[0]
    one_hot = torch.eye(65)[(index[:, None] - index).clamp(-32, 32) + 32]
    torch.testing.assert_close(ours, embedder.relative_position(one_hot), rtol=0, atol=1e-6)


def test_summed_linear_is_the_sum_of_its_maps() -> None:
    torch.manual_seed(0)
    linear = SummedLinear((3, 1, 2), 4)
    for parameter in linear.parameters():
        parameter.data = torch.randn(parameter.shape)
    x = torch.randn(5, 6)
    parts = zip(linear.parts, x.split([3, 1, 2], dim=-1), strict=True)
    torch.testing.assert_close(linear(x), sum(part(group) for part, group in parts))


@pytest.fixture(scope="module")
def template() -> TemplateInputs:
    """One template of seven residues with all atoms."""
    rng = np.random.default_rng(0)
    atoms = (5 * rng.normal(size=(1, 7, 37, 3))).astype(np.float32)
    mask = np.ones((1, 7, 37), np.float32)
    return stack_templates([template_features_of_atoms(rng.integers(0, 20, (1, 7)), atoms, mask)])


def test_a_template_has_no_geometry_between_chains(template: TemplateInputs) -> None:
    config = MULTIMER.template
    assert config is not None
    embedder = TemplateEmbedder(config, 16, Runtime())
    chain = torch.tensor([[1, 1, 1, 1, 2, 2, 2]])
    same_chain = chain[:, :, None] == chain[:, None]
    together = embedder.pair_features(template, 0, torch.ones_like(same_chain), torch.arange(7))
    apart = embedder.pair_features(template, 0, same_chain, torch.arange(7))
    torch.testing.assert_close(apart[same_chain], together[same_chain], rtol=0, atol=0)
    letters = torch.zeros(apart.shape[-1], dtype=torch.bool)
    letters[config.num_bins + 1 : config.num_bins + 1 + 44] = True
    torch.testing.assert_close(apart[..., letters], together[..., letters], rtol=0, atol=0)
    assert not apart[~same_chain][:, ~letters].any()
    assert together[~same_chain][:, ~letters].any(dim=1).all()


def test_the_mean_counts_templates_without_atoms(template: TemplateInputs) -> None:
    config = TemplateConfig(average=True, multiplication_first=True, c_template=8, c_attention=8)
    torch.manual_seed(0)
    embedder = TemplateEmbedder(config, 16, Runtime()).eval()
    for parameter in embedder.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    mask, same_chain = torch.ones(1, 7, 7), torch.ones(1, 7, 7, dtype=torch.bool)
    pair = torch.randn(1, 7, 7, 16)
    empty = {name: torch.zeros_like(array) for name, array in vars(template).items()}

    def embedded(*templates: dict[str, torch.Tensor]) -> torch.Tensor:
        joined = {name: torch.cat([each[name] for each in templates], 1) for name in empty}
        total = [
            embedder.embed(
                pair,
                mask,
                partial(embedder.pair_features, TemplateInputs(**each), 0, same_chain),
            )
            for each in templates
        ]
        mean = torch.stack(total).mean(0)
        ours: torch.Tensor = embedder(pair.clone(), mask, TemplateInputs(**joined), same_chain)
        torch.testing.assert_close(ours, pair + embedder.output(torch.relu(mean)))
        return ours

    with torch.no_grad():
        alone, padded = embedded(vars(template)), embedded(vars(template), empty, empty, empty)
    assert (alone - padded).abs().max() > 1e-3


def test_absent_templates_have_no_effect(template: TemplateInputs) -> None:
    """The softmax over no templates is not 0, so the update must be."""
    torch.manual_seed(0)
    embedder = TemplateEmbedder(TemplateConfig(c_template=8, c_attention=8), 16, Runtime()).eval()
    for parameter in embedder.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    same_chain = torch.ones(1, 7, 7, dtype=torch.bool)
    pair, mask = torch.randn(1, 7, 7, 16), torch.ones(1, 7, 7)
    with torch.no_grad():
        absent = replace(template, mask=torch.zeros_like(template.mask))
        assert torch.equal(embedder(pair.clone(), mask, absent, same_chain), pair)
        assert not torch.equal(embedder(pair.clone(), mask, template, same_chain), pair)


@pytest.mark.parametrize("chunk_size", [1, 10**9])
def test_pointwise_attention_by_its_definition(chunk_size: int) -> None:
    """Algorithm 17, one pair and one head at a time, over the templates that exist."""
    length, num_templates, heads = 3, 4, 2
    config = TemplateConfig(c_template=6, c_pointwise=8, num_heads_pointwise=heads)
    torch.manual_seed(0)
    module = TemplatePointwiseAttention(config, 5, Runtime(chunk_size=chunk_size))
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape)
    pair = torch.randn(2, length, length, 5)
    templates = torch.randn(2, num_templates, length, length, 6)
    mask = torch.tensor([[1.0, 0, 1, 1], [0, 0, 1, 0]])
    with torch.no_grad():
        ours = module(pair.clone(), list(templates.unbind(1)), mask) - pair
        for b, i, j in np.ndindex(2, length, length):
            at_pair = templates[b, mask[b] == 1, i, j]
            query = module.query(pair[b, i, j]).chunk(heads)
            key, value = (maps(at_pair).chunk(heads, -1) for maps in (module.key, module.value))
            shares = [(k @ q / 2).softmax(0) for q, k in zip(query, key, strict=True)]
            outs = [share @ v for share, v in zip(shares, value, strict=True)]
            torch.testing.assert_close(
                ours[b, i, j], module.output(torch.cat(outs)), rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize(("chi_only", "deciding"), [(False, 2), (True, 3)])
def test_psi_or_chi1_decides_which_residues_have_torsions(
    template: TemplateInputs, chi_only: bool, deciding: int
) -> None:
    embedder = TemplateTorsionEmbedder(TemplateConfig(chi_only=chi_only), 8)
    mask = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (1, 1, 7, 7))).float()
    rows, takes_part = embedder(replace(template, torsion_mask=mask))
    assert rows.shape == (1, 1, 7, 8)
    assert torch.equal(takes_part, mask[..., deciding])


def test_distance_bins_are_open_above_and_empty_below() -> None:
    positions = torch.tensor([[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [900, 0, 0]])
    bins = distance_bins(positions, positions, 2.0, 6.0, 3)
    assert bins[0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_pseudo_beta_is_c_alpha_of_glycine_alone() -> None:
    atoms = torch.randn(20, 37, 3)
    slots = [CA if letter == "G" else CB for letter in RESTYPES]
    assert torch.equal(pseudo_beta(atoms, torch.arange(20)), atoms[torch.arange(20), slots])


def test_statistics_of_the_alignment_have_no_effect_until_they_are_trained() -> None:
    config = preset("mini")
    config = replace(config, features=replace(config.features, profile=True, coevolution=True))
    embedder = AlignmentEmbedder(config)
    rng = np.random.default_rng(0)
    inputs = replace(
        complex_inputs(rng, 5),
        profile=torch.from_numpy(rng.random((1, 5, 22), np.float32)),
        coevolution=torch.from_numpy(rng.random((1, 5, 5, 2), np.float32)),
    )
    msa, pair = torch.randn(1, 3, 5, 64), torch.randn(1, 5, 5, 64)
    for ours, before in zip(embedder(msa, pair, inputs), (msa, pair), strict=True):
        assert torch.equal(ours, before)
    torch.nn.init.ones_(embedder.profile.weight)
    torch.nn.init.ones_(embedder.coevolution.weight)
    new_msa, new_pair = embedder(msa, pair, inputs)
    assert torch.equal(new_msa[:, 1:], msa[:, 1:])
    assert inputs.profile is not None and inputs.coevolution is not None
    of_row = inputs.profile.sum(-1, keepdim=True).expand(-1, -1, 64)
    torch.testing.assert_close(new_msa[:, 0] - msa[:, 0], of_row)
    of_pair = inputs.coevolution.sum(-1, keepdim=True).expand(-1, -1, -1, 64)
    torch.testing.assert_close(new_pair - pair, of_pair)


def test_official_networks_do_not_read_statistics_of_the_alignment() -> None:
    assert not list(AlignmentEmbedder(MULTIMER).parameters())

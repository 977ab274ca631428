"""Evoformer modules: masked places have no effect, and updates follow their definitions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from foldry.model.evoformer import (
    MSAColumnAttention,
    MSAColumnGlobalAttention,
    MSARowAttention,
    OuterProductMean,
    TriangleAttention,
    TriangleMultiplication,
)
from foldry.model.runtime import Runtime

CHANNELS, PAIR_CHANNELS, HEADS, ROWS, LENGTH = 8, 6, 2, 7, 5
MSA_MODULES: dict[str, Callable[[], nn.Module]] = {
    "row attention": lambda: MSARowAttention(CHANNELS, PAIR_CHANNELS, HEADS, Runtime()),
    "column attention": lambda: MSAColumnAttention(CHANNELS, HEADS, Runtime()),
    "global column attention": lambda: MSAColumnGlobalAttention(CHANNELS, HEADS),
    "outer product mean": lambda: OuterProductMean(CHANNELS, 3, PAIR_CHANNELS, Runtime()),
}
PAIR_MODULES: dict[str, Callable[[], nn.Module]] = {
    "multiplication, outgoing": lambda: TriangleMultiplication(
        PAIR_CHANNELS, 4, Runtime(), outgoing=True
    ),
    "multiplication, incoming": lambda: TriangleMultiplication(
        PAIR_CHANNELS, 4, Runtime(), outgoing=False
    ),
    "attention, starting": lambda: TriangleAttention(
        PAIR_CHANNELS, PAIR_CHANNELS, HEADS, Runtime(), starting=True
    ),
    "attention, ending": lambda: TriangleAttention(
        PAIR_CHANNELS, PAIR_CHANNELS, HEADS, Runtime(), starting=False
    ),
}


def drawn(make: Callable[[], nn.Module]) -> nn.Module:
    """Return the module with random parameters, none of them zero."""
    torch.manual_seed(0)
    module = make().eval()
    for parameter in module.parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape)
    return module


def update(module: nn.Module, msa: Tensor, mask: Tensor) -> Tensor:
    """Return the update from an MSA, with the same pair representation each time."""
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS, generator=torch.Generator().manual_seed(1))
    arguments = (msa, pair, mask) if isinstance(module, MSARowAttention) else (msa, mask)
    with torch.no_grad():
        result: Tensor = module(*arguments)
    return result


@pytest.mark.parametrize("name", MSA_MODULES)
def test_masked_places_of_an_msa_have_no_effect(name: str) -> None:
    """Each column has different masked sequences, as in a complex with unpaired chains."""
    module = drawn(MSA_MODULES[name])
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    mask = (torch.rand(1, ROWS, LENGTH) > 0.4).float()
    mask[:, 0] = 1
    other = torch.where(mask[..., None] == 1, msa, 3 * torch.randn(msa.shape))
    ours, theirs = update(module, msa, mask), update(module, other, mask)
    if ours.shape == msa.shape:
        ours, theirs = ours * mask[..., None], theirs * mask[..., None]
    torch.testing.assert_close(ours, theirs)
    unmasked = update(module, other, torch.ones_like(mask))
    assert (unmasked - update(module, msa, torch.ones_like(mask))).abs().max() > 1e-2


@pytest.mark.parametrize("name", MSA_MODULES)
def test_masked_rows_of_an_msa_are_as_if_absent(name: str) -> None:
    module = drawn(MSA_MODULES[name])
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    padded = torch.cat([msa, 3 * torch.randn(1, 4, LENGTH, CHANNELS)], dim=1)
    mask = torch.ones(1, ROWS + 4, LENGTH)
    mask[:, ROWS:] = 0
    ours, theirs = update(module, padded, mask), update(module, msa, mask[:, :ROWS])
    torch.testing.assert_close(ours[:, : theirs.shape[1]], theirs)


@pytest.mark.parametrize("name", PAIR_MODULES)
def test_pairs_with_masked_residues_have_no_effect(name: str) -> None:
    module = drawn(PAIR_MODULES[name])
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS)
    keep = torch.tensor([[1.0, 0, 1, 1, 0]])
    mask = keep[:, :, None] * keep[:, None]
    other = torch.where(mask[..., None] == 1, pair, 3 * torch.randn(pair.shape))
    with torch.no_grad():
        ours, theirs = module(pair, mask), module(other, mask)
        torch.testing.assert_close(ours * mask[..., None], theirs * mask[..., None])
        present = keep[0] == 1
        alone = module(pair[:, present][:, :, present], mask[:, present][:, :, present])
    torch.testing.assert_close(ours[:, present][:, :, present], alone)


def test_global_attention_by_its_definition() -> None:
    """Algorithm 19, one column and head at a time; the mean is over queries, as in the paper."""
    module = drawn(lambda: MSAColumnGlobalAttention(CHANNELS, HEADS))
    assert isinstance(module, MSAColumnGlobalAttention)
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    mask = (torch.rand(1, ROWS, LENGTH) > 0.4).float()
    mask[:, 0] = 1
    with torch.no_grad():
        ours = module(msa, mask)
        for column in range(LENGTH):
            normed = module.norm(msa[0, :, column])
            present = mask[0, :, column] == 1
            queries = module.query(normed[present]).mean(0).unflatten(0, (HEADS, -1))
            key, value = module.key(normed[present]), module.value(normed[present])
            heads = [(key @ query / key.shape[-1] ** 0.5).softmax(0) @ value for query in queries]
            gated = torch.sigmoid(module.gate(normed)) * torch.cat(heads)
            torch.testing.assert_close(ours[0, :, column], module.output(gated))


@pytest.mark.parametrize("starting", [True, False])
def test_triangle_attention_by_its_definition(starting: bool) -> None:
    """Algorithms 13 and 14, one pair and one head at a time."""
    name = "attention, starting" if starting else "attention, ending"
    module = drawn(PAIR_MODULES[name])
    assert isinstance(module, TriangleAttention)
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS)
    with torch.no_grad():
        ours = module(pair, torch.ones(1, LENGTH, LENGTH))[0]
        z = module.norm(pair[0])
        split = (HEADS, PAIR_CHANNELS // HEADS)
        core = module.attention
        query, key, value = (
            linear(z).unflatten(-1, split) for linear in (core.query, core.key, core.value)
        )
        bias, gate = module.bias(z), torch.sigmoid(core.gate(z))
        for i in range(LENGTH):
            for j in range(LENGTH):
                keys, values = (key[i], value[i]) if starting else (key[:, j], value[:, j])
                biases = bias[j] if starting else bias[:, i]
                logits = (keys * query[i, j]).sum(-1) / split[1] ** 0.5 + biases
                out = (logits.softmax(0)[..., None] * values).sum(0).flatten()
                torch.testing.assert_close(ours[i, j], core.output(gate[i, j] * out))


@pytest.mark.parametrize("outgoing", [True, False])
def test_triangle_multiplication_by_its_definition(outgoing: bool) -> None:
    """Algorithms 11 and 12, one pair at a time."""
    name = "multiplication, outgoing" if outgoing else "multiplication, incoming"
    module = drawn(PAIR_MODULES[name])
    assert isinstance(module, TriangleMultiplication)
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS)
    with torch.no_grad():
        ours = module(pair, torch.ones(1, LENGTH, LENGTH))[0]
        z = module.norm(pair[0])
        left = torch.sigmoid(module.left_gate(z)) * module.left(z)
        right = torch.sigmoid(module.right_gate(z)) * module.right(z)
        for i in range(LENGTH):
            for j in range(LENGTH):
                total = left[i] * right[j] if outgoing else right[:, i] * left[:, j]
                product = module.output(module.norm_product(total.sum(0)))
                torch.testing.assert_close(
                    ours[i, j], torch.sigmoid(module.gate(z[i, j])) * product
                )


def test_outer_product_mean_by_its_definition() -> None:
    """Algorithm 10: the mean is over the sequences in which both residues are present."""
    module = drawn(lambda: OuterProductMean(CHANNELS, 3, PAIR_CHANNELS, Runtime()))
    assert isinstance(module, OuterProductMean)
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    mask = (torch.rand(1, ROWS, LENGTH) > 0.4).float()
    with torch.no_grad():
        ours = module(msa, mask)[0]
        normed = module.norm(msa[0])
        left, right = module.left(normed), module.right(normed)
        for i in range(LENGTH):
            for j in range(LENGTH):
                both = mask[0, :, i] * mask[0, :, j] == 1
                outer = torch.einsum("sc,sd->cd", left[both, i], right[both, j]).flatten()
                expected = module.output(outer) / (1e-3 + both.sum())
                torch.testing.assert_close(ours[i, j], expected)

"""Evoformer modules: masked places have no effect, and updates follow their definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from foldry.kernels.choose import Kernels
from foldry.model.evoformer import (
    MSAColumnAttention,
    MSAColumnGlobalAttention,
    MSARowAttention,
    OuterProductMean,
    Transition,
    TriangleAttention,
    TriangleMultiplication,
)
from foldry.model.runtime import Runtime
from tests.kernels.cases import both_kernels

CHANNELS, PAIR_CHANNELS, HEADS, ROWS, LENGTH = 8, 6, 2, 7, 5
MSA_MODULES: dict[str, Callable[[Runtime], nn.Module]] = {
    "row attention": lambda runtime: MSARowAttention(CHANNELS, PAIR_CHANNELS, HEADS, 0, runtime),
    "column attention": lambda runtime: MSAColumnAttention(CHANNELS, HEADS, runtime),
    "global column attention": lambda runtime: MSAColumnGlobalAttention(CHANNELS, HEADS, runtime),
    "outer product mean": lambda runtime: OuterProductMean(CHANNELS, 3, PAIR_CHANNELS, runtime),
}
PAIR_MODULES: dict[str, Callable[[Runtime], nn.Module]] = {
    "multiplication, outgoing": lambda runtime: TriangleMultiplication(
        PAIR_CHANNELS, 4, 0, runtime, outgoing=True
    ),
    "multiplication, incoming": lambda runtime: TriangleMultiplication(
        PAIR_CHANNELS, 4, 0, runtime, outgoing=False
    ),
    "attention, starting": lambda runtime: TriangleAttention(
        PAIR_CHANNELS, PAIR_CHANNELS, HEADS, 0, runtime, starting=True
    ),
    "attention, ending": lambda runtime: TriangleAttention(
        PAIR_CHANNELS, PAIR_CHANNELS, HEADS, 0, runtime, starting=False
    ),
}


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def drawn(make: Callable[[Runtime], nn.Module], kernels: Kernels) -> nn.Module:
    """Return the module with random parameters, none of them zero."""
    torch.manual_seed(0)
    module = make(Runtime(kernels=kernels)).eval()
    for parameter in module.parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape)
    return module


def updated(module: nn.Module, x: Tensor, *others: Tensor) -> Tensor:
    """Return the module's result, which may be written into the copy of x that it gets."""
    result: Tensor = module(x.clone(), *others)
    return result


def from_msa(module: nn.Module, msa: Tensor, mask: Tensor) -> Tensor:
    """Return the result from an MSA, with the same pair representation each time."""
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS, generator=torch.Generator().manual_seed(1))
    if isinstance(module, OuterProductMean):
        return updated(module, pair, msa, mask)
    return updated(module, msa, *([pair] if isinstance(module, MSARowAttention) else []), mask)


@both_kernels
@pytest.mark.parametrize("name", MSA_MODULES)
def test_masked_places_of_an_msa_have_no_effect(name: str, kernels: Kernels) -> None:
    """Each column has different masked sequences, as in a complex with unpaired chains."""
    module = drawn(MSA_MODULES[name], kernels)
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    mask = (torch.rand(1, ROWS, LENGTH) > 0.4).float()
    mask[:, 0] = 1
    other = torch.where(mask[..., None] == 1, msa, 3 * torch.randn(msa.shape))

    def of_both(given: Tensor) -> list[Tensor]:
        results = [from_msa(module, each, given) for each in (msa, other)]
        return [each * mask[..., None] if each.shape == msa.shape else each for each in results]

    ours, theirs = of_both(mask)
    torch.testing.assert_close(ours, theirs)
    ours, theirs = of_both(torch.ones_like(mask))
    assert (ours - theirs).abs().max() > 1e-2


@both_kernels
@pytest.mark.parametrize("name", MSA_MODULES)
def test_masked_rows_of_an_msa_are_as_if_absent(name: str, kernels: Kernels) -> None:
    module = drawn(MSA_MODULES[name], kernels)
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    padded = torch.cat([msa, 3 * torch.randn(1, 4, LENGTH, CHANNELS)], dim=1)
    mask = torch.ones(1, ROWS + 4, LENGTH)
    mask[:, ROWS:] = 0
    ours, theirs = from_msa(module, padded, mask), from_msa(module, msa, mask[:, :ROWS])
    torch.testing.assert_close(ours[:, : theirs.shape[1]], theirs)


@both_kernels
@pytest.mark.parametrize("name", PAIR_MODULES)
def test_pairs_with_masked_residues_have_no_effect(name: str, kernels: Kernels) -> None:
    module = drawn(PAIR_MODULES[name], kernels)
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS)
    keep = torch.tensor([[1.0, 0, 1, 1, 0]])
    mask = keep[:, :, None] * keep[:, None]
    other = torch.where(mask[..., None] == 1, pair, 3 * torch.randn(pair.shape))
    ours, theirs = updated(module, pair, mask), updated(module, other, mask)
    torch.testing.assert_close(ours * mask[..., None], theirs * mask[..., None])
    present = keep[0] == 1
    alone = updated(module, pair[:, present][:, :, present], mask[:, present][:, :, present])
    torch.testing.assert_close(ours[:, present][:, :, present], alone)


@both_kernels
def test_global_attention_by_its_definition(kernels: Kernels) -> None:
    """Algorithm 19, one column and head at a time; the mean is over queries, as in the paper."""
    module = drawn(MSA_MODULES["global column attention"], kernels)
    assert isinstance(module, MSAColumnGlobalAttention)
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    mask = (torch.rand(1, ROWS, LENGTH) > 0.4).float()
    mask[:, 0] = 1
    ours = updated(module, msa, mask)
    for column in range(LENGTH):
        normed = module.norm(msa[0, :, column])
        present = mask[0, :, column] == 1
        queries = module.query(normed[present]).mean(0).unflatten(0, (HEADS, -1))
        key, value = module.key(normed[present]), module.value(normed[present])
        heads = [(key @ query / key.shape[-1] ** 0.5).softmax(0) @ value for query in queries]
        update = module.output(torch.sigmoid(module.gate(normed)) * torch.cat(heads))
        torch.testing.assert_close(ours[0, :, column], msa[0, :, column] + update)


@both_kernels
def test_row_attention_by_its_definition(kernels: Kernels) -> None:
    """Algorithm 7, one place and one head at a time."""
    module = drawn(MSA_MODULES["row attention"], kernels)
    assert isinstance(module, MSARowAttention)
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS)
    mask = (torch.rand(1, ROWS, LENGTH) > 0.4).float()
    mask[:, :, 0] = 1
    ours = updated(module, msa, pair, mask)[0]
    normed = module.norm(msa[0])
    core = module.attention
    query, key, value = (
        linear(normed).unflatten(-1, (HEADS, -1)) for linear in (core.query, core.key, core.value)
    )
    bias, gate = module.bias(module.norm_pair(pair[0])), torch.sigmoid(core.gate(normed))
    for s in range(ROWS):
        present = mask[0, s] == 1
        for i in range(LENGTH):
            heads = []
            for h in range(HEADS):
                logits = key[s, present, h] @ query[s, i, h] / query.shape[-1] ** 0.5
                shares = (logits + bias[i, present, h]).softmax(0)
                heads.append(shares @ value[s, present, h])
            update = core.output(gate[s, i] * torch.cat(heads))
            torch.testing.assert_close(ours[s, i], msa[0, s, i] + update)


@both_kernels
@pytest.mark.parametrize("starting", [True, False])
def test_triangle_attention_by_its_definition(starting: bool, kernels: Kernels) -> None:
    """Algorithms 13 and 14, one pair and one head at a time."""
    name = "attention, starting" if starting else "attention, ending"
    module = drawn(PAIR_MODULES[name], kernels)
    assert isinstance(module, TriangleAttention)
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS)
    ours = updated(module, pair, torch.ones(1, LENGTH, LENGTH))[0]
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
            update = core.output(gate[i, j] * out)
            torch.testing.assert_close(ours[i, j], pair[0, i, j] + update)


@both_kernels
@pytest.mark.parametrize("outgoing", [True, False])
def test_triangle_multiplication_by_its_definition(outgoing: bool, kernels: Kernels) -> None:
    """Algorithms 11 and 12, one pair at a time."""
    name = "multiplication, outgoing" if outgoing else "multiplication, incoming"
    module = drawn(PAIR_MODULES[name], kernels)
    assert isinstance(module, TriangleMultiplication)
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS)
    ours = updated(module, pair, torch.ones(1, LENGTH, LENGTH))[0]
    z = module.norm(pair[0])
    left = torch.sigmoid(module.left_gate(z)) * module.left(z)
    right = torch.sigmoid(module.right_gate(z)) * module.right(z)
    for i in range(LENGTH):
        for j in range(LENGTH):
            total = left[i] * right[j] if outgoing else right[:, i] * left[:, j]
            product = module.output(module.norm_product(total.sum(0)))
            update = torch.sigmoid(module.gate(z[i, j])) * product
            torch.testing.assert_close(ours[i, j], pair[0, i, j] + update)


@both_kernels
def test_outer_product_mean_by_its_definition(kernels: Kernels) -> None:
    """Algorithm 10: the mean is over the sequences in which both residues are present."""
    module = drawn(MSA_MODULES["outer product mean"], kernels)
    assert isinstance(module, OuterProductMean)
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    pair = torch.randn(1, LENGTH, LENGTH, PAIR_CHANNELS)
    mask = (torch.rand(1, ROWS, LENGTH) > 0.4).float()
    ours = updated(module, pair, msa, mask)[0]
    normed = module.norm(msa[0])
    left, right = module.left(normed), module.right(normed)
    for i in range(LENGTH):
        for j in range(LENGTH):
            both = mask[0, :, i] * mask[0, :, j] == 1
            outer = torch.einsum("sc,sd->cd", left[both, i], right[both, j]).flatten()
            update = module.output(outer) / (1e-3 + both.sum())
            torch.testing.assert_close(ours[i, j], pair[0, i, j] + update)


@both_kernels
def test_transition_by_its_definition(kernels: Kernels) -> None:
    """Algorithms 9 and 15."""
    module = drawn(lambda runtime: Transition(CHANNELS, 4, runtime), kernels)
    assert isinstance(module, Transition)
    msa = torch.randn(1, ROWS, LENGTH, CHANNELS)
    wide = module.widen(module.norm(msa)).clamp(min=0)
    assert wide.shape[-1] == 4 * CHANNELS
    torch.testing.assert_close(updated(module, msa), msa + module.narrow(wide))

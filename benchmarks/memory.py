"""Peak memory of a prediction in pair tensors, and the longest chain that 24 GB hold.

    python benchmarks/memory.py [--length 256 384 512 768] [--longest]

A pair tensor has L² · c_z float32 numbers (128 MiB at L 512 with 128 channels). Each row is a whole
prediction of model_1_ptm in its own process, with the process settings of Foldry's command line:
two passes (one recycle), 124 rows, 4 templates, 512 extra rows, heads and confidence. Memory is the
largest resident memory above that of the loaded network. The networks have one block in each stack,
because blocks follow each other and the peak does not depend on their number; the first two rows
show this at a small length.

From the rows follow the shares of both representations, by least squares::

    peak = network + a · 4 · L² · c_z + b · 4 · L · (S · c_m + S_extra · c_extra)

`--longest` solves this for 24 GB and predicts a chain of that length with a network of an eighth
of the channels and heads. That network needs more than an eighth of the memory, because a
template's pair features keep their 88 channels: 5.5 of its pair tensors, 0.7 of the full network's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from peers import (
    Worker,
    apply_settings,
    forget_peak,
    machine,
    measure,
    release_memory,
    resident,
    serve,
)
from script import run_script

if TYPE_CHECKING:
    from foldry.features.features import Features
    from foldry.model.config import ModelConfig

NUM_TEMPLATES, NUM_EXTRA = 4, 512
LIMIT = 24e9
NARROW = 8
"""What the channels and heads of the full network are divided by."""


@dataclass(frozen=True)
class Case:
    """A network and a query; the names of the fields are those of the worker's question."""

    length: int
    rows: int = 128
    num_blocks: int = 1
    divisor: int = 1

    def pair_tensor(self) -> float:
        """Return the bytes of a pair representation."""
        return 4 * self.length**2 * 128 / self.divisor

    def alignment(self) -> float:
        """Return the bytes of the representations of the alignment and of the extra rows."""
        return 4 * self.length * (self.rows * 256 + NUM_EXTRA * 64) / self.divisor


def network(case: Case) -> ModelConfig:
    """Return model_1_ptm with other numbers of blocks, rows, channels and heads."""
    from foldry.model.config import preset  # noqa: PLC0415

    config = preset("model_1_ptm")
    assert config.extra is not None and config.template is not None
    by = case.divisor
    stacks = {
        name: replace(
            stack,
            num_blocks=case.num_blocks,
            c_msa=stack.c_msa // by,
            num_heads_msa=stack.num_heads_msa // by,
            num_heads_pair=max(stack.num_heads_pair // by, 1),
            c_triangle=stack.c_triangle // by,
            c_outer=stack.c_outer // by,
        )
        for name, stack in (("evoformer", config.evoformer), ("extra", config.extra))
    }
    template = replace(
        config.template,
        num_blocks=case.num_blocks,
        c_template=64 // by,
        c_attention=64 // by,
        c_triangle=64 // by,
        c_pointwise=64 // by,
        num_heads=max(4 // by, 1),
        num_heads_pointwise=max(4 // by, 1),
    )
    return replace(
        config,
        **stacks,
        template=template,
        c_pair=config.c_pair // by,
        heads=replace(config.heads, num_distogram_bins=64 // by, num_pae_bins=64 // by),
        features=replace(
            config.features, num_msa=case.rows - NUM_TEMPLATES, num_extra_msa=NUM_EXTRA
        ),
        num_recycles=1,
    )


def features(case: Case, config: ModelConfig) -> Features:
    """Return random features."""
    import numpy as np  # noqa: PLC0415

    from foldry.features.features import Features, TemplateFeatures  # noqa: PLC0415

    rng = np.random.default_rng(0)
    length, shape = case.length, (NUM_TEMPLATES, case.length)
    msa = rng.integers(0, 20, (case.rows - NUM_TEMPLATES + NUM_EXTRA, length)).astype(np.int8)
    ones = np.ones(shape, np.float32)

    def normal(*more: int) -> np.ndarray:
        return rng.standard_normal((*shape, *more)).astype(np.float32)

    return Features(
        aatype=msa[0].astype(np.int64),
        target_feat=np.eye(22, dtype=np.float32)[msa[0] + 1],
        residue_index=np.arange(length),
        asym_id=np.ones(length, np.int64),
        entity_id=np.ones(length, np.int64),
        sym_id=np.ones(length, np.int64),
        seq_mask=np.ones(length, np.float32),
        msa=msa,
        deletion_matrix=np.zeros(msa.shape, np.float32),
        templates=TemplateFeatures(
            aatype=rng.integers(0, 20, shape),
            atom_positions=10 * normal(37, 3),
            atom_mask=np.ones((*shape, 37), np.float32),
            mask=np.ones(NUM_TEMPLATES, np.float32),
            pseudo_beta=10 * normal(3),
            pseudo_beta_mask=ones,
            torsion_sin_cos=normal(7, 2),
            torsion_alt_sin_cos=normal(7, 2),
            torsion_mask=np.ones((*shape, 7), np.float32),
        ),
        config=config.features,
        seed=0,
    )


def predict(**question: int) -> dict[str, float]:
    """Return the memory of the network, the peak above it, and the time of a prediction."""
    import torch  # noqa: PLC0415

    from foldry.model.alphafold import AlphaFold  # noqa: PLC0415
    from foldry.model.runtime import fastest  # noqa: PLC0415
    from foldry.predict.settings import Settings  # noqa: PLC0415
    from foldry.predict.stages import infer  # noqa: PLC0415

    case = Case(**question)
    config = network(case)
    model = AlphaFold(config, fastest(torch.device("cpu"))).eval()

    def run(case: Case) -> None:
        infer(features(case, config), model, Settings(), lambda number, most: None)

    run(replace(case, length=16))  # loads libraries
    release_memory()
    forget_peak()
    before = resident("VmRSS")
    result = measure(lambda: run(case))
    return {**result, "network": before, "peak": resident("VmHWM") - before}


def ask(case: Case) -> dict[str, float]:
    """Return the answer of a new process."""
    worker = Worker("--child")
    try:
        return worker.ask(**vars(case))
    finally:
        worker.close()


def print_row(case: Case, what: str = "") -> dict[str, float]:
    """Measure and print a row, and return what was measured."""
    found = ask(case)
    print(
        f"{case.length:7d} {case.rows:6d} {case.num_blocks:7d} {found['peak'] / 2**20:9.0f} "
        f"{found['peak'] / case.pair_tensor():13.2f} {found['cpu']:9.1f} {what}",
        flush=True,
    )
    return found


def shares(rows: list[tuple[Case, float]]) -> tuple[float, float]:
    """Return a and b of the formula above, each at least 0."""
    import numpy as np  # noqa: PLC0415

    sizes = np.array([[case.pair_tensor(), case.alignment()] for case, _ in rows])
    peaks = np.array([peak for _, peak in rows])
    a, b = np.linalg.lstsq(sizes / peaks[:, None], np.ones(len(rows)), rcond=None)[0]
    if b < 0:
        a, b = float(max(peaks / sizes[:, 0])), 0.0
    return float(a), float(b)


def longest(rows: int, room: float, a: float, b: float) -> int:
    """Return the length at which the formula gives `room` bytes."""
    case = Case(1, rows)
    square, linear = a * case.pair_tensor(), b * case.alignment()
    return int(((linear**2 + 4 * square * room) ** 0.5 - linear) / (2 * square))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, nargs="+", default=[256, 384, 512, 768])
    parser.add_argument("--longest", action="store_true", help="the longest chain for 24 GB")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        apply_settings()
        serve(predict)
        return
    print(f"{machine()}, one thread, float32")
    print(" length   rows  blocks  peak MiB  pair tensors     CPU-s")
    for num_blocks in (1, 4):
        print_row(Case(128, num_blocks=num_blocks))
    measured = []
    for length in arguments.length:
        case = Case(length)
        found = print_row(case)
        measured.append((case, found["peak"]))
    if not arguments.longest:
        return
    for rows in (512, 1024):
        case = Case(max(arguments.length), rows)
        measured.append((case, print_row(case)["peak"]))
    a, b = shares(measured)
    # 93,231,130 parameters, and the memory of Python and torch without the parameters of one block.
    base = found["network"] + 4 * 85e6
    print(f"peak = {base / 1e9:.2f} GB + {a:.2f} pair tensors + {b:.2f} × both alignments")
    for rows in (512, 1024):
        length = longest(rows, LIMIT - base, a, b)
        print(f"{rows} rows: {length} residues in 24 GB, computed; narrow network:")
        case = Case(length, rows, divisor=NARROW)
        print_row(case)


if __name__ == "__main__":
    run_script(main)

"""Seconds and peak memory of one pass of the full-size model_1_ptm, with random parameters.

    python benchmarks/full_size.py [--length 64 128] [--device cpu]

Each length runs in a separate process, so that its peak memory is measured alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time

from script import run_script

NUM_MSA, NUM_TEMPLATES, NUM_EXTRA = 124, 4, 512


def one_pass(length: int, device: str) -> None:
    """Measure one length in this process and print its row."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from foldry.model.alphafold import AlphaFold  # noqa: PLC0415
    from foldry.model.config import preset  # noqa: PLC0415
    from foldry.model.inputs import Inputs, MSAInputs, TemplateInputs  # noqa: PLC0415
    from foldry.model.runtime import Runtime  # noqa: PLC0415
    from foldry.weights.official import from_official, official_shapes  # noqa: PLC0415

    rng = np.random.default_rng(0)
    config = preset("model_1_ptm")
    params = {
        name: (0.05 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in official_shapes(config).items()
    }
    num_parameters = sum(array.size for array in params.values())
    runtime = Runtime(device=torch.device(device))
    model = AlphaFold(config, runtime)
    model.load_state_dict(from_official(params, config))
    model.eval()
    del params

    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(device)

    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(shape, device=device)

    def codes(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(0, 20, shape)).to(device)

    number = torch.arange(length, device=device)[None]
    templates = TemplateInputs(
        aatype=codes(1, NUM_TEMPLATES, length),
        atom_positions=10 * normal(1, NUM_TEMPLATES, length, 37, 3),
        atom_mask=ones(1, NUM_TEMPLATES, length, 37),
        mask=ones(1, NUM_TEMPLATES),
        pseudo_beta=10 * normal(1, NUM_TEMPLATES, length, 3),
        pseudo_beta_mask=ones(1, NUM_TEMPLATES, length),
        torsion_sin_cos=normal(1, NUM_TEMPLATES, length, 7, 2),
        torsion_alt_sin_cos=normal(1, NUM_TEMPLATES, length, 7, 2),
        torsion_mask=ones(1, NUM_TEMPLATES, length, 7),
    )
    inputs = Inputs(
        aatype=codes(1, length),
        target_feat=normal(1, length, 22),
        residue_index=number,
        asym_id=torch.ones_like(number),
        entity_id=torch.ones_like(number),
        sym_id=torch.ones_like(number),
        seq_mask=ones(1, length),
        templates=templates,
    )
    draw = MSAInputs(
        msa_feat=normal(1, NUM_MSA, length, 49),
        msa_mask=ones(1, NUM_MSA, length),
        extra_msa=codes(1, NUM_EXTRA, length),
        extra_has_deletion=ones(1, NUM_EXTRA, length),
        extra_deletion_value=ones(1, NUM_EXTRA, length),
        extra_msa_mask=ones(1, NUM_EXTRA, length),
    )
    with torch.inference_mode():
        start = time.perf_counter()
        result = model(inputs, [draw], model.first_recycled(inputs))
        model.predict_heads(result)
        if device != "cpu":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    if not torch.isfinite(result.atom37).all():
        raise SystemExit("the network returned numbers that are not finite")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    if device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 1024**3
    print(f"{length:8d} {num_parameters:12,d} {seconds:9.1f} {peak:9.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        one_pass(arguments.length[0], arguments.device)
        return
    from foldry.model.runtime import find_device  # noqa: PLC0415

    find_device(arguments.device)
    print(f"model_1_ptm, one pass, {NUM_MSA} MSA rows + {NUM_TEMPLATES} templates, ", end="")
    print(f"{NUM_EXTRA} extra rows; {platform.machine()}, {os.cpu_count()} cores")
    print(f"{'length':>8} {'parameters':>12} {'seconds':>9} {'peak GiB':>9}", flush=True)
    for length in arguments.length:
        command = [sys.executable, __file__, "--child", "--device", arguments.device]
        subprocess.run([*command, "--length", str(length)], check=True)


if __name__ == "__main__":
    run_script(main)

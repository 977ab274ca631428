"""CPU-seconds and peak memory of one pass of full-size networks, beside the official ones.

    python benchmarks/full_size.py [--chains 64 128 2x96] [--alphafold FOLDER] [--openfold FOLDER]

A number is the length of a chain, folded by model_1_ptm; 2x96 are two chains of 96 residues, folded
by model_1_multimer_v3. Every program has random parameters and the same random features (124 rows,
4 templates, 512 extra rows), computes in float32 with one thread, and runs in its own process; the
processes measure in turn. Foldry has the process settings of its command line, the others run as
they come.

The first pass of each process is not timed. For the official program it compiles the network: the
time of that pass has its own column. OpenFold runs without chunks and in chunks of 4, and the table
has the faster. Memory is the largest resident memory of the process from the first pass on,
parameters and compilation included.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from foldry.errors import InputError
from peers import (
    Worker,
    apply_settings,
    forget_peak,
    machine,
    measure,
    release_memory,
    resident,
    serve,
    use_alphafold,
    use_openfold,
)
from script import run_script

if TYPE_CHECKING:
    import numpy as np

    from foldry.model.config import ModelConfig

    Arrays = dict[str, np.ndarray]

NUM_MSA, NUM_TEMPLATES, NUM_EXTRA = 124, 4, 512
CHUNKS = (None, 4)
"""OpenFold's chunk sizes: none, and its default."""


def read_chains(text: str) -> tuple[int, ...]:
    """Return the lengths of the chains of `128` or `2x96`.

    Raises:
        InputError: It is neither.
    """
    found = re.fullmatch(r"(?:([1-9])x)?([1-9]\d{1,3})", text)
    if found is None:
        raise InputError(f"There are no chains {text!r}", "write e.g. 128 or 2x96")
    return (int(found[2]),) * int(found[1] or 1)


def model_of(chains: tuple[int, ...]) -> str:
    """Return the network of the chains."""
    return "model_1_ptm" if len(chains) == 1 else "model_1_multimer_v3"


def random_params(config: ModelConfig) -> Arrays:
    """Return random parameters by their official names."""
    import numpy as np  # noqa: PLC0415

    from foldry.weights.official import official_shapes  # noqa: PLC0415

    rng = np.random.default_rng(0)
    return {
        name: (0.05 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in official_shapes(config).items()
    }


def random_features(chains: tuple[int, ...]) -> tuple[Arrays, Arrays, Arrays]:
    """Return random features, without a batch axis: of the chains, of a draw, of templates.

    They have the names and shapes of Foldry's inputs.
    """
    import numpy as np  # noqa: PLC0415

    rng = np.random.default_rng(0)
    length = sum(chains)
    chain = np.repeat(np.arange(len(chains)), chains) + 1

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def ones(*shape: int) -> np.ndarray:
        return np.ones(shape, np.float32)

    def codes(*shape: int) -> np.ndarray:
        return rng.integers(0, 20, shape)

    aatype = codes(length)
    inputs = {
        "aatype": aatype,
        "target_feat": np.eye(22, dtype=np.float32)[aatype + 1],
        "residue_index": np.concatenate([np.arange(each) for each in chains]),
        "asym_id": chain,
        "entity_id": np.ones_like(chain),
        "sym_id": chain,
        "seq_mask": ones(length),
    }
    draw = {
        "msa_feat": normal(NUM_MSA, length, 49),
        "msa_mask": ones(NUM_MSA, length),
        "extra_msa": codes(NUM_EXTRA, length),
        "extra_has_deletion": ones(NUM_EXTRA, length),
        "extra_deletion_value": ones(NUM_EXTRA, length),
        "extra_msa_mask": ones(NUM_EXTRA, length),
    }
    shape = (NUM_TEMPLATES, length)
    templates = {
        "aatype": codes(*shape),
        "atom_positions": 10 * normal(*shape, 37, 3),
        "atom_mask": ones(*shape, 37),
        "mask": ones(NUM_TEMPLATES),
        "pseudo_beta": 10 * normal(*shape, 3),
        "pseudo_beta_mask": ones(*shape),
        "torsion_sin_cos": normal(*shape, 7, 2),
        "torsion_alt_sin_cos": normal(*shape, 7, 2),
        "torsion_mask": ones(*shape, 7),
    }
    return inputs, draw, templates


def official_features(chains: tuple[int, ...]) -> Arrays:
    """Return the features by their official names, without axes of batch, ensemble or recycling."""
    import numpy as np  # noqa: PLC0415

    from foldry import residues  # noqa: PLC0415

    inputs, draw, templates = random_features(chains)
    length = len(inputs["aatype"])
    if len(chains) > 1:
        inputs["target_feat"] = inputs["target_feat"][:, 1:]
    else:
        inputs = {name: array for name, array in inputs.items() if not name.endswith("_id")}
    renamed = {
        "atom_positions": ("all_atom_positions",),
        "atom_mask": ("all_atom_mask", "all_atom_masks"),
        "torsion_sin_cos": ("torsion_angles_sin_cos",),
        "torsion_alt_sin_cos": ("alt_torsion_angles_sin_cos",),
        "torsion_mask": ("torsion_angles_mask",),
    }
    return {
        **inputs,
        **draw,
        **{
            f"template_{name}": array
            for ours, array in templates.items()
            for name in renamed.get(ours, (ours,))
        },
        "seq_length": np.array(length),
        "extra_deletion_matrix": draw["extra_deletion_value"],
        "atom14_atom_exists": residues.ATOM14_MASK[inputs["aatype"]],
        "atom37_atom_exists": residues.ATOM37_MASK[inputs["aatype"]],
        "residx_atom14_to_atom37": residues.ATOM14_TO_ATOM37[inputs["aatype"]],
        "residx_atom37_to_atom14": residues.ATOM37_TO_ATOM14[inputs["aatype"]],
    }


def foldry(chains: tuple[int, ...], device: str) -> Callable[[], object]:
    """Return a pass of Foldry's network."""
    import torch  # noqa: PLC0415

    from foldry.model.alphafold import AlphaFold  # noqa: PLC0415
    from foldry.model.config import preset  # noqa: PLC0415
    from foldry.model.inputs import Inputs, MSAInputs, TemplateInputs  # noqa: PLC0415
    from foldry.model.runtime import fastest  # noqa: PLC0415
    from foldry.weights.official import from_official  # noqa: PLC0415

    config = preset(model_of(chains))
    model = AlphaFold(config, fastest(torch.device(device))).eval()
    model.load_state_dict(from_official(random_params(config), config))
    features, draw, templates = (
        {name: torch.from_numpy(array)[None].to(device) for name, array in arrays.items()}
        for arrays in random_features(chains)
    )
    inputs = Inputs(**features, templates=TemplateInputs(**templates))

    def run() -> None:
        with torch.inference_mode():
            result = model(inputs, [MSAInputs(**draw)], model.first_recycled(inputs))
            model.predict_heads(result)
            if device != "cpu":
                torch.cuda.synchronize()
        if not torch.isfinite(result.atom37).all():
            raise SystemExit("the network returned numbers that are not finite")

    return run


def official(chains: tuple[int, ...], folder: Path) -> Callable[[], object]:
    """Return a pass of the official network; the first call compiles it."""
    use_alphafold(folder)
    import haiku as hk  # noqa: PLC0415
    import jax  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    from alphafold.model import config as official_config  # noqa: PLC0415
    from alphafold.model import modules, modules_multimer, utils  # noqa: PLC0415

    from foldry.model.config import preset  # noqa: PLC0415

    name = model_of(chains)
    config = official_config.model_config(name).model
    config.num_recycle = 0
    features = official_features(chains)
    options: dict[str, bool] = {}
    network = modules.AlphaFold
    if len(chains) > 1:
        network = modules_multimer.AlphaFold
        config.global_config.bfloat16 = False
        config.embeddings_and_evoformer.num_msa = NUM_MSA
        config.embeddings_and_evoformer.num_extra_msa = NUM_EXTRA
        rows = np.random.default_rng(0).integers(0, 20, (NUM_MSA + NUM_EXTRA, sum(chains)))
        features = {key: value for key, value in features.items() if "msa" not in key}
        features |= {
            "msa": rows,
            "msa_mask": np.ones(rows.shape, np.float32),
            "deletion_matrix": np.zeros(rows.shape, np.float32),
            "all_atom_positions": np.zeros((sum(chains), 37, 3), np.float32),
            "all_atom_mask": np.zeros((sum(chains), 37), np.float32),
        }
    else:
        options = {"compute_loss": False, "ensemble_representations": True}
        features = {key: value[None] for key, value in features.items()}
    forward = hk.transform(lambda batch: network(config)(batch, is_training=False, **options))
    apply = jax.jit(forward.apply)
    params = utils.flat_params_to_haiku(random_params(preset(name)))
    key = jax.random.PRNGKey(0)
    return lambda: jax.block_until_ready(apply(params, key, features))


def openfold(chains: tuple[int, ...], folder: Path) -> Callable[[int | None], object]:
    """Return a pass of OpenFold's network in chunks of a size."""
    use_openfold(folder)
    import torch  # noqa: PLC0415
    from openfold.config import model_config  # noqa: PLC0415
    from openfold.model.model import AlphaFold  # noqa: PLC0415

    settings = model_config(model_of(chains))
    # Its tuner finds the largest chunk that fits the memory, not the fastest.
    for stack in (
        settings.model.evoformer_stack,
        settings.model.extra_msa.extra_msa_stack,
        settings.model.template.template_pair_stack,
    ):
        stack.tune_chunk_size = False
    model = AlphaFold(settings).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    features = {
        name: torch.from_numpy(array)[..., None]
        for name, array in official_features(chains).items()
    }

    def run(chunk: int | None) -> None:
        model.globals.chunk_size = chunk
        with torch.inference_mode():
            model(features)

    return run


def work(program: str, chains: tuple[int, ...], arguments: argparse.Namespace) -> None:
    """Answer the parent: each question is one pass, in OpenFold's case with a chunk size."""
    if program == "foldry":
        apply_settings()
        run = foldry(chains, arguments.device)
    elif program == "alphafold":
        run = official(chains, arguments.alphafold)
    else:
        run = openfold(chains, arguments.openfold)
    release_memory()

    def answer(**options: Any) -> dict[str, float]:
        forget_peak()
        result = measure(partial(run, **options))
        peak = resident("VmHWM")
        if arguments.device != "cpu":
            import torch  # noqa: PLC0415

            peak = torch.cuda.max_memory_allocated()
        return {**result, "peak": peak / 2**30}

    serve(answer)


def compare(text: str, programs: dict[str, str], arguments: argparse.Namespace) -> None:
    """Print the rows of one query."""
    words = [word for word in ("device", "alphafold", "openfold") if getattr(arguments, word)]
    options = [f"--{word}={getattr(arguments, word)}" for word in words]
    workers = {each: Worker(*options, f"--child={each}", f"--chains={text}") for each in programs}
    first, question = {}, {}
    for program, worker in workers.items():
        first[program] = [worker.ask()] if program != "openfold" else []
        question[program] = {}
    if "openfold" in workers:
        tried = [workers["openfold"].ask(chunk=chunk) for chunk in CHUNKS]
        fastest = min(range(len(CHUNKS)), key=lambda index: tried[index]["cpu"])
        first["openfold"], question["openfold"] = [tried[fastest]], {"chunk": CHUNKS[fastest]}
    results: dict[str, list[dict[str, float]]] = {each: [] for each in programs}
    for _ in range(arguments.rounds):
        for program, worker in workers.items():
            results[program].append(worker.ask(**question[program]))
    for program, worker in workers.items():
        worker.close()
        cpu, wall = ([each[key] for each in results[program]] for key in ("cpu", "wall"))
        peak = max(each["peak"] for each in first[program] + results[program])
        with_compilation = first[program][0]["cpu"] if program == "alphafold" else median(cpu)
        name = programs[program]
        if question[program]:
            name += f", chunk {question[program]['chunk'] or 'none'}"
        ratio = median(cpu) / median(each["cpu"] for each in results["foldry"])
        print(
            f"{text:>6s} {name:20s} {median(cpu):11.1f} {min(cpu):7.1f} {median(wall):7.1f} "
            f"{with_compilation:12.1f} {peak:8.2f} {ratio:8.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", nargs="+", default=["64", "128"], help="e.g. 64 128 2x96")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--alphafold", type=Path, help="checkout of AlphaFold, see peers.md")
    parser.add_argument("--openfold", type=Path, help="checkout of OpenFold, see peers.md")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chains = [read_chains(text) for text in arguments.chains]
    if arguments.child:
        work(arguments.child, chains[0], arguments)
        return
    from foldry.model.runtime import find_device  # noqa: PLC0415

    find_device(arguments.device)
    programs = {"foldry": "Foldry"}
    programs |= {"alphafold": "official JAX"} if arguments.alphafold else {}
    programs |= {"openfold": "OpenFold"} if arguments.openfold else {}
    print(f"{machine()}, one thread, float32; {arguments.rounds} rounds")
    print(f"one pass, {NUM_MSA} + {NUM_TEMPLATES} rows, {NUM_EXTRA} extra rows")
    print(
        "chains program              CPU-s median     min    wall  with compile. peak GiB × Foldry"
    )
    for text in arguments.chains:
        compare(text, programs, arguments)


if __name__ == "__main__":
    run_script(main)

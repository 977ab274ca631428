"""Whole Foldry commands on inputs that take a second: files, argument lists, processes.

`Inputs(folder)` writes an input when it is first used: tiny networks with random parameters, and
pieces of the Kunitz domain of examples/ with their alignments and structures. The same call always
writes the same bytes. Its methods return argument lists; `start` and `run` run them:

    inputs = Inputs(folder)
    run(inputs.fold(folder / "out", seeds="0,1"))

As a program, it runs one command with the official networks replaced by the tiny ones in
`Inputs.archive`:

    python benchmarks/commands.py ARGUMENT...
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path
from threading import Thread
from typing import Any, Final

import numpy as np
import torch

import foldry
from foldry.formats.coordinates import read_structure, to_pdb
from foldry.model import config as configs
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.residues import ATOM37_MASK, RESTYPES
from foldry.structure import Structure
from foldry.weights.official import official_shapes
from foldry.weights.state_file import save

ROOT: Final = Path(__file__).resolve().parent.parent
EXAMPLE: Final = ROOT / "examples" / "kunitz"
SOURCE: Final = Path(foldry.__file__).resolve().parent.parent
"""The package that the commands run: the one this program imported."""
PRESET: Final = configs.preset
MONOMERS: Final = ("model_1_ptm", "model_2_ptm")
COMPLEXES: Final = ("model_1_multimer_v3", "model_2_multimer_v3")
PROTEINS: Final = {"alpha": (0, 24), "beta": (18, 54), "gamma": (38, 56)}
"""First and last residue of the example in each query."""
PIECE: Final = 36
"""Residues of a structure to train on; `train prepare` needs at least 30."""
NUM_BACKBONE: Final = 5
"""N, CA, C, CB and O, which are the first of atom37."""


def tiny(name: str) -> ModelConfig:
    """Return the named network with two narrow blocks, no templates and few alignment rows."""
    config = PRESET(name)
    narrow: dict[str, Any] = {"c_outer": 3, "c_triangle": 6, "num_heads_msa": 2}
    extra = config.extra and replace(
        config.extra, num_blocks=1, c_msa=4, num_heads_pair=2, **narrow
    )
    return replace(
        config,
        features=replace(
            config.features,
            num_msa=6,
            num_extra_msa=8 if extra else 0,
            num_templates=0,
        ),
        evoformer=replace(config.evoformer, num_blocks=2, c_msa=8, num_heads_pair=2, **narrow),
        extra=extra,
        template=None,
        structure=replace(
            config.structure,
            num_layers=2,
            c=8,
            num_heads=2,
            c_sidechain=8,
            initial_frames="origin",
        ),
        heads=replace(config.heads, c_plddt=8),
        c_pair=8,
        c_single=12,
        num_recycles=1,
        recycle_tolerance=None,
    )


def random_state(config: ModelConfig, seed: int) -> dict[str, torch.Tensor]:
    """Return parameters without zeros, so that every input affects the result."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = AlphaFold(config).state_dict()
        return {name: each + 0.1 * torch.randn_like(each) for name, each in state.items()}


def official_parameters(name: str) -> dict[str, np.ndarray]:
    """Return random official arrays of a tiny network."""
    draw = np.random.default_rng(sum(map(ord, name)))
    shapes = official_shapes(tiny(name))
    return {key: draw.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}


class Inputs:
    """The inputs of every command in one folder, and the commands' argument lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    # Files

    @cached_property
    def networks(self) -> Path:
        """A folder of two networks for chains and two for complexes."""
        folder = _made(self.folder / "networks")
        for seed, name in enumerate((*MONOMERS, *COMPLEXES)):
            config = tiny(name)
            save(folder / f"{name}.safetensors", random_state(config, seed), config)
        return folder

    @cached_property
    def start(self) -> Path:
        """A network like mini to train from."""
        path = self.folder / "start.safetensors"
        config = tiny("mini")
        save(path, random_state(config, 0), config)
        return path

    @cached_property
    def queries(self) -> dict[str, Path]:
        """`alpha`, `beta` and `gamma` with alignments, and `pair`, a complex of two chains."""
        folder = _made(self.folder / "queries")
        paths = {name: folder / f"{name}.a3m" for name in PROTEINS}
        for name, path in paths.items():
            path.write_text(_alignment(*PROTEINS[name], name), "utf-8")
        pair = folder / "pair.fasta"
        chains = ("".join(_columns(*PROTEINS[name])[0]) for name in ("alpha", "beta"))
        pair.write_text(f">pair\n{':'.join(chains)}\n", "utf-8")
        return {**paths, "pair": pair}

    @cached_property
    def screen_table(self) -> Path:
        """All pairs of the three proteins."""
        path = self.folder / "pairs.csv"
        _write_table(path, ("a", "b"), combinations(PROTEINS, 2))
        return path

    @cached_property
    def structures(self) -> Path:
        """Twelve backbones of 36 residues, named like PDB entries."""
        folder = _made(self.folder / "structures")
        for number in range(12):
            (folder / f"{_entry(number)}.pdb").write_text(to_pdb(_piece(number)), "utf-8")
        return folder

    @cached_property
    def alignments(self) -> Path:
        """The alignment of each of the structures."""
        folder = _made(self.folder / "alignments")
        for number in range(12):
            text = _invented_alignment(number)
            (folder / f"{_entry(number)}_A.a3m").write_text(text, "utf-8")
        return folder

    @cached_property
    def clusters(self) -> Path:
        """A table in which every chain is its own cluster, so that MMseqs2 is not needed."""
        path = self.folder / "clusters.tsv"
        names = [f"{_entry(number)}_A" for number in range(12)]
        path.write_text("".join(f"{name}\t{name}\n" for name in names), "utf-8")
        return path

    @cached_property
    def packs(self) -> Path:
        """The output of `train prepare` for the structures.

        Raises:
            RuntimeError: The command failed.
        """
        folder = self.folder / "packs"
        done = run(self.prepare(folder), env=environment(PATH=""))  # the same without MMseqs2
        if done.returncode:
            raise RuntimeError(f"train prepare failed: {done.stderr}")
        return folder

    def score_table(self, name: str, model: int = 0) -> Path:
        """Write and return a table of pairs: one of the structures against each of the others.

        Args:
            name: Name of the file and of its pairs, which distinguishes tables of scores.
            model: Which structure is the model.
        """
        path = self.folder / f"{name}.csv"
        rows = [
            (f"{name}_{number}", _structure(model), _structure(number))
            for number in range(12)
            if number != model and self.structures
        ]
        _write_table(path, ("name", "model", "reference"), rows)
        return path

    @cached_property
    def model(self) -> Path:
        """Twenty residues of the example, side chains included, to relax."""
        path = self.folder / "model.pdb"
        path.write_text(to_pdb(read_structure(EXAMPLE / "1adz.cif").select(np.arange(20))), "utf-8")
        return path

    @cached_property
    def archive(self) -> Path:
        """A tar of tiny networks in AlphaFold's format; read by commands with `tiny=True`."""
        path = _made(self.folder / "site") / "alphafold_params.tar"
        files = {"LICENSE": b"Creative Commons Attribution 4.0\n"}
        for name in MONOMERS:
            data = io.BytesIO()
            np.savez(data, **official_parameters(name))  # type: ignore[arg-type]
            files[f"params_{name}.npz"] = data.getvalue()
        with tarfile.open(path, "w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    # Argument lists

    def fold(self, out: Path, *names: str, seeds: str = "0", more: Sequence[str] = ()) -> list[str]:
        """Return the arguments of `fold` for the named queries, by default `alpha`."""
        files = [str(self.queries[name]) for name in names or ("alpha",)]
        options = ["--weights", str(self.networks), "--seeds", seeds, "--device", "cpu"]
        return ["fold", *files, "-o", str(out), *options, *more]

    def screen(self, out: Path, seeds: str = "0", more: Sequence[str] = ()) -> list[str]:
        """Return the arguments of `screen` for three pairs."""
        proteins = [str(self.queries[name]) for name in PROTEINS]
        options = ["--weights", str(self.networks), "--seeds", seeds, "--device", "cpu"]
        return ["screen", str(self.screen_table), *proteins, "-o", str(out), *options, *more]

    def get(
        self, folder: Path, models: Sequence[str] = MONOMERS, mirror: str | None = None
    ) -> list[str]:
        """Return the arguments of `weights get`, from a mirror or the archive, for `tiny=True`."""
        source = ["--mirror", mirror] if mirror else ["--tar", str(self.archive)]
        return ["weights", "get", "--models", ",".join(models), "--folder", str(folder), *source]

    def prepare(self, out: Path, workers: int = 1, more: Sequence[str] = ()) -> list[str]:
        """Return the arguments of `train prepare` for twelve structures."""
        folders = [str(self.structures), str(self.alignments), "-o", str(out)]
        options = ["--clusters", str(self.clusters), "--val-share", "0.2"]
        return ["train", "prepare", *folders, *options, "--workers", str(workers), *more]

    def train(
        self, out: Path, steps: int = 4, seed: int = 0, more: Sequence[str] = ()
    ) -> list[str]:
        """Return the arguments of `train run`, with a checkpoint every second step."""
        given = ["--data", str(self.packs), "-o", str(out), "--start", str(self.start)]
        options = ["--stage", "main", "--steps", str(steps), "--seed", str(seed)]
        sizes = ["--set", "crop_size=16", "--set", "num_rows=4", "--set", "batch_size=2"]
        return ["train", "run", *given, *options, *sizes, "--save-every", "2", *more]

    def score(self, table: Path, out: Path, jobs: int = 1) -> list[str]:
        """Return the arguments of `score --batch` for a table of pairs."""
        return ["score", "--batch", str(table), "-o", str(out), "--align", "--jobs", str(jobs)]

    def relax(self, out: Path) -> list[str]:
        """Return the arguments of `relax` for the small model; needs OpenMM."""
        options = ["--platform", "reference", "--rounds", "1"]
        return ["relax", str(self.model), "-o", str(out), *options]


def environment(**more: str) -> dict[str, str]:
    """Return a command's environment: one thread, and the package that this program imported."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)} | more


def start(arguments: Sequence[str], *, tiny: bool = False, **options: Any) -> subprocess.Popen[str]:
    """Start a command; its output is captured.

    Args:
        arguments: Arguments of `foldry`.
        tiny: Whether tiny networks replace the official ones.
        options: Options of `subprocess.Popen`, such as `cwd` and `start_new_session`.
    """
    program = [str(Path(__file__).resolve())] if tiny else ["-m", "foldry.cli.main"]
    given: dict[str, Any] = {
        "env": environment(),
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    command = [sys.executable, *program, *arguments]
    return subprocess.Popen(command, text=True, **(given | options))


def run(
    arguments: Sequence[str], *, tiny: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with start(arguments, tiny=tiny, **options) as process:
        output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Yield the address of a local server for the files of a folder."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _write_table(path: Path, header: Sequence[str], rows: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _entry(number: int) -> str:
    return f"1k{number:02d}"


def _structure(number: int) -> str:
    return f"structures/{_entry(number)}.pdb"


def _columns(first: int, last: int) -> list[str]:
    """Return columns of the example's alignment, query first, without insertions."""
    lines = (EXAMPLE / "1adz.a3m").read_text("utf-8").splitlines()
    rows = ["".join(each for each in line if not each.islower()) for line in lines[1::2]]
    return [row[first:last] for row in rows]


def _alignment(first: int, last: int, name: str) -> str:
    rows = enumerate(_columns(first, last))
    return "".join(f">{f'row{number}' if number else name}\n{row}\n" for number, row in rows)


def _piece(number: int) -> Structure:
    """Return a piece of the example's backbone with a random sequence."""
    first = 2 * number
    structure = read_structure(EXAMPLE / "1adz.cif").select(np.arange(first, first + PIECE))
    draw = np.random.default_rng(number)
    aatype = draw.integers(0, len(RESTYPES), PIECE)
    mask = structure.atom_mask & ATOM37_MASK[aatype].astype(bool)
    mask[:, NUM_BACKBONE:] = False
    moves = draw.normal(0, 0.05, structure.atom_positions.shape)
    positions = ((structure.atom_positions + moves) * mask[..., None]).round(3)
    return replace(structure, aatype=aatype, atom_mask=mask, atom_positions=positions)


def _invented_alignment(number: int) -> str:
    """Return a piece's sequence and seven rows that differ from it in a fifth of the residues."""
    draw = np.random.default_rng(number)
    rows = [_piece(number).sequence]
    for _ in range(7):
        letters = draw.choice(list(RESTYPES), PIECE)
        changed = draw.random(PIECE) < 0.2
        rows.append("".join(np.where(changed, letters, list(rows[0]))))
    return "".join(f">{_entry(number)}_{place}\n{row}\n" for place, row in enumerate(rows))


def use_tiny_networks() -> None:
    """Replace the official networks by tiny ones in this process."""
    configs.preset = tiny
    for name, module in list(sys.modules.items()):
        if name.startswith("foldry.") and getattr(module, "preset", None) is PRESET:
            module.preset = tiny  # type: ignore[attr-defined]


def main(arguments: list[str]) -> int:
    """Run one Foldry command in this process."""
    from foldry.cli.main import main as command  # noqa: PLC0415

    use_tiny_networks()
    sys.argv = ["foldry", *arguments]  # repeated by a supervisor of several workers
    return command(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""CPU-seconds of one Evoformer block by operation, beside OpenFold and the processor's own speed.

    python benchmarks/evoformer_block.py [--openfold FOLDER] [--rounds 5]

One block of model_1_ptm, float32, one thread, the same random weights and inputs in every program.
Two processes measure in turn: one as it comes, one with the process settings of Foldry's command
line. Each first finds the chunk size at which OpenFold is fastest in it, then runs every program
once a round. A block starts from a copy of its inputs, which is not measured. The time of an
operation is from its start to the start of the next one, so that the residuals are included.
"""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from peers import Worker, apply_settings, machine, measure, serve, use_openfold
from script import run_script

if TYPE_CHECKING:
    from torch import Tensor, nn

SETTINGS = ("as it comes", "with settings")
CHUNKS = (None, 1, 4, 16, 64)
GEMM_SHAPES = ((2048, 2048, 2048), (8192, 512, 2048), (32768, 256, 1024), (65536, 128, 512))
MAX_GEMM_ERROR = 2e-6
"""Relative error above which a matrix product does not count as float32."""
OPERATIONS = {
    "row attention": ("msa_row_attention", "msa_att_row"),
    "column attention": ("msa_column_attention", "msa_att_col"),
    "MSA transition": ("msa_transition", "msa_transition"),
    "outer product mean": ("outer_product_mean", "outer_product_mean"),
    "triangle multiplications": ("triangle_multiplication", "pair_stack.tri_mul"),
    "triangle attentions": ("triangle_attention", "pair_stack.tri_att"),
    "pair transition": ("pair_transition", "pair_stack.pair_transition"),
}
"""Prefixes of the modules of each operation in Foldry's block and in OpenFold's."""


def gflop(length: int, rows: int, c_msa: int = 256, c_pair: int = 128) -> dict[str, float]:
    """Return 1e9 floating-point operations of the matrix products of each operation.

    The narrow projections to the biases of attention are left out (0.1 %).
    """
    msa, pair = rows * length, length * length
    counts = {
        "row attention": 5 * msa * c_msa**2 + 2 * msa * length * c_msa,
        "column attention": 5 * msa * c_msa**2 + 2 * msa * rows * c_msa,
        "MSA transition": 8 * msa * c_msa**2,
        "outer product mean": 2 * msa * c_msa * 32 + (rows + c_pair) * pair * 32**2,
        "triangle multiplications": 2 * (6 * pair * c_pair**2 + pair * length * c_pair),
        "triangle attentions": 2 * (5 * pair * c_pair**2 + 2 * pair * length * c_pair),
        "pair transition": 8 * pair * c_pair**2,
    }
    return {name: 2 * count / 1e9 for name, count in counts.items()}


class Programs:
    """The blocks of one process, with the same weights, and what it measures."""

    def __init__(self, length: int, rows: int, openfold: Path | None) -> None:
        import torch  # noqa: PLC0415

        from foldry.kernels.choose import CPU, REFERENCE  # noqa: PLC0415
        from foldry.model.config import preset  # noqa: PLC0415
        from foldry.model.evoformer import EvoformerBlock  # noqa: PLC0415
        from foldry.model.runtime import Runtime  # noqa: PLC0415

        torch.set_num_threads(1)
        torch.manual_seed(0)
        config = preset("model_1_ptm")
        kernels = {"cpu": CPU, "reference": REFERENCE}
        self.blocks: dict[str, nn.Module] = {
            name: EvoformerBlock(config.evoformer, config.c_pair, Runtime(kernels=each)).eval()
            for name, each in kernels.items()
        }
        state = {name: _random(array) for name, array in self.blocks["cpu"].state_dict().items()}
        for block in self.blocks.values():
            block.load_state_dict(state)
        if openfold:
            self.blocks["openfold"] = openfold_block(openfold, state)
        self.inputs = (
            torch.randn(1, rows, length, config.evoformer.c_msa),
            torch.randn(1, length, length, config.c_pair),
        )
        self.masks = (torch.ones(1, rows, length), torch.ones(1, length, length))
        self.marks: list[tuple[str, float]] = []
        for program, block in self.blocks.items():
            for name, module in block.named_modules():
                for operation, prefixes in OPERATIONS.items():
                    prefix = prefixes[program == "openfold"]
                    if name.startswith(prefix) and name.count(".") == prefix.count("."):
                        module.register_forward_pre_hook(partial(self.mark, operation))

    def mark(self, operation: str, *_: object) -> None:
        """Note that an operation starts."""
        self.marks.append((operation, time.process_time()))

    def call(self, program: str, options: dict[str, Any]) -> tuple[Callable[[], Any], list[Tensor]]:
        """Return the call of a block, and the copies of the inputs that it may overwrite."""
        msa, pair = copies = [array.clone() for array in self.inputs]
        return partial(self.blocks[program], msa, pair, *self.masks, **options), copies

    def run(self, program: str, chunk: int | None, in_place: bool) -> dict[str, Any]:
        """Measure one pass, and the seconds of each operation."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            call, _ = self.call(program, openfold_options(program, chunk, in_place))
            self.marks.clear()
            result = measure(call)
            self.mark("end")
        parts = dict.fromkeys(OPERATIONS, 0.0)
        for (operation, start), (_, end) in zip(self.marks, self.marks[1:], strict=False):
            parts[operation] += end - start
        return {**result, "parts": parts}

    def compare(self) -> dict[str, Any]:
        """Return the largest number of the first program's results and the others' differences."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            results = {
                program: [array.clone() for array in self.call(program, options)[0]()]
                for program in self.blocks
                for options in [openfold_options(program, None, in_place=False)]
            }
        wanted = results["reference"]
        return {
            "largest": max(float(array.abs().max()) for array in wanted),
            "differences": {
                program: max(float((a - b).abs().max()) for a, b in zip(each, wanted, strict=True))
                for program, each in results.items()
                if program != "reference"
            },
        }


def openfold_options(program: str, chunk: int | None, in_place: bool) -> dict[str, Any]:
    """Return the arguments that only OpenFold's block has."""
    if program != "openfold":
        return {}
    return {"chunk_size": chunk, "inplace_safe": in_place, "_mask_trans": False}


def openfold_block(folder: Path, state: dict[str, Tensor]) -> nn.Module:
    """Return OpenFold's block with the parameters of Foldry's."""
    use_openfold(folder)
    from openfold.config import model_config  # noqa: PLC0415
    from openfold.model.evoformer import EvoformerBlock  # noqa: PLC0415

    from foldry.model.config import preset  # noqa: PLC0415
    from foldry.weights.openfold import table  # noqa: PLC0415

    options = model_config("model_1_ptm").model.evoformer_stack.to_dict()
    names = inspect.signature(EvoformerBlock.__init__).parameters
    block = EvoformerBlock(**{name: options[name] for name in names if name in options}).eval()
    prefix = "evoformer.blocks.0."
    theirs = {
        their_name.removeprefix(prefix): state[our_name.removeprefix(prefix)]
        for our_name, their_name in table(preset("model_1_ptm")).items()
        if our_name.startswith(prefix)
    }
    block.load_state_dict(theirs)
    return block


def _random(array: Tensor) -> Tensor:
    """Return random parameters that keep activations near their size."""
    import torch  # noqa: PLC0415

    noise = torch.randn(array.shape)
    return noise / array.shape[-1] ** 0.5 if array.ndim > 1 else 0.1 * noise + array.mean()


def gemm_rates() -> dict[str, float]:
    """Return the best rate over several shapes in GFLOP/s, for each library that keeps float32."""
    import torch  # noqa: PLC0415

    from foldry.kernels.matmul import DEFAULT, ONEDNN  # noqa: PLC0415

    best: dict[str, float] = {}
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    for library, value in (("PyTorch's default", DEFAULT), ("oneDNN", ONEDNN)):
        setting.fp32_precision = value
        for m, k, n in GEMM_SHAPES:
            left, right = torch.randn(m, k), torch.randn(k, n)
            out = torch.mm(left, right)
            exact = left[:64].double() @ right.double()
            if ((out[:64] - exact).norm() / exact.norm()).item() > MAX_GEMM_ERROR:
                continue
            seconds = min(measure(partial(torch.mm, left, right, out=out))["cpu"] for _ in range(2))
            best[library] = max(best.get(library, 0), 2e-9 * m * k * n / seconds)
    setting.fp32_precision = before
    return best


def work(arguments: argparse.Namespace) -> None:
    """Answer the questions of the parent."""
    if arguments.child == SETTINGS[1]:
        apply_settings(2**31 - 1)  # OpenFold makes many large arrays
    programs = Programs(arguments.length, arguments.rows, arguments.openfold)

    def answer(what: str, **question: Any) -> dict[str, Any]:
        if what == "gemm":
            return gemm_rates()
        return programs.compare() if what == "compare" else programs.run(**question)

    serve(answer)


class Table:
    """The measurements of all rounds, and what is printed of them."""

    def __init__(self, workers: dict[str, Worker], counts: dict[str, float]) -> None:
        self.workers = workers
        self.counts = counts
        self.results: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.rates: dict[str, float] = {}
        self.options: dict[str, dict[str, Any]] = {}

    def find_options(self) -> None:
        """Find for each process OpenFold's fastest chunk size, then whether in place is faster."""
        for setting, worker in self.workers.items():
            tried = {}
            for chunk in CHUNKS:
                tried[chunk] = self._ask(worker, "openfold", chunk=chunk, in_place=True)["cpu"]
            chunk = min(tried, key=lambda each: tried[each])
            other = self._ask(worker, "openfold", chunk=chunk, in_place=False)["cpu"]
            self.options[setting] = {"chunk": chunk, "in_place": tried[chunk] <= other}
            row = ", ".join(f"{_chunk(each)} {seconds:.2f}" for each, seconds in tried.items())
            print(f"OpenFold {setting}: {row}; not in place {other:.2f}", flush=True)

    def run_round(self, programs: list[str]) -> None:
        """Measure everything once, the two processes in turn."""
        for program in programs:
            for setting, worker in self.workers.items():
                options = self.options.get(setting) if program == "openfold" else None
                result = self._ask(worker, program, **(options or {}))
                self.results.setdefault((program, setting), []).append(result)
        for worker in self.workers.values():
            for precision, rate in worker.ask(what="gemm").items():
                self.rates[precision] = max(self.rates.get(precision, 0), rate)

    @staticmethod
    def _ask(
        worker: Worker, program: str, chunk: int | None = None, in_place: bool = True
    ) -> dict[str, Any]:
        return worker.ask(what="run", program=program, chunk=chunk, in_place=in_place)

    def seconds(self, program: str, setting: str) -> float:
        """Return the median of the CPU-seconds."""
        return median(each["cpu"] for each in self.results[program, setting])

    def print(self, programs: dict[str, str]) -> None:
        """Print the table of blocks, the ratios, and the table of operations."""
        best = max(self.rates.values())
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in self.rates.items())
        print(f"best float32 matrix product, GFLOP/s: {rates}")
        print(f"\n{'one block':22s} {'process':14s} CPU-s median     min    wall  GFLOP/s  of best")
        for (program, setting), results in self.results.items():
            cpu, wall = ([each[key] for each in results] for key in ("cpu", "wall"))
            rate = sum(self.counts.values()) / median(cpu)
            name = programs[program]
            if program == "openfold":
                options = self.options[setting]
                name += f" chunk {_chunk(options['chunk'])}"
            print(
                f"{name:22s} {setting:14s} {median(cpu):12.3f} {min(cpu):7.3f} "
                f"{median(wall):7.3f} {rate:8.0f} {100 * rate / best:6.1f} %"
            )
        if "openfold" in programs:
            self.print_ratios()
        columns = [(program, setting) for program in programs for setting in SETTINGS[::-1]]
        print(f"\n{'CPU-s (median)':26s}{'GFLOP':>7s}", end="")
        print("".join(f" {programs[program].split()[-1]:>9s}" for program, _ in columns))
        print(f"{'':33s}" + "".join(f" {setting.split()[0]:>9s}" for _, setting in columns))
        for operation, count in self.counts.items():
            row = [median(each["parts"][operation] for each in self.results[c]) for c in columns]
            print(f"{operation:26s}{count:7.1f}" + "".join(f" {each:9.3f}" for each in row))

    def print_ratios(self) -> None:
        """Print how Foldry compares with OpenFold, by medians."""
        plain, settings = SETTINGS
        cpu = self.seconds("cpu", settings)
        reference = [self.seconds("reference", setting) for setting in SETTINGS]
        theirs = [self.seconds("openfold", setting) for setting in SETTINGS]
        print(
            f"\ncpu kernels with settings: {theirs[0] / cpu:.2f} × as fast as OpenFold {plain}, "
            f"{theirs[1] / cpu:.2f} × as fast as OpenFold {settings}\n"
            f"reference: {reference[0] / theirs[0]:.2f} × OpenFold's time {plain}, "
            f"{reference[1] / theirs[1]:.2f} × {settings}"
        )


def _chunk(chunk: int | None) -> str:
    return "none" if chunk is None else str(chunk)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--openfold", type=Path, help="checkout of OpenFold, see peers.md")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--child", choices=SETTINGS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        work(arguments)
        return
    programs = {"cpu": "Foldry cpu", "reference": "Foldry reference"}
    words = ["--length", str(arguments.length), "--rows", str(arguments.rows)]
    if arguments.openfold:
        programs["openfold"] = "OpenFold"
        words += ["--openfold", str(arguments.openfold)]
    workers = {setting: Worker(*words, "--child", setting) for setting in SETTINGS}
    counts = gflop(arguments.length, arguments.rows)
    print(f"{machine()}, one thread, float32")
    print(
        f"L {arguments.length}, S {arguments.rows}: {sum(counts.values()):.1f} GFLOP in matrix "
        f"products; {arguments.rounds} rounds"
    )
    for setting, worker in workers.items():
        found = worker.ask(what="compare")
        row = ", ".join(f"{programs[each]} {x:.1e}" for each, x in found["differences"].items())
        print(f"largest number {found['largest']:.1f}; from the reference, {setting}: {row}")
    table = Table(workers, counts)
    if arguments.openfold:
        table.find_options()
    for _ in range(arguments.rounds):
        table.run_round(list(programs))
    table.print(programs)
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    run_script(main)

"""Check whether two checkouts of Foldry give the same numbers.

    python benchmarks/compare_checkouts.py BEFORE AFTER [--data ../shared/data]
        [--runs fold-sequence,score] [--work FOLDER]

Twelve runs of one to three commands each cover predictions of proteins and complexes, a screen,
relaxation on the reference platform, scores, and training. Both checkouts get the same inputs, made
from the examples of AFTER and, for the run `train`, the packs in `--data`. Commands use this Python
and one thread; each run has a new folder. FOLDER, new or empty, keeps inputs and outputs.

Numbers in JSON, CSV, mmCIF and PDB files are compared as printed, arrays in NumPy and safetensors
files bit by bit. Everything else is text: differences are listed below the table, as are the fields
that always differ between runs and are not compared. The exit code is 1 if a number differs, a
number or a file is missing on one side, or a command fails.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from zipfile import BadZipFile
from zlib import crc32

import gemmi
import numpy as np

from script import run_script

SIDES = ("before", "after")
INPUTS = "../../inputs"
"""The inputs, seen from a run's folder."""
FOLD = "--device cpu -o out"
MULTIMER = f"--weights {INPUTS}/multimer.safetensors --num-recycles"
TRAIN = "-o out --device cpu --stage main --save-every 10 --set crop_size=48"
RUNS = {
    "fold-sequence": (f"fold {INPUTS}/1adz.fasta {FOLD}",),
    "fold-seeds": (f"fold {INPUTS}/trypsin.a3m --seeds 0-2 --num-recycles 1 --dropout {FOLD}",),
    "fold-template": (
        f"fold {INPUTS}/alignments/1adz_A.a3m --templates {INPUTS}/structures/1adz.cif "
        f"--max-msa 12:0 --ensemble 2 --save-representations {FOLD}",
        f"score out/1adz {INPUTS}/structures/1adz.cif --align --csv",
    ),
    "fold-complex": (f"fold {INPUTS}/trimer.fasta --together {MULTIMER} 1 {FOLD}",),
    "fold-pairing": (f"fold {INPUTS}/paired.json --pairing greedy {MULTIMER} 3 {FOLD}",),
    "screen": (f"screen {INPUTS}/proteins.csv {INPUTS}/trypsin.a3m --all {MULTIMER} 0 {FOLD}",),
    "relax": (
        f"fold {INPUTS}/peptide.fasta --seeds 0,1 --relax best --relax-platform reference "
        f"--relax-rounds 2 {FOLD}",
        f"relax {INPUTS}/peptide.pdb -o relaxed.pdb --platform reference --rounds 2",
    ),
    "score": (
        f"score {INPUTS}/model.pdb {INPUTS}/structures/1adz.cif --plot plot.svg",
        f"score {INPUTS}/model.pdb {INPUTS}/structures/1adz.cif --csv --stereochemistry",
        f"score {INPUTS}/model.pdb {INPUTS}/structures/1adz.cif --json --align",
    ),
    "score-batch": (f"score --batch {INPUTS}/pairs.csv -o scores.csv --jobs 1",),
    "score-complex": (
        f"score {INPUTS}/dimer.pdb {INPUTS}/structures/1mld_AB.cif.gz "
        f"--pae {INPUTS}/dimer_pae.json --json",
    ),
    "train": (f"train --data {INPUTS}/data --steps 20 --set num_rows=8 {TRAIN}",),
    "train-prepare": (
        f"train prepare {INPUTS}/structures {INPUTS}/alignments -o packs --workers 1 "
        f"--clusters {INPUTS}/clusters.tsv",
    ),
}
LEFT_OUT = (
    ("fold.json", ".*", "hashes"),
    ("*.html", ".*", "pages: the numbers of the other files, with dates and durations"),
    ("scores_*.json", r"\.created$|\.seconds$|\.versions\.", "dates, durations, versions"),
    ("*.cif", r"value, (created|seconds) |^_software\.version", "dates, durations, versions"),
    ("*.cif", r"^_ma_software_parameter\.parameter_id", "running numbers of settings"),
    ("screen.csv", r"^seconds\b", "durations"),
    ("log.jsonl", r"\.seconds$", "durations"),
    ("packs/structures/*", ".*", "atoms as packed: their layout and rounding may change"),
    ("packs/work/*", ".*", "intermediate files, named by hashes"),
)
"""Files, the fields in them that are not compared, and their content."""
OF_ONE_SIDE = (".*", "*/.*", "lock", "*/lock", "*.lock", "packs/work/*", "*/viewer.js")
"""Files that may exist on one side only."""
DURATION = re.compile(r"\bseconds [\d.]+|\b\d+ s\b")
"""Parts of printed text that are not compared."""
WEIGHTS = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from foldry.model.config import preset
from foldry.weights.layout import state_shapes
from foldry.weights.state_file import save
base = preset("model_1_multimer_v3")
small = dict(num_blocks=2, num_heads_msa=4, num_heads_pair=2, c_outer=8, c_triangle=16)
config = replace(
    base,
    features=replace(base.features, num_msa=12, num_extra_msa=20),
    evoformer=replace(base.evoformer, c_msa=32, **small),
    extra=replace(base.extra, c_msa=16, **small),
    template=replace(base.template, num_blocks=1, num_heads=2, c_template=16, c_attention=16),
    structure=replace(base.structure, num_layers=4, c=32, num_heads=4, c_sidechain=32),
    c_pair=32,
    c_single=32,
)
rng, state = np.random.default_rng(0), {}
for name, shape in sorted(state_shapes(config).items()):
    drawn = rng.normal(size=shape) / np.sqrt(shape[-1] if len(shape) > 1 else 100)
    norm = len(shape) == 1 and name.endswith("weight")
    state[name] = torch.from_numpy((drawn + norm).astype(np.float32))
save(Path(sys.argv[1]), state, config)
"""


@dataclass(frozen=True)
class Value:
    """The content at one place of a file: text, or numbers as printed or as bytes."""

    content: str | bytes
    num_numbers: int = 0


Values = Iterator[tuple[str, Value]]


class Printed(str):
    """A JSON number or constant, as it is printed."""


@dataclass
class Outcome:
    """The result of one run on both sides."""

    num_files: int = 0
    num_numbers: int = 0
    differences: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    files_of_one: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment of a checkout's commands: one thread, tables of a fixed width."""
    given = {name: text for name, text in os.environ.items() if not name.startswith("FOLDRY_")}
    source = str((checkout / "src").resolve())
    return {**given, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def check_checkout(checkout: Path) -> None:
    """Check that Foldry is imported from the checkout, not from an installed package."""
    command = [sys.executable, "-c", "import foldry; print(foldry.__file__)"]
    found = subprocess.run(
        command, env=environment(checkout), capture_output=True, text=True, check=False
    )
    if not Path(found.stdout.strip()).is_relative_to((checkout / "src").resolve()):
        raise SystemExit(f"{checkout} is not a checkout of Foldry: {found.stderr or found.stdout}")


def make_inputs(folder: Path, after: Path, data: Path) -> None:
    """Write the inputs of all runs."""
    examples = after / "examples"
    for name in ("structures", "alignments"):
        (folder / name).mkdir(parents=True)
    kunitz, trypsin = examples / "kunitz" / "1adz", examples / "trypsin" / "1trn"
    shutil.copy(f"{kunitz}.fasta", folder)
    shutil.copy(f"{kunitz}.a3m", folder / "alignments" / "1adz_A.a3m")
    shutil.copy(f"{trypsin}.a3m", folder / "alignments" / "1trn_A.a3m")
    dimer = examples / "malate_dehydrogenase" / "1mld_AB.cif.gz"
    for source in (f"{kunitz}.cif", f"{trypsin}.cif", dimer):
        shutil.copy(source, folder / "structures")
    chains = ("1adz_A", "1trn_A", "1mld_AB_A", "1mld_AB_B")
    table = "".join(f"{chain[:4]}\t{chain}\n" for chain in chains)
    (folder / "clusters.tsv").write_text(table)
    if (data / "structures").is_dir():
        (folder / "data").symlink_to(data.resolve())
    make_queries(folder, Path(f"{trypsin}.a3m").read_text())
    make_models(folder, Path(f"{kunitz}.cif"), dimer)
    command = [sys.executable, "-c", WEIGHTS, str(folder / "multimer.safetensors")]
    subprocess.run(command, env=environment(after), check=True)


def make_queries(folder: Path, alignment: str) -> None:
    """Write pieces of an alignment as proteins and as chains of complexes."""
    first, second, third = (columns(alignment, *part) for part in ((0, 60), (60, 95), (95, 125)))
    (folder / "trypsin.a3m").write_text(first)
    query, a, b = (text.split("\n")[1] for text in (first, second, third))
    (folder / "trimer.fasta").write_text(f">a\n{a}\n>b\n{b}\n>copy\n{a}\n")
    (folder / "proteins.csv").write_text(f"id,sequence\na,{a}\nb,{b}\n1trn,{query}\n")
    (folder / "peptide.fasta").write_text(f">peptide\n{query[:8]}\n")
    proteins = [
        {"protein": {"id": name, "sequence": sequence, "unpairedMsa": rows, "templates": []}}
        for name, sequence, rows in (("A", a, second), ("B", b, third))
    ]
    job = {"name": "paired", "modelSeeds": [1, 2], "sequences": proteins}
    (folder / "paired.json").write_text(json.dumps({**job, "dialect": "alphafold3", "version": 1}))


def columns(alignment: str, start: int, end: int) -> str:
    """Return some columns of an a3m with their insertions, without rows that have only gaps."""
    kept = []
    for record in alignment.removeprefix(">").split("\n>"):
        header, _, letters = record.partition("\n")
        cells = re.findall(r"[^a-z][a-z]*", letters.replace("\n", ""))[start:end]
        row = "".join(cells[:-1]) + cells[-1][0]
        if row.strip("-"):
            kept.append(f">{header}\n{row}\n")
    return "".join(kept)


def make_models(folder: Path, kunitz: Path, dimer: Path) -> None:
    """Write distorted experiments, pLDDT and PAE, with a fixed seed."""
    rng = np.random.default_rng(0)
    structure = read_experiment(kunitz)
    peptide = structure.clone()
    residues = peptide[0][0]
    for index in reversed(range(len(residues))):
        if not 20 <= index < 28:
            del residues[index]
    peptide.write_pdb(str(folder / "peptide.pdb"))
    distort(structure, rng)
    structure.write_pdb(str(folder / "model.pdb"))
    pair = read_experiment(dimer)
    distort(pair, rng)
    pair.write_pdb(str(folder / "dimer.pdb"))
    size = sum(len(chain) for chain in pair[0])
    errors = np.round(rng.uniform(0.5, 20, (size, size)), 1).tolist()
    (folder / "dimer_pae.json").write_text(json.dumps([{"predicted_aligned_error": errors}]))
    pairs = [("model.pdb", "structures/1adz.cif"), ("dimer.pdb", "structures/1mld_AB.cif.gz")]
    pairs.append(("peptide.pdb", "structures/1adz.cif"))
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("model", "reference"), *pairs])


def read_experiment(path: Path) -> gemmi.Structure:
    """Return the protein of a structure file."""
    structure = gemmi.read_structure(str(path))
    structure.remove_ligands_and_waters()
    structure.remove_alternative_conformations()
    return structure


def distort(structure: gemmi.Structure, rng: np.random.Generator) -> None:
    """Bend a structure, displace some residues and give each a pLDDT."""
    for number, residue in enumerate(itertools.chain.from_iterable(structure[0])):
        jump = rng.normal(size=3) if rng.random() < 0.1 else np.zeros(3)
        moved = 1.5 * np.sin(number / np.array([7.0, 11.0, 17.0])) + jump
        plddt = rng.uniform(40, 95)
        for atom in residue:
            atom.pos += gemmi.Position(*(moved + 0.05 * rng.normal(size=3)))
            atom.b_iso = plddt


def run_commands(name: str, checkout: Path, folder: Path) -> str:
    """Run the commands of one run and keep their output.

    Returns:
        The command that failed and how; empty if none did.
    """
    folder.mkdir(parents=True)
    for number, command in enumerate(RUNS[name], 1):
        kind = next((kind for kind in ("csv", "json") if f"--{kind}" in command), "txt")
        done = subprocess.run(
            [sys.executable, "-m", "foldry.cli.main", *command.split()],
            cwd=folder,
            env=environment(checkout),
            capture_output=True,
            check=False,
        )
        (folder / f"stdout-{number}.{kind}").write_bytes(done.stdout)
        (folder / f"stderr-{number}.txt").write_bytes(done.stderr)
        if done.returncode:
            said = " ".join(done.stderr.decode(errors="replace").split())
            return f"command {number} ended with {done.returncode}: {said[-200:]}"
    return ""


def values_of(path: Path) -> Values:
    """Return every value of a file by its place."""
    if path.suffix in (".npz", ".safetensors"):
        yield from (of_npz if path.suffix == ".npz" else of_safetensors)(path)
        return
    text = path.read_text("utf-8", errors="replace")
    if path.suffix == ".json":
        yield from of_json(text)
    elif path.suffix == ".jsonl":
        for number, line in enumerate(text.splitlines(), 1):
            yield from of_json(line, f"line {number}")
    elif path.suffix in (".csv", ".tsv"):
        yield from of_table(text, "\t" if path.suffix == ".tsv" else ",")
    elif path.suffix == ".cif":
        yield from of_cif(text)
    elif path.suffix == ".pdb":
        yield from of_pdb(text)
    else:
        yield "text", Value(DURATION.sub("", text))


def printed(text: str) -> Value:
    """Return a cell of a table, as a number if it is one."""
    try:
        float(text)
    except ValueError:
        return Value(text)
    return Value(text, 1)


def of_json(text: str, place: str = "") -> Values:
    read = json.loads(text, parse_float=Printed, parse_int=Printed, parse_constant=Printed)
    yield from in_json(read, place)


def in_json(read: object, place: str) -> Values:
    if isinstance(read, dict):
        for name, each in read.items():
            yield from in_json(each, f"{place}.{name}".removeprefix("."))
    elif isinstance(read, list):
        for index, each in enumerate(read):
            yield from in_json(each, f"{place}[{index}]")
    else:
        text = isinstance(read, str) and not isinstance(read, Printed)
        yield place, Value(str(read), num_numbers=int(not text))


def of_table(text: str, delimiter: str) -> Values:
    names, *rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    for number, row in enumerate(rows, 2):
        for name, cell in zip(names, row, strict=True):
            yield f"{name}, line {number}", printed(cell)


def of_cif(text: str) -> Values:
    """Return the cells of all tables; rows are identified by name, or else by number."""
    block = gemmi.cif.read_string(text).sole_block()
    for category in block.get_mmcif_category_names():
        table = block.find_mmcif_category(category)
        tags = [tag.partition(".")[2] for tag in table.tags]
        rows = [[gemmi.cif.as_string(cell) for cell in row] for row in table]
        count: Counter[str] = Counter()
        for row in rows:
            name = row[tags.index("name")] if "name" in tags else "row"
            count[name] += 1
            for tag, cell in zip(tags, row, strict=True):
                yield f"{category}{tag}, {name} {count[name]}", printed(cell)


def of_pdb(text: str) -> Values:
    columns = {"number": (22, 27), "x": (30, 38), "y": (38, 46), "z": (46, 54)}
    columns |= {"occupancy": (54, 60), "B": (60, 66)}
    lines = text.splitlines()
    atoms = [line for line in lines if line.startswith(("ATOM", "HETATM"))]
    for number, line in enumerate(atoms, 1):
        yield f"name of atom {number}", Value(line[:22] + line[66:])
        for name, (start, end) in columns.items():
            yield f"{name} of atom {number}", Value(line[start:end], 1)
    yield "other lines", Value("\n".join(line for line in lines if line not in set(atoms)))


def of_npz(path: Path) -> Values:
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            array = file[name]
            kind = f"{array.dtype.str} {array.shape} ".encode()
            yield name, Value(kind + array.tobytes(), array.size)


def of_safetensors(path: Path) -> Values:
    """Return arrays as stored, and their notes as text."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    yield "notes", Value(json.dumps(header.pop("__metadata__", {}), sort_keys=True))
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        kind = f"{entry['dtype']} {entry['shape']} ".encode()
        size = int(np.prod(entry["shape"], dtype=np.int64))
        yield name, Value(kind + content[start + first : start + last], size)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a file's path or name matches a pattern."""
    ends = (name, name.rpartition("/")[2])
    return any(fnmatch(end, pattern) for end in ends for pattern in patterns)


def compare(folders: Mapping[str, Path]) -> Outcome:
    """Compare the files of one run."""
    found = Outcome()
    names = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for folder in folders.values()
    ]
    for name in sorted(names[0] ^ names[1]):
        side = SIDES[name in names[1]]
        found.files_of_one.append(f"{name} ({side})")
        if not matches(name, OF_ONE_SIDE):
            found.differences.append(f"{name} exists {side} only")
    whole = [files for files, fields, _ in LEFT_OUT if fields == ".*"]
    for name in sorted(names[0] & names[1]):
        if not matches(name, (*OF_ONE_SIDE, *whole)):
            compare_files(name, [folders[side] / name for side in SIDES], found)
    return found


def compare_files(name: str, paths: Iterable[Path], found: Outcome) -> None:
    """Compare two files of one name place by place and add the differences."""
    found.num_files += 1
    left_out = [re.compile(fields) for files, fields, _ in LEFT_OUT if matches(name, [files])]
    try:
        sides = [dict(values_of(path)) for path in paths]
    except (OSError, ValueError, KeyError, RuntimeError, BadZipFile) as error:
        found.differences.append(f"{name} cannot be read: {error}")
        return
    texts = []
    for place in dict.fromkeys([*sides[0], *sides[1]]):
        if any(fields.search(place) for fields in left_out):
            continue
        one, other = (values.get(place) for values in sides)
        num_numbers = max(value.num_numbers for value in (one, other) if value)
        found.num_numbers += num_numbers
        if one == other:
            continue
        if num_numbers:
            found.differences.append(f"{name}, {place}: {shown(one)} → {shown(other)}")
        else:
            texts.append(place)
    if texts:
        found.texts.append(f"{name} ({texts[0]})")


def shown(value: Value | None) -> str:
    """Return a number as printed, or the checksum of an array."""
    if value is None:
        return "none"
    if isinstance(value.content, str):
        return value.content
    return f"array with CRC-32 {crc32(value.content):08x}"


def run(name: str, checkouts: Mapping[str, Path], work: Path) -> Outcome:
    """Do one run on both sides and return the comparison."""
    seconds, failures = [], []
    folders = {side: work / side / name for side in SIDES}
    for side, checkout in checkouts.items():
        start = time.monotonic()
        failed = run_commands(name, checkout, folders[side])
        seconds.append(time.monotonic() - start)
        if failed:
            failures.append(f"{side}: {failed}")
    found = compare(folders)
    found.seconds = seconds
    found.differences[:0] = failures
    return found


def show(name: str, found: Outcome) -> None:
    """Print the table's row of one run."""
    result = "equal"
    if found.differences:
        more = len(found.differences) - 1
        result = found.differences[0] + (f" (and {more} more)" if more else "")
    numbers = f"{found.num_files:5d} {found.num_numbers:10,d}"
    before, after = found.seconds
    print(f"{name:14s} {numbers} {before:8.1f} {after:8.1f}  {result}", flush=True)


def show_remarks(outcomes: Mapping[str, Outcome]) -> None:
    """Print differences that are not failures, and the fields that were not compared."""
    for name, found in outcomes.items():
        if found.texts:
            print(f"text differs in {name}: {', '.join(found.texts)}")
        if found.files_of_one:
            print(f"on one side only in {name}: {', '.join(found.files_of_one)}")
    print("not compared (files, fields as regular expressions, content):")
    for files, fields, what in LEFT_OUT:
        print(f"  {files:18s} {fields:45s} {what}")
    print(f"  {'text':18s} {DURATION.pattern:45s} durations")
    print(f"not read, and may exist on one side only: {', '.join(OF_ONE_SIDE)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="packs")
    parser.add_argument("--runs", default=",".join(RUNS), help="some of the runs")
    parser.add_argument("--work", type=Path, help="folder that keeps inputs and outputs")
    arguments = parser.parse_args()
    chosen = arguments.runs.split(",")
    if unknown := [name for name in chosen if name not in RUNS]:
        raise SystemExit(f"there is no run {unknown[0]!r}: choose from {', '.join(RUNS)}")
    if arguments.work and arguments.work.exists() and any(arguments.work.iterdir()):
        raise SystemExit(f"{arguments.work} is not empty: give a new folder")
    checkouts = dict(zip(SIDES, (arguments.before, arguments.after), strict=True))
    for checkout in checkouts.values():
        check_checkout(checkout)
    outcomes = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        make_inputs(work / "inputs", arguments.after, arguments.data)
        print(f"{'run':14s} {'files':>5} {'numbers':>10} {'s before':>8} {'s after':>8}  result")
        for name in chosen:
            if name == "train" and not (work / "inputs" / "data").is_dir():
                print(f"{name:14s} not run: {arguments.data} holds no packs")
                continue
            outcomes[name] = run(name, checkouts, work)
            show(name, outcomes[name])
    show_remarks(outcomes)
    return int(any(found.differences for found in outcomes.values()))


if __name__ == "__main__":
    run_script(main)

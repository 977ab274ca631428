"""Clustered MMseqs2 databases of made-up proteins, and fake MMseqs2 programs."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

LETTERS = "ARNDCQEGHILKMFPSTWYV"
OPTIONS = "--prefilter-mode --pairing-mode --pairing-dummy-mode"


def protein(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(LETTERS, k=length))


def relative(chance: random.Random, sequence: str, change: float) -> str:
    """A sequence with substitutions, and now and then an insertion or a deletion."""
    found = ""
    for letter in sequence:
        kept = chance.choice(LETTERS) if chance.random() < change else letter
        found += chance.choices(["", kept, kept + protein(chance, 3)], [1, 60, 1])[0]
    return found


def family(
    chance: random.Random, name: str, sequence: str, number: int, num_species: int
) -> dict[str, str]:
    """Relatives of a sequence named `NAMEspecies_number`: near and far ones, some of them twice."""
    found = {}
    for each in range(number):
        one = relative(chance, sequence, chance.choice([0.02, 0.1, 0.3, 0.5, 0.65]))
        flank = protein(chance, chance.choice([0, 12]))
        again = relative(chance, sequence, 0.2) if each % 9 == 0 else ""
        found[f"{name}{each % num_species}_{each}"] = flank + one + again
    return found


def run(program: str, *arguments: object) -> None:
    command = [program, *map(str, arguments), "-v", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def clustered(program: str, folder: Path, name: str, sequences: Mapping[str, str]) -> Path:
    """Make a clustered database, as ColabFold searches, and return what its names begin with."""
    fasta, path = folder / f"{name}.fasta", folder / name
    fasta.write_text("".join(f">{each} of {name}\n{row}\n" for each, row in sequences.items()))
    every, clusters = folder / f"{name}_all", folder / f"{name}_clusters"
    run(program, "createdb", fasta, every)
    options = ["--min-seq-id", 0.3, "-c", 0.8, "--threads", 2]
    run(program, "linclust", every, clusters, folder / "tmp", *options)
    run(program, "createclusearchdb", every, clusters, path, "--threads", 2)
    parts = [f"{path}{part}" for part in ("_seq", "_clu", "_aln")]
    run(program, "align", path, *parts, "-a", "--threads", 2)
    return path


def add_taxonomy(program: str, path: Path, species: Mapping[str, int]) -> None:
    """Add made-up species to a database: a number of each sequence."""
    folder = path.parent / "taxonomy"
    folder.mkdir()
    numbers = sorted({*species.values()})
    nodes: Iterable[Sequence[object]] = [(1, 1, "no rank"), *((n, 1, "species") for n in numbers)]
    names: Iterable[Sequence[object]] = [(1, "root"), *((n, f"species {n}") for n in numbers)]
    rows = {
        "nodes.dmp": nodes,
        "names.dmp": [(*each, "", "scientific name") for each in names],
        "merged.dmp": [],
        "delnodes.dmp": [],
    }
    for file, cells in rows.items():
        lines = ("\t|\t".join(map(str, each)) + "\t|\n" for each in cells)
        (folder / file).write_text("".join(lines))
    mapping = folder / "mapping.tsv"
    mapping.write_text("".join(f"{name}\t{number}\n" for name, number in species.items()))
    options = ["--ncbi-tax-dump", folder, "--tax-mapping-file", mapping]
    run(program, "createtaxdb", path, folder / "tmp", *options)


def fake_program(path: Path, script: str = "", options: str = OPTIONS) -> Path:
    """Write a program whose help names options, and which otherwise runs a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    helps = f'case "$2" in -h) echo "{options}"; exit 0;; esac\n'
    path.write_text(f"#!/bin/sh\n{helps}{script}\n")
    path.chmod(0o755)
    return path

"""Made-up proteins with known structures, and the official programs that search them."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from foldry.formats.template import deposition_mmcif
from foldry.query import Alignment
from foldry.search.databases import inspect
from foldry.search.engine import Targets
from foldry.search.hmmer import Hmmer
from foldry.store.files import write_text
from tests.search.mmseqs_databases import protein, relative
from tests.search.test_templates import deposited

JACKHMMER = "jackhmmer -o /dev/null -A {out} --noali --F1 0.0005 --F2 5e-05 --F3 5e-07"
JACKHMMER += " --incE 0.0001 -E 0.0001 --cpu 1 -N 1 {query} {database}"
HMMBUILD = "hmmbuild --hand --amino {out} {rows}"
HMMSEARCH = "hmmsearch --noali --cpu 1 --F1 0.1 --F2 0.1 --F3 0.1 --incE 100 -E 100 --domE 100"
HMMSEARCH += " --incdomE 100 -A {out} {profile} {database}"
HHSEARCH = "hhsearch -i {query} -o {out} -maxseq 1000000 -cpu 1 -d {database}"

NO_PROTEIN = "9zzz_A"
"""A chain of the sequence database with the letters of the first query."""


@dataclass(frozen=True)
class World:
    """Queries, their relatives, and entries of chains.

    Attributes:
        folder: `uniref90.fasta`, `pdb_seqres.fasta`, and the entries' files in `structures`.
        queries: Sequences; the last one has no relatives.
        chains: Sequences by entry and chain, also of one entry without a file.
        released: The date of each entry.
    """

    folder: Path
    queries: tuple[str, ...]
    chains: Mapping[str, str]
    released: Mapping[str, str]

    @property
    def uniref90(self) -> Path:
        return self.folder / "uniref90.fasta"

    @property
    def targets(self) -> Targets:
        return Targets(self.folder / "pdb_seqres.fasta", "pdb_seqres", "1")

    def alignments(self) -> list[Alignment]:
        """The rows of each query in UniRef90."""
        return list(Hmmer(inspect(self.uniref90)).query(self.queries))


def make_world(folder: Path) -> World:
    """Make entries of which each rule rejects some."""
    chance = random.Random(7)
    queries = tuple(protein(chance, length) for length in (90, 130, 70))
    rows = [(f"other{n}", protein(chance, chance.randint(40, 250))) for n in range(120)]
    for name, query in zip("ab", queries, strict=False):
        rows += [(f"{name}{n}", relative(chance, query, (n % 6) / 10)) for n in range(40)]
    chance.shuffle(rows)
    chains: dict[str, str] = {}
    released: dict[str, str] = {}

    def add(*sequences: str, date: str = "2005-11-20") -> None:
        entry = f"{1 + len(released) % 9}{'abcdefgh'[len(released) % 8]}{len(released):02d}"
        released[entry] = date
        chains.update({f"{entry}_{c}": s for c, s in zip("ABC", sequences, strict=False)})

    for query in queries[:2]:
        for change in (0.02, 0.1, 0.3, 0.3, 0.5, 0.6):
            near = relative(chance, query, change)
            add(protein(chance, chance.choice([0, 12])) + near, protein(chance, 60))
            add(near + protein(chance, 15) + relative(chance, query, 0.3), date="2021-03-01")
        twice = relative(chance, query, 0.2)
        add(twice, twice)
        add(twice)
        add(query)
        add(query[: int(0.96 * len(query))])
        add(query[5:20])
        add("G" * 15 + relative(chance, query, 0.25).replace("L", "X") + "H" * 6)
    for _ in range(25):
        add(protein(chance, chance.randint(9, 220)))
    (folder / "structures").mkdir()
    for entry, date in list(released.items())[:-1]:
        sequences = {n[5:]: s for n, s in chains.items() if n.startswith(entry)}
        text = deposition_mmcif(deposited(sequences, date), entry)
        (folder / "structures" / f"{entry}.cif").write_text(text)
    add(relative(chance, queries[0], 0.1))  # without a file
    (folder / "uniref90.fasta").write_text("".join(f">{n} the {n}\n{s}\n" for n, s in rows))
    headers = {n: f"{n} mol:protein length:{len(s)}  PROTEIN OF {n}" for n, s in chains.items()}
    text = "".join(f">{headers[n]}\n{s}\n" for n, s in chains.items())
    text += f">{NO_PROTEIN} mol:na length:90  NO PROTEIN\n{queries[0]}\n"
    (folder / "pdb_seqres.fasta").write_text(text)
    return World(folder, queries, chains, released)


def need(*programs: str) -> None:
    """Skip the test if a program is missing."""
    if missing := [name for name in programs if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)} (Debian: apt install hmmer hhsuite)")


def run(command: str, **places: object) -> None:
    """Run one of the commands above."""
    subprocess.run(command.format(**places).split(), check=True, capture_output=True)


def jackhmmer(world: World, query: str, folder: Path) -> str:
    """Return what the official call finds for a query in UniRef90."""
    fasta = write_text(folder / "query.fasta", f">query\n{query}\n")
    run(JACKHMMER, out=folder / "rows.sto", query=fasta, database=world.uniref90)
    return (folder / "rows.sto").read_text()


def hmmsearch(rows: str, targets: Targets, folder: Path) -> str:
    """Return what the official calls find with a Stockholm text."""
    write_text(folder / "query.msa", rows)
    run(HMMBUILD, out=folder / "query.hmm", rows=folder / "query.msa")
    out, profile = folder / "hits.sto", folder / "query.hmm"
    run(HMMSEARCH, out=out, profile=profile, database=targets.fasta)
    return out.read_text()

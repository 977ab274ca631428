"""Read every structure, alignment, PAE and job file below folders, and compare residue counts.

    python benchmarks/read_everything.py FOLDER... [--seconds 10] [--memory 4096] [--verbose]

Each file is read in a process with limits of processor time and memory. gemmi and, where it is
installed, Biopython read the file as well, without Foldry, and their residues are compared with
Foldry's. Prints the number of files read and refused by format, refusals and notes grouped by
sentence, and all differences, of which some have a known reason (`REASONS`, and docs/inputs.md).
The exit code is 1 if a file raises an error that is not Foldry's, exceeds a limit, or has a
difference without a known reason.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import lzma
import math
import multiprocessing
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

import gemmi

from foldry.errors import InputError
from foldry.formats.coordinates import read_deposition, read_structure
from foldry.formats.hhr import parse_hhr
from foldry.formats.pae import read_pae
from foldry.inputs.queries import read_queries
from foldry.store.files import read_text
from script import run_script

try:
    from Bio import SeqIO
    from Bio.Align import parse as parse_alignments
    from Bio.PDB import MMCIFParser, PDBParser
    from Bio.PDB.binary_cif import BinaryCIFParser
    from Bio.PDB.Polypeptide import is_aa
except ImportError:
    SeqIO = None

SUFFIXES: Final = {
    "PDB": r"pdb\d*|ent",
    "mmCIF": r"cif|mmcif|pdbx",
    "BinaryCIF": r"bcif",
    "a3m": r"a3m",
    "Stockholm": r"sto|stk|sth|stockholm",
    "FASTA": r"fasta|fa|faa|fas|fsa|afa|a2m|pir|aln",
    "hhr": r"hhr",
    "PAE": r"npz",
    "JSON": r"json",
}
"""Suffixes of each format. A JSON file is a job or PAE by its keys."""
PACKED: Final = r"(\.(gz|xz|zst))?$"
STRUCTURES: Final = ("PDB", "mmCIF", "BinaryCIF")
REFERENCE_SECONDS: Final = 120
WALL_SECONDS: Final = 300
"""Limit on the time that a process may sleep, as on a busy machine."""


class Residue(NamedTuple):
    """A residue with coordinates of the first model, or a letter of a query."""

    chain: str
    number: int
    code: str = ""


@dataclass(frozen=True)
class Seen:
    """A residue as gemmi or Biopython reads it.

    Attributes:
        name: Its name in the file, or its letter.
        amino: Whether the program counts it as an amino acid.
        bonded: Whether it has a peptide bond to the residue before or after it.
    """

    name: str
    amino: bool = True
    bonded: bool = True


TWICE: Final = "Foldry reads a residue that occurs twice as part of a second chain"
REASONS: Final[dict[str, Callable[[Seen], bool]]] = {
    "Foldry also reads modified residues and caps of a chain": lambda seen: (
        not seen.amino and seen.bonded
    ),
    "Foldry leaves out free amino acids, which are ligands": lambda seen: (
        seen.amino and not seen.bonded
    ),
}
"""Reasons for a difference, with a test of the residue as the other program sees it."""


@dataclass
class Outcome:
    """What a process sent before it ended."""

    value: Any = None
    refused: str = ""
    fault: str = ""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seconds", type=int, default=10, help="processor time for a file")
    parser.add_argument("--memory", type=int, default=4096, help="memory for a file, in MiB")
    parser.add_argument("--verbose", action="store_true", help="name every file of each group")
    arguments = parser.parse_args()
    report = Report(sys.maxsize if arguments.verbose else 3)
    memory = arguments.memory << 20
    for folder in arguments.folders:
        if not folder.is_dir():
            raise InputError("is not a folder", "give a folder of files", where=folder)
        for path, kind in files(folder):
            ours = isolated(read, (path, kind), arguments.seconds, memory)
            report.add(path, kind, ours)
            if ours.value is None:
                continue
            for program, count in COUNTERS.get(kind, {}).items():
                theirs = isolated(unpacked, (path, count), REFERENCE_SECONDS, memory)
                report.compare(path, kind, program, ours.value, theirs)
    sys.exit(report.show())


def files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files below a folder that Foldry should know, each with its format."""
    for path in sorted(folder.rglob("*")):
        for kind, suffixes in SUFFIXES.items():
            if re.search(rf"\.({suffixes}){PACKED}", path.name.lower()) and path.is_file():
                known = _of_keys(path) if kind == "JSON" else kind
                if known:
                    yield path, known


def _of_keys(path: Path) -> str:
    """Return the kind of a JSON file: `job`, `PAE`, or "" if it has another purpose."""
    text = opened(path).decode(errors="replace")
    if re.search(r'"(predicted_aligned_error|pae|distance)"\s*:', text):
        return "PAE"
    return "job" if re.search(r'"(sequences|modelSeeds)"\s*:\s*\[', text) else ""


def read(path: Path, kind: str) -> list[Residue] | int:
    """Read a file with Foldry and return its residues, or its number of hits or rows."""
    if kind == "PAE":
        return len(read_pae(path).errors)
    if kind == "hhr":
        return len(parse_hhr(read_text(path), str(path)))
    if kind not in STRUCTURES:
        return [
            Residue(f"{query.name} {name}", number)
            for query in read_queries([path])
            for chain in query.chains
            for name in chain.ids
            for number in range(len(chain.sequence))
        ]
    structure = read_structure(path)
    observed = structure.atom_mask.any(axis=1).sum()
    chains = read_deposition(path).chains.values()
    template = sum(chain.atom_mask.any(axis=1).sum() for chain in chains)
    if template != observed:
        raise AssertionError(f"{template} residues of templates, {observed} of a model")
    fields = structure.chain_id, structure.residue_number, structure.insertion_code
    return [Residue(str(a), int(b), str(c)) for a, b, c in zip(*fields, strict=True)]


# Readings of gemmi and Biopython


def opened(path: Path) -> bytes:
    """Return the content of a file, decompressed."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\xfd7zXZ"):
        return lzma.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard  # noqa: PLC0415  (only where a file needs it)

        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def unpacked(path: Path, count: Callable[[str], Any]) -> Any:
    """Call a function with the name of a decompressed copy of a file."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / re.sub(PACKED, "", path.name.lower())
        copy.write_bytes(opened(path))
        return count(str(copy))


def of_gemmi(name: str) -> dict[Residue, Seen]:
    """Return the residues of the first model of a PDB or mmCIF file."""
    structure = gemmi.read_structure(name, merge_chain_parts=True)
    modified = {each.res_id.name for each in structure.mod_residues}
    residues = []
    for chain in structure[0]:
        for residue in chain:
            atoms = {atom.name: atom.pos.tolist() for atom in residue}
            amino = gemmi.find_tabulated_residue(residue.name).is_amino_acid()
            amino |= residue.name in modified and {"N", "CA"} <= set(atoms)
            place = Residue(chain.name, residue.seqid.num, residue.seqid.icode.strip())
            residues.append((place, residue.name, amino, atoms))
    return _bonded(residues)


def of_biopython(name: str) -> dict[Residue, Seen]:
    """Return the residues of the first model of a structure file."""
    if name.endswith("bcif"):
        parser = BinaryCIFParser()
    else:
        parser = PDBParser(QUIET=True) if re.search("pdb|ent", Path(name).suffix) else MMCIFParser()
    residues = []
    for chain in next(parser.get_structure("", name).get_models()):
        for residue in chain:
            _, number, code = residue.id
            atoms = {atom.id: atom.coord.tolist() for atom in residue}
            place = Residue(chain.id.strip(), number, code.strip())
            residues.append((place, residue.resname, is_aa(residue, standard=False), atoms))
    return _bonded(residues)


def _bonded(residues: list[tuple[Residue, str, bool, dict[str, Any]]]) -> dict[Residue, Seen]:
    """Return the residues by place; of several in one place, an amino acid."""

    def is_bond(one: dict[str, Any], other: dict[str, Any]) -> bool:
        # Atoms of chromophores have other names, and some models have only Cα.
        return any(
            math.dist(place, other[b]) < (4.2 if a == b == "CA" else 1.8)
            for a, place in one.items()
            for b in other
            if (a[0], b[0]) == ("C", "N") or a == b == "CA"
        )

    bonds = [is_bond(one[-1], other[-1]) for one, other in pairwise(residues)]
    beside = map(any, pairwise([False, *bonds, False]))
    found: dict[Residue, Seen] = {}
    for bonded, (place, name, amino, _) in zip(beside, residues, strict=True):
        if place not in found or amino > found[place].amino:
            found[place] = Seen(name, amino, bonded)
    return found


def _letters(sequences: list[str]) -> dict[Residue, Seen]:
    """Return the letters of sequences, without gaps, `*` and the separators of chains."""
    return {
        Residue(str(index), number): Seen(letter)
        for index, sequence in enumerate(sequences)
        for number, letter in enumerate(re.sub("[^A-Za-z]", "", sequence))
    }


def fasta_of_gemmi(name: str) -> dict[Residue, Seen]:
    """Return the letters of all records."""
    return _letters([each.seq for each in gemmi.read_pir_or_fasta(Path(name).read_text())])


def fasta_of_biopython(name: str) -> dict[Residue, Seen]:
    """Return the letters of all records; of an alignment as a2m, those of the query."""
    kind = "pir" if name.endswith(".pir") else "fasta-pearson"
    texts = [str(record.seq) for record in SeqIO.parse(name, kind)]
    return _letters(texts[:1] if any("." in text for text in texts) else texts)


def a3m_of_biopython(name: str) -> dict[Residue, Seen]:
    """Return the letters of the first record."""
    return _letters([str(next(SeqIO.parse(name, "fasta-pearson")).seq)])


def stockholm_of_biopython(name: str) -> dict[Residue, Seen]:
    """Return the letters of the first row of each alignment."""
    return _letters([str(each.sequences[0].seq) for each in parse_alignments(name, "stockholm")])


COUNTERS: Final[dict[str, dict[str, Callable[[str], dict[Residue, Seen]]]]] = {
    "PDB": {"gemmi": of_gemmi, "Biopython": of_biopython},
    "mmCIF": {"gemmi": of_gemmi, "Biopython": of_biopython},
    "BinaryCIF": {"Biopython": of_biopython},
    "FASTA": {"gemmi": fasta_of_gemmi, "Biopython": fasta_of_biopython},
    "a3m": {"Biopython": a3m_of_biopython},
    "Stockholm": {"Biopython": stockholm_of_biopython},
}
"""The readings to compare with, by format and program."""
if SeqIO is None:
    for programs in COUNTERS.values():
        programs.pop("Biopython", None)


# Processes


def isolated(
    function: Callable[..., Any], arguments: tuple[Any, ...], seconds: int, memory: int
) -> Outcome:
    """Call a function in a copy of this process with limits of processor time and memory."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(function, arguments, seconds, memory, theirs)
    )
    process.start()
    theirs.close()
    try:
        if ours.poll(WALL_SECONDS):
            return ours.recv()
        process.kill()
        return Outcome(fault=f"waits for more than {WALL_SECONDS} s")
    except EOFError:  # the process ended without an answer
        process.join()
        limit = f"takes more than {seconds} s"
        code = process.exitcode
        return Outcome(fault=limit if code == -signal.SIGPROF else f"ends with code {code}")
    finally:
        process.join()


def _run(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    seconds: int,
    memory: int,
    answer: Connection,
) -> None:
    outcome = Outcome()
    warnings.simplefilter("ignore")
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: outcome.notes.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("foldry").addHandler(handler)
    logging.getLogger("foldry").setLevel(logging.INFO)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, resource.RLIM_INFINITY))
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        outcome.value = function(*arguments)
    except InputError as error:
        outcome.refused = str(error)
    except Exception:
        outcome.fault = traceback.format_exc().strip()
    signal.setitimer(signal.ITIMER_PROF, 0)
    outcome.seconds = time.process_time() - begun
    answer.send(outcome)


# The report


class Report:
    """The outcomes of all files.

    Args:
        most: Number of files to name in each group.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._slowest: dict[str, float] = defaultdict(float)
        self._refused: dict[str, list[str]] = defaultdict(list)
        self._notes: dict[str, list[str]] = defaultdict(list)
        self._unread: dict[str, list[str]] = defaultdict(list)
        self._explained: dict[str, list[str]] = defaultdict(list)
        self._faults: dict[str, list[str]] = defaultdict(list)

    def add(self, path: Path, kind: str, outcome: Outcome) -> None:
        """Add what Foldry did with a file."""
        what = "faults" if outcome.fault else "refused" if outcome.refused else "read"
        self._counts[kind][what] += 1
        self._slowest[kind] = max(self._slowest[kind], outcome.seconds)
        if outcome.fault:
            self._faults["errors and exceeded limits"].append(f"{path}: {outcome.fault}")
        if outcome.refused:
            self._refused[grouped(outcome.refused, path)].append(outcome.refused)
        for note in outcome.notes:
            self._notes[grouped(note, path)].append(f"{path}: {note}")

    def compare(
        self, path: Path, kind: str, program: str, ours: list[Residue], theirs: Outcome
    ) -> None:
        """Compare Foldry's residues with those of another program."""
        if theirs.fault:
            self._unread[f"not read by {program}"].append(
                f"{path}: {theirs.fault.splitlines()[-1]}"
            )
            return
        count = sum(seen.amino for seen in theirs.value.values())
        text = f"{path}: Foldry {len(ours)}, {program} {count}"
        if kind not in STRUCTURES:
            if len(ours) != count:
                self._faults["unexplained differences"].append(f"{text} letters")
            return
        for reason, places in differences(ours, theirs.value, kind == "BinaryCIF").items():
            some = ", ".join(places[:6]) + (f" … ({len(places)})" if places[6:] else "")
            group = self._explained[reason] if reason else self._faults["unexplained differences"]
            group.append(f"{text}: {some}")

    def show(self) -> bool:
        """Print the report and return whether it has a fault."""
        print("| format | files | read | refused | faults | slowest (s) |")
        print("|---|---|---|---|---|---|")
        for kind, counts in self._counts.items():
            cells = [counts[name] for name in ("read", "refused", "faults")]
            row = [kind, sum(cells), *cells, f"{self._slowest[kind]:.1f}"]
            print("|", " | ".join(map(str, row)), "|")
        self._list("Refused", self._refused)
        self._list("Notes", self._notes)
        self._list("Not compared", self._unread)
        self._list("Explained differences", self._explained)
        self._list("Faults and unexplained differences", self._faults, sys.maxsize)
        return bool(self._faults)

    def _list(self, title: str, groups: dict[str, list[str]], most: int = 0) -> None:
        most = most or self._most
        print(f"\n{title}: {sum(map(len, groups.values()))}")
        for group, texts in sorted(groups.items(), key=lambda item: -len(item[1])):
            print(f"{len(texts):6}  {group}")
            for text in texts[:most]:
                print(f"        {text}")
            if texts[most:]:
                print(f"        and {len(texts) - most} more")


def differences(
    ours: list[Residue], theirs: dict[Residue, Seen], any_chain: bool
) -> dict[str, list[str]]:
    """Return the residues that only one program reads, by the reason or "".

    Args:
        ours: Foldry's residues.
        theirs: The other program's.
        any_chain: Whether the two call chains differently, as Biopython does in BinaryCIF.
    """
    known = {place.chain for place in theirs}

    def key(place: Residue) -> Residue:
        if any_chain:
            return place._replace(chain="")
        # Foldry appends a number to the name of a second protein with the same chain name.
        name = place.chain if place.chain in known else re.sub(r"\d+$", "", place.chain)
        return place._replace(chain=name)

    seen: dict[Residue, list[Seen]] = defaultdict(list)
    for place, each in theirs.items():
        seen[key(place)].append(each)
    mine = Counter(map(key, ours))
    more = mine.copy()
    more.subtract(key(place) for place, each in theirs.items() if each.amino)
    found: dict[str, list[str]] = defaultdict(list)
    for place, number in more.items():
        reasons = list(REASONS)[:1] if number > 0 else list(REASONS)[1:]
        reason = next((r for r in reasons if any(map(REASONS[r], seen[place]))), "")
        if number > 0 and mine[place] > 1:
            reason = TWICE
        name = "/".join(each.name for each in seen[place]) or "unknown"
        text = f"{number:+d} {place.chain} {place.number}{place.code} {name}"
        found[reason] += [text] if number else []
    return {reason: places for reason, places in found.items() if places}


def grouped(sentence: str, path: Path) -> str:
    """Return a sentence without the file's name, quotations and numbers, to group it."""
    text = re.sub(rf"\S*{re.escape(path.name)}", "FILE", sentence)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", text)
    return re.sub(r"\d+", "N", text)


if __name__ == "__main__":
    run_script(main)

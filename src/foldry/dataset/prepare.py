"""A folder of structures and a folder of alignments → a folder of packs to train on.

One of several processes reads each file once and writes a record under `work`, from which an
interrupted run continues. A record's name is a hash of the settings and of the sizes and times of
the files it depends on, so that a later run reads only files that are new or changed. No file stops
a run; the report lists what was dropped and why.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from foldry.dataset import packs
from foldry.dataset.chains import (
    Candidate,
    Dropped,
    has_suffix,
    is_result,
    read_candidates,
    structure_name,
)
from foldry.dataset.config import PrepareConfig, SplitConfig
from foldry.errors import FoldryError, InputError, MissingError, OutsideError, as_foldry_error
from foldry.formats.npz import read_arrays
from foldry.inputs.folders import A3M_SUFFIXES, STOCKHOLM_SUFFIXES
from foldry.inputs.queries import read_query
from foldry.inputs.structures import STRUCTURE_SUFFIXES
from foldry.processes.pool import worker_pool
from foldry.query import Hit
from foldry.search import mmseqs
from foldry.store.files import check_folder, names, read_text, remove, stem, write_json
from foldry.store.hashes import content_key
from foldry.store.locks import hold

WORK: Final = "work"
REPORT: Final = "report"
SPLITS: Final = ("train", "val")
SHARD: Final = 500
"""Chains in one file of structures."""
NEAR_IDENTITY: Final = 0.3
NEAR_COVERAGE: Final = 0.5
"""Minimum aligned share of the shorter of two chains: a training chain that is this similar to a
validation chain is not trained on."""
_FOLDERS: Final = (WORK, "structures", "msas", "templates", "splits")
_VERSION: Final = 3
_NUMBER_OR_NAME: Final = re.compile(r"\S*[\d./]\S*")
_REPORTS: Final = ("tsv", "json")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A line of the report: a chain, or a file without one.

    Attributes:
        id: Name of the chain; empty for a file without a chain.
        file: Path of the file in the folder of structures.
        length: Residues with a Cα.
        resolution: Resolution in Å; 0 for NMR, NaN if unknown.
        plddt: Mean pLDDT; 100 for an experimental structure.
        rows: Rows of the alignment.
        atoms: Known atoms.
        cluster, split: Cluster and split of the chain.
        reason: Why the chain was dropped; empty if it was kept.
        sequence: One-letter codes.
    """

    id: str
    file: str
    length: int = 0
    resolution: float = float("nan")
    plddt: float = 0.0
    rows: int = 0
    atoms: int = 0
    cluster: str = ""
    split: str = ""
    reason: str = ""
    sequence: str = ""


@dataclass(frozen=True)
class _Task:
    """One file, its name in the report, its alignments, and the file of its record."""

    path: Path
    file: str
    alignments: Mapping[str, Path]
    config: PrepareConfig
    record: Path


def prepare(
    structures: Path,
    alignments: Path,
    out: Path,
    config: PrepareConfig | None = None,
    split: SplitConfig | None = None,
    workers: int = 1,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Write a folder of packs, with `report.tsv` and `report.json` on what was dropped and why.

    Args:
        structures: Folder of mmCIF, BinaryCIF and PDB files, of any depth. The results of a query
            count as their best prediction, named after their folder.
        alignments: Folder of a3m and Stockholm files, named by chain (`1abc_A.a3m`) or structure;
            those of results may also have the name of the query in the first row.
        out: The folder of packs; an earlier run in it is continued.
        config: Criteria that chains must meet.
        split: How chains are clustered and divided.
        workers: Number of processes.
        watch: Receives the number of finished files and the number of all files.

    Returns:
        The lines of the report.

    Raises:
        InputError: There are no structures, no chain is left, or a table or folder is wrong.
        MissingError: MMseqs2 is needed for clustering and is not installed.
        BusyError: Another process prepares data in the folder.
        OutsideError: MMseqs2 failed.
    """
    config, split = config or PrepareConfig(), split or SplitConfig()
    check_folder(out)
    ours = (out / WORK).is_dir() or all((out / f"{REPORT}.{kind}").is_file() for kind in _REPORTS)
    if names(out) and not ours:
        what = "contains files other than prepared data"
        raise InputError(what, "give another folder", where=out)
    if split.clusters is None:
        mmseqs.find(advice=f"{mmseqs.INSTALL}, or set `clusters`")
    known = None if split.clusters is None else _read_clusters(split.clusters)
    tasks = _tasks(structures, alignments, out / WORK, config)
    with hold(out, _FOLDERS):
        table = _drop_copies(_read_all(tasks, out / WORK, workers, watch))
        kept = [row for row in table if not row.reason]
        if not kept:
            _report(out, table, config, split)
            raise InputError(*_why_none(table, out), where=structures)
        if known is None:
            sequences = {row.id: row.sequence for row in kept}
            known = mmseqs.cluster(sequences, split.identity, workers, out / WORK)
        kept = _divided(kept, split, known)
        hits = _hits(kept, workers, out / WORK) if mmseqs.is_here() else {}
        _write(out, kept, hits, {task.file: task.record for task in tasks})
        new = {row.id: row for row in kept}
        table = [row if row.reason else new[row.id] for row in table]
        _report(out, table, config, split)
    return table


def _why_none(table: Sequence[Row], out: Path) -> tuple[str, str]:
    """Return what is wrong and why, if all chains were dropped.

    Reasons that differ in numbers and names of files are of one kind.
    """
    kinds = [_NUMBER_OR_NAME.sub("", row.reason) for row in table]
    [(kind, count)] = Counter(kinds).most_common(1)
    row = table[kinds.index(kind)]
    what = f"has no chain to train on. Most frequent reason ({count} of {len(table)})"
    why = f"{row.reason.rstrip('.')} (e.g. {row.id or row.file})"
    return what, f"{why}; {out / REPORT}.tsv lists all reasons"


def _read_all(
    tasks: Sequence[_Task], work: Path, workers: int, watch: Callable[[int, int], None]
) -> list[Row]:
    """Write the records of all files and return their rows.

    Raises:
        FoldryError: No chain is kept, and some files could not be read for a reason that may pass.
    """
    for task in tasks:
        try:
            read_arrays(task.record)
        except ValueError:  # missing or damaged
            remove(task.record)
    failed = run_all(_read, tasks, workers, watch)
    table = []
    for task in tasks:
        if task.file in failed:
            table.append(Row("", task.file, reason=str(failed[task.file])))
        else:
            table += [Row(**row) for row in json.loads(str(read_arrays(task.record)["rows"]))]
    if failed and all(row.reason for row in table):
        raise next(iter(failed.values()))
    return table


def run_all(
    work: Callable[[_Task], FoldryError | None],
    tasks: Sequence[_Task],
    workers: int,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, FoldryError]:
    """Do the work of all tasks without a record, in several processes.

    If a process ends abruptly, each task that was under way is repeated in a separate process:
    only the file that ended the process is then lost.

    Returns:
        Errors of the files without a record, which another run may read, by file.
    """
    failed: dict[str, FoldryError] = {}
    left = [task for task in tasks if not task.record.exists()][::-1]
    while left:
        begun: dict[Future[FoldryError | None], _Task] = {}
        try:
            with worker_pool(min(workers, len(left))) as pool:
                while left or begun:
                    while left and len(begun) < workers:
                        begun[pool.submit(work, left[-1])] = left[-1]
                        left.pop()
                    for future in wait(begun, return_when=FIRST_COMPLETED).done:
                        if error := future.result():
                            failed[begun[future].file] = error
                        del begun[future]
                        watch(len(tasks) - len(left) - len(begun), len(tasks))
        except BrokenProcessPool:
            if len(tasks) == 1:
                what = "ended the process that read it"
                return {tasks[0].file: OutsideError(what, "try again", where=tasks[0].file)}
            for task in begun.values():
                failed |= run_all(work, [task], 1)
    return failed


def _tasks(structures: Path, alignments: Path, work: Path, config: PrepareConfig) -> list[_Task]:
    for folder in (structures, alignments):
        if not folder.is_dir():
            raise InputError("is not a folder", "check the path", where=folder)
    files, models = _files(alignments, A3M_SUFFIXES + STOCKHOLM_SUFFIXES), _structures(structures)
    known: dict[str, dict[str, Path]] = {}
    for path in files:
        name = stem(path)
        for structure in (name, name.rpartition("_")[0]):
            known.setdefault(structure, {})[name] = path
    missing = {structure_name(path) for path in models if is_result(path)} - known.keys()
    for path in files if missing else ():
        if (name := _query_name(path)) in missing:
            known[name] = {name: path}
    tasks = []
    for path in models:
        own = known.get(structure_name(path), {})
        found = [(each, each.stat()) for each in (path, *own.values())]
        stamps = [(str(each), status.st_size, status.st_mtime_ns) for each, status in found]
        key = content_key([_VERSION, asdict(config), stamps])
        record = work / f"{key[:32]}.npz"
        file = path.relative_to(structures).as_posix()
        tasks.append(_Task(path, file, own, config, record))
    if not tasks:
        raise InputError("has no mmCIF, BinaryCIF or PDB file", "check the path", where=structures)
    unused = set(files).difference(*(task.alignments.values() for task in tasks))
    if unused:
        says = "%d of %d alignments are named after no chain or structure, e.g. %s."
        logger.warning(says, len(unused), len(files), min(unused))
    return tasks


def _query_name(path: Path) -> str:
    """Return the name of the results of an alignment's query; "" if it cannot be a query."""
    with suppress(FoldryError):
        return read_query(path).name
    return ""


def _structures(folder: Path) -> list[Path]:
    """Return all structure files, with only the best of a query's predictions."""
    paths = _files(folder, STRUCTURE_SUFFIXES)
    best = [path for path in paths if is_result(path) and stem(path) == "ranked_0"]
    first = {path.parent: path for path in reversed(best)}
    return [path for path in paths if not is_result(path) or path is first.get(path.parent)]


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if has_suffix(path, suffixes) and path.is_file()
    )


def _read(task: _Task) -> FoldryError | None:
    """Read one file and write its record; return the error if another run may succeed."""
    arrays: dict[str, np.ndarray] = {}
    try:
        found = read_candidates(task.path, task.alignments, task.config)
    except Exception as error:  # no file stops a run
        known = as_foldry_error(error)
        if isinstance(known, MissingError | OutsideError) or isinstance(error, OSError):
            return known  # another run may have enough memory or disk space
        rows = [Row("", task.file, reason=str(known))]
    else:
        rows = [_row(name, task.file, each) for name, each in found.items()]
        kept = {name: each for name, each in found.items() if isinstance(each, Candidate)}
        if kept:
            chains = packs.structure_arrays({name: each.chain for name, each in kept.items()})
            msas = packs.alignment_arrays({name: each.alignment for name, each in kept.items()})
            arrays |= {f"structures.{key}": array for key, array in chains.items()}
            arrays |= {f"msas.{key}": array for key, array in msas.items()}
    text = np.array(json.dumps([asdict(row) for row in rows]))
    packs.write_pack(task.record, {"rows": text, **arrays})
    return None


def _row(name: str, file: str, found: Candidate | Dropped) -> Row:
    if isinstance(found, Dropped):
        return Row(name, file, found.length, found.resolution, reason=found.reason)
    return Row(
        name,
        file,
        length=len(found.chain),
        resolution=found.chain.resolution,
        plddt=round(float(found.chain.plddt.mean()), 1),
        rows=len(found.alignment[0]),
        atoms=int(found.chain.mask.sum()),
        sequence=found.chain.sequence,
    )


def _drop_copies(table: Sequence[Row]) -> list[Row]:
    """Return the rows, with all but the best chain of each id and each sequence dropped.

    The best has the best known resolution, then the highest pLDDT, then the most atoms.
    """
    kept = [row for row in table if not row.reason]
    first = {row.id: row.file for row in reversed(kept)}
    ranked = sorted((row for row in kept if first[row.id] == row.file), key=_rank)
    best = {row.sequence: row for row in reversed(ranked)}

    def judged(row: Row) -> Row:
        if row.reason or best.get(row.sequence) is row:
            return row
        if first[row.id] != row.file:
            return replace(row, reason=f"{first[row.id]} also has a chain of this name")
        return replace(row, reason=f"the same sequence as {best[row.sequence].id}")

    return [judged(row) for row in table]


def _rank(row: Row) -> tuple[float, float, int, str]:
    # NMR has a resolution of 0.
    resolution = row.resolution if row.resolution > 0 else np.inf
    return resolution, -row.plddt, -row.atoms, row.id


def _divided(kept: Sequence[Row], split: SplitConfig, clusters: Mapping[str, str]) -> list[Row]:
    """Return the rows with clusters and splits; validation gets whole clusters, never all."""
    if split.clusters is not None:
        packs.check_clusters(clusters, [row.id for row in kept], split.clusters)
    found = sorted({clusters[row.id] for row in kept})
    count = max(round(split.val_share * len(found)), int(split.val_share > 0))
    drawn = np.random.default_rng(split.seed).permutation(found)[: min(count, len(found) - 1)]
    val = set(drawn.tolist())
    return [
        replace(row, cluster=clusters[row.id], split="val" if clusters[row.id] in val else "train")
        for row in kept
    ]


def _read_clusters(path: Path) -> dict[str, str]:
    """Return the cluster of each chain from a table without a header."""
    clusters = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        cells = line.split("\t")
        if len(cells) > 1:
            clusters[cells[1]] = cells[0]
        elif line.strip():
            what = "has no cluster and chain separated by a tab"
            raise InputError(what, "fix the line", where=f"{path}, line {number}")
    return clusters


def _hits(kept: Sequence[Row], workers: int, scratch: Path) -> dict[str, list[Hit]]:
    """Return the template hits of all chains among the training chains."""
    training, held_out = (
        {row.id: row.sequence for row in kept if row.split == split} for split in SPLITS
    )
    hits = mmseqs.search(training, training, workers, scratch, mmseqs.MAX_HITS)
    # Validation chains need all their hits: a similar training chain that is missed is trained on.
    return hits | mmseqs.search(held_out, training, workers, scratch)


def _write(
    out: Path, kept: Sequence[Row], hits: Mapping[str, Sequence[Hit]], records: Mapping[str, Path]
) -> None:
    """Write all packs and tables; those of an earlier run are removed first."""
    for old in [*out.glob("*/*-*.npz"), *out.glob("splits/*.tsv"), *out.glob(f"{REPORT}.*")]:
        remove(old)
    near = _near(kept, hits)
    for split in SPLITS:
        rows = [row for row in kept if row.split == split]
        if not rows:
            continue
        alignments = {}
        for shard, start in enumerate(range(0, len(rows), SHARD)):
            chains = {}
            for row in rows[start : start + SHARD]:
                record = read_arrays(records[row.file])
                chains[row.id] = packs.read_chain(*_packed(record, "structures", row.id))
                alignments[row.id] = packs.read_alignment(*_packed(record, "msas", row.id))
            name = f"structures-{split}-{shard:03d}.npz"
            packs.write_pack(out / "structures" / name, packs.structure_arrays(chains))
        packs.write_pack(out / "msas" / f"msas-{split}.npz", packs.alignment_arrays(alignments))
        best = {row.id: hits.get(row.id, ())[: mmseqs.MAX_HITS] for row in rows}
        packs.write_pack(out / "templates" / f"templates-{split}.npz", packs.hit_arrays(best))
        lines = [
            {
                "id": row.id,
                "length": row.length,
                "cluster30": row.cluster,
                "resolution": f"{row.resolution:.2f}" if row.resolution > 0 else "",
                "near": "val" if row.id in near else "",
            }
            for row in rows
        ]
        packs.write_table(out / "splits" / f"{split}.tsv", lines)
    pairs = [{"cluster30": row.cluster, "id": row.id} for row in kept]
    packs.write_table(out / "splits" / f"{packs.CLUSTERS}.tsv", pairs)


def _packed(
    record: Mapping[str, np.ndarray], kind: str, name: str
) -> tuple[dict[str, np.ndarray], int]:
    start = f"{kind}."
    arrays = {key.removeprefix(start): record[key] for key in record if key.startswith(start)}
    return arrays, arrays["ids"].tolist().index(name)


def _near(kept: Sequence[Row], hits: Mapping[str, Sequence[Hit]]) -> set[str]:
    """Return training chains that resemble a validation chain from another cluster."""
    lengths = {row.id: row.length for row in kept}
    return {
        hit.name
        for row in kept
        if row.split == "val"
        for hit in hits.get(row.id, ())
        if (hit.identity or 0.0) >= NEAR_IDENTITY
        and len(hit.pairs) >= NEAR_COVERAGE * min(row.length, lengths[hit.name])
    }


def _report(out: Path, table: Sequence[Row], config: PrepareConfig, split: SplitConfig) -> None:
    lines = [asdict(row) for row in table]
    for line in lines:
        del line["sequence"], line["atoms"]
        if not line["resolution"] > 0:  # NMR or unknown
            line["resolution"] = ""
        for name in ("length", "plddt", "rows"):
            if not line[name] or (name == "plddt" and line[name] == 100):  # an experiment
                line[name] = ""
    packs.write_table(out / f"{REPORT}.tsv", lines)
    summary = {
        "kept": dict(Counter(row.split for row in table if not row.reason)),
        "dropped": sum(bool(row.reason) for row in table),
        "clusters": len({row.cluster for row in table if not row.reason}),
        "config": asdict(config),
        "split": asdict(split) | {"clusters": split.clusters and str(split.clusters)},
        "template_hits": mmseqs.is_here(),
    }
    write_json(out / f"{REPORT}.json", summary)

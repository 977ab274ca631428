"""A folder of structures and one of alignments → a folder of packs to train on.

Each file is read once, by one of several processes, and what came of it is kept under `work`: a
run that was stopped goes on from there. No file stops a run; the report says what was dropped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from foldry.dataset import mmseqs
from foldry.dataset.chains import (
    A3M_SUFFIXES,
    STOCKHOLM_SUFFIXES,
    STRUCTURE_SUFFIXES,
    Candidate,
    PrepareConfig,
    is_result,
    read_candidates,
    structure_name,
)
from foldry.dataset.packs import (
    CLUSTERS,
    Hit,
    alignment_arrays,
    hit_arrays,
    read_alignment,
    read_chain,
    structure_arrays,
    write_pack,
    write_table,
)
from foldry.errors import FoldryError, InputError, MissingError, OutsideError, as_foldry_error
from foldry.formats.npz import read_arrays
from foldry.processes.pool import worker_pool
from foldry.residues import RESTYPES_WITH_X
from foldry.store.files import (
    check_folder,
    make_folder,
    names,
    remove,
    stem,
    write_json,
    write_text,
)
from foldry.store.hashes import content_key
from foldry.store.locks import hold

WORK: Final = "work"
REPORT: Final = "report"
SPLITS: Final = ("train", "val")
SHARD: Final = 500
"""Chains in one file of structures."""
NEAR_IDENTITY: Final = 0.3
NEAR_COVERAGE: Final = 0.5
"""Of the shorter one: a training chain so near to a validation chain is not trained on."""
_FOLDERS: Final = (WORK, "structures", "msas", "templates", "splits")
_VERSION: Final = 3
_REPORTS: Final = ("tsv", "json")


@dataclass(frozen=True)
class SplitConfig:
    """How chains are divided.

    Attributes:
        clusters: A table of cluster and chain, separated by a tab; None has MMseqs2 make one.
        identity: Of the members of a cluster, from 0 to 1.
        val_share: Share of the clusters that go to the validation split.
        seed: Which ones.
    """

    clusters: Path | None = None
    identity: float = 0.3
    val_share: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """A line of the report: a chain, or a file that has none; `reason` is empty if it is kept.

    `file` is its place in the folder of structures, `plddt` the mean, 100 of an experiment.
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
    """One file, what the report calls it, its alignments, and where the outcome is kept."""

    path: Path
    file: str
    alignments: Mapping[str, Path]
    config: PrepareConfig
    record: Path

    @property
    def started(self) -> Path:
        return self.record.with_suffix(".started")


def prepare(
    structures: Path,
    alignments: Path,
    out: Path,
    config: PrepareConfig | None = None,
    split: SplitConfig | None = None,
    workers: int = 1,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Write a folder of packs, and `report.tsv` and `report.json` on what was dropped and why.

    Args:
        structures: mmCIF, BinaryCIF and PDB files, in folders of any depth; a query's results
            count as their best prediction, named after their folder.
        alignments: a3m and Stockholm files, named by chain (`1abc_A.a3m`) or structure.
        out: The folder of packs; an earlier run in it goes on.
        config: What is good enough.
        split: How chains are clustered and divided.
        workers: Processes.
        watch: Told how many files of how many are done.

    Raises:
        InputError: There are no structures, or nothing is left of them.
        MissingError: They are to be clustered, and MMseqs2 is not installed.
        BusyError: Another process prepares data in the folder.
        OutsideError: MMseqs2 failed.
    """
    split = split or SplitConfig()
    check_folder(out)
    ours = (out / WORK).is_dir() or all((out / f"{REPORT}.{kind}").is_file() for kind in _REPORTS)
    if names(out) and not ours:
        raise InputError(
            "holds something else than prepared data", "give another folder", where=out
        )
    check_folder(out)
    if split.clusters is None:
        mmseqs.find()
    tasks = _tasks(structures, alignments, out / WORK, config or PrepareConfig())
    with hold(out, _FOLDERS):
        return _prepare(out, tasks, structures, config or PrepareConfig(), split, workers, watch)


def _prepare(
    out: Path,
    tasks: Sequence[_Task],
    structures: Path,
    config: PrepareConfig,
    split: SplitConfig,
    workers: int,
    watch: Callable[[int, int], None],
) -> list[Row]:
    """As `prepare`, in a folder that is held."""
    make_folder(out / WORK)
    for task in tasks:
        if task.record.exists() and not _is_whole(task.record):
            remove(task.record)
        remove(task.started)  # of a run that was killed
    failed = run_all(_read, tasks, workers, watch)
    table = _drop_copies(
        [
            row
            for task in tasks
            for row in (
                _rows(task)
                if task.file not in failed
                else [Row("", task.file, reason=str(failed[task.file]))]
            )
        ]
    )
    kept = [row for row in table if not row.reason]
    if not kept:
        for error in failed.values():
            raise error
        [(reason, count)] = Counter(row.reason for row in table).most_common(1)
        raise InputError(
            f"has no chain to train on; {count} of {len(table)} were dropped for this reason, "
            f"{reason.rstrip('.')}",
            where=structures,
        )
    sequences = {row.id: row.sequence for row in kept}
    clusters = _clusters(sequences, split, workers, out / WORK)
    chosen = _validation(clusters, split)
    kept = [
        replace(row, cluster=clusters[row.id], split="val" if row.id in chosen else "train")
        for row in kept
    ]
    hits = {}
    if mmseqs.is_here():
        training, held_out = (
            {row.id: row.sequence for row in kept if row.split == split} for split in SPLITS
        )
        hits = mmseqs.search(training, training, workers, out / WORK, mmseqs.MAX_HITS)
        # All of them, however many: what is not found here is trained on.
        hits |= mmseqs.search(held_out, training, workers, out / WORK)
    _write(out, kept, hits, {task.file: task.record for task in tasks})
    new = {row.id: row for row in kept}
    table = [row if row.reason else new[row.id] for row in table]
    _report(out, table, asdict(config), split)
    return table


def run_all(
    work: Callable[[_Task], FoldryError | None],
    tasks: Sequence[_Task],
    workers: int,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, FoldryError]:
    """Do the work of all tasks that have no record, in processes.

    Where a process ends abruptly, the tasks that were begun are each done in one of their own.

    Returns:
        Files that have no record now, since another run may read them, and why.
    """
    failed: dict[str, FoldryError] = {}
    left = [task for task in tasks if not task.record.exists()]
    while left:
        done = len(tasks) - len(left)
        try:
            with worker_pool(min(workers, len(left))) as pool:
                futures = {pool.submit(work, task): task for task in left}
                for future in as_completed(futures):
                    if error := future.result():
                        failed[futures[future].file] = error
                    done += 1
                    watch(done, len(tasks))
        except BrokenProcessPool:
            begun = [task for task in left if task.started.exists() and not task.record.exists()]
            for task in begun:
                if error := _alone(work, task):
                    failed[task.file] = error
                    remove(task.started)
            if not begun:
                raise
        left = [task for task in left if not task.record.exists() and task.file not in failed]
    return failed


def _alone(work: Callable[[_Task], FoldryError | None], task: _Task) -> FoldryError | None:
    """Do the work of one task in a process of its own; why there is no record, or None."""
    try:
        with worker_pool(1) as pool:
            return pool.submit(work, task).result()
    except BrokenProcessPool:
        return OutsideError("reading it ended its process", "try again", where=task.file)


def _tasks(structures: Path, alignments: Path, work: Path, config: PrepareConfig) -> list[_Task]:
    for folder in (structures, alignments):
        if not folder.is_dir():
            raise InputError("is not a folder", "check the path", where=folder)
    known: dict[str, dict[str, Path]] = {}
    for path in _files(alignments, A3M_SUFFIXES + STOCKHOLM_SUFFIXES):
        name = stem(path)
        for structure in (name, name.rpartition("_")[0]):
            known.setdefault(structure, {})[name] = path
    tasks = []
    for path in _structures(structures):
        own = known.get(structure_name(path), {})
        stamps = [(str(each), *_stamp(each)) for each in (path, *own.values())]
        key = content_key([_VERSION, asdict(config), stamps])
        record = work / f"{key[:32]}.npz"
        file = path.relative_to(structures).as_posix()
        tasks.append(_Task(path, file, own, config, record))
    if not tasks:
        raise InputError("has no mmCIF, BinaryCIF or PDB file", "check the path", where=structures)
    return tasks


def _structures(folder: Path) -> list[Path]:
    """All structure files, of a query's predictions the best alone."""
    kept: dict[Path, Path] = {}
    for path in _files(folder, STRUCTURE_SUFFIXES):
        if not is_result(path):
            kept[path] = path
        elif stem(path) == "ranked_0":
            kept.setdefault(path.parent, path)
    return list(kept.values())


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if path.name.lower().removesuffix(".gz").endswith(suffixes)]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _read(task: _Task) -> FoldryError | None:
    """Read one file and keep what came of it; why nothing is kept, or None."""
    write_text(task.started, "")
    try:
        candidates = read_candidates(task.path, task.alignments, task.config)
    except Exception as error:  # no file stops a run
        known = as_foldry_error(error)
        if isinstance(known, MissingError | OutsideError) or isinstance(error, OSError):
            remove(task.started)
            return known  # another run may have the memory, or the disk, for it
        _keep(task, [Row("", task.file, reason=str(known))])
    else:
        _keep_candidates(task, candidates)
    return None


def _keep_candidates(task: _Task, candidates: Sequence[Candidate]) -> None:
    rows, chains, alignments = [], {}, {}
    for each in candidates:
        row = Row(each.name, task.file, reason=each.reason)
        if each.chain is not None and each.msa is not None and each.deletions is not None:
            chains[each.name] = each.chain
            alignments[each.name] = each.msa, each.deletions
            row = replace(
                row,
                length=len(each.chain),
                resolution=each.chain.resolution,
                plddt=round(float(each.chain.plddt.mean()), 1),
                rows=len(each.msa),
                atoms=int(each.chain.mask.sum()),
                sequence="".join(RESTYPES_WITH_X[code] for code in each.chain.aatype),
            )
        rows.append(row)
    arrays: dict[str, np.ndarray] = {}
    if chains:
        arrays |= {f"structures.{key}": each for key, each in structure_arrays(chains).items()}
        arrays |= {f"msas.{key}": each for key, each in alignment_arrays(alignments).items()}
    _keep(task, rows, arrays)


def _keep(task: _Task, rows: Sequence[Row], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    text = np.array(json.dumps([asdict(row) for row in rows]))
    write_pack(task.record, {"rows": text, **(arrays or {})})
    remove(task.started)


def _is_whole(record: Path) -> bool:
    """Whether a record that an earlier run kept is undamaged."""
    try:
        read_arrays(record)
    except ValueError:
        return False
    return True


def _rows(task: _Task) -> list[Row]:
    with np.load(task.record, allow_pickle=False) as archive:
        return [Row(**row) for row in json.loads(str(archive["rows"]))]


def _drop_copies(table: Sequence[Row]) -> list[Row]:
    """The rows, of those with one id or one sequence all but the best dropped.

    The best has the best known resolution, then the highest pLDDT, then most atoms.
    """
    first: dict[str, str] = {}
    best: dict[str, Row] = {}
    unique = []
    for row in table:
        if not row.reason and first.setdefault(row.id, row.file) != row.file:
            row = replace(row, reason=f"{first[row.id]} has a chain of this name too")  # noqa: PLW2901
        unique.append(row)
    for row in sorted((row for row in unique if not row.reason), key=_rank):
        best.setdefault(row.sequence, row)
    return [
        row
        if row.reason or best[row.sequence] is row
        else replace(row, reason=f"the sequence of {best[row.sequence].id}")
        for row in unique
    ]


def _rank(row: Row) -> tuple[float, float, int, str]:
    # NMR's is 0.
    resolution = row.resolution if row.resolution > 0 else np.inf
    return resolution, -row.plddt, -row.atoms, row.id


def _clusters(
    sequences: Mapping[str, str], split: SplitConfig, workers: int, scratch: Path
) -> dict[str, str]:
    if split.clusters is None:
        return mmseqs.cluster(sequences, split.identity, workers, scratch)
    try:
        lines = split.clusters.read_text("utf-8").splitlines()
        pairs = [line.split("\t") for line in lines if line.strip()]
        known = {member: cluster for cluster, member, *_ in pairs}
    except (OSError, ValueError) as error:
        raise InputError(
            f"is not a table of clusters and chains ({error})", "fix it", where=split.clusters
        ) from error
    missing = sorted(set(sequences) - set(known))
    if missing:
        raise InputError(
            f"has no cluster for {missing[0]} and {len(missing) - 1} other chains",
            "add them",
            where=split.clusters,
        )
    return {name: known[name] for name in sequences}


def _validation(clusters: Mapping[str, str], split: SplitConfig) -> set[str]:
    """The chains of the clusters that go to the validation split, never of all clusters."""
    names = sorted(set(clusters.values()))
    wanted = round(split.val_share * len(names))
    count = min(max(wanted, int(split.val_share > 0)), len(names) - 1)
    drawn = set(np.random.default_rng(split.seed).permutation(names)[:count].tolist())
    return {name for name, cluster in clusters.items() if cluster in drawn}


def _write(
    out: Path, kept: Sequence[Row], hits: Mapping[str, Sequence[Hit]], records: Mapping[str, Path]
) -> None:
    """All packs and tables, those of an earlier run removed first."""
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
                with np.load(records[row.file], allow_pickle=False) as archive:
                    chains[row.id] = read_chain(*_packed(archive, "structures", row.id))
                    alignments[row.id] = read_alignment(*_packed(archive, "msas", row.id))
            name = f"structures-{split}-{shard:03d}.npz"
            write_pack(out / "structures" / name, structure_arrays(chains))
        write_pack(out / "msas" / f"msas-{split}.npz", alignment_arrays(alignments))
        best = {row.id: hits.get(row.id, ())[: mmseqs.MAX_HITS] for row in rows}
        write_pack(out / "templates" / f"templates-{split}.npz", hit_arrays(best))
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
        write_table(out / "splits" / f"{split}.tsv", lines)
    pairs = [{"cluster30": row.cluster, "id": row.id} for row in kept]
    write_table(out / "splits" / f"{CLUSTERS}.tsv", pairs)


def _packed(
    archive: Mapping[str, np.ndarray], kind: str, name: str
) -> tuple[dict[str, np.ndarray], int]:
    start = f"{kind}."
    arrays = {key.removeprefix(start): archive[key] for key in archive if key.startswith(start)}
    return arrays, arrays["ids"].tolist().index(name)


def _near(kept: Sequence[Row], hits: Mapping[str, Sequence[Hit]]) -> set[str]:
    """Training chains that resemble a validation chain though they are of another cluster."""
    lengths = {row.id: row.length for row in kept}
    return {
        hit.target
        for row in kept
        if row.split == "val"
        for hit in hits.get(row.id, ())
        if hit.identity >= NEAR_IDENTITY
        and len(hit.pairs) >= NEAR_COVERAGE * min(row.length, lengths[hit.target])
    }


def _report(
    out: Path, table: Sequence[Row], config: Mapping[str, object], split: SplitConfig
) -> None:
    lines = [asdict(row) for row in table]
    for line in lines:
        del line["sequence"], line["atoms"]
    write_table(out / f"{REPORT}.tsv", lines)
    summary = {
        "kept": dict(Counter(row.split for row in table if not row.reason)),
        "dropped": sum(bool(row.reason) for row in table),
        "clusters": len({row.cluster for row in table if not row.reason}),
        "config": config,
        "split": asdict(split) | {"clusters": split.clusters and str(split.clusters)},
        "template_hits": mmseqs.is_here(),
    }
    write_json(out / f"{REPORT}.json", summary)

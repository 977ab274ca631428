"""ColabFold's results: the files of many jobs in one folder, or those of one in a zip archive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from foldry.database.entry import Deposit, StoredModel
from foldry.database.imports.alignments import of_a3m
from foldry.database.imports.job import Job, Reading, Unit
from foldry.database.imports.model import deposit, read_model, read_scores

LAYOUT: Final = "colabfold"
_MODEL: Final = re.compile(
    r"(?P<job>[^/]+)_(?P<un>un)?relaxed_(?P<tag>[^/.]*(?:model|alphafold2|deepfold)_[^/.]+)"
    r"\.(?:pdb|cif)"
)
"""`q_unrelaxed_rank_001_alphafold2_ptm_model_3_seed_000.pdb`; in earlier versions
`q_unrelaxed_rank_1_model_3.pdb` or `q_unrelaxed_model_3_rank_1.pdb`."""
_RANK: Final = re.compile(r"rank_0*(\d{1,4})_?|_rank_0*(\d{1,4})")
_SEED: Final = re.compile(r"_seed_0*(\d{1,10})")
_OF_JOB: Final = re.compile(
    r"[_.](un)?relaxed_|_scores_|_predicted_aligned_error_v1\.json|\.a3m|"
    r"_(coverage|pae|plddt)\.(png|pdf)|\.done\.txt|_template_domain_names\.json|\.csv|\.fasta"
)
_OF_FOLDER: Final[tuple[str, ...]] = ("config.json", "log.txt", "cite.bibtex")
_VERSION: Final = re.compile(rb'(?:Running colabfold |"version":\s*")([\w.+-]{1,40})')
_MAX_LOG: Final = 16 * 1024**2


def find(unit: Unit) -> Iterator[Job]:
    """Yield the jobs of a folder."""
    names = {found["job"] for each in unit.files if (found := _MODEL.fullmatch(each))}
    shared = {each: unit.files.pop(each) for each in _OF_FOLDER if names and each in unit.files}
    # Longest first: a job may be called q and another one q_2.
    jobs = []
    for name in sorted(names, key=len, reverse=True):
        own = [each for each in unit.files if each.startswith(name)]
        own = [each for each in own if _OF_JOB.match(each, len(name))]
        unit.files |= shared
        jobs.append(unit.take(LAYOUT, name, [*own, *shared]))
    yield from sorted(jobs, key=lambda job: job.name)


def read(reading: Reading) -> Deposit:
    """Return the deposit of a job; of each rank, the relaxed model if there is one.

    Raises:
        InputError: A file is damaged.
    """
    ranked: dict[tuple[int, str], re.Match[str]] = {}
    for each in reading.job.files:
        if found := _MODEL.fullmatch(each):
            rank = _RANK.search(found["tag"])
            key = int(rank[1] or rank[2]) if rank else 0, found["tag"]
            if key not in ranked or ranked[key]["un"]:
                ranked[key] = found
    name = reading.job.name
    models: list[StoredModel] = []
    for _, found in sorted(ranked.items()):
        tag = found["tag"]
        scores = reading.find(f"{name}_scores_{tag}.json", f"{name}_unrelaxed_{tag}_scores.json")
        pae = reading.find(f"{name}_predicted_aligned_error_v1.json") if not models else None
        if scores is not None and b'"pae"' in reading.data(scores):
            pae = scores
        seed = _SEED.search(tag)
        model = read_model(
            reading,
            found[0],
            pae=pae,
            scores=read_scores(reading, scores),
            name=_SEED.sub("", _RANK.sub("", tag)),
            parameters={"seed": int(seed[1])} if seed else {},
        )
        models.append(model)
    alignment = reading.find(f"{name}.a3m")
    alignments = of_a3m(reading, alignment) if alignment else ()
    return deposit(reading, "ColabFold", models, version=_version(reading), alignments=alignments)


def _version(reading: Reading) -> str:
    """Return the version of ColabFold, if its settings or its log say it."""
    for name in filter(reading.job.files.__contains__, _OF_FOLDER[:2]):
        if found := _VERSION.search(reading.job.files[name].read(_MAX_LOG)):
            return found[1].decode()
    return ""

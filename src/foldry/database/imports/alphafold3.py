"""Results of AlphaFold 3's program, and of AlphaFold Server, which writes other names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Final

from foldry.database.entry import Deposit, StoredModel
from foldry.database.imports.alignments import of_a3m, of_job
from foldry.database.imports.job import Job, Reading, Unit
from foldry.database.imports.model import deposit, read_model, read_scores
from foldry.inputs.folders import SERVER

LAYOUT: Final = "alphafold3"
_SERVER: Final = re.compile(r"(fold_(?P<job>[^/]+)_)model_(?P<rank>\d{1,4})\.cif")
_BEST: Final = re.compile(r"(?P<job>[^/]+)_model\.cif")
_SAMPLE: Final = re.compile(
    r"(?P<folder>seed-(?P<seed>\d{1,20})_sample-(?P<sample>\d{1,9})/)(?P<name>.*_)?model\.cif"
)
"""A sample; before version 3.0.1, its files have no name of the job."""
_RANKING: Final = "ranking_scores.csv"
_MAX_RANKING: Final = 4 * 1024**2


def find(unit: Unit) -> Iterator[Job]:
    """Yield the jobs of a folder."""
    jobs = {found["job"]: found[1] for each in unit.files if (found := _SERVER.fullmatch(each))}
    for name, prefix in sorted(jobs.items(), key=lambda each: -len(each[0])):
        data = f"{prefix}full_data_0.json", f"{prefix}summary_confidences_0.json"
        if any(each in unit.files for each in data):
            own = [each for each in unit.files if _is_own(each, prefix)]
            yield unit.take(LAYOUT, name, own)
    best = sorted(found["job"] for each in unit.files if (found := _BEST.fullmatch(each)))
    for name in best:
        own = [each for each in unit.files if each.startswith(f"{name}_")]
        if f"{name}_summary_confidences.json" in own or f"{name}_confidences.json" in own:
            samples = [each for each in unit.files if each.startswith("seed-")]
            ranking = [each for each in (_RANKING,) if each in unit.files]
            # Several jobs of one folder would share the samples of the last.
            others = [*samples, *ranking] if len(best) == 1 else []
            yield unit.take(LAYOUT, name, [*own, *others])
    if any(map(_SAMPLE.fullmatch, unit.files)):
        names = [each for each in unit.files if each.startswith("seed-") or each == _RANKING]
        yield unit.take(LAYOUT, unit.name, names)


def _is_own(name: str, prefix: str) -> bool:
    """Return whether a file, perhaps in `msas/` or `templates/`, is one of a job of the server."""
    return name.rpartition("/")[2].startswith(prefix)


def read(reading: Reading) -> Deposit:
    """Return the deposit of a job, with all samples.

    Raises:
        InputError: A file is damaged.
    """
    of_server = [found for each in reading.job.files if (found := _SERVER.fullmatch(each))]
    if of_server:
        models = [_of_server(reading, each) for each in sorted(of_server, key=_rank)]
    else:
        models = _samples(reading)
        prefix = f"{reading.job.name}_"
        if (name := reading.find(f"{prefix}model.cif")) is not None:
            # The best sample is in the folder of the job, too.
            data, summary = f"{prefix}confidences.json", f"{prefix}summary_confidences.json"
            models = [_model(reading, name, data, summary), *models[1:]]
    return deposit(reading, "AlphaFold 3", models, alignments=_alignments(reading))


def _alignments(reading: Reading) -> Iterator[bytes]:
    """Yield the alignments of the program, which are in its JSON, or of the server."""
    if (name := reading.find(f"{reading.job.name}_data.json")) is not None:
        yield from of_job(reading, name)
    for name in sorted(reading.job.files):
        if f"_un{SERVER}" in name:
            yield from of_a3m(reading, name)


def _rank(found: re.Match[str]) -> int:
    return int(found["rank"])


def _of_server(reading: Reading, found: re.Match[str]) -> StoredModel:
    prefix, rank = found[1], found["rank"]
    data, summary = f"{prefix}full_data_{rank}.json", f"{prefix}summary_confidences_{rank}.json"
    return _model(reading, found[0], data, summary)


def _samples(reading: Reading) -> list[StoredModel]:
    """Return the samples, best first."""
    models = []
    found = [match for each in reading.job.files if (match := _SAMPLE.fullmatch(each))]
    ranking = _ranking(reading)
    scored = [(ranking.get((each["seed"], each["sample"]), float("-inf")), each) for each in found]
    for _, each in sorted(scored, key=lambda pair: -pair[0]):
        prefix = f"{each['folder']}{each['name'] or ''}"
        parameters: dict[str, object] = {"seed": int(each["seed"]), "sample": int(each["sample"])}
        data, summary = f"{prefix}confidences.json", f"{prefix}summary_confidences.json"
        models.append(_model(reading, each[0], data, summary, parameters))
    return models


def _ranking(reading: Reading) -> dict[tuple[str, str], float]:
    """Return the score of each seed and sample, as far as they are known."""
    name = reading.find(f"{reading.job.name}_{_RANKING}", _RANKING)
    if name is None:
        return {}
    text = reading.data(name, _MAX_RANKING).decode("utf-8", "replace")
    scores = {}
    for row in csv.reader(text.splitlines()[1:]):
        try:
            seed, sample, score = row[:3]
            scores[seed, sample] = float(score)
        except ValueError:
            continue
    return scores


def _model(
    reading: Reading,
    structure: str,
    data: str,
    summary: str,
    parameters: dict[str, object] | None = None,
) -> StoredModel:
    return read_model(
        reading,
        structure,
        pae=reading.find(data),
        scores=read_scores(reading, reading.find(summary)),
        name="AlphaFold 3",
        parameters=parameters,
    )

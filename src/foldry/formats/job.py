"""AlphaFold 3's JSON input, read and written, and the AlphaFold Server's; proteins only.

Source: docs/input.md of google-deepmind/alphafold3, versions 1–4; server/README.md of
google-deepmind/alphafold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from foldry.errors import InputError
from foldry.formats.a3m import is_whole, parse_a3m, to_a3m
from foldry.formats.sequence import (
    MAX_CHAINS,
    chain_names,
    check_number_of_chains,
    clean_sequence,
    safe_name,
)
from foldry.formats.template import entry_of, parse_template, template_mmcif
from foldry.query import MAX_ID, MAX_SEED, MAX_SEEDS, Alignment, Chain, Hit, Query, is_chain_id
from foldry.store.files import decode, read_bytes

_PAIRED_BY_ROW: Final = "pairedByRow"
"""Foldry's own key: whether rows of the `pairedMsa`s belong together by their number."""
_VERSIONS: Final = {"alphafold3": (1, 2, 3, 4), "alphafoldserver": (1, 2)}
_JOB: Final = {"name", "modelSeeds", "sequences", "dialect", "version", _PAIRED_BY_ROW}
_PROTEIN: Final = {
    "id",
    "sequence",
    "description",
    "unpairedMsa",
    "unpairedMsaPath",
    "pairedMsa",
    "pairedMsaPath",
    "templates",
}
_SERVER_PROTEIN: Final = {"sequence", "count", "useStructureTemplate", "maxTemplateDate"}
_TEMPLATE: Final = {"mmcif", "mmcifPath", "queryIndices", "templateIndices"}


def parse_jobs(text: str, path: Path) -> list[Query]:
    """The queries of a JSON text: one job, or a list of them; names become safe file names.

    Args:
        text: The file's content.
        path: The file; what `…Path` keys name is looked for from its folder.

    Raises:
        InputError: The text is not JSON, or not of this dialect, or asks for something else than
            proteins of the 20 amino acids.
    """
    try:
        content = json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        reason = error.msg.removesuffix(" starting at")
        raise InputError(f"is not valid JSON ({reason})", "fix it", where=place) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not valid JSON ({error})", "fix it", where=path) from None
    jobs = content if isinstance(content, list) else [content]
    if not jobs:
        raise InputError("has no job", "give at least one", where=path)
    places = [f"{path}, job {i}," for i in range(1, len(jobs) + 1)] if jobs[1:] else [str(path)]
    return [_job(job, path, place) for job, place in zip(jobs, places, strict=True)]


def job_json(query: Query) -> str:
    """The query as a JSON text of AlphaFold 3's dialect, alignments and templates in it.

    A chain that has neither is written without their keys, which asks AlphaFold 3 to search.

    Raises:
        InputError: A template has no structure.
    """
    job: dict[str, Any] = {
        "name": query.name,
        "modelSeeds": query.seeds,
        "sequences": [{"protein": _protein_entry(chain)} for chain in query.chains],
        "dialect": "alphafold3",
        "version": 1,
    }
    if query.paired_by_row:
        job[_PAIRED_BY_ROW] = True
    return json.dumps(job, indent=2)


def _protein_entry(chain: Chain) -> dict[str, Any]:
    ids = chain.ids if chain.ids[1:] else chain.ids[0]
    entry: dict[str, Any] = {"id": ids, "sequence": chain.sequence}
    if chain.alignments or chain.templates:
        entry["unpairedMsa"] = to_a3m(chain.alignment) if chain.alignment else ""
        entry["pairedMsa"] = to_a3m(chain.paired) if chain.paired else ""
        entry["templates"] = [_template_entry(hit) for hit in chain.templates]
    return entry


def _template_entry(hit: Hit) -> dict[str, Any]:
    query_indices, template_indices = hit.pairs.T.tolist()
    return {
        "mmcif": template_mmcif(hit),
        "queryIndices": query_indices,
        "templateIndices": template_indices,
    }


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = {}
    for key, value in pairs:
        if key in entry:
            raise ValueError(f"the key {key!r} stands twice in one object")
        entry[key] = value
    return entry


def _job(job: Any, path: Path, place: str) -> Query:
    _check_keys(job, _JOB, place, refused=("bondedAtomPairs", "userCCD", "userCCDPath"))
    dialect, version = job.get("dialect", "alphafold3"), job.get("version", 1)
    if version not in _VERSIONS.get(str(dialect), ()):
        raise InputError(
            f"is of the dialect {dialect!r}, version {version!r}",
            "set them to alphafold3 and a number from 1 to 4, or to alphafoldserver and 1 or 2",
            where=place,
        )
    name, sequences = job.get("name"), job.get("sequences")
    if not isinstance(name, str) or not name.strip():
        raise InputError("has no name", "give the job a name", where=place)
    if not isinstance(sequences, list) or not sequences:
        raise InputError("has no sequences", "give a list with at least one protein", where=place)
    paired_by_row = job.get(_PAIRED_BY_ROW, False)
    if type(paired_by_row) is not bool:
        raise InputError(f"has a strange {_PAIRED_BY_ROW}", "set it to true or false", where=place)
    chains: list[Chain] = []
    ids: list[str] = []
    for number, entry in enumerate(sequences, start=1):
        chains.append(_chain(entry, path, f"{place} sequence {number}", len(ids)))
        ids += chains[-1].ids
        check_number_of_chains(len(ids), place)
    if len(set(ids)) < len(ids):
        raise InputError("names two chains alike", "give every chain an id of its own", where=place)
    return Query(safe_name(name, place), tuple(chains), _seeds(job, place), paired_by_row)


def _seeds(job: Mapping[str, Any], place: str) -> tuple[int, ...]:
    seeds = job.get("modelSeeds") or []
    if isinstance(seeds, list) and len(seeds) <= MAX_SEEDS:
        numbers = [int(s) if re.fullmatch("[0-9]{1,10}", str(s)) else -1 for s in seeds]
        if all(0 <= number <= MAX_SEED for number in numbers):
            return tuple(dict.fromkeys(numbers))
    advice = f"give at most {MAX_SEEDS} whole numbers from 0 to {MAX_SEED}"
    raise InputError("has strange modelSeeds", advice, where=place)


def _chain(entry: Any, path: Path, place: str, num_before: int) -> Chain:
    """One entry of `sequences`; so many chains have their names already."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise InputError("is not an object with one key", 'write {"protein": …}', where=place)
    kind, protein = next(iter(entry.items()))
    if kind not in ("protein", "proteinChain"):
        what = f"is of the kind {kind!r}, and only proteins are folded"
        raise InputError(what, "remove it", where=place)
    known = _PROTEIN if kind == "protein" else _SERVER_PROTEIN
    _check_keys(protein, known, place, refused=("modifications", "glycans"))
    sequence = protein.get("sequence")
    if not isinstance(sequence, str):
        raise InputError("has no sequence", "give the protein's amino acids", where=place)
    sequence = clean_sequence(sequence, place)
    templates = protein.get("templates") or []
    if not isinstance(templates, list):
        raise InputError("has templates that are not a list", "write [] for none", where=place)
    return Chain(
        ids=_ids(protein, place, num_before),
        sequence=sequence,
        alignment=_alignment(protein, "unpairedMsa", path, place, sequence),
        paired=_alignment(protein, "pairedMsa", path, place, sequence),
        templates=tuple(
            _template(template, path, f"{place} template {number}", len(sequence))
            for number, template in enumerate(templates, start=1)
        ),
    )


def _ids(protein: Mapping[str, Any], place: str, num_before: int) -> tuple[str, ...]:
    if "id" not in protein:
        copies = protein.get("count", 1)
        if type(copies) is not int or not 1 <= copies <= MAX_CHAINS:
            advice = f"give a number from 1 to {MAX_CHAINS}"
            raise InputError("has a strange count", advice, where=place)
        return tuple(chain_names(num_before + copies)[num_before:])
    ids = [protein["id"]] if isinstance(protein["id"], str) else protein["id"]
    if not isinstance(ids, list) or not ids or not all(map(is_chain_id, ids)):
        advice = f"give at most {MAX_ID} letters and digits, such as 'A', or a list of such ids"
        raise InputError("has a strange id", advice, where=place)
    return tuple(ids)


def _alignment(
    protein: Mapping[str, Any], key: str, path: Path, place: str, sequence: str
) -> Alignment | None:
    """The alignment under `key` or `keyPath`; none where it is left out or empty."""
    data, source = _content(protein, key, path, place)
    if not data:
        return None
    alignment = parse_a3m(decode(data, source), source)
    whole = is_whole(alignment.rows(slice(1)))
    if not whole or clean_sequence(alignment.query, source) != sequence:
        raise InputError("does not begin with the chain's sequence", "put it first", where=source)
    return alignment


def _content(entry: Mapping[str, Any], key: str, path: Path, place: str) -> tuple[bytes, str]:
    """What stands under `key` or in the file that `keyPath` names, and how errors call it."""
    text, name = entry.get(key), entry.get(f"{key}Path")
    if not isinstance(text, str | None) or not isinstance(name, str | None):
        raise InputError(f"has a {key} that is not text", "write it in quotes", where=place)
    if text is not None and name is not None:
        raise InputError(f"has both {key} and {key}Path", "give one of them", where=place)
    if name is None:
        return (text or "").encode(errors="replace"), f"{place} {key}"
    file = path.parent / name
    if not file.is_file():
        raise InputError(
            f"names a file {name!r} that does not exist", f"check {key}Path", where=place
        )
    return read_bytes(file), str(file)


def _template(entry: Any, path: Path, place: str, num_residues: int) -> Hit:
    _check_keys(entry, _TEMPLATE, place)
    data, source = _content(entry, "mmcif", path, place)
    if not data:
        raise InputError("has no mmcif", "give its text, or its file as mmcifPath", where=place)
    structure, date = parse_template(data, source)
    if entry.get("mmcif"):
        name, [chain] = entry_of(entry["mmcif"]), structure.chains
        name = name if name.endswith(f"_{chain}") else f"{name}_{chain}"
        structure = replace(structure, name=name)
    limits = num_residues, len(structure)
    columns = [entry.get(key) for key in ("queryIndices", "templateIndices")]
    for indices, limit in zip(columns, limits, strict=True):
        if not isinstance(indices, list) or not all(
            type(index) is int and 0 <= index < limit for index in indices
        ):
            raise InputError(
                "has strange indices",
                f"count all residues, also unseen ones: queryIndices from 0 to {limits[0] - 1}, "
                f"templateIndices from 0 to {limits[1] - 1}",
                where=place,
            )
    here, there = columns
    if not here or len(here) != len(there) or len(set(here)) < len(here):
        raise InputError(
            "needs queryIndices and templateIndices of the same length, no query residue twice",
            "fix them",
            where=place,
        )
    return Hit(structure.name, np.array([here, there]).T, structure, release_date=date)


def _check_keys(entry: Any, known: set[str], place: str, refused: Collection[str] = ()) -> None:
    """Whether an object has no other keys than the known ones, and the refused ones only empty."""
    if not isinstance(entry, dict):
        raise InputError("is not a JSON object", "write it in braces", where=place)
    for key in entry:
        if key in refused and entry[key]:
            raise InputError(f"has {key}, which are not folded", "remove them", where=place)
        if key not in known and key not in refused:
            advice = f"use only {', '.join(sorted(known))}"
            raise InputError(f"has the unknown key {key!r}", advice, where=place)

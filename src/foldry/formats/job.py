"""AlphaFold 3's JSON input and the AlphaFold Server's, as far as they speak of proteins.

Source: docs/input.md of google-deepmind/alphafold3, versions 1–4; server/README.md of
google-deepmind/alphafold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import Deposition, parse_deposition
from foldry.formats.sequence import (
    MAX_CHAINS,
    chain_names,
    check_number_of_chains,
    clean_sequence,
)
from foldry.query import Alignment, Chain, TemplateHit
from foldry.store.files import read_bytes, read_text

MAX_SEED: Final = 2**32 - 1
MAX_ID: Final = 8
"""Characters of a chain's name; some readers of mmCIF cut longer ones."""

_JOB: Final = {"name", "modelSeeds", "sequences", "dialect", "version"}
_NOT_YET: Final = ("bondedAtomPairs", "userCCD", "userCCDPath")
_OTHERS: Final = {
    "rna": "RNA",
    "dna": "DNA",
    "ligand": "a ligand",
    "ion": "an ion",
    "rnaSequence": "RNA",
    "dnaSequence": "DNA",
}
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


@dataclass(frozen=True)
class Job:
    """One job of a JSON file, its name as written."""

    name: str
    chains: tuple[Chain, ...]
    seeds: tuple[int, ...]


def parse_jobs(text: str, path: Path) -> list[Job]:
    """The jobs of a JSON text: one, or a list of them.

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
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" starting at")
        raise InputError(
            f"is not valid JSON ({reason})",
            "fix it",
            where=f"{path}, line {error.lineno}, column {error.colno}",
        ) from None
    except RecursionError:
        raise InputError(
            "is nested too deeply for JSON of this kind", "fix it", where=path
        ) from None
    except ValueError as error:
        raise InputError(f"is not valid JSON ({error})", "fix it", where=path) from None
    jobs = content if isinstance(content, list) else [content]
    if not jobs:
        raise InputError("has no job", "give at least one", where=path)
    return [
        _job(job, path, f"{path}, job {i}," if jobs[1:] else f"{path}")
        for i, job in enumerate(jobs, 1)
    ]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = {}
    for key, value in pairs:
        if key in entry:
            raise ValueError(f"the key {key!r} stands twice in one object")
        entry[key] = value
    return entry


def _job(job: Any, path: Path, place: str) -> Job:
    _check_keys(job, _JOB | set(_NOT_YET), place)
    for key in _NOT_YET:
        if job.get(key):
            raise InputError(f"has {key}, and only proteins are folded", "remove it", where=place)
    _version(job, place)
    name = job.get("name")
    sequences = job.get("sequences")
    if not isinstance(name, str) or not name.strip():
        raise InputError("has no name", "give the job a name", where=place)
    if not isinstance(sequences, list) or not sequences:
        raise InputError("has no sequences", "give a list with at least one protein", where=place)
    chains: list[Chain] = []
    for number, entry in enumerate(sequences, start=1):
        chains.append(_chain(entry, path, f"{place} sequence {number}", chains))
        check_number_of_chains(sum(len(chain.ids) for chain in chains), place)
    ids = [each for chain in chains for each in chain.ids]
    if len(set(ids)) < len(ids):
        raise InputError("names two chains alike", "give every chain an id of its own", where=place)
    return Job(name.strip(), tuple(chains), _seeds(job, place))


def _version(job: Mapping[str, Any], place: str) -> None:
    dialect = job.get("dialect", "alphafold3")
    versions = {"alphafold3": (1, 2, 3, 4), "alphafoldserver": (1, 2)}.get(str(dialect))
    if versions is None:
        raise InputError(
            f"has the unknown dialect {dialect!r}",
            "set it to alphafold3 or alphafoldserver",
            where=place,
        )
    if job.get("version", 1) not in versions:
        raise InputError(
            f"has the unknown version {job['version']!r}",
            f"set it to a number from 1 to {versions[-1]}",
            where=place,
        )


def _seeds(job: Mapping[str, Any], place: str) -> tuple[int, ...]:
    seeds = job.get("modelSeeds") or []
    if isinstance(seeds, list):
        seeds = [
            int(s) if isinstance(s, str) and s.isdecimal() and len(s) < 11 else s for s in seeds
        ]
        if all(type(seed) is int and 0 <= seed <= MAX_SEED for seed in seeds):
            return tuple(dict.fromkeys(seeds))
    raise InputError(
        "has strange modelSeeds", f"give whole numbers from 0 to {MAX_SEED}", where=place
    )


def _chain(entry: Any, path: Path, place: str, before: list[Chain]) -> Chain:
    """One entry of `sequences`; `before` are the chains that have their names already."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise InputError("is not an object with one key", 'write {"protein": …}', where=place)
    kind, protein = next(iter(entry.items()))
    if kind in _OTHERS:
        raise InputError(
            f"is {_OTHERS[kind]}, and only proteins are folded", "remove it", where=place
        )
    if kind not in ("protein", "proteinChain"):
        raise InputError(f"is of the unknown kind {kind!r}", "give a protein", where=place)
    known = _PROTEIN if kind == "protein" else _SERVER_PROTEIN
    _check_keys(protein, known | {"modifications", "glycans"}, place)
    for key in ("modifications", "glycans"):
        if protein.get(key):
            raise InputError(f"has {key}, which are not folded", "remove them", where=place)
    sequence = protein.get("sequence")
    if not isinstance(sequence, str):
        raise InputError("has no sequence", "give the protein's amino acids", where=place)
    sequence = clean_sequence(sequence, place)
    return Chain(
        ids=_ids(protein, place, sum(len(chain.ids) for chain in before)),
        sequence=sequence,
        alignment=_alignment(protein, "unpairedMsa", path, place, sequence),
        paired=_alignment(protein, "pairedMsa", path, place, sequence),
        templates=_templates(protein, path, place, sequence),
    )


def _ids(protein: Mapping[str, Any], place: str, num_before: int) -> tuple[str, ...]:
    if "id" not in protein:
        copies = protein.get("count", 1)
        if type(copies) is not int or not 1 <= copies <= MAX_CHAINS:
            raise InputError(
                "has a strange count", f"give a number from 1 to {MAX_CHAINS}", where=place
            )
        return tuple(chain_names(num_before + copies)[num_before:])
    ids = [protein["id"]] if isinstance(protein["id"], str) else protein["id"]
    if (
        not isinstance(ids, list)
        or not ids
        or not all(
            isinstance(each, str) and each.isascii() and each.isalnum() and len(each) <= MAX_ID
            for each in ids
        )
    ):
        raise InputError(
            "has a strange id",
            f"give a letter such as 'A', at most {MAX_ID} letters and digits, or a list of such",
            where=place,
        )
    return tuple(ids)


def _alignment(
    protein: Mapping[str, Any], key: str, path: Path, place: str, sequence: str
) -> Alignment | None:
    """The alignment under `key` or `keyPath`; none where it is left out or empty."""
    text, file = _text_or_file(protein, key, path, place)
    if file is not None:
        text = read_text(file)
    if not text:
        return None
    source = str(file or f"{place} {key}")
    alignment = parse_a3m(text, source)
    first = alignment.sequences[0]
    if alignment.deletions[0].any() or "-" in first or clean_sequence(first, source) != sequence:
        raise InputError("does not begin with the chain's sequence", "put it first", where=source)
    return alignment


def _text_or_file(
    entry: Mapping[str, Any], key: str, path: Path, place: str
) -> tuple[str | None, Path | None]:
    text, name = entry.get(key), entry.get(f"{key}Path")
    if not isinstance(text, str | None) or not isinstance(name, str | None):
        raise InputError(f"has a {key} that is not text", "write it in quotes", where=place)
    if text is not None and name is not None:
        raise InputError(f"has both {key} and {key}Path", "give one of them", where=place)
    file = None if name is None else path.parent / name
    if file is not None and not file.is_file():
        raise InputError(
            f"names a file {name!r} that does not exist", f"check {key}Path", where=place
        )
    return text, file


def _templates(
    protein: Mapping[str, Any], path: Path, place: str, sequence: str
) -> tuple[TemplateHit, ...]:
    entries = protein.get("templates") or []
    if not isinstance(entries, list):
        raise InputError("has templates that are not a list", "write [] for none", where=place)
    return tuple(
        _template(entry, path, f"{place} template {number}", len(sequence))
        for number, entry in enumerate(entries, start=1)
    )


def _template(entry: Any, path: Path, place: str, num_residues: int) -> TemplateHit:
    _check_keys(entry, _TEMPLATE, place)
    text, file = _text_or_file(entry, "mmcif", path, place)
    if file is not None:
        deposition: Deposition = parse_deposition(read_bytes(file), str(file))
    elif text:
        deposition = parse_deposition(text.encode(errors="replace"), f"{place} mmcif")
    else:
        raise InputError("has no mmcif", "give its text, or its file as mmcifPath", where=place)
    if len(deposition.chains) != 1:
        raise InputError(
            f"has {len(deposition.chains)} protein chains",
            "give a file with one chain",
            where=place,
        )
    structure = next(iter(deposition.chains.values()))
    columns = [entry.get("queryIndices"), entry.get("templateIndices")]
    limits = num_residues, len(structure)
    for indices, limit in zip(columns, limits, strict=True):
        if not isinstance(indices, list) or not all(
            type(index) is int and 0 <= index < limit for index in indices
        ):
            raise InputError(
                "has strange indices",
                f"give queryIndices from 0 to {limits[0] - 1} and templateIndices from 0 to "
                f"{limits[1] - 1}, unseen residues counted",
                where=place,
            )
    pairs = [len(indices) for indices in columns if indices is not None]
    if pairs[0] != pairs[1] or not pairs[0] or len(set(columns[0] or ())) < pairs[0]:
        raise InputError(
            "needs queryIndices and templateIndices of the same length, no query residue twice",
            "fix them",
            where=place,
        )
    return TemplateHit(structure.name, structure, np.array(columns, np.int64).T)


def _check_keys(entry: Any, known: set[str], place: str) -> None:
    if not isinstance(entry, dict):
        raise InputError("is not a JSON object", "write it in braces", where=place)
    unknown = sorted(set(entry) - known)
    if unknown:
        raise InputError(
            f"has the unknown key {unknown[0]!r}",
            f"Foldry reads {', '.join(sorted(known))}",
            where=place,
        )

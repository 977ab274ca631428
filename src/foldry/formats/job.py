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
from foldry.formats.a3m import parse_a3m, to_a3m
from foldry.formats.sequence import at, chain_names, clean_sequence, safe_name
from foldry.formats.template import entry_of, parse_template, template_mmcif
from foldry.query import MAX_CHAINS, Alignment, Chain, Hit, Query
from foldry.store.files import decode, read_bytes

_VERSIONS: Final = {"alphafold3": (1, 2, 3, 4), "alphafoldserver": (1, 2)}
_JOB: Final = {"name", "modelSeeds", "sequences", "dialect", "version"}
_MSAS: Final = ("unpairedMsa", "pairedMsa")
_MSA_FILES: Final = ("unpairedMsaPath", "pairedMsaPath")
_PROTEIN: Final = {"id", "sequence", "description", "templates", *_MSAS, *_MSA_FILES}
_SERVER_PROTEIN: Final = {"sequence", "count", "useStructureTemplate", "maxTemplateDate"}
_TEMPLATE: Final = {"mmcif", "mmcifPath", "queryIndices", "templateIndices"}
_TEXTS: Final = {"name", "sequence", "mmcif", *_MSAS}
"""Keys of text; with `Path` after them the name of a file with it."""
_LISTS: Final = {"modelSeeds", "sequences", "templates", "queryIndices", "templateIndices"}
_OTHERS: Final = {"rna": "RNA", "dna": "DNA", "ligand": "a ligand", "ion": "an ion"}


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
        reason = re.sub("( starting)? at$", "", error.msg)
        raise InputError(f"is not valid JSON ({reason})", "fix it", where=place) from None
    except RecursionError:
        what = "is nested too deeply for JSON of this kind"
        raise InputError(what, "fix it", where=path) from None
    except ValueError as error:
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
        InputError: A template has no structure, or rows of the chains are paired by their number.
    """
    if query.paired_by_row:
        raise InputError(
            f"The rows of {query.name!r} are paired by their number, which JSON cannot say",
            "keep them in ColabFold's a3m",
        )
    job: dict[str, Any] = {
        "name": query.name,
        "modelSeeds": query.seeds,
        "sequences": [{"protein": _protein_entry(chain)} for chain in query.chains],
        "dialect": "alphafold3",
        "version": 1,
    }
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
    here, there = hit.pairs.T.tolist()
    return {"mmcif": template_mmcif(hit), "queryIndices": here, "templateIndices": there}


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
    name, sequences = job.get("name") or "", job.get("sequences")
    if not name.strip():
        raise InputError("has no name", "give the job a name", where=place)
    if not sequences:
        raise InputError("has no sequences", "give a list with at least one protein", where=place)
    chains: list[Chain] = []
    num_chains = 0
    for number, entry in enumerate(sequences, start=1):
        chains.append(_chain(entry, path, f"{place} sequence {number}", num_chains))
        num_chains += len(chains[-1].ids)
        if num_chains > MAX_CHAINS:
            break  # a query of these is refused, however many follow
    seeds = [
        int(seed) if isinstance(seed, str) and re.fullmatch("[0-9]{1,10}", seed) else seed
        for seed in job.get("modelSeeds") or []
    ]
    with at(place):
        return Query(safe_name(name, place), tuple(chains), tuple(seeds))


def _chain(entry: Any, path: Path, place: str, num_before: int) -> Chain:
    """One entry of `sequences`; so many chains have their names already."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise InputError("is not an object with one key", 'write {"protein": …}', where=place)
    [(kind, protein)] = entry.items()
    if kind not in ("protein", "proteinChain"):
        found = _OTHERS.get(kind.removesuffix("Sequence"), f"of the unknown kind {kind!r}")
        raise InputError(f"is {found}, and only proteins are folded", "remove it", where=place)
    known = _PROTEIN if kind == "protein" else _SERVER_PROTEIN
    _check_keys(protein, known, place, refused=("modifications", "glycans"))
    ids = _ids(protein, place, num_before)
    sequence = clean_sequence(protein.get("sequence") or "", place)
    alignment, paired = (_alignment(protein, key, path, place, sequence) for key in _MSAS)
    templates = [
        _template(template, path, f"{place} template {number}", len(sequence))
        for number, template in enumerate(protein.get("templates") or [], start=1)
    ]
    with at(place):
        return Chain(ids, sequence, alignment, paired, tuple(templates))


def _ids(protein: Mapping[str, Any], place: str, num_before: int) -> tuple[Any, ...]:
    if "id" not in protein:
        copies = protein.get("count", 1)
        if type(copies) is not int or not 1 <= copies <= MAX_CHAINS:
            advice = f"give a number from 1 to {MAX_CHAINS}"
            raise InputError("has a strange count", advice, where=place)
        return tuple(chain_names(num_before + copies)[num_before:])
    return tuple(protein["id"]) if isinstance(protein["id"], list) else (protein["id"],)


def _alignment(
    protein: Mapping[str, Any], key: str, path: Path, place: str, sequence: str
) -> Alignment | None:
    """The alignment under `key` or `keyPath`; none where it is left out or empty."""
    data, source = _content(protein, key, path, place)
    if not data:
        return None
    rows = parse_a3m(decode(data, source), source)
    for ours, theirs in zip(sequence, rows.query, strict=False):
        if ours == "X" and theirs not in "XUOBZJ":
            what = f"begins with another sequence ({theirs} for X)"
            raise InputError(what, "put the chain's sequence first", where=source)
    return rows


def _content(entry: Mapping[str, Any], key: str, path: Path, place: str) -> tuple[bytes, str]:
    """What stands under `key` or in the file that `keyPath` names, and how errors call it."""
    text, name = entry.get(key), entry.get(f"{key}Path")
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
    limits = {"queryIndices": num_residues, "templateIndices": len(structure)}
    here, there = (entry.get(key) or [] for key in limits)
    for (key, limit), indices in zip(limits.items(), (here, there), strict=True):
        if not all(type(index) is int and 0 <= index < limit for index in indices):
            advice = f"count all residues, also unseen ones, from 0 to {limit - 1}"
            raise InputError(f"has strange {key}", advice, where=place)
    if not here or len(here) != len(there) or len(set(here)) < len(here):
        what = "needs equally many queryIndices and templateIndices, no query residue twice"
        raise InputError(what, "fix them", where=place)
    return Hit(structure.name, np.array([here, there]).T, structure, release_date=date)


def _check_keys(entry: Any, known: set[str], place: str, refused: Collection[str] = ()) -> None:
    """Whether an object has no other keys than the known ones, and the refused ones only empty.

    Texts and lists are such, or null.
    """
    if not isinstance(entry, dict):
        raise InputError("is not a JSON object", "write it in braces", where=place)
    for key, value in entry.items():
        if key in refused and value:
            raise InputError(f"has {key}, which are not folded", "remove them", where=place)
        if key not in known and key not in refused:
            advice = f"use only {', '.join(sorted(known))}"
            raise InputError(f"has the unknown key {key!r}", advice, where=place)
        if key.removesuffix("Path") in _TEXTS and not isinstance(value, str | None):
            raise InputError(f"has a {key} that is not text", "write it in quotes", where=place)
        if key in _LISTS and not isinstance(value, list | None):
            raise InputError(f"has {key} that are not a list", "use brackets", where=place)

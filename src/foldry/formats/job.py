"""Reading and writing of AlphaFold 3's JSON, and reading of the AlphaFold Server's; proteins only.

Source: docs/input.md of google-deepmind/alphafold3, versions 1–4; server/README.md of
google-deepmind/alphafold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from foldry.errors import InputError, quoted
from foldry.formats.a3m import parse_a3m, to_a3m
from foldry.formats.lines import MAX_TEXT
from foldry.formats.sequence import (
    MOLECULES,
    at,
    chain_names,
    check_num_chains,
    clean_sequence,
    file_name,
    no_protein,
    numbered,
)
from foldry.formats.template import FOUND, entry_of, parse_template, template_mmcif
from foldry.query import MAX_CHAINS, Alignment, Chain, Hit, Query
from foldry.store.files import MAX_WIDE, decode, read_bytes, stem, too_wide

_VERSIONS: Final = {"alphafold3": (1, 2, 3, 4), "alphafoldserver": (1, 2)}
_JOB: Final = {"name", "modelSeeds", "sequences", "dialect", "version"}
_MSAS: Final = ("unpairedMsa", "pairedMsa")
_MSA_FILES: Final = ("unpairedMsaPath", "pairedMsaPath")
_PROTEIN: Final = {"id", "sequence", "description", "templates", *_MSAS, *_MSA_FILES}
_SERVER_PROTEIN: Final = (_PROTEIN - {"id"}) | {"count", "useStructureTemplate", "maxTemplateDate"}
_TEMPLATE: Final = {"mmcif", "mmcifPath", "queryIndices", "templateIndices"}
_TEXTS: Final = {"name", "sequence", "mmcif", *_MSAS}
"""Keys whose values are texts; with `Path` appended, their values are names of files."""
_LISTS: Final = {"modelSeeds", "sequences", "templates", "queryIndices", "templateIndices"}
_FILE_NAME: Final = re.compile(
    r"[^\n>]{1,4000}\.(cif|mmcif|bcif|pdb|ent|a3m|fasta|fa|sto)(\.(gz|xz|zst))?", re.IGNORECASE
)
MAX_VALUES: Final = 4_000_000
"""Maximum number of values in a JSON text."""
_Parsed = TypeVar("_Parsed")


class _Files(NamedTuple):
    """The files that `…Path` keys of a job may name.

    Attributes:
        job: The job file; paths in it are relative to its folder.
        allow_outside: Whether these paths may lead out of the folder.
        known: Results of `_parsed` by path and key; many chains may name the same large file.
    """

    job: Path
    allow_outside: bool
    known: dict[tuple[str, str], tuple[Any, str]]

    def read(self, name: str, key: str, place: str) -> tuple[bytes, str]:
        """Return the content of the file that a key names, and its path for error messages."""
        folder = self.job.parent
        path = folder / name
        try:
            inside = path.resolve().is_relative_to(folder.resolve())
            found = path.is_file()
        except (OSError, ValueError, RuntimeError):  # too long, NUL, a loop of links
            inside, found = True, False
        if not inside and not self.allow_outside:
            what = f"has the {key} {quoted(name)}, a file outside the folder of the job"
            advice = "move it there, or set `allow_outside_paths`"
            raise InputError(what, advice, where=place, code="outside_path")
        if not found:
            what = f"has the {key} {quoted(name)}, which does not exist"
            raise InputError(what, "check the path", where=place)
        return read_bytes(path, MAX_TEXT), str(path)


def parse_jobs(text: str, path: Path, *, allow_outside_paths: bool = False) -> list[Query]:
    """Return the queries of a JSON text: one job, or a list of them; names become safe file names.

    Args:
        text: The content of the file.
        path: The file; the paths of `…Path` keys are relative to its folder.
        allow_outside_paths: Whether these paths may lead out of this folder, also through links.

    Raises:
        InputError: The text is not JSON or not of this dialect, a path leads out of the folder, or
            a job contains anything but proteins of the 20 amino acids.
    """
    if len(text) > MAX_WIDE and (wide := re.search(r"\\u(?!00)\w+", text)):
        raise too_wide(wide[0], str(path))
    # Each value follows one of these characters; small objects need far more memory than text, and
    # each key has two quotation marks.
    if sum(map(text.count, "{[,")) > MAX_VALUES or text.count('"') > MAX_VALUES:
        what = f"has more than {MAX_VALUES} values or quotation marks"
        raise InputError(what, "split it into several files", where=path)
    try:
        content = json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        reason = re.sub("( starting)? at$", "", error.msg)
        raise InputError(f"is not valid JSON ({reason})", "fix the file", where=place) from None
    except RecursionError:
        raise InputError("is nested too deeply", "use fewer brackets", where=path) from None
    except ValueError as error:
        raise InputError(f"is not valid JSON ({error})", "fix the file", where=path) from None
    jobs = content if isinstance(content, list) else [content]
    if not jobs:
        raise InputError("has no job", "give at least one", where=path)
    files, queries, num_chains = _Files(path, allow_outside_paths, {}), [], 0
    for number, (job, name) in enumerate(
        zip(jobs, numbered(stem(path), len(jobs)), strict=True), 1
    ):
        place = f"{path}, job {number}," if len(jobs) > 1 else str(path)
        queries.append(_job(job, files, place, name))
        num_chains += queries[-1].num_chains
        check_num_chains(num_chains, str(path))
    return queries


def job_json(query: Query) -> str:
    """Return the query as JSON of AlphaFold 3's dialect, including alignments and templates.

    The keys of both are left out for a chain with neither: AlphaFold 3 then searches for them. It
    searches for templates alone if their key is null, because none were searched for.

    Raises:
        InputError: A template has no structure, or rows of the chains are paired by their number.

    Example:
        >>> json.loads(job_json(Query("q", (Chain(("A",), "MKT"),))))["sequences"]
        [{'protein': {'id': 'A', 'sequence': 'MKT'}}]
    """
    if query.paired_by_row:
        raise InputError(
            f"The rows of {query.name!r} are paired by their number, which JSON cannot express",
            "keep the a3m file",
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
    if chain.alignments or chain.templates or chain.templates_known:
        none = "" if chain.alignment else None  # null: the alignment is still to be searched for
        entry["unpairedMsa"] = to_a3m(chain.alignment) if chain.alignment else None
        entry["pairedMsa"] = to_a3m(chain.paired) if chain.paired else none
        is_known = bool(chain.templates) or chain.templates_known
        entry["templates"] = list(map(_template_entry, chain.templates)) if is_known else None
    return entry


def _template_entry(hit: Hit) -> dict[str, Any]:
    here, there = hit.pairs.T.tolist()
    return {"mmcif": template_mmcif(hit), "queryIndices": here, "templateIndices": there}


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = {}
    for key, value in pairs:
        if key in entry:
            raise ValueError(f"an object has the key {quoted(key)} twice")
        entry[key] = value
    return entry


def _job(job: Any, files: _Files, place: str, other: str) -> Query:
    """Return the query of a job, named `other` if its name cannot name a file."""
    if isinstance(job, dict) and job.keys().isdisjoint(_JOB):
        raise InputError(
            "has no job", "give sequences, not the scores of a prediction", where=place
        )
    _check_keys(job, _JOB, place, refused=("bondedAtomPairs", "userCCD", "userCCDPath"))
    dialect, version = job.get("dialect", "alphafold3"), job.get("version", 1)
    if version not in _VERSIONS.get(str(dialect), ()):
        raise InputError(
            f"has the dialect {quoted(dialect)}, version {quoted(version)}",
            "use alphafold3 with version 1 to 4, or alphafoldserver with version 1 or 2",
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
        chains.append(_chain(entry, files, f"{place} sequence {number}", num_chains))
        num_chains += len(chains[-1].ids)
        if num_chains > MAX_CHAINS:
            break  # the query is refused below
    seeds = [
        int(seed) if isinstance(seed, str) and re.fullmatch("[0-9]{1,10}", seed) else seed
        for seed in job.get("modelSeeds") or []
    ]
    with at(place):
        return Query(file_name(name, other), tuple(chains), tuple(seeds))


def _chain(entry: Any, files: _Files, place: str, num_before: int) -> Chain:
    """Return the chain of an entry of `sequences`; `num_before` chains already have names."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise InputError("is not an object with one key", 'write {"protein": …}', where=place)
    [(kind, protein)] = entry.items()
    if kind not in ("protein", "proteinChain"):
        found = MOLECULES.get(kind.removesuffix("Sequence"), f"of the unknown kind {quoted(kind)}")
        raise no_protein(found, place)
    known = _PROTEIN if kind == "protein" else _SERVER_PROTEIN
    _check_keys(protein, known, place, refused=("modifications", "glycans"))
    ids = _ids(protein, place, num_before)
    sequence = clean_sequence(protein.get("sequence") or "", place)
    alignment, paired = (_alignment(protein, key, files, place, sequence) for key in _MSAS)
    unpaired = _MSAS[0]
    if alignment is None and (protein.get(unpaired), protein.get(f"{unpaired}Path")) != (
        None,
        None,
    ):
        alignment = Alignment.of(["query"], [sequence])  # none is wanted: it is not searched for
    templates = [
        _template(template, files, f"{place} template {number}", len(sequence))
        for number, template in enumerate(protein.get("templates") or [], start=1)
    ]
    # An empty list means that no templates are wanted; null, that they may be searched for.
    is_known = protein.get("templates") is not None or protein.get("useStructureTemplate") is False
    with at(place):
        return Chain(ids, sequence, alignment, paired, tuple(templates), is_known)


def _ids(protein: Mapping[str, Any], place: str, num_before: int) -> tuple[Any, ...]:
    if "id" not in protein:
        copies = protein.get("count", 1)
        if type(copies) is not int or not 1 <= copies <= MAX_CHAINS:
            advice = f"give a number from 1 to {MAX_CHAINS}"
            raise InputError(f"has the count {quoted(copies)}", advice, where=place)
        return tuple(chain_names(num_before + copies)[num_before:])
    return tuple(protein["id"]) if isinstance(protein["id"], list) else (protein["id"],)


def _alignment(
    protein: Mapping[str, Any], key: str, files: _Files, place: str, sequence: str
) -> Alignment | None:
    """Return the alignment under `key` or `keyPath`; None if it is missing or empty."""
    rows, source = _parsed(protein, key, files, place, _rows)
    for ours, theirs in zip(sequence, rows.query if rows else "", strict=False):
        if ours == "X" and theirs not in "XUOBZJ":
            what = f"begins with another sequence ({theirs} for X)"
            raise InputError(what, "put the chain's sequence first", where=source)
    return rows


def _rows(given: str | bytes, source: str) -> Alignment:
    """Return an alignment; a text that needs no decoding is not copied."""
    if isinstance(given, str) and (not given.isascii() or "\0" in given or "\r" in given):
        given = given.encode(errors="replace")
    return parse_a3m(given if isinstance(given, str) else decode(given, source), source)


def _parsed(
    entry: Mapping[str, Any],
    key: str,
    files: _Files,
    place: str,
    parse: Callable[[str | bytes, str], _Parsed],
) -> tuple[_Parsed | None, str]:
    """Return the parsed text of `key` or file of `keyPath` (None if empty), and its name in errors.

    A file is parsed once.
    """
    text, name = entry.get(key), entry.get(f"{key}Path")
    if text is not None and name is not None:
        raise InputError(f"has both {key} and {key}Path", "give one of them", where=place)
    if text and _FILE_NAME.fullmatch(text):
        what = f"has the {key} {quoted(text)}, which is the name of a file, not its content"
        raise InputError(what, f"name the file in {key}Path instead", where=place)
    if name is None:
        source = f"{place} {key}"
        return parse(text, source) if text else None, source
    if (name, key) not in files.known:
        data, source = files.read(name, f"{key}Path", place)
        files.known[name, key] = parse(data, source) if data else None, source
    return files.known[name, key]


def _template(entry: Any, files: _Files, place: str, num_residues: int) -> Hit:
    _check_keys(entry, _TEMPLATE, place)
    found, _ = _parsed(entry, "mmcif", files, place, parse_template)
    if found is None:
        raise InputError("has no mmcif", "give its text, or its file as mmcifPath", where=place)
    (structure, date), e_value = found, None
    if entry.get("mmcif"):
        (name, e_value), [chain] = entry_of(entry["mmcif"]), structure.chains
        name = name if name.endswith(f"_{chain}") else f"{name}_{chain}"
        structure = replace(structure, name=name)
    limits = {"queryIndices": num_residues, "templateIndices": len(structure)}
    here, there = (entry.get(key) or [] for key in limits)
    for (key, limit), indices in zip(limits.items(), (here, there), strict=True):
        if not all(type(index) is int and 0 <= index < limit for index in indices):
            what = f"has {key} that are not all whole numbers from 0 to {limit - 1}"
            advice = "count residues from 0, also those without coordinates"
            raise InputError(what, advice, where=place)
    if not here or len(here) != len(there) or len(set(here)) < len(here):
        what = "has no indices, lists of indices of different length, or a query residue twice"
        raise InputError(what, "give one pair of indices for each aligned residue", where=place)
    return Hit(
        structure.name,
        np.array([here, there]).T,
        structure,
        e_value,
        release_date=date,
        how="" if e_value is None else FOUND,
    )


def _check_keys(entry: Any, known: set[str], place: str, refused: Collection[str] = ()) -> None:
    """Check an object: no unknown keys, values of the right type or null, refused keys empty."""
    if not isinstance(entry, dict):
        raise InputError("is not a JSON object", "enclose it in braces", where=place)
    for key, value in entry.items():
        if key in refused and value:
            raise InputError(f"has {key}, which Foldry does not support", "remove it", where=place)
        if key not in known and key not in refused:
            advice = f"use only {', '.join(sorted(known))}"
            raise InputError(f"has the unknown key {quoted(key)}", advice, where=place)
        if key.removesuffix("Path") in _TEXTS and not isinstance(value, str | None):
            raise InputError(f"has a {key} that is not text", "enclose it in quotes", where=place)
        if key in _LISTS and not isinstance(value, list | None):
            raise InputError(
                f"has {key} that are not a list", "enclose them in brackets", where=place
            )

"""A structure file and its predicted aligned errors → one model as the database keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from jaxtyping import Float

from foldry.assess.inputs import plddt_of
from foldry.assess.pae_rows import pae_rows
from foldry.database.candidate import in_utc
from foldry.database.entry import Deposit, Facts, StoredModel
from foldry.database.imports.alignments import of_chains
from foldry.database.imports.job import Reading
from foldry.errors import InputError, counted
from foldry.formats.coordinates import parse_both
from foldry.formats.model_record import ModelRecord
from foldry.formats.modelcif_read import read_modelcif
from foldry.formats.npz import find_array
from foldry.formats.pae import TokenPae, parse_pae
from foldry.formats.tokens import parse_molecules
from foldry.structure import Structure

MAX_RESIDUES: Final = 20_000
"""Limit on the residues of one prediction."""
_MAX_PLACE: Final = 10_000
_MAX_ERROR: Final = 1_000
TOOLS: Final = {"foldry": "Foldry", "alphafold": "AlphaFold", "boltz": "Boltz"}
"""Programs by their names in files, in lower case, if files and people write them differently."""
WHOLE: Final = ("ptm", "iptm")
"""Measures of a whole model that are taken from files of scores."""
_MAX_LISTED: Final = 16 * 1024**2
"""Limit on the bytes of an array of values for each residue."""
_SCORE: Final = rb'"%s"\s*:\s*(\d+(?:\.\d+)?(?:[eE]-?\d+)?)'
_STATED: Final = b"_ma_qa_metric"
"""The category of files that say what their B factors are."""
_NO_CONFIDENCE: Final = "give a prediction, whose B factors are pLDDT"
_PROGRAMS: Final = {
    b"esmfold": "ESMFold",
    b"omegafold": "OmegaFold",
    b"rosettafold": "RoseTTAFold",
    b"colabfold": "ColabFold",
    b"alphafold": "AlphaFold",
    b"boltz": "Boltz",
    b"chai-": "Chai",
}
"""Programs by a word at the beginning of their files."""
_START: Final = 4096
_PDB: Final = (".pdb", ".ent")
_END: Final = 1000
"""Bytes in which a PDB file ends."""


def read_model(
    reading: Reading,
    structure: str,
    *,
    pae: str | None = None,
    plddt: str | None = None,
    scores: Mapping[str, float] | None = None,
    name: str = "",
    parameters: Mapping[str, object] | None = None,
) -> StoredModel:
    """Return one model of a job.

    Args:
        reading: The job.
        structure: Name of the structure file.
        pae: Name of the file of predicted aligned errors, or None.
        plddt: Name of a JSON or NumPy file of pLDDT, read if the structure file does not state
            that its B factors are pLDDT; or None.
        scores: Measures of the whole model by key, which the structure file may lack.
        name: Name of the network, which the structure file may lack.
        parameters: Settings of the prediction, which the structure file may lack.

    Raises:
        InputError: A file is damaged, or is not a prediction of proteins.
    """
    data, source = reading.data(structure), reading.where(structure)
    record = read_modelcif(data, source)
    if structure.lower().endswith(_PDB) and b"\nEND" not in data[-_END:]:
        reading.notes.append(f"{source} has no END at its end: it may be cut off.")
    if len(record.plddt) > MAX_RESIDUES:
        what = f"has {len(record.plddt)} residues, more than {MAX_RESIDUES}"
        raise InputError(what, "give a smaller prediction", where=source)
    if np.abs(record.structure.atom_positions).max(initial=0) >= _MAX_PLACE:
        what = f"has an atom more than {_MAX_PLACE} Å from the origin"
        raise InputError(what, "move the model", where=source)
    if _STATED not in data:
        listed = None if plddt is None else read_plddt(reading, plddt)
        versions = any(named_program(each.encode()) for each in record.prediction.versions)
        is_predicted = bool(pae or name or named_program(data) or versions)
        record = replace(record, plddt=_plddt(record, listed, is_predicted, source))
    atoms = record.structure
    step = record.prediction
    record = replace(
        record,
        structure=replace(atoms, b_factor=np.where(atoms.atom_mask, record.plddt[:, None], 0.0)),
        scores={**(scores or {}), **record.scores},
        model_name=record.model_name or name,
        prediction=replace(step, parameters={**(parameters or {}), **step.parameters}),
    )
    if pae is None:
        return StoredModel(record=record)
    tokens = parse_pae(reading.data(pae), reading.where(pae))
    errors = tokens.errors
    if errors.max() > _MAX_ERROR:
        what = f"has errors above {_MAX_ERROR} Å"
        raise InputError(what, "fix the file", where=reading.where(pae))
    if tokens.places is not None or len(errors) != len(record.plddt):
        errors = _of_residues(tokens, record, data, reading.where(pae), source)
    if len(errors) < len(tokens.errors):
        left_out = counted(len(tokens.errors) - len(errors), "token")
        reading.notes.append(f"{source}: {left_out} of other molecules are left out.")
    return StoredModel(record=record, pae=errors, max_pae=tokens.max_error)


def _plddt(
    record: ModelRecord, listed: Float[np.ndarray, " N"] | None, is_predicted: bool, source: str
) -> Float[np.ndarray, " N"]:
    """Return the pLDDT of a file that does not state what its B factors are.

    Args:
        record: What the file says.
        listed: pLDDT from another file, or None; used if it is of all residues.
        is_predicted: Whether a program for predictions is known to have written the file.
        source: Name of the file.

    Raises:
        InputError: The B factors are not pLDDT.
    """
    if listed is not None and len(listed) == len(record.plddt):
        return listed
    observed = np.flatnonzero(record.structure.atom_mask.any(axis=1))
    atoms = record.structure.select(observed)
    found = plddt_of(atoms, is_predicted or listed is not None)
    if found is None:
        what, advice = "has B factors that are not pLDDT", _NO_CONFIDENCE
        if plddt_of(atoms, predicted=True) is not None:
            what = "has B factors that differ within residues, and names no program that predicts"
            advice = "import it together with its files of scores"
        raise InputError(what, advice, where=source)
    plddt = record.plddt.copy()
    plddt[observed] = found
    return plddt


def named_program(data: bytes) -> str:
    """Return the program that the beginning of a file names, or ""."""
    start = data[:_START].lower()
    return next((name for word, name in _PROGRAMS.items() if word in start), "")


def _of_residues(
    tokens: TokenPae, record: ModelRecord, data: bytes, file: str, source: str
) -> Float[np.ndarray, "N N"]:
    """Return the errors of the residues of a record among those of tokens.

    Args:
        tokens: The errors.
        record: What the structure file says.
        data: Content of the structure file.
        file: Name of the file of the errors.
        source: Name of the structure file.

    Raises:
        InputError: It is not known which rows belong to the residues.
    """
    whole, deposition = parse_both(data, source)
    molecules = partial(parse_molecules, data, source)
    rows = pae_rows(tokens, whole, whole, deposition, file, molecules)
    known = dict(zip(_keys(whole), rows.tolist(), strict=True))
    try:
        chosen = [known[key] for key in _keys(record.structure)]
    except KeyError:
        what = "has no row for a residue without atoms"
        raise InputError(what, "leave it out, or give all atoms", where=file) from None
    return np.ascontiguousarray(tokens.errors[np.ix_(chosen, chosen)])


def _keys(structure: Structure) -> list[tuple[str, int, str]]:
    columns = structure.chain_id, structure.residue_number, structure.insertion_code
    return list(zip(*(each.tolist() for each in columns), strict=True))


def read_plddt(reading: Reading, name: str) -> Float[np.ndarray, " N"] | None:
    """Return pLDDT (0–100) from a JSON file as AlphaFold writes it, or a NumPy file as Boltz does.

    Raises:
        InputError: The file is damaged, or its values are not pLDDT.
    """
    source = reading.where(name)
    if name.endswith((".npz", ".npy")):
        values = read_array(reading, name, "plddt")
    else:
        found = reading.json(name)
        listed = next((found[key] for key in ("confidenceScore", "plddt") if key in found), None)
        plain = isinstance(listed, list) and {*map(type, listed)} <= {int, float}
        values = np.array(listed, float) if plain else None
    if values is None or values.ndim != 1 or values.dtype.kind != "f":
        raise InputError("has no list of pLDDT", "replace it", where=source)
    plddt = values.astype(float) * (100 if values.max(initial=0) <= 1 else 1)
    if not ((plddt >= 0) & (plddt <= 100)).all():
        raise InputError("has pLDDT outside 0 to 100", "replace it", where=source)
    return plddt


def read_array(reading: Reading, name: str, key: str) -> np.ndarray | None:
    """Return an array of a NumPy file of floating-point numbers, or None if there is none.

    Raises:
        InputError: The file is damaged or too large.
    """
    try:
        found, _ = find_array(reading.data(name), (key,), _MAX_LISTED)
    except ValueError as error:
        where = reading.where(name)
        raise InputError(f"cannot be read ({error})", "replace it", where=where) from None
    return found if found is not None and found.dtype.kind == "f" else None


def read_scores(reading: Reading, name: str | None) -> dict[str, float]:
    """Return pTM and ipTM from a JSON or NumPy file, as far as it has them.

    A JSON file may hold matrices as well, so it is not parsed as a whole.

    Raises:
        InputError: The file is damaged.
    """
    if name is None:
        return {}
    data = reading.data(name)
    found = {}
    for key in WHOLE:
        if name.endswith(".npz"):
            array = read_array(reading, name, key)
            values = [] if array is None else array.ravel()[:1].tolist()
        else:
            values = [float(each) for each in re.findall(_SCORE % key.encode(), data)[:1]]
        if values and 0 <= values[0] <= 1:
            found[key] = values[0]
    return found


def deposit(
    reading: Reading,
    tool: str,
    models: Sequence[StoredModel],
    *,
    key: str | None = None,
    version: str = "",
    alignments: Iterable[bytes] = (),
) -> Deposit:
    """Return the deposit of a job.

    Args:
        reading: The job.
        tool: Name of the program.
        models: Its models, best first.
        key: The content key, if it is not that of the files.
        version: Version of the program, which the structure files may lack.
        alignments: Alignments of its sequences (a3m), which are read if they are kept.
    """
    named = [_named(each, tool, version) for each in models]
    return Deposit(
        model=named[0],
        tool=tool,
        name=reading.job.name,
        content_key=key or reading.key,
        ensemble=tuple(named[1:]),
        alignments=of_chains(reading, alignments, named[0].record.chains),
        facts=facts_of(named[0].record),
    )


def _named(model: StoredModel, tool: str, version: str) -> StoredModel:
    """Return a model whose record names the program that predicted it.

    A file may call it by another name, e.g. AlphaFold 3 just AlphaFold.
    """
    step = model.record.prediction
    versions = dict(step.versions)
    if tool.lower() not in map(str.lower, versions):
        known = next(iter(versions.values()), "") if len(versions) == 1 else ""
        others = versions if len(versions) > 1 else {}
        versions = {tool: version or known, **others}
    record = replace(
        model.record,
        prediction=replace(step, versions=versions),
        model_name=model.record.model_name or tool,
        created=in_utc(model.record.created),
    )
    return replace(model, record=record)


def tool_of(record: ModelRecord, other: str) -> str:
    """Return the program that a record names, or `other` if it names none."""
    name = next(iter(record.prediction.versions), other)
    return TOOLS.get(name.lower(), name)


def facts_of(record: ModelRecord) -> Facts:
    """Return what a record says about its protein; of a complex, about no single one."""
    if len(record.chains) > 1:
        return Facts(description=record.title)
    [chain] = record.chains
    found = chain.reference
    if found is None:
        return Facts(description=chain.description)
    return Facts(
        description=chain.description,
        uniprot_id=found.code,
        gene=found.gene,
        organism=found.organism,
        tax_id=found.tax_id,
        sequence_version_date=found.version_date,
    )

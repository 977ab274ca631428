"""Files of AlphaFold DB, of each version and layout, and those that Foldry renders or exports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from foldry.database.entry import Deposit
from foldry.database.ids import model_parts
from foldry.database.imports.alignments import of_a3m
from foldry.database.imports.job import Job, Reading
from foldry.database.imports.model import deposit, read_model, tool_of
from foldry.store.members import Member, plain_name

LAYOUT: Final = "afdb"
PROVIDER: Final = "AlphaFold DB"
"""Who made the predictions of AlphaFold that have all its authors, or none."""
_FILE: Final = re.compile(
    r"(?P<id>AF-(?:[A-Z0-9]{6,10}(?:-\d{1,4})?-F\d{1,5}|\d{16}))[-_]"
    r"(?P<kind>model|confidence|plddt|predicted_aligned_error|pae|msa)[-_]v(?P<version>\d{1,6})"
    r"\.(?P<suffix>cif|bcif|pdb|json|a3m)"
)
_USED: Final = (
    *(("model", "cif"), ("model", "bcif"), ("model", "pdb")),
    *(("predicted_aligned_error", "json"), ("pae", "json"), ("msa", "a3m")),
)


def key_of(name: str) -> str:
    """Return the folder, the entry and the version of a file, or "" if it is no such file.

    Example:
        >>> key_of("cif/AF-P00520-F1-model_v4.cif.gz")
        'cif/AF-P00520-F1_v4'
    """
    found = _FILE.fullmatch(plain_name(name))
    folder, slash, _ = name.rpartition("/")
    return f"{folder}{slash}{found['id']}_v{found['version']}" if found else ""


def job_of(members: Mapping[str, Member]) -> Job | None:
    """Return the job of the files of one entry and version; None without a structure.

    Of several structure files, mmCIF is read; the pLDDT of a confidence file is in it, too.
    """
    found = {}
    for name, member in members.items():
        if match := _FILE.fullmatch(name):
            found[match["kind"], match["suffix"]] = name, member
    used = [each for each in _USED if each in found]
    structures = [each for each in used if each[0] == "model"]
    if not structures:
        return None
    files = dict(found[each] for each in used if each not in structures[1:])
    name, member = found[structures[0]]
    match = _FILE.fullmatch(name)
    assert match is not None  # it was found by it
    return Job(LAYOUT, match["id"], member.where, files)


def read(reading: Reading) -> Deposit:
    """Return the deposit of an entry, with its id and version.

    Raises:
        InputError: A file is damaged.
    """
    kinds = {
        (match["kind"], match["suffix"]): match
        for each in reading.job.files
        if (match := _FILE.fullmatch(each))
    }
    [structure] = [match for (kind, _), match in kinds.items() if kind == "model"]
    pae = [match[0] for (kind, _), match in kinds.items() if kind in _USED[3] + _USED[4]]
    msa = kinds.get(("msa", "a3m"))
    model = read_model(reading, structure[0], pae=next(iter(pae), None))
    tool, authors = tool_of(model.record, "AlphaFold"), model.record.authors
    alignments = of_a3m(reading, msa[0]) if msa else ()
    found = deposit(reading, tool, [model], alignments=alignments)
    # What a database publishes for a lab names the lab as its author.
    is_theirs = tool == "AlphaFold" and (len(authors) != 1 or PROVIDER in authors)
    named = model_parts(structure["id"])
    accession, fragment = (None, 1) if named is None else (str(named[0]), named[1])
    return replace(
        found,
        accession=accession,
        fragment=fragment,
        entry_id=structure["id"],
        version=int(structure["version"]),
        provider=PROVIDER if is_theirs else None,
    )

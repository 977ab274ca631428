"""UniProt's flat files and FASTA headers as facts about proteins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foldry.database.entry import Facts
from foldry.database.ids import accession, named_accession
from foldry.errors import InputError, quoted
from foldry.formats.lines import stream_lines

_MAX_RECORD: Final = 32 * 1024**2
"""Characters of one record; UniProt's longest have about 2 million."""
_MAX_SEQUENCE: Final = 100_000
"""Letters of a sequence that is compared with entries; UniProt's longest has 45,354."""
_EVIDENCE: Final = re.compile(r"\s*\{ECO:[^{}]*\}")
_MONTHS: Final = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
_PART_OF_NAME: Final = re.compile(
    r"strain|isolate|serotype|serovar|subsp|cultivar|biovar|pathovar|var\b", re.IGNORECASE
)
_HEADER: Final = re.compile(
    r"(?P<source>sp|tr)\|(?P<accession>[\w-]+)\|(?P<code>\w+) ?(?P<rest>.*)"
)
_FIELD: Final = re.compile(r" (?=(?:UA|UI|OS|OX|GN|PE|SV)=)")


@dataclass(frozen=True)
class Protein:
    """What UniProt says about one protein.

    Attributes:
        accessions: The accession, then former ones.
        facts: What is known about it.
        where: File and line of the record.
        sequence: The canonical sequence; "" if the record does not have it.
    """

    accessions: tuple[str, ...]
    facts: Facts
    where: str
    sequence: str = ""


def read_flat_file(path: Path) -> Iterator[Protein | InputError]:
    """Yield the records of a UniProt flat file (`.dat`), and an error for each bad one.

    The file is read line by line. The format is described in UniProt's user manual.

    Args:
        path: The file, packed or not, of any size.

    Raises:
        InputError: The file cannot be read.
    """
    record: dict[str, list[str]] = {}
    begin = size = 0
    for number, line in stream_lines(path):
        begin = begin or number
        if line.startswith("//"):
            yield _protein(record, size, f"{path}, line {begin}")
            record, begin, size = {}, 0, 0
        elif size <= _MAX_RECORD:
            record.setdefault(line[:2], []).append(line[5:])
            size += len(line)
    if any(map(str.strip, record)):
        what, where = "begins a record without the line //", f"{path}, line {begin}"
        yield InputError(what, "replace the file by a whole copy", where=where)


def _protein(record: dict[str, list[str]], size: int, where: str) -> Protein | InputError:
    if size > _MAX_RECORD:
        return InputError("begins a record that is too long", "check the file", where=where)
    title = "".join(record.get("ID", ())[:1])
    try:
        accessions = tuple(str(accession(each)) for each in _listed(" ".join(record.get("AC", ()))))
    except InputError as error:
        return InputError(f"begins a record in which {error.what}", error.advice, where=where)
    if not accessions or not title.strip():
        what = "begins a record without an accession"
        return InputError(what, "give a flat file of UniProt", where=where)
    names = _Names(record.get("DE", ()))
    genes = _fields(" ".join(record.get("GN", ())))
    organism, others = _organism(" ".join(record.get("OS", ())))
    tax_id = re.search(r"NCBI_TaxID=(\d{1,10})\b", "".join(record.get("OX", ())))
    keywords = _listed(" ".join(record.get("KW", ())))
    facts = Facts(
        description=names.main,
        uniprot_id=title.split()[0],
        gene=next(iter(genes), ""),
        gene_synonyms=tuple(genes[1:]),
        organism=organism,
        organism_names=others,
        tax_id=int(tax_id[1]) if tax_id else None,
        lineage=_listed(" ".join(record.get("OC", ()))),
        is_reviewed=bool(re.search(r"\bReviewed;", title)),
        is_reference_proteome="Reference proteome" in keywords,
        proteome=_proteome(record.get("DR", ())),
        sequence_version_date=_date(record.get("DT", ())),
        full_names=tuple(names.full),
        short_names=tuple(names.short),
        keywords=keywords,
        functions=tuple(_functions(record.get("CC", ()))),
        go=tuple(_go(record.get("DR", ()))),
        ec=tuple(names.ec),
    )
    sequence = "".join("".join(record.get("  ", ())).split()).upper()
    is_known = sequence.isalpha() and len(sequence) <= _MAX_SEQUENCE
    return Protein(accessions, facts, where, sequence if is_known else "")


class _Names:
    """The names in DE lines, without those of domains and chains of the protein."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.main = ""
        self.full: list[str] = []
        self.short: list[str] = []
        self.ec: list[str] = []
        for line in lines:
            text = _EVIDENCE.sub("", line)
            if text.startswith(("Contains:", "Includes:", "Flags:")):
                break
            kind, _, value = text.partition("=")
            value = value.strip().rstrip(";")
            kind = kind.rpartition(":")[2].strip()
            if kind == "Full" and not self.main:
                self.main = value
            elif kind in ("Full", "Allergen", "CD_antigen", "Biotech", "INN"):
                self.full.append(value)
            elif kind == "Short":
                self.short.append(value)
            elif kind == "EC" and value not in self.ec:
                self.ec.append(value)


def _fields(text: str) -> list[str]:
    """Return the names of the genes in GN lines, the names before loci and reading frames."""
    found: dict[str, list[str]] = {}
    for field in _EVIDENCE.sub("", text).split(";"):
        kind, _, value = field.partition("=")
        names = [each.strip() for each in value.split(",")]
        found.setdefault(kind.split(" ")[-1], []).extend(filter(None, names))
    kinds = ("Name", "Synonyms", "OrderedLocusNames", "ORFNames")
    return list(dict.fromkeys(name for kind in kinds for name in found.get(kind, ())))


def _organism(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the scientific name in OS lines, with its strain, and the other names."""
    name, others = text.strip().rstrip("."), []
    while last := re.fullmatch(r"(.+?) \(((?:[^()]|\([^()]*\))*)\)", name):
        if _PART_OF_NAME.match(last[2]):
            break
        name = last[1]
        others.append(last[2])
    return name, tuple(reversed(others))


def _listed(text: str) -> tuple[str, ...]:
    """Return the items of a list that is separated by semicolons and ends with a full stop."""
    items = _EVIDENCE.sub("", text).strip().rstrip(".").split(";")
    return tuple(item.strip() for item in items if item.strip())


def _date(lines: Sequence[str]) -> str:
    """Return the date of the sequence in DT lines, as `YYYY-MM-DD`."""
    for line in lines:
        found = re.match(r"(\d\d)-([A-Z]{3})-(\d{4}), sequence version", line)
        place = _MONTHS.find(found[2]) if found else -1
        if found and place >= 0:
            return f"{found[3]}-{place // 3 + 1:02}-{found[1]}"
    return ""


def _functions(lines: Sequence[str]) -> Iterator[str]:
    """Yield the texts of the comments FUNCTION, each as one line."""
    for comment in "\n".join(lines).split("-!- "):
        kind, _, text = comment.partition(": ")
        if kind == "FUNCTION":
            # UniProt breaks words after a hyphen, so "alpha-\nhelix" is one word.
            text = re.sub(r"(?<=\w)-\n +(?!(?:and|or)\b)", "-", text.split("\n---")[0])
            yield _EVIDENCE.sub("", " ".join(text.split())).strip()


def _go(lines: Sequence[str]) -> Iterator[str]:
    """Yield the terms of GO in DR lines, e.g. `GO:0005634 C:nucleus`."""
    for line in lines:
        parts = [part.strip() for part in line.split(";")]
        if parts[0] == "GO" and len(parts) > 2:
            yield f"{parts[1]} {parts[2]}"


def _proteome(lines: Sequence[str]) -> str:
    found = re.search(r"^Proteomes; (UP\d{9});", "\n".join(lines), re.MULTILINE)
    return found[1] if found else ""


def read_headers(path: Path) -> Iterator[Protein | InputError]:
    """Yield what the headers of a FASTA file of UniProt or AlphaFold DB say.

    Args:
        path: The file, packed or not, of any size.

    Raises:
        InputError: The file cannot be read.
    """
    for number, line in stream_lines(path):
        if line.startswith(">"):
            yield from_header(line[1:], f"{path}, line {number}")


def from_header(header: str, where: str) -> Protein | InputError:
    """Return what a FASTA header of UniProt or AlphaFold DB says; an error for any other header.

    Args:
        header: The line without `>`.
        where: File and line, for the error.

    Example:
        >>> header = "sp|P00520|ABL1_MOUSE Tyrosine-protein kinase ABL1 OS=Mus musculus OX=10090"
        >>> from_header(header, "a.fasta, line 1").facts.organism
        'Mus musculus'
    """
    found = _HEADER.fullmatch(header.strip())
    name, _, rest = header.strip().partition(" ")
    if found:
        rest = found["rest"]
    description, *pairs = _FIELD.split(f" {rest}")
    fields = dict(pair.split("=", 1) for pair in pairs)
    named = named_accession(found["accession"] if found else fields.get("UA", name))
    if named is None:
        what = f"is {quoted(header)}, which has no accession of UniProt"
        return InputError(what, "give a FASTA file of UniProt", where=where)
    tax_id = fields.get("OX", "")
    facts = Facts(
        description=description.strip(),
        uniprot_id=found["code"] if found else fields.get("UI", ""),
        gene=fields.get("GN", ""),
        organism=fields.get("OS", ""),
        tax_id=int(tax_id) if tax_id.isdecimal() and len(tax_id) <= 10 else None,
        is_reviewed=found["source"] == "sp" if found else None,
    )
    return Protein((str(named[0]),), facts, where)

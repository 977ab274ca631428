"""MMseqs2's profile search, as ColabFold finds templates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from foldry.errors import InputError
from foldry.formats.lines import read_bounded_text
from foldry.formats.m8 import COLUMNS, M8Record, parse_m8
from foldry.formats.stockholm import to_stockholm
from foldry.query import Alignment, Source
from foldry.search import mmseqs
from foldry.search.engine import Targets
from foldry.search.hits import AlignedHit
from foldry.search.hmmer import blocks
from foldry.search.templates_read import is_protein
from foldry.store.files import new_text_file, scratch_folder
from foldry.store.hashes import content_key

_FORMAT: Final = 1
"""Part of the identity; another number makes all results new ones."""
_TARGETS: Final = "targets.fasta"
_TABLE: Final = "MMseqs2's table of hits"


@dataclass(frozen=True)
class MmseqsTemplatesSettings:
    """The settings of a search; the defaults are ColabFold's.

    Attributes:
        sensitivity: Sensitivity of the search, 1–8.5.
        max_e_value: Maximum E-value of a hit.
    """

    sensitivity: float = 7.5
    max_e_value: float = 0.1


@dataclass(frozen=True)
class MmseqsTemplates:
    """An engine for FASTA files of chains, such as those of a library.

    Attributes:
        targets: The files; they are searched as one database.
        settings: The settings.
        num_threads: Number of threads.
        scratch: A folder for temporary files; None for the system's.
        program: The path of MMseqs2.

    Raises:
        MissingError: MMseqs2 is not installed.

    Example:
        >>> engine = MmseqsTemplates((Targets(Path("chains.fasta"), "pdb", "1"),))  # doctest: +SKIP
        >>> [found] = engine.hits([template_input(alignment)])  # doctest: +SKIP
    """

    targets: tuple[Targets, ...]
    settings: MmseqsTemplatesSettings = MmseqsTemplatesSettings()
    num_threads: int = 1
    scratch: Path | None = None
    program: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "program", mmseqs.find())

    @cached_property
    def identity(self) -> str:
        """What the hits depend on besides the alignments; see `TemplateEngine`."""
        versions = [each.version for each in self.targets]
        program = mmseqs.version(self.program)
        return content_key(["mmseqs templates", _FORMAT, self.settings, versions, program])

    @property
    def source(self) -> Source:
        """The program and the databases, for people."""
        return Source(mmseqs.PROGRAM, ", ".join(each.name for each in self.targets))

    def hits(self, alignments: Sequence[Alignment]) -> Iterator[list[AlignedHit]]:
        """Yield the hits of each alignment; see `TemplateEngine`.

        Raises:
            DiskFullError: No space is left for the files of MMseqs2.
        """
        if not alignments:
            return
        found: list[list[AlignedHit]] = [[] for _ in alignments]
        with scratch_folder(self.scratch) as folder:
            if _write_targets(self.targets, folder / _TARGETS):
                records = list(parse_m8(self._search(alignments, folder), _TABLE))
                chains = _read_targets(folder / _TARGETS, {each.target for each in records})
                numbers = {str(number): number for number in range(len(alignments))}
                for each in records:
                    if each.query not in numbers or each.target not in chains:
                        raise _strange("a query or a chain that it was not given")
                    number = numbers[each.query]
                    length = alignments[number].letters.shape[1]
                    hit = _aligned(each, length, chains[each.target])
                    if is_protein(hit.title):
                        found[number].append(hit)
        yield from found

    def _search(self, alignments: Sequence[Alignment], folder: Path) -> str:
        """Return MMseqs2's table, in which numbers stand for names, which it would change."""
        with new_text_file(folder / "rows.sto") as file:
            for number, each in enumerate(alignments):
                numbers = tuple(map(str, range(each.num_rows)))
                begin, rest = to_stockholm(replace(each, headers=numbers)).split("\n", 1)
                file.write(f"{begin}\n#=GF AC {number}\n{rest}")
        run = partial(mmseqs.run, self.program, folder)
        rows, profiles, targets, hits = map(
            folder.joinpath, ("rows", "profiles", "targets", "hits")
        )
        threads = ["--threads", self.num_threads]
        run("convertmsa", folder / "rows.sto", rows)
        run("msa2profile", rows, profiles, *threads)
        run("createdb", folder / _TARGETS, targets, "--dbtype", 1)
        settings = ["-s", self.settings.sensitivity, "-e", self.settings.max_e_value, "-a"]
        run("search", profiles, targets, hits, folder / "tmp", *settings, *threads)
        columns = ["--format-output", ",".join(COLUMNS)]
        run("convertalis", profiles, targets, hits, folder / "table", *columns, *threads)
        return read_bounded_text(folder / "table")


def _write_targets(targets: Sequence[Targets], path: Path) -> int:
    """Write the chains of all files, with numbers before their names; return how many they are."""
    number = 0
    with new_text_file(path) as file:
        for block in chain.from_iterable(blocks(each.fasta) for each in targets):
            for record in block:
                title = record.description or ""
                file.write(f">{number} {record.name} {title}\n{record.textize().sequence}\n")
                number += 1
    return number


def _read_targets(path: Path, numbers: Collection[str]) -> dict[str, tuple[str, str, str]]:
    """Return name, title and letters of some of the chains that `_write_targets` has written."""
    found = {}
    for record in chain.from_iterable(blocks(path)):
        if record.name in numbers:
            name, _, title = (record.description or "").partition(" ")
            found[record.name] = name, title, record.textize().sequence
    return found


def _aligned(record: M8Record, length: int, target: tuple[str, str, str]) -> AlignedHit:
    """Return the aligned part of a chain.

    Args:
        record: The hit.
        length: Number of residues of the query.
        target: Name, title and letters of the chain.

    Raises:
        InputError: The query or the chain does not have the aligned residues.
    """
    name, title, letters = target
    if record.pairs[-1, 0] >= length or record.end > len(letters):
        raise _strange("residues that the query or the chain does not have")
    return AlignedHit(
        name=name,
        pairs=(record.pairs - (0, record.begin)).astype(np.int32),
        sequence=letters[record.begin : record.end],
        begin=record.begin,
        title=title,
        e_value=record.e_value,
    )


def _strange(what: str) -> InputError:
    return InputError(f"names {what}", "run the same command again", where=_TABLE)

"""Templates that somebody else's server finds: its hits, and the structures that it sends."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from foldry.errors import FoldryError, InputError, MissingError, OutsideError
from foldry.formats.coordinates import Deposition, parse_deposition
from foldry.formats.fasta import fasta_records
from foldry.formats.m8 import M8Record, parse_m8
from foldry.formats.template import UNDATED
from foldry.query import Alignment, Source
from foldry.search.hits import AlignedHit
from foldry.search.server import TicketServer
from foldry.store.files import read_bytes

logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,40}_[A-Za-z0-9]{1,8}")
_CIF: Final = ".cif"
_MAX_STRUCTURE: Final = 256 * 1024**2
_INDEX: Final = re.compile(r"(\S{1,60})\t(\d{1,12})\t(\d{1,12})", re.ASCII)
_STRUCTURE: Final = "structure"
_CHAIN: Final = "chain"


@dataclass(frozen=True)
class ServerTemplates:
    """A template engine and, at the same time, the library of the structures that its hits name.

    Hits come with the alignments' ticket. The structures are downloaded when the hits are yielded,
    and kept.

    Attributes:
        server: The server.
    """

    server: TicketServer

    @property
    def identity(self) -> str:
        """What the hits depend on besides the sequences; see `TemplateEngine`."""
        return self.server.identity

    @property
    def source(self) -> Source:
        """The server, for people."""
        return self.server.source

    def hits(self, alignments: Sequence[Alignment]) -> Iterator[list[AlignedHit]]:
        """Yield the hits of the first row of each alignment; see `TemplateEngine`.

        Raises:
            OutsideError: The server failed, or what it sent cannot be used.
        """
        sequences = [each.query for each in alignments]
        rows = self.server.rows_of_hits(sequences)
        for sequence in sequences:
            records = [each for each in parse_m8(rows[sequence]) if _NAME.fullmatch(each.target)]
            names = dict.fromkeys(each.target for each in records)
            self._fetch([each for each in names if self._structure(_entry(each)) is None])
            yield [hit for hit in map(self._hit, records) if hit is not None]

    def has_all(self, hits: Iterable[AlignedHit]) -> bool:
        """Return whether the server has sent the structures of all hits."""
        return all(self._structure(_entry(each.name)) is not None for each in hits)

    def successor(self, entry: str) -> str | None:
        """Return the entry itself: the server replaces obsolete ones."""
        return entry

    def listed_date(self, entry: str) -> str | None:
        """Return None: the dates of releases are in the files."""
        return None

    def read(self, entry: str) -> Deposition:
        """Return the chains of an entry; see `Library`.

        Raises:
            InputError: The file is damaged.
            MissingError: The server has not sent it.
        """
        data = self._structure(entry.lower())
        if data is None:
            what = f"was not sent by {self.server.client.url}"
            raise MissingError(what, "add it to the search as a file", where=entry)
        deposition = parse_deposition(data, f"{entry}{_CIF}")
        is_dated = deposition.release_date != UNDATED
        return deposition if is_dated else replace(deposition, release_date="")

    def _structure(self, entry: str) -> bytes | None:
        return self.server.client.kept(_STRUCTURE, entry)

    def _hit(self, record: M8Record) -> AlignedHit | None:
        """Return a hit with its letters: those of the server's database, else of the structure.

        Without a structure they are X, and it will be said that it is missing. None if the
        structure does not have such a chain.
        """
        letters = (self.server.client.kept(_CHAIN, record.target) or b"").decode()
        if len(letters) < record.end:
            entry, _, chain = record.target.rpartition("_")
            try:
                letters = self.read(entry).chain_to_seqres.get(chain, "")
            except (InputError, MissingError):
                letters = "X" * record.end
        if len(letters) < record.end:
            logger.info("%s is left out, as it has no such chain.", record.target)
            return None
        return AlignedHit(
            name=record.target,
            pairs=record.pairs - np.array([0, record.begin]),
            sequence=letters[record.begin : record.end],
            begin=record.begin,
            e_value=record.e_value,
        )

    def _fetch(self, names: Sequence[str]) -> None:
        """Download and keep the structures of some hits.

        A server that lacks one of them may send none, or break off: then halves are asked for.

        Raises:
            OutsideError: The server cannot be reached.
        """
        if not names:
            return
        client = self.server.client
        client.say("Names of known structures are", [_STRUCTURE])
        try:
            path = f"template/{','.join(names)}"
            with client.downloaded(path, insist=False) as folder:
                self._keep(folder, names)
        except OutsideError as error:
            client.check()  # the server cannot be reached: nothing of this is remembered
            if len(names) == 1:
                logger.info("The structure of %s is left out: %s", names[0], error)
                return
            half = len(names) // 2
            self._fetch(names[:half])
            self._fetch(names[half:])

    def _keep(self, folder: Path, names: Sequence[str]) -> None:
        """Keep the structures among the files of an archive, and the sequences of their chains."""
        wanted = set(map(_entry, names))
        for file in sorted(folder.glob(f"*{_CIF}")):
            entry = file.stem.lower()
            if entry in wanted and not file.is_symlink():
                try:
                    data = read_bytes(file, _MAX_STRUCTURE)
                except InputError as error:
                    logger.info("The structure of %s is left out: %s", entry, error)
                    continue
                if b"_atom_site." in data:
                    self.server.client.keep(_STRUCTURE, entry, data=data)
        for name, sequence in _sequences(folder, names).items():
            self.server.client.keep(_CHAIN, name, data=sequence.encode())


def _entry(name: str) -> str:
    return name.rpartition("_")[0].lower()


def _sequences(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the sequences of some chains in an HH-suite database; empty if it is none."""
    found: dict[str, str] = {}
    data, index = (folder / f"pdb70_a3m.ff{end}" for end in ("data", "index"))
    if any(each.is_symlink() or not each.is_file() for each in (data, index)):
        return found
    try:
        whole = read_bytes(data)
        places = {name: place for name, *place in _INDEX.findall(read_bytes(index).decode())}
        for name in filter(places.__contains__, names):
            start, size = map(int, places[name])
            text = whole[start : start + size].rstrip(b"\0").decode()
            for header, row, *_ in fasta_records(text, name, 1, "#;"):
                if header.split()[:1] == [name]:
                    letters = re.sub(r"[^A-Za-z]", "", row).upper()
                    found.setdefault(name, letters)
    except (FoldryError, UnicodeDecodeError) as error:
        logger.info("The sequences of templates are left out: %s", error)
    return found

"""Alignments that somebody else's server finds, which receives the sequences.

Nothing of an answer is believed: what is kept was read as the alignments of the sequences that were
sent, by the names under which they were sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from typing import Final

from foldry.errors import FoldryError, InputError, OutsideError, quoted
from foldry.formats.a3m import FIRST_NAME, parse_a3m, split_entries
from foldry.formats.m8 import m8_row, parse_m8
from foldry.query import Alignment, Source
from foldry.search.client import Patience
from foldry.search.ticket_client import ASK, TicketClient
from foldry.store.cache import Cache
from foldry.store.files import read_bytes
from foldry.store.hashes import content_key

logger = logging.getLogger(__name__)

MAX_SEQUENCES: Final = 32
"""Maximum number of sequences of one ticket."""
MAX_RESIDUES: Final = 10_000
"""Maximum number of residues of one ticket with several sequences."""
MAX_TEMPLATES: Final = 20
"""Number of template hits of a sequence that are used, as in ColabFold."""
_FORMAT: Final = 1
"""Part of the identity; another number makes all results new ones."""
_UNIREF: Final = "uniref.a3m"
_ENVIRONMENTAL: Final = "bfd.mgnify30.metaeuk30.smag30.a3m"
_PAIRS: Final = "pair.a3m"
_TEMPLATES: Final = "pdb70.m8"
_HITS: Final = "hits"


@dataclass(frozen=True)
class ServerSettings:
    """What a server is asked for; the defaults are those of ColabFold.

    Attributes:
        environmental: Whether the environmental database is searched too.
        filter: Whether rows are left out that align poorly or resemble others.
        pairing_strategy: The species that are paired: 0 for those of at least two chains, 1 for
            those of all chains.
        environmental_pairs: Whether rows of the environmental database are paired too.
    """

    environmental: bool = True
    filter: bool = True
    pairing_strategy: int = 0
    environmental_pairs: bool = False

    @property
    def mode(self) -> str:
        """The protocol's word for a search."""
        if self.filter:
            return "env" if self.environmental else "all"
        return "env-nofilter" if self.environmental else "nofilter"

    @property
    def pair_mode(self) -> str:
        """The protocol's word for a search for pairs."""
        word = ("pairgreedy", "paircomplete")[self.pairing_strategy]
        return f"{word}-env" if self.environmental_pairs else word


@dataclass(frozen=True, eq=False)
class TicketServer:
    """An engine that asks a server, which also pairs rows.

    Use one object for all searches of a command, as it remembers that the server cannot be reached.

    Attributes:
        url: The address, http or https.
        cache: Where tickets and hits of templates are kept.
        settings: The settings.
        client: Sends the requests.

    Args:
        patience: How long and how often the server is asked.
        announce: Called with a sentence before anything is sent.

    Raises:
        InputError: The address or the credentials are not usable.

    Example:
        >>> server = TicketServer("https://example.org/api", Cache(Path("kept")))
        >>> server.source.database
        'https://example.org'
    """

    url: str
    cache: Cache
    settings: ServerSettings = ServerSettings()
    patience: InitVar[Patience | None] = None
    announce: InitVar[Callable[[str], None]] = logger.warning
    client: TicketClient = field(init=False)

    def __post_init__(self, patience: Patience | None, announce: Callable[[str], None]) -> None:
        client = TicketClient(self.url, self.cache, patience or Patience(), announce)
        object.__setattr__(self, "client", client)

    @property
    def identity(self) -> str:
        """What the results depend on besides the sequences; see `Engine`.

        The server does not say when its databases change, so that it changes every `KEPT_DAYS`.
        """
        return content_key(["tickets", _FORMAT, self.client.url, self.settings, self.client.period])

    @property
    def source(self) -> Source:
        """The server, for people."""
        return Source("server", self.client.url)

    def check(self) -> None:
        """Raise the error for which the server was given up, if it was; nothing is sent.

        Raises:
            OutsideError: The server was given up.
        """
        self.client.check()

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        """Yield the alignment of each sequence; see `Engine`.

        The rows of the environmental database, the first of which is the sequence again, are last.

        Raises:
            OutsideError: The server failed, or what it sent cannot be used.
        """
        found: dict[str, Alignment] = {}
        batches = _batches(list(dict.fromkeys(sequences)))
        for sequence in sequences:
            while sequence not in found:
                batch = next(batches)
                found |= zip(batch, self._searched(batch), strict=True)
            yield found[sequence]

    def pairs(self, complexes: Sequence[Sequence[str]]) -> Iterator[tuple[Alignment, ...]]:
        """Yield the paired rows of each complex; see `PairingEngine`.

        Raises:
            OutsideError: As for `query`.
        """
        for sequences in complexes:
            with self._result("ticket/pair", sequences, self.settings.pair_mode) as folder:
                parts = self._entries(folder / _PAIRS, sequences)
                if len({tuple(entry.count("\n>") for entry in part) for part in parts}) > 1:
                    raise self._unusable("pairs unequal numbers of rows")
                rows = tuple(map(self._alignment, parts))
            yield rows

    def rows_of_hits(self, sequences: Sequence[str]) -> dict[str, str]:
        """Return the first hits of templates of each sequence as m8, searching for unkept ones.

        Raises:
            OutsideError: As for `query`.
        """
        mode = self.settings.mode
        known = {each: self.client.kept(_HITS, mode, each) for each in sequences}
        for batch in _batches([each for each, rows in known.items() if rows is None]):
            self._searched(batch)
        return {each: (self.client.kept(_HITS, mode, each) or b"").decode() for each in known}

    def _searched(self, sequences: Sequence[str]) -> list[Alignment]:
        """Return the alignments that one ticket finds, and keep its hits of templates."""
        with self._result("ticket/msa", sequences, self.settings.mode) as folder:
            parts = self._entries(folder / _UNIREF, sequences)
            if self.settings.environmental:
                more = self._entries(folder / _ENVIRONMENTAL, sequences)
                parts = [[*one, *other] for one, other in zip(parts, more, strict=True)]
            found = [self._alignment(part) for part in parts]
            self._keep_hits(folder / _TEMPLATES, sequences)
        return found

    def _keep_hits(self, path: Path, sequences: Sequence[str]) -> None:
        """Keep the hits of templates; if one cannot be read, none is believed."""
        named = {str(FIRST_NAME + number): each for number, each in enumerate(sequences)}
        rows: dict[str, list[str]] = {each: [] for each in sequences}
        is_usable = True
        try:
            text = self._text(path) if path.exists() else ""
            for hit in parse_m8(text, path.name):
                if hit.query not in named or hit.pairs[-1, 0] >= len(named[hit.query]):
                    what = f"has a hit of {quoted(hit.query)}, which is not what was sent"
                    raise InputError(what, ASK, where=path.name)
                if len(first := rows[named[hit.query]]) < MAX_TEMPLATES:
                    first.append(m8_row(hit))
        except FoldryError as error:
            logger.warning("%s sent no templates that can be used: %s", self.client.url, error)
            is_usable = False
        for sequence, lines in rows.items():
            data = "\n".join(lines if is_usable else ()).encode()
            names = (_HITS, self.settings.mode, sequence)
            self.client.keep(*names, data=data, for_others=is_usable)

    @contextmanager
    def _result(self, path: str, sequences: Sequence[str], mode: str) -> Iterator[Path]:
        """Return a folder with the files that a search finds."""
        ticket = self.client.complete(path, sequences, mode)
        with self.client.downloaded(f"result/download/{ticket}") as folder:
            yield folder

    def _entries(self, path: Path, sequences: Sequence[str]) -> list[list[str]]:
        """Return the texts of a file that begin with each of the sequences.

        Raises:
            OutsideError: They are not those that were sent, or one is missing.
        """
        numbers = {str(FIRST_NAME + number): number for number in range(len(sequences))}
        firsts = [f"\n>{name}\n{each}\n" for name, each in zip(numbers, sequences, strict=True)]
        found: list[list[str]] = [[] for _ in sequences]
        for _, entry in split_entries(self._text(path)):
            header, _, rest = entry.partition("\n")
            number = numbers.get(header[1:].strip())
            row = rest.partition("\n>")[0].replace("\n", "")
            if number is None or not header.startswith(">") or row != sequences[number]:
                raise self._unusable(f"begins an alignment with {quoted(header)} in {path.name}")
            if any(first in entry for first in firsts):
                raise self._unusable(f"does not separate alignments in {path.name}")
            found[number].append(entry)
        if not all(found):
            raise self._unusable(f"has no alignment of a sequence in {path.name}")
        return found

    def _text(self, path: Path) -> str:
        """Return the text of a file of an archive.

        Raises:
            OutsideError: It is missing, is not a file, or is not text.
        """
        if path.is_symlink() or not path.is_file():
            raise self._unusable(f"has no {path.name}")
        try:
            return read_bytes(path).decode()
        except UnicodeDecodeError:
            raise self._unusable(f"has a {path.name} that is not UTF-8") from None
        except InputError as error:
            raise self._unusable(f"has a {path.name} that {error.what}") from None

    def _alignment(self, entries: Sequence[str]) -> Alignment:
        try:
            return replace(parse_a3m("".join(entries), "an alignment"), source=self.source)
        except InputError as error:
            raise self._unusable(f"cannot be read ({str(error).rstrip('.')})") from None

    def _unusable(self, what: str) -> OutsideError:
        return OutsideError(f"sent a result that {what}", ASK, where=self.client.url)


def _batches(sequences: Sequence[str]) -> Iterator[list[str]]:
    """Yield the sequences of each ticket."""
    batch: list[str] = []
    for each in sequences:
        size = sum(map(len, batch)) + len(each)
        if batch and (len(batch) == MAX_SEQUENCES or size > MAX_RESIDUES):
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch

"""Searches that were made before: their alignments are kept, and not searched for again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m, to_a3m
from foldry.query import Alignment, Source
from foldry.search.engine import Engine
from foldry.store.cache import Cache
from foldry.store.hashes import content_key

_FORMAT: Final = 1
"""Part of each key; another number forgets all kept searches."""


@dataclass(frozen=True)
class KeptSearch:
    """An engine that searches only for sequences whose alignment is not kept.

    Two processes that need the same alignment search for it once: one waits and reads.

    Attributes:
        engine: The engine.
        cache: Where alignments are kept.
    """

    engine: Engine
    cache: Cache

    @property
    def identity(self) -> str:
        """That of the engine."""
        return self.engine.identity

    @property
    def source(self) -> Source:
        """That of the engine."""
        return self.engine.source

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        """Yield the alignment of each sequence, in order; see `Engine`."""
        keys = {each: content_key([_FORMAT, self.identity, each]) for each in sequences}
        found = {each: self._kept(keys[each], each) for each in keys}
        missing = [each for each, alignment in found.items() if alignment is None]
        if missing:
            with self.cache.hold(keys[each] for each in missing):
                found |= {each: self._kept(keys[each], each) for each in missing}
                missing = [each for each in missing if found[each] is None]
                for each, new in zip(missing, self._search(missing), strict=True):
                    self.cache.put(keys[each], to_a3m(new).encode())
                    found[each] = new
        for each in sequences:
            alignment = found[each]
            assert alignment is not None
            yield alignment

    def _search(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        return self.engine.query(sequences) if sequences else iter(())

    def _kept(self, key: str, sequence: str) -> Alignment | None:
        """Return the alignment under a key; None if there is none or it is not one of these."""
        data = self.cache.get(key)
        if data is None:
            return None
        try:
            alignment = parse_a3m(data.decode())
        except (InputError, UnicodeDecodeError):
            return None
        return replace(alignment, source=self.source) if alignment.query == sequence else None

"""Alignments → templates: one engine, the structures that its hits name, and what is kept of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from foldry.errors import InputError, MissingError
from foldry.formats.coordinates import Deposition
from foldry.formats.template import parse_template, template_mmcif
from foldry.query import Alignment, Hit
from foldry.search.engine import TemplateEngine
from foldry.search.hits import AlignedHit, Library
from foldry.search.kept import held
from foldry.search.realign import realigner
from foldry.search.template_input import template_input
from foldry.search.templates import LeftOut, Rules, Templates, choose
from foldry.store.cache import Cache
from foldry.store.hashes import content_key

_FORMAT: Final = 1
"""Part of each key; another number forgets all kept templates."""


@dataclass(frozen=True)
class TemplateSearch:
    """A search for templates.

    Attributes:
        engine: Finds chains of known structures.
        library: Their structures.
        versions: The versions of the library's parts by their names.
        rules: Which hits become templates.
        cache: Where templates are kept.
        is_final: Whether the templates of hits are kept: a structure that is missing may come
            later.
    """

    engine: TemplateEngine
    library: Library
    versions: Mapping[str, str]
    rules: Rules
    cache: Cache
    is_final: Callable[[Sequence[AlignedHit]], bool] = lambda _: True

    def run(self, alignments: Sequence[Alignment]) -> Iterator[tuple[Templates, float | None]]:
        """Yield the templates of the first row of each alignment, in order.

        Equal alignments are searched for once, and only those that are not kept, in one pass. Two
        processes that need the same templates search for them once: one waits and reads.

        Yields:
            The templates, and the seconds of the pass that found them; None if they were kept.

        Raises:
            InputError: A database is damaged.
            MissingError: A database or a program is missing.
            OutsideError: A program failed.
            DiskFullError: No space is left.
        """
        profiles = list(map(template_input, alignments))
        how = [_FORMAT, "templates", self.engine.identity, list(self.versions.items()), self.rules]
        keys = [content_key([*how, realigner(), each]) for each in profiles]
        found = {key: known for key in keys if (known := self._kept(key)) is not None}
        new: dict[str, float] = {}
        missing = {k: each for k, each in zip(keys, profiles, strict=True) if k not in found}
        if missing:
            with held(self.cache, list(missing)) as is_held:
                again = {key: self._kept(key) for key in missing}  # of another process
                found |= {key: known for key, known in again.items() if known is not None}
                left = {key: each for key, each in missing.items() if key not in found}
                begin = time.monotonic()
                hits = self.engine.hits(list(left.values())) if left else iter(())
                for (key, rows), each in zip(left.items(), hits, strict=True):
                    chosen = choose(rows.query, each, self.library, self.rules)
                    data, found[key] = _packed(chosen)
                    lasts = all(one.is_lasting for one in chosen.left_out)
                    if is_held and lasts and self.is_final(each):
                        self.cache.put(key, data)
                new = dict.fromkeys(left, time.monotonic() - begin)
        for key in keys:
            yield found[key], new.get(key)

    def _kept(self, key: str) -> Templates | None:
        data = self.cache.get(key)
        try:
            return None if data is None else _unpacked(data)
        except (InputError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None  # damaged: it is searched for again


_SCORES: Final = ("e_value", "probability", "identity", "coverage", "release_date", "how")


def _packed(templates: Templates) -> tuple[bytes, Templates]:
    """Return templates as JSON, and as they are read from it."""
    entries, hits, left_out = [], [], list(templates.left_out)
    for hit in templates.hits:
        entry = {
            "name": hit.name,
            "mmcif": template_mmcif(hit),
            "pairs": hit.pairs.tolist(),
            **{name: getattr(hit, name) for name in _SCORES},
        }
        try:
            hits.append(_hit(entry))
        except InputError as error:  # one template does not stop a query
            left_out.append(LeftOut(hit.name, f"cannot be kept, as its structure {error.what}"))
        else:
            entries.append(entry)
    others = [[each.name, each.reason] for each in left_out]
    data = json.dumps({"hits": entries, "left_out": others}).encode()
    return data, Templates(tuple(hits), tuple(left_out))


def _unpacked(data: bytes) -> Templates:
    kept: dict[str, Any] = json.loads(data)
    left_out = tuple(LeftOut(*each) for each in kept["left_out"])
    return Templates(tuple(map(_hit, kept["hits"])), left_out)


def _hit(entry: dict[str, Any]) -> Hit:
    name = entry["name"]
    structure, _ = parse_template(entry["mmcif"], name)
    scores = {each: entry[each] for each in _SCORES}
    return Hit(name, np.array(entry["pairs"], int), replace(structure, name=name), **scores)


@dataclass(frozen=True)
class JoinedLibraries:
    """Several libraries; of two entries of one name, that of the first library counts.

    Attributes:
        libraries: The libraries, at least one.
    """

    libraries: tuple[Library, ...]

    def successor(self, entry: str) -> str | None:
        """Return the entry that replaces an obsolete one (`Library`)."""
        entry = entry.lower()
        found = (each.successor(entry) for each in self.libraries)
        return next((each for each in found if each != entry), entry)

    def listed_date(self, entry: str) -> str | None:
        """Return the date of an entry's first release (`Library`)."""
        if self.successor(entry) != entry.lower():  # a library without the list has its date
            return None
        found = (each.listed_date(entry) for each in self.libraries)
        return next(filter(None, found), None)

    def read(self, entry: str) -> Deposition:
        """Return the chains of an entry (`Library`), from the first library in which it is sound.

        Raises:
            InputError: The files are damaged.
            MissingError: There is no file of this entry, or memory is short.
        """
        damaged: InputError | None = None
        for each in self.libraries:
            try:
                return each.read(entry)
            except InputError as error:
                damaged = damaged or error
            except MissingError as error:
                if error.code != MissingError.code:  # memory or disk are short
                    raise
        raise damaged or MissingError(f"The libraries have no entry {entry}", "add its file")

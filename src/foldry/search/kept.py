"""Searches that were made before: their alignments are kept, and not searched for again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final, TypeAlias

from foldry.errors import BusyError, InputError
from foldry.formats.a3m import parse_a3m, to_a3m
from foldry.query import Alignment
from foldry.search.engine import Engine, PairingEngine
from foldry.store.cache import Cache
from foldry.store.hashes import content_key

logger = logging.getLogger(__name__)

_FORMAT: Final = 1
"""Part of each key; another number forgets all kept searches."""
_BETWEEN: Final = "\0"
"""Separates the alignments of the chains of a complex."""

_Item: TypeAlias = tuple[str, ...]
"""A sequence, or those of a complex."""
_Rows: TypeAlias = tuple[Alignment, ...]
"""The alignment of each sequence of an item."""


def search(
    engine: Engine, sequences: Sequence[str], cache: Cache
) -> Iterator[tuple[Alignment, float | None]]:
    """Yield the alignment of each sequence, in order, searching only for those that are not kept.

    Two processes that need the same alignment search for it once: one waits and reads.

    Args:
        engine: Searches for what is not kept, in one pass.
        sequences: As for `Engine.query`.
        cache: Where alignments are kept.

    Yields:
        The alignment, and the seconds of the pass that found it; None if it was kept.
    """

    def find(items: Sequence[_Item]) -> Iterator[_Rows]:
        return ((each,) for each in engine.query([sequence for (sequence,) in items]))

    for (alignment,), seconds in _all(engine, [(each,) for each in sequences], find, cache):
        yield alignment, seconds


def search_pairs(
    engine: PairingEngine, complexes: Sequence[Sequence[str]], cache: Cache
) -> Iterator[tuple[_Rows, float | None]]:
    """Yield the paired rows of the chains of each complex, as `search` does for sequences."""
    yield from _all(engine, [tuple(each) for each in complexes], engine.pairs, cache)


def _all(
    engine: Engine,
    items: Sequence[_Item],
    find: Callable[[Sequence[_Item]], Iterator[_Rows]],
    cache: Cache,
) -> Iterator[tuple[_Rows, float | None]]:
    keys = {each: content_key([_FORMAT, engine.identity, each]) for each in items}
    missing = [each for each in keys if _kept(cache, keys[each], each) is None]
    new: dict[_Item, _Rows] = {}
    seconds: dict[_Item, float] = {}
    if missing:
        with held(cache, [keys[each] for each in missing]) as is_held:
            missing = [each for each in missing if _kept(cache, keys[each], each) is None]
            begin = time.monotonic()
            for each, rows in zip(missing, find(missing) if missing else (), strict=True):
                if is_held:
                    cache.put(keys[each], _BETWEEN.join(map(to_a3m, rows)).encode())
                # Read again, so that it equals what is read later.
                new[each] = _kept(cache, keys[each], each) or rows
            seconds = dict.fromkeys(missing, time.monotonic() - begin)
    for each in items:
        known = new.get(each) or _kept(cache, keys[each], each)
        if known is None:
            raise BusyError("Kept searches were removed while they were read", "search again")
        yield tuple(replace(one, source=engine.source) for one in known), seconds.get(each)


@contextmanager
def held(cache: Cache, keys: Sequence[str]) -> Iterator[bool]:
    """Hold keys within the `with` block; if the folder cannot be written, nothing is kept."""
    with ExitStack() as held:
        try:
            held.enter_context(cache.hold(keys))
            is_held = True
        except InputError as error:
            logger.warning("%s The search is not kept.", error)
            is_held = False
        yield is_held


def _kept(cache: Cache, key: str, item: _Item) -> _Rows | None:
    """Return the alignments under a key; None if there are none or they are not of this item."""
    data = cache.get(key)
    if data is None:
        return None
    try:
        rows = tuple(parse_a3m(text) for text in data.decode().split(_BETWEEN))
    except (InputError, UnicodeDecodeError):
        return None
    return rows if tuple(each.query for each in rows) == item else None

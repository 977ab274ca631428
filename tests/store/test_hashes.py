"""Content keys: equal for equal content, and for nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from foldry.store.hashes import Content, content_key


@dataclass(frozen=True, eq=False)
class Box(Content):
    name: str
    array: np.ndarray
    note: str = field(default="", compare=False)


@dataclass(frozen=True, eq=False)
class Case(Content):
    name: str
    array: np.ndarray


@dataclass(frozen=True)
class Plain:
    box: Box
    size: int = 1


def test_plain_values_are_hashed_as_json() -> None:
    value = {"a": [1, 2.5, None, True, "ä"], "b": {"c": ()}}
    assert content_key(value) == hashlib.sha256(json.dumps(value).encode()).hexdigest()


def test_keys_follow_the_content() -> None:
    numbers = np.arange(6, dtype=np.int32)
    values: list[object] = [
        numbers,
        numbers.reshape(2, 3),
        numbers.astype(np.int64),
        numbers[::-1],
        numbers[:0],
        numbers.tolist(),
        np.array(["a", "b"]),
        np.array(["a", "bc"]),
        Box("x", numbers),
        Box("y", numbers),
        Box("x", numbers + 1),
        Case("x", numbers),
        Plain(Box("x", numbers)),
        Plain(Box("x", numbers), 2),
        {"x": Box("x", numbers)},
        Path("a/b"),
    ]
    keys = [content_key(value) for value in values]
    assert len(set(keys)) == len(keys)
    assert keys == [content_key(value) for value in values]
    assert content_key(np.array(["a", "b"], "U9")) == content_key(np.array(["a", "b"]))
    assert content_key(np.asfortranarray(numbers.reshape(2, 3))) == keys[1]
    assert content_key([np.float32(0.5), np.int64(2)]) == content_key([0.5, 2])
    with pytest.raises(TypeError, match="object has no content key"):
        content_key([object()])


def test_content_is_compared_without_notes() -> None:
    one, same = Box("x", np.array([0.5, np.nan])), Box("x", np.array([0.5, np.nan]), "a note")
    assert one == same and hash(one) == hash(same) and len({one, same}) == 1
    assert one != Box("x", np.array([0.5, 0.5])) and one != Case("x", one.array) and one != "x"

"""Ways to damage a file: bytes, lines of text, values inside a tree, members of an archive."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias

import msgpack  # type: ignore[import-untyped]
import numpy as np

Mutator: TypeAlias = Callable[[Random, bytes], bytes]

ODD_TEXT: Final = (
    *(b"", b"\0", b"\n", b"\r", b"\t", b" ", b"-", b".", b"?", b"'", b'"', b"{", b"}", b">", b"#"),
    *(b"-1", b"0", b"1e999", b"nan", b"NaN", b"inf", b"10000000", b"9" * 30, b"9" * 5000),
    *(b"//", b"data_", b"loop_", b"_", b"[" * 3000, b"\x1b[2J"),
    *(b"\xff\xfe", b"\xc3", "Å".encode(), "\u2028".encode()),
)
ODD_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, -1, 0, 1, 2**31, 10**7, 2**63 - 1, -(2**63), 1e308, -0.5, float("nan"),
    float("inf"), "", "x", "\0", "9" * 400, [], {}, [[]], [0] * 50, {"x": {}}, ["x", 1],
)  # fmt: skip


def bytes_(rng: Random, data: bytes) -> bytes:
    """Return data with bytes changed, removed, repeated, inserted, or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        start = rng.randrange(len(changed) + 1)
        end = min(len(changed), start + rng.choice((1, 1, 2, 8, 64, 1000)))
        piece = bytes(changed[start:end])
        match rng.randrange(6):
            case 0 if piece:
                changed[start] ^= 1 << rng.randrange(8)
            case 1:
                changed[start:end] = b""
            case 2:
                changed[start:start] = piece * rng.choice((1, 2, 50))
            case 3:
                changed[start:end] = rng.randbytes(end - start)
            case 4:
                del changed[start:]
            case _:
                changed[start:start] = rng.choice(ODD_TEXT)
    return bytes(changed)


def text(rng: Random, data: bytes) -> bytes:
    """Return data with lines and words changed, as a careless or hostile editor would do it."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        number = rng.randrange(len(lines))
        line = lines[number]
        words = line.split(b" ")
        match rng.randrange(7):
            case 0:
                words[rng.randrange(len(words))] = rng.choice(ODD_TEXT)
                lines[number] = b" ".join(words)
            case 1:
                lines.insert(number, line)
            case 2:
                lines[number:number] = [line] * rng.choice((2, 300))
            case 3:
                del lines[number : number + rng.choice((1, 1, 10))]
                lines = lines or [b""]
            case 4:
                start = rng.randrange(len(line) + 1)
                lines[number] = line[:start] + rng.choice(ODD_TEXT) + line[start + 1 :]
            case 5:
                other = rng.randrange(len(lines))
                lines[number], lines[other] = lines[other], line
            case _:
                start = rng.randrange(len(line) + 1)
                lines[number] = line[:start] + b" " * rng.choice((1, 10)) + line[start:]
    return b"\n".join(lines)


def tree(rng: Random, value: Any) -> Any:
    """Return a JSON-like value with some inner values or keys changed, repeated or left out."""
    places = list(_places(value))
    if not places:
        return rng.choice(ODD_VALUES)
    for holder, key in rng.sample(places, min(len(places), rng.choice((1, 1, 1, 2, 4)))):
        if not (key in holder if isinstance(holder, dict) else key < len(holder)):
            continue
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(("x", "", "name", "count", "kind"))] = holder.pop(key)
            case 2 if isinstance(holder, list):
                holder.insert(key, holder[key])
            case 3 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 10**6, 0.5))
            case _:
                holder[key] = rng.choice(ODD_VALUES)
    return value


def _places(value: Any) -> Any:
    """Yield every (list or dictionary, key) inside a value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def json_(rng: Random, data: bytes) -> bytes:
    """Return a JSON text with changed values, or one that is nested too deeply."""
    if rng.randrange(50) == 0:
        depth = rng.choice((500, 5_000, 100_000))
        return b"[" * depth + b"]" * depth
    return json.dumps(tree(rng, json.loads(data))).encode("utf-8", "surrogatepass")


def msgpack_(rng: Random, data: bytes) -> bytes:
    """Return a msgpack value with changed inner values."""
    try:
        return bytes(msgpack.packb(tree(rng, msgpack.unpackb(data))))
    except (OverflowError, ValueError):
        return bytes_(rng, data)


def safetensors(rng: Random, data: bytes) -> bytes:
    """Return a safetensors file with a changed header: tensors, notes, or JSON in the notes."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    notes = header["__metadata__"]
    nested = [name for name, note in notes.items() if note.startswith("{")]
    if nested and rng.randrange(4):
        name = rng.choice(nested)
        notes[name] = json_(rng, notes[name].encode()).decode()
    else:
        header = tree(rng, header)
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + data[end:]


def archive(rng: Random, data: bytes) -> bytes:
    """Return a zip file of arrays with one member's bytes, header, type or name changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {member.filename: file.read(member) for member in file.infolist()}
    name = rng.choice(list(members))
    match rng.randrange(8):
        case 0:
            del members[name]
        case 1:
            members[rng.choice(("x.npy", "../x.npy", "x", name + "x"))] = members.pop(name)
        case 2 | 3:
            members[name] = bytes_(rng, members[name])
        case 4:
            members[name] = _header_changed(rng, members[name])
        case _:
            members[name] = _array_changed(rng, members[name])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for each, content in members.items():
            file.writestr(each, content)
    return out.getvalue()


def arrays(rng: Random, data: bytes) -> bytes:
    """Return an .npy or .npz file, perhaps packed by gzip, with a changed array or header."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.compress(arrays(rng, gzip.decompress(data)))
    if data.startswith(b"PK"):
        return archive(rng, data)
    if data.startswith(b"\x93NUMPY"):
        return rng.choice((_header_changed, _array_changed))(rng, data)
    return bytes_(rng, data)


def _header_changed(rng: Random, data: bytes) -> bytes:
    """Return an .npy file whose header names another shape or type of the same size."""
    end = data.find(b"\n") + 1
    header = data[:end].replace(
        *rng.choice(
            (
                (b"'shape': (", b"'shape': (99999999, "),
                (b"'shape': (", b"'shape': (-1, "),
                (b"False", b"True"),
                (b"<", b">"),
                (b"'<", b"'|O"),
                (b"4", b"8"),
            )
        )
    )
    return header + data[end:]


def _array_changed(rng: Random, data: bytes) -> bytes:
    """Return an .npy file with an array of another type or length, or with odd numbers."""
    array = np.load(io.BytesIO(data))
    flat = array.reshape(-1)
    match rng.randrange(6):
        case 0:
            array = np.zeros(array.shape, rng.choice(("f8", "i8", "u1", "U3", "S1", "?", "c16")))
        case 1:
            array = flat[: rng.randrange(len(flat) + 1)]
        case 2:
            array = np.concatenate([flat, flat])
        case 3:
            array = array[None]
        case 4 if len(flat) and flat.dtype.kind in "iuf":
            flat = flat.copy()
            odd = rng.choice((-1, 0, 255, 2**31 - 1, 10**7, 2**62))
            place = rng.randrange(len(flat))
            flat[place] = np.array(odd, np.int64).astype(flat.dtype)
            array = flat.reshape(array.shape)
        case _:
            array = np.array(rng.choice((0, -1.5, "x", 10**7, float("nan"))))
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()

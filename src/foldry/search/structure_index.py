"""The index of a folder of structures: what its files hold, and all sequences in one FASTA file.

Only files that are new or have another size or time are read. What has been read is logged at once,
so that a killed process is continued by the next one.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from foldry.errors import FoldryError, InputError, as_foldry_error, counted, printable, quoted
from foldry.formats.coordinates import parse_deposition, read_data
from foldry.inputs.structures import STRUCTURE_SUFFIXES, is_structure
from foldry.processes.pool import for_each
from foldry.processes.tuning import is_command, num_cores
from foldry.store.files import (
    append_line,
    decode,
    make_folder,
    new_file,
    plain_name,
    read_bytes,
    remove,
    stem,
    sweep,
    write_text,
)
from foldry.store.hashes import content_key, sha256
from foldry.store.locks import hold_file

OBSOLETE: Final = "obsolete.dat"
"""The PDB's list of entries that were replaced or withdrawn."""
MAX_FILES: Final = 1_000_000
MAX_CHECKED: Final = 20_000
"""Maximum number of files whose times are compared each time a library is opened."""
_FORMAT: Final = 1
"""Part of the index and of its version; another number makes every file be read again."""
_FILE: Final = "index.jsonl"
_LOG: Final = "read.jsonl"
LEFT_OUT: Final = "left_out.txt"
_FEW: Final = 16
"""Up to this many files are read in this process, because others take longer to start."""
_KEPT_SECONDS: Final = 7 * 24 * 3600
"""For so long, sequences that were replaced are kept: another process may still search them."""
_LONGEST_TITLE: Final = 200
_LONGEST_NAME: Final = 200
_MAX_OBSOLETE: Final = 64 * 1024**2
_UNREADABLE: Final = "cannot be read"
"""The start of reasons that may disappear although the file does not change."""
_KILLED: Final = "ended the process that read it, probably for lack of memory"
_PDB: Final = re.compile(r"pdb(?:_0000)?(\d[a-z0-9]{3})")
"""How the PDB names the files of an entry besides its name alone."""
_CHAIN: Final = re.compile(r"[!-^`-~]+")
"""Names of chains that can follow the entry and `_` in a database."""


class File(NamedTuple):
    """A file that was read.

    Attributes:
        path: Its path below the folder.
        size: Bytes.
        modified: Time of its last change, nanoseconds.
        digest: Hash of its unpacked content; "" if it has no usable chain.
        release_date: Day of the first release, or "".
        num_chains: Number of chains in the FASTA file.
        offset, num_bytes: Where the records of its chains are in the FASTA file.
        problem: Why it, or a chain of it, is left out; "" otherwise.
    """

    path: str
    size: int
    modified: int
    digest: str = ""
    release_date: str = ""
    num_chains: int = 0
    offset: int = 0
    num_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Index:
    """What the files of a folder hold.

    Attributes:
        files: The files with chains, by the names of their entries, in the order of these.
        broken: The files of which no chain is usable.
        unread: Why other files and folders are left out, by their paths.
        folders: Times of the last change of the folder and those below it, by their paths.
        obsolete: The entry that replaces each obsolete one, or None.
        obsolete_file: The list of obsolete entries, if it is not in the folder.
        version: Derived from the content of the files; the same in copies.
    """

    files: Mapping[str, File] = field(default_factory=dict)
    broken: tuple[File, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, int] = field(default_factory=dict)
    obsolete: Mapping[str, str | None] = field(default_factory=dict)
    obsolete_file: str = ""
    version: str = ""

    @property
    def left_out(self) -> dict[str, str]:
        """Why files and folders are left out, by their paths, in the order of these."""
        read = (*self.broken, *self.files.values())
        return dict(
            sorted({**{f.path: f.problem for f in read if f.problem}, **self.unread}.items())
        )

    @property
    def num_chains(self) -> int:
        """Number of all chains."""
        return sum(each.num_chains for each in self.files.values())

    @property
    def num_bytes(self) -> int:
        """Size of the FASTA file, bytes."""
        return sum(each.num_bytes for each in self.files.values())


class UnusableError(InputError):
    """A folder cannot be read, or has no structure that can be used."""


class _Scan(NamedTuple):
    """The files of a folder by their paths, and what is left out of them, as in `Index`."""

    files: dict[str, File]
    unread: dict[str, str]
    folders: dict[str, int]


class _Content(NamedTuple):
    """What was read in a file: its `File`, and the records of its chains."""

    file: File
    records: bytes = b""


Progress = Callable[[int, int], None]
"""Called with the numbers of files that were read and that are to be read."""


def fasta(place: Path, version: str) -> Path:
    """Return the FASTA file of an index."""
    return place / f"{version}.fasta"


def entry_name(path: str) -> str:
    """Return the name of the entry in a file: the file's, in lower case and of safe letters.

    Example:
        >>> [entry_name(path) for path in ("ab/1abc.cif.gz", "pdb1ABC.ent.gz", "My model.pdb")]
        ['1abc', '1abc', 'my_model']
    """
    name = stem(Path(path)).lower()
    if of_pdb := _PDB.fullmatch(name):
        return of_pdb[1]
    safe = re.sub(r"[^a-z0-9._-]", "_", name).lstrip("._-")
    return safe[:_LONGEST_NAME] or "structure"


def load(place: Path) -> Index | None:
    """Return the index in a folder; None if there is none or it is damaged."""
    damaged = ValueError, TypeError, KeyError, AttributeError, RecursionError
    with suppress(InputError, OSError, *damaged):
        header, *lines = map(json.loads, read_bytes(place / _FILE).splitlines())
        if header.pop("format") != _FORMAT:
            return None
        read = [_checked(File(*each)) for each in lines]
        files = {entry_name(each.path): each for each in read if each.num_chains}
        broken = tuple(each for each in read if not each.num_chains)
        index = Index(files=files, broken=broken, **header)
        if re.fullmatch(r"[0-9a-f]+", index.version):
            size = fasta(place, index.version).stat().st_size
            return index if size == index.num_bytes and _is_sound(index) else None
    return None


def _is_sound(index: Index) -> bool:
    """Return whether the values of an index, which somebody else may have written, are usable."""
    return all(
        isinstance(name, str) and isinstance(value, kind)
        for named, kind in (
            (index.unread, str),
            (index.folders, int),
            (index.obsolete, str | None),
            ({"": index.obsolete_file}, str),
        )
        for name, value in named.items()
    )


def _checked(file: File) -> File:
    """Return a file of an index, which somebody else may have written.

    Raises:
        TypeError: A value is of another type.
        ValueError: The file is not below the folder, or a number is negative.
    """
    if [type(each) for each in file] != [str, int, int, str, str, int, int, int, str]:
        raise TypeError
    if file.path.startswith("/") or ".." in file.path.split("/"):
        raise ValueError
    if min(file.size, file.num_chains, file.offset, file.num_bytes) < 0:
        raise ValueError
    return file


def is_current(index: Index, folder: Path) -> bool:
    """Return whether an index agrees with the times of its folders, which change with their files.

    Of up to `MAX_CHECKED` files, those that were written in place are noticed, too.
    """
    times = list(index.folders.items())
    files = (*index.files.values(), *index.broken)
    if len(files) <= MAX_CHECKED:
        times += [(each.path, each.modified) for each in files]
    try:
        return all((folder / path).stat().st_mtime_ns == modified for path, modified in times)
    except OSError:
        return False


def update(
    folder: Path, place: Path, obsolete: Path | None = None, progress: Progress | None = None
) -> Index:
    """Bring the index of a folder up to date, and return it.

    Another process that updates it is waited for.

    Args:
        folder: The folder of the structures.
        place: The folder of the index, made if missing.
        obsolete: The list of obsolete entries. Default: the one given before, otherwise
            `obsolete.dat` in the folder, if there is one.
        progress: Called after each file that is read.

    Raises:
        InputError: The folder cannot be read, has no usable structure or too many files, the list
            is damaged, or the index cannot be written.
        DiskFullError: No space is left.
    """
    make_folder(place)
    with hold_file(place / _FILE, wait=True):
        sweep(place)
        before = load(place)
        old = before or Index()
        scan = _scan(folder)
        if not scan.files:  # perhaps it is not mounted: what was read may still be needed
            raise _unusable(folder, scan.unread)
        listed = str(obsolete.absolute()) if obsolete else old.obsolete_file
        replaced = dict(old.obsolete) if listed else {}
        if (path := Path(listed or folder / OBSOLETE)).is_file() or obsolete:
            try:
                replaced = _read_obsolete(path)
            except InputError as error:
                if obsolete:
                    raise
                scan.unread[OBSOLETE] = _reason(error, path)
        records: dict[str, bytes] = {}
        read = _read(folder, place, scan, old, records, progress)
        used = sorted((entry_name(each.path), each) for each in read if each.num_chains)
        digests = [(name, each.digest) for name, each in used]
        index = Index(
            files=_placed(used),
            broken=tuple(sorted(each for each in read if not each.num_chains)),
            unread=scan.unread,
            folders=scan.folders,
            obsolete=replaced,
            obsolete_file=listed,
            version=content_key([_FORMAT, digests, sorted(replaced.items())])[:12],
        )
        if index != before:
            _write(index, place, old, records)
        remove(place / _LOG)
    if not index.files:
        raise _unusable(folder, index.left_out)
    return index


def _unusable(folder: Path, left_out: Mapping[str, str]) -> UnusableError:
    """Return the error for a folder without structures that can be used."""
    advice = "check the path"
    if named := [f"{printable(path)} {why}" for path, why in left_out.items()]:
        advice = (
            f"check its files; {counted(len(named), 'file')} cannot be used, such as {named[0]}"
        )
    what = "has no PDB, mmCIF or BinaryCIF file with a protein"
    return UnusableError(what, advice, where=folder)


def has_structures(folder: Path) -> bool:
    """Return whether a folder, or one below it, has files of structures that are not hidden.

    Raises:
        InputError: The folder cannot be read, or has too many files.
    """
    return bool(_scan(folder).files)


def _scan(folder: Path) -> _Scan:
    """Return the structures below a folder. Hidden files and folders do not count."""
    scan = _Scan({}, {}, {})
    waiting = [""]
    while waiting:
        above = waiting.pop()
        try:
            scan.folders[above] = (folder / above).stat().st_mtime_ns
            with os.scandir(folder / above) as entries:
                for entry in entries:
                    path = f"{above}/{entry.name}" if above else entry.name
                    if _scan_entry(entry, path, scan):
                        waiting.append(path)
        except OSError as error:
            reason = f"{_UNREADABLE} ({error.strerror})"
            if not above:
                raise UnusableError(reason, "give a folder of structures", where=folder) from None
            scan.unread[above] = reason
        if len(scan.files) > MAX_FILES:
            what = f"holds more than {MAX_FILES} structures"
            raise InputError(what, "divide them among several folders", where=folder)
    return scan


def _scan_entry(entry: os.DirEntry[str], path: str, scan: _Scan) -> bool:
    """Record a file, and return whether it is a folder that may have further ones."""
    if entry.name.startswith("."):
        return False
    looks_right = is_structure(Path(entry.name))
    try:
        if is_folder := entry.is_dir():
            if entry.is_symlink():  # it could lead anywhere, and back
                scan.unread[path] = "is a link to a folder, which is not followed: add that folder"
            elif looks_right:
                scan.unread[path] = "is a folder"
        elif looks_right:
            status = entry.stat()
            if stat.S_ISREG(status.st_mode):
                scan.files[path] = File(path, status.st_size, status.st_mtime_ns)
            else:
                scan.unread[path] = "is not a regular file"
    except OSError as error:
        scan.unread[path] = f"{_UNREADABLE} ({error.strerror})"
        return False
    return is_folder and not entry.is_symlink()


def _read(
    folder: Path,
    place: Path,
    scan: _Scan,
    old: Index,
    records: dict[str, bytes],
    progress: Progress | None,
) -> list[File]:
    """Return what the files of a folder hold; of several of one entry, the first usable one.

    Args:
        folder, place: As for `update`.
        scan: The files; the others of an entry are recorded in it.
        old: The index of before.
        records: Gets the records of files that `old` does not have.
        progress: As for `update`.
    """
    known = {each.path: each for each in (*old.files.values(), *old.broken)}
    for content in _logged(place):
        known[content.file.path] = content.file
        records[content.file.path] = content.records
    entries: dict[str, list[str]] = {}
    for path in sorted(scan.files, key=_rank):
        entries.setdefault(entry_name(path), []).append(path)
    found: list[File] = []
    while entries:
        asked = [scan.files[paths[0]] for paths in entries.values()]
        new = [each for each in asked if not _is_same(each, known.get(each.path))]
        done = {each.path: known.get(each.path, each) for each in asked}
        for number, content in enumerate(_contents(folder, new), start=1):
            append_line(
                place / _LOG, {**content.file._asdict(), "records": content.records.decode()}
            )
            done[content.file.path] = content.file
            records[content.file.path] = content.records
            if progress is not None:
                progress(number, len(new))
        found += done.values()
        for name, (path, *others) in list(entries.items()):
            if done[path].num_chains:
                what = f"has the name of {printable(path)}, which is used"
                scan.unread.update(dict.fromkeys(others, what))
            if done[path].num_chains or not others:
                del entries[name]
            else:
                entries[name] = others
    return found


def _rank(path: str) -> tuple[int, int, str]:
    """Return the order among files of one entry: by their format, then nearest to the folder."""
    name = plain_name(Path(path)).lower()
    suffix = next(n for n, each in enumerate(STRUCTURE_SUFFIXES) if name.endswith(each))
    return suffix, path.count("/"), path


def _is_same(file: File, known: File | None) -> bool:
    """Return whether what is known of a file still holds."""
    same = known is not None and (file.size, file.modified) == (known.size, known.modified)
    return same and not (known is not None and known.problem.startswith(_UNREADABLE))


def _logged(place: Path) -> Iterator[_Content]:
    """Yield what a process read that did not end."""
    with suppress(InputError, ValueError, TypeError, KeyError):
        for line in read_bytes(place / _LOG).splitlines():
            values = json.loads(line)
            text = values.pop("records")
            yield _Content(_checked(File(**values)), text.encode())


def _contents(folder: Path, files: list[File]) -> Iterator[_Content]:
    """Yield the content of files, in order; commands, which can start processes, use all cores."""
    tasks = [(folder / each.path, each) for each in files]
    if len(tasks) <= _FEW or num_cores() == 1 or not is_command():
        return map(_content, tasks)
    return for_each(_content, tasks, num_cores(), _killed)


def _content(task: tuple[Path, File]) -> _Content:
    """Return the content of a file; the reason why it has none, if so."""
    path, file = task
    try:
        data = read_data(path)
        deposition = parse_deposition(data, str(path))
    except Exception as error:  # no file stops the others
        return _Content(file._replace(problem=_reason(as_foldry_error(error), path)))
    chains, problem = deposition.chain_to_seqres, ""
    if wrong := [each for each in chains if not _CHAIN.fullmatch(each)]:
        problem = f"has the chain {quoted(wrong[0])}, which is left out: give it another name"
    name, title = entry_name(file.path), _plain(deposition.title)
    records = [
        f">{name}_{chain} mol:protein length:{len(sequence)}  {title}".rstrip() + f"\n{sequence}\n"
        for chain, sequence in chains.items()
        if chain not in wrong
    ]
    text = "".join(records).encode()
    found = file._replace(
        digest=sha256(data)[:16] if records else "",
        release_date=deposition.release_date,
        num_chains=len(records),
        num_bytes=len(text),
        problem=problem,
    )
    return _Content(found, text)


def _killed(task: tuple[Path, File]) -> _Content:
    return _Content(task[1]._replace(problem=_KILLED))


def _reason(error: FoldryError, path: Path) -> str:
    """Return why a file is left out, without its path."""
    place = str(error.where).removeprefix(str(path)).lstrip(", ")
    said = f"{place} {error.what}" if place else error.what
    return printable(f"{said}: {error.advice}" if error.advice else said)


def _plain(title: str) -> str:
    """Return a title as one short line of ASCII."""
    line = printable(" ".join(title.split()))[:_LONGEST_TITLE]
    return line.encode("ascii", "replace").decode()


def _read_obsolete(path: Path) -> dict[str, str | None]:
    """Return the successor of each entry of the PDB's list of obsolete entries, or None.

    Raises:
        InputError: The list is missing, too large or empty, or is not a text.
    """
    found: dict[str, str | None] = {}
    for line in decode(read_bytes(path, _MAX_OBSOLETE), str(path)).lower().splitlines():
        match line.split():
            case ["obslte", _, entry, *successors]:
                found[entry] = successors[0] if successors else None
    if not found:
        what = "is not a list of obsolete entries"
        raise InputError(what, f"give the PDB's {OBSOLETE}", where=path)
    return found


def _placed(files: Iterable[tuple[str, File]]) -> dict[str, File]:
    """Return files by their entries, each with its place in the FASTA file."""
    placed, offset = dict[str, File](), 0
    for name, each in files:
        placed[name] = each._replace(offset=offset)
        offset += each.num_bytes
    return placed


def _write(index: Index, place: Path, old: Index, records: Mapping[str, bytes]) -> None:
    """Write an index: the FASTA file first, so that nothing is named that is not there."""
    before, path = fasta(place, old.version), fasta(place, index.version)
    if not path.is_file() or path.stat().st_size != index.num_bytes:
        with new_file(path) as file:
            for name, each in index.files.items():
                if (text := records.get(each.path)) is None:
                    text = read_block(before, old.files[name])
                file.write(text)
    header = {
        "format": _FORMAT,
        "unread": index.unread,
        "folders": index.folders,
        "obsolete": index.obsolete,
        "obsolete_file": index.obsolete_file,
        "version": index.version,
    }
    lines = [header, *index.files.values(), *index.broken]
    write_text(place / _FILE, "".join(f"{json.dumps(line)}\n" for line in lines))
    reasons = (f"{printable(path)}: {why}\n" for path, why in index.left_out.items())
    write_text(place / LEFT_OUT, "".join(reasons))
    now = time.time()
    with suppress(OSError):  # its days begin now; a search would notice another time of change
        os.utime(before, ns=(time.time_ns(), before.stat().st_mtime_ns))
    for other in place.glob("*.fasta"):
        if other != path and other.stat().st_atime < now - _KEPT_SECONDS:
            remove(other)


def read_block(path: Path, file: File) -> bytes:
    """Return the records of a file's chains."""
    with path.open("rb") as opened:
        opened.seek(file.offset)
        return opened.read(file.num_bytes)

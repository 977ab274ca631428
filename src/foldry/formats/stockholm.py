"""Stockholm: alignments as HMMER writes them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import compress
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from typing import Final

import numpy as np

from foldry.errors import InputError, counted, quoted
from foldry.formats.a3m import to_a3m
from foldry.formats.fasta import ANNOTATION, PIECE, pieces
from foldry.formats.lines import MAX_LINE, MAX_LINES, lines
from foldry.formats.sequence import GAPS, check_num_chains, check_stop, check_width, places
from foldry.query import GAP_LETTER, MAX_ROWS, Alignment

_AS_ALIGNED: Final = bytes.maketrans(
    f"._~*{ascii_lowercase}".encode(), f"----{ascii_uppercase}".encode()
)
_LETTERS: Final = f"{ascii_letters}{GAPS}"
_ROW: Final = re.compile(f"[{_LETTERS}]+")
_ANNOTATION: Final = re.compile(f"^{ANNOTATION}", re.MULTILINE)
_AS_GAP: Final = str.maketrans(GAPS, "-" * len(GAPS))
_BLANK: Final = " \t\r\f\v\0"
_TO_UPPER: Final = ord("a") - ord("A")
_REFERENCE: Final = "#=GC RF"
_MAX_PADDED: Final = 60
"""Characters to which names are padded."""


def parse_stockholm(text: str, source: str = "the Stockholm text") -> Alignment:
    """Return the alignment of a Stockholm text to its first row; headers are the rows' names.

    Letters of a row become insertions where the first row has a gap. `-`, `.`, `_`, `~` (missing
    data) and `*` (no residue) are gaps.

    Raises:
        InputError: There is no row, a row contains anything else, a name occurs twice in one
            block, the rows differ in length, or there are several alignments.

    Example:
        >>> parse_stockholm("# STOCKHOLM 1.0\\nq MK.T\\nr M.AT\\n//\\n").texts
        ('MKT', 'M-aT')
    """
    return _alignment(_rows(text, source), source)


def parse_stockholm_all(text: str, source: str = "the Stockholm text") -> list[Alignment]:
    """Return the alignments of a Stockholm text, each ended by `//`, at least one.

    Raises:
        InputError: As for `parse_stockholm`, or there are more than `MAX_FILE_CHAINS`.

    Example:
        >>> text = "# STOCKHOLM 1.0\\nq MKT\\n//\\n# STOCKHOLM 1.0\\nr MKV\\n//\\n"
        >>> [alignment.query for alignment in parse_stockholm_all(text)]
        ['MKT', 'MKV']
    """
    return [_alignment(rows, place) for _, place, rows in _all_rows(text, source)]


def _alignment(rows: dict[str, str], source: str) -> Alignment:
    """Return the alignment of rows to the first one; the rows are taken out of their mapping."""
    names = tuple(rows)
    return align_to_first(names, [rows.pop(name) for name in names], source)


def align_to_first(names: Sequence[str], rows: list[str], source: str) -> Alignment:
    """Return the alignment of equally long rows to the first one.

    Args:
        names: The headers of the rows.
        rows: Letters and gaps as in Stockholm; the list is emptied to save memory.
        source: Name of the rows in errors.

    Raises:
        InputError: The first row has too few or too many residues.
    """
    check_width(rows[0], GAPS, source)
    kept = np.array([letter not in GAPS for letter in rows[0]])
    # As in a3m, letters in other columns are lower case, and gaps there are left out.
    case = np.where(kept, 0, ord("a") - ord("A")).astype(np.uint8)
    lengths, codes = [], bytearray()
    step = max(1, PIECE // len(kept))
    while rows:  # some are freed before the next are copied
        some = "".join(rows[:step]).encode()
        del rows[:step]
        letters = np.frombuffer(some.translate(_AS_ALIGNED), np.uint8).reshape(-1, len(kept)) | case
        is_kept = kept | (letters != GAP_LETTER)
        lengths.append(np.count_nonzero(is_kept, axis=1))
        codes += np.compress(is_kept.ravel(), letters).tobytes()
    letters = np.frombuffer(codes, np.uint8)
    return Alignment.of_text(names, letters, np.concatenate(lengths), f"{source}, row {{}}".format)


def deduplicate_stockholm(text: str, source: str = "the Stockholm text") -> str:
    """Return the text without rows that equal an earlier one, insertions ignored.

    Among lines that begin with `#`, only `# STOCKHOLM`, `#=GC RF` and the `#=GS` lines of the
    remaining rows are kept.
    """
    rows = {name: row.translate(_AS_GAP) for name, row in _rows(text, source).items()}
    kept = [letter != "-" for letter in next(iter(rows.values()))]
    # In reverse, the name of the first of equal rows is set last.
    names = {"".join(compress(row, kept)): name for name, row in reversed(rows.items())}
    return _only(text, set(names.values()))


def truncate_stockholm(text: str, max_rows: int, source: str = "the Stockholm text") -> str:
    """Return the text with its first rows only, and `#` lines as in `deduplicate_stockholm`."""
    return _only(text, set(list(_rows(text, source))[:max_rows]))


def remove_empty_columns(text: str) -> str:
    """Return the text without columns that are a gap in every row, and without a last newline.

    The same columns are removed from the `#=GC RF` line that ends a block of rows.
    """
    lines = text.splitlines()
    block: list[int] = []
    for number, line in enumerate(lines):
        if not _is_row(line) and not line.startswith("#=GC RF"):
            continue
        block.append(number)
        if _is_row(line):
            continue
        split = [lines[index].rpartition(" ") for index in block]
        letters = np.array([list(row) for _, _, row in split])
        kept = ~np.isin(letters[:-1], list(GAPS)).all(axis=0)
        for index, (name, space, _), row in zip(block, split, letters, strict=True):
            lines[index] = name + space + "".join(row[kept]) if kept.any() else ""
        block = []
    return "\n".join(lines)


def stockholm_to_a3m(
    text: str, max_rows: int | None = None, source: str = "the Stockholm text"
) -> str:
    """Return the alignment to the first row as a3m, with the descriptions of the rows."""
    descriptions = _descriptions(text)
    rows = parse_stockholm(text, source).rows(slice(max_rows))
    headers = tuple(f"{name} {descriptions.get(name, '')}" for name in rows.headers)
    return to_a3m(replace(rows, headers=headers))


def stockholm_rows(
    text: str, source: str = "the Stockholm text"
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the rows of a Stockholm text with all their columns, and their descriptions, by name.

    Raises:
        InputError: As for `parse_stockholm`.
    """
    return _rows(text, source), _descriptions(text)


def to_stockholm(alignment: Alignment) -> str:
    """Return the Stockholm text of an alignment, as jackhmmer writes it but in one block.

    A name is the first word of a header; a copy of an earlier name gets a number after `/`, which
    pairing by species ignores. Inserted letters have columns of their own, which `#=GC RF` marks by
    dots. All letters are in upper case and all gaps are `-`, because AlphaFold reads no others.
    Insertions of the first row are left out: they would be residues.

    Example:
        >>> print(to_stockholm(parse_stockholm("q MK-T\\nr MVAT\\n")), end="")
        # STOCKHOLM 1.0
        <BLANKLINE>
        q       MK-T
        r       MVAT
        #=GC RF xx.x
        //
    """
    num_rows, length = alignment.letters.shape
    insertions = alignment.insertions
    row, before = np.divmod(insertions.place.astype(np.int64), length + 1)
    count = np.where(row > 0, insertions.count, 0).astype(np.int64)
    widths = np.zeros(length + 1, np.int64)
    np.maximum.at(widths, before, count)
    residues = np.arange(length) + np.cumsum(widths[:length])
    columns = np.full((num_rows, length + widths.sum()), GAP_LETTER, np.uint8)
    columns[:, residues] = alignment.letters
    # As by HMMER, half of an insertion's letters stand at the left of its columns, the others at
    # the right; before the first residue all are at the right, after the last all at the left.
    left = np.select([before == 0, before == length], [0, count], count // 2)
    begins, free = np.append(0, residues + 1)[before], widths[before] - count
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    within += np.where(within < np.repeat(left, count), 0, np.repeat(free, count))
    inserted = insertions.letters[np.repeat(row, insertions.count) > 0]
    columns[np.repeat(row, count), np.repeat(begins, count) + within] = inserted - _TO_UPPER
    reference = np.full(columns.shape[1], ord("."), np.uint8)
    reference[residues] = ord("x")

    names = _unique_names(alignment.headers)
    described = zip(names, (header.split()[1:] for header in alignment.headers), strict=True)
    lines = ["# STOCKHOLM 1.0", ""]
    lines += [f"#=GS {name} DE {' '.join(words)}" for name, words in described if words]
    width = min(max(len(_REFERENCE), *map(len, names)), _MAX_PADDED)
    lines += [
        f"{name:{width}} {letters.tobytes().decode()}"
        for name, letters in zip(names, columns, strict=True)
    ]
    lines += [f"{_REFERENCE:{width}} {reference.tobytes().decode()}", "//", ""]
    return "\n".join(lines)


def _descriptions(text: str) -> dict[str, str]:
    """Return the descriptions of the rows by their names."""
    descriptions = {}
    for line in text.splitlines():
        if line.startswith("#=GS"):
            _, name, feature, value = [*line.split(maxsplit=3), "", "", ""][:4]
            if feature == "DE":
                descriptions[name] = value
    return descriptions


def _unique_names(headers: Sequence[str]) -> list[str]:
    """Return a different name for each header, which no reader takes for anything else."""
    names: dict[str, None] = {}
    copies: Counter[str] = Counter()
    for number, header in enumerate(headers, start=1):
        name = unique = next(iter(header.replace("\0", " ").split()), "")
        if not name or not _is_row(name) or _ANNOTATION.match(name):
            name = unique = f"{number}|{name}"
        while unique in names:
            copies[name] += 1
            unique = f"{name}/{copies[name] + 1}"
        names[unique] = None
    return list(names)


def _is_row(line: str) -> bool:
    return not line.lstrip().startswith(("#", "//")) and bool(line.strip())


def _rows(text: str, source: str) -> dict[str, str]:
    """Return the letters of each row of the only alignment by its name."""
    (_, _, rows), *others = _all_rows(text, source)
    if others:
        place = f"{source}, line {others[0][0]}"
        raise InputError("begins a second alignment", "put it into another file", where=place)
    return rows


def _all_rows(text: str, source: str) -> list[tuple[int, str, dict[str, str]]]:
    """Return each alignment: line of its first row, place, and letters of its rows by their names.

    A blank line ends a block, in which a name occurs once, and `//` an alignment (Easel's
    definition). A header ends an alignment too, because some programs leave out the last `//`.
    """
    if plain := _plain_rows(text):
        return [(1, source, _joined(plain, source))]
    found: list[tuple[int, dict[str, bytearray]]] = []
    parts: dict[str, bytearray] = {}
    in_block: set[str] = set()
    num_rows = 0
    for number, each in lines(text, source):
        line = each.strip(_BLANK)
        if line.startswith(("//", "# STOCKHOLM")):
            parts = {}
        if not line or not parts:
            in_block.clear()
        if not _is_row(line):
            continue
        name, *row = line.split(maxsplit=1)
        if _ANNOTATION.match(name):
            continue
        place = f"{source}, line {number}"
        if not row or not _ROW.fullmatch(row[0]):
            advice = "use letters, and '-' or '.' for gaps"
            if name.startswith(">"):
                advice = "give a file of FASTA or a3m the suffix of its format"
            raise InputError("is not a name and an aligned sequence", advice, where=place)
        if name in in_block:
            what = f"has the name {quoted(name)} for the second time in one block"
            raise InputError(
                what, "rename the row, or begin a block with an empty line", where=place
            )
        if not parts:
            found.append((number, parts))
            check_num_chains(len(found), source)
        in_block.add(name)
        num_rows += name not in parts
        parts.setdefault(name, bytearray()).extend(row[0].encode())
        if num_rows > MAX_ROWS:
            raise InputError(f"exceeds the limit of {MAX_ROWS} rows", "keep fewer", where=place)
    if not found:
        raise InputError("has no rows", "give the query, then rows aligned to it", where=source)
    return [
        (number, place, _joined(parts, place))
        for place, (number, parts) in zip(places(source, len(found)), found, strict=True)
    ]


def _plain_rows(text: str) -> dict[str, bytearray]:
    """Return the letters of the rows of a plain text by their names; empty if it is not plain.

    A plain text has one alignment, its rows consist of a name, spaces and letters, and it has no
    error: `_all_rows` reads all other texts with more care and reports errors.
    """
    if "\0" in text or text.count("\n") > MAX_LINES:
        return {}
    rows: dict[str, bytearray] = defaultdict(bytearray)
    block: list[str] = []  # the names in it
    is_over, is_sound = False, True
    for piece in pieces(text, "\n"):
        if len(piece) > MAX_LINE or len(rows) > MAX_ROWS:
            return {}
        for line in piece.removesuffix("\n").split("\n"):
            if line[:1] in "#/":  # or an empty line
                if line.startswith("//"):
                    is_over = True
                elif not line:
                    is_sound &= len(set(block)) == len(block)
                    block.clear()
                elif line[0] == "/" or (rows and line.startswith("# STOCKHOLM")):
                    return {}
                continue
            name, _, row = line.partition(" ")
            codes = row.lstrip(" ").encode("ascii", "replace")
            if is_over or not codes:
                return {}
            block.append(name)
            rows[name] += codes
    names = "\n".join(rows)
    is_sound &= len(set(block)) == len(block) and len(rows) <= MAX_ROWS
    is_sound &= names.split() == list(rows) and not _ANNOTATION.search(names)
    is_sound &= not any(row.translate(None, _LETTERS.encode()) for row in rows.values())
    return rows if is_sound else {}


def _joined(parts: dict[str, bytearray], source: str) -> dict[str, str]:
    """Return the rows whose parts these are, all of one length; a stop in the first is refused."""
    rows = {name: parts.pop(name).decode() for name in list(parts)}
    length = len(next(iter(rows.values())))
    for name, row in rows.items():
        if len(row) != length:
            size = counted(len(row), "column")
            what = f"has a row {quoted(name)} of {size} and a first row of {length}"
            raise InputError(what, "make all rows equally long", where=source)
    check_stop(next(iter(rows.values())), source)
    return rows


def _only(text: str, names: Collection[str]) -> str:
    """Return the lines of these rows, `# STOCKHOLM` and `#=GC RF`."""

    def belongs(line: str) -> bool:
        if line.startswith("#=GS"):
            return [*line.split(maxsplit=2), ""][1] in names
        if _is_row(line):
            return line.split(maxsplit=1)[0] in names
        return not line.startswith("#") or line.startswith(("# STOCKHOLM", "#=GC RF"))

    return "\n".join(filter(belongs, text.splitlines())) + "\n"

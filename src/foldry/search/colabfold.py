"""ColabFold's search: MMseqs2 on clustered databases, and pairing of rows by species.

A clustered database has a representative of each cluster of similar sequences. The representatives
are searched three times with growing profiles, then all members of the clusters that were found are
aligned to the profiles. All queries share each pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Final

from foldry.errors import InputError, quoted
from foldry.formats.a3m import FIRST_NAME, parse_a3m
from foldry.query import Alignment, Source
from foldry.search import mmseqs
from foldry.search.databases import Database
from foldry.store.files import make_folder, read_text, scratch_folder, write_text
from foldry.store.hashes import content_key

NEEDED: Final = {
    "search": ("--prefilter-mode",),
    "pairaln": ("--pairing-mode", "--pairing-dummy-mode"),
}
"""Options of MMseqs2's commands that old versions lack."""
_FORMAT: Final = 1
"""Part of the identity; another number makes all results new ones."""
_SUFFIX: Final = ".a3m"


@dataclass(frozen=True)
class ColabFoldSettings:
    """The settings of a search; the defaults are those of `colabfold_search -s 8`.

    Attributes:
        sensitivity: Sensitivity of the search for representatives, 1–8.5.
        max_e_value: Maximum E-value of a representative.
        filter: Whether rows are left out that align poorly or resemble others.
        pairing_strategy: The species that are paired: 0 for those of at least two chains, 1 for
            those of all chains.
    """

    sensitivity: float = 8.0
    max_e_value: float = 0.1
    filter: bool = True
    pairing_strategy: int = 0

    def __post_init__(self) -> None:
        if self.pairing_strategy not in (0, 1):
            what = f"`pairing_strategy` is {quoted(self.pairing_strategy)}"
            raise InputError(what, "give 0 or 1")


@dataclass(frozen=True)
class ColabFold:
    """An engine for a clustered MMseqs2 database and, optionally, an environmental one.

    Attributes:
        databases: The database, and the environmental one if there are two.
        settings: The settings.
        num_threads: Number of threads.
        scratch: A folder for temporary files; None for the system's.
        program: The path of MMseqs2.

    Raises:
        InputError: There are not one or two databases.
        MissingError: MMseqs2 is not installed or too old.

    Example:
        >>> from foldry.search.databases import inspect
        >>> engine = ColabFold((inspect(Path("uniref30_2302_db")),))  # doctest: +SKIP
        >>> [found] = engine.query(["MKTAYIAKQR"])  # doctest: +SKIP
    """

    databases: tuple[Database, ...]
    settings: ColabFoldSettings = ColabFoldSettings()
    num_threads: int = 1
    scratch: Path | None = None
    program: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.databases) not in (1, 2):
            what = f"ColabFold's search takes one or two databases, not {len(self.databases)}"
            raise InputError(what, "name a clustered one, then perhaps an environmental one")
        object.__setattr__(self, "program", mmseqs.find(NEEDED))

    @cached_property
    def identity(self) -> str:
        """What the results depend on besides the sequences; see `Engine`."""
        versions = [each.version for each in self.databases]
        program = mmseqs.version(self.program)
        return content_key(["colabfold", _FORMAT, self.settings, versions, program])

    @property
    def source(self) -> Source:
        """The program and the databases, for people."""
        return Source(mmseqs.PROGRAM, ", ".join(each.name for each in self.databases))

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        """Yield the alignment of each sequence; see `Engine`.

        The rows of the environmental database, the first of which is the sequence again, are last.
        """
        if sequences:
            with scratch_folder(self.scratch) as folder:
                work = _Work(self, [(each,) for each in sequences], folder)
                with _unchanged(self.databases):
                    work.search()
                for (alignment,) in work.alignments():
                    yield replace(alignment, source=self.source)

    def pairs(self, complexes: Sequence[Sequence[str]]) -> Iterator[tuple[Alignment, ...]]:
        """Yield the paired rows of each complex, found in the first database; see `PairingEngine`.

        A row consists of gaps if its species has no sequence for the chain.

        Raises:
            InputError: As for `query`, or the database has no taxonomy.
            MissingError: As for `query`.
        """
        database = self.databases[0]
        source = replace(self.source, database=database.name)
        if complexes:
            with scratch_folder(self.scratch) as folder:
                work = _Work(self, complexes, folder)
                with _unchanged([database]):
                    if not database.has_taxonomy:
                        what = "has no taxonomy, by which rows are paired"
                        raise InputError(what, "run `mmseqs createtaxdb`", where=database.path)
                    work.pair()
                for rows in work.alignments():
                    yield tuple(replace(each, source=source) for each in rows)


@contextmanager
def _unchanged(databases: Sequence[Database]) -> Iterator[None]:
    """Check databases before and after the `with` block, in which a change may cause errors.

    Raises:
        InputError: A database changed or is not clustered.
        MissingError: A file is missing.
    """
    for each in databases:
        each.check()
        if not each.is_clustered:
            what = "is not a clustered MMseqs2 database"
            raise InputError(what, "give one such as ColabFold's UniRef30", where=each.path)
    try:
        yield
    finally:
        for each in databases:
            each.check()


@dataclass(frozen=True)
class _Work:
    """The commands of MMseqs2 for some complexes, in a folder."""

    engine: ColabFold
    complexes: Sequence[Sequence[str]]
    folder: Path

    def search(self) -> None:
        """Find the rows of each sequence by itself."""
        queries = profiles = self._queries()
        found: list[Path] = []
        for database in self.engine.databases:
            if found:
                self._run("lndb", f"{queries}_h", f"{profiles}_h")
            folder = self.folder / f"database{len(found)}"
            make_folder(folder)
            profiles = self._search(database, queries, profiles, folder)
            found.append(folder / "rows")
        self._run("mergedbs", queries, self.folder / "rows", *found)
        self._unpack()

    def pair(self) -> None:
        """Find the paired rows of each complex."""
        database, queries, here = self.engine.databases[0], self._queries(), self.folder
        members, _, options = self._parts(database)
        profiles = self._expand(database, queries, here)
        quick = ["--alignment-mode", 1, "-e", 0.001, "--max-accept", 1_000_000, *options]
        self._run("align", profiles, members, here / "expanded", here / "scored", *quick)
        pairing = [*options, "--pairing-mode", self.engine.settings.pairing_strategy]
        pairing += ["--pairing-dummy-mode"]  # 1 keeps a row of gaps where a chain has none
        whole = [queries, database.path]
        self._run("pairaln", *whole, here / "scored", here / "chosen", *pairing, 0)
        full = ["-e", "inf", "-a", *options]
        self._run("align", profiles, members, here / "chosen", here / "aligned", *full)
        self._run("pairaln", *whole, here / "aligned", here / "paired", *pairing, 1)
        as_a3m = ["--msa-format-mode", 5, "--filter-msa", 0, *options]
        self._run("result2msa", queries, members, here / "paired", here / "rows", *as_a3m)
        self._unpack()

    def alignments(self) -> Iterator[list[Alignment]]:
        """Yield the rows that were found for the sequences of each complex."""
        numbers = count()
        for sequences in self.complexes:
            files = [self.folder / f"{next(numbers)}{_SUFFIX}" for _ in sequences]
            yield [parse_a3m(read_text(file), "the hits of a search") for file in files]

    def _queries(self) -> Path:
        """Write a database of all sequences, and return it."""
        records, lines = "", ""
        numbers = count()
        for number, sequences in enumerate(self.complexes):
            for name, sequence in enumerate(sequences, start=FIRST_NAME):
                records += f">{name}\n{sequence}\n"
                lines += f"{next(numbers)}\t{number}\t{number}\n"
        fasta, queries = self.folder / "queries.fasta", self.folder / "queries"
        write_text(fasta, records)
        self._run("createdb", fasta, queries, "--shuffle", 0, "--dbtype", 1)
        write_text(self.folder / "queries.lookup", lines)  # says which belong to one complex
        return queries

    def _search(self, database: Database, queries: Path, profiles: Path, folder: Path) -> Path:
        """Write `rows`, those that a database has for each sequence; return the new profiles."""
        is_strict = self.engine.settings.filter
        members, _, options = self._parts(database)
        expansion = ["--expand-filter-clusters", int(is_strict), "--max-seq-id", 0.95]
        if profiles != queries:  # ColabFold filters only the clusters of the first database
            expansion = []
        new = self._expand(database, profiles, folder, *expansion)
        align = ["-e", 10, "--max-accept", 100_000 if is_strict else 1_000_000]
        align += ["--alt-ali", 10, "-a", *options]
        self._run("align", new, members, folder / "expanded", folder / "aligned", *align)
        score = ["--qid", 0, "--qsc", 0.8 if is_strict else -20.0, "--diff", 0]
        score += ["--max-seq-id", 1.0, "--filter-min-enable", 100, *options]
        self._run("filterresult", queries, members, folder / "aligned", folder / "kept", *score)
        as_a3m = ["--msa-format-mode", 6, "--filter-msa", int(is_strict)]
        as_a3m += ["--filter-min-enable", 1000, "--diff", 3000, "--max-seq-id", 0.95]
        as_a3m += ["--qid", "0.0,0.2,0.4,0.6,0.8,1.0", "--qsc", 0, *options]
        self._run("result2msa", queries, members, folder / "kept", folder / "rows", *as_a3m)
        return new

    def _expand(self, database: Database, queries: Path, folder: Path, *more: object) -> Path:
        """Write `expanded`, the members of the clusters that are found; return the profiles."""
        settings = self.engine.settings
        members, clusters, options = self._parts(database)
        hits, expanded, temporary = (folder / name for name in ("hits", "expanded", "tmp"))
        search = ["--num-iterations", 3, "-a", "-e", settings.max_e_value, "--max-seqs", 10_000]
        search += ["--prefilter-mode", 0, "-s", f"{settings.sensitivity:.1f}", *options]
        self._run("search", queries, database.path, hits, temporary, *search)
        expand = ["--expansion-mode", 0, "-e", "inf", *more, *options]
        self._run("expandaln", queries, members, hits, clusters, expanded, *expand)
        return temporary / "latest" / "profile_1"

    def _parts(self, database: Database) -> tuple[str, str, list[object]]:
        """Return the sequences and the clusters of a database, and options for reading it."""
        index = f"{database.path}.idx"
        threads = ["--threads", self.engine.num_threads]
        if any(Path(f"{index}{end}").is_file() for end in ("", ".index")):
            return index, index, ["--db-load-mode", 2, *threads]
        return f"{database.path}_seq", f"{database.path}_aln", ["--db-load-mode", 0, *threads]

    def _unpack(self) -> None:
        """Write the rows of each sequence as a file."""
        names = ("--unpack-name-mode", 0, "--unpack-suffix", _SUFFIX)
        self._run("unpackdb", self.folder / "rows", self.folder, *names)

    def _run(self, *arguments: object) -> None:
        mmseqs.run(self.engine.program, self.folder, *arguments)

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
from foldry.store.files import make_folder, read_text, scratch_folder, write_bytes, write_text
from foldry.store.hashes import content_key

NEEDED: Final = {
    "search": ("--prefilter-mode",),
    "pairaln": ("--pairing-mode", "--pairing-dummy-mode"),
}
"""Options of MMseqs2's commands that old versions lack."""
_FORMAT: Final = 1
"""Part of the identity; another number makes all results new ones."""
_SUFFIX: Final = ".a3m"
_COLUMNS: Final = "query,target,fident,alnlen,mismatch,gapopen,qstart,qend,tstart,tend,evalue,bits"
_OF_RESULTS: Final = b"\x08\0\0\0"
"""The type of an MMseqs2 database of clusters, whose lines begin with a number."""
_KNOWN_TAXA: Final = "!12908&&!28384"
"""All taxa but unclassified and artificial sequences."""


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
class Extras:
    """What a ticket of ColabFold's server asks for besides alignments.

    Attributes:
        structures: FASTA files of chains of known structures, in which templates are found.
        table: Whether hits are written as a table, with their sequences, instead of as rows.
        taxonomy: Whether the taxa of the rows of the first database are written.
    """

    structures: tuple[Path, ...] = ()
    table: bool = False
    taxonomy: bool = False


@dataclass(frozen=True)
class Files:
    """Texts of MMseqs2, one file for each sequence.

    Attributes:
        rows: Of each database, the alignments, or the tables of hits.
        templates: The hits among known structures, 13 columns with a CIGAR; none if not asked for.
        taxonomy: The taxa, names and lineages of rows; none if not asked for.
    """

    rows: list[list[Path]]
    templates: list[Path]
    taxonomy: list[Path]


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
                    work.merge(work.search())
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
                    work.unpack(work.pair(), _SUFFIX)
                for rows in work.alignments():
                    yield tuple(replace(each, source=source) for each in rows)

    def write(self, sequences: Sequence[str], folder: Path, extras: Extras) -> Files:
        """Write the texts that ColabFold's server sends for each sequence, and return their files.

        Args:
            sequences: As for `query`.
            folder: An empty folder.
            extras: What is written besides the rows, or instead of them.

        Raises:
            InputError: As for `query`.
            MissingError: As for `query`.
        """
        work = _Work(self, [(each,) for each in sequences], folder, extras)
        with _unchanged(self.databases):
            found = work.search()
            kinds = [str(each) for each in range(len(found))]
            if extras.structures:
                found.append(work.templates())
                kinds.append("templates")
            if extras.taxonomy:
                found.append(work.taxonomy())
                kinds.append("taxonomy")
        files = {
            kind: work.unpack(rows, f".{kind}") for kind, rows in zip(kinds, found, strict=True)
        }
        templates, taxonomy = (files.pop(kind, []) for kind in ("templates", "taxonomy"))
        return Files(list(files.values()), templates, taxonomy)

    def write_pairs(self, sequences: Sequence[str], folder: Path) -> list[list[Path]]:
        """Write the paired rows of a complex's sequences in each database; return their files.

        Raises:
            InputError: As for `pairs`, for any of the databases.
            MissingError: As for `query`.
        """
        files = []
        for number, each in enumerate(self.databases):
            inner = folder / f"pairs{number}"
            make_folder(inner)
            work = _Work(replace(self, databases=(each,)), [sequences], inner)
            with _unchanged([each]):
                files.append(work.unpack(work.pair(), _SUFFIX))
        return files


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
    extras: Extras = Extras()

    @property
    def _named(self) -> Path:
        """The database of all sequences."""
        return self.folder / "queries"

    def search(self) -> list[Path]:
        """Find the rows of each sequence by itself, and return those of each database."""
        queries = profiles = self._queries()
        found: list[Path] = []
        for number, database in enumerate(self.engine.databases):
            folder = self.folder / f"database{number}"
            make_folder(folder)
            if found:
                self._run("lndb", f"{queries}_h", f"{profiles}_h")
            profiles = self._search(database, queries, profiles, folder)
            found.append(folder / "rows")
        return found

    def merge(self, found: Sequence[Path]) -> None:
        """Write the rows of all databases as one file for each sequence."""
        self._run("mergedbs", self._named, self.folder / "rows", *found)
        self.unpack(self.folder / "rows", _SUFFIX)

    def templates(self) -> Path:
        """Find the known structures whose sequences fit the profiles of the first database."""
        first, here = self.folder / "database0", self.folder / "templates"
        make_folder(here)
        profiles, targets = _profiles(first), here / "targets"
        if len(self.engine.databases) == 1:  # otherwise they are linked already
            self._run("lndb", f"{self._named}_h", f"{profiles}_h")
        threads = ["--db-load-mode", 0, "--threads", self.engine.num_threads]
        self._run("createdb", *self.extras.structures, targets)
        search = ["-s", 7.5, "--prefilter-mode", 0, "-a", "-e", 0.1, *threads]
        self._run("search", profiles, targets, here / "hits", here / "tmp", *search)
        table = ["--format-output", f"{_COLUMNS},cigar", "--db-output", 1, *threads]
        self._run("convertalis", profiles, targets, here / "hits", here / "rows", *table)
        return here / "rows"

    def taxonomy(self) -> Path:
        """Find the taxa of the rows of the first database that align well."""
        [database, *_], here = self.engine.databases, self.folder / "database0"
        members, _, options = self._parts(database)
        if members != f"{database.path}.idx":  # links to the members, with the taxonomy beside them
            links = here / "links"
            self._run("lndb", database.path, links)
            for end in ("", "_h"):
                self._run("rmdb", f"{links}{end}")
                self._run("lndb", f"{members}{end}", f"{links}{end}")
            members = str(links)
        table = ["--db-output", 1, "--format-output", "taxid,target,taxlineage", *options]
        self._run("convertalis", self._named, members, here / "kept", here / "taxa", *table)
        write_bytes(here / "taxa.dbtype", _OF_RESULTS)
        known = ["--taxon-list", _KNOWN_TAXA, "--threads", self.engine.num_threads]
        self._run("filtertaxdb", database.path, here / "taxa", here / "known", *known)
        return here / "known"

    def pair(self) -> Path:
        """Find the paired rows of each complex in the first database, and return them."""
        database, here = self.engine.databases[0], self.folder
        if not database.has_taxonomy:
            what = "has no taxonomy, by which rows are paired"
            raise InputError(what, "run `mmseqs createtaxdb`", where=database.path)
        queries = self._queries()
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
        return here / "rows"

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
        fasta, queries = self.folder / "queries.fasta", self._named
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
        best = ["--filter-min-enable", 1000, "--diff", 3000, "--max-seq-id", 0.95]
        best += ["--qid", "0.0,0.2,0.4,0.6,0.8,1.0", "--qsc", 0, *options]
        if self.extras.table:
            place, table = folder / "best", ["--format-output", f"{_COLUMNS},tseq", *options]
            self._run("filterresult", queries, members, folder / "kept", place, *best)
            self._run(
                "convertalis", queries, members, place, folder / "rows", "--db-output", 1, *table
            )
            return new
        as_a3m = ["--msa-format-mode", 6, "--filter-msa", int(is_strict), *best]
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
        return _profiles(folder)

    def _parts(self, database: Database) -> tuple[str, str, list[object]]:
        """Return the sequences and the clusters of a database, and options for reading it."""
        index = f"{database.path}.idx"
        threads = ["--threads", self.engine.num_threads]
        if any(Path(f"{index}{end}").is_file() for end in ("", ".index")):
            return index, index, ["--db-load-mode", 2, *threads]
        return f"{database.path}_seq", f"{database.path}_aln", ["--db-load-mode", 0, *threads]

    def unpack(self, rows: Path, suffix: str) -> list[Path]:
        """Write what was found for each sequence as a file, and return the files."""
        names = ("--unpack-name-mode", 0, "--unpack-suffix", suffix)
        self._run("unpackdb", rows, self.folder, *names)
        number = sum(map(len, self.complexes))
        return [self.folder / f"{each}{suffix}" for each in range(number)]

    def _run(self, *arguments: object) -> None:
        mmseqs.run(self.engine.program, self.folder, *arguments)


def _profiles(folder: Path) -> Path:
    """Return the profiles that a search in a folder has made."""
    return folder / "tmp" / "latest" / "profile_1"

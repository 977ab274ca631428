"""AlphaFold's and ColabFold's databases: where their publishers offer them, and how large they are.

The addresses and sizes of AlphaFold's are those of google-deepmind/alphafold (commit c77e5d2,
scripts/download_*.sh and README.md); the addresses of ColabFold's are those of sokrypton/ColabFold
(commit 3b808f0, setup_databases.sh). Sizes are rounded and change with each release of UniProt and
the PDB: a download asks the server for the exact ones. Only UniProt publishes checksums beside its
files; Google's servers may state them with an answer; for all others they are unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from foldry.search.databases import FASTA, HHSUITE, MMSEQS

_GOOGLE: Final = "https://storage.googleapis.com/alphafold-databases"
_UNIPROT: Final = "https://ftp.ebi.ac.uk/pub/databases/uniprot"
_KNOWLEDGEBASE: Final = f"{_UNIPROT}/current_release/knowledgebase/complete"
_HHSUITE: Final = "https://wwwuser.gwdg.de/~compbiol/data/hhsuite/databases/hhsuite_dbs"
_COLABFOLD: Final = "https://opendata.mmseqs.org/colabfold"
_METALINK: Final = "RELEASE.metalink"
_GROWTH: Final = 4
"""How many times its published size a download may have."""


@dataclass(frozen=True)
class Part:
    """A file that is downloaded.

    Attributes:
        url: Its address.
        metalink: Address of the publisher's list of sizes and hashes; "" if there is none.
    """

    url: str
    metalink: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(self.url).name


@dataclass(frozen=True)
class Official:
    """A database that its publisher offers for download.

    Attributes:
        name: The name under which recipes search it.
        title: Its name for people.
        kind: Its kind, as in `foldry.search.databases`.
        path: The FASTA file, or what the names of the files of the other kinds have in common.
        parts: The files that are downloaded: archives, which the later ones complete or correct,
            or pieces of one FASTA file.
        size: Bytes to download, as published.
        ratio: Bytes on the disk for each byte downloaded.
        only: Word in the headers of the records that are kept; "" keeps all.
    """

    name: str
    title: str
    kind: str
    path: str
    parts: tuple[Part, ...]
    size: int
    ratio: float = 1.0
    only: str = ""

    @property
    def is_archived(self) -> bool:
        """Whether its files come in archives."""
        return self.kind != FASTA

    @property
    def is_as_published(self) -> bool:
        """Whether the downloaded file is the database; a FASTA file stays compressed."""
        return not self.is_archived and not self.only and len(self.parts) == 1

    @property
    def max_bytes(self) -> int:
        """The size above which a download of a part is refused."""
        return _GROWTH * self.size


def _gigabytes(number: float) -> int:
    return round(number * 10**9)


def _uniprot(url: str) -> Part:
    """Return a file of UniProt, whose folder has a list of sizes and hashes."""
    return Part(url, f"{url.rpartition('/')[0]}/{_METALINK}")


_ALPHAFOLD: Final = (
    Official(
        "uniref90",
        "UniRef90",
        FASTA,
        "uniref90.fasta.gz",
        (_uniprot(f"{_UNIPROT}/uniref/uniref90/uniref90.fasta.gz"),),
        _gigabytes(34),
    ),
    Official(
        "mgnify",
        "MGnify 2022_05",
        FASTA,
        "mgy_clusters_2022_05.fa.gz",
        (Part(f"{_GOOGLE}/v2.3/mgy_clusters_2022_05.fa.gz"),),
        _gigabytes(67),
    ),
    Official(
        "small_bfd",
        "small BFD",
        FASTA,
        "bfd-first_non_consensus_sequences.fasta.gz",
        (Part(f"{_GOOGLE}/reduced_dbs/bfd-first_non_consensus_sequences.fasta.gz"),),
        _gigabytes(9.6),
    ),
    Official(
        "bfd",
        "BFD",
        HHSUITE,
        "bfd_metaclust_clu_complete_id30_c90_final_seq.sorted_opt",
        (
            Part(
                f"{_GOOGLE}/casp14_versions/"
                "bfd_metaclust_clu_complete_id30_c90_final_seq.sorted_opt.tar.gz"
            ),
        ),
        _gigabytes(271.6),
        1800 / 271.6,
    ),
    Official(
        "uniref30",
        "UniRef30 2021_03",
        HHSUITE,
        "UniRef30_2021_03",
        (Part(f"{_GOOGLE}/v2.3/UniRef30_2021_03.tar.gz"),),
        _gigabytes(52.5),
        206 / 52.5,
    ),
    Official(
        "uniprot",
        "UniProt",
        FASTA,
        "uniprot.fasta.gz",
        (
            _uniprot(f"{_KNOWLEDGEBASE}/uniprot_trembl.fasta.gz"),
            _uniprot(f"{_KNOWLEDGEBASE}/uniprot_sprot.fasta.gz"),
        ),
        _gigabytes(53),
    ),
    Official(
        "pdb70",
        "PDB70 of 2020-04-01",
        HHSUITE,
        "pdb70",
        # AlphaFold's script has http; the server offers the same over https.
        (Part(f"{_HHSUITE}/old-releases/pdb70_from_mmcif_200401.tar.gz"),),
        _gigabytes(19.5),
        56 / 19.5,
    ),
    Official(
        "pdb_seqres",
        "PDB sequences",
        FASTA,
        "pdb_seqres.fasta",
        (Part("https://files.wwpdb.org/pub/pdb/derived_data/pdb_seqres.txt"),),
        _gigabytes(0.2),
        only="mol:protein",
    ),
)
# Built by ColabFold with MMseqs2 for CPUs and GPUs: they need no further step. Their publisher
# states no sizes but 940 GB for everything; those here are rounded up from others' reports.
_COLABFOLDS: Final = (
    Official(
        "colabfold_uniref30",
        "ColabFold's UniRef30 2302",
        MMSEQS,
        "uniref30_2302_db",
        (
            Part(f"{_COLABFOLD}/uniref30_2302.db.tar.gz"),
            Part(f"{_COLABFOLD}/uniref30_2302_newtaxonomy.tar.gz"),
        ),
        _gigabytes(109),
        2.5,
    ),
    Official(
        "colabfold_envdb",
        "ColabFold's environmental database 202108",
        MMSEQS,
        "colabfold_envdb_202108_db",
        (Part(f"{_COLABFOLD}/colabfold_envdb_202108.db.tar.gz"),),
        _gigabytes(129),
        2.5,
    ),
)
OFFICIAL: Final = {each.name: each for each in (*_ALPHAFOLD, *_COLABFOLDS)}
"""The databases by name."""

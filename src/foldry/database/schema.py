"""The tables of a database, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key(name: str = "key") -> Column[int]:
    """Return the column of a row's number, which the writer counts."""
    return Column(name, Integer, primary_key=True, autoincrement=False)


def _of(target: str, *, primary_key: bool = False) -> Column[int]:
    """Return a column that names a row of another table."""
    name = target.partition(".")[0]
    return Column(
        name, ForeignKey(target, ondelete="CASCADE"), nullable=False, primary_key=primary_key
    )


def _text(name: str, *, index: bool = False) -> Column[str]:
    return Column(name, Text, nullable=False, default="", index=index)


store: Final = Table(
    "store",
    metadata,
    _key(),  # the only row is 1
    Column("block", Integer, nullable=False),  # first seven digits of the ids it allots
    Column("counted", Integer, nullable=False),  # last nine digits of the latest id
    Column("last_entry", Integer, nullable=False),  # no number of an entry is used again
    Column("state", Integer, nullable=False),  # number of the latest change
    _text("provider"),
    _text("objects"),  # where the objects are; "" for the folder next to the tables
    Column("exact_pae", Boolean, nullable=False),
    _text("made"),
)

sequences: Final = Table(
    "sequences",
    metadata,
    _key(),
    _text("letters"),
    Column("length", Integer, nullable=False, index=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("md5", String(32), nullable=False, index=True),
    Column("crc64", String(16), nullable=False, index=True),
)

entries: Final = Table(
    "entries",
    metadata,
    _key(),
    Column("entry_id", String(40), nullable=False, unique=True),
    Column("identity", String(64), nullable=False, index=True),  # sequences, accession, tool …
    _text("accession", index=True),  # without the isoform
    Column("isoform", Integer, nullable=False, default=0),  # 0 for the canonical sequence
    Column("fragment", Integer, nullable=False, default=1),
    _text("name", index=True),
    _text("provider", index=True),
    _text("tool", index=True),
    Column("visibility", String(8), nullable=False, default="public"),  # or private
    Column("owner", Text),  # a user of the server
    _text("withdrawn"),
    _text("withdrawn_on"),
    _text("description"),
    _text("uniprot_id", index=True),
    _text("gene", index=True),
    _text("organism", index=True),
    Column("tax_id", Integer, index=True),
    Column("is_reviewed", Boolean),
    Column("is_reference_proteome", Boolean),
    _text("proteome", index=True),
    _text("sequence_version_date"),
    Column("facts", JSON, nullable=False),  # the fields of `Facts` that have no column
    # Of the chains and of the latest version, for filters.
    Column("num_chains", Integer, nullable=False),
    Column("num_residues", Integer, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("mean_plddt", Float, nullable=False, index=True),
    _text("created", index=True),
    Column("first_state", Integer, nullable=False, index=True),
    Column("state", Integer, nullable=False, index=True),
)

chains: Final = Table(
    "chains",
    metadata,
    _of("entries.key", primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("sequences", ForeignKey("sequences.key"), nullable=False, index=True),
    Column("ids", JSON, nullable=False),
    _text("description"),
    _text("accession", index=True),  # of the reference, without the isoform
    Column("reference", JSON),
    _text("letters_3di"),  # of the latest version, by `letters_3di.letters_of_records`
)

versions: Final = Table(
    "versions",
    metadata,
    _key(),
    _of("entries.key"),
    Column("number", Integer, nullable=False),
    Column("predecessor", Integer),  # the latest version before this one, if there was any
    _text("content_key", index=True),
    _text("created"),
    _text("published"),
    Column("state", Integer, nullable=False, index=True),
    _text("model_name"),
    _text("tool_version"),
    Column("mean_plddt", Float, nullable=False),
    Column("fractions", JSON, nullable=False),
    Column("scores", JSON, nullable=False),
    Column("has_pae", Boolean, nullable=False),
    Column("original", String(64), nullable=False, default=""),
    UniqueConstraint("entries", "number"),
    UniqueConstraint("entries", "content_key"),
    Index("ix_versions_original", "original"),
)

models: Final = Table(
    "models",
    metadata,
    _of("versions.key", primary_key=True),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False, index=True),
)

alignments: Final = Table(
    "alignments",
    metadata,
    _of("versions.key", primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False, index=True),
)

tags: Final = Table(
    "tags",
    metadata,
    _of("entries.key", primary_key=True),
    Column("tag", Text, primary_key=True),
    Index("ix_tags_tag", "tag"),
)

collections: Final = Table(
    "collections",
    metadata,
    _key(),
    Column("name", Text, nullable=False, unique=True),
    _text("title"),
    _text("description"),
    Column("subjects", JSON, nullable=False, default=list),  # subject areas
    Column("tags", JSON, nullable=False, default=list),
)

collected: Final = Table(
    "collected",
    metadata,
    _of("collections.key", primary_key=True),
    _of("entries.key", primary_key=True),
    Index("ix_collected_entries", "entries"),
)

regions: Final = Table(
    "regions",
    metadata,
    Column("identity", String(64), primary_key=True),  # hash of the other columns
    _text("subject", index=True),  # an accession or the id of an entry
    _text("type", index=True),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("value", Float),
    _text("unit"),
    _text("description"),
    _text("source"),
    _text("source_url"),
    _text("evidence"),
)

substitutions: Final = Table(
    "substitutions",
    metadata,
    Column("subject", Text, primary_key=True),
    _text("sequence"),
    Column("scores", LargeBinary, nullable=False),  # packed by `alphamissense.py`
)

changes: Final = Table(
    "changes",
    metadata,
    _key(),
    Column("state", Integer, nullable=False, index=True),
    _text("what"),  # published, withdrawn, restored, tagged, annotated, purged, merged
    Column("entry_id", String(40), nullable=False, default="", index=True),
    Column("version", Integer),
    Column("fingerprint", String(64)),  # of the best model of a purged version
    _text("reason"),
    _text("at"),
)

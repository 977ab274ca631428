"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def upgrade() -> None:
    """Make all tables."""
    _changes()
    _collections()
    _entries()
    _regions()
    _sequences()
    _store()
    _substitutions()
    _chains()
    _collected()
    _tags()
    _versions()
    _alignments()
    _models()
    _search_text()


def _changes() -> None:
    op.create_table(
        "changes",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_entry_id"), "changes", ["entry_id"], unique=False)
    op.create_index(op.f("ix_changes_state"), "changes", ["state"], unique=False)


def _collections() -> None:
    op.create_table(
        "collections",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("subjects", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_collections")),
        sa.UniqueConstraint("name", name=op.f("uq_collections_name")),
    )


def _entries() -> None:
    op.create_table(
        "entries",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.String(length=40), nullable=False),
        sa.Column("identity", sa.String(length=64), nullable=False),
        sa.Column("accession", sa.Text(), nullable=False),
        sa.Column("isoform", sa.Integer(), nullable=False),
        sa.Column("fragment", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("visibility", sa.String(length=8), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("withdrawn", sa.Text(), nullable=False),
        sa.Column("withdrawn_on", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("uniprot_id", sa.Text(), nullable=False),
        sa.Column("gene", sa.Text(), nullable=False),
        sa.Column("organism", sa.Text(), nullable=False),
        sa.Column("tax_id", sa.Integer(), nullable=True),
        sa.Column("is_reviewed", sa.Boolean(), nullable=True),
        sa.Column("is_reference_proteome", sa.Boolean(), nullable=True),
        sa.Column("proteome", sa.Text(), nullable=False),
        sa.Column("sequence_version_date", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("num_chains", sa.Integer(), nullable=False),
        sa.Column("num_residues", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("mean_plddt", sa.Float(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("first_state", sa.Integer(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_entries")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_entries_entry_id")),
    )
    op.create_index(op.f("ix_entries_accession"), "entries", ["accession"], unique=False)
    op.create_index(op.f("ix_entries_created"), "entries", ["created"], unique=False)
    op.create_index(op.f("ix_entries_first_state"), "entries", ["first_state"], unique=False)
    op.create_index(op.f("ix_entries_gene"), "entries", ["gene"], unique=False)
    op.create_index(op.f("ix_entries_identity"), "entries", ["identity"], unique=False)
    op.create_index(op.f("ix_entries_mean_plddt"), "entries", ["mean_plddt"], unique=False)
    op.create_index(op.f("ix_entries_name"), "entries", ["name"], unique=False)
    op.create_index(op.f("ix_entries_num_residues"), "entries", ["num_residues"], unique=False)
    op.create_index(op.f("ix_entries_organism"), "entries", ["organism"], unique=False)
    op.create_index(op.f("ix_entries_proteome"), "entries", ["proteome"], unique=False)
    op.create_index(op.f("ix_entries_provider"), "entries", ["provider"], unique=False)
    op.create_index(op.f("ix_entries_state"), "entries", ["state"], unique=False)
    op.create_index(op.f("ix_entries_tax_id"), "entries", ["tax_id"], unique=False)
    op.create_index(op.f("ix_entries_tool"), "entries", ["tool"], unique=False)
    op.create_index(op.f("ix_entries_uniprot_id"), "entries", ["uniprot_id"], unique=False)


def _regions() -> None:
    op.create_table(
        "regions",
        sa.Column("identity", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_url", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_regions")),
    )
    op.create_index(op.f("ix_regions_subject"), "regions", ["subject"], unique=False)
    op.create_index(op.f("ix_regions_type"), "regions", ["type"], unique=False)


def _sequences() -> None:
    op.create_table(
        "sequences",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("letters", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("crc64", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sequences")),
        sa.UniqueConstraint("sha256", name=op.f("uq_sequences_sha256")),
    )
    op.create_index(op.f("ix_sequences_crc64"), "sequences", ["crc64"], unique=False)
    op.create_index(op.f("ix_sequences_length"), "sequences", ["length"], unique=False)
    op.create_index(op.f("ix_sequences_md5"), "sequences", ["md5"], unique=False)


def _store() -> None:
    op.create_table(
        "store",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Integer(), nullable=False),
        sa.Column("last_entry", sa.Integer(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("objects", sa.Text(), nullable=False),
        sa.Column("exact_pae", sa.Boolean(), nullable=False),
        sa.Column("made", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_store")),
    )


def _substitutions() -> None:
    op.create_table(
        "substitutions",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Text(), nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_substitutions")),
    )


def _chains() -> None:
    op.create_table(
        "chains",
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequences", sa.Integer(), nullable=False),
        sa.Column("ids", sa.JSON(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("accession", sa.Text(), nullable=False),
        sa.Column("reference", sa.JSON(), nullable=True),
        sa.Column("letters_3di", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entries"], ["entries.key"], name=op.f("fk_chains_entries"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["sequences"], ["sequences.key"], name=op.f("fk_chains_sequences")),
        sa.PrimaryKeyConstraint("entries", "place", name=op.f("pk_chains")),
    )
    op.create_index(op.f("ix_chains_accession"), "chains", ["accession"], unique=False)
    op.create_index(op.f("ix_chains_sequences"), "chains", ["sequences"], unique=False)


def _collected() -> None:
    op.create_table(
        "collected",
        sa.Column("collections", sa.Integer(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collections"],
            ["collections.key"],
            name=op.f("fk_collected_collections"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["entries"], ["entries.key"], name=op.f("fk_collected_entries"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collections", "entries", name=op.f("pk_collected")),
    )
    op.create_index("ix_collected_entries", "collected", ["entries"], unique=False)


def _tags() -> None:
    op.create_table(
        "tags",
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entries"], ["entries.key"], name=op.f("fk_tags_entries"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("entries", "tag", name=op.f("pk_tags")),
    )
    op.create_index("ix_tags_tag", "tags", ["tag"], unique=False)


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("predecessor", sa.Integer(), nullable=True),
        sa.Column("content_key", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("published", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("tool_version", sa.Text(), nullable=False),
        sa.Column("mean_plddt", sa.Float(), nullable=False),
        sa.Column("fractions", sa.JSON(), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("has_pae", sa.Boolean(), nullable=False),
        sa.Column("original", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["entries"], ["entries.key"], name=op.f("fk_versions_entries"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_versions")),
        sa.UniqueConstraint("entries", "content_key", name=op.f("uq_versions_entries_content_key")),
        sa.UniqueConstraint("entries", "number", name=op.f("uq_versions_entries_number")),
    )
    op.create_index(op.f("ix_versions_content_key"), "versions", ["content_key"], unique=False)
    op.create_index("ix_versions_original", "versions", ["original"], unique=False)
    op.create_index(op.f("ix_versions_state"), "versions", ["state"], unique=False)


def _alignments() -> None:
    op.create_table(
        "alignments",
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["versions"], ["versions.key"], name=op.f("fk_alignments_versions"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("versions", "place", name=op.f("pk_alignments")),
    )
    op.create_index(op.f("ix_alignments_digest"), "alignments", ["digest"], unique=False)


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["versions"], ["versions.key"], name=op.f("fk_models_versions"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("versions", "rank", name=op.f("pk_models")),
    )
    op.create_index(op.f("ix_models_digest"), "models", ["digest"], unique=False)


def _search_text() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE search_text USING fts5(entry_id, accession, names, gene, "
            "description, organism, keywords, tags"
            ", tokenize = 'porter unicode61')"
        )
    else:
        op.execute(
            "CREATE TABLE search_text (rowid INTEGER PRIMARY KEY, document TSVECTOR NOT NULL)"
        )
        op.execute("CREATE INDEX ix_search_text ON search_text USING gin (document)")

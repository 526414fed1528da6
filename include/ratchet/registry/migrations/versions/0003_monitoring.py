"""Looks and incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "looks",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("segment", sa.String(300), primary_key=True),
        sa.Column("partition", sa.String(32), primary_key=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
    )
    op.create_index("looks_by_model_key", "looks", ["model", "segment", "started_at"])
    op.create_table(
        "incidents",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("segment", sa.String(300), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.Column("state", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    for name in ("incidents", "looks"):
        op.drop_table(name)

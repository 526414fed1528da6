"""Hand-overs, online histories and API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "rollouts",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("segment", sa.String(300), primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "histories",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("segment", sa.String(300), primary_key=True),
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("definition", sa.String(64), nullable=False),
        sa.Column("known_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("rows", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("name", sa.String(250), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    for name in ("api_keys", "histories", "rollouts"):
        op.drop_table(name)

"""Looks by partition: those of all segments of a model are read at once."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.create_index("looks_by_start", "looks", ["model", "started_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("looks_by_start", "looks")

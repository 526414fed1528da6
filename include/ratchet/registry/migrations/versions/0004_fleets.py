"""The ledger by model and kind: what is asked of all segments at once."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.create_index("ledger_by_kind", "ledger", ["model", "kind", "id"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ledger_by_kind", "ledger")

"""What a list of many models shows of the newest look at each, beside the whole of it. Older looks have none."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    op.add_column("looks", sa.Column("summary", sa.JSON))


def downgrade() -> None:
    """Take back."""
    op.drop_column("looks", "summary")

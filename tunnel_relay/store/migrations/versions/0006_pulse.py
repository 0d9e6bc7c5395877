"""One row that is written again and again: proof that the database takes changes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table and its row."""
    pulse = op.create_table(
        "pulse",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("beats", sa.Integer, nullable=False),
    )
    op.bulk_insert(pulse, [{"id": 1, "beats": 0}])

"""Which session began which MCP task."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table of tasks."""
    op.create_table(
        "tasks",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column(
            "session",
            sa.String(32),
            sa.ForeignKey("sessions.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_index("ix_tasks_session", "tasks", ["session"])

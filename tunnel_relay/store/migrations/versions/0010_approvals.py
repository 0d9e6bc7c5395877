"""What agents asked humans for, and what those said."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table of approvals."""
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("session", sa.String(32), nullable=False),
        sa.Column("fingerprint", sa.String(8), nullable=False),
        sa.Column("user", sa.String(512), nullable=False),
        sa.Column("agent", sa.String(512), nullable=False),
        sa.Column("tunnel", sa.String(63), nullable=False),
        sa.Column("upstream", sa.String(63), nullable=False),
        sa.Column("tool", sa.String(256), nullable=False),
        sa.Column("tool_class", sa.String(32), nullable=False),
        sa.Column("definition", sa.String(64), nullable=False),
        sa.Column("arguments", sa.String(64), nullable=False),
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(256), nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("users", sa.JSON, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("not_requester", sa.Boolean, nullable=False),
        sa.Column("keys", sa.JSON, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("voices", sa.JSON, nullable=False),
        sa.Column("decided", sa.Float, nullable=True),
        sa.Column("decided_by", sa.String(512), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("consumed", sa.Float, nullable=True),
        sa.Column("arguments_text", sa.Text, nullable=True),
        sa.Column("definition_text", sa.Text, nullable=True),
    )
    op.create_index("ix_approvals_session", "approvals", ["session"])

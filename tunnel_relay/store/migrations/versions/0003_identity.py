"""Users, agents, tokens; where a session came from and how often it was used."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make three tables and widen the sessions."""
    for column in (
        sa.Column("door", sa.String(16), nullable=False, server_default="token"),
        sa.Column("classes", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("granted_by", sa.String(512), nullable=False, server_default=""),
        sa.Column("calls", sa.Integer, nullable=False, server_default="0"),
    ):
        op.add_column("sessions", column)
    op.create_table(
        "tokens",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column(
            "session",
            sa.String(32),
            sa.ForeignKey("sessions.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("used", sa.Float, nullable=True),
    )
    op.create_index("ix_tokens_session", "tokens", ["session"])
    op.create_table(
        "users",
        sa.Column("key", sa.String(512), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("servers", sa.JSON, nullable=False),
        sa.Column("password", sa.String(255), nullable=True),
        sa.Column("disabled", sa.Float, nullable=True),
        sa.Column("last_login", sa.Float, nullable=True),
    )
    op.create_table(
        "agents",
        sa.Column("id", sa.String(512), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("redirect_uris", sa.JSON, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("secret", sa.LargeBinary(32), nullable=True),
        sa.Column("disabled", sa.Float, nullable=True),
    )

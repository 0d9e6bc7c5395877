"""Tunnels, instances, join codes, sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _tunnel() -> sa.Column[str]:
    key = sa.ForeignKey("tunnels.name", ondelete="CASCADE")
    return sa.Column("tunnel", sa.String(63), key, nullable=False)


def upgrade() -> None:
    """Make the first four tables."""
    op.create_table(
        "tunnels",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
    )
    op.create_table(
        "instances",
        sa.Column("id", sa.String(32), primary_key=True),
        _tunnel(),
        sa.Column("public_key", sa.LargeBinary(32), nullable=False),
        sa.Column("counter", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("locked", sa.String(255), nullable=True),
        sa.Column("host", sa.String(255), nullable=False),
    )
    op.create_table(
        "join_codes",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        _tunnel(),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("used", sa.Float, nullable=True),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("agent", sa.String(255), nullable=False),
        _tunnel(),
        sa.Column("upstream", sa.String(63), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("idle", sa.Float, nullable=False),
        sa.Column("last_used", sa.Float, nullable=False),
        sa.Column("revoked", sa.Float, nullable=True),
        sa.Column("reason", sa.String(255), nullable=True),
    )
    for table in ("instances", "join_codes", "sessions"):
        op.create_index(f"ix_{table}_tunnel", table, ["tunnel"])

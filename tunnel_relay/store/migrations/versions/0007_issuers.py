"""When an issuer last spoke of a user, and what revoked sessions of its tokens leave behind."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column and make the table of bars."""
    op.add_column("users", sa.Column("as_of", sa.Float, nullable=True))
    op.create_table(
        "bars",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("agent", sa.String(255), nullable=False),
        sa.Column(
            "tunnel",
            sa.String(63),
            sa.ForeignKey("tunnels.name", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("upstream", sa.String(63), nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
    )

"""Which refresh token each token was got for, so that a lost answer can be asked for again."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column; tokens from before have no known origin."""
    op.add_column("tokens", sa.Column("parent", sa.LargeBinary(32), nullable=True))

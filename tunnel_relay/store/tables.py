"""The tables as SQLAlchemy Core sees them; the migrations make them, a test compares the two."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()


def _tunnel() -> Column[str]:
    key = ForeignKey("tunnels.name", ondelete="CASCADE")
    return Column("tunnel", String(63), key, nullable=False)


TUNNELS = Table(
    "tunnels",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("created", Float, nullable=False),
    Column("disabled", Boolean, nullable=False),
)

INSTANCES = Table(
    "instances",
    METADATA,
    Column("id", String(32), primary_key=True),
    _tunnel(),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("counter", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("locked", String(255), nullable=True),
    Column("host", String(255), nullable=False),
    Index("ix_instances_tunnel", "tunnel"),
)

JOIN_CODES = Table(
    "join_codes",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    _tunnel(),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("used", Float, nullable=True),
    Index("ix_join_codes_tunnel", "tunnel"),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("user", String(255), nullable=False),
    Column("agent", String(255), nullable=False),
    _tunnel(),
    Column("upstream", String(63), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("idle", Float, nullable=False),
    Column("last_used", Float, nullable=False),
    Column("revoked", Float, nullable=True),
    Column("reason", String(255), nullable=True),
    Column("door", String(16), nullable=False, server_default="token"),
    Column("classes", JSON, nullable=False, server_default="[]"),
    Column("granted_by", String(512), nullable=False, server_default=""),
    Column("calls", Integer, nullable=False, server_default="0"),
    Index("ix_sessions_tunnel", "tunnel"),
)

TOKENS = Table(
    "tokens",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("session", String(32), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("used", Float, nullable=True),
    Column("parent", LargeBinary(32), nullable=True),
    Index("ix_tokens_session", "session"),
)

TASKS = Table(
    "tasks",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("session", String(32), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("created", Float, nullable=False),
    Index("ix_tasks_session", "session"),
)

USERS = Table(
    "users",
    METADATA,
    Column("key", String(512), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("created", Float, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("groups", JSON, nullable=False),
    Column("servers", JSON, nullable=False),
    Column("password", String(255), nullable=True),
    Column("disabled", Float, nullable=True),
    Column("last_login", Float, nullable=True),
    Column("as_of", Float, nullable=True),
)

AGENTS = Table(
    "agents",
    METADATA,
    Column("id", String(512), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("redirect_uris", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("secret", LargeBinary(32), nullable=True),
    Column("disabled", Float, nullable=True),
)

ADMIN_TOKENS = Table(
    "admin_tokens",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("user", String(512), nullable=False),
    Column("name", String(255), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
)

PULSE = Table(
    "pulse",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("beats", Integer, nullable=False),
)

BARS = Table(
    "bars",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("user", String(255), nullable=False),
    Column("agent", String(255), nullable=False),
    _tunnel(),
    Column("upstream", String(63), nullable=False),
    Column("since", Float, nullable=False),
    Column("reason", String(255), nullable=False),
)

LOCKS = Table(
    "locks",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("reason", String(255), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=True),
)

APPROVALS = Table(
    "approvals",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("session", String(32), nullable=False),
    Column("fingerprint", String(8), nullable=False),
    Column("user", String(512), nullable=False),
    Column("agent", String(512), nullable=False),
    Column("tunnel", String(63), nullable=False),
    Column("upstream", String(63), nullable=False),
    Column("tool", String(256), nullable=False),
    Column("tool_class", String(32), nullable=False),
    Column("definition", String(64), nullable=False),
    Column("arguments", String(64), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("rule", String(256), nullable=False),
    Column("groups", JSON, nullable=False),
    Column("users", JSON, nullable=False),
    Column("count", Integer, nullable=False),
    Column("not_requester", Boolean, nullable=False),
    Column("keys", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("voices", JSON, nullable=False),
    Column("decided", Float, nullable=True),
    Column("decided_by", String(512), nullable=False),
    Column("reason", String(255), nullable=False),
    Column("consumed", Float, nullable=True),
    Column("arguments_text", Text, nullable=True),
    Column("definition_text", Text, nullable=True),
    Index("ix_approvals_session", "session"),
)

PASSKEYS = Table(
    "passkeys",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("user", String(512), nullable=False),
    Column("credential", String(1400), nullable=False),
    Column("key", String(512), nullable=False),
    Column("name", String(255), nullable=False),
    Column("added", Float, nullable=False),
    Column("last_used", Float, nullable=True),
)
MARKS = Table(
    "marks",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", Float, nullable=False),
)

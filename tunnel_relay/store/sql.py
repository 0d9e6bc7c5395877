"""The store on SQL: SQLAlchemy Core over SQLite in WAL mode."""

from tunnel_relay.store.sql_approvals import SqlApprovals
from tunnel_relay.store.sql_passkeys import SqlPasskeys
from tunnel_relay.store.sql_people import SqlPeople
from tunnel_relay.store.sql_sessions import SqlSessions
from tunnel_relay.store.sql_tasks import SqlTasks
from tunnel_relay.store.sql_tunnels import SqlTunnels


class SqlStore(SqlTunnels, SqlSessions, SqlTasks, SqlPeople, SqlApprovals, SqlPasskeys):
    """Implements `tunnel_relay.store.base.Store`; made by `open`, ended by `close`."""

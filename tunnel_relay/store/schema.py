"""Brings a database to the newest tables, from inside the program: no alembic.ini needed."""

import pkgutil

from sqlalchemy import Connection, inspect, text

from tunnel_relay.store.base import StoreError
from tunnel_relay.store.migrations import versions


def steps() -> list[str]:
    """Return the steps of the tables this program knows, the oldest first."""
    # Their files begin with their numbers.
    found = pkgutil.iter_modules(versions.__path__)
    return sorted(each.name.partition("_")[0] for each in found)


def upgrade(connection: Connection) -> None:
    """Run the steps that are missing, in the transaction of `connection`.

    Raises StoreError when a newer program made the database.
    """
    if _at(connection) == steps()[-1]:
        return
    # Most starts find nothing to do, and what does it takes as long to import as all the rest.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", "tunnel_relay.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"{type(error).__name__}: {error}") from None


def _at(connection: Connection) -> str | None:
    """Return the step a database is at, None before the first."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)

"""Brings a database to the newest tables, from inside the program: no alembic.ini needed."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Run the steps that are missing, in the transaction of `connection`.

    Raises alembic's CommandError when a newer program made the database.
    """
    config = Config()
    config.set_main_option("script_location", "tunnel_relay.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

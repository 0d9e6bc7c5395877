"""Alembic's entry: runs the steps over the connection it is given, in one transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite can roll back DDL; a crash half way must leave the old tables.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

"""The steps; alembic follows their `down_revision`."""

"""What docs/operations.md says of settings and error codes is what the code does."""

import pytest
from pydantic import BaseModel

from tests.helpers.doc_tables import DOCUMENT, field_notes, settings_table, written
from tunnel_client.settings import ClientSettings
from tunnel_relay.settings import Settings


def test_the_tables_are_up_to_date() -> None:
    document = DOCUMENT.read_text()
    assert document == written(document), "run: python -m tests.helpers.doc_tables"


def test_a_missing_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="no markers for relay settings"):
        written("# nothing to replace here")


def test_the_string_under_a_field_is_its_note() -> None:
    class Model(BaseModel):
        """A model."""

        explained: int = 1
        """What it is
        in two lines."""
        silent: int = 2

    assert field_notes(Model) == {"explained": "What it is in two lines."}


@pytest.mark.parametrize("model", [Settings, ClientSettings])
def test_a_table_has_a_row_for_every_key_and_section(model: type[BaseModel]) -> None:
    table = settings_table(model)
    for name in model.model_fields:
        assert f"| `{name}` |" in table

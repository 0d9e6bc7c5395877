"""The examples of docs/audit-export.md hold, for both programs, and name every kind of sink."""

import re
import tomllib
from pathlib import Path

import pytest

from shared.audit.export.settings import ExportSettings
from shared.audit.settings import AuditSettings
from shared.record.export.names import FORMATS

TEXT = (Path(__file__).parents[2] / "docs" / "audit-export.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_configuration(example: str) -> None:
    audit = AuditSettings.model_validate(tomllib.loads(example)["audit"])
    assert len(audit.export) == 1


def test_every_kind_of_sink_has_an_example() -> None:
    given = [tomllib.loads(example)["audit"]["export"][0] for example in EXAMPLES]
    schemes = {ExportSettings.model_validate(each).target.scheme for each in given}
    assert schemes == {"file", "https", "syslog+tls", "otlp+https"}


def test_every_format_has_its_row() -> None:
    assert {name for name in FORMATS if f"| `{name}` |" in TEXT} == set(FORMATS)

"""`[audit]`: what the client writes down, where, and how much of it in clear."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.audit.export.settings import Exports
from shared.configfile import ConfigModel
from shared.policy.classes import ToolClass

FOLDER = "audit"
_CLASSES = frozenset(one.value for one in ToolClass)


def _of_what(key: str) -> str:
    upstream, slash, tool = key.partition("/")
    if key not in _CLASSES and not (slash and upstream and tool):
        raise ValueError("give a class (read, draft, ...) or UPSTREAM/TOOL")
    return key


OfWhat = Annotated[str, AfterValidator(_of_what)]
FieldName = Annotated[str, Field(min_length=1, max_length=256)]


class AuditSettings(ConfigModel):
    """The log of what happened here. A change of these is itself the last record before it."""

    on: bool = True
    """`false` writes nothing down; the log says so last, and `status` as long as it lasts."""
    folder: Path | None = None
    """Where the log is; left out: `audit` in the state folder. Mode 0700."""
    reads_without: bool = False
    """May agents read while the log cannot be written? What changes something never may."""
    clear: dict[OfWhat, list[FieldName]] = Field(default_factory=dict)
    """Arguments written as they are, by class or UPSTREAM/TOOL; of others a keyed tag."""
    segment_mib: Annotated[int, Field(ge=1, le=1024)] = 64
    """A file of the log is closed when it is this large."""
    segment_hours: Annotated[int, Field(ge=1, le=8760)] = 24
    """And when it is this old."""
    keep_days: Annotated[int, Field(ge=1, le=36_500)] = 400
    """How long nobody may remove a closed file; nothing is removed by itself."""
    export: Exports = Field(default_factory=list)
    """Copies that go elsewhere."""

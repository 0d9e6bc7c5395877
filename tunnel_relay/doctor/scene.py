"""What the checks of one `doctor` share."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunnel_relay.errors import RelayError
from tunnel_relay.settings import Settings


@dataclass
class Scene:
    """One run. `running` is what a running relay says of itself; `now` the wall clock.

    `unanswered` is why nothing is known of one that has the state.
    """

    config: Path
    environ: Mapping[str, str]
    settings: Settings
    running: Mapping[str, Any] | None = None
    now: Callable[[], float] = time.time
    unanswered: RelayError | None = None
    facts: dict[str, Any] = field(default_factory=dict)

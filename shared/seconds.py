"""Numbers of seconds on the command line."""

import math
from typing import Any

import click


class Seconds(click.FloatRange):
    """Seconds between two bounds; click takes what is no number for one between any two."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return found

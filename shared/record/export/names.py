"""The formats by name: for whoever only has to list them, as a command's help does."""

from typing import Literal, get_args

Format = Literal["jsonl", "ocsf", "ecs", "cef", "otlp", "otlp-metrics"]
FORMATS: tuple[Format, ...] = get_args(Format)

"""Where the configuration points to secrets."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, SecretStr

from shared.configfile import SecretRef


def references(value: Any) -> Iterator[SecretRef]:
    """Yield every `env:`, `file:` and `credential:` below a value of the configuration."""
    if isinstance(value, SecretRef):
        yield value
    elif isinstance(value, SecretStr):
        with suppress(ValueError):  # it is plain text
            yield SecretRef.parse(value.get_secret_value())
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from references(getattr(value, name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from references(each)
    elif isinstance(reference := getattr(value, "reference", None), SecretRef):
        yield reference

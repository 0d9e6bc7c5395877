"""How far an export is, in words: apart, because commands that show it load nothing else of it."""

from collections.abc import Mapping
from typing import Any

from shared.escape import one_line


def in_words(export: Mapping[str, Any]) -> str:
    """Return how far an export is, on one line for people; what is wrong is loud."""
    text = f"{export['name']} ({export['format']}) to {export['to']}: "
    if export["problem"]:
        text += f"DOES NOT GO OUT, {export['behind']} records wait: {export['problem']}"
    else:
        text += f"{export['behind']} records wait" if export["behind"] else "all of it"
    if export["missed"]:
        text += f"; {export['missed']} WERE REMOVED BEFORE"
    return one_line(text, 300)

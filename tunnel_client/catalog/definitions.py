"""What an upstream lists: tools, prompts, resources, and the one digest each of them has. Pure."""

import hashlib
import json
import secrets
from collections import OrderedDict
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from shared.jsonrpc.canonical import canonical, digest
from tunnel_client.credentials.scrub import MASK

MAX_NAME = 1024
"""Longest name or URI that is kept; what is longer is not listed at all."""
_CACHED_CHARACTERS = 32 * 1024 * 1024
_MASK = MASK.decode()
_DECIMAL = secrets.token_hex(16)
"""Marks a decimal in a cache key; random, so that no server can write an object that looks so."""


class Kind(StrEnum):
    """What can be listed, and so pinned; the words of `pins.json`."""

    TOOL = "tools"
    PROMPT = "prompts"
    RESOURCE = "resources"
    """Resources and their templates; the name is the URI, or the template of one."""
    INSTRUCTIONS = "instructions"
    """What a server tells the model about itself; there is one, and its name is `instructions`."""


NAME_KEYS = {Kind.TOOL: ("name",), Kind.PROMPT: ("name",), Kind.RESOURCE: ("uri", "uriTemplate")}
INSTRUCTIONS_NAME = "instructions"


class Item(NamedTuple):
    """One thing an upstream lists; `definition` is its whole entry in canonical form."""

    kind: Kind
    name: str
    definition: str
    sha256: str
    title: str = ""
    """What people are shown beside the name; cut, and not escaped."""

    def value(self) -> dict[str, Any]:
        """Return the entry as an object again."""
        return dict(json.loads(self.definition))

    @property
    def leaks(self) -> bool:
        """Tell whether a credential was taken out of it on its way to us."""
        return leaks(self.definition)


def leaks(definition: str) -> bool:
    """Tell whether a credential stood in a definition: answers are scrubbed before they are read.

    A server that writes the mask itself has nobody to thank for what follows.
    """
    return _MASK in definition


def entry_leaks(entry: object) -> bool:
    """Tell the same of an entry of a list as it passes; costs one pass of the C encoder."""
    try:
        return leaks(_ENCODE(entry))
    except (ValueError, TypeError, RecursionError):
        return True  # what cannot be read through is not shown


def name_of(kind: Kind, entry: object) -> str | None:
    """Return what an entry of a list is called, None when it is not called anything usable."""
    if type(entry) is not dict:
        return None
    found = [entry[key] for key in NAME_KEYS.get(kind, ()) if key in entry]
    if len(found) != 1 or type(found[0]) is not str or not 0 < len(found[0]) <= MAX_NAME:
        return None
    return found[0]


def item_of(kind: Kind, entry: object) -> Item | None:
    """Return an entry of a list as an item; None for what has no name or no canonical form.

    Read the list with `canonical.exact`, so that its numbers are what the server wrote.
    """
    name = name_of(kind, entry)
    if name is None:
        return None
    try:
        text = canonical(entry)
        return Item(kind, name, text.decode(), _sha256(text), _title(entry))
    except (ValueError, RecursionError):
        return None


def instructions_item(text: str) -> Item | None:
    """Return a server's `instructions` as an item; None for what is not Unicode."""
    entry = {"instructions": text}
    try:
        definition = canonical(entry)
    except ValueError:
        return None
    return Item(Kind.INSTRUCTIONS, INSTRUCTIONS_NAME, definition.decode(), _sha256(definition))


def _sha256(definition: bytes) -> str:
    return hashlib.sha256(definition).hexdigest()


def _title(entry: Any) -> str:
    notes = entry.get("annotations")
    titles = (entry.get("title"), notes.get("title") if isinstance(notes, dict) else None)
    return next((each[:200] for each in titles if isinstance(each, str) and each), "")


class Digests:
    """Digests of list entries; a list that comes again costs one pass of the C encoder.

    The key is the entry's text with the order of its members, so two that look alike to Python
    (1, 1.0 and True) have keys of their own.
    """

    def __init__(self, limit: int = _CACHED_CHARACTERS) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()
        self._room = self._limit = limit

    def learn(self, spelling: str, sha256: str) -> None:
        """Keep a digest that was taken elsewhere, of an entry that `spelling` gave the text of."""
        if spelling not in self._known:
            self._keep(spelling, sha256)

    def of(self, entry: object, longest: int | None = None) -> str | None:
        """Return the SHA-256 of an entry's canonical form; None for what has none.

        None too for an entry of more than `longest` characters, which then costs little.
        """
        try:
            text = spelling(entry)
            if longest is not None and len(text) > longest:
                return None
            found = self._known.get(text)
            if found is None:
                found = digest(entry)
                self._keep(text, found)
        except (ValueError, TypeError, RecursionError):
            return None
        return found

    def _keep(self, text: str, found: str) -> None:
        if len(text) > self._limit // 16:
            return
        self._known[text] = found
        self._room -= len(text)
        while self._room < 0:
            dropped, _ = self._known.popitem(last=False)
            self._room += len(dropped)


def _marked(value: object) -> dict[str, str]:
    if isinstance(value, Decimal):
        return {_DECIMAL: str(value)}
    raise TypeError


spelling = json.JSONEncoder(check_circular=False, default=_marked).encode
"""An entry's text as it came, the key of its digest; raises ValueError, TypeError, RecursionError.

Of this process only.
"""
_ENCODE = json.JSONEncoder(check_circular=False, default=str).encode

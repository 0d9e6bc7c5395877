"""One strict reading of a JSON-RPC message, so that both ends and the upstream see one meaning.

A parser differential is how a call gets past a policy: two readers of the same bytes take two
different tool names from it. So whatever readers are known to disagree about is refused here, and
what passes is forwarded as the original bytes.
"""

import json
from enum import StrEnum
from math import isfinite
from types import NoneType
from typing import Any, NamedTuple, TypeGuard

import jiter

from shared.errors import PeerError
from shared.jsonrpc.reserved import MAX_TRACE, meta_fault, trace_fault

MAX_DEPTH = 64
MAX_ID_BYTES = 256

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022

MODERN = "2026-07-28"
"""The first revision without `initialize`, where every request names its version in `_meta`."""

META_PREFIX = "io.modelcontextprotocol/"
VERSION_KEY = META_PREFIX + "protocolVersion"
CAPABILITIES_KEY = META_PREFIX + "clientCapabilities"

NAME_KEYS = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
    "tasks/result": "taskId",
}
"""Which member of `params` names what a request acts on."""

_TOP = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_PARAMS = frozenset(
    {
        *("_meta", "name", "arguments", "uri", "taskId", "cursor", "task"),
        *("inputResponses", "requestState", "protocolVersion", "capabilities", "clientInfo"),
        *("level", "ref", "argument", "context", "notifications"),
        *("requestId", "reason", "progressToken", "progress", "total", "message"),
    }
)
_META = frozenset(
    {
        *(META_PREFIX + key for key in ("clientInfo", "logLevel", "subscriptionId", "serverInfo")),
        *(VERSION_KEY, CAPABILITIES_KEY, "progressToken"),
    }
)
# Trace context is not among those whose case is guarded: a header library may capitalise it.
_TRACE = frozenset(MAX_TRACE)
_KNOWN_META = _META | _TRACE
_FOLDED_TOP = {key.casefold(): key for key in _TOP}
_FOLDED_PARAMS = {key.casefold(): key for key in _PARAMS}
_FOLDED_META = {key.casefold(): key for key in _META}
# No two of these fold together, so an object made of them alone needs no second look.
_COMMON = _TOP | _PARAMS | _KNOWN_META | {"version", "title", "description", "type", "text"}
_OBJECTS = ("arguments", "argument", "ref")
"""Members of `params` that rules ask about; some upstreams would take a text for an object."""
_OBJECT_OR_NULL = frozenset({dict, NoneType})
_SCALARS = frozenset({str, int, bool, NoneType})
_LOOK_CLOSER = frozenset({dict, list, float})
_LONG_LIST = 32
_ID_LIMIT = 10**MAX_ID_BYTES
_ONE_OF = "a message has either a method, or a result, or an error"


class Kind(StrEnum):
    """What a message is."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


_REQUEST, _NOTIFICATION = Kind.REQUEST, Kind.NOTIFICATION


class EnvelopeError(PeerError):
    """A message that is not forwarded, with the answer the agent gets.

    `id` is what to echo, None when the message gave no valid one; `status` is the HTTP status;
    `data` goes into the JSON-RPC error object. `message` never repeats what the agent sent.
    """

    def __init__(
        self,
        code: int,
        message: str,
        id: str | int | None = None,  # noqa: A002 - the word JSON-RPC has for it
        status: int = 400,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id
        self.status = status
        self.data = data

    def body(self) -> bytes:
        """Return the JSON-RPC error response to send; empty with status 202, which has none."""
        if self.status == 202:
            return b""
        return error_body(self.id, self.code, self.message, self.data)


class Envelope(NamedTuple):
    """What a message says of itself; `document` is the whole of it, not to be changed.

    A tuple because a frozen dataclass costs three times as much to make, once a call at each end.

    `name` is what the request acts on (`NAME_KEYS`) when it is a string. `version` is the protocol
    version in `params._meta` when it is a string.
    """

    kind: Kind
    id: str | int | None
    method: str | None
    params: dict[str, Any] | None
    name: str | None
    version: str | None
    document: dict[str, Any]

    @property
    def is_modern(self) -> bool:
        """Tell whether the message itself claims the modern era (2026-07-28 or later)."""
        return self.version is not None and self.version >= MODERN


def parse(body: bytes) -> Envelope:
    """Read one JSON-RPC message; total: any bytes end in an Envelope or an EnvelopeError.

    Members of the top level, of `params` and of `_meta` that nobody knows are let through: no
    revision forbids them, no decision reads them, and a later revision may define them. A member
    that is a known one but for its case is refused, because some readers would take it for that.
    """
    try:
        # Values stay out of the parser's cache: it would keep secrets of one agent around.
        document = jiter.from_json(
            body, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True
        )
    except ValueError:
        raise EnvelopeError(PARSE_ERROR, "Parse error: not strict JSON") from None
    if type(document) is not dict:
        raise EnvelopeError(INVALID_REQUEST, "Body must be a single JSON-RPC message object")
    try:
        return _read(document, body)
    except _RefusedError as refused:
        raise _answer(document, body, refused) from None


def error_body(
    id: str | int | None,  # noqa: A002 - the word JSON-RPC has for it
    code: int,
    message: str,
    data: dict[str, Any] | None = None,
) -> bytes:
    """Write a JSON-RPC 2.0 error response (section 5.1); `id` None becomes `null`."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    answer = {"jsonrpc": "2.0", "id": id, "error": error}
    return json.dumps(answer, separators=(",", ":")).encode()


class _RefusedError(Exception):
    """Why a document is refused, before it is known what to echo.

    `settled` says that no fault of syntax further in changes the answer.
    """

    def __init__(self, code: int, message: str, settled: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.settled = settled


def _answer(document: dict[str, Any], body: bytes, refused: _RefusedError) -> EnvelopeError:
    """Make the error to raise: a fault of syntax anywhere goes before one of shape."""
    if refused.code == INVALID_REQUEST and not refused.settled:
        try:
            _check_tree(document, 1)
        except _RefusedError as deeper:
            refused = deeper
    identity = document.get("id")
    if not _is_id(identity) or (identity == 0 and _is_minus_zero(body)):
        identity = None
    return EnvelopeError(refused.code, str(refused), identity)


def _read(document: dict[str, Any], body: bytes) -> Envelope:
    """Check the top level; raises _RefusedError."""
    if not document.keys() <= _TOP:
        _check_case(document, _FOLDED_TOP)
        _check_tree(document, 1)
    if document.get("jsonrpc") != "2.0":
        raise _RefusedError(INVALID_REQUEST, 'jsonrpc must be "2.0"')
    identity = document.get("id")
    if "id" in document and not (_is_id(identity) and (identity != 0 or not _is_minus_zero(body))):
        raise _RefusedError(INVALID_REQUEST, "id must be a string or an integer, 256 bytes at most")
    if "method" in document:
        return _call(document, identity)
    return _response(document, identity)


def _call(document: dict[str, Any], identity: str | int | None) -> Envelope:
    """Check what a request or a notification adds."""
    method = document["method"]
    if type(method) is not str:
        raise _RefusedError(INVALID_REQUEST, "method must be a string")
    if "result" in document or "error" in document:
        raise _RefusedError(INVALID_REQUEST, _ONE_OF)
    kind = _REQUEST if "id" in document else _NOTIFICATION
    if "params" not in document:
        return Envelope(kind, identity, method, None, None, None, document)
    params = document["params"]
    if type(params) is not dict:
        raise _RefusedError(INVALID_REQUEST, "params must be an object")
    if not params.keys() <= _PARAMS:
        _check_case(params, _FOLDED_PARAMS)
    _check_objects(params)
    version = None
    meta = params.get("_meta")
    if type(meta) is dict:
        if not meta.keys() <= _KNOWN_META:
            _check_case(meta, _FOLDED_META)
            _refuse(meta_fault(meta))
        elif not _TRACE.isdisjoint(meta):
            _refuse(trace_fault(meta))
        version = meta.get(VERSION_KEY)
        if type(version) is not str:
            version = None
    _check_tree(params, 2)
    key = NAME_KEYS.get(method)
    name = None if key is None else params.get(key)
    if type(name) is not str:
        name = None
    return Envelope(kind, identity, method, params, name, version, document)


def _response(document: dict[str, Any], identity: str | int | None) -> Envelope:
    """Check a response: only a legacy agent sends one, to a request of the upstream."""
    has_result = "result" in document
    if has_result == ("error" in document) or "params" in document:
        raise _RefusedError(INVALID_REQUEST, _ONE_OF)
    if has_result and "id" not in document:
        raise _RefusedError(INVALID_REQUEST, "a result needs an id")
    content = document["result" if has_result else "error"]
    if type(content) is not dict:
        raise _RefusedError(INVALID_REQUEST, "result and error must be objects")
    meta = content.get("_meta")
    if type(meta) is dict:
        _refuse(meta_fault(meta))
    _check_tree(content, 2)
    return Envelope(Kind.RESPONSE, identity, None, None, None, None, document)


def _is_id(identity: object) -> TypeGuard[str | int]:
    if type(identity) is int:
        return bool(-_ID_LIMIT < identity < _ID_LIMIT)
    if type(identity) is not str or len(identity) > MAX_ID_BYTES:
        return False
    return len(identity.encode()) <= MAX_ID_BYTES


def _is_minus_zero(body: bytes) -> bool:
    """Tell whether the id of a message, known to be 0, was written as -0.

    Some languages read that as a float, and each echoes it in its own way.
    """
    return b"-0" in body and bool(json.loads(body, parse_int=str)["id"] == "-0")


def _check_case(members: dict[str, Any], folded: dict[str, str]) -> None:
    """Refuse members that differ from known ones only by case or Unicode folding."""
    for key in members:
        if folded.get(key.casefold(), key) != key:
            message = "a member is a known one but for its case"
            raise _RefusedError(INVALID_REQUEST, message, settled=True)


def _check_objects(params: dict[str, Any]) -> None:
    for key in _OBJECTS:
        if key in params and type(params[key]) not in _OBJECT_OR_NULL:
            raise _RefusedError(INVALID_PARAMS, f"{key} must be an object")


def _refuse(fault: str | None) -> None:
    """Refuse a message for what is wrong with its `_meta`, if anything is."""
    if fault is not None:
        raise _RefusedError(INVALID_PARAMS, fault)


def _check_tree(node: Any, depth: int) -> None:
    """Refuse what the parser lets through at any depth: too deep, infinite, keys that fold.

    Two keys of one object that are equal once folded are duplicates to readers that ignore case.
    """
    if depth > MAX_DEPTH:
        raise _RefusedError(PARSE_ERROR, "Parse error: nested too deeply")
    values = node
    if type(node) is dict:
        if not node.keys() <= _COMMON:
            if len({*map(str.casefold, node)}) != len(node):
                raise _RefusedError(PARSE_ERROR, "Parse error: duplicate keys but for case")
            if "__proto__" in node:  # copied in JavaScript, its members become the object's
                raise _RefusedError(INVALID_REQUEST, "a member is called __proto__")
        values = node.values()
    elif len(node) > _LONG_LIST and {*map(type, node)} <= _SCALARS:
        return
    for value in values:
        if type(value) in _LOOK_CLOSER:
            if type(value) is float:
                if not isfinite(value):
                    raise _RefusedError(PARSE_ERROR, "Parse error: number out of range")
            elif value or depth == MAX_DEPTH:  # an empty one is common, and a call is not free
                _check_tree(value, depth + 1)

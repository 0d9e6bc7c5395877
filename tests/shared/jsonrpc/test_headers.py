"""Header = body, and the same verdict as a conforming server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request

from shared.jsonrpc.envelope import EnvelopeError, parse
from shared.jsonrpc.headers import (
    check_modern_meta,
    check_routing,
    check_version,
    read_routing,
)
from tests.shared.jsonrpc.messages import META, VERSION, encode, modern, request

Lines = list[tuple[bytes, bytes]]


def lines(
    version: str | None = VERSION, method: str | None = None, name: str | None = None
) -> Lines:
    given = [("mcp-protocol-version", version), ("mcp-method", method), ("mcp-name", name)]
    return [(key.encode(), value.encode("latin-1")) for key, value in given if value is not None]


CALL = modern(name="read", arguments={})
GOOD = lines(method="tools/call", name="read")


def code_of(document: dict[str, Any], headers: Lines) -> int | None:
    try:
        check_routing(parse(encode(document)), read_routing(headers))
    except EnvelopeError as error:
        assert (error.status, error.id) == (400, document.get("id"))  # noqa: PT017 - in every case
        return error.code
    return None


def test_a_call_whose_headers_say_the_same_passes() -> None:
    headers = [(b"accept", b"*/*"), *GOOD, (b"mcp-param-region", b"eu")]
    assert code_of(CALL, headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        lines(method="tools/list", name="read"),  # H08
        lines(method="tools/call", name="delete"),  # H09
        lines(method="TOOLS/CALL", name="read"),
        lines(method="tools/call", name="Read"),
        lines(method="tools/call"),
        lines(name="read"),
        lines(),
        lines(None, "tools/call", "read"),  # H12: the version dropped, or an old one
        lines("2025-11-25", "tools/call", "read"),
        lines("1999-01-01", "tools/call", "read"),
        lines("", "tools/call", "read"),
        lines(method="tools/call", name="=?base64?cmVhZA?="),  # H11
        lines(method="tools/call", name="=?base64?ZGVsZXRl?="),
        *([*GOOD, line] for line in GOOD),
        [*GOOD, (b"mcp-name", b"delete")],
    ],
)
def test_a_difference_is_refused(headers: Lines) -> None:
    assert code_of(CALL, headers) == -32020


@pytest.mark.parametrize(
    ("document", "headers"),
    [
        (CALL, lines(method="tools/call", name="  read\t")),
        (CALL, lines(method="tools/call", name="=?base64?cmVhZA==?=")),
        (modern(name="lés"), lines(method="tools/call", name="lés")),
        (modern(name="日本"), lines(method="tools/call", name="=?base64?5pel5pys?=")),
        (
            modern("resources/read", uri="file:///x"),
            lines(method="resources/read", name="file:///x"),
        ),
        (modern("prompts/get", name="p"), lines(method="prompts/get", name="p")),
        (modern("tools/list"), lines(method="tools/list", name="whatever")),
        (modern("tools/call"), lines(method="tools/call")),
        (modern("tasks/get", taskId="t"), lines(method="tasks/get")),
        (modern("tasks/get", taskId="t"), lines(method="tasks/get", name="t")),
    ],
)
def test_what_a_server_accepts_passes(document: dict[str, Any], headers: Lines) -> None:
    assert code_of(document, headers) is None


def test_a_task_id_in_the_header_must_be_the_right_one() -> None:
    assert code_of(modern("tasks/get", taskId="t"), lines(method="tasks/get", name="u")) == -32020


@pytest.mark.parametrize(
    "meta", [None, [], {}, {"progressToken": 1}, {k: META[k] for k in list(META)[:1]}]
)
@pytest.mark.parametrize("headers", [GOOD, lines(), []])
def test_too_little_in_meta_is_left_to_the_upstream(meta: object, headers: Lines) -> None:
    document = request(name="read", _meta=meta)
    envelope = parse(encode(document))
    assert code_of(document, headers) is None
    with pytest.raises(EnvelopeError) as caught:
        check_modern_meta(envelope)
    assert (caught.value.code, caught.value.status, caught.value.id) == (-32602, 400, 7)


def test_too_little_in_meta_and_a_difference_is_answered_as_the_upstream_would() -> None:
    document = request(name="read", _meta={})
    assert code_of(document, lines(method="tools/call", name="delete")) == -32602


@pytest.mark.parametrize("version", [None, "2025-03-26", "2025-06-18", "2025-11-25"])
class TestLegacy:
    """The legacy era has no routing headers; what an agent sends of them must still be right."""

    def test_none_are_needed(self, version: str | None) -> None:
        assert code_of(request(name="read"), lines(version)) is None
        assert code_of(request("initialize", protocolVersion="2025-11-25"), lines(version)) is None

    def test_right_ones_pass(self, version: str | None) -> None:
        assert code_of(request(name="read"), lines(version, "tools/call", "read")) is None

    def test_wrong_ones_are_refused(self, version: str | None) -> None:
        assert code_of(request(name="read"), lines(version, "tools/list")) == -32020
        assert code_of(request(name="read"), lines(version, "tools/call", "delete")) == -32020


def test_notifications_need_no_headers_but_none_may_be_wrong() -> None:
    document = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    assert code_of(document, lines()) is None
    assert code_of(document, lines(method="notifications/cancelled")) is None
    assert code_of(document, lines(method="tools/call")) == -32020


def test_responses_have_nothing_to_compare() -> None:
    assert code_of({"jsonrpc": "2.0", "id": 1, "result": {}}, lines("2025-11-25")) is None


def test_a_version_that_is_not_served_is_named_with_those_that_are() -> None:
    document = modern("tools/list")
    check_version(parse(encode(document)), [VERSION])
    document["params"]["_meta"] = {**META, "io.modelcontextprotocol/protocolVersion": "v999.0.0"}
    with pytest.raises(EnvelopeError) as caught:
        check_version(parse(encode(document)), [VERSION])
    assert (caught.value.code, caught.value.status, caught.value.id) == (-32022, 400, 7)
    assert caught.value.data == {"supported": [VERSION], "requested": "v999.0.0"}


def test_a_version_that_is_no_string_is_a_bad_parameter() -> None:
    meta = {**META, "io.modelcontextprotocol/protocolVersion": 1}
    with pytest.raises(EnvelopeError) as caught:
        check_version(parse(encode(request("tools/list", _meta=meta))), [VERSION])
    assert caught.value.code == -32602


VALUES = st.sampled_from(["read", "delete", "", "=?base64?cmVhZA==?=", "=?base64?cmVhZA?=", "é"])
METHODS = st.sampled_from(["tools/call", "tools/list", "prompts/get", "resources/read"])
VERSIONS = st.sampled_from([VERSION, "2099-01-01", "v999"])


@given(
    method=METHODS,
    params=st.fixed_dictionaries({}, optional={"name": VALUES | st.just(5), "uri": VALUES}),
    meta=st.fixed_dictionaries(
        {},
        optional={
            "io.modelcontextprotocol/protocolVersion": VERSIONS | st.just(1),
            "io.modelcontextprotocol/clientCapabilities": st.just({}),
        },
    ),
    version=VERSIONS,
    method_header=st.none() | METHODS,
    name_header=st.none() | VALUES,
)
def test_the_whole_ladder_answers_as_a_modern_server_does(
    method: str,
    params: dict[str, Any],
    meta: dict[str, Any],
    version: str,
    method_header: str | None,
    name_header: str | None,
) -> None:
    document = request(method, **params, _meta=meta)
    headers = lines(version, method_header, name_header)
    server = classify_inbound_request(
        document, headers={key.decode(): value.decode("latin-1") for key, value in headers}
    )
    expected = server.code if isinstance(server, InboundLadderRejection) else None
    envelope = parse(encode(document))
    alone = code_of(document, headers)
    assert alone in {None, expected}
    try:
        check_modern_meta(envelope)
        check_routing(envelope, read_routing(headers))
        check_version(envelope, [VERSION])
        found = None
    except EnvelopeError as error:
        found = error.code
    assert found == expected

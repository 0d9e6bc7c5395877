"""What is proposed for a tool; a person confirms it (P12)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.policy.classes import IN_ORDER, ToolClass
from tunnel_client.catalog.propose import propose


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("list_tickets", ToolClass.READ),
        ("getUserById", ToolClass.READ),
        ("search-issues", ToolClass.READ),
        ("get_order", ToolClass.READ),
        ("list_roles", ToolClass.READ),
        ("git_diff", ToolClass.READ),
        ("get_current_time", ToolClass.READ),
        ("convert_time", ToolClass.READ),
        ("read_and_forward", ToolClass.EXTERNAL_SEND),
        ("create_draft", ToolClass.DRAFT),
        ("draft_email", ToolClass.DRAFT),
        ("send_draft", ToolClass.EXTERNAL_SEND),
        ("delete_draft", ToolClass.ADMIN),
        ("open_ticket", ToolClass.WRITE),
        ("git_commit", ToolClass.WRITE),
        ("updateRecord", ToolClass.WRITE),
        ("frobnicate", ToolClass.WRITE),
        ("mail_send", ToolClass.EXTERNAL_SEND),
        ("post_message", ToolClass.EXTERNAL_SEND),
        ("pay_invoice", ToolClass.EXTERNAL_SEND),
        ("delete_user", ToolClass.ADMIN),
        ("DROP_TABLE", ToolClass.ADMIN),
        ("query_delete", ToolClass.ADMIN),
        ("grant_role", ToolClass.ADMIN),
        ("", ToolClass.WRITE),
        (None, ToolClass.WRITE),
    ],
)
def test_a_name_proposes_a_class(name: Any, wanted: ToolClass) -> None:
    assert propose({"name": name}) is wanted


@given(
    st.sampled_from(["list_x", "delete_x", "send_x", "create_draft", "zzz", "create_x"]),
    st.dictionaries(
        st.sampled_from(["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]),
        st.booleans() | st.integers() | st.text(),
    ),
)
def test_what_a_server_says_never_makes_it_lighter(name: str, hints: dict[str, Any]) -> None:
    """P12: `readOnlyHint` on a delete tool changes nothing."""
    plain, hinted = propose({"name": name}), propose({"name": name, "annotations": hints})
    assert IN_ORDER.index(hinted) >= IN_ORDER.index(plain)


def test_a_reader_that_says_it_destroys_is_not_proposed_as_one() -> None:
    assert propose({"name": "get_x", "annotations": {"destructiveHint": True}}) is ToolClass.WRITE
    assert propose({"name": "get_x", "annotations": {"readOnlyHint": False}}) is ToolClass.WRITE
    assert propose({"name": "get_x", "annotations": [1]}) is ToolClass.READ

import json
from pathlib import Path

from tests.peers.cell import cancel_was_heard


def written(folder: Path, *messages: dict[str, object]) -> Path:
    path = folder / "messages"
    path.write_text("".join(json.dumps(message) + "\n" for message in messages), encoding="utf-8")
    return path


def test_a_cancel_of_the_tools_own_call_was_heard(tmp_path: Path) -> None:
    messages = written(
        tmp_path,
        {"method": "tools/call", "id": 3, "tool": "slow"},
        {"method": "notifications/cancelled", "id": 3},
    )
    assert cancel_was_heard(messages, "slow")


def test_a_cancel_of_another_call_is_not_ours(tmp_path: Path) -> None:
    messages = written(
        tmp_path,
        {"method": "tools/call", "id": 3, "tool": "slow"},
        {"method": "tools/call", "id": 4, "tool": "quick"},
        {"method": "notifications/cancelled", "id": 4},
    )
    assert not cancel_was_heard(messages, "slow")


def test_an_id_as_text_is_not_the_number(tmp_path: Path) -> None:
    messages = written(
        tmp_path,
        {"method": "tools/call", "id": 3, "tool": "slow"},
        {"method": "notifications/cancelled", "id": "3"},
    )
    assert not cancel_was_heard(messages, "slow")

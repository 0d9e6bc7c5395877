"""The commands of the first page still lead to an answer, behind a proxy with a login."""

import os
import subprocess

import pytest

from tests.helpers.tunnel import BIN
from tests.system.first_call import AS_SOMEBODY, LOGIN, first_call, newcomer, transcript

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio,
    pytest.mark.skipif(
        os.geteuid() == 0 and subprocess.call([*AS_SOMEBODY, "true"]) != 0,
        reason="root cannot be somebody else here: no user namespaces",
    ),
]


async def test_a_newcomer_gets_an_answer_with_the_commands_of_the_page() -> None:
    async with newcomer(f"{BIN}:/usr/local/bin:/usr/bin:/bin") as somebody:
        answer = await first_call(somebody)
        assert "Printer on floor 3" in answer
        page = transcript(somebody.steps)
    assert "16 checks passed" in page
    assert "CONNECT relay.example.com:443" in page
    assert LOGIN not in page

"""P28 at a terminal: all of it, and no byte that a terminal would obey."""

from pathlib import Path

from tests.tunnel_relay.approvals.scene import an_office, listed
from tunnel_relay.approvals.signing import check
from tunnel_relay.render_approvals import approval, approvals, to_sign


async def test_nothing_is_hidden_or_left_out(tmp_path: Path) -> None:
    arguments = {f"f{number}": number for number in range(500)} | {
        "bcc": "eve@example.com",
        "to": "\u202emoc.elpmaxe@a\x1b[2J\x9b2J",
        "long": "y" * 5000 + "END",
    }
    async with an_office(tmp_path) as office:
        asked = await office.ask({"arguments": arguments}, tool="send\u200b")
        found = await office.run("pia", "approval_show", approval=asked.id)
        for text in (approval(found), to_sign(check(found))):
            assert '"bcc": "eve@example.com"' in text
            assert '"\\u202emoc.elpmaxe@a\\u001b[2J\\u009b2J"' in text
            assert 'yyyEND"' in text
            assert "<- 5003 characters" in text
            assert "send\\u200b" in text
            assert not {"\u202e", "\x1b", "\x9b", "\u200b"} & set(text)
        assert "send\\u200b" in approvals(await listed(office, "pia"))
        await office.approve("pia", asked, reason="all read")
        found = await office.run("pia", "approval_show", approval=asked.id)
        assert "all read" in approval(found)
        # What `session show` takes.
        assert f"session      {found['session'][:12]}\n" in approval(found)

"""P28 at a terminal: all of it, and no byte that a terminal would obey."""

from pathlib import Path

from tests.tunnel_relay.approvals.scene import an_office, given_params, listed
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


async def test_what_is_over_does_not_end_in_the_future(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:

        async def ends() -> set[str]:
            rows = await listed(office, "pia", every=True)
            said = [line.split("\t")[-1] for line in approvals(rows).splitlines()[1:]]
            return {"in" if each.startswith("in ") else each.split()[-1] for each in said}

        asked = await office.ask(ttl=600.0)
        assert await ends() == {"in"}
        await office.run("pia", "approval_deny", approval=asked.id, reason="no")
        assert await ends() == {"ago"}
        await office.ask(given_params(), ttl=600.0)
        await office.run("ada", "session_revoke", session=office.session.id)
        assert await ends() == {"ago", "-"}
        (shown,) = [each for each in await listed(office, "pia", every=True) if not each["decided"]]
        found = await office.run("pia", "approval_show", approval=shown["id"])
        assert "ends         -\n" in approval(found)

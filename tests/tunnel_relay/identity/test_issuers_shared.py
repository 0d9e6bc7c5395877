"""What all tokens of issuers share, one address cannot use up."""

from pathlib import Path

from tests.tunnel_relay.identity.key_host import key_host
from tests.tunnel_relay.identity.test_issuers import GIT, a_stage
from tunnel_relay.identity.issuers import No, Waits


async def test_d19_one_address_does_not_use_up_the_checks_of_all(tmp_path: Path) -> None:
    """A token for any server is signed well wherever it is brought, servers that are none too."""
    async with key_host() as host:
        host.be_issuer()
        async with a_stage(tmp_path, host, audience="mcp") as stage:
            good = stage.token(aud="mcp")
            places = (f"office/made-up-{number}" for number in range(3000))
            flooded = [stage.issuers.judge(good, place, "192.0.2.66", 0) for place in places]
            assert flooded[-1] is No.LATER
            assert isinstance(stage.issuers.judge(good, GIT, "192.0.2.1", 0), Waits)

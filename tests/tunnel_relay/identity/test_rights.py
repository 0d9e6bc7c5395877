"""What groups give."""

from pathlib import Path

from tunnel_relay.identity.rights import NOTHING, Rights, Rules
from tunnel_relay.settings import Settings
from tunnel_relay.settings_issuers import AllowRule, IssuerSettings, OidcSettings
from tunnel_relay.store.base import Role

ISSUER, BARE = "https://idp.example.com", "https://bare.example.com"
OPS = AllowRule(group="ops", servers=("office/*",), roles=(Role.AUDITOR,))


def rules(oidc: OidcSettings | None = None) -> Rules:
    issuer = IssuerSettings(url=ISSUER, servers=("office/wiki",), allow=[OPS])
    return Rules(
        Settings(
            public_url=("https://relay.example.com",),
            state_dir=Path("/var/lib/x"),
            issuer=[issuer, IssuerSettings(url=BARE)],
            oidc=oidc,
        )
    )


def test_groups_give_what_is_written_down_and_nothing_else() -> None:
    assert rules().rights(ISSUER, ()) == Rights((), ("office/wiki",), (Role.USER,))
    assert rules().rights(ISSUER, ("dev", "ops")) == Rights(
        ("ops", "dev"), ("office/*", "office/wiki"), (Role.USER, Role.AUDITOR)
    )


def test_an_unknown_issuer_gives_nothing_and_one_without_rules_leaves_it_to_admins() -> None:
    unknown = rules().rights("https://evil.example", ("ops",))
    assert unknown == NOTHING
    assert not unknown
    assert rules().rights(BARE, ("ops",)) is None


def test_the_door_makes_no_difference() -> None:
    """One issuer in two sections: both rules hold, whichever token was seen last."""
    more = AllowRule(group="ops", roles=(Role.ADMIN,))
    both = rules(OidcSettings(issuer=ISSUER, client_id="relay", allow=[more]))
    found = both.rights(ISSUER, ("ops",))
    assert found
    assert Role.ADMIN in found.roles
    assert "office/*" in found.servers

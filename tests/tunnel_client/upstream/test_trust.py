"""The environment adds no authority, and the check of certificates is always on."""

import ssl
from pathlib import Path

import pytest

from tests.helpers.tls import Authority
from tests.tunnel_client.upstream.http_support import OK, ask, pool, raw_server, says
from tunnel_client.upstream.http_target import target_from
from tunnel_client.upstream.trust import trusting


async def test_an_authority_planted_in_the_environment_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows R12 and R14."""
    authority = Authority()
    ca = authority.write(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    async with raw_server(says(OK), tls=authority.server("localhost")) as server:
        url = f"https://localhost:{server.port}/mcp"
        async with pool(target_from(url)) as upstream:
            assert (await ask(upstream)).failure is not None
        assert server.seen == []
        async with pool(target_from(url, ca)) as upstream:
            assert (await ask(upstream)).status == 200


@pytest.mark.parametrize("given", [True, False])
def test_certificate_and_name_are_checked(tmp_path: Path, given: bool) -> None:
    ca = Authority().write(tmp_path / "ca.pem") if given else None
    context = trusting(ca)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    if given:
        assert len(context.get_ca_certs()) == 1


def test_a_system_without_authorities_trusts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile="/none", openssl_capath="/none")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    context = trusting(None)
    assert context.get_ca_certs() == []
    assert context.verify_mode is ssl.CERT_REQUIRED

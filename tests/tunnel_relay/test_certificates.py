"""A certificate that is renewed while a listener serves: new connections see it, old ones go on."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from tests.helpers.tls import changing
from tests.tunnel_relay.making import make_relay
from tunnel_relay.certificates import Certificates
from tunnel_relay.settings import Settings, Tls


class Files:
    """A listener's certificate and key as they lie on the disk."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.tls = Tls(cert_file=folder / "cert.pem", key_file=folder / "key.pem")

    def renew(self, name: str, kind: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
        """Write a certificate for `localhost` that says whose it is."""
        made = self.ca.issue_cert("localhost", common_name=name, key_type=kind)
        self.tls.cert_file.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        self.tls.key_file.write_bytes(made.private_key_pem.bytes())
        self.tls.key_file.chmod(0o600)

    def contents(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (self.tls.cert_file, self.tls.key_file)}

    def settings(self, folder: Path) -> Settings:
        return make_relay(folder).model_copy(update={"tls": self.tls, "admin": None})


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.renew("first")
    return made


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echoing(certificates: Certificates, tls: Tls) -> AsyncIterator[int]:
    """Serve echo with the context that a listener gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    factory = certificates.factory(tls)
    assert factory is not None
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=factory())
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def connected(files: Files, port: int, *, named: bool = True) -> AsyncIterator[Pair]:
    """Connect as an agent, with the server's name in the handshake or without."""
    trust = ssl.create_default_context()
    files.ca.configure_trust(trust)
    trust.check_hostname = named
    host = "localhost" if named else ""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trust, server_hostname=host
    )
    yield reader, writer
    writer.close()
    await writer.wait_closed()


def whose(pair: Pair) -> str:
    shown = pair[1].get_extra_info("peercert")["subject"]
    return str(dict(part[0] for part in shown)["commonName"])


async def says(pair: Pair) -> bytes:
    pair[1].write(b"still here\n")
    return await asyncio.wait_for(pair[0].readline(), 10)


@pytest.mark.parametrize("kind", [trustme.KeyType.ECDSA, trustme.KeyType.RSA])
@pytest.mark.parametrize("named", [True, False])
async def test_who_connects_next_gets_the_new_one(
    tmp_path: Path, files: Files, kind: trustme.KeyType, named: bool
) -> None:
    certificates = Certificates(files.settings(tmp_path))
    async with (
        echoing(certificates, files.tls) as port,
        connected(files, port, named=named) as before,
    ):
        files.renew("second", kind)
        async with connected(files, port, named=named) as unheard:
            assert whose(unheard) == "first", "nobody said so yet"
        assert certificates.read_again()
        async with connected(files, port, named=named) as after:
            assert (whose(before), whose(after)) == ("first", "second")
            assert await says(before) == await says(after) == b"still here\n"


async def test_files_that_do_not_fit_leave_the_one_before(tmp_path: Path, files: Files) -> None:
    certificates = Certificates(files.settings(tmp_path))
    good = files.tls.key_file.read_bytes()
    async with echoing(certificates, files.tls) as port:
        files.renew("second")
        files.tls.key_file.write_bytes(good)
        with capture_logs() as lines:
            assert not certificates.read_again()
        assert [(line["event"], line["code"]) for line in lines] == [
            ("certificate_unusable", "MT1004")
        ]
        async with connected(files, port) as pair:
            assert whose(pair) == "first"


async def test_files_that_change_while_they_are_read_change_nothing(
    tmp_path: Path, files: Files
) -> None:
    certificates = Certificates(files.settings(tmp_path))
    first = files.contents()
    files.renew("second")
    with changing(first, files.contents()), capture_logs():
        good = [certificates.read_again() for _ in range(500)]
    assert False in good, "they did change while one was read"
    async with echoing(certificates, files.tls) as port, connected(files, port) as pair:
        assert await says(pair) == b"still here\n"


@pytest.mark.parametrize("error", [OSError("gone"), ssl.SSLError("odd"), ValueError("no PEM")])
async def test_whatever_goes_wrong_the_one_before_stays_and_others_are_read(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    certificates = Certificates(files.settings(tmp_path))

    def breaks(_: Tls) -> ssl.SSLContext:
        raise error

    async with echoing(certificates, files.tls) as port:
        with monkeypatch.context() as patch, capture_logs() as lines:
            patch.setattr("tunnel_relay.certificates.check_tls", breaks)
            assert not certificates.read_again()
        assert [line["code"] for line in lines] == ["MT1004"]
        async with connected(files, port) as pair:
            assert whose(pair) == "first"


def test_a_listener_without_tls_has_none(tmp_path: Path) -> None:
    settings = make_relay(tmp_path).model_copy(update={"tls": None})
    assert Certificates(settings).factory(settings.tls) is None

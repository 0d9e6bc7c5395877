"""What goes over sockets: listeners, the public URL, issuers, systemd's socket."""

import asyncio
import shutil
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from shared.checkup import SkippedError
from tunnel_relay.doctor.findings import Finding, FoundError
from tunnel_relay.doctor.scene import Scene
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.identity.fetching import Fetcher, FetchError
from tunnel_relay.identity.providers import metadata_urls
from tunnel_relay.setting_types import is_loopback
from tunnel_relay.settings import AdminListen, LinksListen, Listen

_UNITS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
_SOCKET = "tunnel-relay.socket"
_BODY = 64 * 1024


async def running(scene: Scene) -> str:
    """Say whether a relay runs with this state: then its listeners are its own.

    One that has the state and does not answer is a fault.
    """
    if scene.unanswered is not None:
        raise scene.unanswered
    if scene.running is None:
        raise SkippedError("none runs with this state", "tunnel-relay serve")
    links = len(scene.running.get("links", ()))
    return f"version {scene.running.get('version')}, {links} links"


async def listeners(scene: Scene) -> str:
    """Is each port bound by the running relay, or free to be bound?"""
    settings = scene.settings
    places: list[Listen | LinksListen | AdminListen] = [settings.listen]
    places += [each for each in (settings.links, settings.admin) if each is not None]
    said = []
    for place in places:
        if place.port == 0:
            said.append(f"{place.host}: a free port at each start")
        elif scene.running is not None:
            await _answers(place.host, place.port)
            said.append(f"{place.host}:{place.port} is the relay's")
        elif await _held(scene, place.port):
            said.append(f"{place.host}:{place.port} is held by systemd for the relay")
        else:
            _free(place.host, place.port)
            said.append(f"{place.host}:{place.port} is free")
    return ", ".join(said)


async def _held(scene: Scene, port: int) -> bool:
    """Tell whether the socket unit listens at a port now, which nobody else could then."""
    systemctl = shutil.which("systemctl", path=scene.environ.get("PATH"))
    try:
        ports = [_port(each) for each in _listen_streams()[1]]
    except OSError:
        return False
    if systemctl is None or str(port) not in ports:
        return False
    # Its own words are for people; without a running systemd it fails as it does for a dead unit.
    asked = [systemctl, "is-active", "--quiet", _SOCKET]
    return (await anyio.run_process(asked, check=False)).returncode == 0


def _listen_streams() -> tuple[Path | None, list[str]]:
    """Return the socket unit that is installed, and where it listens; raises OSError."""
    unit = next((each / _SOCKET for each in _UNITS if (each / _SOCKET).exists()), None)
    lines = [] if unit is None else unit.read_text(errors="replace").splitlines()
    return unit, [
        line.partition("=")[2].strip() for line in lines if line.startswith("ListenStream=")
    ]


def _port(stream: str) -> str:
    return stream.rpartition(":")[2]


async def _answers(host: str, port: int) -> None:
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, anywhere.get(host, host), port
        )
    except OSError as error:
        raise FoundError(
            Finding.PORT, f"the relay runs, but {host}:{port} takes no connection: {error.strerror}"
        ) from None
    transport.abort()


def _free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the relay binds it: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise FoundError(
                Finding.PORT, f"{host}:{port} cannot be bound: {error.strerror}"
            ) from None


async def admin(scene: Scene) -> str:
    """Is the admin listener where a network cannot reach it?"""
    place = scene.settings.admin
    if place is None:
        raise SkippedError("there is none")
    if is_loopback(place.host):
        return f"on loopback, port {place.port}"
    if place.tls is None:
        raise FoundError(Finding.EXPOSED, f"{place.host}:{place.port} without TLS")
    return f"OPEN TO A NETWORK at {place.host}:{place.port}, by TLS"


async def balancer(scene: Scene) -> str:
    """Are agents told apart by address, when somebody in front ends their TLS?"""
    settings = scene.settings
    if settings.trusted_proxies:
        return (
            f"forwarded addresses are believed of {', '.join(map(str, settings.trusted_proxies))}"
        )
    # Plain HTTP is spoken on loopback alone then, and https there comes from elsewhere.
    if settings.tls is not None or not settings.public_url[0].startswith("https:"):
        raise SkippedError("none that ends TLS")
    return (
        "ALL AGENTS HAVE THE BALANCER'S ADDRESS, and one that guesses shuts out all: name it in "
        "trusted_proxies, if it sets X-Forwarded-For"
    )


async def public_url(scene: Scene) -> str:
    """Do agents' requests to the public URL come here?"""
    if scene.running is None:
        raise SkippedError("no relay runs", "tunnel-relay serve")
    origin = scene.settings.public_url[0]
    authority = scene.settings.dev_authority
    trust = await anyio.to_thread.run_sync(_trust, authority, abandon_on_cancel=True)
    try:
        async with (
            httpx2.AsyncClient(verify=trust, trust_env=False, timeout=4.0) as http,
            http.stream("GET", f"{origin}/readyz") as answer,
        ):
            body = b""
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > _BODY:
                    break
            status = answer.status_code
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
        raise FoundError(Finding.NOT_REACHABLE, f"{origin} from here: {_why(error)}") from None
    if status == 503 and b'"ready":false' in body.replace(b" ", b""):
        raise FoundError(Finding.NOT_READY, body.decode("utf-8", "replace"))
    if status != 200 or b'"ready"' not in body:
        raise FoundError(Finding.NOT_REACHABLE, f"{origin}/readyz answers {status}, not as a relay")
    return f"{origin} answers as a relay"


def _trust(authority: Path | None) -> ssl.SSLContext:
    trust = ssl.create_default_context()
    if authority is not None:
        trust.load_verify_locations(cafile=authority)
    return trust


def _why(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return f"no address for {urlsplit(str(getattr(error, 'request', ''))).hostname or 'it'}"
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


async def issuers(scene: Scene) -> str:
    """Does each issuer tell its metadata?"""
    settings = scene.settings
    asked = [(each.url, each.ca_file) for each in settings.issuer if each.jwks_url is None]
    if settings.oidc is not None:
        asked.append((settings.oidc.issuer, settings.oidc.ca_file))
    if not asked:
        raise SkippedError("none is configured that tells metadata")
    for url, ca_file in asked:
        await _described(url, Fetcher(ca_file))
    return f"{len(asked)} tell their metadata"


async def _described(issuer: str, fetcher: Fetcher) -> None:
    why = "nothing"
    for url in metadata_urls(issuer):
        try:
            found = await fetcher.get(url)
        except FetchError as error:
            why = str(error)
            continue
        if found.get("issuer") == issuer:
            return
        why = "its metadata names another issuer"
    raise RelayError(Code.ISSUER_UNREACHABLE, f"{issuer}: {why}")


async def systemd(scene: Scene) -> str:
    """Is there a socket of systemd's for the relay?"""
    try:
        unit, streams = _listen_streams()
    except OSError as error:
        raise SkippedError(f"{_SOCKET} cannot be read: {error.strerror}") from None
    if unit is None:
        raise SkippedError(f"no {_SOCKET} is installed")
    wanted = str(scene.settings.listen.port)
    if not any(_port(each) == wanted for each in streams):
        raise FoundError(
            Finding.PORT, f"{unit} listens at {', '.join(streams)}, and the relay at {wanted}"
        )
    return f"{unit} listens at {', '.join(streams)}"

"""How clients get in: once with a join code, then with their key and a counter that only grows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from shared.audit.events import note
from shared.errors import CloseCode
from shared.ids import fingerprint, is_name, is_token, token_digest
from shared.keys import BadKeyError, decode_public, encode_public, key_fingerprint
from tunnel_relay.admin.checks import host_text, is_instance
from tunnel_relay.admin.links import Links
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.locks import LockTable
from tunnel_relay.store.base import ExistsError, Instance, Joining, Store, Verdict

MAX_COUNTER = 2**63 - 1

_CLOSE_CODES = {
    Verdict.UNKNOWN: CloseCode.POLICY,
    Verdict.DISABLED: CloseCode.REVOKED,
    Verdict.LOCKED: CloseCode.REVOKED,
    Verdict.CLONED: CloseCode.REPLACED,
}
log = structlog.get_logger("tunnel_relay.admission")


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a client may open a link, after it has proved its key."""

    verdict: Verdict

    @property
    def admitted(self) -> bool:
        """Whether the link may live."""
        return self.verdict is Verdict.ADMITTED

    @property
    def close_code(self) -> CloseCode:
        """What to close a refused link with."""
        return _CLOSE_CODES[self.verdict]


class Admissions:
    """Judges clients; `relay_key` is the public key they pin, `origins` where they may dial."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        links: Callable[[], Links],
        relay_key: bytes,
        origins: tuple[str, ...],
        locks: LockTable,
        owner_is_off: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._links = links
        self._relay_key = relay_key
        self._origins = origins
        self._locks = locks
        self._owner_is_off = owner_is_off
        self.cloned: set[str] = set()
        """Tunnels with a client whose key was locked as copied, until one enrols there anew."""
        self._enrolled: dict[str, set[str]] = {}
        """The instances of each tunnel whose key is good: asked where a call may not wait."""

    async def load(self) -> None:
        """Read who is enrolled, and which tunnels wait for one to enrol anew; raises StoreError.

        When a key was locked is not stored, so it is for the newest client to say.
        """
        instances = await self._store.instances()
        newest = {each.tunnel: each for each in instances}
        self.cloned = {tunnel for tunnel, each in newest.items() if each.locked is not None}
        self._enrolled = {}
        for each in instances:
            if each.locked is None:
                self._enrolled.setdefault(each.tunnel, set()).add(each.id)

    def may_connect(self, tunnel: str, instance: str) -> bool:
        """Tell from memory whether this client would be let in with its key."""
        enrolled = instance in self._enrolled.get(tunnel, ())
        return enrolled and not self._held_back(tunnel, instance)

    def dropped(self, tunnel: str) -> None:
        """Every client of a tunnel was forgotten."""
        self._enrolled.pop(tunnel, None)
        self.cloned.discard(tunnel)

    async def enroll(
        self, join_code: str, public_key: str, instance: str, origin: str, host: Mapping[str, str]
    ) -> dict[str, str]:
        """Use up a join code and pin the client's key; returns `tunnel` and `relay_key`.

        Raises RelayError BAD_REQUEST for what is malformed or came under a foreign origin,
        JOIN_REFUSED (one for all reasons; the log has the real one) and StoreError.
        """
        try:
            public = decode_public(public_key)
        except BadKeyError:
            raise RelayError(Code.BAD_REQUEST, "public_key is malformed") from None
        if not is_instance(instance):
            raise RelayError(Code.BAD_REQUEST, "instance is malformed")
        if origin not in self._origins:
            # Before the code is used up: a relay set up with another name costs no code.
            note("enrolment.refused", reason="a foreign origin")
            log.warning("enrolment_refused", reason="origin", origins=self._origins)
            raise RelayError(Code.BAD_REQUEST, "this relay is not known under that origin")
        now = self._clock()
        digest = token_digest(join_code) if is_token(join_code) else b""
        new = Instance(instance, "", public, 0, now, None, host_text(host))
        try:
            outcome, tunnel = await self._store.join(digest, now, new)
        except ExistsError:
            outcome, tunnel = Joining.UNKNOWN, ""
            log.warning("enrolment_refused", reason="identifier taken", instance=instance)
        if outcome is not Joining.JOINED:
            # A code used twice may be a thief, or the owner whom a thief was faster than.
            alert = log.error if outcome is Joining.USED else log.warning
            note("enrolment.refused", reason=f"the join code: {outcome.value}")
            alert("enrolment_refused", reason=outcome.value, join_code=fingerprint(digest))
            raise RelayError(Code.JOIN_REFUSED, "the join code was not accepted")
        self.cloned.discard(tunnel)
        self._enrolled.setdefault(tunnel, set()).add(instance)
        facts = {"instance": instance, "key": key_fingerprint(public), "tunnel": tunnel}
        note("enrolment.done", **facts)
        log.info("enrolled", tunnel=tunnel, instance=instance, key=key_fingerprint(public))
        return {"tunnel": tunnel, "relay_key": encode_public(self._relay_key)}

    async def find_key(self, tunnel: str, instance: str) -> bytes | None:
        """Return the public key a connecting client must prove; raises StoreError.

        Says nothing about whether it is admitted: `admit` does, once the signature was verified.
        """
        if not is_name(tunnel) or not is_instance(instance):
            return None
        found = await self._store.instance(tunnel, instance)
        return found.public_key if found else None

    async def admit(self, tunnel: str, instance: str, counter: int) -> Admission:
        """Judge a client whose signature was verified; raises StoreError.

        A counter that is behind locks the key and ends the links that hold it: of two machines
        with one key nobody here can tell which is the rightful one.
        """
        if not is_name(tunnel) or not is_instance(instance) or not 0 < counter <= MAX_COUNTER:
            return Admission(Verdict.UNKNOWN)
        if self._held_back(tunnel, instance):
            # A lock is lifted again: the client is told what makes it come back, not to give up.
            log.warning("link_refused", reason="lock", tunnel=tunnel, instance=instance)
            return Admission(Verdict.UNKNOWN)
        verdict = await self._store.admit(tunnel, instance, counter)
        if self._held_back(tunnel, instance):
            return Admission(Verdict.UNKNOWN)  # locked while we asked the store
        if verdict is Verdict.CLONED:
            self.cloned.add(tunnel)
            self._enrolled.get(tunnel, set()).discard(instance)
            note("link.cloned", instance=instance, tunnel=tunnel)
            log.error(
                "instance_locked", code=Code.INSTANCE_LOCKED, tunnel=tunnel, instance=instance
            )
            self._links().close_instance(
                instance, CloseCode.REPLACED, "two machines used this client's key"
            )
        elif verdict is Verdict.ADMITTED:
            # It may have enrolled at the relay that this one took over from.
            self._enrolled.setdefault(tunnel, set()).add(instance)
        else:
            log.warning("link_refused", reason=verdict.value, tunnel=tunnel, instance=instance)
        return Admission(verdict)

    def _held_back(self, tunnel: str, instance: str) -> bool:
        locked = self._locks.locks_link(tunnel, instance, self._clock())
        return locked or self._owner_is_off(tunnel)

"""What approvers sign, as it stands in a request: checked when it comes, put into the permit."""

from shared.keys import BadKeyError
from shared.passkey import Assertion, Passkey, approver_fingerprint, read_approver_key
from shared.permit import MAX_TEXT, PermitError, Signed, is_signed
from tunnel_relay.approvals.decide import permit_of
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.approvals import Approval, Voice

_OF_RELAY = 128
"""Characters that the relay's own signature takes, and a few."""


def signed(approval: Approval) -> Signed:
    """Return the permit of an approved request with its approvers' names and signatures."""
    made = {
        approver_fingerprint(read_approver_key(each.key)): _made(each)
        for each in approval.voices
        if each.key
    }
    return Signed(permit_of(approval), tuple(each.user for each in approval.voices), made)


def check_signature(approval: Approval, voice: Voice) -> None:
    """Refuse a signature that is not over this request; raises RelayError."""
    if not voice.key and not voice.signature:
        return
    try:
        key, made = read_approver_key(voice.key), _made(voice)
    except (BadKeyError, ValueError):
        raise RelayError(Code.SIGNATURE_NEEDED, "key or signature is malformed") from None
    if not is_signed(permit_of(approval), key, made):
        raise RelayError(Code.SIGNATURE_NEEDED, "the signature is not over this request")


def check_size(heard: Approval) -> None:
    """Refuse a voice with which the permit would not fit on its way; raises RelayError.

    It would be found out when the call goes out, after everybody had approved.
    """
    try:
        fits = len(signed(heard).text()) + _OF_RELAY <= MAX_TEXT
    except PermitError:
        fits = False
    if not fits:
        raise RelayError(Code.PERMIT_TOO_LONG, "the permit with this signature is too long")


def _made(voice: Voice) -> bytes | Assertion:
    """Return the signature of a voice that has a key; raises ValueError."""
    by_passkey = isinstance(read_approver_key(voice.key), Passkey)
    return Assertion.parse(voice.signature) if by_passkey else bytes.fromhex(voice.signature)

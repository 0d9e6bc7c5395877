"""The bytes of every frame type, in hex: what other implementations must produce and accept.

Each entry: the frame type, its stream and flags, what the payload says, and the whole frame.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import grant
from shared.errors import ResetCode
from shared.grant import Grant
from shared.keys import PrivateKey
from shared.policy.classes import ToolClass
from shared.wire import codec, handshake
from shared.wire.codec import OpenHead
from shared.wire.frames import FLAG_END, FrameType
from shared.wire.handshake import Challenge, Hello
from shared.wire.limits import LinkLimits
from shared.wire.tools import PinState, ToolWord, encode_tools

SESSION = "0123456789abcdef0123456789abcdef"
HELLO = Hello("office", "0" * 32, 7, "wss://relay.example", [1], [], 1700000000, "test/1")
CHALLENGE = Challenge(1, [], "A" * 43, "ab" * 32, 1700000001)
SIGNATURE = bytes(range(64))


def _ready() -> bytes:
    return handshake.encode_ready(b"", b"", b"", LinkLimits(), lambda _: SIGNATURE)


OPEN = OpenHead("time", "POST", SESSION, "", [(b"accept", b"*/*")])
WITH_PERMIT = OpenHead("time", "POST", SESSION, "", [(b"accept", b"*/*")], "per.mit_-~1")

RELAY_KEY = PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
GRANT = Grant(
    session=SESSION,
    user="https://login.example#7",
    agent="claude",
    tunnel="office",
    upstream="time",
    groups=("staff", "on-call"),
    classes=(ToolClass.READ,),
    issued=1700000000.25,
    expires=1700043200.0,
    instance="0" * 32,
    epoch=7,
)
TOOL = ToolWord("now", ToolClass.READ, "ab" * 32, PinState.PINNED, "Time", '{"name":"now"}')

PAYLOADS: dict[FrameType, tuple[int, int, bytes]] = {
    FrameType.HELLO: (0, 0, handshake.encode(HELLO)),
    FrameType.CHALLENGE: (0, 0, handshake.encode(CHALLENGE)),
    FrameType.PROOF: (0, 0, SIGNATURE),
    FrameType.READY: (0, 0, _ready()),
    FrameType.OPEN: (1, FLAG_END, codec.encode_open(OPEN)),
    FrameType.HEAD: (1, 0, codec.encode_head(200, [(b"content-type", b"text/plain")])),
    FrameType.DATA: (1, FLAG_END, b"hello"),
    FrameType.RESET: (1, 0, codec.encode_reset(ResetCode.CANCELLED, "gone")),
    FrameType.CREDIT: (1, 0, codec.encode_credit(65536)),
    FrameType.REQUEST: (1, 0, codec.encode_whole(codec.encode_open(OPEN), b"hello")),
    FrameType.RESPONSE: (1, 0, codec.encode_whole(codec.encode_head(200, []), b"hello")),
    FrameType.PING: (0, 0, bytes(7) + b"\x01"),
    FrameType.PONG: (0, 0, bytes(7) + b"\x01"),
    FrameType.DRAIN: (0, 0, codec.encode_detail("moving")),
    FrameType.CATALOG: (0, 0, codec.encode_catalog(["git", "time"])),
    FrameType.REVOKE: (0, 0, codec.encode_revoke(7, SESSION)),
    FrameType.REVOKED: (0, 0, codec.encode_revoked(7, 3)),
    FrameType.GRANT: (0, 0, grant.encode(GRANT, RELAY_KEY)),
    FrameType.TOOLS: (0, 0, encode_tools("time", [TOOL])[0]),
}
"""Stream, flags and payload of the example of each frame type."""

HEX: dict[FrameType, str] = {
    FrameType.HELLO: (
        "010000ae000000007b22636f756e746572223a372c226665617475726573223a5b5d2c22696e7374"
        "616e6365223a22303030303030303030303030303030303030303030303030303030303030303022"
        "2c226f726967696e223a227773733a2f2f72656c61792e6578616d706c65222c2270726f6772616d"
        "223a22746573742f31222c2274696d65223a313730303030303030302c2274756e6e656c223a226f"
        "6666696365222c2276657273696f6e73223a5b315d7d"
    ),
    FrameType.CHALLENGE: (
        "020000b2000000007b226665617475726573223a5b5d2c226e6f6e6365223a226162616261626162"
        "61626162616261626162616261626162616261626162616261626162616261626162616261626162"
        "61626162616261626162616261626162222c2272656c61795f6b6579223a22414141414141414141"
        "41414141414141414141414141414141414141414141414141414141414141414141222c2274696d"
        "65223a313730303030303030312c2276657273696f6e223a317d"
    ),
    FrameType.PROOF: (
        "0300004000000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
    ),
    FrameType.READY: (
        "040000f600000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f7b22666c7573685f"
        "6279746573223a3133313037322c226c696e6b5f77696e646f77223a31363737373231362c226d61"
        "785f73747265616d73223a32303030302c226d6573736167655f6279746573223a31303438353736"
        "2c2270696e675f646561646c696e65223a31302e302c2270696e675f696e74657276616c223a3135"
        "2e302c2273747265616d5f77696e646f77223a3236323134342c2273747265616d5f77696e646f77"
        "5f6d6178223a343139343330347d"
    ),
    FrameType.OPEN: (
        "100100370000000174696d650a504f53540a30313233343536373839616263646566303132333435"
        "363738396162636465660a0a0a6163636570740a2a2f2a"
    ),
    FrameType.HEAD: ("1100001b000000013230300a636f6e74656e742d747970650a746578742f706c61696e"),
    FrameType.DATA: "120100050000000168656c6c6f",
    FrameType.RESET: "13000006000000010001676f6e65",
    FrameType.CREDIT: "140000040000000100010000",
    FrameType.REQUEST: (
        "1500003e00000001003774696d650a504f53540a3031323334353637383961626364656630313233"
        "3435363738396162636465660a0a0a6163636570740a2a2f2a68656c6c6f"
    ),
    FrameType.RESPONSE: "1600000a00000001000332303068656c6c6f",
    FrameType.PING: "20000008000000000000000000000001",
    FrameType.PONG: "21000008000000000000000000000001",
    FrameType.DRAIN: "22000006000000006d6f76696e67",
    FrameType.CATALOG: "23000008000000006769740a74696d65",
    FrameType.REVOKE: (
        "2400002400000000000000073031323334353637383961626364656630313233343536373839616263646566"
    ),
    FrameType.REVOKED: "25000008000000000000000700000003",
    FrameType.GRANT: (
        "2600015a00000000e61e77957e863200d09d2b2d2c80b633da208ee2c8dfcbffbcf9f61d8007052e"
        "a3cb55a59f8337e82ca36b6747878f0ae91a8a139ef32b6da0272c593d643f027b226167656e7422"
        "3a22636c61756465222c22636c6173736573223a5b2272656164225d2c2265706f6368223a372c22"
        "65787069726573223a313730303034333230302c2267726f757073223a5b227374616666222c226f"
        "6e2d63616c6c225d2c22696e7374616e6365223a2230303030303030303030303030303030303030"
        "30303030303030303030303030222c22697373756564223a313730303030303030303235652d322c"
        "2273657373696f6e223a223031323334353637383961626364656630313233343536373839616263"
        "646566222c2274756e6e656c223a226f6666696365222c22757073747265616d223a2274696d6522"
        "2c2275736572223a2268747470733a2f2f6c6f67696e2e6578616d706c652337227d"
    ),
    FrameType.TOOLS: (
        "270000e3000000007b226669727374223a747275652c226d6f7265223a66616c73652c22746f6f6c"
        "73223a5b7b22636c617373223a2272656164222c22646566696e6974696f6e223a227b5c226e616d"
        "655c223a5c226e6f775c227d222c226e616d65223a226e6f77222c22736861323536223a22616261"
        "62616261626162616261626162616261626162616261626162616261626162616261626162616261"
        "626162616261626162616261626162616261626162222c227374617465223a2270696e6e6564222c"
        "227469746c65223a2254696d65227d5d2c22757073747265616d223a2274696d65227d"
    ),
}

MESSAGE = "0000000000000005000000000000000a" + HEX[FrameType.PING]
"""A message with sequence 5, acknowledgement 10 and one PING."""

OPEN_WITH_PERMIT = (
    "74696d650a504f53540a30313233343536373839616263646566303132333435363738396162636465660a0a"
    "7065722e6d69745f2d7e310a6163636570740a2a2f2a"
)
"""The payload of an OPEN with a permit."""

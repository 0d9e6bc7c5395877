"""The watchdog is fed by a store that answers, or is asked again, and by nothing else."""

from tunnel_relay.lease import Lease
from tunnel_relay.liveness import Progress


def test_only_a_store_nobody_hears_of_starves_the_watchdog() -> None:
    now = [0.0]
    lease = Lease(30.0, lambda: now[0])
    progress = Progress(lease)
    assert progress.made()
    now[0] = 31.0
    assert not progress.made(), "a question that hangs is no progress"
    lease.failed("locked")
    assert progress.made(), "a store that fails is asked again"
    lease.heard(now[0])
    assert progress.made()

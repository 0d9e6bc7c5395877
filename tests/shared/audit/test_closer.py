"""The process that closes segments: in order, patiently, and passing over what is gone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.audit.closer import work
from shared.audit.closing import Full
from shared.audit.ends import open_after
from shared.audit.log import AuditLog
from shared.audit.segments import compress, segments
from tests.helpers.log_lines import ORIGIN, write_calls
from tests.shared.audit.test_closing import durable


async def test_what_was_removed_or_closed_meanwhile_is_passed_over(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=8_000)
    closing = log._signing._closing
    closing.stop()  # everything is left as it is
    write_calls(log, 100)
    await durable(log)
    log.close()
    parts = segments(log.folder)[:-1]
    assert len(parts) > 3
    parts[0].path.unlink()
    compress(parts[1].path)
    before = open_after(parts[2].path, {})
    told = {"open": {"kept": 1}, "left": [Full(each.first).spelled() for each in parts[:3]]}
    assert list(work(log.folder, json.dumps(told).encode())) == [{"open": {"kept": 1}}] * 3
    assert segments(log.folder)[1].compressed
    assert open_after(parts[2].path, {}) == before


@pytest.mark.parametrize("may", [True, False])
def test_a_patient_process_is_less_urgent_or_rests(may: bool) -> None:
    """Where the system call is refused, as by a filter, it rests between spells of work."""
    refuse = "def refuse(*_): raise PermissionError\nos.sched_setscheduler = refuse\n"
    script = (
        "import os, signal\nfrom shared.audit.closer import patient\n"
        f"{'' if may else refuse}with patient():\n"
        "  print(os.sched_getscheduler(0), signal.getitimer(signal.ITIMER_PROF)[0] > 0)\n"
        "  while os.times().user < 0.2: pass\n"
        "  print('done')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    policy = os.SCHED_IDLE if may else os.SCHED_OTHER
    assert ran.stdout.split() == [str(policy), str(not may), "done"]

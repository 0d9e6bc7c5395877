"""The process that closes segments: in order, patiently, and passing over what is gone."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


def patient_process(*lines: str, before: str = "") -> list[str]:
    script = ["import os, signal", before, "from shared.audit.closer import patient"]
    script += ["with patient():", *(f"  {line}" for line in lines)]
    command = [sys.executable, "-c", "\n".join(script)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return ran.stdout.split()


def test_a_patient_process_is_less_urgent() -> None:
    """It computes nothing here: on a machine that is never idle it would not come to it."""
    asks = "print(os.sched_getscheduler(0), signal.getitimer(signal.ITIMER_PROF)[0] > 0)"
    assert patient_process(asks) == [str(os.SCHED_IDLE), "False"]


def test_a_patient_process_that_may_not_be_less_urgent_rests_between_spells_of_work() -> None:
    """As where a filter refuses the system call."""
    refuses = "def refuse(*_): raise PermissionError\nos.sched_setscheduler = refuse"
    asks = "print(os.sched_getscheduler(0), signal.getitimer(signal.ITIMER_PROF)[0] > 0)"
    works = "while os.times().user < 0.2: pass"
    told = patient_process(asks, works, "print('done')", before=refuses)
    assert told == [str(os.SCHED_OTHER), "True", "done"]

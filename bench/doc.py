"""Write the tables of a run into docs/benchmarks.md, and say on what machine they were taken."""

import datetime
import os
import platform
import shutil
import subprocess
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs/benchmarks.md"
START = "<!-- results: written by `python -m bench --write-doc`, do not edit -->"
END = "<!-- end of results -->"


def replaced(document: str, results: str, first: str = START, last: str = END) -> str:
    """The document with everything between its markers replaced; ValueError without markers."""
    before, start, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not start or not end:
        raise ValueError(f"no {first!r} ... {last!r} in the document")
    return f"{before}{first}\n\n{results.strip()}\n\n{last}{after}"


def write(results: str, first: str = START, last: str = END) -> None:
    """Put results into docs/benchmarks.md, between these markers."""
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), results, first, last))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _openssh() -> str:
    if shutil.which("ssh") is None:
        return "none"
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False, timeout=10)
    return said.stderr.split(",")[0].strip()


def machine(when: datetime.datetime) -> str:
    """Where and when: processor, cores, memory, kernel, Python, OpenSSH."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    facts = {
        "Date": when.strftime("%Y-%m-%d %H:%M UTC"),
        "Processor": f"{_processor()}, {os.cpu_count()} cores for peer, load and upstream",
        "Memory": f"{memory:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "OpenSSH": _openssh(),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())

"""The private servers that everything is measured against, on loopback."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.fake_mcp import TOOLS, blob_text
from bench.needs import NGINX
from bench.procs import Group, free_port, wait_port

MIB = 1 << 20
# What makes `python -m bench...` work from any folder.
MODULE_PATH = {"PYTHONPATH": str(Path(__file__).parent.parent)}
BLOBS = {"1m": MIB, "16m": 16 * MIB}
REPLY = (
    '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text",'
    '"text":"hello hello hello"}],"isError":false}}'
)
# What a server says of itself, so that its tools can be pinned. Whoever asks sends the method in a
# header, as the modern era wants: that is all a server needs to look at that parses nothing.
INTRODUCED = {
    method: json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}, separators=(",", ":"))
    for method, result in (
        (
            "server/discover",
            {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bench", "version": "1"},
            },
        ),
        ("tools/list", {"tools": TOOLS}),
    )
}


@dataclass(frozen=True, slots=True)
class Upstream:
    """A started server: `static` answers at C speed whatever is asked, `mcp` speaks MCP.

    `paths` names what can be called: `call`, and for the static one a blob of each size.
    """

    kind: str
    port: int
    group: Group
    paths: dict[str, str]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.paths[name]}"


def blob_document(size: int) -> bytes:
    """A JSON-RPC result of exactly `size` bytes."""
    head, tail = REPLY.replace("hello hello hello", "\0").encode().split(b"\0")
    return head + blob_text(size - len(head) - len(tail)) + tail


def nginx_config(folder: Path, port: int, locations: str, extra: str = "") -> str:
    """One nginx process on a loopback port, everything it writes inside `folder`."""
    temporary = "".join(
        f"  {name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  client_max_body_size 32m;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
{temporary}{extra}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
{locations}
  }}
}}
"""


def start_nginx(group: Group, name: str, port: int, locations: str, extra: str = "") -> None:
    """Start one nginx process and wait until it listens; MissingError without nginx."""
    folder = group.folder / name
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(nginx_config(folder, port, locations, extra))
    group.start(name, [NGINX.path(), "-c", str(config), "-p", str(folder)])
    wait_port(port, group)


def start_static(group: Group) -> Upstream:
    """nginx with one fixed JSON-RPC answer and one file per blob size."""
    port = free_port()
    files = group.folder / "www"
    files.mkdir()
    for name, size in BLOBS.items():
        (files / name).write_bytes(blob_document(size))
    asked = "server/discover|tools/list"
    introduced = "".join(f"    {name} '{text}';\n" for name, text in INTRODUCED.items())
    extra = f"  map $http_mcp_method $said {{\n    default '{REPLY}';\n{introduced}  }}\n"
    locations = f"""\
    default_type application/json;
    location = /mcp {{ return 200 $said; }}
    # A file answers 405 to POST; this turns that into the file itself.
    location /blob/ {{
      if ($http_mcp_method ~ "{asked}") {{ return 200 $said; }}
      alias {files}/;
      error_page 405 =200 $uri;
    }}"""
    start_nginx(group, "static", port, locations, extra)
    paths = {"call": "/mcp", **{name: f"/blob/{name}" for name in BLOBS}}
    return Upstream("static", port, group, paths)


def start_mcp(group: Group) -> Upstream:
    """The cheap MCP server over HTTP."""
    port = free_port()
    group.start("mcp", [sys.executable, "-m", "bench.fake_mcp", "--port", str(port)], MODULE_PATH)
    wait_port(port, group)
    return Upstream("mcp", port, group, {"call": "/mcp"})


def stdio_argv() -> list[str]:
    """The command of the cheap MCP server over stdio."""
    return [sys.executable, "-m", "bench.fake_mcp", "--stdio"]


STARTS = {"static": start_static, "mcp": start_mcp}

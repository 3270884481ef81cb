"""Sessions at once, and many clicks: `python -m benchmarks.sessions --sessions 20 --clicks 2000`.

Each session is a connection as a browser has one, which opens the page with a formula of its own and gets its
text box back. Exit code 1 if a session got another's formula, a page failed, or the server's memory after the
last click is more than 1.2 times that after the first hundred.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

from scenarios import DEFAULT_SCENARIO, load_scenario, run_scenario, write_result
from tests.app.conftest import TINY
from tests.app.server import dashboard

FIRST = 100
MOST = 1.2
"""Times the memory after the first clicks."""
PATIENCE_S = 600.0
PAGES = ("", "inspector", "market")


@dataclass
class Session:
    """One connection, and what it has got."""

    socket: Any
    number: int
    faults: list[str] = field(default_factory=list)

    async def click(self, step: int) -> None:
        """Open a page with a formula that nobody else has, and read until its script has ended."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        power = f"{1.001 + (self.number * 97 + step) % 2900 / 1000:g}"
        wanted = BackMsg()
        wanted.rerun_script.query_string = urlencode({"b": f"b*q*r^{power}"})
        wanted.rerun_script.page_name = PAGES[step % len(PAGES)]
        await self.socket.send(wanted.SerializeToString())
        texts = set[str]()
        while True:
            raw = await asyncio.wait_for(self.socket.recv(), PATIENCE_S)
            message = ForwardMsg.FromString(raw)
            kind = message.WhichOneof("type")
            if kind == "delta":
                text = str(message.delta)
                texts.update(re.findall(r"b\*q\*r\^([\d.]*\d)", text))
                if message.delta.new_element.WhichOneof("type") == "exception":
                    self.faults.append(message.delta.new_element.exception.message[:200])
            elif kind == "script_finished":
                break
        if power not in texts:
            self.faults.append(f"asked for r^{power}, got {sorted(texts)}")


async def _run(address: str, n: int, clicks: int, server: psutil.Process) -> tuple[list[str], list[int]]:
    import websockets

    place = address.replace("http", "ws") + "/_stcore/stream"
    sessions = [
        Session(
            await websockets.connect(place, subprotocols=["streamlit"], max_size=None, ping_interval=None),
            number,
        )
        for number in range(n)
    ]
    memory = []
    for step in range(max(clicks // n, 1)):
        await asyncio.gather(*(session.click(step) for session in sessions))
        done = (step + 1) * n
        if not memory and done >= min(FIRST, clicks):
            memory.append(server.memory_info().rss)
        if step % 5 == 0:
            print(f"{done:,} clicks, {_mib(server.memory_info().rss)}", file=sys.stderr, flush=True)
    memory.append(server.memory_info().rss)
    for session in sessions:
        await session.socket.close()
    return [fault for session in sessions for fault in session.faults], memory


def try_sessions(results: Path, n: int, clicks: int) -> tuple[list[str], list[int]]:
    """Open a dashboard on a results folder, and so many pages in n sessions.

    Returns:
        What went wrong, in words; and the bytes of the server after the first hundred clicks and at the end.
    """
    with dashboard(results) as address:
        server = next(one for one in psutil.Process().children() if "streamlit" in one.cmdline())
        return asyncio.run(_run(address, n, clicks, server))


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.0f} MiB"


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--clicks", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        scenario = load_scenario(DEFAULT_SCENARIO, TINY)
        run = run_scenario(scenario, cache=results)
        write_result(results, scenario, run.metrics, run.points, run.log)
        faults, memory = try_sessions(results, options.sessions, options.clicks)
    grown = memory[-1] / memory[0]
    for fault in dict.fromkeys(faults):
        print(fault)
    print(
        f"{options.sessions} sessions, {options.clicks:,} clicks: {len(faults)} faults; memory "
        f"{_mib(memory[0])} after the first clicks, {grown:.2f} times that at the end"
    )
    sys.exit(bool(faults) or grown > MOST)


if __name__ == "__main__":
    main()

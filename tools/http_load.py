"""Requests over HTTP under single stream and multi stream: throughput, latency, and how soon the health route answers.

    python tools/http_load.py [--clients 1 2 8 32] [--seconds 3] [--rounds 3] [--text TEXT]

Two servers of the sentiment model, one a scheduler, take turns; who has no turn is stopped. Each client keeps one
connection and sends its next request when it has its answer; beside them one asks for the health route.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.bench.machine import describe_machine  # noqa: E402

SCHEDULERS = ("single_stream", "multi_stream")
TEXT = "The plot is thin, but two of the actors carry it, and the last half hour is worth the ticket alone."
PREDICT, HEALTH = "/v2/models/sentiment_analysis/infer", "/health"


@contextmanager
def server(scheduler: str, folder: Path, streams: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of this scheduler and its port; stopped until it has its turn, killed on the way out."""
    config = folder / f"{scheduler}.yaml"
    lines = ["endpoints:", "  - task: sentiment_analysis", f"    scheduler: {scheduler}"]
    config.write_text("\n".join([*lines, f"    num_streams: {streams}", ""]), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "serve",
        "--config-file",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process, _port(process)
        finally:
            process.kill()


def _port(process: subprocess.Popen[str]) -> int:
    seen = []
    for line in process.stdout or ():
        seen.append(line)
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if found:
            _call(int(found[1]))
            return int(found[1])
    message = f"the server did not start:\n{''.join(seen)}"
    raise RuntimeError(message)


def _call(port: int) -> None:
    """Ask until the model is loaded."""
    while _Client(port).ask(PREDICT) != 200:
        time.sleep(0.1)


class _Client:
    """One connection that is kept."""

    def __init__(self, port: int, text: str = TEXT) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._body = json.dumps({"sequences": text})

    def ask(self, path: str) -> int:
        if path == PREDICT:
            self._connection.request("POST", path, self._body, {"Content-Type": "application/json"})
        else:
            self._connection.request("GET", path)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def load(port: int, clients: int, seconds: float, text: str) -> tuple[float, list[float], list[float]]:
    """(answers a second, seconds of each in order, those of the health route in order). Raises on another status."""
    latencies, health, wrong = list[float](), list[float](), list[int]()
    until = time.perf_counter() + seconds

    def client(path: str, taken: list[float], pause: float) -> None:
        asks, own = _Client(port, text), list[float]()
        while (start := time.perf_counter()) < until:
            status = asks.ask(path)
            wrong.extend([status] if status != 200 else [])
            own.append(time.perf_counter() - start)
            time.sleep(pause)
        taken.extend(own)

    calls = [(PREDICT, latencies, 0.0)] * clients + [(HEALTH, health, 0.02)]
    threads = [threading.Thread(target=client, args=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        message = f"{len(wrong)} answers were errors, the first of status {wrong[0]}."
        raise RuntimeError(message)
    return len(latencies) / seconds, sorted(latencies), sorted(health)


def say(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 8, 32])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--text", default=TEXT)
    options = parser.parse_args()
    machine = describe_machine()
    say(f"{machine['cpu']}, {machine['isa_in_use']}, {machine['cores']} cores, {machine['date']}")
    say("scheduler      clients  answers/s  median ms  p99 ms  health median ms  p99 ms")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        for name in SCHEDULERS:
            servers[name] = stack.enter_context(server(name, folder, machine["cores"]))
            servers[name][0].send_signal(signal.SIGSTOP)
        for clients in options.clients:
            found: dict[str, list[tuple[float, ...]]] = {name: [] for name in SCHEDULERS}
            for _ in range(options.rounds):
                for name, (process, port) in servers.items():
                    process.send_signal(signal.SIGCONT)
                    rate, times, health = load(port, clients, options.seconds, options.text)
                    process.send_signal(signal.SIGSTOP)
                    ends = (
                        t[int(share * (len(t) - 1))] * 1e3 for t in (times, health) for share in (0.5, 0.99)
                    )
                    found[name].append((rate, *ends))
            for name, rounds in found.items():
                rate, *times = map(median, zip(*rounds, strict=True))
                cells = "  ".join(f"{value:9.2f}" for value in times)
                say(f"{name:13s}  {clients:7d}  {rate:9.1f}  {cells}")


if __name__ == "__main__":
    main()

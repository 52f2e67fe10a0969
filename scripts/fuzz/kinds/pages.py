"""Requests to `igpt watch`: paths that lead out of the run directory, other hosts, broken HTTP, damaged metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from ..bench import Bench, copy_tree
from ..kind import Kind
from ..mutate import mutated, mutated_json, spell
from ..server import ANSWER_SECONDS, Server, get
from ..subject import Finding
from .requests import EVIL

SECRET = b"what nobody else may read"
PATHS = ["/", "/api/run", "/api/picture/step-00000001.png", "/api/picture/step-00000099.png", "/api/events", "/healthz"]
STEPS = [
    "..",
    "%2e%2e",
    "..%2f..",
    "%2e%2e%2f",
    "....//",
    "%00",
    "secret",
    "step-00000099.png",
    "linked",
    "%5c..",
    "samples",
    "a" * 5000,
]
"""Parts of paths."""


class Pages(Kind):
    """A page of a run whose files change meanwhile. It shows nothing from outside of the run directory, and only to
    requests that name this machine."""

    name: ClassVar[str] = "pages"
    share: ClassVar[int] = 40
    batch: ClassVar[int] = 10

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.run = bench.work / "watched"
        copy_tree(bench.run, self.run)
        (bench.work / "secret").write_bytes(SECRET)
        (self.run / "samples" / "step-00000099.png").symlink_to(bench.work / "secret")
        (self.run / "linked").symlink_to(bench.work)
        self.metrics = (self.run / "metrics.jsonl").read_bytes().splitlines()
        self.running: Server | None = None

    def server(self) -> Server:
        """The running server."""
        if self.running is None or self.running.sick:
            if self.running:
                self.running.close()
            self.running = Server(self.bench.subject, self.bench.work, "watch", ["watch", str(self.run)])
        return self.running

    def cases(self, first: int, count: int) -> Iterator[Finding]:
        """Requests in a row, then a look whether the server still answers."""
        yield from super().cases(first, count)
        for finding in self.server().health("/"):
            finding.kind, finding.case = self.name, first + count - 1
            yield finding

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """One request, some of them after a change of the run's metrics."""
        if rng.random() < 0.2:
            lines = list(self.metrics)
            at = rng.randrange(len(lines))
            lines[at] = (
                spell(mutated_json(rng, json.loads(lines[at]))) if rng.random() < 0.7 else mutated(rng, lines[at])
            )
            (self.run / "metrics.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        path, host, evil = rng.choice(PATHS), "127.0.0.1", False
        way = rng.random()
        if way < 0.3:
            path = rng.choice(("/", "/api/picture/", "/api/")) + "/".join(
                rng.choice(STEPS) for _ in range(rng.randrange(1, 5))
            )
        elif way < 0.5:
            host, evil = rng.choice(EVIL), True
        data = get(path, host)
        if way > 0.8:
            data = mutated(rng, data)
        (folder / "request").write_bytes(data)
        server = self.server()
        command = f"{server.command} & nc -N 127.0.0.1 PORT < {folder}/request"
        try:
            answer = server.send(data, 0.3 if "events" in path else ANSWER_SECONDS, give_up=way > 0.8)
        except TimeoutError:
            answer = b""
            if "events" not in path and b"/api/events" not in data:
                yield Finding("hang", f"GET is not answered within {ANSWER_SECONDS:.0f} s", command)
        except OSError:
            answer = b""
        if SECRET in answer:
            yield Finding("silent", "a file outside of the run directory is shown", command)
        if evil and answer.startswith(b"HTTP/1.1 200") and path.startswith("/api"):
            yield Finding("silent", f"a request to another Host is answered 200 ({path})", command)
        if answer.startswith(b"HTTP/1.1 50") and not answer.startswith((b"HTTP/1.1 503", b"HTTP/1.1 504")):
            yield Finding("crash", f"{path} answers {answer[9:12].decode()}", command, notes=[repr(answer[-200:])])
        yield from server.after("GET", command)

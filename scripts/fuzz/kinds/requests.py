"""Requests to `igpt serve`: bodies, pictures, headers, and HTTP that is none."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from ..bench import Bench
from ..kind import Kind
from ..mutate import VALUES, mutated, mutated_json, spell
from ..server import ANSWER_SECONDS, Server, get, post
from ..subject import Finding, not_finite
from .images import Images

UNFINISHED = {"a mutated form", "mutated chunks", "a mutated Content-Length", "mutated bytes"}
DRAWING = {"seed": 1, "temperature": 1.0, "stream": False}
EVIL = ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "localhost.evil.example"]


class Requests(Kind):
    """Thousands of requests to two servers, of a model and of a classifier. No request may end or stop a server, be
    answered with an error of the server's own, or with numbers that are none."""

    name: ClassVar[str] = "requests"
    share: ClassVar[int] = 250
    batch: ClassVar[int] = 25

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.pictures = Images(bench)
        self.models = {"model": bench.run, "classifier": bench.classifier}
        self.servers: dict[str, Server] = {}
        head = get("/openapi.json")
        paths = json.loads(self.server("model").send(head).partition(b"\r\n\r\n")[2])["paths"]
        self.routes = sorted(path for path, methods in paths.items() if "post" in methods)
        self.allowed: dict[str, set[str]] = {}
        picture = base64.b64encode((bench.pictures / "cat" / "0.png").read_bytes()).decode()
        self.templates = [self.template(route, picture) for route in self.routes]

    def server(self, name: str) -> Server:
        """The running server of a model."""
        if name not in self.servers:
            args = [
                "serve",
                "--model",
                str(self.models[name]),
                "--neighbors",
                str(self.bench.pictures),
                "--threads",
                "1",
            ]
            args += ["--timeout", "2", "--max-images", "4", "--per-client", "0"]
            self.servers[name] = Server(self.bench.subject, self.bench.work, name, args)
        return self.servers[name]

    def template(self, route: str, picture: str) -> dict[str, Any]:
        """A request that the route takes."""
        bodies: dict[str, dict[str, Any]] = {
            "sample": {"n": 1, **DRAWING, "top_k": 0, "top_p": 1.0, "first_image": 0},
            "complete": {"image": picture, "rows": 7, "completions": 1, "candidates": 2, "steps": 2, **DRAWING},
            "predict": {"image": picture, "row": 1},
            "quantize": {"image": picture},
            "neighbors": {"image": picture, "k": 2},
            "embed": {"images": [picture], "layers": [0, 1], "pool": "mean"},
        }
        body = bodies.get(route.rsplit("/", 1)[1], {"images": [picture]})
        _, _, answer = self.server("model").send(post(route, spell(body))).partition(b"\r\n\r\n")
        if answer.startswith(b"{"):
            self.allowed[route] = set(not_finite(json.loads(answer)))
        return body

    def cases(self, first: int, count: int) -> Iterator[Finding]:
        """Requests in a row, then a look whether the servers still answer."""
        yield from super().cases(first, count)
        for name in list(self.servers):
            for finding in self.server(name).health():
                finding.kind, finding.case = self.name, first + count - 1
                yield finding
            if self.servers[name].sick:
                self.servers.pop(name).close()

    def case(self, rng: Random, folder: Path, number: int) -> Iterator[Finding]:
        """One request."""
        name = rng.choice(("model", "model", "classifier"))
        i = rng.randrange(len(self.routes))
        route, body = self.routes[i], self.templates[i]
        data, why, must_refuse = self.request(rng, route, body)
        (folder / "request").write_bytes(data)
        server = self.server(name)
        command = f"{server.command} & nc -N 127.0.0.1 PORT < {folder}/request   # {name}"
        try:
            # What may be unfinished is waited for by the server, which is tried now and then.
            answer = server.send(data, give_up=why in UNFINISHED and rng.random() < 0.97)
        except TimeoutError:
            yield Finding("hang", f"{route} ({why}) is not answered within {ANSWER_SECONDS:.0f} s", command)
            yield from server.health()
            answer = b""
        except OSError:
            answer = b""
        yield from judge(route, why, must_refuse, answer, self.allowed.get(route, set()), command)
        yield from server.after(f"{route}, {why}", command)
        if server.sick:
            self.servers.pop(name).close()

    def request(self, rng: Random, route: str, body: dict[str, Any]) -> tuple[bytes, str, bool]:
        """A request's bytes, what is odd about it, and whether it has to be refused."""
        way = rng.random()
        if way < 0.35:
            return post(route, spell(mutated_json(rng, self.with_masks(rng, route, body)))), "a mutated body", False
        if way < 0.55:
            return self.with_picture(rng, route, body), "a mutated picture", False
        if way < 0.65:
            return multipart(rng, route, body), "a mutated form", False
        if way < 0.72:
            return post(route, spell(body), {"Host": rng.choice(EVIL)}), "another Host", True
        if way < 0.78:
            site = {"Origin": rng.choice(("http://evil.example", "null", "file://")), "Sec-Fetch-Site": "cross-site"}
            return post(route, spell(body), site), "another site's page", True
        if way < 0.84:
            sizes = [
                rng.choice((b"5", b"0", b"-1", b"ffffffffffffffff", b"7fffffff", b"x", b"5;a=b", b"1" * 400))
                for _ in range(3)
            ]
            parts = b"".join(size + b'\r\n{"n":\r\n' for size in sizes) + b"0\r\n\r\n"
            return post(route, parts, {"Transfer-Encoding": "chunked"}, length=False), "mutated chunks", False
        if way < 0.9:
            length = str(rng.choice((0, 1, -1, 1 << 31, 1 << 63, (1 << 64) - 1, "x", "", "1, 2", 33 << 20)))
            odd = post(route, spell(body), {"Content-Length": length}, length=False)
            return odd, "a mutated Content-Length", False
        return mutated(rng, post(route, spell(body))), "mutated bytes", False

    @staticmethod
    def with_masks(rng: Random, route: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body, sometimes with tokens or a mask instead of a picture or rows."""
        body = dict(body)
        if "rows" in body and rng.random() < 0.4:
            del body["rows"]
            body["mask"] = [i > 50 for i in range(64)]
        if "image" in body and rng.random() < 0.3:
            del body["image"]
            body["tokens"] = [0] * 64
        elif "images" in body and rng.random() < 0.3:
            del body["images"]
            body["tokens"] = [
                [rng.choice((0, 1, 5, 6, 65536, (1 << 31) - 1)) if rng.random() < 0.02 else 1 for _ in range(64)]
            ]
        if rng.random() < 0.1:
            body[rng.choice(list(body))] = rng.choice(VALUES)
        return body

    def with_picture(self, rng: Random, route: str, body: dict[str, Any]) -> bytes:
        """A mutated picture in a body or form."""
        _, data, _ = self.pictures.make(rng.randrange(1 << 40))
        text = base64.b64encode(data).decode()
        body = dict(body)
        if "images" in body:
            body["images"] = [text] * rng.choice((1, 1, 4))
        elif "image" in body:
            body["image"] = text
        return post(route, spell(body))


def judge(route: str, why: str, must_refuse: bool, answer: bytes, allowed: set[str], command: str) -> Iterator[Finding]:
    """What is wrong with an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if not found:
        if answer:
            yield Finding("silent", f"an answer that is no HTTP ({why})", command, notes=[repr(answer[:80])])
        return
    status = int(found[1])
    if status >= 500 and status not in (503, 504):
        yield Finding("crash", f"{route} answers {status} ({why})", command, notes=[repr(body[:200])])
    if must_refuse and status < 400:
        yield Finding("silent", f"a request with {why} is answered {status}", command)
    if b"content-type: application/json" not in head.lower() or b"transfer-encoding" in head.lower():
        return

    if length := re.search(rb"content-length: (\d+)", head.lower()):
        body = body[: int(length[1])]  # another answer may follow

    def no_number(name: str) -> Any:
        raise ValueError(name)

    try:
        document = json.loads(body, parse_constant=no_number)
    except ValueError as error:
        yield Finding("silent", f"{route} answers JSON that is none ({why})", command, notes=[str(error)])
        return
    if status == 200 and allowed and (wrong := sorted(set(not_finite(document)) - allowed)):
        yield Finding("silent", f"{route} answers no number at {', '.join(wrong[:3])} ({why})", command)


def multipart(rng: Random, route: str, body: dict[str, Any]) -> bytes:
    """The body as a form, its bytes mutated."""
    parts = b""
    for name, value in body.items():
        file = name in ("image", "images")
        data = base64.b64decode(value[0] if name == "images" else value) if file else spell(value)
        head = (
            f'--XX\r\nContent-Disposition: form-data; name="{name}"'
            + ('; filename="a.png"' if file else "")
            + "\r\n\r\n"
        )
        parts += head.encode() + data + b"\r\n"
    parts += b"--XX--\r\n"
    parts = mutated(rng, parts) if rng.random() < 0.9 else parts
    return post(route, parts, {"Content-Type": "multipart/form-data; boundary=XX"})

"""A server under test: starting it, talking raw HTTP to it, and seeing whether it is well."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .subject import NO_MEMORY, PANIC, RESIDENT, Finding, Subject

ANSWER_SECONDS = 10.0
"""For an answer; the server ends a request after 2 s."""


class Server:
    """A server under test, and what it has said."""

    def __init__(self, subject: Subject, work: Path, name: str, args: list[str]) -> None:
        self.log = work / f"{name}.log"
        args = [*args, "--listen", "127.0.0.1:0"]
        self.command = subject.spell(args, work)
        command = [str(subject.binary), *args]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=work, env=subject.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        subject.started.append(self.process)
        self.port, end = 0, time.monotonic() + 60
        while not self.port and time.monotonic() < end and self.process.poll() is None:
            if found := re.search(rb"http://127.0.0.1:(\d+)", self.log.read_bytes()):
                self.port = int(found[1])
            time.sleep(0.01)
        if not self.port:
            raise SystemExit(f"igpt {args[0]} does not start: {self.log.read_text(errors='replace')}")
        self.read = self.log.stat().st_size
        self.sick = False

    def send(self, data: bytes, seconds: float = ANSWER_SECONDS, give_up: bool = False) -> bytes:
        """Sends bytes and reads until the server closes or is silent for too long (then raises TimeoutError); `give_up`
        says that nothing more will come."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as link:
            with contextlib.suppress(OSError):
                link.sendall(data)
                if give_up:
                    link.shutdown(socket.SHUT_WR)
            answer = bytearray()
            with contextlib.suppress(ConnectionError):
                while piece := link.recv(1 << 16):
                    answer += piece
            return bytes(answer)

    def words(self) -> bytes:
        """What it has said since the last look."""
        if self.log.stat().st_size == self.read:
            return b""
        data = self.log.read_bytes()[self.read :]
        self.read += len(data)
        return data

    def peak(self) -> int:
        """The most memory that it ever took."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        return int(found[1]) << 10 if found else 0

    def after(self, about: str, command: str) -> Iterator[Finding]:
        """What is wrong with it after a request."""
        words = self.words()
        note = [words[-300:].decode(errors="replace")]
        if found := PANIC.search(words):
            yield Finding("crash", f"the server panics at {found[1].decode()} ({about})", command, notes=note)
        if self.process.poll() is not None:
            self.sick = True
            end = "memory allocation failed" if NO_MEMORY.search(words) else f"exit code {self.process.returncode}"
            yield Finding("crash", f"the server ends: {end} ({about})", command, notes=note)
        elif self.peak() > RESIDENT:
            self.sick = True
            yield Finding("memory", f"the server takes more than {RESIDENT >> 20} MiB ({about})", command)

    def health(self, path: str = "/healthz") -> Iterator[Finding]:
        """Whether it answers at once."""
        if self.sick:
            return
        with contextlib.suppress(OSError):
            if self.send(get(path), 2.0).startswith(b"HTTP/1.1 200"):
                return
        self.sick = True
        yield Finding("hang", f"the server does not answer {path} within 2 s", self.command)

    def close(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()


def get(path: str, host: str = "127.0.0.1") -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def post(path: str, body: bytes, headers: dict[str, str] | None = None, length: bool = True) -> bytes:
    """A POST request."""
    lines = {"Host": "127.0.0.1", "Content-Type": "application/json", "Connection": "close"} | (headers or {})
    if length:
        lines["Content-Length"] = str(len(body))
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + body

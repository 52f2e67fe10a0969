"""One run of the program under limits, and what is wrong with how it ended."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADDRESS_SPACE = 4 << 30
RESIDENT = 1 << 30
SECONDS = 20.0
"""Limits of a run on a tiny input; the time is generous, for slow machines under load."""

PANIC = re.compile(rb"panicked at ([^\s:]+:\d+)[^\n]*\n?([^\n]*)")
NO_MEMORY = re.compile(rb"memory allocation of \d+ bytes failed")
CRASH_CODES = {101, 134, 139}
KEPT = 1 << 16


def limit_this_process() -> None:
    """Sets the limits that every process started from here inherits."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def environment(home: Path) -> dict[str, str]:
    """What the program sees: no network, no user's data, English words."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IGPT_")}
    kept.pop("XDG_DATA_HOME", None)
    return kept | {"IGPT_OFFLINE": "1", "HOME": str(home), "TMPDIR": str(home), "RUST_BACKTRACE": "0", "LC_ALL": "C"}


@dataclass
class Ended:
    """How a run ended."""

    command: list[str]
    code: int
    out: bytes
    err: bytes
    seconds: float
    resident: int
    timed_out: bool

    @property
    def crash(self) -> str | None:
        """A signature of the crash: the place of the panic, or the signal."""
        if found := PANIC.search(self.err):
            words = re.sub(r"\d+", "N", found[2].decode(errors="replace"))[:90]
            return f"panic at {found[1].decode(errors='replace')}: {words}"
        if NO_MEMORY.search(self.err):
            return "abort: memory allocation failed"
        if self.timed_out:
            return None
        if self.code < 0:
            return f"signal {signal.Signals(-self.code).name}"
        return f"exit code {self.code}" if self.code in CRASH_CODES else None

    @property
    def last_line(self) -> str:
        """The last line of words, for a report."""
        lines = self.err.decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def json(self) -> Any:
        """The JSON object that is the last line of standard output; None if there is none."""
        lines = self.out.decode(errors="replace").strip().splitlines()
        try:
            return json.loads(lines[-1]) if lines else None
        except ValueError:
            return None


@dataclass
class Finding:
    """Something wrong: what, its signature (equal for findings of one cause), and the command that shows it."""

    what: str
    signature: str
    command: str
    files: Path | None = None
    kind: str = ""
    case: int = 0
    notes: list[str] = field(default_factory=list)


def read_ends(file: Any) -> bytes:
    """A file's first and last bytes; what is between is not looked at."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= 2 * KEPT:
        return bytes(file.read())
    head = file.read(KEPT)
    file.seek(size - KEPT)
    return bytes(head + b"\n" + file.read())


def wait(process: subprocess.Popen[bytes], seconds: float) -> tuple[int, int, bool]:
    """Waits for a process, killing it after some seconds: its exit code, resident bytes and whether it was killed."""
    handle = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        late = not poll.poll(max(0.0, seconds) * 1000)
    finally:
        os.close(handle)
    if late:
        os.killpg(process.pid, signal.SIGKILL)  # and what it has started
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024, late


class Subject:
    """The program under test."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.binary = binary.resolve()
        self.home = home
        self.env = environment(home)
        self.started: list[subprocess.Popen[bytes]] = []
        """Servers, which end with the session."""

    def spell(self, args: Sequence[str], cwd: Path) -> str:
        """The command as one would type it."""
        return f"cd {shlex.quote(str(cwd))} && IGPT_OFFLINE=1 {self.binary} {shlex.join(args)}"

    def run(
        self, args: Sequence[str], cwd: Path, seconds: float = SECONDS, stdout: Any = None, stderr: Any = None
    ) -> Ended:
        """Runs it to its end or the limit of time; its words are read unless they go elsewhere."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            process = subprocess.Popen(
                [str(self.binary), *args],
                cwd=cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err if stderr is None else stderr,
                start_new_session=True,
                restore_signals=False,
            )
            code, resident, late = wait(process, seconds)
            took = time.monotonic() - start
            return Ended(list(args), code, read_ends(out), read_ends(err), took, resident, late)

    def close(self) -> None:
        """Ends what still runs."""
        for process in self.started:
            process.kill()
            process.wait()

    def judge(self, ended: Ended, cwd: Path, about: str = "", resident: int = RESIDENT) -> Iterator[Finding]:
        """What is wrong with how a run ended, whatever it was to do."""
        command = self.spell(ended.command, cwd)
        verb = next((word for word in ended.command if not word.startswith("-")), "")
        where = f"{verb}{' ' if about else ''}{about}"
        if crash := ended.crash:
            yield Finding(
                "crash", f"{crash} ({where})" if "panic" not in crash else crash, command, notes=[ended.last_line]
            )
        elif ended.timed_out:
            yield Finding("hang", f"not done after {ended.seconds:.0f} s ({where})", command, notes=[ended.last_line])
        elif ended.resident > resident:
            yield Finding(
                "memory", f"more than {resident >> 20} MiB ({where})", command, notes=[f"{ended.resident >> 20} MiB"]
            )
        elif ended.code not in (0, 1, 2):
            yield Finding("crash", f"exit code {ended.code} ({where})", command, notes=[ended.last_line])
        elif ended.code != 0 and not ended.err.strip():
            yield Finding("silent", f"fails without a word ({where})", command)
        if b"\x1b" in ended.err or b"\x1b" in ended.out:
            yield Finding("silent", f"prints a raw escape character ({where})", command, notes=[ended.last_line])


def not_finite(value: Any, path: str = "") -> Iterator[str]:
    """Paths of the values of a JSON document that are no numbers: null, NaN, infinities."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from not_finite(below, f"{path}.{name}")
    elif isinstance(value, list):
        for below in value:
            yield from not_finite(below, f"{path}[]")
    elif value is None or (isinstance(value, float) and (value != value or value in (float("inf"), float("-inf")))):
        yield path

"""What the studies share: arms that run once, their record, and a table of it. Needs nothing but Python.

An arm is one igpt command. What it printed and its curve are kept in a record beside the command itself: an arm whose
command, or that of an arm before it, has changed is run again, one that was interrupted goes on, what is recorded is not
run again. Budgets are steps, not minutes, so that a busy machine does not change a digit.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import pathlib
import shlex
import statistics
import subprocess

# Student's t for an interval of 95 % of the mean, by seeds.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
CURVE = ["step", "loss", "accuracy", "probe_accuracy", "probe_layer"]


@dataclasses.dataclass
class Arm:
    """`{out}` of the command is the arm's directory, `{other/arm}` that of another one, which is run before it."""

    name: str
    command: str
    after: tuple[str, ...] = ()


class Study:
    def __init__(self, doc, record, arms):
        self.arms = {arm.name: arm for arm in arms}
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--igpt", default="target/release/igpt")
        parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs") / record.stem)
        parser.add_argument("--only", default="", metavar="PREFIX[,PREFIX]", help="arms whose names begin so")
        parser.add_argument("--jobs", type=int, default=2, help="runs at once, one thread each; of 1 all threads")
        parser.add_argument("--threads", type=int, help="threads of each run, instead")
        parser.add_argument("--list", action="store_true", help="only print what is recorded")
        self.args = parser.parse_args()
        self.path = record
        self.record = self.read()
        self.chosen = [name for name in self.arms if name.startswith(tuple(self.args.only.split(",")))]

    def read(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def recorded(self, name):
        """The result of an arm, if its command and those of the arms before it are still the same."""
        found = self.record.get(name)
        if not found or found["command"] != self.arms[name].command:
            return None
        before = found.get("after", {})
        return found if all(self.arms[other].command == command for other, command in before.items()) else None

    def missing(self):
        """Arms to run, those that others need first."""
        order = []

        def need(name):
            if name not in order:
                whole = lambda other: self.recorded(other) and self.directory(other, "model").exists()
                list(map(need, (other for other in self.arms[name].after if not whole(other))))
                order.append(name)

        for name in self.chosen:
            if not self.recorded(name):
                need(name)
        return order

    def directory(self, name, *below):
        return self.args.out.joinpath(name, *below)

    def run(self, name):
        arm, out = self.arms[name], self.directory(name)
        places = {other: str(self.directory(other)) for other in arm.after} | {"out": str(out)}
        command = arm.command
        for key, value in places.items():
            command = command.replace("{" + key + "}", value)
        default = 0 if self.args.jobs == 1 else 1
        threads = ["--threads", str(default if self.args.threads is None else self.args.threads)]
        command = [self.args.igpt, *shlex.split(command), *threads, "--json"]
        # Beside the run, which wants a directory of its own: the command that began it.
        begun = self.args.out / "commands" / name.replace("/", "-")
        if command[1] in ("pretrain", "finetune") and (out / "config.resolved.toml").exists():
            if begun.exists() and begun.read_text() == arm.command:
                command = [*command[:2], "--resume", "--out", str(out), *threads, "--json"]
            else:
                command.append("--overwrite")
        begun.parent.mkdir(parents=True, exist_ok=True)
        begun.write_text(arm.command)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{name} failed: {shlex.join(command)}\n{done.stderr[-2000:]}")
        result = {"command": arm.command, "result": json.loads(done.stdout.splitlines()[-1])}
        if arm.after:
            result["after"] = {other: self.arms[other].command for other in arm.after}
        if result["result"].get("stopped"):
            raise SystemExit(f"{name} was stopped: the same command goes on with it")
        for key in ("run", "model", "page", "checkpoint", "seconds", "seconds_by_part", "tokens_per_second", "confusion"):
            result["result"].pop(key, None)
        metrics = out / "metrics.jsonl"
        if metrics.exists():
            rows = list(map(json.loads, metrics.read_text().splitlines()))
            result["curve"] = [{key: row[key] for key in CURVE if key in row} for row in rows if row["split"] == "validation"]
            if any("gradient_noise" in row for row in rows):
                result["noise_scale"] = list(noise_scale(rows))
        return result

    def run_missing(self):
        waiting, running = ([] if self.args.list else self.missing()), {}
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            while waiting or running:
                for name in list(waiting):
                    if len(running) < self.args.jobs and not set(self.arms[name].after) & set([*waiting, *running.values()]):
                        waiting.remove(name)
                        running[pool.submit(self.run, name)] = name
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    result = future.result()
                    # Another call of the script may have added arms of its own meanwhile.
                    self.record = self.read() | {name: result}
                    self.path.write_text(json.dumps(self.record, indent=1, sort_keys=True) + "\n")
                    print(f"done: {name}", flush=True)


def noise_scale(rows, parts=4):
    """The gradient's noise scale, in images, in equal parts of a run: both estimates are right only on average."""
    rows = [(row["gradient_noise"], row["gradient_signal"]) for row in rows if row.get("gradient_noise") is not None]
    size = len(rows) // parts
    for noise, signal in (map(sum, zip(*rows[i * size : (i + 1) * size])) for i in range(parts)):
        yield noise / signal


def mean_and_reach(values):
    """The mean of some seeds, and the half of its 95 % interval; 0 of a single one."""
    if len(values) < 2:
        return values[0], 0.0
    return statistics.mean(values), STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5


def interval(values):
    """These as text."""
    mean, reach = mean_and_reach(values)
    return f"{mean:.4f} ± {reach:.4f} ({len(values)} seeds)" if len(values) > 1 else f"{mean:.4f} (1 seed)"

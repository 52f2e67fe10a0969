#!/usr/bin/env python3
"""How fast `igpt serve` is, and what the live page costs a training. Wants nothing but Python and a quiet machine.

    studies/bench_server.py target/release/igpt [MODEL...]

Of each model (the one that comes with igpt if none is named):
  first pixel   milliseconds from a request to its first pixel on an idle server: from nothing, and below a given half
  sixteen       pixels per second of 16 clients at once beside those of `igpt sample -n 16`, in turns
and of the live page of a training run with one visitor: its share of the processor time.
"""

import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

ROUNDS = 5
REQUESTS = 31
CLIENTS = 16
PAGE_SECONDS = 60


@contextmanager
def running(*command):
    """A program that says where it listens; gives the process, host and port."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        for line in process.stderr:
            if found := re.search(r"http://([\d.]+):(\d+)", line):
                break
        else:
            sys.exit(f"{' '.join(command)} ended without an address")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process, found[1], int(found[2])
    finally:
        process.terminate()
        process.wait()


def post(connection, path, body):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return answer


def first_pixel(host, port, path, body):
    """Milliseconds to the first pixel, of each of some requests one after another."""
    times = []
    for seed in range(REQUESTS):
        connection = http.client.HTTPConnection(host, port)
        start = time.perf_counter()
        answer = post(connection, path, {**body, "seed": seed, "stream": True})
        while not answer.readline().startswith(b"event: pixels"):
            pass
        times.append(1000 * (time.perf_counter() - start))
        answer.read()
    return times


def sixteen(host, port, tokens, width):
    """Pixels per second of clients that each complete an image below its first row."""
    barrier = threading.Barrier(CLIENTS + 1)

    def complete(seed):
        connection = http.client.HTTPConnection(host, port)
        connection.connect()
        barrier.wait()
        post(connection, "/v1/complete", {"tokens": tokens, "rows": 1, "completions": 1, "seed": seed}).read()

    clients = [threading.Thread(target=complete, args=(seed,)) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    barrier.wait()
    start = time.perf_counter()
    for client in clients:
        client.join()
    return CLIENTS * (len(tokens) - width) / (time.perf_counter() - start)


def serving(igpt, model):
    chosen = ["--model", model] if model else []
    with running(igpt, "serve", "--listen", "127.0.0.1:0", "--per-client", "0", *chosen) as (_, host, port):
        connection = http.client.HTTPConnection(host, port)
        connection.request("GET", "/v1/models")
        facts = json.load(connection.getresponse())["models"][0]
        tokens, width = [0] * (facts["width"] * facts["height"]), facts["width"]
        print(f"{facts['name']}: {facts['width']}×{facts['height']}, {facts['parameters']:,} parameters")
        half = {"tokens": tokens, "rows": facts["height"] // 2, "completions": 1}
        for what, path, body in [("from nothing", "/v1/sample", {"n": 1}), ("below a half", "/v1/complete", half)]:
            times = sorted(first_pixel(host, port, path, body))
            worst = times[int(0.95 * len(times))]
            print(f"  first pixel {what}: median {statistics.median(times):.1f} ms, 95 % below {worst:.1f} ms")
        ours, offline = [], []
        for i in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                command = [igpt, "sample", "-n", str(CLIENTS), "--seed", str(i), *chosen]
                command += ["--json", "--out", f"{folder}/s.npy"]
                result = subprocess.run(command, check=True, capture_output=True)
                offline.append(json.loads(result.stdout)["tokens_per_second"])
            ours.append(sixteen(host, port, tokens, width))
        ours, offline = statistics.median(ours), statistics.median(offline)
        print(f"  sixteen clients: {ours:,.0f} pixels/s, igpt sample {offline:,.0f}, ratio {ours / offline:.3f}")


def processor_seconds(process):
    """Of each thread's name, in clock ticks."""
    spent = {}
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        name, fields = (task / "comm").read_text().strip(), (task / "stat").read_text().rpartition(")")[2].split()
        spent[name] = spent.get(name, 0) + int(fields[11]) + int(fields[12])
    return spent


def live_page(igpt):
    with tempfile.TemporaryDirectory() as folder:
        run = [igpt, "pretrain", "--data", "emoji", "--preset", "nano", "--minutes", "30"]
        run += ["--set", "train.eval_every=25", "--set", "train.sample_every=100", "--set", "train.checkpoint_every=200"]
        with running(*run, "--page", "127.0.0.1:0", "--out", f"{folder}/run") as (process, host, port):
            connection = http.client.HTTPConnection(host, port)
            connection.request("GET", "/api/events")
            events = connection.getresponse()
            threading.Thread(target=lambda: all(events.readline() for _ in iter(int, 1)), daemon=True).start()
            time.sleep(10)
            before, start = processor_seconds(process), time.time()
            time.sleep(PAGE_SECONDS)
            after = processor_seconds(process)
            page = after["igpt-page"] - before["igpt-page"]
            whole = sum(after.values()) - sum(before.get(name, 0) for name in after)
            print(f"live page: {100 * page / whole:.2f} % of the training's processor time over {time.time() - start:.0f} s")


if __name__ == "__main__":
    for model in sys.argv[2:] or [None]:
        serving(sys.argv[1], model)
    live_page(sys.argv[1])

"""Kills everything with SIGKILL at random moments under load, and counts what is lost or twice.

python tests/faults/chaos.py --seed N --kills 25
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.faulty_models import SumOfThree, pickled
from faults.oracle import Oracle, dataset, table
from harness import ROOT, Client, Service, eventually
from local import Broker

KILLS = {"features": 1, "model": 4, "model's process": 1, "metric": 4, "broker": 1}  # of each in a round
LOAD = 0.02  # seconds between two samples of features; the oracle publishes as fast as the broker confirms
SETTLED = 3.0  # seconds: a queue declared shortly before a SIGKILL of the broker may never be found again
DRAINED = 300.0  # seconds for what has piled up; far more than it takes


class Kept:
    """A service that is started again whenever it ends."""

    def __init__(self, name: str, folder: Path, **env: Any) -> None:
        self.name, self.folder, self.env = name, folder, env
        self.ended = threading.Event()
        self.exits: list[int] = []
        self.service = Service(name, folder, **env)
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        self.keeper.start()

    def keep(self) -> None:
        while True:
            self.exits.append(self.service.process.wait())
            if self.ended.is_set():
                return
            self.service = Service(self.name, self.folder, **self.env)

    def kill(self) -> None:
        self.service.signal(signal.SIGKILL)

    def kill_child(self) -> None:
        pid = self.service.process.pid
        with suppress(OSError):  # it has just ended
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)

    def end(self) -> None:
        self.ended.set()
        self.service.process.terminate()
        self.keeper.join()


class Chaos:
    """A broker and the three services under load, what is done to them, and what came of it."""

    def __init__(self, seed: int, folder: Path, stack: ExitStack) -> None:
        self.random, self.folder, self.logs = random.Random(seed), folder, folder / "logs"
        self.broker = stack.enter_context(Broker(folder / "broker"))
        self.restart = threading.Thread()  # of the broker
        self.env: dict[str, Any] = {
            "AMQP_URL": self.broker.url,
            "LOGS_DIR": self.logs,
            "MODEL_PATH": pickled(SumOfThree(), folder),
            "PYTHONPATH": ROOT / "tests",
        }
        draw: dict[str, Any] = {"DATASET": dataset(folder / "dataset.csv"), "INTERVAL": LOAD}
        self.features = Kept("features", folder, **self.env, **draw)
        self.model = Kept("model", folder, **self.env)
        self.metric = Kept("metric", folder, **self.env)
        self.services = (self.features, self.model, self.metric)
        for service in self.services:
            stack.callback(service.end)
            service.service.wait_for_log("connected")
        time.sleep(SETTLED)
        self.oracle = Oracle(self.broker.url, seed)

    def kill(self, target: str) -> None:
        if target == "broker":
            if self.restart.is_alive():
                self.restart.join()
            self.broker.kill()
            self.restart = threading.Thread(target=self.start_broker, args=[self.random.random()])
            self.restart.start()
        elif target == "model's process":
            self.model.kill_child()
        else:
            {"features": self.features, "model": self.model, "metric": self.metric}[target].kill()

    def start_broker(self, delay: float) -> None:
        time.sleep(delay)
        self.broker.start()

    def kill_all(self, rounds: int) -> None:
        """In any order, some while others are down; after every fifth round all at once."""
        for n in range(1, rounds + 1):
            for target in self.random.sample(list(KILLS), counts=KILLS.values(), k=sum(KILLS.values())):
                time.sleep(self.random.uniform(0.1, 2))
                self.kill(target)
            if n % 5 == 0:
                time.sleep(self.random.uniform(2, 6))
                for target in KILLS:
                    self.kill(target)
            print(f"round {n} of {rounds}: {self.oracle.acknowledged:,} messages confirmed", flush=True)

    def finish(self) -> tuple[str, bool]:
        """Let everything come to rest; return the table, and whether all is well."""
        if self.restart.is_alive():
            self.restart.join()
        self.oracle.stop()
        self.features.end()
        print("waiting until all is done", flush=True)
        eventually(self.drained, "empty queues", DRAINED)
        for service in (self.model, self.metric):
            service.end()
        letters = self.expire_halves()
        rows, of_features = self.oracle.rows((self.logs / "metric_log.csv").read_text())
        dead, halves = self.oracle.dead_letters(letters)
        problems: dict[str, set[Any]] = {
            "rows lost": rows.lost,
            "rows duplicated": set(rows.duplicated),
            "rows unexpected": rows.unexpected,
            "dead letters lost": dead.lost,  # twice is allowed after a kill
            "dead letters unexpected": dead.unexpected,
            "exit codes": self.exit_codes(),
            "tracebacks": {text for service in self.services for text in tracebacks(service.service.log)},
        }
        for what, found in problems.items():
            if found:
                print(f"{what}:", *sorted(found)[:10], sep="\n", flush=True)
        print(f"and {of_features:,} rows of features, {halves:,} halves whose other half was never published")
        return table(rows, dead), not any(problems.values())

    def exit_codes(self) -> set[str]:
        """Those that are neither 0 nor from our SIGKILL. Model ends with 2 if its process is killed while it loads."""
        odd = {f"{service.name}: {code}" for service in self.services for code in service.exits if code not in (0, -9)}
        return odd - ({"model: 2"} if "the process that loads it dies" in self.model.service.log else set())

    def drained(self) -> bool:
        """Whether no message is left, unacknowledged ones included."""
        time.sleep(1)
        listed = self.broker.ctl("list_queues", "name", "messages", "--no-table-headers")
        left = {name: int(n) for name, n in map(str.split, listed.splitlines())}
        return left["features"] == left["y_true"] == left["y_pred"] == 0

    def expire_halves(self) -> list[tuple[bytes, dict[str, Any]]]:
        """Let the halves that still wait be dead letters, and take all of these."""
        metric = Service("metric", self.folder, **self.env | {"PENDING_TTL": 0.001})
        letters = Client(self.broker.url).drain("dead_letters")
        assert metric.terminate() == 0
        return letters


def tracebacks(log: str) -> list[str]:
    return [part.split("\n20")[0] for part in log.split("Traceback")[1:]]


def chaos(seed: int, rounds: int, folder: Path) -> tuple[str, bool]:
    begun = time.monotonic()
    with ExitStack() as stack:
        storm = Chaos(seed, folder, stack)
        storm.kill_all(rounds)
        result, well = storm.finish()
    kills = ", ".join(f"{target} {n * rounds + rounds // 5}" for target, n in KILLS.items())
    return f"{result}\n\nSeed {seed}; SIGKILLs: {kills}; {time.monotonic() - begun:.0f} s.", well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of messages, targets and moments")
    parser.add_argument("--kills", type=int, default=25, help="of the broker; of model and metric four times as many")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result, well = chaos(arguments.seed, arguments.kills, Path(folder))
    print(f"\n{result}")
    sys.exit(not well)


if __name__ == "__main__":
    main()

"""Kills everything with SIGKILL at random moments under load, does mischief besides, counts what is lost or twice.

python tests/faults/chaos.py --seed N --kills 15 [--image IMAGE]

Mischief: queues that are there already in another form, or are deleted and declared again; files of metric that are
taken away; large messages; a clock that is stepped. Two things wait for their moment, because no service could keep its
promise otherwise: no kill comes before metric has noticed that a file is gone, and a queue is deleted when it is empty.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.faulty_models import SumOfThree, pickled
from faults.oracle import QUORUM, Oracle, dataset, table
from faults.take_away import STATE, WAYS
from harness import DRIVER, HEADER, QUEUES, ROOT, SERVICES, Client, Clock, Service, eventually
from local import Node, has_image, rabbitmq_image
from pipeline.broker import ARGUMENTS

KILLS = {"features": 1, "model": 4, "model's process": 1, "metric": 4, "broker": 1}  # of each in a round
FORMS: dict[str, dict[str, Any]] = {"version 0.1": QUORUM, "classic": {}, "version 0.2": ARGUMENTS}  # of a queue
FED = ("features", "y_true", "y_pred")
CLOCK_STEPS = (-366 * 86400, -3600, -3, 0, 3, 3600, 366 * 86400)  # seconds that the clock is off
LARGE = 2**20, 15 * 2**20  # bytes: from what is too large to what a broker takes
NOTICED = 180.0  # seconds for metric to notice that a file is gone; half a second as soon as the broker is back
LOAD = 0.02  # seconds between two samples of features; the oracle publishes as fast as the broker confirms
SETTLED = 3.0  # seconds: a queue declared shortly before a SIGKILL of the broker may never be found again
DRAINED = 300.0  # seconds for what has piled up; far more than it takes


class Kept:
    """A service that is started again whenever it ends."""

    def __init__(self, name: str, folder: Path, **env: Any) -> None:
        self.name, self.folder, self.env = name, folder, env
        self.ended = threading.Event()
        self.exits: list[int] = []
        self.service = self.start()
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        self.keeper.start()

    def start(self) -> Service:
        return Service(self.name, self.folder, script=DRIVER, **self.env)

    def keep(self) -> None:
        while True:
            self.exits.append(self.service.process.wait())
            if self.ended.is_set():
                return
            self.service = self.start()

    def kill(self) -> None:
        self.service.kill()

    @contextmanager
    def paused(self) -> Iterator[None]:
        eventually(lambda: self.service.process.poll() is None, f"{self.name} to run")
        process = self.service.process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

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
    """A broker and the three services under load, what is done to them, and the result."""

    def __init__(self, seed: int, folder: Path, stack: ExitStack, image: str) -> None:
        self.random, self.folder, self.logs = random.Random(seed), folder, folder / "logs"
        self.broker = stack.enter_context(Node(folder / "broker", image=image))
        self.restart = threading.Thread()  # of the broker
        self.transient = set(QUEUES)
        for queue in QUEUES:
            self.declare(queue)
        self.clock = Clock(folder / "clock")
        self.env: dict[str, Any] = {
            "AMQP_URL": self.broker.url,
            "LOGS_DIR": self.logs,
            "MODEL_PATH": pickled(SumOfThree(), folder),
            "CLOCK": self.clock.path,
        }
        draw = {"DATASET": dataset(folder / "dataset.csv"), "INTERVAL": LOAD}
        self.services = tuple(
            Kept(name, folder, SERVICE=name, PYTHONPATH=f"{SERVICES}/{name}/src:{ROOT}/tests", **self.env, **draw)
            for name in ("features", "model", "metric")
        )
        self.features, self.model, self.metric = self.services
        for service in self.services:
            stack.callback(service.end)
            service.service.wait_for_log("connected")
        time.sleep(SETTLED)
        shutil.copytree(self.logs, folder / "copy")
        self.oracle = Oracle(self.broker.url, seed, transient=self.transient)
        self.mischief = (
            self.take_state_away,
            self.move_csv_away,
            self.delete_queue,
            self.publish_large_message,
            self.step_clock,
        )

    def declare(self, queue: str) -> None:
        """In one form or another."""
        form = self.random.choice(list(FORMS))
        print(f"{queue}: {form}", flush=True)
        with closing(Client(self.broker.url).connection) as connection:
            connection.channel().queue_declare(queue, durable=True, arguments=FORMS[form])
        (self.transient.discard if form == "classic" else self.transient.add)(queue)

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
        """In any order, some while others are down, with mischief in between; after every fifth round all at once."""
        kills: list[Callable[[], None]] = [partial(self.kill, target) for target, n in KILLS.items() for _ in range(n)]
        for n in range(1, rounds + 1):
            for act in self.random.sample([*kills, *self.mischief], k=len(kills) + len(self.mischief)):
                time.sleep(self.random.uniform(0.1, 2))
                act()
            if n % 5 == 0:
                time.sleep(self.random.uniform(2, 6))
                for target in KILLS:
                    self.kill(target)
            print(f"round {n} of {rounds}: {self.oracle.acknowledged:,} messages confirmed", flush=True)

    def take_state_away(self) -> None:
        """And return when metric has written it again: until then, a kill would lose what is in it."""
        eventually(self.metric_has_its_files, "a metric that runs", NOTICED)
        before = self.metric.service.log.count("it is written again")
        way = self.random.choice(WAYS)
        way(self.logs)
        print(way.__name__, flush=True)
        eventually(lambda: self.metric.service.log.count("it is written again") > before, "the state again", NOTICED)

    def move_csv_away(self) -> None:
        """And return when metric has begun another one: until then, a kill would make it write the last rows again."""
        eventually(self.metric_has_its_files, "a metric that runs", NOTICED)
        csv = self.logs / "metric_log.csv"
        csv.rename(csv.with_name(f"metric_log.{time.time_ns()}.csv"))
        print("move_csv_away", flush=True)
        eventually(lambda: csv.exists() and csv.stat().st_size > len(HEADER), "another CSV", NOTICED)

    def metric_has_its_files(self) -> bool:
        with suppress(OSError):
            descriptors = Path(f"/proc/{self.metric.service.process.pid}/fd").iterdir()
            files = {os.readlink(descriptor) for descriptor in descriptors}
            return {str(self.logs / STATE), str(self.logs / "metric_log.csv")} <= files
        return False

    def delete_queue(self) -> None:
        """Delete a queue and declare it again, maybe in another form, at a time when it is empty and stays so."""
        if self.restart.is_alive():
            self.restart.join()
        queue = self.random.choice(FED)
        with self.oracle.paused(), self.features.paused():
            for _ in range(2):  # what has left one queue may not have come to the next
                eventually(self.drained, "empty queues", DRAINED)
            print("delete_queue", end=" ")
            with closing(Client(self.broker.url).connection) as connection:
                connection.channel().queue_delete(queue)
            self.declare(queue)
        time.sleep(SETTLED)

    def publish_large_message(self) -> None:
        self.oracle.publish_large(self.random.choice(FED), self.random.randint(*LARGE))

    def step_clock(self) -> None:
        self.clock.set(self.random.choice(CLOCK_STEPS))

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
        csvs = self.folder.glob("logs*/metric_log*.csv")
        rows, of_features = self.oracle.rows(*(csv.read_text() for csv in csvs))
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
                print(f"{what}:", *(str(each)[:1000] for each in sorted(found)[:10]), sep="\n", flush=True)
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


def chaos(seed: int, rounds: int, folder: Path, image: str = "") -> tuple[str, bool]:
    begun = time.monotonic()
    with ExitStack() as stack:
        storm = Chaos(seed, folder, stack, image)
        storm.kill_all(rounds)
        result, well = storm.finish()
    kills = ", ".join(f"{target} {n * rounds + rounds // 5}" for target, n in KILLS.items())
    kills += f"; each kind of mischief {rounds}"
    return f"{result}\n\nSeed {seed}; SIGKILLs: {kills}; {time.monotonic() - begun:.0f} s.", well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of messages, targets and moments")
    parser.add_argument("--kills", type=int, default=15, help="of the broker; of model and metric four times as many")
    parser.add_argument(
        "--image", nargs="?", const=rabbitmq_image(), default="", help="of RabbitMQ, instead of the system's package"
    )
    arguments = parser.parse_args()
    if arguments.image and not has_image(arguments.image):
        print(f"no chaos with {arguments.image}: `docker image inspect` does not find it; see local/images.sh")
        return
    folder = Path(tempfile.mkdtemp()).resolve()
    print(f"seed {arguments.seed}, in {folder}, which stays if something is wrong", flush=True)
    result, well = chaos(arguments.seed, arguments.kills, folder, arguments.image)
    print(f"\n{result}")
    if well:
        shutil.rmtree(folder)
    sys.exit(not well)


if __name__ == "__main__":
    main()

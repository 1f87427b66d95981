"""What the tests are made of: the services as real processes, and a client of the tests' own.

The client uses pika's blocking connection and shares no code with the services.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pika
import pytest

ROOT = Path(__file__).parents[1]
SERVICES = Path(os.environ.get("SERVICES_ROOT") or ROOT)  # the mutation tests run on altered copies
QUEUES = ("features", "y_true", "y_pred", "dead_letters")
HEADER = "id,y_true,y_pred,absolute_error\n"  # of the CSV
DRIVER = ROOT / "tests/faults/driver.py"  # runs a service that is killed at a step, or whose clocks can be set
# Seconds; far more than anything here takes, also on a machine that is busy with something else.
DEADLINE = float(os.environ.get("DEADLINE", 120))


def line(sample_id: float) -> str:
    """The row of the CSV that `publish` makes."""
    return f"{sample_id!r},{sample_id + 0.5!r},{sample_id - 0.25!r},0.75\n"


def unavailable(reason: str) -> NoReturn:
    """Skip with the reason; in CI nothing is skipped."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def eventually(condition: Callable[[], Any], what: str = "the condition", deadline: float = DEADLINE) -> Any:
    """Return the first true answer of `condition`; fail after `deadline` seconds."""
    end = (asked := time.monotonic()) + deadline
    while not (answer := condition()):
        took = time.monotonic() - asked
        assert asked < end, f"{what} did not come true within {deadline} s; last answer: {answer!r}"
        time.sleep(max(0.05, 4 * took))  # what is slow to tell is not asked all the time
        asked = time.monotonic()
    return answer


@contextmanager
def no_warnings() -> Iterator[None]:
    """Every warning is an error, but that of a socket which a test before has left to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
        yield


def memory() -> str | None:
    """Where files are in memory, if there is room for them; otherwise None, which stands for the usual place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 2**31 else None


def open_to_all(folder: Path) -> None:
    """Let other users through to it: pytest makes folders for one user."""
    for each in (folder, *folder.parents):
        if each in (Path(tempfile.gettempdir()), Path("/")):
            return
        each.chmod(0o755)


class Client:
    """A foreign client: what a person with pika's tutorial would write, but with confirms."""

    def __init__(self, url: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def declare(self, queue: str, **arguments: Any) -> None:
        self.channel.queue_declare(queue, durable=True, arguments=arguments)

    def delete(self, queue: str) -> None:
        self.channel.queue_delete(queue)

    def publish(self, queue: str, body: bytes | dict[str, Any], **headers: Any) -> None:
        """Publish without what a producer need not give; return when the broker has confirmed it."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        properties = pika.BasicProperties(headers=headers) if headers else None
        self.channel.basic_publish("", queue, body, properties, mandatory=True)

    def get(self, queue: str) -> tuple[bytes, dict[str, Any]] | None:
        """Take one message off the queue: its body and headers."""
        method, properties, body = self.channel.basic_get(queue, auto_ack=True)
        return None if method is None else (body, properties.headers or {})

    def take(self, queue: str, n: int) -> list[tuple[bytes, dict[str, Any]]]:
        """Take n messages off the queue, waiting for them."""
        return [eventually(lambda: self.get(queue), f"message {i + 1} of {n} in {queue}") for i in range(n)]

    def drain(self, queue: str) -> list[tuple[bytes, dict[str, Any]]]:
        """Take all messages off the queue, until none has come for 5 s."""
        taken = []
        for method, properties, body in self.channel.consume(queue, auto_ack=True, inactivity_timeout=5):
            if method is None:
                break
            taken.append((body, properties.headers))
        return taken

    def consumers(self, queue: str) -> int:
        return int(self.channel.queue_declare(queue, passive=True).method.consumer_count)

    def count(self, queue: str) -> int:
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)


def publish(client: Client, *ids: float) -> None:
    """Publish both values of each pair."""
    for sample_id in ids:
        client.publish("y_true", {"id": sample_id, "body": sample_id + 0.5})
        client.publish("y_pred", {"id": sample_id, "body": sample_id - 0.25})


class Service:
    """One of the four services as a process, its log in a file."""

    def __init__(self, name: str, folder: Path, script: Path | None = None, **env: object) -> None:
        self.name, self.log_path = name, folder / f"{name}.log"
        variables = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "OMP_NUM_THREADS")}
        variables |= {"TMPDIR": str(folder)} | {k: str(v) for k, v in env.items()}
        variables["PYTHONPATH"] = f"{SERVICES}:{variables.get('PYTHONPATH', '')}"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, script or SERVICES / name / "src" / f"{name}.py"],
                env=variables,
                cwd=folder,
                stderr=log,
            )

    @property
    def children(self) -> list[int]:
        """The ids of the processes that it has started."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait_for_log(self, text: str, times: int = 1) -> None:
        def enough() -> bool:
            assert self.process.poll() is None or self.log.count(text) >= times, f"{self.name} ended:\n{self.log}"
            return self.log.count(text) >= times

        eventually(enough, f"{text!r} in the log of {self.name}")

    def answers_sigterm(self) -> bool:
        """Whether it has a handler: the interpreter itself, while it starts, has none."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
        return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.terminate()
        return self.process.wait(DEADLINE)

    def wait(self) -> int:
        return self.process.wait(DEADLINE)


Run = Callable[..., Service]  # what the fixture `run` is


class Clock:
    """A clock of a service under DRIVER, which can be set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)

    def set(self, seconds: float) -> None:
        """To that many seconds more than the real one; in one step, since the service reads the file all the time."""
        new = self.path.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.path)


def whole_lines(csv: Path) -> str:
    """What the CSV has so far, without a last line that may still be on its way."""
    text = csv.read_text()
    return text[: text.rfind("\n") + 1]


def rows(logs: Path) -> list[tuple[float, float, float, float]]:
    """The rows of the CSV that are whole."""
    path = logs / "metric_log.csv"
    if not path.exists() or not (text := whole_lines(path)):
        return []
    header, *lines = csv.reader(text.splitlines())
    assert header == ["id", "y_true", "y_pred", "absolute_error"]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in lines]


def snippet(page: str, containing: str, language: str = "python") -> str:
    """The one block of a page that contains a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if containing in block)
    return block


def execute(program: str, folder: Path) -> str:
    """Run a program in a folder, and return what it prints."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(program: str, folder: Path, **environment: str) -> str:
    """Run shell commands in a folder, with this Python, and return what they print."""
    program = program.replace("make .venv/ready", "true").replace(".venv/bin/python", sys.executable)
    program = program.replace("make train", f"{sys.executable} {ROOT}/model/src/train.py")
    program = re.sub(r'make (replay|letters) ARGS="(.*)"', rf"{sys.executable} -m tools.\1 \2", program)
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = ["bash", "-eu", "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

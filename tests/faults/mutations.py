"""Shows that the tests can fail: breaks one behaviour of a copy of the services after another, and runs a test on it.

A mutation replaces a function by name, in the service that it is appended to, just before the service starts.

python tests/faults/mutations.py [a word of the names]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = ("pipeline", "features", "model", "metric")
START = 'if __name__ == "__main__":'
UNAWAITED = """
publish = Broker.publish
async def publish_later(self, messages):
    self.later = asyncio.create_task(publish(self, list(messages)))
    await asyncio.sleep(0)
Broker.publish = publish_later
"""


class Mutation(NamedTuple):
    name: str
    service: str
    code: str
    test: str


MUTATIONS = (
    Mutation(
        "metric acknowledges before it writes",
        "metric",
        """
batches, acknowledge = Broker.batches, Broker.acknowledge
async def acknowledged_batches(self, *queues):
    async for batch in batches(self, *queues):
        acknowledge(self, batch)
        yield batch
Broker.batches, Broker.acknowledge = acknowledged_batches, lambda self, batch: None
""",
        "test_metric_disk.py::test_a_full_disk_loses_nothing[kill]",
    ),
    Mutation(
        "metric acknowledges before its dead letters are confirmed",
        "metric",
        UNAWAITED,
        "test_recovery.py::test_what_the_broker_did_not_take_comes_again_after_a_kill[metric-dead_letters]",
    ),
    Mutation(
        "model acknowledges before its answers are confirmed",
        "model",
        UNAWAITED,
        "test_recovery.py::test_what_the_broker_did_not_take_comes_again_after_a_kill[model-y_pred]",
    ),
    Mutation(
        "a rejection by the broker counts as a confirm",
        "features",
        """
publish_once = Broker._publish
async def all_confirmed(self, messages):
    await publish_once(self, messages)
    return []
Broker._publish = all_confirmed
""",
        "test_recovery.py::test_features_publishes_what_the_broker_rejected_before_the_connection_closed",
    ),
    Mutation(
        "what was not confirmed is forgotten with the connection",
        "features",
        """
draw = Samples.draw
def draw_and_forget(self):
    messages, self.unconfirmed = draw(self), []
    return messages
Samples.draw = draw_and_forget
""",
        "test_recovery.py::test_features_publishes_what_the_broker_rejected_before_the_connection_closed",
    ),
    Mutation(
        "a repeat is not known",
        "metric",
        "MetricLog.known_values = lambda self, ids: {}",
        "test_bad_messages.py::test_the_second_of_two_halves_that_differ_is_rejected",
    ),
    Mutation(
        "a torn line stays",
        "metric",
        "MetricLog.compare = lambda self, size: self.remember_size(size)",
        "test_metric_steps.py::test_metric_killed_at_a_step_of_its_write_makes_each_row_once[half-write]",
    ),
    Mutation(
        "the clock alone makes the id",
        "features",
        "next_id = lambda last, now: round(now, 6)",
        "test_metric_pending.py::test_ids_increase_while_the_clock_steps_back",
    ),
    Mutation(
        "an expired half is forgotten before it is safe",
        "metric",
        """
expired = MetricLog.expired
def expired_and_forgotten(self, ttl):
    halves = expired(self, ttl)
    self.forget(halves)
    return halves
MetricLog.expired = expired_and_forgotten
""",
        "test_metric_pending.py::test_an_expired_half_is_kept_until_it_is_safe",
    ),
)


def run(mutation: Mutation) -> bool:
    """Whether the test goes red on a copy of the services with this mutation."""
    with tempfile.TemporaryDirectory() as folder:
        for name in FOLDERS:
            shutil.copytree(ROOT / name, Path(folder, name))
        script = Path(folder, mutation.service, "src", f"{mutation.service}.py")
        script.write_text(script.read_text().replace(START, f"{mutation.code}\n\n{START}"))
        paths = f"pythonpath=tests . {' '.join(f'{folder}/{name}/src' for name in FOLDERS[1:])}"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-o", paths, f"tests/faults/{mutation.test}"]
        env = os.environ | {"SERVICES_ROOT": folder, "DEADLINE": "30"}  # a fault often shows as waiting in vain
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if f"1 {'failed' if done.returncode else 'passed'}" not in done.stdout:
            raise SystemExit(f"{mutation.name}: {mutation.test} did not run:\n{done.stdout[-2000:]}{done.stderr}")
        return done.returncode == 1


def main() -> None:
    chosen = [mutation for mutation in MUTATIONS if all(word in mutation.name for word in sys.argv[1:])]
    missed = 0
    print("| what is broken | caught by |\n|---|---|", flush=True)
    for mutation in chosen:
        caught = run(mutation)
        missed += not caught
        print(f"| {mutation.name} | {f'`{mutation.test}`' if caught else '**nothing**'} |", flush=True)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()

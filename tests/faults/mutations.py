"""Shows that the tests can fail: breaks a copy of the services in one place after another, and runs a test on it.

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
SERVICES = ("features", "model", "metric")


class Mutation(NamedTuple):
    name: str
    service: str
    old: str
    new: str
    test: str


MUTATIONS = (
    Mutation(
        "metric acknowledges before it writes",
        "metric",
        "        halves = [(incoming, parse(",
        """        self.channel.basic_ack(batch[-1].tag, multiple=True)
        self.acknowledged = batch[-1].tag
        halves = [(incoming, parse(""",
        "test_disk.py::test_a_full_disk_loses_nothing[kill]",
    ),
    Mutation(
        "metric acknowledges before its dead letters are confirmed",
        "metric",
        "self.settle({incoming.tag for incoming in batch} - {message.source for message in refused})",
        "self.settle({incoming.tag for incoming in batch}); self.on_confirmed = lambda messages: None",
        "test_recovery.py::test_what_the_broker_did_not_take_comes_again_after_a_kill[metric-dead_letters]",
    ),
    Mutation(
        "model acknowledges before its answers are confirmed",
        "model",
        "        self.ask()\n\n    def on_death",
        """            self.settle(incoming.tag for incoming in asked)
            self.on_confirmed = lambda messages: None
        self.ask()

    def on_death""",
        "test_recovery.py::test_what_the_broker_did_not_take_comes_again_after_a_kill[model-y_pred]",
    ),
    Mutation(
        "a refusal by the broker counts as a confirm",
        "features",
        "if isinstance(frame.method, pika.spec.Basic.Ack):",
        "if True:",
        "test_recovery.py::test_features_publishes_what_the_broker_refused_before_the_connection_closed",
    ),
    Mutation(
        "what was not confirmed is forgotten with the connection",
        "features",
        "[*self.unconfirmed.values(), *self.refused], {}, []",
        "[], {}, []",
        "test_recovery.py::test_features_publishes_what_the_broker_refused_before_the_connection_closed",
    ),
    Mutation(
        "no mandatory",
        "metric",
        "mandatory=True",
        "mandatory=False",
        "test_recovery.py::test_a_queue_deleted_under_load[dead_letters]",
    ),
    Mutation(
        "no heartbeats",
        "metric",
        "parameters.heartbeat = 10",
        "parameters.heartbeat = 0",
        "test_recovery.py::test_a_network_that_falls_silent",
    ),
    Mutation(
        "a repeat is not known",
        "metric",
        "            known = row[queue",
        "            return None\n            known = row[queue",
        "test_bad_messages.py::test_the_second_of_two_halves_that_differ_is_refused",
    ),
    Mutation(
        "a repeat makes a second row",
        "metric",
        "half = None if row else self.db",
        """if row:
            self.db.execute("INSERT INTO rows (id, y_true, y_pred) VALUES (?, ?, ?)", (None, *row))
        half = None if row else self.db""",
        "test_bad_messages.py::test_the_second_of_two_halves_that_differ_is_refused",
    ),
    Mutation(
        "the CSV is appended to before the commit",
        "metric",
        "        self.write()\n        return reasons",
        """            query = "SELECT seq, id, y_true, y_pred FROM rows WHERE seq > ? ORDER BY seq"
            if rows := self.db.execute(query, (self.written,)).fetchall():
                self.append(b"".join(line(*row[1:]) for row in rows))
                self.written = rows[-1][0]
        return reasons""",
        "test_steps.py::test_metric_killed_at_a_step_of_its_write_makes_each_row_once[commit]",
    ),
    Mutation(
        "a row counts as written before it is",
        "metric",
        """            self.append(b"".join(line(*row[1:]) for row in rows))
            self.note(rows[-1][0])""",
        """            self.note(rows[-1][0])
            self.append(b"".join(line(*row[1:]) for row in rows))""",
        "test_steps.py::test_metric_killed_at_a_step_of_its_write_makes_each_row_once[write]",
    ),
    Mutation(
        "a torn line is not completed",
        "metric",
        "        if torn:\n",
        "        if False:\n",
        "test_steps.py::test_metric_killed_at_a_step_of_its_write_makes_each_row_once[half-write]",
    ),
    Mutation(
        "the CSV is not synced",
        "metric",
        "        os.fsync(self.csv)\n",
        "",
        "../unit/test_metric.py::test_a_batch_costs_two_syncs_and_no_more_reading_when_the_log_is_long",
    ),
    Mutation(
        "no lock on the folder",
        "metric",
        "PRAGMA locking_mode = EXCLUSIVE;",
        "",
        "test_stop.py::test_of_many_metrics_one_writes_and_the_next_takes_over",
    ),
    Mutation(
        "all that the model's process had in hand is refused with what it dies of",
        "model",
        "            self.suspects.extendleft(reversed(asked))",
        "            self.publish([self.refusal(incoming, 'died of it') for incoming in asked])",
        "test_bad_messages.py::test_a_vector_that_the_model_cannot_take_is_refused_alone[Deadly-died of it]",
    ),
    Mutation(
        "the clock alone makes the id",
        "features",
        "return max(round(now, 6), round(last + 1e-6, 6))",
        "return round(now, 6)",
        "test_pending.py::test_ids_increase_while_the_clock_steps_back",
    ),
    Mutation(
        "an expired half is forgotten before it is safe",
        "metric",
        "        self.expiring = [seq for seq, _, _ in expired]",
        "        self.log.forget([seq for seq, _, _ in expired])",
        "test_pending.py::test_an_expired_half_is_kept_until_it_is_safe",
    ),
)


def run(mutation: Mutation) -> bool:
    """Whether the test goes red on a copy of the services with this mutation."""
    with tempfile.TemporaryDirectory() as folder:
        for service in SERVICES:
            shutil.copytree(ROOT / service, Path(folder, service))
        script = Path(folder, mutation.service, "src", f"{mutation.service}.py")
        text = script.read_text()
        if text.count(mutation.old) != 1:
            raise SystemExit(
                f"{mutation.name}: the text to replace is there {text.count(mutation.old)} times, not once"
            )
        script.write_text(text.replace(mutation.old, mutation.new))
        paths = f"pythonpath=tests local {' '.join(f'{folder}/{service}/src' for service in SERVICES)}"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-o", paths, f"tests/faults/{mutation.test}"]
        env = os.environ | {"SERVICES_ROOT": folder}
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

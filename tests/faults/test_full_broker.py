"""Nothing fills up where a consumer is slow or down: not the broker's disk, nor the memory of a service."""

from __future__ import annotations

from faults.faulty_models import MAGIC, Sum, SumOfThree, Uneven, pickled
from faults.oracle import QUORUM
from harness import QUEUES, ROOT, Client, Run, eventually
from local import Node
from pipeline.broker import WAITING, WAITING_BYTES

import json
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker
MIB = 2**20


def peak(pid: int) -> float:
    """The most memory that a process has had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


@pytest.mark.long
@pytest.mark.parametrize("queue", ["features", "y_true", "y_pred"])
def test_features_holds_back_while_too_much_waits(client: Client, run: Run, queue: str) -> None:
    """With one line, whatever is slow: the model (features), metric (y_true and y_pred)."""
    client.declare(queue, **QUORUM)
    channel = client.connection.channel()  # without confirms, which would take longer than the test
    for _ in range(WAITING + 1000):
        channel.basic_publish("", queue, b"x")
    eventually(lambda: client.count(queue) > WAITING)
    features = run("features", INTERVAL=0)
    features.wait_for_log(f"messages wait in {queue}: publishing pauses")
    other = "features" if queue == "y_true" else "y_true"
    before = client.count(other)
    time.sleep(3)  # three looks
    assert client.count(other) == before
    assert features.log.count("publishing pauses") == 1
    client.channel.queue_purge(queue)
    features.wait_for_log("publishing resumes")
    eventually(lambda: client.count(other) > before + 1000)
    assert features.terminate() == 0


def test_features_holds_back_earlier_and_in_little_memory_where_vectors_are_large(
    client: Client, run: Run, tmp_path: Path
) -> None:
    """Vectors of almost 1 MiB, as of gene expressions: each time before more than some 256 MiB wait."""
    columns = 56_000
    table = tmp_path / "wide.csv"
    with table.open("w") as file:
        file.write(",".join(f"g{n}" for n in range(columns)) + ",y\n")
        file.write((",".join(f"{n / 7!r}" for n in range(1, columns + 1)) + ",1\n") * 4)
    features = run("features", INTERVAL=0, DATASET=table)
    for times in (1, 2):
        features.wait_for_log("messages wait in features: publishing pauses", times)
        waiting = client.count("features")
        ((body, _),) = client.take("features", 1)
        assert MIB * 0.8 < len(body) < MIB
        assert 0.9 * WAITING_BYTES < waiting * len(body) < 1.5 * WAITING_BYTES, f"{waiting} messages"
        for queue in ("features", "y_true"):
            client.channel.queue_purge(queue)
    most = peak(features.process.pid)
    assert most < 300, f"{most} MiB"
    assert features.terminate() == 0
    client.channel.queue_purge("features")


@pytest.mark.long
def test_model_takes_large_vectors_in_little_memory(client: Client, run: Run, tmp_path: Path) -> None:
    """300 of almost 1 MiB, after small ones, of which it takes many at once."""
    for queue in QUEUES:
        client.declare(queue, **QUORUM)
    for sample_id in range(2000):
        client.publish("features", {"id": sample_id, "body": [1, 2, 3]})
    large = json.dumps({"id": 1, "body": [0.5] * 209_000}).encode()
    for _ in range(300):
        client.publish("features", large)
    model = run("model", MODEL_PATH=pickled(SumOfThree(), tmp_path), PYTHONPATH=ROOT / "tests")
    model.wait_for_log("connected")
    (child,) = model.children
    most = 0.0

    def answered() -> bool:
        nonlocal most
        most = max(most, peak(model.process.pid) + peak(child))
        return client.count("y_pred") >= 2000 and client.count("dead_letters") >= 300

    eventually(answered, "all answers")
    assert most < 900, f"{most:.0f} MiB"  # what both share is counted twice; without bounds it is 4,000
    assert model.terminate() == 0
    client.channel.queue_purge("dead_letters")


@pytest.mark.long
def test_model_takes_no_more_large_vectors_than_it_can_hold(client: Client, run: Run, tmp_path: Path) -> None:
    """400 of almost 1 MiB; a batch should have now 16 of them, now two, and each change makes a new consumer."""
    client.declare("features", **QUORUM)
    quick, slow = (json.dumps({"id": 1, "body": [first] + [0.5] * 208_000}).encode() for first in (0.5, MAGIC))
    for n in range(400):
        client.publish("features", slow if n % 40 > 32 else quick)
    model = run("model", MODEL_PATH=pickled(Uneven(), tmp_path), PYTHONPATH=ROOT / "tests")
    model.wait_for_log("connected")
    eventually(lambda: client.count("y_pred") >= 400, "all answers")
    assert "too many bytes" not in model.log
    assert client.count("y_pred") == 400
    assert model.terminate() == 0


@pytest.mark.long
def test_model_goes_on_after_the_brokers_disk_was_full(fragile: Node, run: Run, tmp_path: Path) -> None:
    """It publishes in order to consume, so it is blocked as well: with one line, and until there is room."""
    client = Client(fragile.url)
    client.declare("features", **QUORUM)
    for sample_id in range(100):
        client.publish("features", {"id": sample_id, "body": [0.5]})
    fragile.ctl("set_disk_free_limit", "100000GB")
    try:
        model = run("model", AMQP_URL=fragile.url, MODEL_PATH=pickled(Sum(), tmp_path), PYTHONPATH=ROOT / "tests")
        model.wait_for_log("the broker blocks publishing (low on disk)")
        time.sleep(16)  # longer than it waits for a confirm otherwise
    finally:
        fragile.ctl("set_disk_free_limit", "1MB")
    model.wait_for_log("the broker takes messages again")
    client = Client(fragile.url)
    ids = [json.loads(body)["id"] for body, _ in client.take("y_pred", 100)]
    assert sorted(ids) == list(range(100))
    assert (model.log.count("the broker blocks"), model.log.count("no connection")) == (1, 0)
    assert model.terminate() == 0
    client.connection.close()

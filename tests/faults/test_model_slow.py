"""Guarantee 8: a model of any speed answers steadily, gives its share to a second one, and keeps its connection."""

from __future__ import annotations

from faults.faulty_models import MAGIC, Forking, Hanging, Slower, pickled
from faults.oracle import QUORUM
from harness import QUEUES, ROOT, Client, Run, eventually, memory
from local import Node

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker
VECTORS = 150


def environment(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has ended
        return b""


@pytest.fixture(scope="module")
def strict_node() -> Iterator[Node]:
    """A node that closes the channel of a consumer that holds a message for a minute.

    Its data is in memory: other tests load the disk, and waiting for that would count as the model's time.
    """
    with (
        tempfile.TemporaryDirectory(dir=memory()) as folder,
        Node(folder, config="consumer_timeout = 60000") as broker,
    ):
        yield broker


@pytest.mark.long
def test_a_second_model_takes_its_share_of_slow_vectors(strict_node: Node, run: Run, tmp_path: Path) -> None:
    client = Client(strict_node.url)
    for queue in QUEUES:
        client.declare(queue, **QUORUM)
    for sample_id in range(VECTORS):
        client.publish("features", {"id": sample_id, "body": [0.5]})
    env = {"AMQP_URL": strict_node.url, "MODEL_PATH": pickled(Slower(), tmp_path), "PYTHONPATH": ROOT / "tests"}
    first = run("model", **env)
    first.wait_for_log("connected")
    begun = time.monotonic()
    eventually(lambda: client.count("y_pred") > 0, "the first answer")
    assert time.monotonic() - begun < 1
    second = run("model", **env)
    second.wait_for_log("connected")
    begun, alone = time.monotonic(), (VECTORS - client.count("y_pred")) * Slower.SECONDS
    assert alone > 10
    eventually(lambda: client.count("y_pred") == VECTORS, "all answers", 2 * alone)
    assert time.monotonic() - begun < 0.6 * alone
    assert len({json.loads(body)["id"] for body, _ in client.take("y_pred", VECTORS)}) == VECTORS
    assert all("no connection" not in model.log for model in (first, second))


def test_a_vector_that_takes_too_long_is_given_up_and_the_others_are_answered(
    client: Client, run: Run, tmp_path: Path
) -> None:
    for queue in QUEUES:
        client.declare(queue, **QUORUM)
    for sample_id in range(20):
        client.publish("features", {"id": sample_id, "body": [MAGIC if sample_id == 10 else 0.5]})
    env = {"MODEL_PATH": pickled(Hanging(), tmp_path), "PYTHONPATH": ROOT / "tests", "PREDICT_TIMEOUT": 2}
    model = run("model", **env)
    ((letter, headers),) = client.take("dead_letters", 1)
    assert json.loads(letter)["id"] == 10
    assert "no answer within 2 s" in headers["reason"]
    eventually(lambda: client.count("y_pred") == 19, "the other answers")
    assert model.terminate() == 0


def test_a_model_that_hangs_ends_with_the_processes_that_it_has_started(
    client: Client, run: Run, tmp_path: Path
) -> None:
    env = {"MODEL_PATH": pickled(Forking(), tmp_path), "PYTHONPATH": ROOT / "tests", "PREDICT_TIMEOUT": 1}
    model = run("model", **env)
    model.wait_for_log("connected")
    client.publish("features", {"id": 1, "body": [MAGIC]})
    eventually(lambda: client.get("dead_letters"), "the vector that hangs", 30)
    client.publish("features", {"id": 2, "body": [0.5]})
    client.take("y_pred", 1)
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if f"TMPDIR={tmp_path}".encode() in environment(path)]
    assert len(left) == 2  # the service and the model's process
    assert model.terminate() == 0


def test_a_batch_may_take_longer_than_a_single_prediction(client: Client, run: Run, tmp_path: Path) -> None:
    """Which is 20 ms; a batch has as many as fit in half a second."""
    client.declare("features", **QUORUM)
    for sample_id in range(100):
        client.publish("features", {"id": sample_id, "body": [0.5]})
    slow = Slower()
    slow.SECONDS = 0.02
    model = run("model", MODEL_PATH=pickled(slow, tmp_path), PYTHONPATH=ROOT / "tests", PREDICT_TIMEOUT=0.4)
    model.wait_for_log("connected")
    eventually(lambda: client.count("y_pred") == 100, "all answers")
    assert "died" not in model.log
    assert model.terminate() == 0


def test_the_answers_of_a_batch_do_not_wait_for_a_vector_that_hangs(client: Client, run: Run, tmp_path: Path) -> None:
    """After the batch was given up, each message is answered and acknowledged alone."""
    for queue in QUEUES:
        client.declare(queue, **QUORUM)
    hanging = (40, 60)  # both in the third batch: the first has one message, the second eight
    for sample_id in range(100):
        client.publish("features", {"id": sample_id, "body": [MAGIC if sample_id in hanging else 0.5]})
    env = {"MODEL_PATH": pickled(Hanging(), tmp_path), "PYTHONPATH": ROOT / "tests", "PREDICT_TIMEOUT": 2}
    run("model", **env)
    eventually(lambda: client.count("y_pred") >= 40, "the answers before the vector that hangs")
    assert client.count("dead_letters") == 0
    eventually(lambda: client.count("y_pred") == 98, "the other answers")
    assert client.count("dead_letters") == 2


def test_a_slower_model_that_replaces_a_fast_one_under_load_gets_few_vectors_at_once(
    client: Client, run: Run, tmp_path: Path
) -> None:
    """In the time that a batch of the fast one may take, it would be given up and started again."""
    slow = Slower()
    slow.SECONDS = 0.001
    path = pickled(slow, tmp_path)
    model = run("model", MODEL_PATH=path, PYTHONPATH=ROOT / "tests", PREDICT_TIMEOUT=2)
    run("features", INTERVAL=0)
    model.wait_for_log("connected")
    eventually(lambda: client.count("y_pred") > 2000, "batches of the fast one")
    slow.SECONDS = 0.03
    pickled(slow, tmp_path)
    model.wait_for_log("switched to the new model")
    before = client.count("y_pred") + 500  # with a batch of the fast one that is on its way
    eventually(lambda: client.count("y_pred") > before + 100, "answers of the slow one")
    assert client.count("features") > 0
    assert "died" not in model.log
    assert model.terminate() == 0


def test_a_model_that_hangs_ends_with_a_service_that_is_killed(client: Client, run: Run, tmp_path: Path) -> None:
    client.declare("features", **QUORUM)
    model = run("model", MODEL_PATH=pickled(Hanging(), tmp_path), PYTHONPATH=ROOT / "tests")
    model.wait_for_log("connected")
    client.publish("features", {"id": 1, "body": [MAGIC]})
    eventually(lambda: client.count("features") == 0, "the vector")
    command = Path(f"/proc/{model.children[0]}/cmdline")
    time.sleep(1)
    assert command.read_text()
    model.kill()
    eventually(lambda: not command.exists() or not command.read_text(), "its end", 5)  # no text: it has ended


@pytest.mark.long
def test_an_answer_to_a_lost_connection_is_not_taken_for_that_to_another_vector(
    fragile: Node, run: Run, tmp_path: Path
) -> None:
    env = {"AMQP_URL": fragile.url, "MODEL_PATH": pickled(Slower(), tmp_path), "PYTHONPATH": ROOT / "tests"}
    model = run("model", **env)
    for times in range(1, 4):
        model.wait_for_log("connected", times)
        client = Client(fragile.url)
        for sample_id in range(10 * times, 10 * times + 5):
            client.publish("features", {"id": sample_id, "body": [float(sample_id)]})
        eventually(lambda client=client: client.count("y_pred") > 0, "the first answer")  # type: ignore[misc]
        fragile.ctl("close_all_connections", "test")
    client = Client(fragile.url)
    eventually(lambda: client.count("features") == 0, "the last vector")
    model.wait_for_log("connected", 4)
    answers = [json.loads(body) for body, _ in client.drain("y_pred")]
    assert {answer["id"] for answer in answers} == {10 * times + i for times in range(1, 4) for i in range(5)}
    assert [answer for answer in answers if answer["body"] != answer["id"]] == []
    client.connection.close()


@pytest.mark.long
def test_a_vector_that_hangs_is_given_up_although_its_connection_was_lost(
    fragile: Node, run: Run, tmp_path: Path
) -> None:
    """Of 200 kB, more than the pipe to the model's process takes while nothing is read from it."""
    env = {"AMQP_URL": fragile.url, "MODEL_PATH": pickled(Hanging(), tmp_path), "PYTHONPATH": ROOT / "tests"}
    model = run("model", **env, PREDICT_TIMEOUT=2)
    model.wait_for_log("connected")
    client = Client(fragile.url)
    client.publish("features", {"id": 1, "body": [MAGIC] + [0.5] * 50_000})
    eventually(lambda: client.count("features") == 0, "the vector")
    fragile.ctl("close_all_connections", "test")
    model.wait_for_log("connected", 2)
    client = Client(fragile.url)
    ((letter, headers),) = client.take("dead_letters", 1)
    assert json.loads(letter)["id"] == 1
    assert "no answer within 2 s" in headers["reason"]
    client.publish("features", {"id": 2, "body": [0.5]})
    assert json.loads(client.take("y_pred", 1)[0][0]) == {"id": 2, "body": 0.5}
    client.connection.close()

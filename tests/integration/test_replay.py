"""`make replay` and `make letters`: what they move arrives unchanged, and an interruption loses nothing."""

from __future__ import annotations

from harness import QUEUES, ROOT, Client, eventually
from local import Node
from local.__main__ import import_definitions
from pipeline.broker import ARGUMENTS

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import pika
import pytest

pytestmark = [pytest.mark.broker, pytest.mark.long]
KINDS = ("features", "y_true")


@pytest.fixture(scope="module")
def history_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with a second virtual host."""
    with Node(tmp_path_factory.mktemp("history")) as broker:
        broker.ctl("add_vhost", "second")
        broker.ctl("set_permissions", "--vhost", "second", "guest", ".*", ".*", ".*")
        yield broker


@pytest.fixture
def broker(history_node: Node) -> Node:
    """A node that keeps the history; all its queues are new."""
    for url in history_node.url, second(history_node):
        client = Client(url)
        for queue in (*QUEUES, "history"):
            client.delete(queue)
        client.connection.close()
    import_definitions(history_node, {"history"})
    return history_node


def second(broker: Node) -> str:
    return broker.url.replace("%2F", "second")


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tools.{program}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """What the program printed, to either stream."""
    output, errors = process.communicate(timeout=90)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    return output + errors


def sent(broker: Node, *bodies: bytes, queue: str = "y_true") -> None:
    client = Client(broker.url)
    for body in bodies:
        client.channel.basic_publish("samples", queue, body, mandatory=True)
    client.connection.close()


def taken(url: str, *queues: str) -> list[list[bytes]]:
    """All messages of each queue."""
    client = Client(url)
    bodies = [[body for body, _ in iter(lambda q=queue: client.get(q), None)] for queue in queues]  # type: ignore[misc]
    client.connection.close()
    return bodies


def test_a_range_comes_again_with_its_bytes(broker: Node) -> None:
    bodies = [b'{ "id":%s, "body": 1}' % sample_id for sample_id in (b"1", b"2", b"2.50", b"3e0", b"4")]
    sent(broker, *bodies[:3], b"no message", b'{"id": 2, "body": "high"}', *bodies[3:])
    sent(broker, b'{"id": 2, "body": [null, 0.10]}', b'{"id": 9, "body": [1]}', queue="features")
    finish(start("replay", "--broker", broker.url, "--to", second(broker), "--since", "2", "--until", "3"))
    assert taken(second(broker), *KINDS) == [[b'{"id": 2, "body": [null, 0.10]}'], bodies[1:4]]
    taken(broker.url, *KINDS)
    finish(start("replay", "--broker", broker.url))  # into the pipeline itself, where it becomes no history again
    finish(start("replay", "--broker", broker.url, "--since", "1970-01-01T00:00:02+00:00"))
    vectors, values = taken(broker.url, *KINDS)
    assert (len(vectors), values) == (4, bodies + bodies[1:])
    assert finish(start("replay", "--broker", broker.url, "--offset", "1000"), code=2) == (
        "make replay: --offset 1000: the history has nothing from there on\n"
    )


def test_a_time_leads_to_its_samples(broker: Node) -> None:
    now = time.time()
    bodies = [b'{"id": %r, "body": 1}' % sample_id for sample_id in (now - 7200, now - 1800, now)]
    sent(broker, *bodies)
    since, until = (datetime.fromtimestamp(now - ago).isoformat() for ago in (3600, 60))
    finish(start("replay", "--broker", broker.url, "--to", second(broker), "--since", since, "--until", until))
    assert taken(second(broker), *KINDS) == [[], bodies[1:2]]


def test_it_ends_where_the_history_ended_when_it_began_while_samples_keep_coming(broker: Node) -> None:
    bodies = [b'{"id": %d, "body": 0}' % sample_id for sample_id in range(100)]
    sent(broker, *bodies)
    stop = threading.Event()

    def publish_on() -> None:
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            channel = connection.channel()
            while not stop.wait(0.02):
                channel.basic_publish("samples", "y_true", b'{"id": 1000, "body": 0}')

    live = threading.Thread(target=publish_on)
    live.start()
    try:
        output = finish(start("replay", "--broker", broker.url, "--to", second(broker)))
    finally:
        stop.set()
        live.join()
    assert "no connection" not in output
    _, values = taken(second(broker), *KINDS)
    assert values[:100] == bodies
    assert len(values) < 1000


def test_nothing_is_lost_when_replay_and_broker_are_killed(broker: Node) -> None:
    n = 20_000
    bodies = [b'{"id": %d, "body": 0}' % sample_id for sample_id in range(n)]
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        for body in bodies:
            channel.basic_publish("samples", "y_true", body)
    arguments = ["--broker", broker.url, "--to", second(broker)]
    # It cannot end before it is killed, since the queue has no room for all.
    broker.ctl("set_policy", "--vhost", "second", "limit", "^y_true$", json.dumps({"max-length": 3 * n // 4}))
    client = Client(second(broker))
    for end in signal.SIGKILL, signal.SIGINT:
        client.delete("y_true")
        replay = start("replay", *arguments)
        assert replay.stderr
        offset = 0
        while not offset:
            offset = int(re.findall(r"--offset (\d+)|$", replay.stderr.readline())[0] or 0)
        replay.send_signal(end)
        replay.communicate()
        assert replay.returncode == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 1}[end]
    client.connection.close()
    broker.ctl("clear_policy", "--vhost", "second", "limit")
    time.sleep(2)  # RabbitMQ loses a quorum queue for good if it is killed within a second of its declaration
    replay = start("replay", *arguments, "--offset", str(offset))
    assert replay.stderr
    replay.stderr.read(200)
    broker.kill()
    broker.start()
    finish(replay)
    client = Client(second(broker))
    assert {body for body, _ in client.drain("y_true")} == set(bodies)
    client.connection.close()


def test_it_holds_back_earlier_where_vectors_are_large(broker: Node) -> None:
    """300 vectors of almost 1 MiB: no more than some 256 MiB wait."""
    vector = b'{"id": 1, "body": [' + b"0.5, " * 200_000 + b"1]}"
    sent(broker, *[vector] * 300, queue="features")
    client = Client(second(broker))
    client.delete("features")
    replay = start("replay", "--broker", broker.url, "--to", second(broker))
    printed = replay.stderr
    assert printed
    eventually(lambda: "publishing pauses" in printed.readline())
    assert client.count("features") * len(vector) < 1.5 * 2**28
    client.channel.queue_purge("features")
    finish(replay)
    client.delete("features")
    client.connection.close()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--offset", "-1"], "--offset: takes a whole number from 0 on, not '-1'"),
        (["--offset", "9" * 30], "--offset: takes a whole number from 0 on, not '999"),
        (["--since", "tomorrow"], "--since: takes a time such as 2026-11-01T08:00, or an id, not 'tomorrow'"),
        (["--since", "nan"], "--since takes a time before that of --until"),
        (["--since", "2026-11-20", "--until", "2026-11-01"], "--since takes a time before that of --until"),
    ],
)
def test_arguments_that_make_no_sense_are_one_line(arguments: list[str], problem: str) -> None:
    assert problem in finish(start("replay", *arguments), code=2).splitlines()[-1]


def test_without_a_history_there_is_one_line(client: Client, node: Node) -> None:
    assert finish(start("replay", "--broker", node.url), code=2) == (
        "make replay: this broker keeps no history: that takes OPTIONS=history\n"
    )
    assert finish(start("replay", "--broker", "amqp://a:p@ss#w@b"), code=2).startswith(
        "make replay: URL: takes amqp://"
    )


def letters(node: Node, *arguments: str) -> dict[str, int]:
    """What `make letters` prints: how many letters by what stands after the number."""
    printed = finish(start("letters", "--broker", node.url, *arguments))
    return {" ".join(words): int(n.replace(",", "")) for n, *words in map(str.split, printed.splitlines())}


def test_letters_are_counted_put_back_and_discarded(client: Client, node: Node) -> None:
    def letter(body: bytes, **headers: str) -> None:
        client.channel.basic_publish("", "dead_letters", body, pika.BasicProperties(headers=headers), mandatory=True)

    client.declare("dead_letters", **ARGUMENTS)
    for i in range(1500):
        letter(b"%d" % i, reason="its partner did not come within 1 s", queue="y_true", service="metric")
    letter(b"high", reason="expected a number", queue="y_true", service="metric")
    letter(b"elsewhere", reason="did not come", queue="of somebody else")
    letter(b"bare")
    to_dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead_letters"}
    client.declare("y_pred", **{"x-max-length": 0}, **to_dead_letters)
    client.publish("y_pred", b"dropped")
    client.delete("y_pred")
    stay = {
        "y_true expected a number": 1,
        "of somebody else did not come": 1,
        "unknown no header names one": 1,
    }
    dropped = {"y_pred dropped by the broker: maxlen": 1}
    late = {"y_true its partner did not come within 1 s": 1500}
    assert letters(node) == {"dead letters left": 1504} | stay | dropped | late
    assert client.count("dead_letters") == 1504
    done = letters(node, "--put-back", "did not come")
    assert done == {"put back": 1500, "dead letters left": 4} | late | stay | dropped
    assert [body for body, _ in client.take("y_true", 1500)] == [b"%d" % i for i in range(1500)]
    assert letters(node, "--put-back", "maxlen") == {"put back": 1, "dead letters left": 3} | dropped | stay
    assert client.take("y_pred", 1)[0][0] == b"dropped"
    assert letters(node, "--discard", "number") == {"discarded": 1, "dead letters left": 2} | stay
    assert sorted(body for body, _ in client.drain("dead_letters")) == [b"bare", b"elsewhere"]


def test_letters_are_put_back_once_although_their_queue_is_full_for_long(client: Client, node: Node) -> None:
    """For longer than the broker waits for a heartbeat of a connection that is not served meanwhile."""
    client.declare("dead_letters", **ARGUMENTS)
    client.declare("y_true", **{"x-max-length": 5, "x-overflow": "reject-publish"})
    bodies = [b"%d" % i for i in range(20)]
    for body in bodies:
        properties = pika.BasicProperties(headers={"reason": "late", "queue": "y_true"})
        client.channel.basic_publish("", "dead_letters", body, properties, mandatory=True)
    program = start("letters", "--broker", node.url, "--put-back", "late")
    time.sleep(35)
    put_back = [body for body, _ in client.take("y_true", 20)]
    assert "no connection" not in finish(program)
    assert sorted(put_back) == sorted(bodies)
    assert client.count("y_true") == client.count("dead_letters") == 0


def test_a_source_that_cannot_be_reached_is_named(broker: Node) -> None:
    """Not the broker to which the messages go, which is well."""
    for host, reason in ("127.0.0.1:1", "Connection refused"), ("nowhere.invalid:1", "not known"):
        replay = start("replay", "--broker", f"amqp://guest:guest@{host}/%2F", "--to", second(broker))
        assert replay.stderr
        line = replay.stderr.readline()
        assert f"the source {host}: " in line
        assert reason in line
        replay.terminate()
        replay.communicate()
    wrong = broker.url.replace("guest:guest", "guest:wrong")
    errors = finish(start("replay", "--broker", wrong, "--to", second(broker)), code=2)
    assert f"the source 127.0.0.1:{broker.port} rejects the login" in errors

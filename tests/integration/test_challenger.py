"""A second model gets the same samples as the first, whatever is killed, and never slows it down."""

from __future__ import annotations

from harness import Client, Run, eventually, rows
from local import Node
from local.__main__ import import_definitions

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pika.exceptions import NackError, UnroutableError

pytestmark = [pytest.mark.broker, pytest.mark.long]
CHAMPION = ("features", "model", "metric")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that copies all samples for a challenger; each test leaves it so."""
    with Node(tmp_path_factory.mktemp("challenger"), plugins=["rabbitmq_shovel"]) as broker:
        import_definitions(broker, {"challenger"})
        yield broker


def challenger(broker: Node, tmp_path: Path) -> dict[str, Any]:
    """The settings of a service of the challenger."""
    return {"AMQP_URL": url(broker), "LOGS_DIR": tmp_path / "logs/challenger"}


def url(broker: Node) -> str:
    return broker.url.replace("%2F", "challenger")


def seconds_of_cpu(broker: Node) -> float:
    assert broker.process
    times = Path(f"/proc/{broker.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def lengths(client: Client, *queues: str) -> list[int]:
    return [client.count(queue) for queue in queues]


def test_both_models_get_every_sample_whatever_is_killed(run: Run, broker: Node, tmp_path: Path) -> None:
    own, logs = challenger(broker, tmp_path), tmp_path / "logs"
    services = [run(name, AMQP_URL=broker.url) for name in ("model", "metric")]
    theirs = {name: run(name, **own) for name in ("model", "metric")}
    for service in (*services, *theirs.values()):
        service.wait_for_log("connected")
    n = 10_000
    features = run("features", AMQP_URL=broker.url, AMQP_EXCHANGE="samples", INTERVAL=0.002, COUNT=n)
    for i, victim in enumerate((None, "model", None, "metric", None)):
        eventually(lambda i=i: len(rows(logs / "challenger")) > (i + 1) * n / 8, "more rows")  # type: ignore[misc]
        if victim:
            theirs[victim].kill()
            theirs[victim] = run(victim, **own)
        else:
            broker.kill()
            broker.start()
    assert features.process.wait(120) == 0
    for folder in logs, logs / "challenger":
        eventually(lambda folder=folder: len(rows(folder)) >= n, f"{n} rows in {folder}")  # type: ignore[misc]
    first, second = rows(logs), rows(logs / "challenger")
    assert len(first) == len(second) == n
    assert {row[:2] for row in first} == {row[:2] for row in second}  # ids and labels


def test_a_dead_challenger_holds_nothing_up_and_its_queues_are_bounded(run: Run, broker: Node, tmp_path: Path) -> None:
    limit, n = 500, 4000
    for vhost, pattern in ("/", "^challenger"), ("challenger", "^(features|y_true)$"):
        broker.ctl("set_policy", "--vhost", vhost, "limit", pattern, json.dumps({"max-length": limit}))
    for name in "model", "metric":
        run(name, AMQP_URL=broker.url).wait_for_log("connected")

    def stream(rows_then: int) -> None:
        features = run("features", AMQP_URL=broker.url, AMQP_EXCHANGE="samples", INTERVAL=0, COUNT=n)
        assert features.process.wait(60) == 0
        assert "rejects" not in features.log
        assert "pauses" not in features.log
        eventually(lambda: len(rows(tmp_path / "logs")) == rows_then, "all rows of the champion")

    copies, own = ("challenger.features", "challenger.y_true"), ("features", "y_true")
    stream(n)  # the shovels run
    client, other = Client(broker.url), Client(url(broker))
    eventually(lambda: lengths(client, *copies) == [0, 0], "all copies moved")
    assert lengths(other, *own) == [limit, limit]
    before = seconds_of_cpu(broker)
    time.sleep(3)
    assert seconds_of_cpu(broker) - before < 1  # nothing goes to and fro
    for name in copies:
        broker.ctl("clear_parameter", "shovel", name)
    stream(2 * n)  # they do not
    eventually(lambda: lengths(client, *copies) == [limit, limit], "full copies")
    for each, queues in (client, copies), (other, own):
        for queue in queues:
            each.channel.queue_purge(queue)
        each.connection.close()
    for vhost in "/", "challenger":
        broker.ctl("clear_policy", "--vhost", vhost, "limit")
    import_definitions(broker, {"challenger"})


def test_a_sample_is_not_lost_while_a_queue_of_the_champion_is_missing(run: Run, broker: Node, tmp_path: Path) -> None:
    """With two queues bound, `mandatory` alone would call a sample delivered that only the challenger got."""
    client = Client(broker.url)
    client.delete("y_true")
    features = run("features", AMQP_URL=broker.url, AMQP_EXCHANGE="samples", INTERVAL=0, COUNT=10)
    features.wait_for_log("the broker rejects messages for y_true; trying again every second")
    client.connection.close()
    import_definitions(broker, {"challenger"})
    assert features.wait() == 0
    client = Client(broker.url)
    assert [len(client.take(queue, 10)) for queue in ("features", "y_true")] == [10, 10]
    assert lengths(client, "features", "y_true") == [0, 0]
    client.connection.close()


def test_queues_that_exist_in_another_form_stay(tmp_path: Path) -> None:
    with Node(tmp_path / "node", plugins=["rabbitmq_shovel"]) as broker:
        client = Client(broker.url)
        client.channel.queue_declare("features", durable=True)
        client.publish("features", b"1")
        import_definitions(broker, {"challenger"})
        client.channel.basic_publish("samples", "features", b"2", mandatory=True)
        assert [body for body, _ in client.take("features", 2)] == [b"1", b"2"]
        with pytest.raises((NackError, UnroutableError)):
            client.channel.basic_publish("samples", "y_pred", b"3", mandatory=True)
        client.connection.close()


def test_the_queues_are_made_as_the_services_make_them(run: Run, broker: Node, tmp_path: Path) -> None:
    """A service accepts another form as well, with a warning: the challenger's drop what is more than they take."""
    champion = run("metric", AMQP_URL=broker.url)
    theirs = [run(name, **challenger(broker, tmp_path)) for name in ("model", "metric")]
    for service, warnings in (champion, 0), (theirs[0], 1), (theirs[1], 1):
        service.wait_for_log("connected")
        assert service.log.count("WARNING") == warnings

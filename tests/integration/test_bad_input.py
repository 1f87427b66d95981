"""What a wrong setting gets: one line that names the problem and the fix, and exit code 2. Never a traceback."""

from harness import Client, Run, eventually, rows
from local import Node

import socket
from pathlib import Path

import pytest

BAD = [
    ("features", {"INTERVAL": "abc"}, "INTERVAL='abc'"),
    ("features", {"INTERVAL": "-1"}, "INTERVAL='-1'"),
    ("features", {"INTERVAL": "nan"}, "INTERVAL='nan'"),
    ("features", {"COUNT": "0"}, "COUNT='0'"),
    ("features", {"COUNT": "1.5"}, "COUNT='1.5'"),
    ("features", {"SEED": "x"}, "SEED='x'"),
    (
        "features",
        {"LOG_LEVEL": "loud"},
        "LOG_LEVEL='loud': takes DEBUG, INFO, WARNING or ERROR",
    ),
    ("features", {"DATASET": "/nowhere.csv"}, "DATASET='/nowhere.csv'"),
    ("features", {"TARGET": "nose"}, "TARGET='nose': there is no column nose; takes one of age, sex, bmi"),
    ("features", {"AMQP_EXCHANGE": "é" * 200}, "takes a name of at most 255 ASCII characters"),
    ("features", {"AMQP_EXCHANGE": "\udcff"}, "takes a name of at most 255 ASCII characters"),
    ("features", {"AMQP_URL": "amqp://guest:\udcff@localhost/"}, "a character in it is not one that pika takes"),
    ("features", {"DROP_COLUMNS": "age,\nnose"}, "there is no column nose"),
    ("metric", {"METRICS_PORT": "29999", "METRICS_HOST": "x" * 70}, "not a name of a host"),
    ("features", {"AMQP_URL": "http://example.org"}, "AMQP_URL: takes amqp://user:password@host:port/vhost"),
    (
        "features",
        {"AMQP_URL": "amqp://guest:guest@localhost:port/"},
        "AMQP_URL: takes amqp://user:password@host:port/vhost",
    ),
    ("model", {"MODEL_PATH": "/nowhere.pkl"}, "MODEL_PATH='/nowhere.pkl': there is no such file"),
    ("model", {"MODEL_SHA256": "0" * 64}, "MODEL_SHA256='000"),
    ("model", {"MODEL_SHA256": "abc"}, "MODEL_SHA256='abc'"),
    ("metric", {"PENDING_TTL": "0"}, "PENDING_TTL='0'"),
    ("metric", {"LOGS_DIR": "/proc/none"}, "LOGS_DIR='/proc/none'"),
    ("metric", {"LOGS_DIR": "/dev/null"}, "LOGS_DIR='/dev/null'"),
    ("plot", {"PLOT_INTERVAL": "0"}, "PLOT_INTERVAL='0'"),
    ("plot", {"LOGS_DIR": "/proc/none"}, "LOGS_DIR='/proc/none'"),
]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("name", "env", "message"), BAD, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_a_bad_setting_stops_the_service(run: Run, name: str, env: dict[str, str], message: str) -> None:
    service = run(name, **env)
    assert service.wait() == 2
    assert message in service.log
    assert service.log.count("\n") == 1


@pytest.mark.broker
def test_a_name_that_is_not_utf_8_is_shown_by_the_process_of_the_model(run: Run, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("a,b,y\n1,2,3\n4,5,6\n")
    model = run("model", DATASET=tmp_path / "some.csv", TARGET="gr\udcf6sse")
    assert model.wait() == 2
    assert "there is no column gr?sse" in model.log
    assert model.log.count("\n") == 1


@pytest.mark.broker
@pytest.mark.parametrize("name", ["features", "model", "metric"])
@pytest.mark.parametrize(("user", "vhost"), [("guest:wr%2Fong", "%2F"), ("guest:guest", "nowhere")])
def test_a_broker_that_rejects_us_stops_the_service(run: Run, node: Node, name: str, user: str, vhost: str) -> None:
    service = run(name, AMQP_URL=f"amqp://{user}@127.0.0.1:{node.port}/{vhost}")
    assert service.wait() == 2
    assert f"127.0.0.1:{node.port} rejects the login: check user, password and virtual host in AMQP_URL" in service.log
    assert service.log.count("\n") == 1
    assert "wr" not in service.log.replace("write", "")


@pytest.mark.broker
def test_an_empty_variable_counts_as_not_set(run: Run, client: Client) -> None:
    service = run("features", INTERVAL="", SEED="", COUNT="1", DATASET="", TARGET="", LOG_LEVEL="")
    assert service.wait() == 0
    assert client.count("features") == 1


@pytest.mark.broker
def test_the_first_broker_that_answers_is_taken(run: Run, node: Node, client: Client) -> None:
    with socket.socket() as closed:  # bound but not listening: rejects
        closed.bind(("127.0.0.1", 0))
        dead = f"amqp://guest:guest@127.0.0.1:{closed.getsockname()[1]}/%2F"
        service = run("features", COUNT=1, AMQP_URL=f"{dead},amqp://guest:guest@nowhere.invalid/%2F,{node.url}")
        assert service.wait() == 0
    assert client.count("features") == 1
    assert service.log.count("WARNING") == 1


@pytest.mark.broker
def test_a_csv_that_cannot_be_written_stops_metric_at_its_start(run: Run, client: Client, tmp_path: Path) -> None:
    (tmp_path / "logs/metric_log.csv").mkdir(parents=True)
    metric = run("metric")
    assert metric.wait() == 2
    assert "metric_log.csv is a folder, where a file has to be: rename it" in metric.log


@pytest.mark.broker
def test_a_second_metric_waits_and_takes_over(run: Run, client: Client, tmp_path: Path) -> None:
    first = run("metric")
    first.wait_for_log("connected")
    second = run("metric")
    second.wait_for_log("another metric writes to")
    client.publish("y_true", {"id": 1, "body": 1})
    eventually(lambda: client.count("y_true") == 0)
    first.kill()
    client.publish("y_pred", {"id": 1, "body": 2})
    eventually(lambda: rows(tmp_path / "logs") == [(1, 1, 2, 1)])
    assert second.log.count("another metric") == 1

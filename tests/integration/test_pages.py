"""The programs in docs/ do what the text next to them says, as they stand there."""

from __future__ import annotations

from harness import ROOT, Client, Run, eventually, execute, rows, shell, snippet
from local import Node
from local.__main__ import import_definitions

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

ADDRESS = "amqp://guest:guest@localhost:5672/%2F"


def rows_if(logs: Path, n: int) -> list[tuple[float, float, float, float]] | None:
    """The rows of the log, if there are n."""
    return found if len(found := rows(logs)) == n else None


@pytest.mark.broker
def test_a_producer_whose_label_comes_an_hour_later(client: Client, run: Run, node: Node, tmp_path: Path) -> None:
    for name in ("model", "metric"):
        run(name).wait_for_log("connected")
    program = snippet("own-data.md", '"y_true"').replace(ADDRESS, node.url)
    now, an_hour_later = program.split("# an hour or a day later, when the label is known:\n")
    names: dict[str, float] = {}
    exec(now, names)
    client.connection.close()
    node.ctl("close_all_connections", "an hour without a heartbeat")
    exec(an_hour_later, names)
    ((sample_id, y_true, y_pred, _),) = eventually(lambda: rows(tmp_path / "logs"))
    assert (sample_id, y_true) == (names["sample"], 151.0)
    assert 25 < y_pred < 346  # the range of the labels


@pytest.mark.broker
def test_dead_letters_are_put_back_and_hopeless_ones_discarded(
    client: Client, run: Run, node: Node, tmp_path: Path
) -> None:
    first = run("metric", PENDING_TTL=0.01)  # too short a time for any label
    first.wait_for_log("connected")
    for i in range(3):
        client.publish("y_pred", {"id": i, "body": i})
    client.publish("y_true", {"id": 3, "body": "high"})
    eventually(lambda: client.count("dead_letters") == 4)
    assert first.terminate() == 0
    printed = shell(snippet("troubleshooting.md", "make letters", "sh"), tmp_path, AMQP_URL=node.url)
    for shown in "y_pred     its partner did not come within", "y_true     Expected `float`, got `str` - at `$.body`":
        assert shown in snippet("troubleshooting.md", "dead letters left", "text")
        assert shown in printed
    assert sorted(json.loads(body)["id"] for body, _ in client.take("y_pred", 3)) == [0, 1, 2]
    assert client.count("dead_letters") == 0


@pytest.mark.broker
@pytest.mark.long
def test_the_past_is_published_again(tmp_path: Path) -> None:
    within, all_of_it = re.findall("^ *(make replay .*)$", (ROOT / "docs/challenger.md").read_text(), re.MULTILINE)
    ids = [datetime(2026, 11, day).timestamp() for day in (1, 2, 3)]
    with Node(tmp_path / "node", plugins=["rabbitmq_shovel"]) as broker:
        import_definitions(broker, {"challenger", "history"})
        client, other = Client(broker.url), Client(broker.url.replace("%2F", "challenger"))
        for sample_id in ids:
            client.channel.basic_publish("samples", "y_true", json.dumps({"id": sample_id, "body": 1}))
        client.take("y_true", 3)
        other.take("y_true", 3)
        shell(within, tmp_path, AMQP_URL=broker.url)
        assert [json.loads(body)["id"] for body, _ in client.take("y_true", 2)] == ids[:2]
        shell(all_of_it.replace("localhost:5672", f"localhost:{broker.port}"), tmp_path, AMQP_URL=broker.url)
        assert [json.loads(body)["id"] for body, _ in other.take("y_true", 3)] == ids
        assert (client.count("y_true"), other.count("y_true")) == (0, 0)
        client.connection.close()
        other.connection.close()


def patients(folder: Path) -> pd.DataFrame:
    """mine/patients.csv as the pages take it: a name, a text column and a label, all rows different."""
    (folder / "mine").mkdir()
    n = 40
    table = pd.DataFrame(
        {
            "patient": [f"P{i}" for i in range(n)],
            "sex": ["F", "M"] * (n // 2),
            "ward": ["north", "south", "east", "west"] * (n // 4),
            "progression": [100.0 + i for i in range(n)],
        }
    )
    table.to_csv(folder / "mine/patients.csv", index=False)
    return table


def test_text_columns_are_encoded(tmp_path: Path) -> None:
    table = patients(tmp_path)
    execute(snippet("own-data.md", "get_dummies"), tmp_path)
    encoded = pd.read_csv(tmp_path / "mine/encoded.csv")
    assert encoded.columns[-1] == "progression"
    assert encoded["progression"].tolist() == table["progression"].tolist()
    assert encoded["sex"].tolist() == [0, 1] * 20
    assert encoded.drop(columns="patient").dtypes.map(lambda dtype: dtype.kind).isin(list("if")).all()


@pytest.mark.broker
def test_a_row_of_the_log_leads_back_to_the_patient(client: Client, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine/patients.csv"
    table = patients(tmp_path)
    table.insert(3, "age", 50.0)  # a feature
    table.to_csv(path, index=False)
    lines = path.read_text().splitlines(keepends=True)
    empty = "," * (len(table.columns) - 1) + "\n"  # as spreadsheets leave them
    path.write_text("".join([*lines[:7], empty, *lines[7:], empty]))
    run("metric").wait_for_log("connected")
    assert run("features", DATASET=path, DROP_COLUMNS="patient,sex,ward", INTERVAL=0, COUNT=5).wait() == 0
    for body, _ in client.take("features", 5):
        client.publish("y_pred", {"id": json.loads(body)["id"], "body": 0})
    labels = {sample_id: y_true for sample_id, y_true, *_ in eventually(lambda: rows_if(tmp_path / "logs", 5))}
    printed = execute(snippet("own-data.md", "row_of"), tmp_path).splitlines()
    assert len(printed) == 5
    for text in printed:
        sample_id, _, row = text.partition(" ")
        assert f"'progression': {labels[float(sample_id)]}" in row
        assert f"'patient': 'P{labels[float(sample_id)] - 100:.0f}'" in row


def test_a_table_with_text_is_rejected_as_the_page_shows(tmp_path: Path) -> None:
    """The message in own-data.md, its lines joined."""
    shown = " ".join(
        re.findall(r"features: DATASET=.*?DROP_COLUMNS='sex'", (ROOT / "docs/own-data.md").read_text(), re.S)[0].split()
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/patients.csv").write_text("sex,age,progression\nF,50,100\nM,60,200\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATASET": "mine/patients.csv"}
    command = [sys.executable, str(ROOT / "features/src/features.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (2, shown)


@pytest.mark.broker
@pytest.mark.long
def test_the_wine_example_is_trained_and_streamed(client: Client, run: Run, tmp_path: Path) -> None:
    printed = shell(snippet("own-data.md", "load_wine", "sh"), tmp_path)
    assert "fitting alcohol on 133 of 178 rows of 12 features, from mine/wine.csv" in printed
    mine = {"DATASET": tmp_path / "mine/wine.csv", "TARGET": "alcohol", "MODEL_PATH": tmp_path / "mine/wine.pkl"}
    run("model", **mine).wait_for_log("connected")
    run("metric").wait_for_log("connected")
    assert run("features", INTERVAL=0, COUNT=100, **mine).wait() == 0
    logged = eventually(lambda: rows_if(tmp_path / "logs", 100))
    assert all(11 < y_true < 15 for _, y_true, _, _ in logged)
    assert sum(error for *_, error in logged) / 100 < 1


@pytest.mark.broker
@pytest.mark.long
def test_the_classifier_example_is_fitted_streamed_and_scored(client: Client, run: Run, tmp_path: Path) -> None:
    program = snippet("own-data.md", "load_breast_cancer", "sh")
    shell(program, tmp_path)
    (given,) = re.findall(r"^export (.*)$", program, re.MULTILINE)
    mine = dict(setting.split("=") for setting in given.split()) | {"PLOT_INTERVAL": "0.5"}
    mine |= {name: str(tmp_path / mine[name]) for name in ("DATASET", "MODEL_PATH")}
    for name in ("model", "metric", "plot"):
        run(name, **mine)
    assert run("features", INTERVAL=0, COUNT=500, **mine).wait() == 0
    logged = eventually(lambda: rows_if(tmp_path / "logs", 500))
    assert {y_true for _, y_true, _, _ in logged} == {0, 1}
    assert all(0 <= y_pred <= 1 for _, _, y_pred, _ in logged)
    page = tmp_path / "logs/report.html"
    eventually(lambda: page.exists() and ">500<" in page.read_text(), "500 rows on the page")
    scores = dict(re.findall(r'<th scope="row">([^<]*)<td>([\d.]+)', page.read_text()))
    assert float(scores["Brier score (RMSE²)"]) < 0.05
    assert float(scores["Area under the ROC curve"]) > 0.98
    assert float(scores["Log loss"]) < 0.2
    assert "share of label 1" in page.read_text()

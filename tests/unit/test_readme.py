"""What the README says of the code holds."""

import features
import metric
import model
import plot
from harness import ROOT

import re
from dataclasses import fields
from pathlib import Path

README = (ROOT / "README.md").read_text()
SETTINGS: dict[str, dict[str, object]] = {
    name: {field.name.upper(): field.default for field in fields(kind)}
    for name, kind in {
        "features": features.FeaturesSettings,
        "model": model.ModelSettings,
        "metric": metric.MetricSettings,
        "plot": plot.PlotSettings,
    }.items()
}


def variables() -> dict[str, tuple[str, str]]:
    """The table: variable -> services, default."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ([a-z, ]+) \|(.*?)\|", README, re.MULTILINE)
    return {name: (services, default.strip(" `")) for name, services, default in rows}


def test_every_variable_is_in_the_table_with_its_default() -> None:
    table = variables()
    code = {name: [service for service, known in SETTINGS.items() if name in known] for name in table}
    assert set(table) == {name for known in SETTINGS.values() for name in known}
    for name, (services, default) in table.items():
        listed = [service for service in services.split(", ") if service != "train"]
        assert code[name] == (list(SETTINGS) if services == "all" else listed), name
        value = SETTINGS[code[name][0]][name]
        if name == "MODEL_PATH":
            assert Path(str(value)) == ROOT / "model/src/myfile.pkl"
        elif isinstance(value, float):
            assert float(default) == value
        else:
            assert default == (value or ""), name


def test_every_variable_can_be_set_in_the_env_file() -> None:
    example = (ROOT / ".env.example").read_text()
    compose = (ROOT / "docker-compose.yaml").read_text()
    own = {"AMQP_URL", "AMQP_EXCHANGE", "LOGS_DIR", "METRICS_PORT", "METRICS_HOST"}  # the stack's
    for name in set(variables()) - own:
        assert name in example, name
        assert f"${{{name}:-" in compose, name


def test_every_path_that_it_names_exists() -> None:
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path


def test_every_figure_on_scaling_is_one_that_was_measured() -> None:
    results = (ROOT / "benchmarks/results.md").read_text()
    measured = re.findall(
        r"^\| forest of 300 trees: (\d) process(?:es)? \| ([\d,]+) predictions/s", results, re.MULTILINE
    )
    assert [models for models, _ in measured] == ["1", "2", "4"]
    assert re.findall(r"^\| (\d) \| ([\d,]+) \|$", README, re.MULTILINE) == measured

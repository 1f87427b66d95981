"""What the README says of the code holds."""

import features
import metric
import model
import plot
from harness import ROOT

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").glob("*.md"))
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


def test_every_path_that_a_page_names_exists() -> None:
    for page in PAGES:
        for path in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / path).exists(), f"{page.name}: {path}"


def test_the_readme_is_one_page() -> None:
    assert README.count("\n") <= 150


def test_the_command_from_an_id_to_its_row_works() -> None:
    (command,) = re.findall(r"-c '\n(.*?)' 1795601396", (ROOT / "docs/own-data.md").read_text(), re.DOTALL)
    arguments = [sys.executable, "-c", command, "1795601396.087202", "442"]
    done = subprocess.run(
        arguments, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    row = int(done.stdout.split()[-1])
    assert (row - 1) % 4 == 0
    assert 1 <= row <= 442


def test_every_figure_on_scaling_is_one_that_was_measured() -> None:
    results = (ROOT / "benchmarks/results.md").read_text()
    measured = re.findall(
        r"^\| forest of 300 trees: (\d) process(?:es)? \| ([\d,]+) predictions/s", results, re.MULTILINE
    )
    assert [models for models, _ in measured] == ["1", "2", "4"]
    assert re.findall(r"^\| (\d) \| ([\d,]+) \|$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE) == measured

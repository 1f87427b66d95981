"""What the README says of the code holds."""

import features
import metric
import model
import plot
from harness import ROOT

import re
from pathlib import Path

import msgspec

README = (ROOT / "README.md").read_text()
CONFIGS: dict[str, type[msgspec.Struct]] = {
    "features": features.Config,
    "model": model.Config,
    "metric": metric.Config,
    "plot": plot.Config,
}


def variables() -> dict[str, tuple[str, str]]:
    """The table: variable -> services, default."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ([a-z, ]+) \|(.*?)\|", README, re.MULTILINE)
    return {name: (services, default.strip(" `")) for name, services, default in rows}


def test_every_variable_is_in_the_table_with_its_default() -> None:
    table = variables()
    code = {name: [s for s, c in CONFIGS.items() if name in c.__struct_fields__] for name in table}
    assert set(table) == {name for config in CONFIGS.values() for name in config.__struct_fields__}
    for name, (services, default) in table.items():
        listed = [s for s in services.split(", ") if s != "train"]
        assert code[name] == (list(CONFIGS) if services == "all" else listed), name
        field = next(f for f in msgspec.structs.fields(CONFIGS[code[name][0]]) if f.name == name)
        if name == "MODEL_PATH":
            assert Path(field.default) == ROOT / "model/src/myfile.pkl"
        elif isinstance(field.default, float):
            assert float(default) == field.default
        else:
            assert default == (field.default or ""), name


def test_every_variable_can_be_set_in_the_env_file() -> None:
    example = (ROOT / ".env.example").read_text()
    compose = (ROOT / "docker-compose.yaml").read_text()
    own = {"AMQP_URL", "AMQP_EXCHANGE", "LOGS_DIR", "METRICS_PORT"}  # the stack's
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

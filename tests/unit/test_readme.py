"""What README.md, README.ru.md and docs/ say of the code holds, and their links lead somewhere."""

import features
import metric
import model
import plot
import train
from harness import ROOT

import re
from dataclasses import fields
from pathlib import Path

import pytest

PAGES = [ROOT / name for name in ("README.md", "README.ru.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
README, RUSSIAN = ((ROOT / name).read_text() for name in ("README.md", "README.ru.md"))
COMPOSE = (ROOT / "docker-compose.yaml").read_text()
SETTINGS: dict[str, dict[str, object]] = {
    name: {field.name.upper(): field.default for field in fields(kind)}
    for name, kind in {
        "features": features.FeaturesSettings,
        "model": model.ModelSettings,
        "metric": metric.MetricSettings,
        "plot": plot.PlotSettings,
        "train": train.TrainSettings,
    }.items()
}
SERVICES = [name for name in SETTINGS if name != "train"]
OWN = {"AMQP_URL", "AMQP_EXCHANGE", "LOGS_DIR", "METRICS_PORT", "METRICS_HOST"}  # the compose files set them themselves

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def variables(text: str) -> dict[str, tuple[str, str]]:
    """The table of settings: variable -> services, default."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ([^|`]+) \|(.*?)\|", text, re.MULTILINE)
    return {name: (services, default.strip(" `")) for name, services, default in rows}


def headings(text: str) -> list[str]:
    return re.findall(r"^(#+) ", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that the headings of a page get."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def in_compose(service: str) -> set[str]:
    """The variables that docker-compose.yaml passes to a service, those of its anchors included."""
    (block,) = re.findall(rf"^  {service}:\n((?:    .*\n|\n)+)", COMPOSE, re.MULTILINE)
    for anchor in re.findall(r"\*(environment|dataset)\b", block):
        block += re.findall(rf"^x-{anchor}: &{anchor}\n((?:  .*\n)+)", COMPOSE, re.MULTILINE)[0]
    return set(re.findall(r"^ +([A-Z0-9_]+): ", block, re.MULTILINE))


def test_every_setting_is_in_the_table_with_its_services_and_its_default() -> None:
    table = variables(README)
    assert set(table) == {name for known in SETTINGS.values() for name in known}
    for name, (services, default) in table.items():
        takers = [service for service, known in SETTINGS.items() if name in known]
        assert services == "all" if takers == list(SETTINGS) else services.split(", ") == takers, name
        value = SETTINGS[takers[0]][name]
        if name == "MODEL_PATH":
            assert Path(str(value)) == ROOT / "model/src" / default
        elif isinstance(value, float):
            assert float(default) == value
        else:
            assert default == (value or ""), name


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_reaches_its_container(service: str) -> None:
    assert in_compose(service) | OWN >= set(SETTINGS[service])


def test_every_setting_can_be_set_in_the_env_file() -> None:
    example = set(re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(variables(README)) - OWN <= example
    text = "".join(path.read_text() for path in (*ROOT.glob("docker-compose*.yaml"), *ROOT.glob("local/*.sh")))
    assert {name for name in example if not re.search(rf"\b{name}\b", text)} == set()


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"https?:|mailto:", link):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_page_can_be_reached() -> None:
    linked = {
        (page.parent / link).resolve() for page in PAGES for link in re.findall(r"\]\(([^)#:]+)", page.read_text())
    }
    assert set(PAGES) <= linked


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 150
    assert sum(bool(re.search(r"\w", word)) for word in README.split()) <= 1000


def test_the_russian_readme_is_the_same_page() -> None:
    assert headings(RUSSIAN) == headings(README)
    english, russian = (re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for text in (README, RUSSIAN))
    assert russian == english
    inline = re.compile(r"`((?:make|docker-compose|INTERVAL=)[^`]*)`")
    assert sorted(inline.findall(RUSSIAN)) == sorted(inline.findall(README))
    defaults = ({name: default for name, (_, default) in variables(text).items()} for text in (README, RUSSIAN))
    assert next(defaults) == next(defaults)


@pages
def test_every_target_of_make_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = page.read_text()
    named = re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z]+)", text) + re.findall(
        r"^(?:[A-Z_]+=\S+ )*make ([a-z]+)", "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)), re.MULTILINE
    )
    assert set(named) <= set(targets)


@pages
def test_every_test_that_is_named_exists(page: Path) -> None:
    for module, name in re.findall(r"`(test_\w+\.py)::(test_\w+)", page.read_text()):
        (path,) = ROOT.glob(f"tests/*/{module}")
        assert f"def {name}(" in path.read_text(), f"{module}::{name}"


def test_every_figure_on_scaling_is_one_that_was_measured() -> None:
    results = (ROOT / "benchmarks/results.md").read_text()
    measured = re.findall(
        r"^\| forest of 300 trees: (\d) process(?:es)? \| ([\d,]+) predictions/s", results, re.MULTILINE
    )
    assert [models for models, _ in measured] == ["1", "2", "4"]
    operations = (ROOT / "docs/operations.md").read_text()
    assert re.findall(r"^\| (\d) \| ([\d,]+) \|$", operations, re.MULTILINE) == measured


def test_every_log_line_that_is_explained_is_one_of_the_code() -> None:
    sources = [*ROOT.glob("pipeline/*.py"), *ROOT.glob("*/src/*.py"), ROOT / "local/machine.sh"]
    text = re.sub(r'"\s+f?"', "", "".join(path.read_text() for path in sources))  # strings in several parts
    page = (ROOT / "docs/troubleshooting.md").read_text()
    table = page[page.index("## Log lines") : page.index("## Symptoms")]
    lines = [
        line for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for line in re.findall(r"`(.+?)`", cell)
    ]
    assert len(lines) > 20
    for line in lines:
        parts = [part for part in line.split("…") if len(part) > 3]
        assert all(part in text for part in parts), line


def test_an_image_has_the_same_version_everywhere() -> None:
    patterns = ("*.yaml", ".env.example", "Makefile", "*/Dockerfile", "local/*", "docs/*.md", "tests/e2e/*.py")
    text = "".join(path.read_text() for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())
    image = r"((?:pipeline-local/|prom/)?\b(?:python|rabbitmq|prometheus)):(v?\d[\w.-]*\w)"
    versions = {match for match in re.findall(image, text) if match != ("rabbitmq", "5672")}  # a port
    public, own = ["prom/prometheus", "python", "rabbitmq"], ["prometheus", "python", "rabbitmq"]
    assert sorted(name for name, _ in versions) == [*(f"pipeline-local/{name}" for name in own), *public], versions

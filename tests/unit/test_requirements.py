"""Every requirements.txt is what `make lock` makes of its requirements.in."""

from __future__ import annotations

from harness import ROOT

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDERS = ("features", "model", "metric", "plot", "tests")
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?P<rest>.*\n(?: +.*\n)*)", re.MULTILINE)


def pins(folder: str) -> dict[str, re.Match[str]]:
    """The entries of a requirements.txt by name: `rest` has the hashes, and for whom the package is there."""
    text = (ROOT / folder / "requirements.txt").read_text()
    return {canonicalize_name(pin["name"]): pin for pin in PIN.finditer(text)}


def asked(folder: str) -> dict[str, Requirement]:
    """The requirements of a requirements.in by name."""
    lines = (ROOT / folder / "requirements.in").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith(("#", "-c "))]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_asked_for_is_pinned_and_nothing_else(folder: str) -> None:
    pinned = pins(folder)
    direct = {name for name, pin in pinned.items() if f"-r {folder}/requirements.in" in pin["rest"]}
    assert direct == set(asked(folder)), "run: make lock"
    for name, requirement in asked(folder).items():
        assert pinned[name]["version"] in requirement.specifier, f"{name}: run: make lock"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_package_has_hashes_and_a_reason(folder: str) -> None:
    for name, pin in pins(folder).items():
        assert "--hash=sha256:" in pin["rest"], f"{name}: run: make lock"
        reasons = set(re.findall(r"#\s+(?:via )?([\w.-]+|-r \S+)$", pin["rest"], re.MULTILINE)) - {"via"}
        known = {f"-r {folder}/requirements.in", *pins(folder)}
        assert reasons & known, f"{name} is there for nobody: run: make lock"


def test_all_services_use_the_same_versions() -> None:
    versions: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for name, pin in pins(folder).items():
            versions.setdefault(name, set()).add(pin["version"])
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}, "run: make lock"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_registry_is_named(folder: str) -> None:
    for file in "requirements.in", "requirements.txt":
        assert "://" not in (ROOT / folder / file).read_text()

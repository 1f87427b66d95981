"""Files replaced in one step: on the disk before they get their name, and no link is followed."""

import plot
import train
from pipeline.files import Alive, replace

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[Path], None]  # into a folder


def write_some_file(folder: Path) -> None:
    replace(folder / "some.txt", b"new")


def write_picture_and_page(folder: Path) -> None:
    plot.redraw(plot.LogReader(folder / "metric_log.csv"), folder, plot.PlotSettings(logs_dir=str(folder)))


def write_model(folder: Path) -> None:
    train.train(train.TrainSettings(model_path=str(folder / "some.pkl")))


WRITERS: list[tuple[Write, list[str]]] = [
    (write_some_file, ["some.txt"]),
    (write_picture_and_page, ["error_distribution.png", "report.html"]),
    (write_model, ["some.pkl"]),
]
each_writer = pytest.mark.parametrize(("write", "names"), WRITERS, ids=lambda value: getattr(value, "__name__", ""))


@each_writer
def test_a_file_is_synced_before_it_gets_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, names: list[str]
) -> None:
    """Otherwise the file can be empty, or the old one, after a power cut."""
    calls: list[tuple[str, str, int]] = []
    fsync, rename = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        calls.append(("sync", path.name, 0 if path.is_dir() else path.stat().st_size))

    def renamed(source: Path, target: Path) -> None:
        rename(source, target)
        calls.append(("rename", Path(target).name, 0))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write(tmp_path)
    for name in names:
        size = (tmp_path / name).stat().st_size
        first, second, third, *calls = calls
        assert size > 0
        assert first[0] == "sync"
        assert first[2] == size  # all of it, and no part in a buffer
        assert second == ("rename", name, 0)
        assert third == ("sync", tmp_path.name, 0)
    assert not calls


@each_writer
def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path, write: Write, names: list[str]) -> None:
    """Whether it has the file's own name or that of the unfinished file."""
    private = tmp_path / "private"
    private.write_text("private")
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in names:
        for link in (name, f".{name}.new", f".{name}"):
            (logs / link).symlink_to(private)
    write(logs)
    assert private.read_text() == "private"
    for name in names:
        assert (logs / name).is_file()
        assert not (logs / name).is_symlink()
        assert not (logs / f".{name}.new").is_symlink()


def test_a_service_goes_on_where_there_is_no_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "gettempdir", none)
        alive = Alive("some")
        alive.touch()
        alive.touch()
    assert caplog.text.count("no sign of life") == 1
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    alive.touch()
    assert (tmp_path / "some.alive").exists()

"""What a person may do to the files of a metric that runs. `copy` next to the folder is an older copy of it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

STATE = "metric_state.sqlite3"


def delete_state(logs: Path) -> None:
    (logs / STATE).unlink()


def delete_wal(logs: Path) -> None:
    (logs / f"{STATE}-wal").unlink()


def delete_all(logs: Path) -> None:
    for path in logs.glob("metric_state*"):
        path.unlink()


def rename_state(logs: Path) -> None:
    (logs / STATE).rename(logs / "mine.sqlite3")


def restore_old_copy(logs: Path) -> None:
    """By renaming: metric cannot know a file that is overwritten in place."""
    delete_all(logs)
    for path in (logs.parent / "copy").glob("metric_state*"):
        Path(shutil.copy(path, logs / "restored")).rename(logs / path.name)


def delete_folder(logs: Path) -> None:
    logs.rename(logs.with_name(f"logs-{time.time_ns()}"))  # and not made again by anybody


def replace_folder(logs: Path) -> None:
    delete_folder(logs)
    logs.mkdir()


WAYS = (delete_state, delete_wal, delete_all, rename_state, restore_old_copy, replace_folder, delete_folder)

"""Files that are whole at any moment, power cuts included, and the sign of life that a health check looks for."""

import logging
import os
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)


def replace(path: Path, content: bytes) -> None:
    """Put the content in the place of a file in one step: a reader sees the old one or the new one, never a part.

    It is on the disk when this returns. The unfinished file is `.<name>.new` in the same folder; a link of that name is
    removed, not followed. Raises OSError.
    """
    unfinished = path.with_name(f".{path.name}.new")  # one name, so that a crash leaves one file, for the next time
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o664)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    unfinished.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Alive:
    """The file `<service>.alive` in the folder for temporary files: a health check looks at how old it is."""

    def __init__(self, service: str) -> None:
        self.path = Path(tempfile.gettempdir(), f"{service}.alive")
        self.failing = False

    def touch(self) -> None:
        """Date the file now. A folder that does not take it is logged once: the service itself can go on."""
        try:
            self.path.touch()
            self.failing = False
        except OSError as error:
            if not self.failing:
                log.warning("no sign of life for the health check: %s", error)
            self.failing = True

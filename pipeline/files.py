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


SIGNATURES = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: run `git lfs pull`",
    b"<": "a web page or XML",
    b"{": "JSON",
    b"[{": "JSON",
    b"[[": "JSON",
    b"PK\x03\x04": "a zip archive (.xlsx, .npz, .keras and .pt are such)",
    b"\xd0\xcf\x11\xe0": "an old Office document (.xls)",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow (Feather) file",
    b"FEA1": "a Feather file",
    b"\x89HDF": "an HDF5 file (.h5; Keras and MATLAB write such)",
    b"\x93NUMPY": "a numpy array (.npy)",
    b"SQLite": "an SQLite database",
    b"RDX": "an R workspace",
    b"$FL": "an SPSS file",
    b"CBM1": "a CatBoost model",
    b"GGUF": "a GGUF model",
    b"tree\nversion": "a LightGBM model as text",
    b"\x7fELF": "a program",
}


def recognize(start: bytes) -> str:
    """What a file is that begins like this, in words for a person; empty where it is none of the kinds known here.

    For a place where another kind of file is expected: pickles, plain text and what gzip, bzip2 and xz compress are
    not among the kinds.
    """
    if not start:
        return "empty"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for signature, kind in SIGNATURES.items() if text.startswith(signature)), "")

"""Files: the form of the log, atomic replacement that is safe across power cuts, the sign of life."""

import logging
import os
import re
import tempfile
from pathlib import Path

HEADER = b"id,y_true,y_pred,absolute_error\n"  # of metric_log.csv, which metric writes and plot and analysis read
LARGEST = 1e30  # of its values that are used: no target has such; sums of squares of smaller ones are finite

log = logging.getLogger(__name__)


def replace(path: Path, content: bytes) -> None:
    """Replace the content of a file in one step: a reader sees the old one or the new one, never a part.

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
    """Make new file names in a folder survive a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Alive:
    """The file `<service>.alive` in the folder for temporary files: a health check looks at how old it is."""

    def __init__(self, service: str) -> None:
        self.name, self.failing = f"{service}.alive", False

    def touch(self) -> None:
        """Set the file's time to now. A failure is logged once, since the service itself can go on."""
        try:
            Path(tempfile.gettempdir(), self.name).touch()
            self.failing = False
        except OSError as error:
            if not self.failing:
                log.warning("no sign of life for the health check: %s", error)
            self.failing = True


def not_a_file(path: Path) -> str:
    """Why a path cannot be read, in words for the user; empty if it is a file. Raises OSError."""
    if not path.exists():
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        return f"there is no such file{where}; a container sees only what is mounted in it"
    return "" if path.is_file() else f"takes a file, and this is a {'folder' if path.is_dir() else 'device or a pipe'}"


KINDS = {
    rb"version https://git-lfs": "a pointer of Git LFS, not the file itself: run `git lfs pull`",
    rb"\s*<": "a web page or XML",
    rb"PK\x03\x04": "a zip archive, as .xlsx, .npz, .keras and .pt files are",
    rb"\xd0\xcf\x11\xe0": "an old Office document, such as .xls",
    rb"\x28\xb5\x2f\xfd": "compressed by zstd",
    rb"7z\xbc\xaf": "a 7z archive",
    rb"Rar!": "a RAR archive",
    rb".{257}ustar": "a tar archive",
    rb"%PDF": "a PDF",
    rb"\x89PNG|\xff\xd8\xff": "a picture",
    rb"PAR1": "a Parquet file",
    rb"ARROW1|FEA1": "an Arrow or Feather file",
    rb"\x89HDF": "an HDF5 file, as Keras and MATLAB write them",
    rb"MATLAB": "a MATLAB file",
    rb"\x93NUMPY": "a numpy array",
    rb"SQLite": "an SQLite database",
    rb"RD[AX]": "an R workspace",
    rb"\$FL": "an SPSS file",
    rb"\x08[\x01-\x1f]\x12": "an ONNX model",
    rb".{7}\x00\{\"": "a safetensors file",
    rb".{4}TFL3": "a TensorFlow Lite model",
    rb"\{L": "an XGBoost model in its own format",
    rb"\s*(\{|\[\s*[\[{])": "JSON",
    rb"CBM1": "a CatBoost model in its own format",
    rb"tree\s+version": "a LightGBM model in its own format",
    rb"GGUF": "a GGUF model",
    rb"\x7fELF": "a program",
}


def recognize(start: bytes) -> str:
    """The kind of a file, from its first 300 bytes, in words for the user; empty if unknown.

    For use where a pickle or a CSV is expected: those two are not recognised here, nor are gzip, bzip2 and xz files.
    """
    start = start.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of UTF-8
    if not start.strip():
        return "empty"
    return next((kind for pattern, kind in KINDS.items() if re.match(pattern, start, re.DOTALL)), "")

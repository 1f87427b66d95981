"""The model service as it is, but for a batch that is never more than one message."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "model" / "src")]

import model  # noqa: E402
from pipeline import broker, settings  # noqa: E402

if __name__ == "__main__":
    broker.LARGEST_BATCH = 1
    settings.run("model", model.ModelSettings, model.main)

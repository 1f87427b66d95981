"""The model service as it is, but for a batch that is never more than one message."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "model" / "src"))
import model

if __name__ == "__main__":
    model.PREFETCH = 1
    model.main()

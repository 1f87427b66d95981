"""Times plot's redraw: `python redraw.py`, with LOGS_DIR. Prints seconds to read the log and milliseconds to redraw."""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plot" / "src"))
import plot

TIMES = 21

if __name__ == "__main__":
    service = plot.Plot(plot.configure(plot.Config))
    start = time.perf_counter()
    while service.log.read():
        pass
    reading = time.perf_counter() - start
    service.redraw()  # the first one imports matplotlib
    redraws = []
    for _ in range(TIMES):
        start = time.perf_counter()
        service.redraw()
        redraws.append(time.perf_counter() - start)
    print(reading, 1000 * statistics.median(redraws), flush=True)
    sys.stdin.read()  # stay, so that the memory can be read

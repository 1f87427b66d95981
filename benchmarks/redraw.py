"""Times plot's redraw: `python redraw.py`, with LOGS_DIR. Prints seconds to read the log and milliseconds to redraw."""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "plot" / "src"))
import plot
from pipeline.settings import read

TIMES = 21

if __name__ == "__main__":
    settings = read(plot.PlotSettings)
    folder = Path(settings.logs_dir)
    metric_log = plot.LogReader(folder / "metric_log.csv")
    start = time.perf_counter()
    while metric_log.read():
        pass
    reading = time.perf_counter() - start
    plot.redraw(metric_log, folder, settings)  # the first one loads the fonts
    redraws = []
    for _ in range(TIMES):
        start = time.perf_counter()
        plot.redraw(metric_log, folder, settings)
        redraws.append(time.perf_counter() - start)
    print(reading, 1000 * statistics.median(redraws), flush=True)
    sys.stdin.read()  # stay, so that the memory can be read

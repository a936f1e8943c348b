"""Draw what `accuracy.py --csv` wrote: `python bench/accuracy_plot.py accuracy.csv docs/accuracy.png`.

A panel for each scheme and delay: the 99th percentile of the error over the share of the client's own highest rate. It
needs matplotlib, which nothing else here does.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from matplotlib import pyplot  # type: ignore[import-not-found]  # pylint: disable=import-error  # for this script alone

MARKS = {"watcher": ("o-", "#0b6e4f"), "aiohttp": ("s--", "#c05a00"), "requests": ("^--", "#7a3b9a"),
         "blackbox": ("D--", "#1f5fa8")}  # fmt: skip
FLOOR_MS = 0.01
BUDGET_MS = 1.0

Row = dict[str, str]


def main() -> None:
    """Draw."""
    source, picture = map(Path, sys.argv[1:])
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    schemes = list(dict.fromkeys(row["scheme"] for row in rows))
    delays = sorted({row["delay_ms"] for row in rows}, key=float)
    size = 3.2 * len(delays), 3.0 * len(schemes) + 0.6
    figure, panels = pyplot.subplots(len(schemes), len(delays), sharex=True, sharey=True, squeeze=False, figsize=size)
    for line, scheme in zip(panels, schemes, strict=True):
        for panel, delay in zip(line, delays, strict=True):
            if these := [row for row in rows if (row["scheme"], row["delay_ms"]) == (scheme, delay)]:
                draw(panel, these)
                panel.set_title(f"{scheme}, answers after {delay} ms", fontsize=9)
            else:
                panel.set_axis_off()
        line[0].set_ylabel("error, p99, ms")
    for panel in panels[-1]:
        panel.set_xlabel("% of the client's highest rate")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="upper center", ncol=len(MARKS) + 1, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    figure.savefig(picture, dpi=110)


def draw(panel: pyplot.Axes, rows: list[Row]) -> None:
    """Draw one panel: a line for each arm, and the budget."""
    for arm, (mark, colour) in MARKS.items():
        points = [(int(row["share"].rstrip("%")), row["err_p99"]) for row in rows if row["arm"] == arm]
        seen = [(share, max(FLOOR_MS, float(error))) for share, error in points if error != "-"]
        if seen:
            panel.plot(*zip(*seen, strict=True), mark, color=colour, label=arm, markersize=4, linewidth=1.3)
    panel.axhline(BUDGET_MS, color="#888888", linewidth=0.8, linestyle=":", label=f"{BUDGET_MS:g} ms")
    panel.set_yscale("log")
    panel.set_xticks([10, 50, 90, 150])
    panel.grid(alpha=0.25)


if __name__ == "__main__":
    main()

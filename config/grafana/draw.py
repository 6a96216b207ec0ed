#!/usr/bin/env python3
"""Draws the first panels of the dashboard beside this file from a Prometheus server, as a picture.

    pip install matplotlib==3.10.8
    config/grafana/draw.py http://127.0.0.1:9090 docs/metrics.png --minutes 10

Grafana draws the same from the same expressions.
"""

import argparse
import json
import pathlib
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PANELS = 6
STEP_SECS = 5
DASHBOARD = pathlib.Path(__file__).with_name("privatelink-dns.json")


def query(server, expression, start, end):
    """The series of an expression, each as labels, times and values."""
    expression = expression.replace("$__rate_interval", "30s").replace("$instance", ".*")
    words = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": STEP_SECS})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{words}") as answer:
        result = json.load(answer)["data"]["result"]
    for series in result:
        times, values = zip(*((float(at), float(value)) for at, value in series["values"]))
        yield series["metric"], times, values


def legend(text, labels):
    """A legend as Grafana writes it."""
    for key, value in labels.items():
        text = text.replace("{{" + key + "}}", value)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", help="such as http://127.0.0.1:9090")
    parser.add_argument("picture", help="a PNG or SVG file")
    parser.add_argument("--minutes", type=float, default=10, help="how far back")
    arguments = parser.parse_args()
    end = time.time()
    start = end - arguments.minutes * 60
    panels = json.loads(DASHBOARD.read_text())["panels"][:PANELS]
    figure, axes = plt.subplots(3, 2, figsize=(14, 11), constrained_layout=True)
    for panel, axis in zip(panels, axes.flat):
        defaults = panel["fieldConfig"]["defaults"]
        lines = [
            (legend(target["legendFormat"], labels), times, values)
            for target in panel["targets"]
            for labels, times, values in query(arguments.server, target["expr"], start, end)
        ]
        for number, (name, times, values) in enumerate(sorted(lines, key=lambda line: line[0])):
            minutes = [(at - start) / 60 for at in times]
            axis.plot(minutes, values, label=name, linewidth=1.4, color=plt.get_cmap("tab20")(number % 20))
        axis.set_title(panel["title"], loc="left", fontweight="bold")
        axis.set_ylabel({"reqps": "a second", "s": "seconds", "percentunit": "part of 1"}.get(defaults["unit"], ""))
        axis.set_ylim(bottom=0, top=defaults.get("max", None) and 1.05)
        if defaults["unit"] == "s":
            axis.set_yscale("log")
            axis.autoscale(axis="y")
        axis.set_xlabel("minutes")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="best")
    figure.savefig(arguments.picture, dpi=90)


if __name__ == "__main__":
    main()

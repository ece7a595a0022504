#!/usr/bin/env python3
"""Matrix products by dssl's own kernels, oneDNN and a CBLAS: linear layers alone, and the whole training step.

    products.py --build build/release/benchmarks --out products.json [--rounds 9] [--steps 5] [--cpu 1]

Builds nothing: `cmake --build build/release --target dssl-product-benchmarks` does. All run in turn on one thread,
round by round; what counts is the median of the processor time of a round, which a busy machine disturbs least.
Writes JSON, and Markdown tables to stdout. Standard library only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
from run import Contestant, timed_step  # noqa: E402

STEPS = [("own, f32 as three bf16", "dssl-step", "f32"), ("own, f32", "dssl-step", "f32-plain"),
         ("oneDNN, f32", "dssl-step-onednn", "f32"), ("CBLAS, f32", "dssl-step-cblas", "f32"),
         ("own, bf16", "dssl-step", "bf16"), ("oneDNN, bf16", "dssl-step-onednn", "bf16")]


def steps(options, environment):
    """Processor seconds of whole steps, in turn."""
    running = []
    for name, program, precision in STEPS:
        path = os.path.join(options.build, program)
        if os.path.exists(path):
            running.append((name, Contestant(
                [*options.pin, path, "--arch", options.arch, "--serve", "--threads", "1", "--precision", precision],
                environment)))
    for _ in range(2):
        for _, contestant in running:
            contestant.ask("step")
    times = {name: [] for name, _ in running}
    checks = {name: contestant.ask("check") for name, contestant in running}
    for _ in range(options.steps):
        for name, contestant in running:
            times[name].append(timed_step(contestant)[1])
    out = []
    for name, contestant in running:
        out.append({"products": name, "backend": contestant.description["backend"],
                    "flop": contestant.description["flop"], "check": checks[name],
                    "processor_seconds": {"median": statistics.median(times[name]), "all": times[name]}})
        contestant.end()
    return out


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release/benchmarks")
    parser.add_argument("--out", default="products.json")
    parser.add_argument("--rounds", type=int, default=9, help="calls of each product")
    parser.add_argument("--rows", type=int, nargs="+", default=[3216, 9648])
    parser.add_argument("--steps", type=int, default=5, help="steps of each program; 0: none")
    parser.add_argument("--arch", default="small16")
    parser.add_argument("--cpu", help="the processor to stay on")
    options = parser.parse_args()
    options.pin = ["taskset", "-c", options.cpu] if options.cpu else []
    environment = dict(os.environ)
    result = json.loads(subprocess.run(
        [*options.pin, os.path.join(options.build, "dssl-products"), "--rounds", str(options.rounds), "--rows",
         *(str(r) for r in options.rows)], check=True, stdout=subprocess.PIPE, env=environment).stdout)
    result["steps"] = steps(options, environment) if options.steps else []
    with open(options.out + ".part", "w") as file:
        json.dump(result, file, indent=1)
    os.replace(options.out + ".part", options.out)

    names = list(dict.fromkeys(c["products"] for c in result["cases"]))
    cells = {}
    for c in result["cases"]:
        key = (c["pass"].replace("_", " "), str(c["rows"]), f"{c['in']} to {c['out']}")
        cells.setdefault(key, {})[c["products"]] = f"{c['flop'] / c['processor_seconds']['median'] / 1e9:.0f}"
    print("GFLOP/s of one thread:\n")
    print(table(["pass", "rows", "layer", *names], [[*key, *(row[n] for n in names)] for key, row in cells.items()]))
    if result["steps"]:
        print(f"\nSeconds of processor time of a step of {options.arch}, one thread:\n")
        print(table(["products", "s a step (min to max)"],
                    [[s["products"], f"{s['processor_seconds']['median']:.2f} ({min(s['processor_seconds']['all']):.2f} "
                      f"to {max(s['processor_seconds']['all']):.2f})"] for s in result["steps"]]))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Turns what cuda.sh measured into cuda.json and cuda.md.

    cuda_report.py --results benchmarks/results/cuda

Reads step-*.json and parts-*.json of dssl-cuda-step, pairs.json of peers/run.py, no-memory.txt (architecture, batch and
peer a line) and kernels-*.csv of nsys, whatever of them is there. Standard library only.
"""

import argparse
import csv
import glob
import json
import os

from report import NAMES, both, grouped, less_memory, number, read, table, write

SHOWN = 3  # parts, and kernels, that are named


def collect(folder):
    def several(pattern):
        return [read(path) for path in sorted(glob.glob(os.path.join(folder, pattern)))]

    kernels = {}
    for path in sorted(glob.glob(os.path.join(folder, "kernels-*.csv"))):
        with open(path, newline="") as file:
            rows = [(float(r["Time (%)"]), int(r["Instances"]), r["Name"])
                    for r in csv.DictReader(file) if r.get("Name")]
        kernels[os.path.basename(path)[len("kernels-") : -len(".csv")]] = sorted(rows, reverse=True)
    missing = []
    path = os.path.join(folder, "no-memory.txt")
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                arch, batch, peer = line.split()
                missing.append({"arch": arch, "batch": int(batch), "peer": peer})
    return {"steps": several("step-*.json"), "parts": several("parts-*.json"),
            "pairs": read(os.path.join(folder, "pairs.json")) or [], "no_memory": missing, "kernels": kernels}


def gib(x):
    return f"{x / 2**30:.1f} GiB"


def way_of(step):
    """Number format, and what else a step was made with."""
    words = [step["precision"], *less_memory(step)]
    if step["stochastic_depth"] == 0:
        words.append("no stochastic depth")
    if step["graphs"]:
        words.append("graphs")
    return ", ".join(words)


def step_rows(steps):
    order = sorted(steps, key=lambda r: (r["arch"], r["precision"], r["batch"], way_of(r)))
    return [(r["arch"], way_of(r), r["batch"], r["prototypes"], f"{r['images_per_second']:.0f}",
             f"{1000 * r['seconds']['median']:.1f} ms", gib(r["memory"]["plan"]),
             f"{r['utilisation']:.0%}") for r in order]


def pair_rows(pairs, missing):
    rows = []
    for p in sorted(pairs, key=lambda p: (p["arch"], p["workload"]["batch"], p["peer"])):
        batch = p["workload"]["batch"]
        ours, theirs = p["peak"]["ours"]["peak"], p["peak"]["peer"]["peak"]
        rows.append((NAMES[p["arch"]], batch, both(p["precision"]),
                     f"{p['peer_run']['library']}, {p['peer']}", f"{batch / p['ours']['seconds']['median']:.0f}",
                     f"{batch / p['peer_run']['seconds']['median']:.0f}", f"**{p['ratio']['median']:.2f}**",
                     f"{gib(ours)} / {gib(theirs)}", f"{theirs / ours:.2f}"))
    for m in missing:
        rows.append((NAMES[m["arch"]], m["batch"], "", m["peer"], "", "out of memory", "", "", ""))
    return rows


def part_rows(profile):
    whole = sum(g["seconds"] for _, g in grouped(profile)) + profile["outside_parts"]
    return [(f"`{name}`", number(g["calls"]), f"{1000 * g['seconds']:.2f}", f"{g['seconds'] / whole:.0%}",
             f"{1000 * g['floor_seconds']:.2f}", f"{g['floor_seconds'] / g['seconds']:.0%}" if g["seconds"] > 0 else "",
             f"{1000 * g['calls'] * profile['launch_and_wait_seconds']:.2f}")
            for name, g in grouped(profile)[:SHOWN]]


def page(results):
    steps, parts = results["steps"], results["parts"]
    known = steps or parts
    lines = ["# Training steps on a GPU", "", known[0]["backend"] if known else "nothing was measured", ""]
    if steps:
        lines += ["2 + 4 views at 224, K 2. Utilisation: FLOP of the published step over those of a linear layer of",
                  "8192 x 8192 in the same number format.", "",
                  table(("backbone", "products", "batch", "P", "images/s", "step", "memory", "utilisation"),
                        step_rows(steps)), ""]
    if results["pairs"] or results["no_memory"]:
        lines += ["## Beside PyTorch", "",
                  "The same step from the same weights and views, after both gave the same losses and gradient norms; one",
                  "after the other on this device, views from the host's memory in every step. Ratio: PyTorch's time over",
                  "dssl's, and its peak of memory (`max_memory_allocated`) over dssl's plan.", "",
                  table(("backbone", "batch", "format", "peer", "dssl images/s", "peer images/s", "ratio",
                         "memory, dssl / peer", "ratio of memory"), pair_rows(results["pairs"], results["no_memory"])), ""]
    for profile in parts:
        lines += [f"## Parts of {NAMES[profile['arch']]}, {profile['precision']}, batch {profile['batch']}", "",
                  f"The {SHOWN} largest primitives, each waited for, beside the least that this device needs for them: FLOP",
                  f"over {profile['linear_layer_flops'] / 1e12:.0f} TFLOP/s of the linear layer, or bytes over "
                  f"{profile['copy_bytes'] / 1e9:.0f} GB/s of a copy, the longer.",
                  "Of the time, launches and waits are at most the last column.", "",
                  table(("primitive", "calls", "ms", "share", "floor, ms", "floor / time", "launches and waits, ms"),
                        part_rows(profile)), ""]
        if profile["arch"] in results["kernels"]:
            lines += [table(("kernel", "launches", "share"),
                            [(f"`{name[:90]}`", count, f"{share:.0f} %")
                             for share, count, name in results["kernels"][profile["arch"]][:SHOWN]]), ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="Makes cuda.json and cuda.md from what cuda.sh measured.")
    parser.add_argument("--results", required=True, help="folder that cuda.sh wrote to")
    folder = parser.parse_args().results
    results = collect(folder)
    write(os.path.join(folder, "cuda.json"), json.dumps(results, indent=1) + "\n")
    write(os.path.join(folder, "cuda.md"), page(results))


if __name__ == "__main__":
    main()

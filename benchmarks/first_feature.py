#!/usr/bin/env python3
"""From the start of a process to its first feature: the weights come from a file, the image is at hand.

    first_feature.py --build build/release/benchmarks [--arch tiny16] [--size 224] [--out first.json]

Prints JSON. Standard library only.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time


def main():
    parser = argparse.ArgumentParser(description="Measures the time to the first feature.")
    parser.add_argument("--build", required=True, help="folder with dssl-features")
    parser.add_argument("--arch", nargs="+", default=["nano8", "tiny16", "small16"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out")
    options = parser.parse_args()
    program = os.path.join(options.build, "dssl-features")
    results = []
    for arch in options.arch:
        with tempfile.TemporaryDirectory() as folder:
            start = os.path.join(folder, "start.safetensors")
            sizes = ["--arch", arch, "--size", str(options.size)]
            subprocess.run([program, *sizes, "--write-start", start], check=True)
            seconds = []
            for _ in range(options.runs):
                begin = time.perf_counter()
                subprocess.run([program, *sizes, "--start", start, "--once"], check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - begin)
        results.append({"arch": arch, "size": options.size, "load_before": os.getloadavg()[0],
                        "seconds": {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}})
    text = json.dumps(results, indent=1)
    if options.out:
        with open(options.out, "w") as file:
            file.write(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

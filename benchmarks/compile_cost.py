#!/usr/bin/env python3
"""What using dssl costs in compile time, memory of the compiler, and size of a program.

    compile_cost.py [--compiler g++] [--flags "-O3 -DNDEBUG"] [--repeats 3] [--out costs.json]

Compiles the library's smallest whole program and a few single headers, from the project's root. Prints JSON.
Standard library only.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADERS = ("dssl/core/tensor_view.hpp", "dssl/backend/cpu.hpp", "dssl/views/multi_crop.hpp",
           "dssl/features/features.hpp", "dssl/dssl.hpp")


def timed(command):
    """Seconds of processor time and the largest resident memory of a command, its children included."""
    pid = os.fork()
    if pid == 0:
        os.execvp(command[0], command)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: failed")
    return usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss


def cost(command, repeats):
    runs = [timed(command) for _ in range(repeats)]
    return {"seconds": statistics.median(s for s, _ in runs), "peak": max(m for _, m in runs)}


def main():
    parser = argparse.ArgumentParser(description="Measures compile time, compiler memory and binary size.")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--flags", default="-O3 -DNDEBUG")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out")
    options = parser.parse_args()
    os.environ["CCACHE_DISABLE"] = "1"
    compile_command = [options.compiler, "-std=c++20", *options.flags.split(), "-I", os.path.join(ROOT, "include"),
                       "-isystem", "/usr/include/eigen3"]
    version = subprocess.run([options.compiler, "--version"], capture_output=True, text=True, check=True).stdout
    out = {"compiler": version.splitlines()[0], "flags": options.flags, "headers": {}}
    with tempfile.TemporaryDirectory() as folder:
        for header in HEADERS:
            source = os.path.join(folder, "one.cpp")
            with open(source, "w") as file:
                file.write(f"#include <{header}>\n")
            out["headers"][header] = cost([*compile_command, "-c", source, "-o", source + ".o"], options.repeats)
        program = os.path.join(folder, "minimal")
        object_file = program + ".o"
        source = os.path.join(ROOT, "examples", "minimal.cpp")
        out["minimal"] = cost([*compile_command, "-c", source, "-o", object_file], options.repeats)
        subprocess.run([options.compiler, object_file, "-o", program, "-ltbb"], check=True)
        out["minimal"]["bytes"] = os.path.getsize(program)
        subprocess.run(["strip", program], check=True)
        out["minimal"]["stripped_bytes"] = os.path.getsize(program)
    text = json.dumps(out, indent=1)
    if options.out:
        with open(options.out, "w") as file:
            file.write(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The training step of one commit beside that of another, or of the working tree: seconds of a step in turn, as pairs.

    step_pairs.py BEFORE [NOW] [--arch tiny16,small16] [--precision f32,bf16] [--threads 2] [--pairs 7]

BEFORE and NOW: a commit, whose dssl-step is built in a folder that is removed again, or a dssl-step that is built already;
without NOW the working tree is built. Both begin with the same weights and views; what they compute in three steps is
compared to the digit, and the status is 1 where it differs. One line for each model and format: old seconds over new, median,
least and most. Worth something on a quiet machine alone. Needs git, CMake and Ninja. Standard library only.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))

from run import Contestant  # noqa: E402  (a program that answers a command a line)


def built(source, folder):
    """The dssl-step of a source tree, built in the folder."""
    subprocess.run(["cmake", "-S", source, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DDSSL_BUILD_TESTS=OFF",
                    "-DDSSL_BUILD_EXAMPLES=OFF", "-DDSSL_BUILD_BENCHMARKS=ON", "-DDSSL_CUDA=OFF"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "--target", "dssl-step"], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(folder, "benchmarks", "dssl-step")


def program(what, work, name):
    """The dssl-step that `what` names: a program, a commit, or nothing for the working tree."""
    root = os.path.dirname(HERE)
    if what is None:
        return built(root, os.path.join(work, name))
    if os.path.isfile(what):
        return os.path.abspath(what)
    tree = os.path.join(work, name + "-tree")
    subprocess.run(["git", "-C", root, "worktree", "add", "--detach", tree, what], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    try:
        return built(tree, os.path.join(work, name))
    finally:
        subprocess.run(["git", "-C", root, "worktree", "remove", "--force", tree], check=True)


def compare(programs, arch, precision, options, work):
    """Prints the line of one model and format; true where both compute the same."""
    start = os.path.join(work, "start.safetensors")
    subprocess.run([programs[1], "--arch", arch, "--write-start", start], check=True)
    both = [Contestant([p, "--arch", arch, "--precision", precision, "--threads", str(options.threads), "--serve", "--start", start],
                       dict(os.environ)) for p in programs]
    checks = [[c.ask("check") for _ in range(3)] for c in both]
    steps = [[c.ask("step")[0] for c in both] for _ in range(3 + options.pairs)][3:]
    for contestant in both:
        contestant.end()
    ratios = [old / new for old, new in steps]
    print(f"{arch} {precision}: old/new {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), "
          + ("the same losses" if checks[0] == checks[1] else f"OTHER losses: {checks[0]}, {checks[1]}"), flush=True)
    return checks[0] == checks[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("now", nargs="?")
    parser.add_argument("--arch", default="tiny16,small16")
    parser.add_argument("--precision", default="f32,bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    if options.pairs < 1:
        parser.error(f"--pairs is {options.pairs}; expected 1 or more")
    with tempfile.TemporaryDirectory() as work:
        programs = [program(what, work, name) for what, name in ((options.before, "before"), (options.now, "now"))]
        same = [compare(programs, arch, precision, options, work)
                for arch in options.arch.split(",") for precision in options.precision.split(",")]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())

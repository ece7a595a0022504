#!/usr/bin/env python3
"""benchmarks/study.py: figures are made once of the same weights, and anew of others. Standard library only."""

import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "benchmarks"))
import study  # noqa: E402

# Says which weights it was told, and a digit more each time that it runs.
PROGRAM = """#!/bin/sh
while [ $# -gt 1 ]; do case $1 in --weights) weights=$2 ;; --out) out=$2 ;; esac; shift; done
printf 1 >> "$0.runs"
mkdir "$out" && printf '["%s", %s]' "$weights" "$(cat "$0.runs")" > "$out/result.json"
"""


class Measuring(unittest.TestCase):
    def test_figures_are_of_the_weights_that_are_there(self):
        with tempfile.TemporaryDirectory() as folder:
            program, weights = os.path.join(folder, "probe"), os.path.join(folder, "teacher.safetensors")
            for path, text in ((program, PROGRAM), (weights, "")):
                study.write(path, text)
            os.chmod(program, 0o755)

            def figures(of, out):
                return study.measured(folder, "classify", ["probe"], of, os.path.join(folder, out))

            self.assertEqual(figures(weights, "own"), [weights, 1])
            self.assertEqual(figures("random", "random"), ["random", 11])
            self.assertEqual((figures(weights, "own"), figures("random", "random")), ([weights, 1], ["random", 11]))
            later = os.path.getmtime(os.path.join(folder, "own", "result.json")) + 10
            os.utime(weights, (later, later))  # trained anew
            self.assertEqual(figures(weights, "own"), [weights, 111])
            self.assertEqual(figures("random", "random"), ["random", 11])
            # Another command is another figure.
            self.assertEqual(study.measured(folder, "classify", ["probe", "--seed", "1"], "random", os.path.join(folder, "random")),
                             ["random", 1111])
            self.assertEqual(figures("random", "random"), ["random", 11111])


class Tables(unittest.TestCase):
    def test_seeds_are_a_mean_and_what_they_spread(self):
        rows = {"steel": {"random": {"0": {"right": 40.0}, "1": {"right": 42.0}}, "dino": {"0": {"right": 50.0}, "1": {"right": 50.0}}}}
        self.assertEqual(study.table(rows), "| images | figure, % | random | dino |\n|---|---|---|---|\n"
                         "| steel | right | 41.0 (40.0 to 42.0) | **50.0** |\n")

    def test_an_option_that_comes_later_takes_the_place_of_the_earlier(self):
        self.assertEqual(study.last_of(["--lr", "1", "--flag", "--scale", "0", "1", "--lr", "2"]),
                         ["--lr", "2", "--flag", "--scale", "0", "1"])
        self.assertEqual(study.last_of(["--lr", "1", "--flag"], ["--lr"]), ["--flag"])


if __name__ == "__main__":
    unittest.main()

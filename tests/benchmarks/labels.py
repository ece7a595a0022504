#!/usr/bin/env python3
"""benchmarks/labels.py: runs are passed over where they are of the same command and weights. Standard library only."""

import argparse
import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "benchmarks"))
import labels  # noqa: E402

# Writes its weights or its draw, and a digit more each time that it runs.
PILOT = """#!/bin/sh
while [ $# -gt 1 ]; do case $1 in --weights) weights=$2 ;; --out) out=$2 ;; esac; shift; done
printf 1 >> "$0.runs"
mkdir "$out" && printf '["%s", %s]' "$weights" "$(cat "$0.runs")" > "$out/result.json"
"""
PRETRAIN = """#!/bin/sh
while [ $# -gt 1 ]; do case $1 in --data) data=$2 ;; --out) out=$2 ;; esac; shift; done
printf 1 >> "$0.runs"
mkdir -p "$out" && cp "$data" "$out/teacher.safetensors"
"""


class Tiles:
    images, ending = "tiles/images", ".jpg"
    views = {"dino": ["--epochs", "2"]}
    lists = {"normal_train": [f"n{i}" for i in range(10)], "defect_train": ["d"]}


class Runs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.o = argparse.Namespace(programs=self.folder.name, recipe="dino", out=os.path.join(self.folder.name, "out"))
        for name, text in (("dssl-defect-pilot", PILOT), ("dssl-pretrain", PRETRAIN)):
            path = os.path.join(self.folder.name, name)
            labels.write(path, text)
            os.chmod(path, 0o755)

    def test_a_pilot_is_run_once_for_each_command_and_its_weights(self):
        weights = os.path.join(self.folder.name, "teacher.safetensors")
        labels.write(weights, "")
        os.utime(weights, (1, 1))

        def pilot(*arguments):
            return labels.pilot(self.o, "choose/one", weights, *arguments)

        self.assertEqual(pilot("--top", "5"), [weights, 1])
        self.assertEqual(pilot("--top", "5"), [weights, 1])
        self.assertEqual(pilot("--top", "1"), [weights, 11])  # another command
        later = os.path.getmtime(os.path.join(self.o.out, "choose/one/result.json")) + 10
        os.utime(weights, (later, later))  # trained anew
        self.assertEqual(pilot("--top", "1"), [weights, 111])

    def test_a_run_that_ended_half_way_is_no_training(self):
        os.makedirs(os.path.join(self.o.out, "lists"))
        for expected in ("1", "1"):
            weights = labels.pretrained(self.o, Tiles)
            with open(os.path.join(self.folder.name, "dssl-pretrain.runs")) as runs:
                self.assertEqual(runs.read(), expected)
        with open(weights) as names:
            self.assertEqual(len(names.read().split()), 8 + 1)  # the last fifth of the normal ones takes no part
        labels.write(os.path.join(self.o.out, "pretrained", "done"), "")  # of other numbers, or none
        labels.pretrained(self.o, Tiles)
        with open(os.path.join(self.folder.name, "dssl-pretrain.runs")) as runs:
            self.assertEqual(runs.read(), "11")

    def test_a_unet_s_result_is_a_file(self):
        command = [sys.executable, "-c", "import sys; open(sys.argv[-1], 'w').write('[%d]' % len(sys.argv))"]
        path = os.path.join(self.o.out, "unet-0", "5.json")
        self.assertEqual(labels.result_of(command, "random", path), [3])
        self.assertEqual(labels.result_of([*command, "--seed", "1"], "random", path), [5])
        labels.write(path, "[7]")
        self.assertEqual(labels.result_of([*command, "--seed", "1"], "random", path), [7])

    def test_evenly_takes_each_once_from_all_over(self):
        self.assertEqual(labels.evenly(list("abcdefg"), 3), ["a", "c", "e"])
        self.assertEqual(labels.evenly(list("ab"), 5), ["a", "b"])


if __name__ == "__main__":
    unittest.main()

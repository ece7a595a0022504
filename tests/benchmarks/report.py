#!/usr/bin/env python3
"""benchmarks/report.py: what --keep keeps, what the page says of load, and that the pages are its. Standard library only."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "benchmarks"))
import report  # noqa: E402


def step(arch, seconds, **more):
    return {"program": "dssl-step", "workload": {"arch": arch}, "precision": "f32", "threads": 1, "seconds": seconds, **more}


def pair(task, seconds, **more):
    return {"task": task, "arch": "tiny16", "peer": "eager", "threads": 1, "precision": {"ours": "f32"}, "ours": seconds, **more}


def parts(date, **seconds):
    return {"context": {"date": date, "load_before": "0.1", "cpu": "of " + date, "caches": []},
            "benchmarks": [{"name": name, "real_time": time} for name, time in seconds.items()]}


class Keeping(unittest.TestCase):
    def collected(self, keep, **files):
        """Of files as measuring leaves them, by name; `earlier` is results.json."""
        with tempfile.TemporaryDirectory() as folder:
            for name, value in files.items():
                with open(os.path.join(folder, ("results" if name == "earlier" else name.replace("_", "-")) + ".json"), "w") as file:
                    json.dump(value, file)
            return report.collect(folder, keep)

    def first(self):
        return self.collected(False, step_a=step("a", 1), step_b=step("b", 2), step_less=step("a", 3, recompute=True),
                              pairs=[pair("step", 1), pair("features", 2), pair("search", 3)], parts=parts("monday", slow=1, fast=2),
                              costs={"base": 1})

    def test_a_record_takes_the_place_of_the_same_one(self):
        first = self.first()
        self.assertEqual([r["seconds"] for r in first["steps"]], [1, 2, 3])
        kept = self.collected(True, earlier=first, step_b=step("b", 20), step_c=step("c", 4),
                              pairs=[pair("features", 20), pair("step", 5, threads=2), pair("view-sets", 6)])
        self.assertEqual([r["seconds"] for r in kept["steps"]], [1, 20, 3, 4])
        self.assertEqual([r["ours"] for r in kept["pairs"]], [1, 20, 5])
        self.assertEqual([[r["ours"] for r in kept[kind]] for kind in ("searches", "views")], [[3], [6]])
        for kind in ("parts", "costs"):
            self.assertEqual(kept[kind], first[kind])
        # Without --keep only what is there.
        self.assertEqual([r["seconds"] for r in self.collected(False, earlier=first, step_c=step("c", 4))["steps"]], [4])

    def test_a_case_that_stays_says_when_it_was_measured(self):
        second = self.collected(True, earlier=self.first(), parts=parts("tuesday", fast=20))
        third = self.collected(True, earlier=second, parts=parts("friday", new=3))["parts"]
        self.assertEqual(third["context"]["date"], "friday")
        self.assertEqual([(c["name"], c["real_time"], c.get("measured", {}).get("date")) for c in third["benchmarks"]],
                         [("slow", 1, "monday"), ("fast", 20, "tuesday"), ("new", 3, None)])
        self.assertEqual(third["benchmarks"][0]["measured"], {"date": "monday", "load_before": "0.1", "cpu": "of monday"})


class Load(unittest.TestCase):
    def test_every_kind_counts(self):
        kinds = ("pairs", "searches", "views", "steps", "profiles", "features")
        for kind in kinds:
            results = {other: [{"others_load": 0.5 if other == kind else 0.01}] for other in kinds}
            self.assertIn("up to 50%", report.load_line(results), kind)
        self.assertIn("Nothing else ran", report.load_line({kind: [{"others_load": 0.01}] for kind in kinds if kind != "views"}))


class Pages(unittest.TestCase):
    def test_each_page_is_what_its_results_make(self):
        for page, of in (("performance", "."), ("performance-avx2", "avx2"), ("performance-amx", "amx")):
            with open(os.path.join(ROOT, "docs", page + ".md")) as file:
                there = file.read()
            title, _, made_by, _ = there.split("\n", 3)
            note = made_by.partition("change the measurements, not this page. ")[2]
            results = os.path.normpath(os.path.join("benchmarks/results", of))
            with self.subTest(page), tempfile.TemporaryDirectory() as folder:
                shutil.copytree(os.path.join(ROOT, results), os.path.join(folder, results), ignore=lambda at, names: {
                    name for name in names if os.path.isdir(os.path.join(at, name))})
                subprocess.run([sys.executable, os.path.join(ROOT, "benchmarks/report.py"), "--results", results, "--docs", "docs",
                                "--page", page, "--title", title[2:], "--note", note], cwd=folder, check=True)
                for name, path in ((page + ".md", "docs"), ("results.md", results)):
                    with open(os.path.join(folder, path, name)) as made, open(os.path.join(ROOT, path, name)) as kept:
                        self.assertTrue(made.read() == kept.read(), f"{path}/{name} is not what benchmarks/report.py makes of {results}")


if __name__ == "__main__":
    unittest.main()

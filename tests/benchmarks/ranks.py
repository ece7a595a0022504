#!/usr/bin/env python3
"""benchmarks/ranks.py: what it simulates is held to closed formulas, its counts to those of tests/train/ranks.cpp, the page to
what is recorded; with FOLDER_OF_PROGRAMS, also that it measures.

    ranks.py                                  # the simulation; standard library only
    ranks.py FOLDER_OF_PROGRAMS [MPIRUN]      # `measure` alone: with MPIRUN over two processes
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "benchmarks"))
import ranks as sim  # noqa: E402

PROGRAM = os.path.join(ROOT, "benchmarks", "ranks.py")
MIB = 1 << 20


def call(*arguments):
    return subprocess.run([sys.executable, PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def drawn_step(draw):
    stages = [sim.Stage(f"stage {i}", draw.uniform(0.001, 0.1), draw.randrange(1, 20_000_000)) for i in range(draw.randrange(1, 9))]
    return sim.Step(draw.uniform(0.01, 0.5), stages, draw.uniform(0.001, 0.1))


def drawn_case(draw):
    """A step, exchanges and a network over two ranks or more."""
    recipe = draw.choice(sorted(sim.RECIPES))
    exchanges = sim.exchanges_of(recipe, prototypes=draw.choice((256, 65536)), width=draw.choice((192, 768)), batch=8, views=6)
    network = sim.Network("drawn", draw.choice((0.0, 1e-6, 1e-4)), 10 ** draw.uniform(8, 11))
    cost = sim.Cost(network, draw.choice((2, 3, 8, 1024)), draw.choice(("direct", "ring", "tree", "best")), draw.choice((math.inf, 5e10)))
    return drawn_step(draw), exchanges, cost


def end_of(*arguments, **options):
    return sim.simulate(*arguments, **options).free["processor"]


class Simulation(unittest.TestCase):
    def test_costs_by_hand(self):
        network = sim.Network("by hand", 0.001, 1e6)
        # 8 MB over 4 ranks: 2 pieces of 4 MiB; ring of six turns; tree of two rounds there and two back.
        for way, gradients, small in (("direct", 2 * 2 * 3 * 0.001 + 12 + 11 * 0.8, 3 * (0.001 + 0.0001)),
                                      ("ring", 6 * 0.001 + 12 + 3 * 0.8, 3 * (0.001 + 0.0001)),
                                      ("tree", 4 * (0.001 + 8) + 3 * 0.8, 2 * 0.001 + 3 * 0.0001)):
            cost = sim.Cost(network, 4, way, 1e7)
            self.assertAlmostEqual(cost.sum(8_000_000), gradients, places=12)
            self.assertAlmostEqual(cost.gather(100), small, places=12)
        # Of 64 ranks none gets more than half a MiB at a time: 100 MB in 3 pieces, where they would be 2.
        self.assertAlmostEqual(sim.Cost(network, 64, "direct").sum(100_000_000), 2 * 3 * 63 * 0.001 + 2 * 63 / 64 * 100, places=9)
        direct = sim.Cost(network, 4, "direct", 1e7)
        self.assertEqual(direct.sum(4096), direct.gather(4096))
        best = sim.Cost(network, 64, "best")
        self.assertEqual(best.sum(64), sim.Cost(network, 64, "tree").sum(64))
        self.assertEqual(best.sum(8_000_000), sim.Cost(network, 64, "ring").sum(8_000_000))
        for way in ("direct", "ring", "tree", "best"):
            self.assertEqual(sim.Cost(network, 1, way, 1e7).sum(8_000_000), 0)
            self.assertEqual(sim.Cost(network, 1, way).gather(100), 0)

    def test_without_overlap_it_is_the_closed_formula(self):
        draw = random.Random(1)
        for _ in range(300):
            step, exchanges, cost = drawn_case(draw)
            passes, width = draw.randrange(1, 4), draw.choice((2, 4))
            expected = cost.sum(width * sum(s.parameters for s in step.stages)) + step.update
            expected += passes * (step.forward + sum(s.seconds for s in step.stages))
            for e in exchanges:
                one = cost.sum(e.size) if e.kind == "sum" else cost.gather(e.size)
                expected += e.times * one * (passes if e.when == "pass" else 1)
            self.assertAlmostEqual(end_of(step, exchanges, cost, gradient_bytes=width, accumulate=passes) / expected, 1, places=12)

    def test_overlap_by_hand(self):
        # Sending a parameter takes a second: of 3, 1 and 2 of them, while their stages take 1, 1 and 4 seconds.
        step = sim.Step(10, [sim.Stage("heads", 1, 3), sim.Stage("block 1", 1, 1), sim.Stage("block 0", 4, 2)], 5)
        cost = sim.Cost(sim.Network("by hand", 0, 4.0), 2, "ring")
        self.assertEqual(end_of(step, [], cost), 10 + 6 + 6 + 5)
        # Heads from 11 to 14, block 1 from 14 to 15, block 0 from 16 to 18.
        self.assertEqual(end_of(step, [], cost, bucket=4), 18 + 5)
        # Heads and block 1 from 12 to 16, block 0 from 16 to 18.
        self.assertEqual(end_of(step, [], cost, bucket=16), 18 + 5)
        # A bucket of 3 parameters, then one of 3: from 11 to 14, and from 16 to 19.
        self.assertEqual(end_of(step, [], cost, bucket=12), 19 + 5)
        # Of two passes the first sends nothing.
        twice = sim.simulate(step, [], cost, bucket=4, accumulate=2)
        self.assertEqual((twice.free["processor"], twice.busy("network")), (16 + 18 + 5, 6))
        self.assertEqual(sim.buckets_of(step.stages, 4), [(1, 4), (2, 2)])

    def test_overlap_is_never_slower_and_never_hides_more_than_there_is(self):
        draw = random.Random(2)
        gained = 0
        for _ in range(300):
            step, exchanges, cost = drawn_case(draw)
            size = draw.choice((1, 4, 25, 100)) * MIB
            events = sim.simulate(step, exchanges, cost, bucket=size)
            end = events.free["processor"]
            computed, sent = events.busy("processor"), events.busy("network")
            self.assertAlmostEqual(computed, sim.whole(step), places=9)
            self.assertGreaterEqual(end * (1 + 1e-12), max(computed, sent))
            # Than the same buckets after the pass; where messages cost nothing of their own, than all at once.
            self.assertLessEqual(end, (computed + sent) * (1 + 1e-12))
            without = end_of(step, exchanges, cost)
            self.assertAlmostEqual(end_of(step, exchanges, cost, bucket=math.inf) / without, 1, places=12)
            if cost.network.latency == 0 and cost.way != "best":
                self.assertLessEqual(end, without * (1 + 1e-12))
            best, _ = sim.seconds_of_step(step, exchanges, cost, [size, math.inf])
            self.assertLessEqual(best, without * (1 + 1e-12))
            gained += best < 0.999 * without
        self.assertGreater(gained, 100)
        # Many small messages over a network that is slow to begin them: here buckets alone would be slower.
        step = sim.Step(0.1, [sim.Stage(f"block {i}", 0.001, MIB) for i in range(12)], 0.1)
        slow = sim.Cost(sim.Network("slow", 0.01, 1e10), 64, "ring")
        self.assertGreater(end_of(step, [], slow, bucket=MIB), end_of(step, [], slow))
        self.assertEqual(sim.seconds_of_step(step, [], slow, [MIB, math.inf])[1], math.inf)

    def test_a_faster_network_is_never_slower(self):
        draw = random.Random(3)
        for _ in range(100):
            step, exchanges, cost = drawn_case(draw)
            for bucket in (None, 4 * MIB):
                ends = [end_of(step, exchanges, sim.Cost(sim.Network("drawn", cost.network.latency, bandwidth), cost.ranks, cost.way),
                               bucket=bucket) for bandwidth in (1e8, 1e9, 1e10, 1e11)]
                self.assertEqual(ends, sorted(ends, reverse=True))
                self.assertLess(ends[-1], ends[0])
                ends = [end_of(step, exchanges, sim.Cost(sim.Network("drawn", latency, 1e9), cost.ranks, cost.way), bucket=bucket)
                        for latency in (0, 1e-6, 1e-4)]
                self.assertEqual(ends, sorted(ends))

    def test_what_is_counted_is_what_a_run_sends(self):
        """Of the two runs whose bytes and messages tests/train/ranks.cpp counts, less the look at an epoch's end."""
        parameters = 7001
        for ranks in (2, 4):
            gradients = 2 * (ranks - 1) / ranks * 8 * parameters
            dense = sim.exchanges_of("densedino", prototypes=32, width=16, batch=4 // ranks, views=3, number_bytes=8)
            self.assertEqual(sim.traffic(dense, 8 * parameters, ranks, accumulate=2),
                             (2 + 1 + 2 + 2 + 7, gradients + (ranks - 1) * (64 + 2 * 32 * 8 + 16 * 16 + 2 * 536 + 1)))
            # DINOv2's is of two levels by Sinkhorn: the image level's is what is counted there.
            masked = sim.exchanges_of("dinov2", prototypes=10, width=8, batch=4 // ranks, views=3, number_bytes=8)
            self.assertEqual(sim.traffic(masked, 8 * parameters, ranks, accumulate=2),
                             (2 + 1 + 2 * (2 * 3) + 2 + 7, gradients + (ranks - 1) * (96 + 2 * (2 * 3 * 80) + 16 * 8 + 2 * 536 + 1)))
        self.assertEqual([e.size for e in sim.exchanges_of("ibot", prototypes=10, width=8, batch=2, views=3)
                          if e.name == "number of masked patches"], [8])
        tokens = {recipe: sum(e.times * e.size for e in sim.exchanges_of(recipe, prototypes=10, width=384, batch=8, views=6)
                              if "tokens" in e.name) for recipe in ("simclr", "byol", "swav")}
        self.assertEqual(tokens, {"simclr": 8 * 8 * 384, "byol": 2 * 8 * 8 * 384, "swav": 4 * 6 * 8 * 384})
        points = [e.size for e in sim.exchanges_of("densesimclr", prototypes=10, width=384, batch=8, views=2) if e.name == "features of points"]
        self.assertEqual(points, [8 * 8 * 8 * 384])  # 8 K B D of docs/processes.md, K = 8
        def norms(recipe, columns):
            exchanges = sim.exchanges_of(recipe, prototypes=10, width=384, batch=8, views=2, norms=columns)
            found = [e for e in exchanges if "batch norms" in e.name]
            self.assertEqual({(e.kind, e.when) for e in found}, {("sum", "pass")} if found else set())
            return sorted((e.size, e.times) for e in found)
        self.assertEqual(norms("pixpro", ()), [(65536, 1), (65536, 1), (65544, 2), (65544, 2)])  # of each view
        self.assertEqual(norms("densecl", ()), [])
        self.assertEqual(norms("densecl", (4096,)), [(65536, 1), (65544, 2)])
        # As tests/train/ranks.cpp counts of two levels whose heads have two batch norms of 12 columns each.
        self.assertEqual(sum(size * times for size, times in norms("densedino", (12,) * 4)), 2 * 2 * (3 * 16 * 12 + 2 * 8))
        keys = [e.size for e in sim.exchanges_of("densecl", prototypes=10, width=384, batch=8, views=2) if e.name == "dense keys"]
        self.assertEqual(keys, [4 * 8 * 128])

    def test_a_measured_step_is_cut_into_its_parts(self):
        with open(os.path.join(ROOT, "benchmarks", "results", "results.json")) as file:
            results = json.load(file)
        records = results["profiles"] + results["scaling"]
        self.assertGreater(len(records), 3)
        for record in records:
            step = sim.step_of(record)
            self.assertAlmostEqual(sim.whole(step), record["seconds"]["median"], places=12)
            self.assertAlmostEqual(end_of(step, [], sim.Cost(sim.NETWORKS[0], 1)), record["seconds"]["median"], places=12)
            self.assertEqual(sum(s.parameters for s in step.stages), record["parameters"])
            self.assertEqual(len(step.stages), 13)
            backward = sum(p["seconds"] for p in record["parts"] if "backward" in p["name"])
            timed = sum(p["seconds"] for p in record["parts"]) + record["outside_parts"]
            self.assertAlmostEqual(sum(s.seconds for s in step.stages) / sim.whole(step), backward / timed, places=12)
            # Heads have 2048 to 2048, 384 to 2048 and 2048 to 256 of their own.
            heads = sum(p["seconds"] for p in record["parts"] if "backward" in p["name"] and "2048" in p["shape"])
            self.assertAlmostEqual(step.stages[0].seconds / sim.whole(step), heads / timed, places=12)
            self.assertAlmostEqual(sim.whole(sim.scaled(step, 0.02)), 0.02, places=12)

    def test_the_page_is_what_is_recorded_and_that_is_what_is_simulated(self):
        with open(os.path.join(ROOT, "benchmarks", "results", "ranks.json")) as file:
            studies = json.load(file)["studies"]
        self.assertEqual([sim.again(study) for study in studies], studies)
        for study in studies:
            for row in study["rows"]:
                self.assertEqual(row["seconds"][0], study["seconds"])
                self.assertEqual(row["efficiency"][0], 1)
                self.assertLess(max(row["efficiency"][1:]), 1)
        path = os.path.join(ROOT, "docs", "processes.md")
        with open(path) as file:
            page = file.read()
        begin, end = sim.between(page, path)
        how = "run benchmarks/ranks.py simulate --out benchmarks/results --docs docs"
        self.assertEqual(page[begin:end].strip(), sim.tables(studies), how)
        with open(os.path.join(ROOT, "docs", "images", "processes-ranks.svg")) as file:
            self.assertEqual(file.read(), sim.picture(studies), how)

    def test_losses_of_all_cuts_are_compared(self):
        sim.require_same("2x1", [2.0, 3.0003], [2.0, 3.0], 1.1e-4)
        for losses in ([2.0, 3.0004], [math.nan, 3.0]):
            with self.assertRaisesRegex(sim.Problem, "losses of 2x1 are off by"):
                sim.require_same("2x1", losses, [2.0, 3.0], 1.1e-4)

    def test_the_command(self):
        with tempfile.TemporaryDirectory() as folder:
            done = call("simulate", "--out", folder, "--arch", "tiny16", "--seconds", "0.1", "--recipe", "dinov2", "--ranks", "1", "8",
                        "--network", "mine:3:2.5", "--bucket-mib", "8", "--accumulate", "2")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(sorted(os.listdir(folder)), ["ranks.json", "ranks.md", "ranks.svg"])
            with open(os.path.join(folder, "ranks.json")) as file:
                study, = json.load(file)["studies"]
            self.assertEqual(study["networks"], [{"name": "mine", "latency": 3e-6, "bandwidth": 2.5e9}])
            step = sim.Step(study["forward"], [sim.Stage(**s) for s in study["stages"]], study["update"])
            self.assertAlmostEqual(sim.whole(step), 0.1, places=12)
            self.assertAlmostEqual(study["seconds"], 2 * 0.1 - study["update"], places=12)
            self.assertEqual([row["bucket_mib"] for row in study["rows"]], [[None, None], [None, 8], [None, 8], [None, 8]])
            broken = os.path.join(folder, "step.json")
            with open(broken, "w") as file:
                json.dump({"workload": {"arch": "small16"}}, file)
            for words, arguments in (
                    ("--network: 'mine'; expected NAME:MICROSECONDS", ["--network", "mine"]),
                    ("--network: 'mine:1:0'; expected a name", ["--network", "mine:1:0"]),
                    ("--ranks: 2 4; expected 1 and more", ["--ranks", "2", "4"]),
                    ("--seconds is 0.0; expected", ["--seconds", "0"]),
                    ("--accumulate is 0; expected", ["--accumulate", "0"]),
                    ("--bucket-mib: a bucket of nothing", ["--bucket-mib", "0"]),
                    ("has no parts of a step of 'nano8' in bf16", ["--arch", "nano8"]),
                    ("--step: none.json: there is no such file", ["--step", "none.json"]),
                    ("the step has no 'parts'; expected JSON of dssl-step --parts", ["--step", broken])):
                done = call("simulate", "--out", folder, *arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertIn(words, done.stderr)
            for words, arguments in (("--cuts: '2'; expected RANKSxTHREADS", ["--cuts", "2"]),
                                     ("--batch is 3; expected a multiple of the ranks, 2", ["--batch", "3"]),
                                     ("--mpirun: there is no 'no-mpirun'", ["--mpirun", "no-mpirun"])):
                done = call("measure", "--out", folder, *arguments)
                self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
                self.assertIn(words, done.stderr)


class Measuring(unittest.TestCase):
    programs, mpirun = "", ""

    def test_the_same_run_cut_in_two_ways(self):
        other = "2x1" if self.mpirun else "1x1"
        tiny = ["--views-global", "16", "--views-local", "16", "--locals", "1", "--prototypes", "16", "--synthetic-size", "32"]
        with tempfile.TemporaryDirectory() as folder:
            done = call("measure", "--out", folder, "--programs", self.programs, "--mpirun", self.mpirun or "no-mpirun", "--arch",
                        "nano8", "--batch", "2", "--rounds", "2", "--steps", "2", "--warm-up", "1", "--cuts", "1x2", other, "--", *tiny)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(os.listdir(folder), ["ranks-measured.json"])
            with open(os.path.join(folder, "ranks-measured.json")) as file:
                result = json.load(file)
            first, second = result["cuts"]
            self.assertEqual([f"{cut['ranks']}x{cut['threads']}" for cut in (first, second)], ["1x2", other])
            self.assertEqual(first["ratio"]["all"], [1, 1])
            for cut in (first, second):
                self.assertEqual(len(cut["seconds"]["all"]), 4)
                self.assertGreater(cut["seconds"]["min"], 0)
                self.assertIn(f"| {cut['ranks']} x {cut['threads']} | {sim.spread(cut['seconds'])} |", done.stdout)
            done = call("measure", "--out", folder, "--programs", self.programs, "--arch", "nano8", "--batch", "2", "--cuts", "1x1",
                        "--", "--recipe", "nonsense")
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
            self.assertIn("nonsense", done.stderr)


if __name__ == "__main__":
    loader = unittest.defaultTestLoader
    if len(sys.argv) > 1:
        Measuring.programs, Measuring.mpirun = sys.argv[1], (sys.argv[2] if len(sys.argv) > 2 else "")
    chosen = loader.loadTestsFromTestCase(Measuring if len(sys.argv) > 1 else Simulation)
    sys.exit(0 if unittest.TextTestRunner().run(chosen).wasSuccessful() else 1)

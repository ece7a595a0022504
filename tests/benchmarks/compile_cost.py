#!/usr/bin/env python3
"""benchmarks/compile_cost.py: what is passed is named, one line each. Nothing is compiled. Standard library only."""

import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "benchmarks"))
import compile_cost  # noqa: E402

MEASURED = {"base": 1.9, "header": 7.8, "header_compiled": 4.4, "minimal_compiled": 6.2, "recipe": 1.7, "recipe_parsed": 0.15, "minimal": 39.4}


def late(slack, peaks=(457e6, 1289e6), **seconds):
    out = {name: {"least": least} for name, least in (MEASURED | seconds).items()}
    out["minimal_compiled"]["peak"], out["minimal"]["peak"] = peaks
    out["ratios"] = compile_cost.ratios(out)
    return compile_cost.passed_limits(out, slack)


class Limits(unittest.TestCase):
    def test_every_cost_is_held(self):
        self.assertEqual(late(1), [])
        for name in compile_cost.LIMITS:
            for slack in (1, 1.4):
                own = min(slack, 1.2) if name in ("header_compiled", "minimal_compiled", "recipe") else slack
                most = compile_cost.LIMITS[name] * own * MEASURED["base"]
                self.assertEqual(late(slack, **{name: 0.99 * most}), [])
                lines = late(slack, **{name: 1.01 * most})
                self.assertEqual([line.split(":")[0] for line in lines], [name])
        self.assertEqual(late(1.4, (801e6, 1289e6)), ["minimal_compiled: the compiler takes 801 MB; expected at most 800"])
        self.assertEqual(late(1.4, (457e6, 1421e6)), ["minimal: the compiler takes 1421 MB; expected at most 1420"])

    def test_what_is_reached_is_held_to_its_aim(self):
        aims = {"header_compiled": 2.5, "minimal_compiled": 4, "recipe": 5 / 3.1}
        self.assertEqual({name: round(aim, 1) for name, aim in aims.items()}, compile_cost.REACHED)
        self.assertEqual(compile_cost.PEAKS["minimal_compiled"], 800e6)


if __name__ == "__main__":
    unittest.main()

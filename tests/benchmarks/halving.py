#!/usr/bin/env python3
"""benchmarks/halving.py: which settings are drawn, how they are judged and which go on. Standard library only."""

import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "benchmarks"))
import halving  # noqa: E402


class Settings(unittest.TestCase):
    def test_what_is_usual_comes_first_and_no_setting_twice(self):
        for _, choices in halving.FAMILIES.values():
            settings = halving.drawn(choices, 12, 0)
            self.assertEqual(settings[0], (0,) * len(choices))
            self.assertEqual(len(set(settings)), 12)
            self.assertEqual(settings, halving.drawn(choices, 12, 0))
            self.assertNotEqual(settings, halving.drawn(choices, 12, 1))
        self.assertEqual(len(halving.drawn({"one": ([], []), "two": ([], [], [])}, 100, 0)), 6)  # all that there are

    def test_a_setting_is_its_options(self):
        _, choices = halving.FAMILIES["contrast"]
        setting = tuple(len(options) - 1 for options in choices.values())
        numbers = halving.numbers("contrast", setting)
        self.assertEqual(numbers[:2], ["--recipe", "densesimclr"])
        self.assertIn(" ".join(choices["rate"][-1]), " ".join(numbers))
        self.assertNotIn("--", halving.named("contrast", setting))


class Judging(unittest.TestCase):
    def test_sets_weigh_alike_however_many_figures_they_have(self):
        floor = {"a: x": 50.0, "a: y": 0.0, "b: x": 20.0}
        self.assertEqual(halving.share_of_what_lacks(floor, floor), 0)
        found = {"a: x": 75.0, "a: y": 10.0, "b: x": 10.0}  # 0.5 and 0.1; -0.125
        self.assertAlmostEqual(halving.share_of_what_lacks(found, floor), (0.3 - 0.125) / 2)

    def test_the_better_half_goes_on(self):
        self.assertEqual(halving.halved([3, 1, 2, 0]), [3, 1])
        self.assertEqual(halving.halved([3, 1, 2]), [3])
        self.assertEqual(halving.halved([3]), [3])

    def test_the_longest_runs_come_first(self):
        rows = [{"family": "f", "setting": name, "rung": rung, "share": share, "figures": {"a: x": 1.0}}
                for name, rung, share in (("short", 0, 0.9), ("long", 1, 0.1), ("longer and better", 1, 0.2))]
        lines = halving.table({"a: x": 0.5}, rows).splitlines()
        self.assertEqual([line.split(" | ")[1] for line in lines[3:]], ["longer and better", "long", "short"])
        self.assertEqual(lines[3].split(" | ")[2], "2")


class Splits(unittest.TestCase):
    def test_no_image_is_learned_from_and_asked_about(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in ("splits", "images", "out"):
                os.makedirs(os.path.join(folder, path))
            names = [f"kind{i // 8}_{i}" for i in range(48)]
            halving.write(os.path.join(folder, "splits/cls_train.txt"), "".join(f"{n} {n.split('_')[0]}\n" for n in names))
            halving.write(os.path.join(folder, "splits/seg_train.txt"), "".join(f"{n}\n" for n in names[1::2]))
            images = halving.Steel(folder, os.path.join(folder, "out"))

            def listed(path):
                with open(path) as file:
                    return [os.path.splitext(os.path.basename(line.split()[0]))[0] for line in file]

            learned = listed(images.images())
            measures = images.measures()
            asked = listed(measures["classify"][measures["classify"].index("--test") + 1])
            self.assertEqual(sorted(learned + asked), sorted(names))
            self.assertEqual(len(asked), 12)
            self.assertEqual({n.split("_")[0] for n in asked}, {n.split("_")[0] for n in names})  # every kind
            lists = os.path.join(measures["retrieve"][measures["retrieve"].index("--data") + 1], "ImageSets/Segmentation")
            train, val = (listed(os.path.join(lists, split + ".txt")) for split in ("train", "val"))
            self.assertEqual(sorted(train + val), sorted(names[1::2]))
            self.assertTrue(set(val) <= set(asked) and set(train) <= set(learned) and val)

    def test_the_end_of_a_drive_is_asked_about(self):
        names = [[f"n{i}"] for i in range(48)]
        self.assertEqual(halving.Streets("", "").split(names), (names[:36], names[36:]))

    def test_only_the_learned_part_of_the_training_split_is_trained_on(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in ("ImageSets/Segmentation", "out"):
                os.makedirs(os.path.join(folder, path))
            halving.write(os.path.join(folder, "ImageSets/Segmentation/train.txt"), "".join(f"n{i}\n" for i in range(8)))
            images = halving.Streets(folder, os.path.join(folder, "out"))
            with open(images.images()) as file:
                self.assertEqual([os.path.basename(line.strip()) for line in file], [f"n{i}.jpg" for i in range(6)])
            command = images.measures()["retrieve"]
            with open(os.path.join(command[command.index("--data") + 1], "ImageSets/Segmentation/val.txt")) as file:
                self.assertEqual(file.read().split(), ["n6", "n7"])


if __name__ == "__main__":
    unittest.main()

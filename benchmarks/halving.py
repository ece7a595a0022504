#!/usr/bin/env python3
"""Which numbers a small budget wants, by successive halving: settings drawn at random see few images, the better half twice as many.

    benchmarks/halving.py --data FOLDER [--programs FOLDER] --out FOLDER [--families levels,contrast] [--settings 8] [--rungs 3]

A family is one recipe and choices of its numbers (FAMILIES): the first choices of all are what is usual, the other settings are
drawn by --seed, none twice. Each is trained on two sets that are not alike, steel (neu_surface) and street scenes (camvid), on a
part of their training splits, and measured on the rest of these: no validation and no test image takes part. A setting's figure is
the share that it takes of what random weights lack, 1 being a perfect score: the mean over retrieval and clusters (mean IoU) and,
on steel, 20 nearest (right), then over the sets. FAMILIES.md and FAMILIES.json in --out hold every setting and figure; a run or a
figure that is there already is not made again (study.py). One thread a family; two families may run side by side.
"""
import argparse
import itertools
import json
import os
import random
import sys

import study
from report import write

SMALL = [*study.ARCH, *study.FEW, "--weight-decay-end", "0.1", "--stochastic-depth", "0"]

# Of each family: what all settings have, and the choices, the usual one first.
FAMILIES = {
    "levels": (["--recipe", "densedino-local", "--image-all-views"], {
        "images an update": (["--batch", "2", "--accumulate", "2"], ["--batch", "4", "--accumulate", "2"],
                             ["--batch", "8", "--accumulate", "2"]),
        "rate": (["--lr", "0.0128"], ["--lr", "0.0064"], ["--lr", "0.0256"]),
        "momentum": (["--momentum", "0.996"], ["--momentum", "0.99"], ["--momentum", "0.98"]),
        "teacher's temperature": (["--teacher-temp", "0.02", "--warmup-teacher-temp", "0.02"],
                                  ["--teacher-temp", "0.04", "--warmup-teacher-temp", "0.04"],
                                  ["--teacher-temp", "0.03", "--warmup-teacher-temp", "0.03"]),
        "prototypes": (["--prototypes", "512"], ["--prototypes", "128"], ["--prototypes", "2048"]),
        "points": (["--points", "4"], ["--points", "16", "--sampler", "jittered"]),
        "local views": (["--locals", "4"], ["--locals", "2"]),
        "views": (["--views-local", "48", "--global-scale", "0.1", "0.6", "--local-scale", "0.02", "0.2"],
                  ["--views-local", "48", "--global-scale", "0.2", "1", "--local-scale", "0.05", "0.25"]),
    }),
    "contrast": (["--recipe", "densesimclr", "--accumulate", "1"], {
        "images an update": (["--batch", "32"], ["--batch", "8"], ["--batch", "16"], ["--batch", "64"]),
        "rate": (["--lr", "0.008"], ["--lr", "0.004"], ["--lr", "0.016"]),
        "temperature": (["--temperature", "0.5"], ["--temperature", "0.2"], ["--temperature", "0.1"]),
        "points": (["--points", "8"], ["--points", "4"], ["--points", "16"]),
        "widths of the projector": (["--projector-hidden", "256", "--projector-out", "128"],
                                    ["--projector-hidden", "512", "--projector-out", "128"]),
        "views": (["--global-scale", "0.1", "0.6"], ["--global-scale", "0.2", "1"], ["--global-scale", "0.05", "0.3"]),
    }),
}


def drawn(choices, count, seed):
    """Settings, the usual one first and none twice: of each choice the place of what was taken."""
    sizes = [len(taken) for taken in choices.values()]
    others = list(itertools.product(*(range(n) for n in sizes)))[1:]
    return [tuple(0 for _ in sizes), *random.Random(seed).sample(others, min(count - 1, len(others)))]


def chosen(family, setting):
    """Of each choice the options that a setting takes."""
    return [options[place] for options, place in zip(FAMILIES[family][1].values(), setting)]


def numbers(family, setting):
    return [*FAMILIES[family][0], *itertools.chain.from_iterable(chosen(family, setting))]


class HeldOut:
    """A training split of which one part is learned from and remembered, the other asked about."""

    def split(self, names):
        raise NotImplementedError

    def held_out(self, names):
        learned, asked = self.split(names)
        return self.voc({"train": learned, "val": asked})


class Steel(HeldOut, study.NeuSurface):
    """Every fourth image of each kind is asked about, whatever list it is in; all are in one by kinds."""

    def split(self, names):
        asked = {n[0] for n in self.names("cls_train")[3::4]}
        return [n for n in names if n[0] not in asked], [n for n in names if n[0] in asked]

    def images(self):
        return self.listed([f"images/{n[0]}.jpg" for n in self.split(self.names("cls_train"))[0]])

    def measures(self):
        learned, asked = self.split(self.names("cls_train"))
        for name, lines in (("learned", learned), ("asked", asked)):
            write(os.path.join(self.out, name + ".txt"), "".join(" ".join(line) + "\n" for line in lines))
        folder = self.held_out(self.names("seg_train"))
        return {"retrieve": study.dense(folder, 4, "200", 1)["retrieve"],
                "classify": ["dssl-classify", "--train", f"{self.out}/learned.txt", "--test", f"{self.out}/asked.txt", "--images",
                             self.links(), "--size", "200", "--standardise", "--by", "knn", "--k", "20"]}


class Streets(HeldOut, study.Camvid):
    """The last quarter is asked about: neighbours of the list are moments of one drive."""

    layout = ("JPEGImages", "SegmentationClass")

    def names(self, *splits):
        with open(os.path.join(self.root, "ImageSets", "Segmentation", "train.txt")) as file:
            return [line.split() for line in file if line.strip()]

    def split(self, names):
        cut = 3 * len(names) // 4
        return names[:cut], names[cut:]

    def images(self):
        return self.listed([f"JPEGImages/{n[0]}.jpg" for n in self.split(self.names())[0]])

    def measures(self):
        return {"retrieve": study.dense(self.held_out(self.names()), 11, "240x320", 1, ["--void", "11"])["retrieve"]}


# Of each set: its folder, and the epochs and warm-up of the first rung: some 2 300 images.
SETS = {"steel": (Steel, "neu_surface", 3, 1), "streets": (Streets, "camvid", 8, 1)}


def figures(programs, name, images, weights, tag):
    """All of a set's figures for some weights, in percent."""
    found = {}
    for kind, command in images.measures().items():
        result = study.measured(programs, kind, [*command, "--seed", "0"], weights, os.path.join(images.out, f"{kind}-{tag}"))
        found.update({"20 nearest, right": 100 * result["knn"]["20"]} if kind == "classify" else study.figures(kind, result))
    return {f"{name}: {kind}": value for kind, value in found.items()}


def share_of_what_lacks(found, floor):
    """Mean over the sets of the mean over a set's figures of (figure - floor) / (100 - floor)."""
    by_set = {}
    for kind, value in found.items():
        by_set.setdefault(kind.split(":")[0], []).append((value - floor[kind]) / (100 - floor[kind]))
    return sum(sum(shares) / len(shares) for shares in by_set.values()) / len(by_set)


def halved(order):
    """The better half of settings, of which order has the best first."""
    return order[:max(1, len(order) // 2)]


def named(family, setting):
    return "; ".join(" ".join(words).replace("--", "") for words in chosen(family, setting))


def table(floors, rows):
    """Markdown: each family's settings as far as they got, the best of the longest runs first."""
    kinds = list(floors)
    lines = ["| family | settings | images seen, times | " + " | ".join(kinds) + " | of what random weights lack, % |",
             "|---|---|---|" + "---|" * (len(kinds) + 1),
             "| random weights | | | " + " | ".join(f"{floors[kind]:.1f}" for kind in kinds) + " | 0.0 |"]
    for row in sorted(rows, key=lambda r: (r["family"], -r["rung"], -r["share"])):
        lines.append(f"| {row['family']} | {row['setting']} | {2 ** row['rung']} | "
                     + " | ".join(f"{row['figures'][kind]:.1f}" for kind in kinds) + f" | {100 * row['share']:.1f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with folders neu_surface and camvid")
    parser.add_argument("--programs", default="build/release/examples", help="folder of the programs")
    parser.add_argument("--out", required=True, help="folder for runs, results and tables")
    parser.add_argument("--families", default=",".join(FAMILIES), help="families to take, joined by commas")
    parser.add_argument("--settings", type=int, default=8, help="of a family at the first rung")
    parser.add_argument("--rungs", type=int, default=3, help="each of half the settings, which see twice the images")
    parser.add_argument("--seed", type=int, default=0, help="that settings are drawn by")
    options = parser.parse_args()
    families = options.families.split(",")
    if set(families) - set(FAMILIES):
        sys.exit(f"halving: --families {options.families}: expected some of {', '.join(FAMILIES)}")
    together = os.path.join(options.out, "+".join(families))  # the folder of their runs, and the name of their tables
    sets = {}
    for name, (kind, folder, _, _) in SETS.items():
        root = os.path.abspath(os.path.join(options.data, folder))
        if not os.path.isdir(root):
            sys.exit(f"halving: there is no folder {root}")
        out = os.path.abspath(os.path.join(together, name))
        os.makedirs(out, exist_ok=True)
        sets[name] = kind(root, out)
    floors = {}
    for name, images in sets.items():
        floors.update(figures(options.programs, name, images, "random", "random"))
    rows = []
    for family in families:
        order = drawn(FAMILIES[family][1], options.settings, options.seed)
        for rung in range(options.rungs):
            for setting in order:
                found = {}
                for name, images in sets.items():
                    _, _, epochs, warmup = SETS[name]
                    tag = "-".join([family, *map(str, setting), str(rung)])
                    weights = study.trained(options.programs, [
                        "--data", images.images(), *SMALL, *numbers(family, setting), "--epochs", str(epochs << rung),
                        "--warmup-epochs", str(warmup << max(0, rung - 1))], os.path.join(images.out, tag))
                    found.update(figures(options.programs, name, images, weights, tag))
                rows.append({"family": family, "setting": named(family, setting), "places": setting, "rung": rung, "figures": found,
                             "share": share_of_what_lacks(found, floors)})
                write(together + ".json", json.dumps({"floors": floors, "rows": rows}, indent=1) + "\n")
                write(together + ".md", table(floors, rows))
            at_rung = sorted((r for r in rows if r["family"] == family and r["rung"] == rung), key=lambda r: -r["share"])
            order = halved([r["places"] for r in at_rung])


if __name__ == "__main__":
    main()

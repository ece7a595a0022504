#!/usr/bin/env python3
"""What labels are worth on magnetic tiles: random weights, pretrained ones and a U-Net, with 0, 1, 5, 10, 50 and all masks.

    benchmarks/labels.py --data FOLDER --out FOLDER [--programs FOLDER] [--draws 0,1,2] [--stages pretrain,choose,...]

--data is the folder of magnetic tiles (images, masks, splits). Stages, each of which passes over what is in --out already, of the same command and weights:
  pretrain  nano8 by DINO on the training images without their labels; those that thresholds are taken from take no part
  choose    what was tried, each learned on two thirds of the physical tiles of the training images and judged on the other third,
            in choose.md; no test image takes part. It changes nothing: what was chosen stands in this file
  frozen    dssl-defect-pilot without its tuned ways: banks, and linear heads on frozen features, all draws
  filters   fixed filters without a backbone, and trees boosted on them beside their distribution, all draws
  tuned     its tuned ways, once for each draw of labelled images, which is also the seed
  peer      the U-Net (benchmarks/peers/unet.py) on the same labelled images, for as much of the processor's time as the pilot took
            to train and score from random weights
  table     labels.md and labels.json: of each figure the mean over draws, and the least and the largest
One thread each.
"""
import argparse
import csv
import json
import os
import sys

from report import write
from study import result_of, trained

PRETRAIN = ["--recipe", "dino", "--arch", "nano8", "--channels", "1", "--batch", "2", "--accumulate", "2", "--prototypes", "512", "--lr",
            "0.0128", "--weight-decay-end", "0.1", "--momentum", "0.996", "--stochastic-depth", "0", "--teacher-temp", "0.02",
            "--warmup-teacher-temp", "0.02", "--image-all-views", "--locals", "4", "--views-local", "48",
            # Parts of a tile at its own size in pixels, up to twice that: 96 x 96 is about a tenth of a tile.
            "--global-scale", "0.08", "0.4", "--local-scale", "0.02", "0.12", "--warmup-epochs", "2", "--epochs", "30",
            # The run behind docs/results.md ended here, after 18 epochs: 6 984 images.
            "--max-steps", "1746", "--threads", "1", "--precision", "auto"]
PILOT = ["--arch", "nano8", "--channels", "1", "--threads", "1", "--smoothing", "2", "--precision", "auto"]
LABELS = ["--labels", "1,5,10,50"]
ALL = ["--labels", "1000000", "--draws", "1"]  # all there are
# Of banks and heads on frozen features: FROZEN; of the tuned ways, beside which these are read as quickly as can be: TUNED.
LOOK = ["--tune-steps", "0", "--size", "128", "--standardise-images", "--standardise-features", "--top", "5"]
FROZEN = [*LOOK, "--blocks", "2"]
# Of fixed filters, whose border is of patches of 8 pixels; the backbone beside them is read as quickly as can be.
FILTERS = ["--tune-steps", "0", "--size", "64", "--blocks", "0", "--border", "2", "--top", "5", "--free-of-size"]
QUICK = ["--size", "64", "--blocks", "0", "--draws", "1"]
TUNED = ["--standardise-images", "--crop-scale", "0.5", "--crop", "64", "--crop-overlap", "16", "--tune-steps", "200", "--look-every", "100",
         "--tune-rate", "2e-3", "--layer-decay", "0.9", "--folds", "2"]
UNET = ["--scale", "0.5", "--crop", "96", "--top", "1,5,20"]
UNET_TOP = "5"
# What was tried on training images.
FROZEN_TRIED = {
    "block 0 without norm": [*LOOK, "--blocks", "0", "--no-norm"],
    "block 2": FROZEN,
}
TUNED_TRIED = {
    "crops of 96, rate 5e-4": ["--crop-scale", "0.5", "--patience", "100", "--tune-rate", "5e-4"],
    "crops of 64, rate 2e-3": [*TUNED, "--tune-steps", "400", "--patience", "100"],
}
UNET_TRIED = {"rate 2e-3": ["--seconds", "45"]}


class Tiles:
    """The lists of the splits, and of a split of the training images by physical tile."""

    def __init__(self, root, out):
        self.root, self.out = root, os.path.join(out, "lists")
        os.makedirs(self.out, exist_ok=True)
        with open(os.path.join(root, "splits", "index.csv")) as file:
            tile = {row["stem"]: int(row["tile_group"]) for row in csv.DictReader(file)}
        lists = {}
        for kind in ("normal", "defect"):
            for part in ("train", "test"):
                with open(os.path.join(root, "splits", f"{kind}_{part}.txt")) as file:
                    lists[f"{kind}_{part}"] = file.read().split()
            # Every third tile of its class.
            tiles = {}
            for name in lists[f"{kind}_train"]:
                own = tiles.setdefault(name.split("_")[0], [])
                if tile[name] not in own:
                    own.append(tile[name])
            held = {t for own in tiles.values() for t in own[1::3]}
            for part, wanted in (("learn", False), ("judge", True)):
                lists[f"{kind}_{part}"] = [n for n in lists[f"{kind}_train"] if (tile[n] in held) == wanted]
        on = {part: {tile[n] for kind in ("normal", "defect") for n in lists[f"{kind}_{part}"]} for part in ("learn", "judge", "test")}
        for one, other in (("learn", "judge"), ("learn", "test"), ("judge", "test")):
            if on[one] & on[other]:
                sys.exit(f"labels: tiles {sorted(on[one] & on[other])} are among those that {one} and those that {other}")
        self.lists = lists
        for name, names in lists.items():
            self.listed(name, names)

    def listed(self, name, names):
        path = self.path(name)
        lines = "".join(f"{n}.jpg {n.split('_')[0]}\n" for n in names)
        if not os.path.exists(path) or open(path).read() != lines:
            write(path, lines)
        return path

    def path(self, name):
        return os.path.join(self.out, name + ".txt")

    def arguments(self, normal, defects, test_normal, test_defects):
        return ["--normal", self.path(normal), "--defects", self.path(defects), "--test-normal", self.path(test_normal),
                "--test-defects", self.path(test_defects), "--images", os.path.join(self.root, "images"), "--masks",
                os.path.join(self.root, "masks")]


def read(path):
    with open(path) as file:
        return json.load(file)


def pilot(o, name, weights, *arguments):
    """result.json of a pilot with some weights."""
    return result_of([f"{o.programs}/dssl-defect-pilot", *PILOT, "--weights", weights, *arguments], weights, os.path.join(o.out, name))


def unet(o, name, *arguments):
    """The result of a U-Net."""
    return result_of([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", "unet.py"), *UNET, *arguments],
                     "random", os.path.join(o.out, name + ".json"))


def pretrained(o, tiles):
    """The teacher's weights. A pilot holds out the last fifth of its normal images for thresholds: they take no part."""
    normal = tiles.lists["normal_train"]
    names = normal[:len(normal) - round(0.2 * len(normal))] + tiles.lists["defect_train"]
    listed = os.path.join(o.out, "lists", "pretraining.txt")
    write(listed, "".join(os.path.join(tiles.root, "images", n + ".jpg") + "\n" for n in names))
    return trained(o.programs, ["--data", listed, *PRETRAIN], os.path.join(o.out, "pretrained"))


def choose(o, tiles, weights):
    """What was tried on training images alone; the tiles that judge are not among those that learn."""
    rows = []
    sets = tiles.arguments("normal_learn", "defect_learn", "normal_judge", "defect_judge")
    for tried, quick in ((FROZEN_TRIED, []), (TUNED_TRIED, QUICK[:-2])):
        for name, own in tried.items():
            # Random weights come by themselves.
            result = pilot(o, "choose/" + name.replace(" ", "-"), weights, *sets, *ALL, *quick, *own)
            rows += [(name, way["way"], way["labels"], way["draws"][0]) for way in result["ways"]]
    for name, own in UNET_TRIED.items():
        result = unet(o, "choose/unet-" + name.replace(" ", "-"), *sets, *own)
        rows += [(name, f"U-Net, top {top}", result["labelled"], figures) for top, figures in result["top"].items()]
    lines = ["| tried | way | labels | missed at 5 % | AUROC | AUPRO |", "|---|---|---|---|---|---|"]
    lines += [f"| {name} | {way} | {labels} | " + " | ".join(f"{100 * f[k]:.1f}" for k in (FIGURES["missed at 5 %"], "auroc", "aupro_30")) +
              " |" for name, way, labels, f in rows]
    write(os.path.join(o.out, "choose.md"), "\n".join(lines) + "\n")


def frozen(o, tiles, weights):
    return pilot(o, "frozen", weights, *tiles.arguments("normal_train", "defect_train", "normal_test", "defect_test"), *LABELS, "--draws",
                 "3", *FROZEN)


def filters(o, tiles):
    return pilot(o, "filters", "random", *tiles.arguments("normal_train", "defect_train", "normal_test", "defect_test"), *LABELS, "--draws",
                 "3", *FILTERS)


def tuned(o, tiles, weights, draw):
    return pilot(o, f"tuned-{draw}", weights, *tiles.arguments("normal_train", "defect_train", "normal_test", "defect_test"), "--seed",
                 str(draw), *LABELS, *QUICK, *TUNED)


def peer(o, tiles, result, draw):
    """The U-Net on the pilot's draws, for the processor's time of its tuned path from random weights."""
    out = {}
    for drawn in result["drawn"]:
        seconds = [d["processor_seconds"] for d in result["tuned"]["draws"]
                   if d["weights"] == "random weights" and d["labels"] == drawn["labels"]]
        name = f"unet-{draw}/{drawn['labels']}"
        own = tiles.listed(f"drawn_{draw}_{drawn['labels']}", [os.path.splitext(os.path.basename(n))[0] for n in drawn["images"]])
        learned = tiles.listed("normal_learned", tiles.lists["normal_train"][:result["images"]["learned"]])
        os.makedirs(os.path.join(o.out, f"unet-{draw}"), exist_ok=True)
        sets = tiles.arguments("normal_train", "defect_train", "normal_test", "defect_test")
        sets[1], sets[3] = learned, own
        out[drawn["labels"]] = unet(o, name, *sets, "--seconds", f"{seconds[0]:.1f}", "--seed", str(draw))
    return out


FIGURES = {"missed at 5 %": "missed_at_5_percent_false_alarms", "missed at 1 %": "missed_at_1_percent_false_alarms", "image AUROC": "auroc",
           "AUPRO 30 %": "aupro_30"}


def table(o):
    """Of each way and number of labels the mean over draws, and the least and the largest."""
    found = {}  # way: labels: figures, one a draw
    path = os.path.join(o.out, "frozen", "result.json")
    for way in read(path)["ways"] if os.path.exists(path) else []:
        found.setdefault(way["way"], {})[way["labels"]] = way["draws"]
    path = os.path.join(o.out, "filters", "result.json")
    for way in read(path)["ways"] if os.path.exists(path) else []:
        if way["way"].startswith("local filters"):
            found.setdefault(way["way"] + ", free of size", {})[way["labels"]] = way["draws"]
    for draw in o.draws:
        path = os.path.join(o.out, f"tuned-{draw}", "result.json")
        if not os.path.exists(path):
            continue
        result = read(path)
        for way in result["ways"]:
            if ", tuned" in way["way"]:
                # With all labels draws differ in their seeds alone.
                found.setdefault(way["way"], {}).setdefault(way["labels"], []).append(way["draws"][0])
        for drawn in result["drawn"]:
            path = os.path.join(o.out, f"unet-{draw}", f"{drawn['labels']}.json")
            if os.path.exists(path):
                found.setdefault("U-Net", {}).setdefault(drawn["labels"], []).append(read(path)["top"][UNET_TOP])
    counts = sorted({n for own in found.values() for n in own})
    lines = []
    for title, key in FIGURES.items():
        lines += [f"| {title} | " + " | ".join(map(str, counts)) + " |", "|---|" + "---|" * len(counts)]
        for way, own in found.items():
            cells = []
            for n in counts:
                values = [100 * f[key] for f in own.get(n, [])]
                mean = sum(values) / len(values) if values else 0
                cells.append("" if not values else f"{mean:.1f}" if max(values) - min(values) < 0.05 else
                             f"{mean:.1f} ({min(values):.1f} to {max(values):.1f})")
            lines.append(f"| {way} | " + " | ".join(cells) + " |")
        lines.append("")
    write(os.path.join(o.out, "labels.md"), "\n".join(lines))
    write(os.path.join(o.out, "labels.json"), json.dumps(found, indent=1) + "\n")
    print("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the magnetic tiles")
    parser.add_argument("--out", required=True, help="folder for runs and results")
    parser.add_argument("--programs", default="build/release/examples", help="folder of the programs")
    parser.add_argument("--draws", default="0,1,2", help="draws of labelled images, joined by commas")
    parser.add_argument("--stages", default=",".join(STAGES), help="joined by commas")
    o = parser.parse_args()
    stages = o.stages.split(",")
    unknown = set(stages) - set(STAGES)
    if unknown:
        sys.exit(f"labels: --stages {', '.join(sorted(unknown))}: expected some of {', '.join(STAGES)}")
    o.draws = [int(d) for d in o.draws.split(",")]
    o.out = os.path.abspath(o.out)
    tiles = Tiles(os.path.abspath(o.data), o.out)
    weights = os.path.join(o.out, "pretrained", "teacher.safetensors")
    if "pretrain" in stages:
        weights = pretrained(o, tiles)
    if "choose" in stages:
        choose(o, tiles, weights)
    if "frozen" in stages:
        frozen(o, tiles, weights)
    if "filters" in stages:
        filters(o, tiles)
    for draw in o.draws:
        if "tuned" in stages or "peer" in stages:
            result = tuned(o, tiles, weights, draw)
        if "peer" in stages:
            peer(o, tiles, result, draw)
    if "table" in stages:
        table(o)


STAGES = ["pretrain", "choose", "frozen", "filters", "tuned", "peer", "table"]

if __name__ == "__main__":
    main()

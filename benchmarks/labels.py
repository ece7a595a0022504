#!/usr/bin/env python3
"""What labels are worth on a set of defects: random weights, pretrained ones and a U-Net, with 0, 1, 5, 10, 50 and all masks.

    benchmarks/labels.py --data FOLDER --out FOLDER [--programs FOLDER] [--recipe dino|densesimclr] [--draws 0,1,2]
                         [--stages pretrain,choose,...]

--data is the folder of one set, told by its name: magnetic_tile; deeppcb, whose templates are the normal images and whose masks are
where a board differs from its template within a box; neu_surface, of whose images with masks squares of 96 pixels are cut, normal
ones without a pixel of a defect. Images and masks that a set does not have as files are written to --out (NumPy and Pillow).
Stages, each of which passes over what is in --out already, of the same command and weights:
  pretrain  nano8 on the training images without their labels; those that thresholds are taken from take no part
  choose    magnetic tiles alone: what was tried, each learned on two thirds of the physical tiles of the training images and judged
            on the other third, in choose.md; no test image takes part. It changes nothing: what was chosen stands in this file
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

PRETRAIN = ["--arch", "nano8", "--channels", "1", "--threads", "1", "--precision", "auto"]
RECIPES = {
    "dino": ["--recipe", "dino", "--batch", "2", "--accumulate", "2", "--prototypes", "512", "--lr", "0.0128", "--weight-decay-end", "0.1",
             "--momentum", "0.996", "--stochastic-depth", "0", "--teacher-temp", "0.02", "--warmup-teacher-temp", "0.02",
             "--image-all-views", "--locals", "4", "--views-local", "48"],
    "densesimclr": ["--preset", "small", "--recipe", "densesimclr", "--sampler", "grid"],
}
PILOT = ["--arch", "nano8", "--channels", "1", "--threads", "1", "--smoothing", "2", "--precision", "auto"]
LABELS = ["--labels", "1,5,10,50"]
ALL = ["--labels", "1000000", "--draws", "1"]  # all there are
# Of banks and heads on frozen features: LOOK (or the set's own) and BLOCK; of the tuned ways, beside which these are read as quickly as can be: TUNED.
LOOK = ["--tune-steps", "0", "--size", "128", "--standardise-images", "--standardise-features", "--top", "5"]
BLOCK = ["--blocks", "2"]
# Of fixed filters, whose border is of patches of 8 pixels; the backbone beside them is read as quickly as can be.
FILTERS = ["--tune-steps", "0", "--size", "64", "--blocks", "0", "--border", "2", "--top", "5", "--free-of-size"]
QUICK = ["--size", "64", "--blocks", "0", "--draws", "1"]
TUNED = ["--standardise-images", "--crop", "64", "--crop-overlap", "16", "--tune-steps", "200", "--look-every", "100",
         "--tune-rate", "2e-3", "--layer-decay", "0.9", "--folds", "2"]
UNET = ["--crop", "96", "--top", "1,5,20"]
UNET_TOP = "5"
# What was tried on training images.
FROZEN_TRIED = {
    "block 0 without norm": [*LOOK, "--blocks", "0", "--no-norm"],
    "block 2": [*LOOK, *BLOCK],
}
TUNED_TRIED = {
    "crops of 96, rate 5e-4": ["--crop-scale", "0.5", "--patience", "100", "--tune-rate", "5e-4"],
    "crops of 64, rate 2e-3": [*TUNED, "--crop-scale", "0.5", "--tune-steps", "400", "--patience", "100"],
}
UNET_TRIED = {"rate 2e-3": ["--scale", "0.5", "--seconds", "45"]}


class Set:
    """A set's lists of images, lists[KIND_PART] of "normal" and "defect", "train" and "test", and the settings that are its own."""

    ending = ".jpg"
    crop = ["--crop-scale", "1"]  # of the tuned ways, and the U-Net's
    unet = ["--scale", "1"]
    look = LOOK

    def __init__(self, root, out):
        self.root, self.out, self.lists = root, os.path.join(out, "lists"), {}
        self.images, self.masks = os.path.join(root, "images"), os.path.join(root, "masks")
        os.makedirs(self.out, exist_ok=True)
        self.fill()
        for name, names in self.lists.items():
            self.listed(name, names)

    def split(self, name):
        with open(os.path.join(self.root, "splits", name + ".txt")) as file:
            return file.read().split()

    def kind(self, name):
        """The label of an image."""
        return name.split("_")[0]

    def listed(self, name, names):
        path = self.path(name)
        lines = "".join(f"{n}{self.ending} {self.kind(n)}\n" for n in names)
        if not os.path.exists(path) or open(path).read() != lines:
            write(path, lines)
        return path

    def path(self, name):
        return os.path.join(self.out, name + ".txt")

    def arguments(self, normal, defects, test_normal, test_defects):
        return ["--normal", self.path(normal), "--defects", self.path(defects), "--test-normal", self.path(test_normal),
                "--test-defects", self.path(test_defects), "--images", self.images, "--masks", self.masks]


class Tiles(Set):
    """Magnetic tiles: the lists of the splits, and of a split of the training images by physical tile."""

    crop = ["--crop-scale", "0.5"]
    unet = ["--scale", "0.5"]
    # Parts of a tile at its own size in pixels, up to twice that: 96 x 96 is about a tenth of a tile.
    views = {"dino": ["--global-scale", "0.08", "0.4", "--local-scale", "0.02", "0.12", "--warmup-epochs", "2", "--epochs", "30",
                      # The run behind docs/results.md ended here, after 18 epochs: 6 984 images.
                      "--max-steps", "1746"],
             "densesimclr": ["--global-scale", "0.08", "0.4"]}

    def fill(self):
        with open(os.path.join(self.root, "splits", "index.csv")) as file:
            tile = {row["stem"]: int(row["tile_group"]) for row in csv.DictReader(file)}
        lists = {}
        for kind in ("normal", "defect"):
            for part in ("train", "test"):
                lists[f"{kind}_{part}"] = self.split(f"{kind}_{part}")
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


def evenly(names, count):
    """So many of the names, or all, from all over the list."""
    count = min(count, len(names))
    return [names[i * len(names) // count] for i in range(count)]


class Boards(Set):
    """Circuit boards: templates are normal, tested boards have defects, and no pair is in two lists."""

    ending = ".png"
    look = [*LOOK, "--overlap", "16"]  # windows of the boards' own scale
    views = {"dino": ["--global-scale", "0.0225", "0.09", "--local-scale", "0.006", "0.0225", "--warmup-epochs", "2", "--epochs", "36"],
             "densesimclr": ["--global-scale", "0.0225", "0.09"]}

    def fill(self):
        import numpy
        from PIL import Image, ImageFilter
        self.masks = os.path.join(os.path.dirname(self.out), "masks")
        os.makedirs(self.masks, exist_ok=True)
        for part, split, normal, defects in (("train", "trainval", 120, 80), ("test", "test", 80, 80)):
            pairs = evenly(self.split(split), normal + defects)
            flawed = set(evenly(pairs, defects))
            self.lists["normal_" + part] = [n + "_temp" for n in pairs if n not in flawed]
            self.lists["defect_" + part] = [n + "_test" for n in pairs if n in flawed]
            for pair in flawed:
                path = os.path.join(self.masks, pair + "_test.png")
                if os.path.exists(path):
                    continue
                test, template = (numpy.asarray(Image.open(os.path.join(self.images, f"{pair}_{one}.png"))) for one in ("test", "temp"))
                inside = numpy.zeros(test.shape, bool)
                with open(os.path.join(self.root, "boxes", pair + ".txt")) as file:
                    for line in file:
                        left, top, right, bottom = (int(word) for word in line.split()[:4])
                        inside[top:bottom + 1, left:right + 1] = True
                # Lines of a pixel or two are edges of copper that lie not quite alike: what holds a square of three is a defect.
                differs = Image.fromarray(numpy.where(inside & (test != template), 255, 0).astype(numpy.uint8))
                differs.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.MaxFilter(3)).save(path)

    def kind(self, name):
        return "good" if name.endswith("_temp") else "defect"


class Steel(Set):
    """Steel: squares of the images that have masks; those with few pixels of a defect are left out."""

    side, step, least = 96, 104, 32
    ending = ".png"
    look = [*LOOK[:2], "--size", "96", *LOOK[4:]]
    views = {"dino": ["--global-scale", "0.25", "1", "--local-scale", "0.05", "0.3", "--warmup-epochs", "1", "--epochs", "20"],
             "densesimclr": ["--global-scale", "0.25", "1"]}

    def fill(self):
        import numpy
        from PIL import Image
        folder = os.path.dirname(self.out)
        self.images, self.masks = os.path.join(folder, "images"), os.path.join(folder, "masks")
        for path in (self.images, self.masks):
            os.makedirs(path, exist_ok=True)
        for part, normal, defects in (("train", 240, 160), ("test", 150, 150)):
            squares = {"normal": [], "defect": []}
            for name in self.split("seg_" + part):
                mask = numpy.asarray(Image.open(os.path.join(self.root, "masks", name + ".png"))) != 0
                for y in range(0, mask.shape[0] - self.side + 1, self.step):
                    for x in range(0, mask.shape[1] - self.side + 1, self.step):
                        marked = int(mask[y:y + self.side, x:x + self.side].sum())
                        if marked == 0 or marked >= self.least:
                            squares["defect" if marked else "normal"].append((name, y, x, mask))
            for kind, count in (("normal", normal), ("defect", defects)):
                names = self.lists[f"{kind}_{part}"] = []
                for name, y, x, mask in evenly(squares[kind], count):
                    own = (f"good_{name}" if kind == "normal" else name) + f"_{y}_{x}"
                    names.append(own)
                    path = os.path.join(self.images, own + ".png")
                    if os.path.exists(path):
                        continue
                    picture = Image.open(os.path.join(self.root, "images", name + ".jpg")).convert("L")
                    if kind == "defect":
                        square = mask[y:y + self.side, x:x + self.side]
                        Image.fromarray(numpy.where(square, 255, 0).astype(numpy.uint8)).save(os.path.join(self.masks, own + ".png"))
                    picture.crop((x, y, x + self.side, y + self.side)).save(path)


SETS = {"magnetic_tile": Tiles, "deeppcb": Boards, "neu_surface": Steel}


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
    write(listed, "".join(os.path.join(tiles.images, n + tiles.ending) + "\n" for n in names))
    return trained(o.programs, ["--data", listed, *PRETRAIN, *RECIPES[o.recipe], *tiles.views[o.recipe]], os.path.join(o.out, "pretrained"))


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
                 "3", *tiles.look, *BLOCK)


def filters(o, tiles):
    return pilot(o, "filters", "random", *tiles.arguments("normal_train", "defect_train", "normal_test", "defect_test"), *LABELS, "--draws",
                 "3", *FILTERS)


def tuned(o, tiles, weights, draw):
    return pilot(o, f"tuned-{draw}", weights, *tiles.arguments("normal_train", "defect_train", "normal_test", "defect_test"), "--seed",
                 str(draw), *LABELS, *QUICK, *TUNED, *tiles.crop)


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
        out[drawn["labels"]] = unet(o, name, *sets, *tiles.unet, "--seconds", f"{seconds[0]:.1f}", "--seed", str(draw))
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
    parser.add_argument("--data", required=True, help="folder of the set: " + ", ".join(SETS))
    parser.add_argument("--recipe", default="dino", choices=list(RECIPES), help="that pretrains")
    parser.add_argument("--out", required=True, help="folder for runs and results")
    parser.add_argument("--programs", default="build/release/examples", help="folder of the programs")
    parser.add_argument("--draws", default="0,1,2", help="draws of labelled images, joined by commas")
    parser.add_argument("--stages", help="joined by commas; those that the set has")
    o = parser.parse_args()
    root = os.path.abspath(o.data)
    if os.path.basename(root) not in SETS or not os.path.isdir(root):
        sys.exit(f"labels: --data {o.data}: expected a folder of the name {', '.join(SETS)}")
    own = SETS[os.path.basename(root)]
    stages = o.stages.split(",") if o.stages else [s for s in STAGES if s != "choose" or own is Tiles]
    unknown = set(stages) - set(STAGES)
    if unknown:
        sys.exit(f"labels: --stages {', '.join(sorted(unknown))}: expected some of {', '.join(STAGES)}")
    o.draws = [int(d) for d in o.draws.split(",")]
    o.out = os.path.abspath(o.out)
    if "choose" in stages and own is not Tiles:
        sys.exit(f"labels: --stages choose: expected with magnetic_tile, {os.path.basename(root)} has no split of its training images")
    tiles = own(root, o.out)
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

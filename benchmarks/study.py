#!/usr/bin/env python3
"""What pretraining is worth: random weights and methods that learn without labels on several sets of images, at equal budgets.

    benchmarks/study.py --data FOLDER [--programs FOLDER] --out FOLDER [--sets camvid,...] [--methods dino,...] [--seeds 0,1,2]
                        [--share 0.5] [--pretrain-only]

Each method sees the same images of a set, as many times (--share: of the usual number, in a folder of its own); then the programs
measure frozen features, and study.md and study.json in --out say what came of the sets, methods and seeds that were asked for: of
several seeds the mean, the least and the largest. A seed draws weights, views,
order and probes. A run whose weights, or a measurement whose result.json, is in --out already and was made by the same command
is not made again, but a measurement of weights that were trained anew. Sets of images lie in --data in folders of their own, in
the layouts that the programs read; the set scenes is drawn by dssl-scenes. One thread; seconds of the processor are told at the
end.
"""
import argparse
import json
import os
import resource
import shutil
import subprocess
import sys

from report import write

# Options of a method, beside those that all have; none for weights as they are drawn.
METHODS = {
    "random": None,
    "dino": ["--recipe", "dino"],
    "densedino": ["--recipe", "densedino", "--points", "4"],
    "feature-map": ["--recipe", "feature-map"],
    # Cures for references that cannot find their place (docs/results.md).
    "densedino-sine": ["--recipe", "densedino", "--points", "4", "--position-start", "0.5"],
    "densedino-local": ["--recipe", "densedino-local", "--points", "4"],
    "densedino-local-16": ["--recipe", "densedino-local", "--points", "16", "--sampler", "jittered"],
}
# Recipes of two views without a teacher: what they do without, and what they have in its place. Losses that compare the images
# of a batch want more of them in one.
PAIRS = ["--batch", "32", "--accumulate", "1", "--lr", "0.008", "--projector-hidden", "256", "--projector-out", "128"]
PAIRS_RECIPES = ("simclr", "densesimclr")
PAIRS_LACK = ("--views-local", "--local-scale", "--locals", "--prototypes", "--momentum", "--teacher-temp", "--warmup-teacher-temp",
              "--image-all-views")
TOLD_LACKS = ("--image-all-views",)  # as its prototypes have it anyway
METHODS["simclr"] = ["--recipe", "simclr", *PAIRS]
METHODS["densesimclr"] = ["--recipe", "densesimclr", "--points", "8", *PAIRS]
# Points on a grid, sixteen of them, and the other numbers that a halving left standing (docs/results.md), but for its crops.
GRID = ["--points", "16", "--sampler", "grid", "--accumulate", "1", "--projector-hidden", "512", "--projector-out", "128"]
METHODS["densesimclr-grid"] = ["--recipe", "densesimclr", "--batch", "16", "--lr", "0.004", *GRID]
METHODS["densedino-contrast"] = ["--recipe", "densedino-contrast", "--batch", "8", *GRID]
FIRST_TABLE = ("random", "dino", "densedino", "feature-map")
ARCH = ["--arch", "nano8"]
FEW = ["--threads", "1", "--precision", "auto"]
NUMBERS = [*ARCH, *FEW, "--batch", "2", "--accumulate", "2", "--prototypes", "512", "--lr", "0.0128", "--weight-decay-end",
           "0.1", "--momentum", "0.996", "--stochastic-depth", "0", "--teacher-temp", "0.02", "--warmup-teacher-temp", "0.02",
           "--image-all-views", "--locals", "4"]
# What views show: parts of large pictures, or most of a small one.
PARTS = ["--views-local", "48", "--global-scale", "0.1", "0.6", "--local-scale", "0.02", "0.2"]
WHOLE = ["--views-global", "64", "--views-local", "32", "--global-scale", "0.25", "1", "--local-scale", "0.05", "0.3"]


class Set:
    """One set of images: what to pretrain on, and what to measure."""

    drawn = False  # or by a program, and then not in --data
    layout = ("images", "masks")  # its folders of pictures and of masks

    def __init__(self, root, out, programs=None):
        self.root, self.out, self.programs = root, out, programs

    def listed(self, names):
        """A text file of the paths of these images, for --data."""
        path = os.path.join(self.out, "images.txt")
        write(path, "".join(os.path.join(self.root, n) + "\n" for n in names))
        return path

    def names(self, *splits):
        lines = []
        for split in splits:
            with open(os.path.join(self.root, "splits", split + ".txt")) as file:
                lines += [line.split() for line in file if line.strip()]
        return lines

    def voc(self, splits):
        """The set in VOC layout, by links; `splits` maps a split's name to the names in it."""
        folder = os.path.join(self.out, "voc")
        lists = os.path.join(folder, "ImageSets", "Segmentation")
        os.makedirs(lists, exist_ok=True)
        for link, target in zip(("JPEGImages", "SegmentationClass"), self.layout):
            if not os.path.lexists(os.path.join(folder, link)):
                os.symlink(os.path.join(self.root, target), os.path.join(folder, link))
        for split, names in splits.items():
            write(os.path.join(lists, split + ".txt"), "".join(n[0] + "\n" for n in names))
        return folder


def dense(data, classes, size, epochs, extra=()):
    """Linear probe, retrieval and clusters of one segmentation set."""
    common = ["--data", data, "--classes", str(classes), "--size", size, *extra]
    return {
        "segment": ["dssl-segment", *common, "--epochs", str(epochs), "--batch", "5", "--lr", "0.3", "--cache-features",
                    "--standardise"],
        "retrieve": ["dssl-retrieve", *common, "--memory", "60000", "--clusters", "300"],
    }


class Camvid(Set):
    pretrain = ["--epochs", "30", "--warmup-epochs", "2", *PARTS]

    def images(self):
        return self.root

    def measures(self):
        return dense(self.root, 11, "240x320", 15, ["--void", "11"])


class VocAnimals(Set):
    pretrain = ["--split", "trainaug", "--epochs", "60", "--warmup-epochs", "2", *PARTS]

    def images(self):
        return self.root

    def measures(self):
        return dense(self.root, 21, "240x320", 10, ["--only", "0,8,10,12,13,15,17", "--train", "trainaug"])


class NeuSurface(Set):
    pretrain = ["--epochs", "20", "--warmup-epochs", "1", *PARTS]

    def images(self):
        return self.listed([f"images/{n[0]}.jpg" for n in self.names("cls_train")])

    def measures(self):
        folder = self.voc({"train": self.names("seg_train"), "val": self.names("seg_test")})
        lists = os.path.join(self.root, "splits")
        classify = ["dssl-classify", "--train", f"{lists}/cls_train.txt", "--test", f"{lists}/cls_test.txt", "--images",
                    self.links(), "--size", "200", "--standardise"]
        return {
            **dense(folder, 4, "200", 20),
            "classify": [*classify, "--k", "20"],
            "few": [*classify, "--labels", "10", "--k", "1", "--hold-out", "0.2", "--token", "both", "--blocks", "1,3,5", "--flips"],
        }

    def links(self):
        """The folder of images, whose names in the lists have no extension."""
        folder = os.path.join(self.out, "named")
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(os.path.join(self.root, "images")):
            link = os.path.join(folder, os.path.splitext(name)[0])
            if not os.path.lexists(link):
                os.symlink(os.path.join(self.root, "images", name), link)
        return folder


class Cifar(Set):
    pretrain = ["--epochs", "3", "--warmup-epochs", "1", *WHOLE]

    def images(self):
        return os.path.join(self.root, "train")

    def measures(self):
        return {"classify": ["dssl-classify", "--train", f"{self.root}/train", "--test", f"{self.root}/test", "--size", "64",
                             "--k", "20", "--standardise"]}


class MagneticTile(Set):
    pretrain = ["--epochs", "80", "--warmup-epochs", "3", *PARTS]

    def images(self):
        return self.listed([f"images/{n[0]}.jpg" for n in self.names("normal_train")])

    def scored(self, name, normal, defects):
        lines = [f"images/{n[0]}.jpg good" for n in self.names(normal)]
        lines += [f"images/{n[0]}.jpg {n[0].split('_')[0]}" for n in self.names(defects)]
        path = os.path.join(self.out, name + ".txt")
        write(path, "\n".join(lines) + "\n")
        return path

    def measures(self):
        normal = os.path.join(self.out, "normal.txt")
        write(normal, "".join(f"images/{n[0]}.jpg good\n" for n in self.names("normal_train")))
        test = self.scored("test", "normal_test", "defect_test")
        return {"defects": ["dssl-defects", "--normal", normal, "--test", test, "--images", self.root, "--masks",
                            f"{self.root}/masks", "--size", "256", "--blocks", "2", "--neighbourhood", "1", "--smoothing",
                            "2"]}


class DeepPcb(Set):
    pretrain = ["--epochs", "2", "--warmup-epochs", "1", *PARTS]

    def images(self):
        return self.listed([f"images/{n[0]}_{kind}.png" for n in self.names("trainval") for kind in
                                      ("temp", "test")])

    def measures(self):
        return {"defects": ["dssl-defects", "--scorer", "template", "--test", f"{self.root}/splits/test.txt", "--images",
                            f"{self.root}/images", "--image-file", "{}_test", "--templates", f"{self.root}/images",
                            "--template-file", "{}_temp", "--boxes", f"{self.root}/boxes", "--size", "320",
                            "--smoothing", "2"]}


class Scenes(Set):
    """The scenes of scripts/demo.sh, with its numbers."""

    drawn = True
    pretrain = ["--split", "train", "--epochs", "30", "--warmup-epochs", "3", "--batch", "8", "--accumulate", "1", "--views-global", "64",
                "--views-local", "32", "--global-scale", "0.25", "1", "--local-scale", "0.05", "0.4", "--prototypes", "256", "--lr", "0.03",
                "--momentum", "0.99", "--teacher-temp", "0.04", "--warmup-teacher-temp", "0.04", "--stochastic-depth", "0.1"]

    def images(self):
        folder = os.path.join(self.out, "scenes")
        if not os.path.exists(folder):  # written whole or not at all
            run([f"{self.programs}/dssl-scenes", "--out", folder, "--train", "500", "--val", "100", "--size", "96", "--classes", "5"],
                folder + ".log")
        return folder

    def measures(self):
        return dense(self.images(), 5, "96", 10)


SETS = {"camvid": Camvid, "voc_animals": VocAnimals, "neu_surface": NeuSurface, "cifar10_mini": Cifar,
        "magnetic_tile": MagneticTile, "deeppcb": DeepPcb, "scenes": Scenes}


def run(command, log):
    print("study:", " ".join(command), file=sys.stderr, flush=True)
    with open(log, "w") as file:
        if subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode != 0:
            with open(log) as said:
                sys.exit(f"study: {os.path.basename(command[0])} failed: {said.read()[-2000:]}")


def trained(programs, numbers, out):
    """The teacher's weights of a run of these numbers; trains where there is none in `out`."""
    done = os.path.join(out, "done")  # what the run was made with, once it is whole
    made = None
    if os.path.exists(done):
        with open(done) as file:
            made = file.read()
    if made != " ".join(numbers):
        os.makedirs(os.path.dirname(out), exist_ok=True)
        run([f"{programs}/dssl-pretrain", *numbers, "--out", out, "--overwrite"], out + ".log")
        write(done, " ".join(numbers))
    return os.path.join(out, "teacher.safetensors")


def last_of(options, without=()):
    """Options of which a later one takes the place of an earlier one of its name: every name once, as a program wants them; some
    names not at all."""
    own = {}
    for word in options:
        if word.startswith("--"):
            name = word
            own[name] = []
        else:
            own[name].append(word)
    return [word for name, values in own.items() if name not in without for word in (name, *values)]


def shared(share):
    """What a folder of runs of a share of the images is called beside."""
    return "" if share == 1 else f"-share{share:g}"


def pretrained(programs, images, method, seed, share, out):
    """The teacher's weights of a method on a set, of `share` of its epochs."""
    own = METHODS[method]
    recipe = own[own.index("--recipe") + 1]
    lacks = PAIRS_LACK if recipe in PAIRS_RECIPES else TOLD_LACKS if recipe == "densedino-contrast" else ()
    numbers = last_of([*NUMBERS, *images.pretrain, *own], lacks)
    for name, least in (("--epochs", 1), ("--warmup-epochs", 1)):
        place = numbers.index(name) + 1
        numbers[place] = str(max(least, int(share * int(numbers[place]))))
    return trained(programs, ["--data", images.images(), *numbers, "--seed", str(seed)],
                   os.path.join(out, f"{method}-{seed}" + shared(share)))


def made_of(weights, path):
    """Whether figures at `path` are there and of these weights, not of ones that a later training replaced."""
    return os.path.exists(path) and (weights == "random" or os.path.getmtime(path) >= os.path.getmtime(weights))


def result_of(command, weights, out):
    """What a command with `--out out` writes, a JSON file or result.json in a folder; it is run where there is nothing of this
    command and of these weights."""
    path = out if out.endswith(".json") else os.path.join(out, "result.json")
    command = [*command, "--out", out]
    made = None
    if os.path.exists(out + ".command"):
        with open(out + ".command") as file:
            made = file.read()
    if made != " ".join(command[1:]) or not made_of(weights, path):
        if path != out:
            shutil.rmtree(out, ignore_errors=True)
        os.makedirs(os.path.dirname(out), exist_ok=True)
        run(command, out + ".log")
        write(out + ".command", " ".join(command[1:]))
    with open(path) as file:
        return json.load(file)


def measured(programs, name, command, weights, out):
    """`result_of` one program for some weights."""
    precision = FEW if name != "defects" else FEW[:2]  # distances between near patches want float
    return result_of([f"{programs}/{command[0]}", "--weights", weights, *ARCH, *precision, *command[1:]], weights, out)


def figures(name, result):
    """The figures of a result.json that the table shows, in percent."""
    if name == "segment":
        return {"linear probe, mIoU": 100 * result["miou"]}
    if name == "retrieve":
        return {"retrieval, mIoU": 100 * result["retrieval"]["miou"],
                "300 clusters, mIoU": 100 * result["clusters"][0]["miou"]}
    if name == "few":
        return {"ten labels a class, nearest, right": 100 * result["knn"]["1"],
                "ten labels a class, linear, right": 100 * result["linear"]["accuracy"]}
    if name == "classify":
        return {"20 nearest, right": 100 * result["knn"]["20"], "linear, right": 100 * result["linear"]["accuracy"]}
    found = {"image AUROC": result["images"]["auroc"], "pixel AUROC": result["pixels"]["auroc"],
             "AUPRO 30 %": result["aupro_30"]}
    for kind, score in result.get("labels", {}).items():
        if kind not in ("good", ""):
            found[kind + ", image AUROC"] = score.get("auroc")
    return {kind: 100 * share for kind, share in found.items() if share is not None}  # null: not to be had


def locality(run_folder):
    """What a run said last of its references, in percent; nothing where the recipe has none."""
    found = {}
    with open(os.path.join(run_folder, "metrics.jsonl")) as file:
        for line in file:
            last = json.loads(line).get("locality")
            if last:
                found = {"references, local": 100 * last["references_local"], "patches, local": 100 * last["patches_local"]}
    return found


def cell(values, best):
    """What several seeds gave: the mean, and where they differ the least and the largest."""
    mean = sum(values) / len(values)
    text = f"**{mean:.1f}**" if best else f"{mean:.1f}"
    return text if max(values) - min(values) < 0.05 else f"{text} ({min(values):.1f} to {max(values):.1f})"


def cells(by_row):
    """Cells of one figure by row (or column), from its values by seed; the highest mean stands out."""
    means = {row: sum(values) / len(values) for row, values in by_row.items()}
    return {row: cell(values, means[row] == max(means.values())) for row, values in by_row.items()}


def table(rows):
    """Markdown of figures by set, method and seed: a line for each figure of each set, a column for each method."""
    methods = [m for m in METHODS if any(m in by_method for by_method in rows.values())]
    lines = ["| images | figure, % | " + " | ".join(methods) + " |", "|---|---|" + "---|" * len(methods)]
    for name, by_method in rows.items():
        kinds = dict.fromkeys(kind for by_seed in by_method.values() for found in by_seed.values() for kind in found)
        for kind in kinds:
            values = {m: [found[kind] for found in by_seed.values() if kind in found] for m, by_seed in by_method.items()}
            shown = cells({m: v for m, v in values.items() if v})
            lines.append(f"| {name} | {kind} | " + " | ".join(shown.get(m, "") for m in methods) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with a folder for each set of images")
    parser.add_argument("--programs", default="build/release/examples", help="folder of the programs")
    parser.add_argument("--out", required=True, help="folder for runs, results, study.json and study.md")
    parser.add_argument("--sets", default=",".join(s for s in SETS if s != "scenes"), help="sets to take, joined by commas")
    parser.add_argument("--methods", default=",".join(FIRST_TABLE), help="methods to take, joined by commas")
    parser.add_argument("--seeds", default="0", help="seeds, joined by commas")
    parser.add_argument("--share", type=float, default=1, help="of the images that are seen otherwise")
    parser.add_argument("--pretrain-only", action="store_true", help="train, and measure nothing")
    options = parser.parse_args()
    for kind, known in (("sets", SETS), ("methods", METHODS)):
        unknown = set(getattr(options, kind).split(",")) - set(known)
        if unknown:
            sys.exit(f"study: --{kind} {', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
    rows = {}
    for seed in options.seeds.split(","):  # a table of all methods first, then the next seed
        for name in options.sets.split(","):
            root = os.path.abspath(os.path.join(options.data, name))
            if not SETS[name].drawn and not os.path.isdir(root):
                sys.exit(f"study: there is no folder {root}")
            out = os.path.abspath(os.path.join(options.out, name))
            os.makedirs(out, exist_ok=True)
            images = SETS[name](root, out, options.programs)
            for method in options.methods.split(","):
                weights = "random" if method == "random" else pretrained(options.programs, images, method, seed, options.share, out)
                if options.pretrain_only:
                    continue
                for kind, command in images.measures().items():
                    result = measured(options.programs, kind, [*command, "--seed", seed], weights,
                                      os.path.join(out, f"{kind}-{method}-{seed}" + (shared(options.share) if weights != "random" else "")))
                    rows.setdefault(name, {}).setdefault(method, {}).setdefault(seed, {}).update(figures(kind, result))
                if weights != "random":
                    rows[name][method][seed].update(locality(os.path.dirname(weights)))
                write(os.path.join(options.out, "study.json"), json.dumps(rows, indent=1) + "\n")
                write(os.path.join(options.out, "study.md"), table(rows))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"study: {sum(u.ru_utime + u.ru_stime for u in used):.0f} s of the processor", file=sys.stderr)


if __name__ == "__main__":
    main()

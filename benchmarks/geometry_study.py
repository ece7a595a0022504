#!/usr/bin/env python3
"""Does it matter where points lie, how views are turned, and what a camera does to them? And are two cameras better than one?

    benchmarks/geometry_study.py --data FOLDER [--programs FOLDER] --out FOLDER [--recipe densesimclr] [--stages views,cameras]
                                 [--seeds 0,1,2] [--times 4]

Stages, each for every seed, each of which passes over what is in --out already:
  views    nano8 by one recipe on steel (neu_surface), equal budgets: points at random, on a grid, where edges are, where the
           teacher attends (of a recipe that has one); views turned and at an angle; views of an old camera. Neighbours, a linear
           classifier and retrieval on the test images, and on copies of them as three cameras would have taken them that no view
           imitates
  cameras  pairs made of street scenes (camvid) by a known homography, lens and exposure: the same network by two crops of
           one picture, and by a view from each camera. How often the nearest patch in the other camera's picture of a
           held-out pair is within one patch of the true place
views-RECIPE.md and cameras-RECIPE.md in --out are the tables: how many seeds, their mean, the least and the largest. One thread; seconds of the
processor are told at the end. Needs numpy and Pillow.
"""
import argparse
import io
import json
import os
import resource
import sys

import numpy
from PIL import Image

from report import write
from study import ARCH, FEW, METHODS, PAIRS_LACK, NeuSurface, cells, last_of, made_of, measured, run, trained

COMMON = [*ARCH, *FEW, "--weight-decay-end", "0.1", "--stochastic-depth", "0", "--views-global", "48", "--warmup-epochs", "1"]
# Of each recipe its numbers. References see what is at their point: published ones are blind at this budget (docs/results.md), and
# where points lie could not matter. With prototypes a short run wants few of them, a large rate and a teacher that follows quickly.
RECIPES = {
    "densedino-local": ["--recipe", "densedino-local", "--batch", "4", "--points", "4", "--prototypes", "256", "--lr", "0.03",
                        "--momentum", "0.99", "--teacher-temp", "0.02", "--warmup-teacher-temp", "0.02", "--image-all-views", "--locals",
                        "2", "--views-local", "24"],
    "densesimclr": METHODS["densesimclr"],
}


def numbers(o, *own):
    """Those of a run of the recipe; of two views without a teacher what it has no use for is left away."""
    words = last_of([*COMMON, *RECIPES[o.recipe], *(word for words in own for word in words)],
                    PAIRS_LACK if "--projector-hidden" in RECIPES[o.recipe] else ())
    place = words.index("--epochs") + 1
    words[place] = str(o.times * int(words[place]))
    return words


def called(o):
    """The recipe, in names of folders and tables."""
    return o.recipe if o.times == 1 else f"{o.recipe}-times{o.times}"


# Steel, and cameras that no view imitates.

VIEWS = {
    "points at random, boxes, colour alone": [],
    "points on a grid": ["--sampler", "grid"],
    "points where edges are": ["--sampler", "salient"],
    "points where the teacher attends": ["--sampler", "attention"],
    "views turned by 30 degrees, at an angle": ["--rotate", "30", "--perspective", "0.2"],
    "views of an old camera": ["--views", "old_camera"],
}
STEEL = ["--epochs", "6", "--global-scale", "0.1", "0.6", "--local-scale", "0.02", "0.2"]
SQUARE = {"densesimclr": ["--points", "9"]}  # as a grid wants it, of all
SIZE = "80"  # of steel's 200 pixels: about the scale that views have
KINDS = ("20 nearest", "linear", "retrieval")


def smeared(v, kernel, axis):
    """Sums over neighbours along an axis, weighted; the edge's value goes on beyond it."""
    half = len(kernel) // 2
    padded = numpy.pad(v, [(half, half) if a == axis else (0, 0) for a in range(2)], "edge")
    return sum(w * numpy.take(padded, range(k, k + v.shape[axis]), axis) for k, w in enumerate(kernel))


def veiled(v, draw):
    """Stray light over a soft lens, darker away from a point beside the middle, and a grainy tube."""
    for axis in (0, 1):
        v = smeared(v, (0.06, 0.24, 0.4, 0.24, 0.06), axis)
    rows, columns = numpy.indices(v.shape) / (numpy.array(v.shape).reshape(2, 1, 1) - 1.0)
    y, x = draw.uniform(0.2, 0.8, 2)
    v = (0.25 + 0.55 * v) * (1 - 0.5 * numpy.hypot(rows - y, columns - x))
    return v + draw.normal(0, 0.025, v.shape)


def dim(v, draw):
    """Few photons at half the resolution, gain, and a strong JPEG of it."""
    few = v.reshape(v.shape[0] // 2, 2, v.shape[1] // 2, 2).mean((1, 3))
    few = numpy.clip(draw.poisson(120 * few) / 120, 0, 1)
    file = io.BytesIO()
    Image.fromarray(numpy.uint8(255 * few + 0.5)).save(file, "JPEG", quality=25)
    return numpy.asarray(Image.open(file).resize(v.shape[::-1], Image.Resampling.BILINEAR)) / 255.0


def streaked(v, draw):
    """A line camera, overexposed, that moves while it looks, and whose columns differ in groups."""
    v = smeared(v, [1 / 9] * 9, 1) * draw.uniform(1.0, 1.4)
    return v * (1 + 0.06 * numpy.repeat(draw.normal(0, 1, -(-v.shape[1] // 4)), 4)[:v.shape[1]])


def worn(path, number):
    """What a camera that no view imitates would have made of a grey picture; every third is one camera's."""
    v = numpy.asarray(Image.open(path).convert("L")) / 255.0
    v = (veiled, dim, streaked)[number % 3](v, numpy.random.default_rng(number))
    return Image.fromarray(numpy.uint8(255 * numpy.clip(v, 0, 1) + 0.5))


class Steel(NeuSurface):
    """The set with copies of its test images."""

    def prepare(self):
        folder = os.path.join(self.out, "worn")
        images = os.path.join(self.root, "images")
        tests = self.names("cls_test")
        if not os.path.exists(os.path.join(folder, "done")):
            os.makedirs(folder, exist_ok=True)
            for number, (name, _) in enumerate(tests):
                worn(os.path.join(images, name + ".jpg"), number).save(os.path.join(folder, name + ".png"))
            write(os.path.join(folder, "done"), "")
        self.lists = {}
        for kind, names, form in (("train", self.names("cls_train"), f"{images}/{{}}.jpg"), ("clean", tests, f"{images}/{{}}.jpg"),
                                  ("worn", tests, f"{folder}/{{}}.png")):
            self.lists[kind] = os.path.join(self.out, f"classes_{kind}.txt")
            write(self.lists[kind], "".join(f"{form.format(name)} {label}\n" for name, label in names))
        # The same masks for both.
        segmented = {"train": self.names("seg_train"), "val": self.names("seg_test")}
        self.folders = {"clean": self.voc(segmented), "worn": self.copied(segmented, folder)}

    def copied(self, splits, worn_images):
        """The set in VOC layout whose validation images are the worn ones."""
        folder = os.path.join(self.out, "voc-worn")
        for name in ("JPEGImages", os.path.join("ImageSets", "Segmentation")):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        links = {"SegmentationClass": os.path.join(self.root, "masks")}
        for split, source, ending in (("train", os.path.join(self.root, "images"), ".jpg"), ("val", worn_images, ".png")):
            links.update({os.path.join("JPEGImages", n[0] + ending): os.path.join(source, n[0] + ending) for n in splits[split]})
            write(os.path.join(folder, "ImageSets", "Segmentation", split + ".txt"), "".join(n[0] + "\n" for n in splits[split]))
        for link, target in links.items():
            if not os.path.lexists(os.path.join(folder, link)):
                os.symlink(target, os.path.join(folder, link))
        return folder

    def looks(self):
        """The programs that measure, and where their figures are."""
        out = {}
        for kind in ("clean", "worn"):
            out["classify-" + kind] = ["dssl-classify", "--train", self.lists["train"], "--test", self.lists[kind], "--size", SIZE,
                                       "--k", "20", "--standardise"]
            out["retrieve-" + kind] = ["dssl-retrieve", "--data", self.folders[kind], "--classes", "4", "--size", SIZE, "--by",
                                       "retrieval", "--memory", "10000", "--overlays", "0"]
        return out


def look(o, steel, weights, seed, out):
    """Figures of some weights, in percent: on clean images and on worn ones."""
    found = {}
    for name, command in steel.looks().items():
        result = measured(o.programs, name, [*command, "--seed", str(seed)], weights, os.path.join(out, name))
        kind = name.split("-")[1]
        if name.startswith("classify"):
            found |= {f"20 nearest, {kind}": 100 * result["knn"]["20"], f"linear, {kind}": 100 * result["linear"]["accuracy"]}
        else:
            found[f"retrieval, {kind}"] = 100 * result["retrieval"]["miou"]
    return found


def views(o, seed, rows):
    out = os.path.join(o.out, "steel")
    os.makedirs(out, exist_ok=True)
    steel = Steel(os.path.join(o.data, "neu_surface"), out)
    steel.prepare()
    rows.setdefault("random weights", {})[seed] = look(o, steel, "random", seed, os.path.join(out, f"random-{seed}"))
    for name, own in VIEWS.items():
        if "attention" in own and "--teacher-temp" not in RECIPES[o.recipe]:
            continue
        folder = os.path.join(out, f"{called(o)}-{'-'.join(own).replace('--', '') or 'base'}-{seed}")
        weights = trained(o.programs, ["--data", steel.images(), *numbers(o, STEEL, SQUARE.get(o.recipe, []), own), "--seed", str(seed)], os.path.join(folder, "run"))
        rows.setdefault(name, {})[seed] = look(o, steel, weights, seed, folder)
        save(o, "views", rows, [f"{kind}, {state}" for state in ("clean", "worn") for kind in KINDS])


# Street scenes, and a second camera.

HEIGHT, WIDTH, PATCH = 240, 320, 8
FOCUS, MIDDLE = (280.0, 284.0), (163.0, 116.5)
DISTORTION = (-0.22, 0.05, 0.001, -0.0015, 0.0)  # k1, k2, p1, p2, k3
STREETS = ["--global-scale", "0.03", "0.2", "--local-scale", "0.01", "0.06"]
PAIRED_EPOCHS = 8  # of two pictures a sample; of one, half as many


def between():
    """The homography from the first camera's pixels to the second's corrected ones: turned, nearer, tilted."""
    middle = numpy.array([[1, 0, (WIDTH - 1) / 2], [0, 1, (HEIGHT - 1) / 2], [0, 0, 1]])
    angle, scale = numpy.radians(12), 1.1
    turn = numpy.array([[scale * numpy.cos(angle), -scale * numpy.sin(angle), 6], [scale * numpy.sin(angle), scale * numpy.cos(angle), -4],
                        [0, 0, 1]])
    tilt = numpy.array([[1, 0, 0], [0, 1, 0], [6e-4, -4e-4, 1]])
    return middle @ turn @ tilt @ numpy.linalg.inv(middle)


def through(matrix, points):
    """Points (...,2) through a homography."""
    out = numpy.concatenate([points, numpy.ones_like(points[..., :1])], -1) @ matrix.T
    return out[..., :2] / out[..., 2:]


def distorted(points):
    """Where corrected pixels were recorded, by OpenCV's model."""
    x, y = numpy.moveaxis((points - MIDDLE) / FOCUS, -1, 0)
    k1, k2, p1, p2, k3 = DISTORTION
    r = x * x + y * y
    radial = 1 + r * (k1 + r * (k2 + r * k3))
    at = numpy.stack([x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x), y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y], -1)
    return at * FOCUS + MIDDLE


def corrected(points):
    """The inverse of `distorted`, to 1e-6 of a pixel."""
    out = points.copy()
    for _ in range(100):
        out -= distorted(out) - points
    if numpy.abs(distorted(out) - points).max() > 1e-6:
        sys.exit("geometry_study: the lens has no inverse")
    return out


def grid(step, height, width):
    """Positions (y,x,2) of the middles of squares of `step` pixels, pixel 0 at 0."""
    y, x = numpy.meshgrid(*(numpy.arange(n) * step + (step - 1) / 2 for n in (height, width)), indexing="ij")
    return numpy.stack([x, y], -1)


def make_pairs(root, out):
    """Pictures of two cameras in folders first and second of each split, and what is known of the second."""
    done = os.path.join(out, "pairs-done")
    if os.path.exists(done):
        return
    reads = 3  # a side of a pixel, each of the pixel of the photograph that it lies in
    source = through(numpy.linalg.inv(between()), corrected(grid(1 / reads, HEIGHT * reads, WIDTH * reads)))
    light = 1 - 0.4 * numpy.hypot(*numpy.moveaxis(grid(1, HEIGHT, WIDTH) / (WIDTH, HEIGHT) - (0.58, 0.45), -1, 0))[..., None] ** 2
    for split in ("train", "val"):
        with open(os.path.join(root, "ImageSets", "Segmentation", split + ".txt")) as file:
            names = file.read().split()
        for camera in ("first", "second"):
            os.makedirs(os.path.join(out, split, camera), exist_ok=True)
        for number, name in enumerate(names):
            image = Image.open(os.path.join(root, "JPEGImages", name + ".jpg")).convert("RGB")
            image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(os.path.join(out, split, "first", name + ".jpg"), quality=92)
            at = numpy.floor((source + 0.5) * image.size / (WIDTH, HEIGHT)).astype(int).clip(0, numpy.array(image.size) - 1)
            seen = numpy.asarray(image)[at[..., 1], at[..., 0]].reshape(HEIGHT, reads, WIDTH, reads, 3).mean((1, 3)) / 255
            # Darker, warmer, steeper, with shade towards the corners and noise.
            seen = (seen * light) ** 1.3 * (0.85, 0.7, 0.55) + numpy.random.default_rng(number).normal(0, 0.015, seen.shape)
            seen = Image.fromarray(numpy.uint8(255 * numpy.clip(seen, 0, 1) + 0.5))
            seen.save(os.path.join(out, split, "second", name + ".jpg"), quality=92)
    for kind in ("first", "second"):  # a list for those that are no pairs
        names = sorted(os.listdir(os.path.join(out, "train", kind)))
        write(os.path.join(out, f"{kind}.txt"), "".join(os.path.join(out, "train", kind, name) + "\n" for name in names))
    with open(os.path.join(out, "first.txt")) as a, open(os.path.join(out, "second.txt")) as b:
        write(os.path.join(out, "both.txt"), a.read() + b.read())

    def matrix(name, rows, numbers):
        return f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {len(numbers) // rows}\n   dt: d\n   data: [ {', '.join(map(repr, numbers))} ]\n"

    write(os.path.join(out, "between.yml"), "%YAML 1.2\n---\n" + matrix("homography", 3, [float(x) for x in between().ravel()]))
    camera = [FOCUS[0], 0.0, MIDDLE[0], 0.0, FOCUS[1], MIDDLE[1], 0.0, 0.0, 1.0]
    write(os.path.join(out, "second.yml"), f"%YAML 1.2\n---\nimage_height: {HEIGHT}\nimage_width: {WIDTH}\n" +
          matrix("camera_matrix", 3, camera) + matrix("distortion_coefficients", 1, list(DISTORTION)))
    write(done, "")


def share_right(first, second):
    """Of patch maps (n,h,w,W) of both cameras: the share of patches, of both, that show what the other camera has too, whose
    nearest patch there, by cosine, is within one patch of the true place, in percent."""
    rows, columns = first.shape[1:3]
    places = grid(PATCH, rows, columns).reshape(-1, 2)
    to_second = distorted(through(between(), places))
    to_first = through(numpy.linalg.inv(between()), corrected(places))
    right = seen = 0
    for a, b in zip(first, second):
        unit = [m.reshape(len(places), -1) for m in (a, b)]
        unit = [m / numpy.maximum(numpy.linalg.norm(m, axis=1, keepdims=True), 1e-12) for m in unit]
        alike = unit[0] @ unit[1].T
        for true, nearest in ((to_second, alike.argmax(1)), (to_first, alike.argmax(0))):
            there = ((true >= -0.5) & (true <= numpy.array([WIDTH, HEIGHT]) - 0.5)).all(1)
            off = numpy.abs(places[nearest] - true).max(1)
            right += int((off[there] <= PATCH).sum())
            seen += int(there.sum())
    return 100 * right / seen


def pixels(folder):
    """Patches of the pictures themselves (n,h,w,8*8*3), each channel's mean and deviation in the picture taken off."""
    out = []
    for name in sorted(os.listdir(folder)):
        v = numpy.asarray(Image.open(os.path.join(folder, name))) / 255.0
        v = (v - v.mean((0, 1))) / v.std((0, 1))
        v = v.reshape(HEIGHT // PATCH, PATCH, WIDTH // PATCH, PATCH, 3)
        out.append(v.transpose(0, 2, 1, 3, 4).reshape(HEIGHT // PATCH, WIDTH // PATCH, -1))
    return numpy.stack(out)


def matched(o, pairs, weights, seed, out):
    """Figures of some weights, from out's result.json where it is of them."""
    path = os.path.join(out, "result.json")
    if not made_of(weights, path):
        maps = []
        os.makedirs(out, exist_ok=True)
        for camera in ("first", "second"):
            file = os.path.join(out, camera + ".npy")
            run([f"{o.programs}/dssl-features", "--weights", weights, *ARCH, *FEW, "--data", os.path.join(pairs, "val", camera), "--size",
                 f"{HEIGHT}x{WIDTH}", "--tokens", "patch", "--seed", str(seed), "--out", file], os.path.join(out, camera + ".log"))
            maps.append(numpy.load(file))
        write(path, json.dumps({"within one patch": share_right(*maps)}) + "\n")
        for camera in ("first", "second"):
            os.remove(os.path.join(out, camera + ".npy"))
    with open(path) as file:
        return json.load(file)


def cameras(o, seed, rows):
    out = os.path.join(o.out, "streets")
    os.makedirs(out, exist_ok=True)
    make_pairs(os.path.join(o.data, "camvid"), out)
    folders = [os.path.join(out, "val", camera) for camera in ("first", "second")]
    for name, floor in (("the patch at the same place", lambda: [None, None]), ("pixels", lambda: [pixels(f) for f in folders])):
        path = os.path.join(out, name.replace(" ", "-") + ".json")
        if not os.path.exists(path):
            maps = floor()
            if maps[0] is None:  # every patch's own direction
                own = numpy.eye(HEIGHT // PATCH * (WIDTH // PATCH)).reshape(1, HEIGHT // PATCH, WIDTH // PATCH, -1)
                maps = [own, own]
            write(path, json.dumps({"within one patch": share_right(*maps)}) + "\n")
        with open(path) as file:
            rows.setdefault(name, {})[seed] = json.load(file)
    rows.setdefault("random weights", {})[seed] = matched(o, out, "random", seed, os.path.join(out, f"random-{seed}"))
    one = ["--data", os.path.join(out, "both.txt"), "--epochs", str(PAIRED_EPOCHS // 2)]
    ways = {
        "two crops of one picture": one,
        "a view from each camera": ["--data", os.path.join(out, "train", "first"), "--second", os.path.join(out, "train", "second"), "--between",
                                    os.path.join(out, "between.yml"), "--second-camera", os.path.join(out, "second.yml"), "--epochs",
                                    str(PAIRED_EPOCHS)],
    }
    for number, (name, own) in enumerate(ways.items()):
        folder = os.path.join(out, f"{called(o)}-way{number}-{seed}")
        weights = trained(o.programs, [*numbers(o, STREETS, own), "--seed", str(seed)], os.path.join(folder, "run"))
        rows.setdefault(name, {})[seed] = matched(o, out, weights, seed, os.path.join(folder, "matched"))
        save(o, "cameras", rows, ["within one patch"])


def save(o, name, rows, kinds):
    """The table: a line a row, how many seeds, and of each figure their mean, the least and the largest."""
    lines = ["| | seeds | " + " | ".join(kinds) + " |", "|---|---|" + "---|" * len(kinds)]
    shown = {kind: cells({row: [f[kind] for f in by_seed.values()] for row, by_seed in rows.items()}) for kind in kinds}
    for row, by_seed in rows.items():
        lines.append(f"| {row} | {len(by_seed)} | " + " | ".join(shown[kind][row] for kind in kinds) + " |")
    write(os.path.join(o.out, f"{name}-{called(o)}.md"), "\n".join(lines) + "\n")
    write(os.path.join(o.out, f"{name}-{called(o)}.json"), json.dumps(rows, indent=1) + "\n")


STAGES = {"views": views, "cameras": cameras}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the folders neu_surface and camvid")
    parser.add_argument("--programs", default="build/release/examples", help="folder of the programs")
    parser.add_argument("--out", required=True, help="folder for runs, results and tables")
    parser.add_argument("--recipe", default="densedino-local", choices=RECIPES, help="whose views and points they are")
    parser.add_argument("--stages", default=",".join(STAGES), help="joined by commas")
    parser.add_argument("--seeds", default="0,1,2", help="joined by commas")
    parser.add_argument("--times", type=int, default=1, help="so many times the epochs")
    o = parser.parse_args()
    unknown = set(o.stages.split(",")) - set(STAGES)
    if unknown:
        sys.exit(f"geometry_study: --stages {', '.join(sorted(unknown))}: expected some of {', '.join(STAGES)}")
    o.data, o.out = os.path.abspath(o.data), os.path.abspath(o.out)
    rows = {stage: {} for stage in o.stages.split(",")}
    for seed in o.seeds.split(","):
        for stage in rows:
            STAGES[stage](o, seed, rows[stage])
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"geometry_study: {sum(u.ru_utime + u.ru_stime for u in used):.0f} s of the processor", file=sys.stderr)


if __name__ == "__main__":
    main()

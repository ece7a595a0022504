#!/usr/bin/env python3
"""Every recipe of dssl-pretrain for a minute or two on synthetic images: does it train, collapse, and beat random weights?

    benchmarks/recipes.py --out FOLDER [--programs FOLDER] [--epochs N] [--threads N] [--recipes byol,simclr,...]

Draws grey textures of eight kinds, pretrains nano8 by each recipe on the same unlabelled images for the same number of
passes, and lets the nearest neighbours among them name the kind of held-out ones, by the frozen class token and by the mean
of the frozen patch tokens. Brightness, contrast, scale and direction of a texture are drawn for each image, so that they tell
nothing of its kind: features of random weights follow them. Random weights are measured with three seeds.
recipes.md in --out is the table, written again after each recipe. A run that is there already with the same call is not made
again.
"""
import argparse
import hashlib
import json
import math
import os
import random
import subprocess
import sys

RECIPES = ["simclr", "moco-v2", "moco-v3", "densecl", "barlow-twins", "vicreg", "byol", "simsiam", "pixpro", "swav", "dino",
           "ibot", "dinov2", "densedino", "densedino-local", "feature-map", "distilled"]
TEACHER_OF = {"distilled": "dino"}  # by rule, not by what is right on the held-out images
KINDS = ["bricks", "checks", "clouds", "dots", "rings", "stripes", "waves", "weave"]
SIZE = 32
TRAIN, TEST = 200, 60  # images of each kind
RANDOM_SEEDS = (0, 1, 2)

COMMON = ["--arch", "nano8", "--views-global", "24", "--global-scale", "0.5", "1", "--warmup-epochs", "1",
          "--weight-decay-end", "0.04", "--stochastic-depth", "0"]
LOCALS = ["--views-local", "16", "--locals", "2", "--local-scale", "0.2", "0.5"]
# Of a network that is small and a run that is short: few prototypes, a sharper teacher that follows faster.
TEACHER = ["--momentum", "0.98", "--momentum-end", "0.99"]
PROTOTYPES = [*LOCALS, "--prototypes", "256", "--teacher-temp", "0.02", "--warmup-teacher-temp", "0.02", "--momentum", "0.98"]
OWN = {
    "simclr": [], "barlow-twins": [], "vicreg": [], "simsiam": [],
    "moco-v2": [*TEACHER, "--queue", "1024"], "densecl": [*TEACHER, "--queue", "1024"], "moco-v3": TEACHER, "byol": TEACHER,
    "pixpro": TEACHER,
    # At the published 0.05, half its temperature, views that agree to less than a half are predicted less and less.
    "swav": [*LOCALS, "--prototypes", "256", "--epsilon", "0.02"],
    # At the published weight of 1 the masked level, which is solved first, leaves the class tokens nothing to learn.
    "ibot": [*PROTOTYPES, "--masked-weight", "0.1"], "dinov2": PROTOTYPES, "dino": [*PROTOTYPES, "--image-all-views"],
    **dict.fromkeys(["densedino", "densedino-local", "feature-map"], [*PROTOTYPES, "--image-all-views", "--points", "4"]),
    "distilled": [],
}
# Images an update and the rate for 256 of them. Losses that compare the images of a batch have the larger ones, the others
# more updates from as many images.
BATCH_AND_RATE = {
    **dict.fromkeys(RECIPES, ("32", "0.008")),
    **dict.fromkeys(["moco-v2", "densecl", "byol", "pixpro"], ("16", "0.008")),
    "simsiam": ("32", "0.002"),
    **dict.fromkeys(["dino", "ibot", "densedino", "densedino-local", "feature-map", "dinov2"], ("8", "0.0128")),
}


def clamp(value, low=0.0, high=1.0):
    return min(high, max(low, value))


def to_whole(value):
    """Distance to the nearest whole number."""
    return abs(value - math.floor(value + 0.5))


def noise_field(draw, cells=16):
    """Smooth noise in [0, 1] over the plane, repeated after so many cells."""
    grid = [[draw.random() for _ in range(cells)] for _ in range(cells)]

    def at(x, y):
        left, top = math.floor(x), math.floor(y)
        u, v = x - left, y - top
        u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
        above, below = grid[top % cells], grid[(top + 1) % cells]
        a = above[left % cells] + u * (above[(left + 1) % cells] - above[left % cells])
        b = below[left % cells] + u * (below[(left + 1) % cells] - below[left % cells])
        return a + v * (b - a)

    return at


def texture(kind, period, draw):
    """Brightness in [0, 1] as a function of (x, y) in pixels; edges are a pixel wide."""
    def bars(distance, width=0.25):
        return clamp(period * (width - distance) + 0.5)

    def square(t):
        return 2 * clamp(2 * period * (0.25 - to_whole(t / period / 2)) + 0.5) - 1

    def brick(x, y):
        shift = period if math.floor(y / period + 0.5) % 2 else 0
        return clamp(period * (min(to_whole(y / period), 2 * to_whole((x + shift) / period / 2)) - 0.12) + 0.5)

    noise = noise_field(draw)
    return {
        "bricks": brick,
        "checks": lambda x, y: 0.5 + 0.5 * square(x) * square(y),
        "clouds": lambda x, y: clamp(4 * (0.65 * noise(x / period, y / period) +
                                          0.35 * noise(2 * x / period + 5, 2 * y / period + 5) - 0.5) + 0.5),
        "dots": lambda x, y: bars(math.hypot(to_whole(x / period), to_whole(y / period)), 0.33),
        "rings": lambda x, y: bars(to_whole(math.hypot(x, y) / period)),
        "stripes": lambda x, y: bars(to_whole(x / period)),
        "waves": lambda x, y: bars(to_whole(x / period + 0.4 * math.sin(math.pi * y / period))),
        "weave": lambda x, y: bars(min(to_whole(x / period), to_whole(y / period)), 0.15),
    }[kind]


def texture_image(kind, draw):
    """Pixels of a texture whose scale, direction, place, brightness, contrast and sign are drawn, with sensor noise."""
    of = texture(kind, draw.uniform(6, 10), draw)
    angle = draw.uniform(0, 2 * math.pi)
    cosine, sine = math.cos(angle), math.sin(angle)
    centre_x, centre_y = draw.uniform(0, SIZE), draw.uniform(0, SIZE)
    while True:
        first = draw.uniform(20, 235)
        second = first + draw.choice((-1, 1)) * draw.uniform(50, 150)
        if 10 <= second <= 245:
            break
    pixels = bytearray()
    for y in range(SIZE):
        for x in range(SIZE):
            dx, dy = x - centre_x, y - centre_y
            share = of(cosine * dx + sine * dy, cosine * dy - sine * dx)
            pixels.append(int(clamp(first + share * (second - first) + draw.gauss(0, 6), 0, 255)))
    return bytes(pixels)


def make_textures(folder):
    """train and test, with a folder of PGM for each kind; each image depends on its name alone."""
    if os.path.exists(os.path.join(folder, "done")):
        return
    for split, count in (("train", TRAIN), ("test", TEST)):
        for kind in KINDS:
            place = os.path.join(folder, split, kind)
            os.makedirs(place, exist_ok=True)
            for i in range(count):
                with open(os.path.join(place, f"{i:04d}.pgm"), "wb") as file:
                    file.write(b"P5\n%d %d\n255\n" % (SIZE, SIZE) + texture_image(kind, random.Random(f"{split} {kind} {i}")))
    with open(os.path.join(folder, "done"), "w"):
        pass


def run(command):
    print("==", " ".join(command), flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--programs", default="build/release/examples")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    options = parser.parse_args()
    recipes = options.recipes.split(",")
    unknown = [name for name in recipes if name not in OWN]
    if unknown:
        parser.error(f"--recipes: {unknown[0]} is not one of {', '.join(RECIPES)}")
    for recipe, teacher in TEACHER_OF.items():
        if recipe in recipes and teacher not in recipes[:recipes.index(recipe)]:
            recipes = [teacher, *(name for name in recipes if name != teacher)]
    images = os.path.join(options.out, "textures")
    make_textures(images)
    threads = ["--threads", str(options.threads)]

    def program(name):
        return os.path.join(options.programs, name)

    def weights_of(recipe):
        return os.path.join(options.out, recipe, "teacher.safetensors")

    def neighbours(weights, out, *more):
        """Share of test images named rightly by their ten nearest training images: by class token, by the mean of patches."""
        shares = []
        for token in ("class", "mean"):
            place = f"{out}-{token}"
            run([program("dssl-classify"), "--weights", weights, "--arch", "nano8", "--size", str(SIZE), "--train",
                 os.path.join(images, "train"), "--test", os.path.join(images, "test"), "--by", "knn", "--k", "10", "--token",
                 token, "--at-once", "64", *threads, "--out", place, *more])
            with open(os.path.join(place, "result.json")) as file:
                shares.append(100 * json.load(file)["knn"]["10"])
        return shares

    chance = [neighbours("random", os.path.join(options.out, f"random-{seed}"), "--seed", str(seed)) for seed in RANDOM_SEEDS]

    def spread(column):
        return f"{min(row[column] for row in chance):.1f} to {max(row[column] for row in chance):.1f}"

    head = ["| recipe | images an update | rate | images seen | seconds a step | loss, first and last tenth of the steps | "
            "spread of class features, last (least) | collapse | class token, right % | mean of patches, right % |",
            "|---|---|---|---|---|---|---|---|---|---|",
            f"| random weights, {len(chance)} seeds | | | | | | | | {spread(0)} | {spread(1)} |"]
    rows = []
    below = []
    for recipe in recipes:
        out = os.path.join(options.out, recipe)
        batch, rate = BATCH_AND_RATE[recipe]
        call = [program("dssl-pretrain"), "--data", os.path.join(images, "train"), "--recipe", recipe, "--epochs",
                str(options.epochs), *COMMON, *OWN[recipe], "--batch", batch, "--lr", rate, *threads,
                "--overwrite", "--out", out]
        made_by = list(call)
        if recipe in TEACHER_OF:
            teacher = weights_of(TEACHER_OF[recipe])
            call += ["--teacher", teacher]
            with open(teacher, "rb") as file:
                made_by = [*call, hashlib.sha256(file.read()).hexdigest()]  # made again where its teacher was
        weights = weights_of(recipe)
        made = os.path.join(out, "call.json")
        old = None
        if os.path.exists(made) and os.path.exists(weights):
            with open(made) as file:
                old = json.load(file)
        if old != made_by:
            if old is not None:
                os.remove(made)  # a run that is cut off is not taken for the old one
            run(call)
            with open(made, "w") as file:
                json.dump(made_by, file)
        with open(os.path.join(out, "metrics.jsonl")) as file:
            steps = [json.loads(line) for line in file]
        tenth = max(1, len(steps) // 10)

        def mean(key, part):
            return sum(step[key] for step in part) / len(part)

        seconds = sorted(step["seconds"] for step in steps)[len(steps) // 2]
        shares = neighbours(weights, out + "-neighbours")
        signs = sorted({step["collapse"] for step in steps[-tenth:]})
        if shares[0] <= max(row[0] for row in chance) and shares[1] <= max(row[1] for row in chance):
            below.append(recipe)
        name = f"{recipe}, teacher {TEACHER_OF[recipe]}" if recipe in TEACHER_OF else recipe
        rows.append(f"| {name} | {batch} | {rate} | {steps[-1]['images']} | {seconds:.2f} | "
                    f"{mean('loss', steps[:tenth]):.3f}, {mean('loss', steps[-tenth:]):.3f} | "
                    f"{steps[-1]['feature_spread']:.3f} ({min(step['feature_spread'] for step in steps):.3f}) | "
                    f"{', '.join(signs)} | {shares[0]:.1f} | {shares[1]:.1f} |")
        with open(os.path.join(options.out, "recipes.md"), "w") as file:
            file.write("\n".join(head + rows) + "\n")
    print("\n".join(head + rows))
    print("not above every seed of random weights by either token:", ", ".join(below) or "none")
    return 0


if __name__ == "__main__":
    sys.exit(main())

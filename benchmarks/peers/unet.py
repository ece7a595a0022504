#!/usr/bin/env python3
"""A small U-Net on the images, labels and processor time of dssl-defect-pilot, and the pilot's figures of it.

    benchmarks/peers/unet.py --normal LIST --defects LIST --test-normal LIST --test-defects LIST --images FOLDER --masks FOLDER
        --seconds N [--scale F] [--crop N] [--rate R] [--top K] [--seed N] [--maps FOLDER] --out FILE
    benchmarks/peers/unet.py --check FOLDER --masks FOLDER

Trains from random weights, on one thread, for so many seconds of the processor: AdamW on crops of grey images that are resized
by one factor first, half of them about a pixel of a defect (of the labelled images in turn) and half from anywhere in any image;
mirrored, turned by quarters and changed in light, as in the pilot's tuned path. Lists hold a name, or a name and a label, a
line, relative to --images; the mask of NAME.jpg is NAME.png, in which what is not 0 is a defect, and images of --normal need
none. A score map is the logit of a defect at each pixel of the resized image, blurred by --smoothing pixels; an image's score is
the mean of its --top x 64 largest pixels before that, the area of so many patches of 8 x 8.

--check measures what `dssl-defects --maps` wrote by the same code and holds it to the program's own result.json: it says the
largest difference and fails above 1e-3 (maps are written with 16 bits), or 1e-9 for figures of images.

Needs PyTorch, NumPy and Pillow.
"""
import argparse
import json
import os
import sys
import time

import numpy
from PIL import Image


# What scores are worth, as include/dssl/metrics has it.

def curve(scores, positives, weights=None):
    """Sums of the weights of positives and negatives that score at least so much, from (0, 0); equal scores come together."""
    scores, positives = numpy.asarray(scores, float), numpy.asarray(positives, bool)
    weights = numpy.ones(len(scores)) if weights is None else numpy.asarray(weights, float)
    order = numpy.argsort(-scores, kind="stable")
    ends = numpy.append(numpy.nonzero(numpy.diff(scores[order]))[0], len(scores) - 1)
    sums = [numpy.append(0, numpy.cumsum(numpy.where(kind, weights, 0)[order])[ends]) for kind in (positives, ~positives)]
    return sums[0] / sums[0][-1], sums[1] / sums[1][-1]


def auroc(scores, positives, weights=None, limit=1.0):
    """Area under recall over false alarms up to a share `limit` of them, over that share."""
    recall, alarms = curve(scores, positives, weights)
    at = int(numpy.searchsorted(alarms, limit))  # the first point that is there or beyond: its piece is cut at the limit
    low, high = alarms[at - 1], alarms[at]
    x = numpy.append(alarms[:at], limit)
    y = numpy.append(recall[:at], recall[at - 1] + (recall[at] - recall[at - 1]) * (limit - low) / (high - low))
    return float(numpy.sum(numpy.diff(x) * (y[1:] + y[:-1]) / 2) / limit)


def missed(scores, positives, rate):
    """Share of the positives below the lowest threshold that at most a share `rate` of the negatives reach."""
    recall, alarms = curve(scores, positives)
    return float(1 - recall[numpy.nonzero(alarms <= rate)[0][-1]])


def regions(mask):
    """(H,W): the number of each pixel's region of 8-connected pixels that are not 0, from 1 on; 0 outside all."""
    of, rows = [], []  # of each run of pixels in a row: the run it belongs with, so far; begin, end and run of a row's

    def first(i):
        while of[i] != i:
            i = of[i]
        return i

    for row in mask != 0:
        turns = numpy.nonzero(numpy.diff(numpy.concatenate([[False], row, [False]]).astype(numpy.int8)))[0].reshape(-1, 2)
        runs = []
        for begin, end in turns:
            of.append(len(of))
            runs.append((begin, end, len(of) - 1))
            for above, below, other in rows[-1] if rows else []:
                if above <= end and begin <= below:  # corners touch as well
                    of[first(len(of) - 1)] = first(other)
        rows.append(runs)
    out = numpy.zeros(mask.shape, numpy.int32)
    number = {}
    for y, runs in enumerate(rows):
        for begin, end, run in runs:
            out[y, begin:end] = number.setdefault(first(run), len(number) + 1)
    return out


class Figures:
    """Scores of images and maps, an image at a time."""

    def __init__(self):
        self.scores, self.defects = [], []
        self.pixels, self.inside, self.shares = [], [], []

    def add(self, score, defect, heat, numbers):
        """`numbers`: `regions` of the image's mask."""
        self.scores.append(score)
        self.defects.append(defect)
        sizes = numpy.bincount(numbers.ravel())
        self.pixels.append(heat.ravel())
        self.inside.append(numbers.ravel() > 0)
        self.shares.append(numpy.where(numbers > 0, 1 / numpy.maximum(sizes, 1)[numbers], 1).ravel())

    def result(self):
        pixels, inside, shares = (numpy.concatenate(x) for x in (self.pixels, self.inside, self.shares))
        return {"auroc": auroc(self.scores, self.defects), "missed_at_1_percent_false_alarms": missed(self.scores, self.defects, 0.01),
                "missed_at_5_percent_false_alarms": missed(self.scores, self.defects, 0.05),
                "aupro_30": auroc(pixels, inside, shares, 0.3)}


def names_of(path):
    with open(path) as file:
        return [line.split()[0] for line in file if line.strip()]


def mask_file(masks, name):
    return os.path.join(masks, os.path.splitext(os.path.basename(name))[0] + ".png")


def read(images, masks, name, scale):
    """Grey image on 0..1 and mask, resized; masks are read at the nearest pixel."""
    picture = Image.open(os.path.join(images, name)).convert("L")
    size = tuple(max(1, int(scale * n + 0.5)) for n in picture.size)
    path = mask_file(masks, name) if masks else ""
    mask = numpy.zeros(picture.size[::-1], bool)
    if masks:
        if not os.path.exists(path):
            sys.exit(f"unet: {name} has no mask {path}")
        mask = numpy.asarray(Image.open(path)) != 0
    rows = (2 * numpy.arange(size[1]) + 1) * mask.shape[0] // (2 * size[1])
    columns = (2 * numpy.arange(size[0]) + 1) * mask.shape[1] // (2 * size[0])
    grey = picture if size == picture.size else picture.resize(size, Image.BILINEAR)
    return numpy.asarray(grey, numpy.float32) / 255, mask[rows][:, columns]


def blurred(heat, sigma):
    """Gaussian blur, mirrored at the ends."""
    if sigma <= 0:
        return heat
    reach = int(3 * sigma + 0.5)
    taps = numpy.exp(-0.5 * (numpy.arange(-reach, reach + 1) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        padded = numpy.pad(heat, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], "symmetric")
        heat = sum(t * numpy.take(padded, range(i, i + heat.shape[axis]), axis) for i, t in enumerate(taps))
    return heat.astype(numpy.float32)


def check(folder, masks):
    """The figures of dssl-defects' scores and maps by this code beside the program's own."""
    with open(os.path.join(folder, "result.json")) as file:
        own = json.load(file)
    figures = Figures()
    with open(os.path.join(folder, "scores.jsonl")) as file:
        for line in map(json.loads, file):
            heat = numpy.asarray(Image.open(os.path.join(folder, line["map"])), float) * line["map_white"]
            mask = numpy.zeros(heat.shape, bool)
            defect = line["truth"] == "defect"
            if defect:
                mask = numpy.asarray(Image.open(mask_file(masks, line["name"]))) != 0
                rows = (2 * numpy.arange(heat.shape[0]) + 1) * mask.shape[0] // (2 * heat.shape[0])
                columns = (2 * numpy.arange(heat.shape[1]) + 1) * mask.shape[1] // (2 * heat.shape[1])
                mask = mask[rows][:, columns]
            figures.add(line["score"], defect, heat, regions(mask))
    found = figures.result()
    worst = 0
    for key, theirs, bound in (("auroc", own["images"]["auroc"], 1e-9), ("aupro_30", own["aupro_30"], 1e-3),
                               ("missed_at_1_percent_false_alarms", own["images"]["missed"]["at_1_percent_false_alarms"], 1e-9),
                               ("missed_at_5_percent_false_alarms", own["images"]["missed"]["at_5_percent_false_alarms"], 1e-9)):
        apart = abs(found[key] - theirs)
        worst = max(worst, apart / bound)
        print(f"{key}: {found[key]:.6f} here, {theirs:.6f} by dssl-defects, {apart:.1e} apart")
    if worst > 1:
        sys.exit("unet: the figures differ")


def network(torch, width):
    """Four levels, two 3 x 3 convolutions at each, group norms; about 0.8 million parameters at a width of 20."""
    nn = torch.nn

    def twice(inner, outer):
        layers = []
        for i, o in ((inner, outer), (outer, outer)):
            layers += [nn.Conv2d(i, o, 3, padding=1, padding_mode="reflect"), nn.GroupNorm(4, o), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [width, 2 * width, 4 * width, 8 * width]
            self.down = nn.ModuleList(twice(i, o) for i, o in zip([1, *widths], widths))
            self.up = nn.ModuleList(twice(o + i, i) for i, o in reversed(list(zip(widths, widths[1:]))))
            self.last = nn.Conv2d(width, 1, 1)

        def forward(self, x):
            kept = []
            for i, level in enumerate(self.down):
                x = level(x if i == 0 else nn.functional.max_pool2d(x, 2))
                kept.append(x)
            for level, skip in zip(self.up, reversed(kept[:-1])):
                x = level(torch.cat([nn.functional.interpolate(x, scale_factor=2, mode="nearest"), skip], 1))
            return self.last(x)[:, 0]

    return UNet()


def crop_of(image, mask, extent, about, random):
    """A crop and its labels (-1: mirrored, no label), turned, mirrored and changed in light."""
    begins = []
    for axis in (0, 1):
        length = image.shape[axis]
        if about is None or length <= extent:
            begins.append(-random.integers(0, extent - length + 1) if length < extent else random.integers(0, length - extent + 1))
        else:
            begin = about[axis] - extent // 2 + int(round(random.uniform(-0.25, 0.25) * extent))
            begins.append(min(max(begin, 0), length - extent))
    places = [numpy.arange(b, b + extent) for b in begins]

    def mirrored(at, length):
        period = max(1, 2 * (length - 1))
        at = at % period
        return numpy.where(at < length, at, period - at)

    grid = numpy.ix_(*[mirrored(p, n) for p, n in zip(places, image.shape)])
    values, labels = image[grid], mask[grid].astype(numpy.float32)
    outside = [(p < 0) | (p >= n) for p, n in zip(places, image.shape)]
    labels[outside[0]] = -1
    labels[:, outside[1]] = -1
    if random.random() < 0.5:
        values, labels = values[:, ::-1], labels[:, ::-1]
    turns = random.integers(0, 4)
    mean = values.mean()
    values = (values - mean) * (1 + 0.2 * random.uniform(-1, 1)) + mean + 0.1 * random.uniform(-1, 1)
    return numpy.rot90(values, turns).copy(), numpy.rot90(labels, turns).copy()


def train(torch, o, labelled, normal):
    """A network, and the steps that its seconds were enough for."""
    torch.manual_seed(o.seed)
    random = numpy.random.default_rng(o.seed)
    net = network(torch, o.width)
    optimiser = torch.optim.AdamW(net.parameters(), lr=o.rate, weight_decay=0.05)
    everything = labelled + normal
    begin, step, turn = time.process_time(), 0, 0
    while True:
        done = (time.process_time() - begin) / o.seconds
        if done >= 1 and step > 0:
            return net, step
        rate = o.rate * (min(1, done / 0.1) if done < 0.1 else 0.5 * (1 + numpy.cos(numpy.pi * (done - 0.1) / 0.9)))
        for group in optimiser.param_groups:
            group["lr"] = max(rate, 0.01 * o.rate)
        crops = []
        for i in range(o.batch):
            about = None
            if i < o.batch // 2:
                image, mask = labelled[turn % len(labelled)]
                turn += 1
                pixels = numpy.argwhere(mask)
                about = pixels[random.integers(len(pixels))] if len(pixels) else None
            else:
                image, mask = everything[random.integers(len(everything))]
            crops.append(crop_of(image, mask, o.crop, about, random))
        images, labels = (torch.from_numpy(numpy.stack(x)) for x in zip(*crops))
        logits = net((images[:, None] - 0.5) / 0.25)
        known = labels >= 0
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], labels[known])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", help="folder of dssl-defects --maps: measures that, and nothing else")
    for name in ("normal", "defects", "test-normal", "test-defects"):
        parser.add_argument("--" + name, help="list of images")
    parser.add_argument("--images", help="folder that names in lists are relative to")
    parser.add_argument("--masks", required=True, help="folder of masks")
    parser.add_argument("--seconds", type=float, help="of the processor, to train for")
    parser.add_argument("--scale", type=float, default=1, help="factor that every image is resized by first")
    parser.add_argument("--crop", type=int, default=96, help="extent of crops in pixels, a multiple of 8")
    parser.add_argument("--batch", type=int, default=8, help="crops a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--width", type=int, default=20, help="channels of the first level, a multiple of 4")
    parser.add_argument("--top", default="1", help="numbers of patches whose area an image's score is the mean of, joined by commas")
    parser.add_argument("--smoothing", type=float, default=2, help="deviation of the blur of maps in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--maps", help="folder to write score maps of the test's images to, as .npy")
    parser.add_argument("--out", help="file of the result, JSON")
    o = parser.parse_args()
    if o.check:
        return check(o.check, o.masks)
    missing = [n for n in ("normal", "defects", "test_normal", "test_defects", "images", "seconds", "out") if not getattr(o, n)]
    if missing:
        sys.exit("unet: --" + missing[0].replace("_", "-") + " is not given")
    import torch
    torch.set_num_threads(1)
    labelled = [read(o.images, o.masks, name, o.scale) for name in names_of(o.defects)]
    normal = [read(o.images, "", name, o.scale) for name in names_of(o.normal)]
    net, steps = train(torch, o, labelled, normal)
    net.eval()
    tops = [int(k) for k in o.top.split(",")]
    figures = {k: Figures() for k in tops}
    seconds = time.process_time()
    count = 0
    for names, defect in ((names_of(o.test_normal), False), (names_of(o.test_defects), True)):
        for name in names:
            image, mask = read(o.images, o.masks if defect else "", name, o.scale)
            pad = [(0, -n % 8) for n in image.shape]
            padded = torch.from_numpy((numpy.pad(image, pad, "reflect") - 0.5) / 0.25)[None, None]
            with torch.no_grad():
                logits = net(padded)[0, :image.shape[0], :image.shape[1]].numpy()
            count += 1
            heat = blurred(logits, o.smoothing)
            if o.maps:
                os.makedirs(o.maps, exist_ok=True)
                numpy.save(os.path.join(o.maps, os.path.splitext(os.path.basename(name))[0] + ".npy"), heat)
            numbers = regions(mask)
            highest = numpy.sort(logits.ravel())[::-1]
            for k in tops:
                figures[k].add(float(highest[:64 * k].mean()), defect, heat, numbers)
    out = {"peer": "unet", "torch": torch.__version__, "parameters": sum(p.numel() for p in net.parameters()), "steps": steps,
           "labelled": len(labelled), "normal": len(normal), "milliseconds": 1000 * (time.process_time() - seconds) / count,
           "settings": {k: v for k, v in vars(o).items() if k not in ("check", "out", "maps")},
           "top": {str(k): figures[k].result() for k in tops}}
    with open(o.out, "w") as file:
        json.dump(out, file, indent=1)
        file.write("\n")
    for k in tops:
        print(k, {n: round(100 * v, 1) for n, v in out["top"][str(k)].items()}, flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Every recipe of dssl-pretrain for a few minutes on synthetic scenes: does it train, collapse, and beat random weights?

    benchmarks/recipes.py --out FOLDER [--programs FOLDER] [--epochs N] [--recipes byol,simclr,...]

Makes scenes, pretrains nano8 by each recipe on the same images for the same number of passes, and measures the backbone's
frozen patch features by dense retrieval on held-out scenes; recipes.md in --out is the table. A run that is there already
is not made again.
"""
import argparse
import json
import os
import subprocess
import sys

RECIPES = ["dino", "densedino", "feature-map", "ibot", "dinov2", "swav", "byol", "simsiam", "simclr", "moco-v2", "moco-v3",
           "barlow-twins", "vicreg", "densecl", "pixpro"]
COMMON = ["--arch", "nano8", "--batch", "16", "--views-global", "64", "--warmup-epochs", "2", "--weight-decay-end", "0.1",
          "--stochastic-depth", "0", "--global-scale", "0.25", "1"]
OWN = {
    "prototypes": ["--views-local", "32", "--locals", "2", "--local-scale", "0.05", "0.4", "--prototypes", "256", "--lr",
                   "0.02", "--momentum", "0.99"],
    "swapped": ["--views-local", "32", "--locals", "2", "--local-scale", "0.05", "0.4", "--prototypes", "256", "--lr", "0.02"],
    "teacher": ["--lr", "0.01", "--momentum", "0.99"],
    "none": ["--lr", "0.01"],
}
KINDS = {
    **dict.fromkeys(["dino", "densedino", "feature-map", "ibot", "dinov2"], "prototypes"), "swav": "swapped",
    **dict.fromkeys(["byol", "moco-v2", "moco-v3", "densecl", "pixpro"], "teacher"),
}


def run(command, **more):
    print("==", " ".join(command), flush=True)
    subprocess.run(command, check=True, **more)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--programs", default="build/release/examples")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    options = parser.parse_args()

    def program(name):
        return os.path.join(options.programs, name)

    scenes = os.path.join(options.out, "scenes")
    if not os.path.exists(scenes):
        run([program("dssl-scenes"), "--out", scenes, "--train", "400", "--val", "80", "--size", "96", "--classes", "5"])

    def retrieved(weights, out):
        if not os.path.exists(os.path.join(out, "result.json")):
            run([program("dssl-retrieve"), "--data", scenes, "--weights", weights, "--arch", "nano8", "--classes", "5", "--size",
                 "96", "--by", "retrieval", "--out", out], stdout=subprocess.DEVNULL)
        with open(os.path.join(out, "result.json")) as file:
            return json.load(file)["retrieval"]["miou"]

    rows = [("random weights", "", "", "", retrieved("random", os.path.join(options.out, "random")))]
    for recipe in options.recipes.split(","):
        out = os.path.join(options.out, recipe)
        kind = KINDS.get(recipe, "none")
        own = list(OWN[kind])
        own += ["--image-all-views"] if recipe in ("dino", "densedino", "feature-map") else []
        own += ["--points", "4"] if recipe in ("densedino", "feature-map") else []
        own += ["--queue", "1024"] if recipe in ("moco-v2", "densecl") else []
        if not os.path.exists(os.path.join(out, "teacher.safetensors")):
            run([program("dssl-pretrain"), "--data", scenes, "--split", "train", "--recipe", recipe, "--epochs",
                 str(options.epochs), *COMMON, *own, "--overwrite", "--out", out], stdout=subprocess.DEVNULL)
        with open(os.path.join(out, "metrics.jsonl")) as file:
            steps = [json.loads(line) for line in file]
        rows.append((recipe, f"{steps[0]['loss']:.3f} to {steps[-1]['loss']:.3f}", f"{steps[-1]['feature_spread']:.3f}",
                     steps[-1]["collapse"], retrieved(os.path.join(out, "teacher.safetensors"), out + "-retrieve")))
        rows[-1] += (sum(step["seconds"] for step in steps),)

    lines = ["| recipe | loss, first to last step | spread of class features | collapse | retrieval, mIoU % | seconds |",
             "|---|---|---|---|---|---|"]
    for recipe, loss, spread, collapse, miou, *seconds in rows:
        lines.append(f"| {recipe} | {loss} | {spread} | {collapse} | {100 * miou:.1f} | "
                     f"{'' if not seconds else format(seconds[0], '.0f')} |")
    with open(os.path.join(options.out, "recipes.md"), "w") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

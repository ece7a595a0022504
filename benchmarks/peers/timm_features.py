#!/usr/bin/env python3
"""Features of a ViT of timm, for run.py: the peer of `dssl-features --weights FILE --images FILE`.

    timm_features.py --write-start FOLDER --arch vit_base_patch16_224 --size 224 --batch 1
    timm_features.py --serve FOLDER --arch ... --size ... --batch ... [--threads N] [--precision bf16] [--compile [max]]

Weights are timm's own at initialisation (no network is asked), but for LayerScale, which is 1: at its 1e-5 every block
would be left out, and a difference between two programs with it. FOLDER gets weights.safetensors, under timm's names, and
images.safetensors. Commands on stdin: served.py; `check` gives three sums over class tokens and patch maps.
Needs PyTorch, timm and safetensors.
"""

import argparse
import contextlib
import os

import safetensors.torch
import served
import timm
import torch


def model_of(options):
    return timm.create_model(options.arch, pretrained=False, num_classes=0, img_size=options.size)


def write_start(folder, options):
    torch.manual_seed(1)
    model = model_of(options)
    weights = {name: torch.ones_like(w) if name.endswith(".gamma") else w.contiguous() for name, w in model.state_dict().items()}
    safetensors.torch.save_file(weights, os.path.join(folder, "weights.safetensors"))
    images = torch.randn(options.batch, 3, options.size, options.size)
    safetensors.torch.save_file({"images": images}, os.path.join(folder, "images.safetensors"))


def serve(folder, options):
    at_start = served.status_bytes("VmRSS")
    model = model_of(options)
    model.load_state_dict(safetensors.torch.load_file(os.path.join(folder, "weights.safetensors")), strict=True)
    model.eval().requires_grad_(False)
    images = safetensors.torch.load_file(os.path.join(folder, "images.safetensors"))["images"]
    forward = model.forward_features
    if options.compile:
        forward = torch.compile(forward, mode="max-autotune" if options.compile == "max" else "default")
    if options.precision == "bf16":  # once: autocast would cast the weights of layers in each pass, as it keeps none without gradients
        for layer in model.modules():
            if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
                layer.to(torch.bfloat16)
    lower = torch.autocast("cpu", torch.bfloat16) if options.precision == "bf16" else contextlib.nullcontext()

    @torch.no_grad()
    def features():
        with lower:
            return forward(images)

    def sums():
        tokens = features().double()
        class_token, patch = tokens[:, 0], tokens[:, model.num_prefix_tokens :]
        return [float(class_token.abs().mean()), float(patch.abs().mean()), float(patch.square().mean())]

    description = {
        "library": f"timm {timm.__version__}, PyTorch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mode": f"torch.compile ({options.compile})" if options.compile else "eager",
        "precision": options.precision + (", layers' weights cast once" if options.precision == "bf16" else ""),
        "malloc": os.environ.get("GLIBC_TUNABLES", ""),
    }
    served.answer(description, at_start, sums, features)


def main():
    parser = argparse.ArgumentParser(description="Features of a ViT of timm.")
    parser.add_argument("--write-start", metavar="FOLDER")
    parser.add_argument("--serve", metavar="FOLDER")
    parser.add_argument("--arch", required=True, help="as timm calls it")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--compile", nargs="?", const="default", choices=("default", "max"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    if options.write_start:
        write_start(options.write_start, options)
    elif options.serve:
        serve(options.serve, options)
    else:
        parser.error("nothing to do: --write-start or --serve")


if __name__ == "__main__":
    main()

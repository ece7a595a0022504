"""What dssl-convert writes is loaded strictly by the code of other families, and gives the features that dssl gives.

Usage: strict_loads.py DSSL_CONVERT FOLDER_OF_CASES   (or the folder that the environment's DSSL_INTEROP names)

Every case of the folder is written under the names of timm, of torchvision and of Transformers, as safetensors and as .pth,
loaded with nothing missing or unexpected, and run on the case's own image at the size of its position table (of what rotates, with
the periods that the file keeps): the tokens are those of expect.safetensors, which dssl gives too (tests/features/published.cpp), within 2e-5 of the largest magnitude. So is
what had LayerScale before dssl multiplied it into the layers before it, as every run that begins with such weights does. Ends
with 77 and a line, which a test runner takes for skipped, where the packages are not installed. Where DINOv2's own code is
installed too (pip install --no-deps dinov2: of before the registers), it loads what is written under its names.
"""
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

try:
    import safetensors.torch
    import timm
    import torch
    import transformers
    import torchvision
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
try:
    from dinov2.models.vision_transformer import DinoVisionTransformer
except ImportError as missing:
    DinoVisionTransformer = None
    print(f"DINOv2's own code is not tried: {missing} (pip install --no-deps dinov2)")

convert, cases = sys.argv[1], pathlib.Path(os.environ.get("DSSL_INTEROP") or sys.argv[2])
tolerance = 2e-5
# Why a backbone may be refused: another family has no names for a part, or other norms.
no_such_names = ("no names here", "its code would compute other features", "which no mlp_ratio of Transformers' Dinov2 gives")


def written(source, out, family, *options):
    """Converts; what is not written is told by None."""
    run = subprocess.run([convert, str(source), str(out), "--as", family, *options], capture_output=True, text=True)
    if run.returncode != 0:
        said = run.stderr.strip().splitlines()
        assert run.returncode == 1 and len(said) == 1, f"{source} as {family}: status {run.returncode}, {run.stderr}"
        assert any(words in said[0] for words in no_such_names), f"{source} as {family}: refused by '{said[0]}'"
        print(f"    refused: {said[0]}")
        return None
    return out


def difference(own, expected):
    return float((own.double() - expected.double()).abs().max() / expected.double().abs().max())


def rotary_timm_tokens(path, facts, state, image):
    name = ("vit_small_plus_patch16_dinov3" if "blocks.0.mlp.fc1_g.weight" in state else "vit_small_patch16_dinov3") + \
        ("_qkvb" if "blocks.0.attn.q_bias" in state else "")
    model = timm.create_model(
        name, img_size=facts["image"], patch_size=facts["patch"], embed_dim=facts["width"], depth=facts["depth"], num_heads=facts["heads"],
        mlp_ratio=state["blocks.0.mlp.fc2.weight"].shape[1] / facts["width"], num_classes=0)
    model.load_state_dict(state, strict=True)
    if facts["periods"] is not None:
        model.rope.periods.copy_(facts["periods"])
        if model.rope.pos_embed_cached is not None:
            model.rope._cache_embed(model.rope.feat_shape)
    return model.eval().forward_features(image)


def timm_tokens(path, facts, state, image):
    if "blocks.0.gamma_1" in state:
        return rotary_timm_tokens(path, facts, state, image)
    model = timm.models.VisionTransformer(
        img_size=facts["image"], patch_size=facts["patch"], embed_dim=facts["width"], depth=facts["depth"],
        num_heads=facts["heads"], mlp_ratio=facts["hidden"] / facts["width"], num_classes=0, global_pool="",
        init_values=1.0 if facts["scaled"] else None, reg_tokens=facts["registers"],
        no_embed_class=state["pos_embed"].shape[1] == (facts["image"] // facts["patch"]) ** 2, norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6))
    model.load_state_dict(state, strict=True)
    return model.eval()(image)


def torchvision_tokens(path, facts, state, image):
    model = torchvision.models.VisionTransformer(
        image_size=facts["image"], patch_size=facts["patch"], num_layers=facts["depth"], num_heads=facts["heads"],
        hidden_dim=facts["width"], mlp_dim=facts["hidden"])
    model.heads = torch.nn.Identity()
    model.load_state_dict(state, strict=True)
    model.eval()
    patches = model._process_input(image)
    return model.encoder(torch.cat([model.class_token.expand(len(image), -1, -1), patches], 1))


def require_same_pixels(path):
    """The inputs that Transformers makes by what lies beside the weights: stretched, bilinear, normalised."""
    said = json.loads((path / "preprocessor_config.json").read_text())
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    pixels = torch.randint(0, 256, (3, said["size"]["height"], said["size"]["width"]), dtype=torch.uint8)
    made = processor(images=pixels, return_tensors="pt")["pixel_values"][0]
    mean, deviation = (torch.tensor(said[name])[:, None, None] for name in ("image_mean", "image_std"))
    assert torch.allclose(made, (pixels / 255 - mean) / deviation, atol=1e-5), f"{path}: other pixels"


def hf_tokens(path, facts, state, image):
    require_same_pixels(path)
    kind = json.loads((path / "config.json").read_text())["architectures"][0]
    options = {"add_pooling_layer": False} if kind == "ViTModel" else {}
    model, info = getattr(transformers, kind).from_pretrained(path, output_loading_info=True, **options)
    assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    if facts["periods"] is not None:  # that this code computes, and the file keeps rounded
        model.rope_embeddings.inv_freq = 1 / facts["periods"]
    return model.eval()(image).last_hidden_state


def dinov2_tokens(path, facts, state, image):
    model = DinoVisionTransformer(
        img_size=facts["image"], patch_size=facts["patch"], embed_dim=facts["width"], depth=facts["depth"],
        num_heads=facts["heads"], block_chunks=0,
        # Its SwiGLU takes two thirds of what it is asked for, and rounds up to a multiple of 8.
        mlp_ratio=(1.5 * facts["gated"] if facts["gated"] else facts["hidden"]) / facts["width"], init_values=1.0 if facts["scaled"] else None,
        ffn_layer="swiglu" if facts["gated"] else "mlp")
    model.load_state_dict(state, strict=True)
    tokens = model.eval().forward_features(image)
    return torch.cat([tokens["x_norm_clstoken"][:, None], tokens["x_norm_patchtokens"]], 1)


def loaded(family, tokens, out, image, expected, known):
    """Loads what was written and runs it; how far it is from what is expected, None where it is not built here."""
    name = next(out / name for name in ("model.safetensors", "pytorch_model.bin") if (out / name).exists())
    state = safetensors.torch.load_file(name) if name.suffix == ".safetensors" else torch.load(name, weights_only=True)
    first = next(key for key in state if key.endswith(("norm1.weight", "ln_1.weight", "layernorm_before.weight")))
    if family != "hf" and any(tensor.shape[0] == 0 for tensor in state.values() if tensor.dim()):
        raise AssertionError("an empty tensor")
    facts = {"image": image.shape[-1], "heads": known["heads"], "width": state[first].shape[0],
             "patch": next(t.shape[-1] for t in state.values() if t.dim() == 4),
             "depth": sum(key.endswith(first.split(".", 3)[-1] if family not in ("timm", "dinov2") else "norm1.weight") for key in state),
             "hidden": next((t.shape[0] for key, t in state.items() if key.endswith(("mlp.fc1.weight", "mlp.0.weight"))), 0),
             "registers": state["reg_token"].shape[1] if "reg_token" in state else 0,
             "scaled": any(key.endswith("ls1.gamma") for key in state),
             "periods": known.get("stored_periods"),
             "gated": state["blocks.0.mlp.w3.weight"].shape[1] if "blocks.0.mlp.w3.weight" in state else 0}
    if family == "timm" and facts["hidden"] and state.get("blocks.0.mlp.fc2.weight", torch.empty(0, 0)).shape[1] != facts["hidden"]:
        print("    timm: SwiGLU, not built here")
        return None
    if family == "dinov2" and "register_tokens" in state:
        print("    dinov2: registers, which came after the packaged code")
        return None
    with torch.no_grad():
        own = tokens(out, facts, state, image)
    own = torch.cat([own[:, :1], own[:, own.shape[1] - expected.shape[1] + 1:]], 1)
    error = difference(own, expected)
    print(f"    {family} {name.suffix[1:]}: {error:.1e}")
    assert error < tolerance, f"{out} as {family}: {error}"
    return error


def folded_loads(source, folder, image, expected, known, heads):
    """How many strict loads there are of a backbone with LayerScale that was folded; ones where it had none."""
    scaled, folded = folder / "scaled.safetensors", folder / "folded.safetensors"
    if written(source, scaled, "dinov2", *heads) is None or written(scaled, folded, "densedino", *heads) is None:
        return 0
    with safetensors.safe_open(folded, "pt") as file:
        assert not any("gamma" in name for name in file.keys())
    # These loads want it: the model that timm has of these weights is built with it, and Transformers' is a Dinov2.
    for family, tokens in (("timm", lambda path, facts, *rest: timm_tokens(path, {**facts, "scaled": True}, *rest)), ("hf", hf_tokens)):
        out = folder / f"folded_{family}"
        out.mkdir()
        assert written(folded, out / "model.safetensors", family, *heads), f"{source}: folded, it is refused as {family}"
        if family == "hf":
            assert json.loads((out / "config.json").read_text())["architectures"] == ["Dinov2Model"]
        loaded(family, tokens, out, image, expected, known)
        shutil.rmtree(out)
    return 2


def main():
    families = [("timm", timm_tokens), ("torchvision", torchvision_tokens), ("hf", hf_tokens)]
    if DinoVisionTransformer:
        families.append(("dinov2", dinov2_tokens))
    seen, refused, ran, folded, worst = {}, {}, 0, 0, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for case in sorted(cases.iterdir()):
            weights = next((case / name for name in ("weights.pth", "model.safetensors") if (case / name).exists()), None)
            if weights is None or not (case / "expect.safetensors").exists():
                continue
            with safetensors.safe_open(case / "expect.safetensors", "pt") as file:
                if not {"native.image", "native.class", "native.patches"} <= set(file.keys()):
                    continue
                expected = torch.cat([file.get_tensor("native.class")[:, None], file.get_tensor("native.patches")], 1)
                image = file.get_tensor("native.image").float()
                known = json.loads(file.metadata()["dssl-interop"])
            if weights.name == "weights.pth" and "dinov3" in case.name:
                known["stored_periods"] = torch.load(weights, weights_only=True)["rope_embed.periods"].float()
            heads = ["--heads", str(known["heads"])]
            print(case.name)
            ran += 1
            for family, tokens in families:
                for ending in ("safetensors", "pth"):
                    out = folder / f"{case.name}_{family}_{ending}"
                    out.mkdir()
                    name = out / ("model.safetensors" if ending == "safetensors" else "pytorch_model.bin")
                    if written(weights, name, family, *heads) is None:
                        refused[family] = refused.get(family, 0) + 1
                        break
                    error = loaded(family, tokens, out, image, expected, known)
                    if error is None:
                        break
                    worst[family] = max(worst.get(family, 0), error)
                    seen[family] = seen.get(family, 0) + 1
            folded += folded_loads(weights, folder, image, expected, known, heads)
    dinov2 = (seen.pop("dinov2", 0), refused.pop("dinov2", 0))
    seen, refused = sum(seen.values()), sum(refused.values())
    print(f"{seen + dinov2[0]} strict loads and {folded} after LayerScale was folded, largest differences " + ", ".join(f"{family} {error:.1e}" for family, error in worst.items()))
    # Of the cases in the source tree, and of the whole set.
    counts = {3: (12, 3), 49: (242, 22)}
    dinov2_counts = {3: (2, 2), 49: (66, 12)}
    folded_counts = {3: 2, 49: 62}
    assert ran in counts and (seen, refused) == counts[ran], f"{ran} cases, {seen} loads, {refused} refused; expected {counts}"
    assert folded == folded_counts[ran], f"{ran} cases, {folded} loads after LayerScale was folded; expected {folded_counts}"
    if DinoVisionTransformer:
        assert dinov2 == dinov2_counts[ran], f"DINOv2's own code: {dinov2}, expected {dinov2_counts[ran]}"


main()

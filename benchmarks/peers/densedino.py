#!/usr/bin/env python3
"""The published DenseDINO step, stated in PyTorch: the peer that dssl's speed is compared with.

    densedino.py --check tests/fixtures            compares this statement with the reference numbers
    densedino.py --serve START [--precision bf16] [--compile] ...
                                                   makes steps from a file that dssl-step wrote, one a line of stdin
    densedino.py --serve START --device cuda ...   the same on a GPU, from a file that dssl-cuda-step wrote

What a step computes is docs/method.md; names of modules give the published parameter names. What the published
code computes and nobody reads (heads on views that the loss leaves out, points of a view with itself) is computed
here too, unless --lean is given. Everything else is arranged as PyTorch likes it best: views of one size are one
batch, attention goes through scaled_dot_product_attention, the optimiser is the fused one, the teacher and the
clipping go through the foreach functions. On a GPU views and points come from pinned memory in every step, and the
host waits once a step, for the losses.

Commands of --serve, a line each on stdin; a line each comes back on stdout:
    step    a training step with stochastic depth drawn          -> seconds
    check   a training step with the file's own multipliers      -> losses (total, image, point), gradient norm
    peak    largest resident memory since the first `step`, and what it was before the model was made, in bytes;
            on a GPU torch.cuda.max_memory_allocated since then, and 0
The commands of `--task features` are the same but for `check`, which gives three sums over the feature map.
"""

import argparse
import contextlib
import glob
import math
import os

import numpy
import torch
import torch.nn.functional as F
from torch import nn

import served
from tensor_file import read_case

# Rows attend to columns, in the order class, reference, patch. n: none, s: itself only, f: full.
RELATIONS = {
    "020": ("fff", "fff", "fff"),
    "all2pos": ("fnf", "fnf", "fnf"),
    "all2pos_pos2cls": ("fnf", "nnf", "fnf"),
    "all2pos_pos2cls_eye": ("fnf", "nsf", "fnf"),
    "all_query": ("snf", "nsf", "nnf"),
}


def attention_mask(relation, references, patches):
    """(T,T) of booleans, true where a row sees a column; tokens in the order class, references, patches."""
    counts = (1, references, patches)
    rows = []
    for row, sees in enumerate(RELATIONS[relation]):
        cells = []
        for column, kind in enumerate(sees):
            shape = (counts[row], counts[column])
            if kind == "s":
                cells.append(torch.eye(counts[row], dtype=torch.bool))
            else:
                cells.append(torch.full(shape, kind == "f", dtype=torch.bool))
        rows.append(torch.cat(cells, dim=1))
    return torch.cat(rows, dim=0)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x, references, mask):
        """x (S,T,D). `mask` (T,T), or None for the private relation by parts, which needs no mask."""
        s, t, d = x.shape
        q, k, v = self.qkv(x).view(s, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if mask is not None:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        elif references == 0:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = self.private(q, k, v, references)
        return self.proj(out.transpose(1, 2).reshape(s, t, d))

    @staticmethod
    def private(q, k, v, references):
        """Class and patches see class and patches; a reference sees the patches and itself."""
        end = 1 + references

        def content(x):
            return torch.cat((x[:, :, :1], x[:, :, end:]), dim=2)

        seen = F.scaled_dot_product_attention(content(q), content(k), content(v))
        q_r, k_r, v_r = (x[:, :, 1:end] for x in (q, k, v))
        scores = torch.cat((q_r @ k[:, :, end:].transpose(-2, -1), (q_r * k_r).sum(-1, keepdim=True)), dim=-1)
        p = torch.softmax(scores.float() / math.sqrt(q.shape[-1]), dim=-1).to(v.dtype)
        own = p[..., :-1] @ v[:, :, end:] + p[..., -1:] * v_r
        return torch.cat((seen[:, :, :1], own.to(seen.dtype), seen[:, :, 1:]), dim=2)


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)

    def forward(self, x, references, mask, keep):
        """`keep` (2,S): multipliers of the two branches, or None."""
        branch = self.attn(self.norm1(x), references, mask)
        x = x + (branch if keep is None else branch * keep[0, :, None, None])
        branch = self.mlp(self.norm2(x))
        return x + (branch if keep is None else branch * keep[1, :, None, None])


class PatchEmbed(nn.Module):
    def __init__(self, patch, channels, width):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, images):
        """(S,C,H,W) -> (S,N,D), and the grid. A convolution whose pieces do not overlap is a matrix product."""
        s, c, height, width = images.shape
        p = self.proj.kernel_size[0]
        h, w = height // p, width // p
        pieces = images.view(s, c, h, p, w, p).permute(0, 2, 4, 1, 3, 5).reshape(s, h * w, c * p * p)
        return F.linear(pieces, self.proj.weight.flatten(1), self.proj.bias), (h, w)


class Backbone(nn.Module):
    def __init__(self, image, patch, channels, width, depth, heads, ratio, relation, learned=False, attention="split"):
        super().__init__()
        self.table = image // patch
        self.relation = relation
        self.attention = attention
        self.masks = {}
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.cls_pos_embed = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_pos_embed = nn.Parameter(torch.zeros(1, self.table**2, width))
        if learned:
            self.ref_learn_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embed = PatchEmbed(patch, channels, width)
        self.blocks = nn.ModuleList(Block(width, heads, int(ratio * width)) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def grid_read(self, h, w):
        """The position table at another size: (1,h*w,D)."""
        if (h, w) == (self.table, self.table):
            return self.patch_pos_embed
        # Source coordinate (i + 0.5) g / (h + 0.1) - 0.5: the scale is given, the size follows from it.
        scale = ((h + 0.1) / self.table, (w + 0.1) / self.table)
        out = F.interpolate(self.x_table(), scale_factor=scale, mode="bicubic", align_corners=False)
        return out.flatten(2).transpose(1, 2)

    def point_read(self, points):
        """The native table at points (S,R,2) of [-1,1]^2: (S,R,D)."""
        s, r, _ = points.shape
        grid = points.reshape(1, s * r, 1, 2)
        out = F.grid_sample(self.x_table(), grid, mode="bicubic", padding_mode="zeros", align_corners=False)
        return out.reshape(-1, s, r).permute(1, 2, 0)

    def x_table(self):
        return self.patch_pos_embed.transpose(1, 2).reshape(1, -1, self.table, self.table)

    def mask(self, references, patches):
        """None where plain attention by parts will do."""
        if references == 0 and self.relation != "all_query":
            return None
        if self.relation == "all2pos_pos2cls_eye" and self.attention == "split":
            return None
        key = (references, patches)
        if key not in self.masks:
            self.masks[key] = attention_mask(self.relation, references, patches).to(self.cls_token.device)
        return self.masks[key]

    def forward(self, images, points, keep):
        """images (S,C,H,W), points (S,R,2) or None, keep (depth,2,S) or None -> class (S,D), reference, patch."""
        x, (h, w) = self.patch_embed(images)
        s, n, _ = x.shape
        parts = [(self.cls_token + self.cls_pos_embed).expand(s, -1, -1)]
        references = 0
        if points is not None:
            references = points.shape[1]
            own = self.point_read(points)
            parts.append(own + self.ref_learn_token if hasattr(self, "ref_learn_token") else own)
        x = torch.cat((*parts, x + self.grid_read(h, w)), dim=1)
        mask = self.mask(references, n)
        for i, block in enumerate(self.blocks):
            x = block(x, references, mask, None if keep is None else keep[i])
        x = self.norm(x)
        return x[:, 0], x[:, 1 : 1 + references], x[:, 1 + references :]


class Prototypes(nn.Module):
    """A linear layer whose rows are g v/|v|; g is fixed."""

    def __init__(self, inputs, count):
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(count, 1), requires_grad=False)
        self.weight_v = nn.Parameter(torch.zeros(count, inputs))

    def forward(self, x):
        return F.linear(x, torch._weight_norm(self.weight_v, self.weight_g, 0))


class Head(nn.Module):
    def __init__(self, width, hidden, bottleneck, prototypes):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.last_layer = Prototypes(bottleneck, prototypes)

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x).float(), dim=-1, eps=1e-12))


class Network(nn.Module):
    def __init__(self, backbone, head, reference_head):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.ref_head = reference_head


def level_rows(views, batch, points, all_views):
    """Rows of the student (v,b,q,k) and of the teacher (q,b,v,k) that are compared, and the number of view pairs.

    `points` 0: the image level, whose student rows are (v,b) and whose teacher rows are (q,b).
    """
    student, teacher = [], []
    pairs = 0
    for v in range(views if all_views else 2):
        for q in (q for q in range(2) if q != v):
            pairs += 1
            for b in range(batch):
                if points == 0:
                    student.append(v * batch + b)
                    teacher.append(q * batch + b)
                for k in range(points):
                    student.append(((v * batch + b) * 2 + q) * points + k)
                    teacher.append(((q * batch + b) * views + v) * points + k)
    return torch.tensor(student), torch.tensor(teacher), pairs


class Level:
    """One level of the objective: which rows are compared, the centre, the loss."""

    def __init__(self, views, batch, points, all_views, prototypes, momentum, student_temperature, device="cpu"):
        self.student_rows, self.teacher_rows, self.pairs = level_rows(views, batch, points, all_views)
        if points == 0:
            self.centre_rows = torch.arange(2 * batch)
        else:
            rows = torch.arange(2 * batch * views * points).view(2, batch, views, points)
            self.centre_rows = rows[:, :, :2].flatten()
        self.centre = torch.zeros(prototypes)
        self.momentum = momentum
        self.student_temperature = student_temperature
        # --lean: only these rows go through the student's head, each once.
        self.lean_rows, self.lean_index = torch.unique(self.student_rows, return_inverse=True)
        for name in ("student_rows", "teacher_rows", "centre_rows", "centre", "lean_rows", "lean_index"):
            setattr(self, name, getattr(self, name).to(device))

    def targets(self, logits, temperature):
        """Probabilities of the teacher's rows (M,P), and their mean for the centre."""
        logits = logits.float()
        mean = logits[self.centre_rows].mean(0)
        return torch.softmax((logits - self.centre) / temperature, dim=-1), mean

    def loss(self, logits, targets, lean=False):
        log_q = torch.log_softmax(logits.float() / self.student_temperature, dim=-1)
        rows = self.lean_index if lean else self.student_rows
        sums = (targets[self.teacher_rows] * log_q[rows]).sum()
        return -sums / (len(rows) / self.pairs) / (self.pairs + 1e-5)

    def move_centre(self, mean):
        self.centre.lerp_(mean, 1 - self.momentum)


def autocast(options):
    if options.precision == "bf16":
        return torch.autocast(options.device, dtype=torch.bfloat16)
    return contextlib.nullcontext()


class Step:
    """Student, teacher, optimiser, and one training step."""

    def __init__(self, config, weights, options):
        self.config = config
        self.options = options
        self.device = options.device
        self.views = len(config["sizes"])
        self.batch = config["batch"]
        self.points = config["points"]
        self.student = self.x_network(weights)
        self.teacher = self.x_network(weights)
        self.teacher.requires_grad_(False)
        level = dict(
            views=self.views, batch=self.batch, prototypes=config["head_prototypes"],
            momentum=config["center_momentum"], student_temperature=config["student_temp"], device=self.device,
        )
        self.image = Level(points=0, all_views=False, **level)
        self.point = Level(points=self.points, all_views=True, **level)
        self.x_group_views()
        self.x_make_optimiser()
        self.student_loss = self.x_student_loss
        self.teacher_pass = self.x_teacher_pass
        self.update_teacher = self.x_update_teacher
        if options.compile:
            if options.compile == "max":
                torch._inductor.config.max_autotune = True
                if self.device == "cpu":
                    torch._inductor.config.max_autotune_gemm_backends = "CPP,ATEN"
            self.student_loss = torch.compile(self.x_student_loss)
            self.teacher_pass = torch.compile(self.x_teacher_pass)

    def x_network(self, weights):
        c = self.config
        backbone = Backbone(
            c["vit_image"], c["vit_patch"], c["vit_channels"], c["vit_dim"], c["vit_depth"], c["vit_heads"],
            c["vit_ratio"], c["relation"], c.get("vit_learnable_reference", False), self.options.attention,
        )
        heads = (Head(c["vit_dim"], c["head_hidden"], c["head_bottleneck"], c["head_prototypes"]) for _ in range(2))
        network = Network(backbone, *heads)
        network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
        return network.to(self.device)

    def x_group_views(self):
        """Runs of views of one size: each is one batch."""
        self.groups = []
        for v, size in enumerate(self.config["sizes"]):
            if self.groups and self.config["sizes"][self.groups[-1][0]] == size:
                self.groups[-1].append(v)
            else:
                self.groups.append([v])

    def x_make_optimiser(self):
        named = [(n, p) for n, p in self.student.named_parameters() if p.requires_grad]
        self.trained = [p for _, p in named]
        self.prototypes = [p for n, p in named if "last_layer" in n]
        groups = [
            {"params": [p for p in self.trained if p.ndim >= 2], "decays": True},
            {"params": [p for p in self.trained if p.ndim < 2], "decays": False, "weight_decay": 0.0},
        ]
        kind = self.config.get("optimizer", "adamw")
        if kind == "adamw":
            self.optimiser = torch.optim.AdamW(groups, lr=0.0, fused=self.options.fused)
        elif kind == "sgd":
            self.optimiser = torch.optim.SGD(groups, lr=0.0, momentum=0.9)
        else:
            raise ValueError(f"no optimiser {kind}")

    def autocast(self):
        return autocast(self.options)

    def x_teacher_pass(self, images, points, temperature):
        tokens, references, _ = self.teacher.backbone(images, points, None)
        image, image_mean = self.image.targets(self.teacher.head(tokens), temperature)
        point, point_mean = self.point.targets(self.teacher.ref_head(references).flatten(0, 1), temperature)
        return image, point, image_mean, point_mean

    def x_student_loss(self, images, points, keeps, image_targets, point_targets):
        tokens, references = [], []
        for group_images, group_points, keep in zip(images, points, keeps):
            class_token, reference, _ = self.student.backbone(group_images, group_points, keep)
            tokens.append(class_token)
            references.append(reference)
        tokens = torch.cat(tokens)
        references = torch.cat(references).flatten(0, 1)
        lean = self.options.lean
        if lean:
            tokens = tokens[self.image.lean_rows]
            references = references[self.point.lean_rows]
        image = self.image.loss(self.student.head(tokens), image_targets, lean)
        point = self.point.loss(self.student.ref_head(references), point_targets, lean)
        alpha = self.config["alpha"]
        return alpha * image + (1 - alpha) * point, image.detach(), point.detach()

    @torch.no_grad()
    def x_clip(self):
        """Every tensor's gradient to norm `clip` at most. Returns the norm of all gradients before that, a tensor."""
        gradients = [p.grad for p in self.trained]
        norms = torch.stack(torch._foreach_norm(gradients))
        clip = self.config["clip"]
        if clip > 0 and self.device == "cuda":  # without asking the device which tensors need it
            torch._foreach_mul_(gradients, list((clip / (norms + 1e-6)).clamp(max=1).unbind()))
        elif clip > 0:
            for gradient, norm in zip(gradients, norms.tolist()):
                if norm + 1e-6 > clip:
                    gradient.mul_(clip / (norm + 1e-6))
        return norms.double().square().sum().sqrt()

    @torch.no_grad()
    def x_update_teacher(self, momentum):
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), 1 - momentum)

    def draw_keep(self):
        """Multipliers of stochastic depth (depth,2,V*B): the rate grows linearly over the blocks."""
        rate = self.config["stochastic_depth"]
        if rate == 0:
            return None
        keep = 1 - torch.linspace(0, rate, self.config["vit_depth"], device=self.device).view(-1, 1, 1)
        return torch.bernoulli(keep.expand(-1, 2, self.views * self.batch)) / keep

    def step(self, views, teacher_points, student_points, keep, numbers, freeze=False):
        """One update. views: a (B,C,h,w) each; points (2,B,V,K,2) and (V,B,2,K,2); keep (depth,2,V*B) or None.

        numbers: learning_rate, weight_decay, momentum, teacher_temp. Returns losses and the gradient norm.
        """
        if self.device == "cuda":
            views = [v.to(self.device, non_blocking=True) for v in views]
            points = (teacher_points, student_points)
            teacher_points, student_points = (p.to(self.device, non_blocking=True) for p in points)
            keep = None if keep is None else keep.to(self.device, non_blocking=True)
        with self.autocast():
            with torch.no_grad():
                image_targets, point_targets, image_mean, point_mean = self.teacher_pass(
                    torch.cat(views[:2]), teacher_points.reshape(2 * self.batch, -1, 2), numbers["teacher_temp"]
                )
            images, points, keeps = [], [], []
            for group in self.groups:
                images.append(torch.cat([views[v] for v in group]))
                points.append(student_points[group[0] : group[-1] + 1].reshape(len(group) * self.batch, -1, 2))
                cut = slice(group[0] * self.batch, (group[-1] + 1) * self.batch)
                keeps.append(None if keep is None else keep[:, :, cut])
            total, image, point = self.student_loss(images, points, keeps, image_targets, point_targets)
        losses = torch.stack((total.detach(), image, point))
        if self.device == "cpu" and not math.isfinite(losses[0]):
            raise FloatingPointError("the loss is not finite")
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = self.x_clip()
        if freeze:
            for p in self.prototypes:
                p.grad = None
        for group in self.optimiser.param_groups:
            group["lr"] = numbers["learning_rate"]
            if group["decays"]:
                group["weight_decay"] = numbers["weight_decay"]
        self.optimiser.step()
        self.update_teacher(numbers["momentum"])
        self.image.move_centre(image_mean)
        self.point.move_centre(point_mean)
        numbers = torch.cat((losses.double(), norm.view(1))).tolist()
        if not math.isfinite(numbers[0]):
            raise FloatingPointError("the loss is not finite")
        return numbers


# --- Check against the reference numbers -----------------------------------------------------------------------------


def difference(actual, expected):
    """Largest difference over the expected tensor's largest magnitude."""
    expected = numpy.asarray(expected, dtype=numpy.float64)
    actual = actual.detach().double().numpy().reshape(expected.shape)
    scale = max(float(numpy.abs(expected).max(initial=0)), 1e-30)
    return float(numpy.abs(actual - expected).max(initial=0)) / scale


def tensor(array):
    return torch.tensor(numpy.ascontiguousarray(array))


def check_backbone(path, options):
    tensors, c = read_case(path)
    backbone = Backbone(c["image"], c["patch"], c["channels"], c["dim"], c["depth"], c["heads"], c["ratio"],
                        c["relation"], c["learnable_reference"], options.attention)
    weights = {k[len("weight.") :]: tensor(v) for k, v in tensors.items() if k.startswith("weight.")}
    backbone.load_state_dict(weights)
    worst_out = worst_gradient = 0.0
    for view in sorted({k.split(".")[0] for k in tensors if k.endswith(".image")}):
        points = tensor(tensors[view + ".points"])
        backbone.zero_grad()
        out = backbone(tensor(tensors[view + ".image"]), points.reshape(points.shape[0], -1, 2), None)
        names = ("class", "reference", "patch")
        worst_out = max(worst_out, *(difference(o, tensors[f"{view}.{n}"]) for o, n in zip(out, names)))
        torch.autograd.backward(out, [tensor(tensors[f"{view}.d_{n}"]).reshape(o.shape) for o, n in zip(out, names)])
        largest = max(float(numpy.abs(v).max()) for k, v in tensors.items() if k.startswith(view + ".grad."))
        for name, parameter in backbone.named_parameters():
            expected = tensors[f"{view}.grad.{name}"]
            if float(numpy.abs(expected).max()) > 1e-6 * largest:
                worst_gradient = max(worst_gradient, difference(parameter.grad, expected))
    return {"outputs": (worst_out, 1e-5), "gradients": (worst_gradient, 1e-4)}


def check_loss(path, _):
    tensors, c = read_case(path)
    views, batch, points = c["views"], c["batch"], c["points"]
    level = dict(views=views, batch=batch, prototypes=c["prototypes"], momentum=0.9, student_temperature=0.1)
    image = Level(points=0, all_views=c["image_all_views"], **level)
    point = Level(points=points, all_views=c["point_all_views"], **level)
    total, worst, losses = 0, 0.0, [0.0, 0.0, 0.0]
    both = c["image"] and c["point"]
    logits = {}
    for i, (on, this, tokens, centre, weight) in enumerate((
        (c["image"], image, "class", "center", c["alpha"] if both else 1.0),
        (c["point"], point, "reference", "ref_center", 1 - c["alpha"] if both else 1.0),
    )):
        if not on:
            continue
        this.centre = tensor(tensors[centre + ".before"])
        targets, mean = this.targets(tensor(tensors["teacher." + tokens]).flatten(0, -2), c["teacher_temp"])
        logits[tokens] = tensor(tensors["student." + tokens]).requires_grad_()
        loss = this.loss(logits[tokens].flatten(0, -2), targets)
        total = total + weight * loss
        losses[1 + i] = float(loss.detach())
        this.move_centre(mean)
        worst = max(worst, difference(this.centre, tensors[centre + ".after"]))
    losses[0] = float(total.detach())
    total.backward()
    expected = [float(x) for x in tensors["loss"]]
    on = (True, c["image"], c["point"])
    loss_error = max(abs(a - e) / abs(e) for a, e, counts in zip(losses, expected, on) if counts)
    gradient = max(difference(x.grad, tensors["d_student." + n]) for n, x in logits.items())
    return {"losses": (loss_error, 1e-5), "centres": (worst, 1e-5), "gradients": (gradient, 1e-4)}


def check_training(path, options):
    tensors, c = read_case(path)
    if c["optimizer"] == "lars":
        return None  # the peer is timed with AdamW; SGD comes with PyTorch, LARS does not
    step = Step(c, {k[len("initial.") :]: v for k, v in tensors.items() if k.startswith("initial.")}, options)
    worst = 0.0
    for i in range(c["epochs"] * c["per_epoch"]):
        views = [tensor(tensors[f"{i}.view{v}"]) for v in range(c["views"])]
        keep = tensors.get(f"{i}.keep")
        if keep is not None:  # (V,depth,2,B)
            keep = tensor(numpy.moveaxis(keep, 0, 2)).flatten(2)
        numbers = {
            "learning_rate": float(tensors["schedule.lr"][i]),
            "weight_decay": float(tensors["schedule.weight_decay"][i]),
            "momentum": float(tensors["schedule.momentum"][i]),
            "teacher_temp": float(tensors["schedule.teacher_temp"].ravel()[i // c["per_epoch"]]),
        }
        got = step.step(views, tensor(tensors[f"{i}.teacher_points"]), tensor(tensors[f"{i}.student_points"]), keep,
                        numbers, freeze=i < c["freeze_last_layer"] * c["per_epoch"])
        expected = [float(x) for x in tensors["losses"].reshape(-1, 4)[i]]
        worst = max(worst, *(abs(a - e) / abs(e) for a, e in zip(got[:3], expected[:3])),
                    0.1 * abs(got[3] - expected[3]) / expected[3])
    worst_weight = 0.0
    for who, network in (("student", step.student), ("teacher", step.teacher)):
        for name, parameter in network.named_parameters():
            expected, actual = tensors[f"{who}.{name}"].copy(), parameter.detach().clone()
            if name.endswith("attn.qkv.bias"):  # the keys' third has no gradient but rounding, which AdamW amplifies
                third = slice(len(expected) // 3, 2 * len(expected) // 3)
                expected[third] = 0
                actual[third] = 0
            worst_weight = max(worst_weight, difference(actual, expected))
    centres = max(difference(step.image.centre, tensors["center"]), difference(step.point.centre, tensors["ref_center"]))
    return {"losses": (worst, 1e-5), "weights": (worst_weight, 1e-4), "centres": (centres, 1e-4)}


def check(folder, options):
    """Compares everything with the files of the folder; true when all agree."""
    good = True
    torch.manual_seed(0)
    for kind, run in (("backbone", check_backbone), ("loss", check_loss), ("training", check_training)):
        for path in sorted(glob.glob(os.path.join(folder, kind + "_*.safetensors"))):
            result = run(path, options)
            name = os.path.basename(path)
            if result is None:
                print(f"{name}: not checked")
                continue
            agrees = all(error <= bound for error, bound in result.values())
            good &= agrees
            errors = ", ".join(f"{what} {error:.1e}" for what, (error, _) in result.items())
            print(f"{name}: {'agrees' if agrees else 'DIFFERS'} ({errors})")
    return good


# --- Serve -----------------------------------------------------------------------------------------------------------


def serve(path, options):
    at_start = served.status_bytes("VmRSS")
    tensors, c = read_case(path)
    weights = {k[len("weight.") :]: v for k, v in tensors.items() if k.startswith("weight.")}
    torch.manual_seed(1)
    if options.task == "features":
        check_command, step_command = features_commands(c, tensors, weights, options)
    else:
        check_command, step_command = training_commands(c, tensors, weights, options)
    del tensors, weights
    if options.device == "cpu":
        served.answer(describe(options), at_start, check_command, step_command)
        return
    served.answer(describe(options), 0, check_command, finished(step_command), torch.cuda.max_memory_allocated,
                  torch.cuda.reset_peak_memory_stats)


def finished(step):
    """`step`, until the device has done all of it."""
    def run():
        step()
        torch.cuda.synchronize()
    return run


def on_host(array, options):
    """A tensor that a step takes from the host: in pinned memory where a GPU copies it."""
    value = tensor(array)
    return value.pin_memory() if options.device == "cuda" else value


def training_commands(c, tensors, weights, options):
    step = Step(c, weights, options)
    views = [on_host(tensors[f"view{v}"], options) for v in range(len(c["sizes"]))]
    points = on_host(tensors["teacher_points"], options), on_host(tensors["student_points"], options)
    keep = tensor(numpy.moveaxis(tensors["keep"], 0, 2)).flatten(2).to(options.device)
    return lambda: step.step(views, *points, keep, c), lambda: step.step(views, *points, step.draw_keep(), c)


def features_commands(c, tensors, weights, options):
    backbone = Backbone(c["vit_image"], c["vit_patch"], c["vit_channels"], c["vit_dim"], c["vit_depth"], c["vit_heads"],
                        c["vit_ratio"], "all2pos_pos2cls_eye")
    backbone.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    backbone.eval().requires_grad_(False)
    images = tensor(tensors["images"])
    forward = torch.compile(backbone) if options.compile else backbone
    context = autocast(options)

    @torch.no_grad()
    def features():
        with context:
            return forward(images, None, None)

    def sums():
        class_token, _, patch = (x.double() for x in features())
        return [float(class_token.abs().mean()), float(patch.abs().mean()), float(patch.square().mean())]

    return sums, features


def describe(options):
    return {
        "library": "PyTorch " + torch.__version__,
        "numpy": numpy.__version__,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "mode": f"torch.compile ({options.compile})" if options.compile else "eager",
        "precision": options.precision,
        "attention": options.attention,
        "lean": options.lean,
        "malloc": os.environ.get("GLIBC_TUNABLES", ""),
        "preload": os.environ.get("LD_PRELOAD", ""),
    }


def main():
    parser = argparse.ArgumentParser(description="The published DenseDINO step in PyTorch.")
    parser.add_argument("--check", metavar="FIXTURES", help="folder of reference numbers")
    parser.add_argument("--serve", metavar="START", help="file that dssl-step or dssl-features wrote")
    parser.add_argument("--task", choices=("step", "features"), default="step")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the process may use")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32", help="tf32: on a GPU alone")
    parser.add_argument("--compile", nargs="?", const="default", choices=("default", "max"), help="torch.compile")
    parser.add_argument("--attention", choices=("split", "masked"), default="split")
    parser.add_argument("--lean", action="store_true", help="heads only on the rows that the loss reads")
    parser.add_argument("--no-fused", dest="fused", action="store_false", help="the foreach optimiser")
    options = parser.parse_args()
    if options.precision == "tf32" and options.device != "cuda":
        parser.error("--precision tf32: with --device cuda alone")
    if options.device == "cuda" and options.task != "step":
        parser.error("--device cuda: with --task step alone")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no GPU")
    torch.set_float32_matmul_precision("high" if options.precision == "tf32" else "highest")
    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    if options.check:
        options.device = "cpu"
        raise SystemExit(0 if check(options.check, options) else 1)
    if options.serve:
        serve(options.serve, options)
    else:
        parser.error("nothing to do: --check or --serve")


if __name__ == "__main__":
    main()

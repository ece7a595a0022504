#!/usr/bin/env python3
"""The views of dssl-view-sets as DINO's and DenseDINO's authors make them: torchvision on Pillow's images.

    pillow_views.py --serve START [--threads N]

START is what `dssl-view-sets --write-start` wrote: the image, and for each view where it lies and what is done to it, so that
nothing is drawn here. Boxes are resized by Pillow with anti-aliasing; homographies are read by Pillow's own perspective
transform straight at the view's size, bicubic and without anti-aliasing, out of the image with its reflection already
around it: less work than dssl does. Needs PyTorch, torchvision, Pillow and numpy.
"""

import argparse

import numpy
import PIL
import served
import tensor_file
import torch
import torchvision
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Views:
    def __init__(self, pixels, sets):
        self.image = Image.fromarray(pixels.astype(numpy.uint8))
        self.height, self.width = pixels.shape[:2]
        around = ((self.height, self.height), (self.width, self.width), (0, 0))
        self.reflected = Image.fromarray(numpy.pad(pixels.astype(numpy.uint8), around, "symmetric"))
        self.sets = [[self.prepared(view) for view in views] for views in sets]

    def prepared(self, view):
        """With the matrix as Pillow takes it, of the image with its reflection."""
        if "matrix" in view:
            matrix = numpy.array([[1, 0, self.width], [0, 1, self.height], [0, 0, 1]]) @ numpy.reshape(view["matrix"], (3, 3))
            view["coefficients"] = (matrix / matrix[2, 2]).ravel()[:8].tolist()
        return view

    def picture(self, view):
        if "coefficients" in view:
            return self.reflected.transform(tuple(view["size"][::-1]), Image.Transform.PERSPECTIVE, view["coefficients"],
                                            Image.Resampling.BICUBIC)
        image = functional.resized_crop(self.image, *view["box"], view["size"], functional.InterpolationMode.BICUBIC)
        return functional.hflip(image) if view["flip"] else image

    def tensor(self, view):
        image, colours = self.picture(view), view["colours"]
        for step in colours["order"]:
            if colours[step] != (0 if step == "hue" else 1):
                image = getattr(functional, "adjust_" + step)(image, colours[step])
        if colours["grey"]:
            image = functional.rgb_to_grayscale(image, 3)
        if colours["blur_radius"] > 0:
            image = image.filter(ImageFilter.GaussianBlur(colours["blur_radius"]))
        if colours["solarise"]:
            image = ImageOps.solarize(image)
        return functional.normalize(functional.to_tensor(image), MEAN, DEVIATION)

    def all(self):
        for views in self.sets:
            for view in views:
                yield self.tensor(view)

    def make(self):
        for _ in self.all():
            pass

    def means(self):
        """The mean of each quarter of each channel of a view, and 3."""
        return [float(3 + quarter.double().mean()) for view in self.all() for channel in view
                for half in channel.chunk(2, 0) for quarter in half.chunk(2, 1)]


def main():
    parser = argparse.ArgumentParser(description="The views of dssl-view-sets by torchvision and Pillow.")
    parser.add_argument("--serve", metavar="START", required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    at_start = served.status_bytes("VmRSS")
    tensors, case = tensor_file.read_case(options.serve)
    views = Views(tensors["image"], case["sets"])
    library = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}, PyTorch {torch.__version__}"
    served.answer({"library": library, "threads": torch.get_num_threads()}, at_start, views.means, views.make)


if __name__ == "__main__":
    main()

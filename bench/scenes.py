"""Large photos made of small ones, for measuring what size costs: faces of several sizes before one photo enlarged."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

SHAPE = 4 / 3  # width by height
FACES = 4  # photos set into each scene
SIZES = (0.2, 0.5)  # of the scene's height, that a photo set into it takes
QUALITY = 92  # of the JPEG


def scene(photos: list[str], megapixels: float, seed: int) -> Image.Image:
    """A photo of so many megapixels, made of FACES + 1 of the photos."""
    chance = random.Random(seed)
    height = round((megapixels * 1_000_000 / SHAPE) ** 0.5)
    width = round(height * SHAPE)
    background, *set_in = chance.sample(photos, FACES + 1)
    with Image.open(background) as image:
        picture = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    for at, photo in enumerate(set_in):
        side = round(height * chance.uniform(*SIZES))
        left = round((width - FACES * height * SIZES[1] / 2) / 2) + round(at * height * SIZES[1] / 2)
        with Image.open(photo) as image:
            picture.paste(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), (left, chance.randrange(height - side)))
    return picture


def scenes(photos: list[str], megapixels: float, count: int, folder: Path) -> list[str]:
    """Files of so many scenes, the same for the same photos."""
    paths = [folder / f"{megapixels:g}-{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        scene(photos, megapixels, number).save(path, quality=QUALITY)
    return [str(path) for path in paths]

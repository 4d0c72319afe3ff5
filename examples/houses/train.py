"""Recipe of houses.pt, my-clip and mine.png: small drawn houses, for "your own generator".

  z [B,16] -> values, shades -> drawn house x;     generator: min |lap(G(z) - x)|_1
                                                   CLIP: which sentences are true of x (its fig. 3)
No GAN was trained and no house is a photograph: the generator learns which z means which house, the
shortest way to a file like those that people bring. It is written in rosinality's layout.
  python examples/houses/train.py
Five minutes of one core, of which CLIP takes half; "generator" or "clip" behind it makes only that.
Prints 22.5 dB for houses that no training saw, and 94.5 % for what CLIP reads right of them.
"""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from styleclip.checkpoints import keymap, stylegan2_rosinality
from styleclip.clip.embedder import OPENAI_MEAN, OPENAI_STD, ClipEmbedder
from styleclip.generators.ops import normalize_second_moment
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.images import save_image
from styleclip.losses import laplacian_l1, laplacian_l2
from styleclip.portraits.train_clip import (
    ClipRecipe,
    augment,
    contrastive_loss,
    new_model,
    new_tokenizer,
)
from styleclip.portraits.training import ramped_rate, set_rate, step_generator, update_average

HERE = Path(__file__).parent
SIZE = 64
FINE = 4  # pixels drawn each way for one
CONFIG = StyleGAN2Config(SIZE, (48, 48, 32, 20, 12), w_dim=48, z_dim=16, mapping_layers=4,
                         mapping_width=128)  # fmt: skip
CLIP = ClipRecipe(image_size=SIZE, batch=64, embedding=48, vision_width=64, vision_layers=3,
                  text_width=64, text_layers=2)  # fmt: skip
GENERATOR_HOUSES, CLIP_HOUSES = 8_000, 10_000
GENERATOR_STEPS, MAPPING_STEPS, CLIP_STEPS = 2_000, 3_000, 1_000
BATCH = 16
FULL_FROM = 0.6  # of the generator's run: until here through the skip image of half the resolution
MINE = 1_000_003  # the seed of mine.png, a house that nothing was trained on

# what a house can have, and how one says it; several ways are said equally often
PARTS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("a red roof",), ("a blue roof",), ("a brown roof",), ("a grey roof",)),
    (("white walls",), ("yellow walls",), ("pink walls",), ("grey walls",)),
    (("a red door",), ("a blue door",), ("a green door",)),
    (("no snow",), ("snow", "snow on it", "a lot of snow")),
    (("no garden",), ("a garden", "a big garden", "flowers")),
    (("no chimney",), ("a chimney",)),
    (("no tree",), ("a tree", "a big tree")),
    (("one floor",), ("two floors",)),
    ((), ()),  # day and night, which are said in other words
)
ROOF, WALLS, DOOR, SNOW, GARDEN, CHIMNEY, TREE, FLOORS, NIGHT = range(len(PARTS))
TIMES = {SNOW: ("in summer", "in winter"), NIGHT: ("by day", "at night")}
OPENINGS = ("a photo of a house", "a house", "a picture of a house", "a drawing of a house")
SHADES = 4  # place, width, colour of the walls, light: what no caption speaks of

Colour = tuple[int, int, int]
WHITE = (244, 248, 253)  # of snow
ROOFS = ((196, 52, 44), (58, 92, 168), (132, 84, 52), (112, 116, 124))
PLASTER = ((238, 236, 228), (238, 204, 110), (236, 166, 176), (168, 166, 160))
DOORS = ((170, 40, 40), (44, 84, 160), (46, 120, 70))
FLOWERS = ((226, 60, 70), (246, 206, 70), (236, 236, 240), (176, 90, 190))


def houses_of(z: Tensor) -> tuple[Tensor, Tensor]:
    """z [N,16] -> values [N,9], shades [N,4] in [-1,1]: equally many houses of every value."""
    even = torch.special.ndtr(normalize_second_moment(z).double()).clamp(1e-6, 1 - 1e-6)
    counts = torch.tensor([len(part) for part in PARTS])
    values = (even[:, : len(PARTS)] * counts).long()
    return values, (2 * even[:, len(PARTS) : len(PARTS) + SHADES] - 1).float()


class Brush:
    """Shapes in units of the finished picture, in the light of the day or of the night."""

    def __init__(self, night: bool, brightness: float) -> None:
        self.page = Image.new("RGB", (SIZE * FINE, SIZE * FINE))
        self.pen = ImageDraw.Draw(self.page)
        self.light = tuple(brightness * k for k in ((0.42, 0.45, 0.62) if night else (1, 1, 1)))

    def lit(self, colour: Colour) -> Colour:
        r, g, b = (min(255, round(c * k)) for c, k in zip(colour, self.light, strict=True))
        return r, g, b

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        corners = (left * FINE, top * FINE, right * FINE - 1, bottom * FINE - 1)
        self.pen.rectangle(corners, fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        corners = [(x - radius) * FINE, (y - radius) * FINE, (x + radius) * FINE]
        self.pen.ellipse((*corners, (y + radius) * FINE), fill=colour)

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.pen.polygon([(x * FINE, y * FINE) for x, y in points], fill=colour)


def draw(values: list[int], shades: list[float]) -> Image.Image:
    """One house of 64 pixels."""
    brush = Brush(values[NIGHT] == 1, 1 + 0.08 * shades[3])
    middle, half = 34 + 2.5 * shades[0], 16 + 1.5 * shades[1]
    wall = PLASTER[values[WALLS]]
    plaster = tuple(round(c * (1 + 0.06 * shades[2])) for c in wall)
    draw_around(brush, values)
    draw_house(brush, values, middle, half, (plaster[0], plaster[1], plaster[2]))
    draw_front(brush, values, middle, half)
    return brush.page.reduce(FINE)


def draw_around(brush: Brush, values: list[int]) -> None:
    """The sky with sun or moon, the ground, and the tree."""
    night, snow, lit = values[NIGHT] == 1, values[SNOW] == 1, brush.lit
    above, below = ((14, 20, 52), (52, 58, 110)) if night else ((104, 168, 228), (206, 230, 246))
    for row in range(48):
        r, g, b = (round(a + row / 47 * (b - a)) for a, b in zip(above, below, strict=True))
        brush.box(0, row, SIZE, row + 1, (r, g, b))
    brush.disc(55, 9, 4.5, (240, 238, 214) if night else (255, 226, 120))
    for x, y in ((8, 6), (20, 12), (33, 4), (44, 14), (59, 22)) if night else ():
        brush.disc(x, y, 0.6, (230, 232, 250))
    brush.box(0, 48, SIZE, SIZE, lit(WHITE if snow else (112, 172, 84)))
    if values[TREE] == 1:
        brush.box(6, 38, 9, 54, lit((104, 72, 48)))
        brush.disc(7.5, 31, 7.5, lit(WHITE if snow else (58, 128, 66)))
        brush.disc(7.5, 35 if snow else 29, 5.0, lit((84, 118, 96) if snow else (78, 150, 80)))


def draw_house(
    brush: Brush, values: list[int], middle: float, half: float, plaster: Colour
) -> None:
    """Chimney, walls and roof."""
    snow, lit = values[SNOW] == 1, brush.lit
    left, right = middle - half, middle + half
    top = 22.0 if values[FLOORS] == 1 else 33.0
    if values[CHIMNEY] == 1:
        brush.box(right - 10, top - 15, right - 5, top - 3, lit((150, 78, 62)))
        brush.box(right - 11, top - 16, right - 4, top - 14, lit(WHITE if snow else (110, 60, 52)))
    brush.box(left, top, right, 55, lit(plaster))
    eaves = [(left - 3.5, top), (middle, top - 13), (right + 3.5, top)]
    brush.polygon(eaves, lit(ROOFS[values[ROOF]]))
    if snow:
        edge = ((-8.5, -6.5), (-4, -8), (0, -6), (4, -8), (8.5, -6.5), (0, -13))
        brush.polygon([(middle + x, top + y) for x, y in edge], lit(WHITE))


def draw_front(brush: Brush, values: list[int], middle: float, half: float) -> None:
    """Door, windows, path and garden."""
    snow, lit = values[SNOW] == 1, brush.lit
    pane = (255, 222, 120) if values[NIGHT] == 1 else lit((150, 196, 222))
    brush.box(middle - 3.5, 43, middle + 3.5, 55, lit(DOORS[values[DOOR]]))
    brush.disc(middle + 2.2, 49.5, 0.7, lit((240, 210, 110)))
    windows = [(middle + side * half / 1.65, 38) for side in (-1, 1)]
    if values[FLOORS] == 1:
        windows += [(middle + x, 26) for x in (-9, 0, 9)]
    for x, y in windows:
        brush.box(x - 3.2, y - 0.6, x + 3.2, y + 7, lit((252, 252, 248)))
        brush.box(x - 2.4, y + 0.2, x + 2.4, y + 6.2, pane)
    path = ((-3, 55), (3, 55), (6, 64), (-6, 64))
    brush.polygon([(middle + x, y) for x, y in path], lit((206, 196, 176)))
    for i, x in enumerate((3, 10, 17, 24, 45, 52, 59)) if values[GARDEN] == 1 else ():
        brush.disc(x, 58, 4.2, lit((150, 176, 160) if snow else (52, 132, 58)))
        for j, (dx, dy) in enumerate(((-2, -1), (1.5, -2), (0.5, 1.5))):
            brush.disc(x + dx, 58 + dy, 1.15, lit(FLOWERS[(i + j) % len(FLOWERS)]))


def stored(count: int, first: int) -> tuple[Tensor, Tensor, Tensor]:
    """z [N,16], values [N,9] and pictures [N,3,64,64] uint8 of ``count`` houses."""
    z = torch.randn(count, CONFIG.z_dim, generator=torch.Generator().manual_seed(first))
    values, shades = houses_of(z)
    drawn = [np.array(draw(*each)) for each in zip(values.tolist(), shades.tolist(), strict=True)]
    return z, values, torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()


def unit(pictures: Tensor) -> Tensor:
    """uint8 -> [-1,1], channels-last."""
    return pictures.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def features(z: Tensor) -> Tensor:
    """z [N,16] -> [N,27]: which value every part has (1 at it), and the shades."""
    values, shades = houses_of(z)
    chosen = [F.one_hot(values[:, i], len(part)).float() for i, part in enumerate(PARTS)]
    return torch.cat([*chosen, shades], dim=1)


def train_generator(z: Tensor, pictures: Tensor) -> StyleGAN2:
    """First w is a matrix of what the house is like, then the mapping network learns to give it."""
    described = features(z)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = StyleGAN2(CONFIG).to(memory_format=torch.channels_last)
        to_w = torch.nn.Linear(described.shape[1], CONFIG.w_dim)
    averages = copy.deepcopy(generator), copy.deepcopy(to_w)
    mapping = {id(each) for each in generator.mapping_layers.parameters()}
    drawing = [each for each in generator.parameters() if id(each) not in mapping]
    adam = torch.optim.Adam(
        [{"params": drawing}, {"params": list(to_w.parameters()), "factor": 0.5}], betas=(0.9, 0.99)
    )
    begun = time.monotonic()
    for step in range(GENERATOR_STEPS):
        random = step_generator(1, step)
        index = torch.randint(len(z), (BATCH,), generator=random)
        size = SIZE if step >= FULL_FROM * GENERATOR_STEPS else SIZE // 2
        wanted = F.avg_pool2d(unit(pictures[index]), SIZE // size)
        # noise on the rows of W+ makes what lies near mean the same house
        w = to_w(described[index])
        noise = torch.randn(len(w), generator.rows, CONFIG.w_dim, generator=random)
        w_plus = w[:, None] + 0.1 * w.detach().std(dim=0) * noise
        drawn = generator.synthesis(generator.affine(w_plus), noise="none", resolution=size)
        loss = laplacian_l1(drawn, wanted).mean() + 4 * laplacian_l2(drawn, wanted).mean()
        set_rate(adam, ramped_rate(1e-2, step, GENERATOR_STEPS, tail=0.5))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        for average, network in zip(averages, (generator, to_w), strict=True):
            update_average(average, network, min(0.995, step / (step + 10)))
        if (step + 1) % 200 == 0:
            psnr = 10 * torch.log10(4 / F.mse_loss(drawn.detach(), wanted)).item()
            seconds = time.monotonic() - begun
            print(f"generator {step + 1}: {psnr:.1f} dB, {seconds:.0f} s", flush=True)
    generator, to_w = averages
    fit_mapping(generator, to_w)
    generator.w_average.copy_(generator.mean_w(10_000, step_generator(1, GENERATOR_STEPS))[0])
    return generator.eval()


def fit_mapping(generator: StyleGAN2, to_w: torch.nn.Linear) -> None:
    """z -> w in one pass: w jumps where a value changes, and a network can only be steep there."""
    layers = generator.mapping_layers
    adam = torch.optim.Adam(layers.parameters(), betas=(0.9, 0.99))
    for step in range(MAPPING_STEPS):
        z = torch.randn(512, CONFIG.z_dim, generator=step_generator(3, step))
        wanted = to_w(features(z)).detach()
        loss = (generator.mapping(z) - wanted).square().mean() / wanted.var()
        # the weights of mapping layers are stored a hundredfold
        set_rate(adam, 100 * ramped_rate(1e-2, step, MAPPING_STEPS, tail=0.7))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        if (step + 1) % 500 == 0:
            print(f"mapping {step + 1}: {loss.item():.3f} of w unexplained", flush=True)


def caption(values: list[int], words: np.random.Generator) -> tuple[str, list[int]]:
    """A true sentence about up to three parts of a house, and which."""
    stated = [-1] * len(PARTS)
    things, times = [], []
    for part in words.permutation(len(PARTS))[: words.choice(4, p=(0.05, 0.5, 0.3, 0.15))].tolist():
        stated[part] = values[part]
        ways = PARTS[part][values[part]]
        if part in TIMES and (not ways or words.random() < 0.4):
            times.append(TIMES[part][values[part]])
        else:
            things.append(str(words.choice(ways)))
    text = str(words.choice(OPENINGS))
    if things:
        text += " with " + " and ".join(things)
    return " ".join([text, *times]), stated


def vocabulary() -> list[str]:
    texts = [*OPENINGS, "with and", *(time for pair in TIMES.values() for time in pair)]
    texts += [way for part in PARTS for ways in part for way in ways]
    return list(dict.fromkeys(word for text in texts for word in text.split()))


def train_clip(values: Tensor, pictures: Tensor) -> ClipEmbedder:
    """It sees houses moved, softened and noisy, so that the generator's are not foreign to it.

    Linear heads that read the parts from the image tower steer it, and are dropped at the end.
    """
    tokenizer = new_tokenizer(vocabulary())
    model = new_model(CLIP, tokenizer)
    counts = [len(part) for part in PARTS]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        heads = torch.nn.Linear(CLIP.vision_width, sum(counts))
    learning = [*model.parameters(), *heads.parameters()]
    adam = torch.optim.AdamW(learning, betas=(0.9, 0.98), weight_decay=0.02)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (OPENAI_MEAN, OPENAI_STD))
    begun = time.monotonic()
    for step in range(CLIP_STEPS):
        random, words = step_generator(2, step), np.random.default_rng([2, step])
        index = torch.randint(len(values), (CLIP.batch,), generator=random)
        told = [caption(values[i].tolist(), words) for i in index.tolist()]
        stated = torch.tensor([each for _, each in told])  # [N,9]
        true = ((stated[None] < 0) | (stated[None] == values[index][:, None])).all(dim=2).float()
        images = augment(unit(pictures[index]), random)
        seen = model.vision_model(pixel_values=((images + 1) / 2 - mean) / std).pooler_output
        tokens = tokenizer([text for text, _ in told], padding=True, return_tensors="pt")
        read = model.text_model(**tokens).pooler_output
        images_at = F.normalize(model.visual_projection(seen), dim=-1)
        texts_at = F.normalize(model.text_projection(read), dim=-1)
        scale = model.logit_scale.clamp(max=float(np.log(100))).exp()
        loss = contrastive_loss(scale * images_at @ texts_at.t(), true)
        read_off = zip(heads(seen).split(counts, dim=1), values[index].t(), strict=True)
        loss = loss + torch.stack([F.cross_entropy(*each) for each in read_off]).mean()
        set_rate(adam, ramped_rate(2e-3, step, CLIP_STEPS, warm=100, tail=0.7))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        adam.step()
        if (step + 1) % 100 == 0:
            print(
                f"clip {step + 1}: loss {loss.item():.3f}, {time.monotonic() - begun:.0f} s",
                flush=True,
            )
    return ClipEmbedder(model.eval(), tokenizer)


@torch.no_grad()
def told_apart(embedder: ClipEmbedder, values: Tensor, pictures: Tensor) -> float:
    """The share of parts of houses whose value the nearest sentence names."""
    images_at, right = embedder.embed_images(unit(pictures)), []
    for part, ways in enumerate(PARTS):
        said = TIMES.get(part) or tuple(f"with {way[0]}" for way in ways)
        texts_at = embedder.embed_texts([f"a photo of a house {each}" for each in said])
        right.append(((images_at @ texts_at.t()).argmax(dim=1) == values[:, part]).float().mean())
    return float(torch.stack(right).mean())


def save_generator(generator: StyleGAN2) -> None:
    """houses.pt, as rosinality's training leaves it."""
    state = keymap.invert(stylegan2_rosinality.rules(CONFIG), generator.state_dict())
    average = state.pop("latent_avg")
    state = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    torch.save({"g_ema": state, "latent_avg": average}, HERE / "houses.pt")


def save_clip(embedder: ClipEmbedder) -> None:
    """my-clip, as `transformers` saves it."""
    embedder.model.half().save_pretrained(HERE / "my-clip")
    embedder.tokenizer.save_pretrained(HERE / "my-clip")


def main(parts: list[str]) -> None:
    torch.set_flush_denormal(True)
    new_z, new_values, new_pictures = stored(500, first=MINE)
    save_image(HERE / "mine.png", unit(new_pictures[:1]), overwrite=True)
    if not parts or "generator" in parts:
        z, _, pictures = stored(GENERATOR_HOUSES, first=0)
        generator = train_generator(z, pictures)
        with torch.no_grad():
            w_plus = generator.truncate(generator.mapping(new_z))
            drawn = generator.synthesis(generator.affine(w_plus))
        error = F.mse_loss(drawn.clamp(-1, 1), unit(new_pictures))
        print(f"new houses: {10 * torch.log10(4 / error).item():.1f} dB")
        save_generator(generator)
    if not parts or "clip" in parts:
        _, values, pictures = stored(CLIP_HOUSES, first=0)
        embedder = train_clip(values, pictures)
        print(f"sentences told apart: {told_apart(embedder, new_values, new_pictures):.1%}")
        save_clip(embedder)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Draws the pictures of README and the pages here with the embedded model, into docs/images.

  python docs/pictures.py
One minute on one core. What is drawn is chosen here and nowhere else; nothing is retouched.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from styleclip import DirectionConfig, Edit, Studio
from styleclip.faces.blending import set_back
from styleclip.images import open_picture, save_image, stacked, strip
from styleclip.portraits.scenes import lay, tabletop
from styleclip.portraits.training import EVALUATION_SEED, portrait_of_seed

HERE = Path(__file__).parent
IMAGES = HERE / "images"
EXAMPLES = HERE.parent / "examples"
PICTURE = EXAMPLES / "portrait.png"
YOUNG = 2  # the seed of a sampled face without wrinkles whose hair is not grey
BETAS = (0.0, 0.05, 0.1, 0.15)
PRINTS = {  # portraits that no network saw: middle, degrees and side of their prints on a table
    EVALUATION_SEED + 33: (270 + 310j, -14.0, 330.0),
    EVALUATION_SEED + 41: (650 + 290j, 20.0, 1.7 * 128),
}
SOMEBODY, OTHER = 15, 33  # seeds of two people
ROWS = {"rows 0 to 3": slice(0, 4), "4 to 7": slice(4, 8), "from 8 on": slice(8, None)}
ALPHAS = (0.0, 1.0, 2.0, 3.0, 4.0)


def three_methods(studio: Studio) -> None:
    """The same portrait, the same prompts, by every method."""
    w_plus = studio.open(PICTURE)
    rows = []
    for prompt in ("a face with red hair", "a face with a beard"):
        found = {
            "optimisation": studio.edit(w_plus, prompt),
            "mapper": studio.edit(w_plus, prompt, studio.mapper),
            "global direction": studio.edit(w_plus, prompt, DirectionConfig()),
        }
        pictures = [studio.square(PICTURE), studio.render(w_plus)]
        pictures += [studio.render(w_plus, edit) for edit in found.values()]
        captions = ["the picture", "as the model sees it"]
        rows.append(strip(pictures, [*captions, *(f"{name}: {prompt}" for name in found)]))
    save_image(IMAGES / "three-methods.png", stacked(rows), overwrite=True)


def sweeps(studio: Studio) -> None:
    """A direction over strength at one threshold, and over the threshold at one strength."""
    w_plus = studio.sample(YOUNG)
    prompt = "a face with grey hair"

    def direction(beta: float, alpha: float) -> Edit:
        config = DirectionConfig(threshold=beta, strength=alpha)
        return studio.edit(w_plus, prompt, config)

    fixed = direction(BETAS[-1], 1.0)
    rows = [
        strip(
            [studio.render(w_plus, fixed, strength=alpha) for alpha in ALPHAS],
            [f"strength {alpha:g}, threshold {BETAS[-1]:g}" for alpha in ALPHAS],
        )
    ]
    edits = [direction(beta, ALPHAS[-1]) for beta in BETAS]
    pictures = [studio.render(w_plus), *(studio.render(w_plus, edit) for edit in edits)]
    captions = ["as it is", *(f"strength {ALPHAS[-1]:g}, threshold {beta:g}" for beta in BETAS)]
    rows.append(strip(pictures, captions))
    save_image(IMAGES / "grey-hair.png", stacked(rows), overwrite=True)


def photo(studio: Studio) -> None:
    """Two prints on a table, as a file with its landmarks, and both faces edited in it."""
    table = tabletop(900, 600, seed=3)
    faces = [lay(table, portrait_of_seed(seed), *place) for seed, place in PRINTS.items()]
    table.save(EXAMPLES / "photo.jpg", quality=92)
    landmarks = json.dumps({"faces": [face.to_json() for face in faces]}, indent=1)
    (EXAMPLES / "photo.json").write_text(landmarks + "\n")
    picture = open_picture(EXAMPLES / "photo.jpg")
    edited = picture
    for face in faces:
        square = studio.align(picture, face)
        w_plus = studio.open(square.image)
        after = studio.render(w_plus, studio.edit(w_plus, "a face with red hair"))
        edited = set_back(edited, studio.render(w_plus), after, square.to_photo)
    small = [each.resize((540, 360), Image.Resampling.LANCZOS) for each in (picture, edited)]
    save_image(
        IMAGES / "photo.png", strip(small, ["the photo", "a face with red hair"]), None, True
    )


def latent_spaces(studio: Studio) -> None:
    """A seed under truncation; and a person with rows of W+ of another one."""
    psis = (0.0, 0.35, 0.7, 1.0)
    pictures = [studio.render(studio.sample(OTHER, psi)) for psi in psis]
    page = strip(pictures, [f"truncation {psi:g}" for psi in psis])
    save_image(IMAGES / "truncation.png", page, overwrite=True)
    one, other = studio.sample(SOMEBODY), studio.sample(OTHER)
    latents = {"a person": one}
    for name, rows in ROWS.items():
        latents[f"{name} of the other"] = one.clone()
        latents[f"{name} of the other"][:, rows] = other[:, rows]
    latents["the other"] = other
    page = strip([studio.render(each) for each in latents.values()], list(latents))
    save_image(IMAGES / "rows.png", page, overwrite=True)


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    model = Studio.load("portraits")
    three_methods(model)
    sweeps(model)
    photo(model)
    latent_spaces(model)

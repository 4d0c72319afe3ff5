"""The library in five lines: a model by name, a picture, a sentence, and the edited picture.

  studio = Studio.load("portraits")
  w_plus = studio.open("me.png")                                    # or studio.sample(seed=3)
  edit = studio.edit(w_plus, "a face -> a face with red hair")
  save_image("edited.png", studio.render(w_plus, edit, strength=1.2))
  studio = studio.tuned(studio.tune("me.png", w_plus))              # redraws me.png at w_plus
The words are the command line's. A network is loaded when it is first used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import torch
from PIL import Image
from torch import Tensor

import styleclip
from styleclip import images
from styleclip.arguments import (
    check_count,
    check_latents,
    check_number,
    check_seed,
    check_square,
    stack_of,
)
from styleclip.checkpoints import Bank, SavedMapper, check_bank, check_tuning
from styleclip.editing.directions import DirectionConfig, find_direction, prompt_direction
from styleclip.editing.edit import TRAINED, Edit, apply_edits
from styleclip.editing.optimization import OptimizationConfig, optimize
from styleclip.editing.relevance import Relevance, prompt_relevance
from styleclip.editing.strength import StrengthConfig, fit_strength, fits_by_itself
from styleclip.errors import ArgumentError, PromptError
from styleclip.faces.alignment import Aligned, align, centre
from styleclip.inversion.projection import ProjectionConfig, project
from styleclip.inversion.tuning import Tuning, TuningConfig, psnr, tune, tuned_generator
from styleclip.methods import Settings, Ways, settings_of
from styleclip.networks import Networks, OnStep, Part
from styleclip.prompts import PromptPair, names_of, parse_prompt
from styleclip.recipe import ALIKE, Recipe, Source

if TYPE_CHECKING:
    from styleclip.faces.landmarks import Landmarks

TRUNCATION = 0.7  # of sampled pictures, as the official scripts have it (psi)
FILLERS = frozenset(
    (
        "a", "an", "the", "this", "that", "of", "with", "without", "and", "or", "no", "not", "in",
        "on", "at", "to", "is", "are", "has", "have", "having", "wearing", "very", "more", "less",
        "some",
    )
)  # fmt: skip  # words that ask for nothing by themselves


class PromptWarning(UserWarning):
    """The model does not know some of the words of a prompt."""


class Studio(Networks):
    """A model's networks, and what is done with them: sample, open, edit, render, replay."""

    def samples(self, count: int, seed: int = 0, truncation: float = 1.0) -> Tensor:
        """The w_plus [count,L,D] of pictures drawn from one seed."""
        check_count("count", count)
        check_number("truncation", truncation)
        random = torch.Generator().manual_seed(check_seed(seed))
        with torch.no_grad():
            return self.generator.truncate(self.generator.sample_w(count, random), truncation)

    def sample(self, seed: int = 0, truncation: float = TRUNCATION) -> Tensor:
        """The w_plus [1,L,D] of a seed; ``truncation`` 1 is full variety, 0 the mean picture."""
        return self.samples(1, seed, truncation)

    def open(
        self,
        picture: str | Path | Image.Image | Tensor,
        refine: int | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The w_plus [1,L,D] of a picture: a file, PIL, or a tensor [1,3,H,W] in [-1,1].

        ``refine`` is the number of optimisation steps after the encoder, None for as many as are
        worth it, 0 for the encoder alone. A tuned studio knows the latent of the picture that it
        was tuned for. Raises ``ImageError``.
        """
        if refine is not None:
            check_count("refine", refine, least=0)
        image = self.square(picture)
        pivot = self.pivot(image) if refine is None else None
        if pivot is not None:
            return pivot
        start = None
        if self.encoder is not None:
            with torch.no_grad():
                start = cast(Tensor, self.encoder(image))
        if refine == 0:
            if start is None:
                raise ArgumentError(
                    f"the model {self.model.name!r} has no encoder, so it needs steps of refinement"
                )
            return start
        config = ProjectionConfig() if start is not None else ProjectionConfig.from_mean()
        if refine is not None:
            config = replace(config, steps=refine)
        return project(self.generator, image, config, start, on_step)

    def tune(
        self,
        picture: str | Path | Image.Image | Tensor,
        w_plus: Tensor,
        config: TuningConfig = TuningConfig(),
        on_step: OnStep | None = None,
    ) -> Tuning:
        """What makes this model's generator draw ``picture`` at ``w_plus`` [1,L,D], of ``open``.

        The model stays as it is: ``tuned`` gives a studio that draws the picture.
        """
        if self.tuning is not None:
            raise ArgumentError("this studio is tuned already: tune the one that it came from")
        check_latents(w_plus, self.generator)
        return tune(self.generator, self.square(picture), w_plus, config, on_step)

    def tuned(self, tuning: Tuning) -> Self:
        """This studio with a tuned generator; other networks are shared, edits fit both.

        Raises ``CheckpointError`` for a tuning from a file that belongs to other weights.
        """
        if self.tuning is not None:
            raise ArgumentError("this studio is tuned already: use the one that it came from")
        check_tuning(tuning, self.hashes("generator")["generator"], self.model.name)
        other = type(self)(self.model, self.device, self.identity_by)
        other.__dict__.update(self.__dict__)  # the networks that are loaded
        other.generator = tuned_generator(self.generator, tuning)
        other.tuning = tuning
        other._hashes = dict(self._hashes)
        return other

    def pivot(self, image: Tensor) -> Tensor | None:
        """The latent [1,L,D] that draws ``image`` [1,3,R,R], if this studio was tuned for it."""
        if self.tuning is None:
            return None
        pivots = self.tuning.w_plus.to(self.device)
        found, best = psnr(self.render(pivots), image).max(dim=0)
        # the same picture, perhaps saved again as a JPEG; others are ten dB and more away
        near = float(found) > self.tuning.figures.get("after", 0.0) - 3
        return pivots[int(best) : int(best) + 1] if near else None

    def square(self, picture: str | Path | Image.Image | Tensor) -> Tensor:
        """A picture as the model takes it: its centre square, [1,3,R,R]."""
        size = self.generator.resolution
        check_square(picture)
        if isinstance(picture, Tensor):
            if picture.shape[-2:] != (size, size):
                picture = images.to_picture(picture)
            else:
                return picture.reshape(1, 3, size, size).to(self.device)
        if isinstance(picture, str | Path):
            picture = images.open_picture(picture)
        return images.to_tensor(picture, size).to(self.device)

    def align(self, photo: str | Path | Image.Image, landmarks: Landmarks | None = None) -> Aligned:
        """The square of a photo that the model takes: the face of ``landmarks``, or the centre.

        Its ``image`` goes to ``open``; ``faces.blending.set_back`` puts an edit back into the
        photo. Raises ``LandmarksError``, ``ImageError``.
        """
        picture = photo if isinstance(photo, Image.Image) else images.open_picture(photo)
        size = self.generator.resolution
        if landmarks is None:
            return centre(picture, size)
        if self.template is None:
            raise ArgumentError(
                f"the model {self.model.name!r} states no alignment of faces: give no landmarks"
            )
        return align(picture, landmarks, size, self.template)

    def prompt(self, text: str | PromptPair) -> PromptPair:
        """Read "neutral -> target", or a target alone with the model's neutral text."""
        if isinstance(text, PromptPair):
            return text
        if not isinstance(text, str):
            raise PromptError(
                f"a prompt is a sentence, such as 'a face with red hair', got {text!r}"
            )
        if "->" not in text and text.strip() and not self.model.neutral:
            raise PromptError(
                f"the model {self.model.name!r} names no neutral text: write 'neutral -> target'"
            )
        return parse_prompt(text, self.model.neutral)

    def prompt_warnings(self, prompt: PromptPair) -> list[str]:
        """What the model will not understand of a prompt, in sentences; mostly none."""
        unknown = self._unknown_words(prompt)
        if not unknown:
            return []
        named = ", ".join(repr(word) for word in unknown)
        if self._knows_nothing_of(prompt):
            return [
                f"the model {self.model.name!r} knows nothing about {prompt.target!r}: it never "
                f"learned {named}, so expect no meaningful edit"
            ]
        return [f"the model {self.model.name!r} never learned the words {named} and ignores them"]

    def _unknown_words(self, prompt: PromptPair) -> list[str]:
        texts = (prompt.neutral, prompt.target)
        words = [word for text in texts for word in self.embedder.unknown_words(text)]
        return list(dict.fromkeys(words))

    def _knows_nothing_of(self, prompt: PromptPair) -> bool:
        """Whether all words that the target asks for by are unknown."""
        known = set(prompt.neutral.lower().split()) | FILLERS
        asked = [word.strip(",.") for word in prompt.target.lower().split()]
        strangers = {word.lower() for word in self._unknown_words(prompt)}
        return bool(strangers) and all(word in strangers for word in asked if word not in known)

    def edit(
        self,
        w_plus: Tensor,
        prompt: str | PromptPair,
        config: Settings | None = None,
        on_step: OnStep | None = None,
        relevance: Ways | None = None,
        preserve: str | Sequence[str] = (),
        fit: StrengthConfig | None = None,
        on_edit: Callable[[Edit], None] | None = None,
        *,
        method: str | None = None,
        threshold: float | None = None,
        alpha: float | None = None,
    ) -> Edit:
        """The edit of ``w_plus`` [B,L,D] that ``prompt`` asks for.

        ``method``, or the kind of ``config``: "optimize", the default; "mapper", the model's own or
        a ``SavedMapper``; or "direction" (``threshold``, ``alpha``; by ``relevance``: a bank, None
        for samples, "instant" for few of them, "prompt-gradient" for the prompt's alone; the last
        two rest on nothing that was measured before), with what ``preserve`` names left alone, a
        list or a text with commas. ``fit``: the
        smallest strength that shows the change, for each picture, for any method (the default
        optimisation and directions without a strength always do). ``on_edit`` is shown what an
        optimisation has after every step. Warns (``PromptWarning``) of
        words that the model does not know. Raises ``PromptError``, ``ArgumentError``.
        """
        check_latents(w_plus, self.generator)
        pair = self.prompt(prompt)
        config = settings_of(method, config, threshold, alpha, lambda: self.mapper)
        preserve = names_of(preserve)
        for message in self.prompt_warnings(pair):
            warnings.warn(message, PromptWarning, stacklevel=2)
        if preserve and not isinstance(config, DirectionConfig):
            raise ArgumentError("only directions can preserve things by name: use that method")
        if isinstance(config, SavedMapper):
            self.check_mapper_weights(config)
            edit = config.edit(self.generator, self.embedder, w_plus, pair)
            if config is not self.__dict__.get("mapper"):  # not the model's own
                edit = replace(edit, config={**edit.config, TRAINED: True})
        elif isinstance(config, DirectionConfig):
            edit = self._direction(pair, config, relevance, preserve)
        else:
            config = OptimizationConfig() if config is None else config
            latent_map = self.latent_map if config.space == "mapped" else None
            identity = self.identity if config.identity_weight else None
            edit = optimize(
                self.generator, self.embedder, w_plus, pair, config, on_step, identity, latent_map,
                on_edit,
            )  # fmt: skip
        if fit is None and fits_by_itself(config):
            fit = StrengthConfig()
        if fit is None:
            return edit
        floor = None if fit.identity_floor is None else self.identity
        spread = self.quick_map if isinstance(relevance, str) else self.latent_map
        return fit_strength(self.generator, self.embedder, w_plus, edit, spread, fit, floor)

    def direction(
        self,
        prompt: str | PromptPair,
        config: DirectionConfig = DirectionConfig(strength=1.0),
        relevance: Ways | None = None,
        preserve: str | Sequence[str] = (),
    ) -> Edit:
        """The direction of ``prompt`` for any picture; arguments and warnings are ``edit``'s."""
        pair = self.prompt(prompt)
        for message in self.prompt_warnings(pair):
            warnings.warn(message, PromptWarning, stacklevel=2)
        return self._direction(pair, config, relevance, names_of(preserve))

    def _direction(
        self,
        prompt: PromptPair,
        config: DirectionConfig,
        relevance: Ways | None,
        preserve: Sequence[str],
    ) -> Edit:
        if relevance == "prompt-gradient":
            if preserve:
                raise ArgumentError(
                    "by the prompt's gradient that prompt alone is known: preserve nothing, or "
                    "use another bank"
                )
            wanted = prompt_direction(self.embedder, prompt, config.templates)
            found = prompt_relevance(self.generator, self.embedder, wanted)
        elif relevance == "instant":
            found = self.by_samples(self.quick_map)
        else:
            found = self.relevance if relevance is None else relevance
        if isinstance(found, Bank):
            check_bank(found, self.hashes("generator", "clip"), self.model.name)
        stay = [each for name in preserve for each in self.concept(name)]
        edit = find_direction(
            found, self.embedder, prompt, config, stay, self.generator.layout
        )  # fmt: skip
        if isinstance(relevance, Relevance) and relevance is not vars(self).get("relevance"):
            relevance_from = "bank"
        else:
            relevance_from = relevance if isinstance(relevance, str) else ""
        how: dict[str, object] = {"relevance": relevance_from} if relevance_from else {}
        if preserve:
            how["preserve"] = list(preserve)
        return replace(edit, config={**edit.config, **how})

    def concept(self, name: str) -> list[Tensor]:
        """The directions [E] of what a name means: a group of the model's vocabulary, or words.

        A group ("hair colour") is the differences between its texts; other words ("glasses") are
        the way from the neutral text to a text of them. Raises ``PromptError`` for words of which
        the model knows none.
        """
        groups = self.vocabulary
        if name.lower() in groups:
            texts = self.embedder.embed_texts(groups[name.lower()])
            return list(texts - texts.mean(dim=0))[:-1]  # the last is minus the sum of the others
        pair = self._concept_prompt(name)
        if self._knows_nothing_of(pair):
            raise PromptError(
                f"the model {self.model.name!r} never learned {name!r}, so it cannot be preserved: "
                f"name {', '.join(groups) or 'something'}, or other words that it knows"
            )
        for message in self.prompt_warnings(pair):
            warnings.warn(message, PromptWarning, stacklevel=2)
        target, neutral = self.embedder.embed_texts([pair.target, pair.neutral])
        return [target - neutral]

    def preserve_warnings(self, names: Sequence[str]) -> list[str]:
        """What the model will not understand of names to preserve, in sentences; mostly none."""
        words = [name for name in names if name.lower() not in self.vocabulary]
        return [note for name in words for note in self.prompt_warnings(self._concept_prompt(name))]

    def _concept_prompt(self, name: str) -> PromptPair:
        if not self.model.neutral:
            raise PromptError(
                f"the model {self.model.name!r} names no neutral text, so words cannot be "
                'preserved: state "neutral" in its model.json'
            )
        return self.prompt(f"{self.model.neutral} with {name}")

    def render(
        self,
        w_plus: Tensor,
        edits: Edit | Sequence[tuple[Edit, float]] = (),
        strength: float = 1.0,
    ) -> Tensor:
        """Images [B,3,R,R] of ``w_plus`` [B,L,D] under an edit, or a stack of (edit, strength).

        ``strength`` multiplies every edit's own: 0 is the unedited picture. Raises
        ``CheckpointError`` for an edit from a file that belongs to other weights.
        """
        check_latents(w_plus, self.generator)
        check_number("strength", strength)
        stack = stack_of(edits)
        for edit, _ in stack:
            self.check_weights(edit)
        with torch.no_grad():
            style = apply_edits(self.generator, w_plus, [(e, strength * s) for e, s in stack])
            return self.generator.synthesis(style)

    def recipe(
        self,
        source: Source,
        edits: Sequence[tuple[Edit, float]] = (),
        found_here: bool = True,
    ) -> Recipe:
        """How ``render(latents(source), edits)`` comes about, for the metadata of its PNG.

        ``found_here``: whether this model's CLIP found the edits; if not, it is not mentioned.
        """
        parts: list[Part] = ["generator"] if self.tuning is None else ["generator", "tuning"]
        if edits and found_here:
            parts.append("clip")
            # a map that is not there had no part in it, and is not measured to be mentioned
            if self.has_latent_map and any(uses_latent_map(edit) for edit, _ in edits):
                parts.append("latent map")
        return Recipe(
            model=self.model.name,
            hashes=self.hashes(*parts),
            source=source,
            edits=tuple(edits),
            made_with=f"styleclip {styleclip.__version__}",
        )

    def latents(self, source: Source) -> Tensor:
        """The w_plus [1,L,D] of a recipe's source."""
        if source.w_plus is not None:
            return source.w_plus.to(self.device)
        if source.seed is None:
            raise ArgumentError("a source needs a seed or a w_plus")
        return self.sample(source.seed, source.truncation)

    def replay(self, recipe: Recipe) -> Tensor:
        """The picture [1,3,R,R] of a recipe again. Raises ``ArgumentError`` for other weights."""
        self.check_recipe(recipe)
        return self.render(self.latents(recipe.source), recipe.edits)

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise ``ArgumentError`` unless the recipe was made with these weights."""
        ours = self.hashes("generator")["generator"]
        theirs = recipe.hashes.get("generator", "")
        if ours != theirs:
            raise ArgumentError(
                f"the recipe was made with other weights (generator {theirs[:12] or 'unnamed'}, "
                f"the model {self.model.name!r} has {ours[:12]}): give the model that made it"
            )
        if doubt := self._other_tuning(recipe):
            raise ArgumentError(f"this picture {doubt}")

    def recalls(self, recipe: Recipe, picture: Image.Image) -> str:
        """Whether ``picture`` (RGB) is what ``recipe`` makes here: "", or a clause that says no."""
        if recipe.hashes.get("generator") != self.hashes("generator")["generator"]:
            return "its recipe was made with other weights"
        if recipe.corners is not None:
            return "that is the recipe of one square in it (--photo edits the photo again)"
        if doubt := self._other_tuning(recipe):
            return f"it {doubt}"
        difference = images.largest_difference(images.to_picture(self.replay(recipe)), picture)
        if difference is None or difference > ALIKE:
            return "it was changed after it was made"
        return ""

    def _other_tuning(self, recipe: Recipe) -> str:
        """ "" if a recipe was made with this studio's tuning (or none, as it has none)."""
        theirs = recipe.hashes.get("tuning", "")
        ours = "" if self.tuning is None else self.hashes("tuning")["tuning"]
        if theirs == ours:
            return ""
        if not theirs:
            return "was made without a tuning: leave --tuning out"
        if not ours:
            return (
                f"was drawn by a tuned generator (tuning {theirs[:12]}): give the file that "
                "--save-tuning wrote, with --tuning"
            )
        return f"was drawn with another tuning (expected {theirs[:12]}, got {ours[:12]})"


def uses_latent_map(edit: Edit) -> bool:
    """Whether the model's latent map had a part in finding the edit."""
    by = edit.config.get("relevance")
    if by == "bank":
        return "strengths" in edit.config
    if by is not None:
        return False  # it looked for itself
    mapped = edit.config.get("space") == "mapped" or edit.method == "direction"
    return mapped or "strengths" in edit.config

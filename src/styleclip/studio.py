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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast

import torch
from PIL import Image
from torch import Tensor, nn

import styleclip
from styleclip import images
from styleclip.checkpoints import (
    Bank,
    Model,
    SavedEdit,
    SavedMapper,
    check_bank,
    check_mapper,
    check_tuning,
    load_bank,
    load_clip,
    load_edit,
    load_encoder,
    load_generator,
    load_identity,
    load_image_encoder,
    load_latent_map,
    load_mapper,
    load_tuning,
    load_unfinished,
    read_model,
    save_bank,
    save_edit,
    save_latent_map,
    save_mapper,
    save_tuning,
    save_unfinished,
    tensors_hash,
)
from styleclip.checkpoints.registry import (
    CLIP,
    DESCRIPTION,
    DIRECTIONS,
    ENCODER,
    GENERATOR,
    IDENTITY,
    LATENT_MAP,
    MAPPER,
)
from styleclip.editing.directions import DirectionConfig, find_direction, prompt_direction
from styleclip.editing.edit import Edit, apply_edits
from styleclip.editing.latent_map import LatentMap, LatentMapConfig, measure_latent_map
from styleclip.editing.optimization import OptimizationConfig, optimize
from styleclip.editing.relevance import (
    Relevance,
    RelevanceConfig,
    prompt_relevance,
    relevance_of_map,
    style_statistics,
)
from styleclip.editing.strength import StrengthConfig, fit_strength, fits_by_itself
from styleclip.errors import ArgumentError, CheckpointError, PromptError
from styleclip.faces.alignment import Aligned, Template, align, centre, parse_template
from styleclip.faces.image_encoder import ClipIdentity
from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.inversion.e4e import PyramidEncoder
from styleclip.inversion.encoder import Encoder
from styleclip.inversion.projection import ProjectionConfig, project
from styleclip.inversion.tuning import Tuning, TuningConfig, psnr, tune, tuned_generator
from styleclip.prompts import PromptPair, parse_prompt
from styleclip.recipe import ALIKE, Recipe, Source

if TYPE_CHECKING:
    from styleclip.clip.embedder import ClipEmbedder
    from styleclip.editing.mapper import Mapper
    from styleclip.editing.text_mapper import TextMapper
    from styleclip.faces.landmarks import Landmarks

Ways = Relevance | Literal["instant", "prompt-gradient"]  # how a direction knows what channels do
Part = Literal["generator", "tuning", "clip", "encoder", "latent map"]
OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, figures
SEEN = "latent-map-seen"  # what a latent map that is being measured rests on so far
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


@dataclass(frozen=True)
class How:
    """A method and what it uses: the arguments of ``Studio.edit`` that are not the picture's."""

    config: OptimizationConfig | DirectionConfig | SavedMapper | None = None
    relevance: Ways | None = None
    preserve: Sequence[str] = ()
    fit: StrengthConfig | None = None

    @property
    def needs_latent_map(self) -> bool:
        """Whether the edit asks for the studio's latent map."""
        if isinstance(self.relevance, str):
            return False  # what looks for itself waits for nothing
        if self.fit is not None or fits_by_itself(self.config) or self.config is None:
            return True
        if isinstance(self.config, OptimizationConfig):
            return self.config.space == "mapped"
        return isinstance(self.config, DirectionConfig) and self.relevance is None

    @property
    def needs_quick_map(self) -> bool:
        """Whether it asks for the map of few pictures instead: for R, or for the strength."""
        fitted = self.fit is not None or fits_by_itself(self.config)
        return self.relevance == "instant" or (self.relevance == "prompt-gradient" and fitted)


class Studio:
    """A generator, a CLIP and perhaps an encoder that belong together, on one device."""

    def __init__(
        self, model: Model, device: torch.device | str = "cpu", identity: str | Path | None = None
    ) -> None:
        self.model = model
        self.device = torch.device(device)
        self.identity_by = identity
        self.tuning: Tuning | None = None  # what its generator differs by from the model's
        self._hashes: dict[Part, str] = {}

    @classmethod
    def load(
        cls,
        name: str | Path = "portraits",
        device: torch.device | str = "cpu",
        identity: str | Path | None = None,
    ) -> Self:
        """A model by its name, or a model folder. Raises ``CheckpointError``.

        ``identity``: what tells whether an edit kept who or what is shown, in place of what the
        model brings: "clip" (its CLIP's image tower), a folder or hub name of a DINOv2, or "none".
        """
        return cls(read_model(name), device, identity)

    @cached_property
    def generator(self) -> StyleGAN2:
        return load_generator(self.model.file(GENERATOR)).to(self.device)

    @cached_property
    def embedder(self) -> ClipEmbedder:
        model = self.model
        templates = model.templates
        return load_clip(model.file(CLIP), model.tokenizer, templates=templates).to(self.device)

    @cached_property
    def encoder(self) -> Encoder | PyramidEncoder | None:
        """Image -> w_plus in one pass; None if the model has none."""
        if self.model.find(ENCODER) is None:
            return None
        return load_encoder(self.model.file(ENCODER)).to(self.device)

    @cached_property
    def latent_map(self) -> LatentMap:
        """CLIP's space -> w: the model's own, or measured now, which takes a while."""
        if not self.has_latent_map:
            return self.measure_latent_map()
        file, hashes = self.model.file(LATENT_MAP), partial(self.hashes, "generator", "clip")
        return load_latent_map(file, hashes).to(self.device)

    @property
    def has_latent_map(self) -> bool:
        """Whether it is there already: the model's own, or measured."""
        return "latent_map" in vars(self) or self.model.find(LATENT_MAP) is not None

    def measure_latent_map(
        self, on_step: OnStep | None = None, unfinished: str | Path | None = None
    ) -> LatentMap:
        """From 2,000 samples that CLIP looks at; from now on the ``latent_map`` of this studio.

        With a file for what is ``unfinished``, a measurement that is stopped goes on from there.
        """
        if unfinished is None:
            found = measure_latent_map(self.generator, self.embedder, on_step=on_step)
        else:
            hashes = self.hashes("generator", "clip")

            def keep(seen: Tensor) -> None:
                save_unfinished(unfinished, SEEN, {"embeddings": seen}, hashes)

            seen = load_unfinished(unfinished, SEEN, hashes).get("embeddings")
            found = measure_latent_map(
                self.generator, self.embedder, on_step=on_step, seen=seen, on_seen=keep
            )
            Path(unfinished).unlink(missing_ok=True)
        self.latent_map = found
        return found

    def keep_latent_map(self) -> Path:
        """Write it into the model's folder, where it is found next time. ``CheckpointError``."""
        path = self.model.folder / LATENT_MAP
        save_latent_map(path, self.latent_map, self.hashes("generator", "clip"))
        return path

    @cached_property
    def relevance(self) -> Relevance:
        """What its style channels do, by samples: of the latent map, in a second."""
        return self._by_samples(self.latent_map)

    @cached_property
    def quick_map(self) -> LatentMap:
        """The latent map of a few hundred pictures, which instant answers rest on; never kept."""
        return self.measure_quick_map()

    def measure_quick_map(self, on_step: OnStep | None = None) -> LatentMap:
        """Measure the ``quick_map`` of this studio, once, with progress."""
        if "quick_map" not in vars(self):
            quick = LatentMapConfig.quick()
            self.quick_map = measure_latent_map(self.generator, self.embedder, quick, on_step)
        return self.quick_map

    def _by_samples(self, latent_map: LatentMap) -> Relevance:
        config = RelevanceConfig()
        mean, std = style_statistics(self.generator, config.samples, config.seed, config.truncation)
        return relevance_of_map(self.generator, latent_map, mean, std, config)

    @cached_property
    def bank(self) -> Relevance:
        """The model's own bank, measured channel by channel. Raises ``CheckpointError``."""
        return self.load_bank(self.model.file(DIRECTIONS))

    @cached_property
    def mapper(self) -> SavedMapper:
        """The model's own text mapper. Raises ``CheckpointError`` if it has none."""
        return self.load_mapper(self.model.file(MAPPER))

    @cached_property
    def identity(self) -> nn.Module:
        """Who or what is shown: images -> unit vectors, as ``load`` or model.json ask for.

        The model's identity network if neither does. Raises ``CheckpointError`` if there is none.
        """
        asked = self.identity_by
        if asked is None and self.model.find(IDENTITY) is not None:
            return load_identity(self.model.file(IDENTITY)).to(self.device)
        if asked is None:
            asked = str(self.model.extra.get("identity", "none"))
            if asked != "clip" and (self.model.folder / asked).is_dir():
                asked = self.model.folder / asked  # a path in model.json starts at the model
        if str(asked) == "none":
            raise CheckpointError(
                f"the model {self.model.name!r} has no identity network: choose 'clip' (its CLIP's "
                "image tower) or a folder or hub name of a DINOv2, by --identity or in model.json"
            )
        if str(asked) == "clip":
            return ClipIdentity(self.embedder.embed_images, self.embedder.model)
        if Path(asked).is_file():
            return load_identity(asked).to(self.device)
        return load_image_encoder(asked).to(self.device)

    def samples(self, count: int, seed: int = 0, truncation: float = 1.0) -> Tensor:
        """The w_plus [count,L,D] of pictures drawn from one seed."""
        random = torch.Generator().manual_seed(seed)
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
        if isinstance(picture, Tensor):
            if picture.shape[-2:] != (size, size):
                picture = images.to_picture(picture)
            else:
                return picture.reshape(1, 3, size, size).to(self.device)
        if isinstance(picture, str | Path):
            picture = images.open_picture(picture)
        return images.to_tensor(picture, size).to(self.device)

    @property
    def template(self) -> Template | None:
        """How faces lie in the model's squares; None for pictures of anything else."""
        stated = self.model.extra.get("alignment")
        try:
            return None if stated is None else parse_template(stated)
        except ArgumentError as error:
            raise CheckpointError(f"{self.model.folder / DESCRIPTION}: {error}") from error

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
        config: OptimizationConfig | DirectionConfig | SavedMapper | None = None,
        on_step: OnStep | None = None,
        relevance: Ways | None = None,
        preserve: Sequence[str] = (),
        fit: StrengthConfig | None = None,
        on_edit: Callable[[Edit], None] | None = None,
    ) -> Edit:
        """The edit of ``w_plus`` [B,L,D] that ``prompt`` asks for.

        The kind of ``config`` is the method: latent optimisation by default; a mapper (``mapper``
        is the model's own); or a global direction (by ``relevance``: a bank, None for samples,
        "instant" for few of them, "prompt-gradient" for the prompt's alone; the last two rest on
        nothing that was measured before), with what ``preserve`` names left alone. ``fit``: the
        smallest strength that shows the change, for each picture, for any method (the default
        optimisation and directions without a strength always do). ``on_edit`` is shown what an
        optimisation has after every step. Warns (``PromptWarning``) of
        words that the model does not know. Raises ``PromptError``.
        """
        pair = self.prompt(prompt)
        for message in self.prompt_warnings(pair):
            warnings.warn(message, PromptWarning, stacklevel=2)
        if preserve and not isinstance(config, DirectionConfig):
            raise ArgumentError("only directions can preserve things by name: use that method")
        if isinstance(config, SavedMapper):
            self._check_mapper(config)
            edit = config.edit(self.generator, self.embedder, w_plus, pair)
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
        preserve: Sequence[str] = (),
    ) -> Edit:
        """The direction of ``prompt`` for any picture; arguments and warnings are ``edit``'s."""
        pair = self.prompt(prompt)
        for message in self.prompt_warnings(pair):
            warnings.warn(message, PromptWarning, stacklevel=2)
        return self._direction(pair, config, relevance, preserve)

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
            found = self._by_samples(self.quick_map)
        else:
            found = self.relevance if relevance is None else relevance
        if isinstance(found, Bank):
            check_bank(found, self.hashes("generator", "clip"), self.model.name)
        stay = [each for name in preserve for each in self.concept(name)]
        edit = find_direction(
            found, self.embedder, prompt, config, stay, self.generator.layout
        )  # fmt: skip
        if isinstance(relevance, str):
            edit = replace(edit, config={**edit.config, "relevance": relevance})
        return edit

    def _check_mapper(self, mapper: SavedMapper) -> None:
        """Raise ``CheckpointError`` for a mapper of other weights, where it says whose it is."""
        if mapper.generator_hash:
            check_mapper(mapper, self.hashes("generator", "clip"), self.model.name)

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

    @property
    def vocabulary(self) -> dict[str, list[str]]:
        """Texts that the model knows, by what they are about; empty if it names none."""
        stated = self.model.extra.get("vocabulary", {})
        return {str(name): [str(text) for text in texts] for name, texts in stated.items()}

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
        stack = [(edits, 1.0)] if isinstance(edits, Edit) else list(edits)
        for edit, _ in stack:
            self._check_weights(edit)
        with torch.no_grad():
            style = apply_edits(self.generator, w_plus, [(e, strength * s) for e, s in stack])
            return self.generator.synthesis(style)

    def save_edit(self, path: str | Path, edit: Edit) -> None:
        """Write an edit of this model to one file. Raises ``CheckpointError``."""
        self._check_weights(edit)
        save_edit(path, edit, self.hashes("generator")["generator"])

    def load_edit(self, path: str | Path) -> Edit:
        """Read an edit of this model. Raises ``CheckpointError``, for other weights too."""
        edit = load_edit(path)
        self._check_weights(edit)
        return edit

    def save_tuning(self, path: str | Path, tuning: Tuning) -> None:
        """Write a tuning of this model to one file. Raises ``CheckpointError``."""
        generator = self.hashes("generator")["generator"]
        check_tuning(tuning, generator, self.model.name)
        save_tuning(path, tuning, generator)

    def load_tuning(self, path: str | Path) -> Tuning:
        """Read a tuning of this model. Raises ``CheckpointError``, for other weights too."""
        tuning = load_tuning(path)
        check_tuning(tuning, self.hashes("generator")["generator"], self.model.name)
        return tuning

    def save_bank(self, path: str | Path, relevance: Relevance) -> None:
        """Write a bank of this model's generator and CLIP. Raises ``CheckpointError``."""
        hashes = self.hashes("generator", "clip")
        save_bank(path, relevance, hashes["generator"], hashes["clip"])

    def load_bank(self, path: str | Path) -> Bank:
        """Read a bank of this model, or an official fs3 (see ``checkpoints.load_bank``).

        Raises ``CheckpointError``, for other weights too.
        """
        bank = load_bank(path, self.generator)
        check_bank(bank, self.hashes("generator", "clip"), self.model.name)
        width = bank.matrix.shape[1]
        if width != self.embedder.width:
            raise CheckpointError(
                f"{path} was measured with a CLIP whose vectors have {width} numbers, that of the "
                f"model {self.model.name!r} has {self.embedder.width}: give a bank of this CLIP"
            )
        return bank

    def save_mapper(
        self,
        path: str | Path,
        network: Mapper | TextMapper,
        prompts: Sequence[PromptPair],
        training: Mapping[str, object],
    ) -> None:
        """Write a mapper that was trained on this model. Raises ``CheckpointError``."""
        save_mapper(path, network, prompts, self.hashes("generator", "clip"), training)

    def load_mapper(self, path: str | Path) -> SavedMapper:
        """Read a mapper of this model, or of the official code. Raises ``CheckpointError``."""
        mapper = load_mapper(path)
        self._check_mapper(mapper)
        mapper.network.to(self.device)
        return mapper

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
        ours = self.hashes("generator")["generator"]
        theirs = recipe.hashes.get("generator", "")
        if ours != theirs:
            raise ArgumentError(
                f"the recipe was made with other weights (generator {theirs[:12] or 'unnamed'}, "
                f"the model {self.model.name!r} has {ours[:12]}): give the model that made it"
            )
        if doubt := self._other_tuning(recipe):
            raise ArgumentError(f"this picture {doubt}")
        return self.render(self.latents(recipe.source), recipe.edits)

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

    def _check_weights(self, edit: Edit) -> None:
        if not isinstance(edit, SavedEdit):
            return
        ours = self.hashes("generator")["generator"]
        if edit.generator_hash != ours:
            raise CheckpointError(
                f"the edit {str(edit.prompt)!r} was found with other weights: expected generator "
                f"{edit.generator_hash[:12]}, but the model {self.model.name!r} has {ours[:12]}; "
                "give the model that it was found with"
            )

    def hashes(self, *parts: Part) -> dict[str, str]:
        """SHA-256 of the networks' tensors, by part; of the generator if none is named."""
        for part in parts or ("generator",):
            if part not in self._hashes:
                self._hashes[part] = tensors_hash(self._tensors(part))
        return {part: self._hashes[part] for part in parts or ("generator",)}

    def _tensors(self, part: Part) -> Mapping[str, Tensor]:
        if part == "latent map":
            return vars(self.latent_map)
        if part == "tuning":
            return {} if self.tuning is None else self.tuning.differences
        networks: dict[str, nn.Module | None] = {
            "generator": self.generator,
            "clip": self.embedder.model if part == "clip" else None,
            "encoder": self.encoder if part == "encoder" else None,
        }
        network = networks[part]
        if network is None:
            raise ArgumentError(f"the model {self.model.name!r} has no {part}")
        return network.state_dict()


def uses_latent_map(edit: Edit) -> bool:
    """Whether the model's latent map had a part in finding the edit."""
    if "relevance" in edit.config:
        return False  # it looked for itself
    mapped = edit.config.get("space") == "mapped" or edit.method == "direction"
    return mapped or "strengths" in edit.config

"""The networks of a model, each loaded when it is first used; their hashes; and files of them.

  a name or folder -> Networks -> .generator  .embedder  .encoder  .identity  .latent_map  ...
What was made with a model (edits, tunings, banks, mappers) is written with the hashes of the
networks that made it, and a file of other weights is refused. ``studio.Studio`` is these networks
with verbs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import torch
from torch import Tensor, nn

from styleclip.checkpoints import (
    Bank,
    Model,
    SavedEdit,
    SavedMapper,
    check_bank,
    check_layers,
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
from styleclip.devices import find_device
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap, LatentMapConfig, measure_latent_map
from styleclip.editing.relevance import (
    Relevance,
    RelevanceConfig,
    relevance_of_map,
    style_statistics,
)
from styleclip.errors import ArgumentError, CheckpointError, CheckpointWarning
from styleclip.faces.alignment import Template, parse_template
from styleclip.faces.image_encoder import ClipIdentity
from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.inversion.e4e import PyramidEncoder
from styleclip.inversion.encoder import Encoder
from styleclip.inversion.tuning import Tuning
from styleclip.prompts import PromptPair

if TYPE_CHECKING:
    from styleclip.clip.embedder import ClipEmbedder
    from styleclip.editing.mapper import Mapper
    from styleclip.editing.text_mapper import TextMapper

Part = Literal["generator", "tuning", "clip", "encoder", "latent map"]
OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, figures
SEEN = "latent-map-seen"  # what a latent map that is being measured rests on so far


class Networks:
    """A generator, a CLIP and perhaps an encoder that belong together, on one device."""

    def __init__(
        self, model: Model, device: torch.device | str = "cpu", identity: str | Path | None = None
    ) -> None:
        self.model = model
        self.device = find_device(device)
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

        ``device``: "auto" is the best that is here; ``ArgumentError`` for one that is not.
        ``identity``: what tells whether an edit kept who or what is shown, in place of what the
        model brings: "clip" (its CLIP's image tower), a folder or hub name of a DINOv2, or "none".
        """
        return cls(read_model(name), device, identity)

    @cached_property
    def generator(self) -> StyleGAN2:
        """Latents -> images; of a tuned studio, the tuned one."""
        return load_generator(self.model.file(GENERATOR)).to(self.device)

    @cached_property
    def embedder(self) -> ClipEmbedder:
        """Images and texts -> unit vectors."""
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
        return self.by_samples(self.latent_map)

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

    @cached_property
    def style_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [S] of the style over random pictures."""
        config = RelevanceConfig()
        return style_statistics(self.generator, config.samples, config.seed, config.truncation)

    def by_samples(self, latent_map: LatentMap) -> Relevance:
        """The relevance that a latent map of this model holds: what its style channels do."""
        return relevance_of_map(
            self.generator, latent_map, *self.style_statistics, RelevanceConfig()
        )

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

    @property
    def template(self) -> Template | None:
        """How faces lie in the model's squares; None for pictures of anything else."""
        stated = self.model.extra.get("alignment")
        try:
            return None if stated is None else parse_template(stated)
        except ArgumentError as error:
            raise CheckpointError(f"{self.model.folder / DESCRIPTION}: {error}") from error

    @property
    def vocabulary(self) -> dict[str, list[str]]:
        """Texts that the model knows, by what they are about; empty if it names none."""
        stated = self.model.extra.get("vocabulary", {})
        return {str(name): [str(text) for text in texts] for name, texts in stated.items()}

    def save_edit(self, path: str | Path, edit: Edit) -> None:
        """Write an edit of this model to one file. Raises ``CheckpointError``."""
        self.check_weights(edit)
        save_edit(path, edit, self.hashes("generator")["generator"])

    def load_edit(self, path: str | Path) -> Edit:
        """Read an edit of this model. Raises ``CheckpointError``, for other weights too."""
        edit = load_edit(path)
        self.check_weights(edit)
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
        """Read a mapper of this model, or of the official code.

        Warns (``CheckpointWarning``) of a file that does not say whose mapper it is, as those of
        the official code. Raises ``CheckpointError``, and ``ArgumentError`` for a mapper in S that
        moves layers which this generator has not.
        """
        mapper = load_mapper(path)
        self.check_mapper_weights(mapper)
        check_layers(mapper, self.generator.layout)
        if not mapper.generator_hash:
            warnings.warn(
                f"{path} does not say which generator it was trained for: it is taken for one of "
                f"the model {self.model.name!r}, and on another's pictures it means nothing",
                CheckpointWarning, stacklevel=2,
            )  # fmt: skip
        mapper.network.to(self.device)
        return mapper

    def check_weights(self, edit: Edit) -> None:
        """Raise ``CheckpointError`` for an edit from a file that belongs to other weights."""
        if not isinstance(edit, SavedEdit):
            return
        ours = self.hashes("generator")["generator"]
        if edit.generator_hash != ours:
            raise CheckpointError(
                f"the edit {str(edit.prompt)!r} was found with other weights: expected generator "
                f"{edit.generator_hash[:12]}, but the model {self.model.name!r} has {ours[:12]}; "
                "give the model that it was found with"
            )

    def check_mapper_weights(self, mapper: SavedMapper) -> None:
        """Raise ``CheckpointError`` for a mapper of other weights, where it says whose it is."""
        if mapper.generator_hash:
            check_mapper(mapper, self.hashes("generator", "clip"), self.model.name)

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

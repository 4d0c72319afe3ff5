"""How an edit is asked for: a method by its word, or by its settings, and what goes with it.

  "direction" | "mapper" | "optimize", threshold, alpha  ->  DirectionConfig | SavedMapper | ...
The words are the command line's, and an option of another method is refused as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from styleclip.checkpoints import SavedMapper
from styleclip.editing.directions import DirectionConfig
from styleclip.editing.optimization import OptimizationConfig
from styleclip.editing.relevance import Relevance
from styleclip.editing.strength import StrengthConfig, fits_by_itself
from styleclip.errors import ArgumentError

Method = Literal["optimize", "mapper", "direction"]
Settings = OptimizationConfig | DirectionConfig | SavedMapper
Ways = Relevance | Literal["instant", "prompt-gradient"]  # how a direction knows what channels do
SPELLINGS = {"optimise": "optimize", "optimisation": "optimize", "optimization": "optimize"}


@dataclass(frozen=True)
class How:
    """A method and what it uses: the arguments of ``Studio.edit`` that are not the picture's."""

    config: Settings | None = None
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


def settings_of(
    method: str | None,
    config: Settings | None,
    threshold: float | None,
    alpha: float | None,
    mapper: Callable[[], SavedMapper],
) -> Settings | None:
    """What a method's word, or ``config``, and the options of a direction ask for together.

    ``mapper`` gives the model's own. Raises ``ArgumentError`` for what does not go together.
    """
    check_settings(config)
    named = _method_of(config) if method is None else _word(method)
    if config is not None and named != _method_of(config):
        raise ArgumentError(
            f"method {method!r} and {type(config).__name__} are two methods: leave one of them out"
        )
    for name, value in (("threshold", threshold), ("alpha", alpha)):
        if value is not None and named != "direction":
            raise ArgumentError(f"{name} belongs to method='direction': leave it out or add that")
    if named == "direction":
        direction = config if isinstance(config, DirectionConfig) else DirectionConfig()
        asked = {"threshold": threshold, "strength": alpha}
        return replace(direction, **{k: v for k, v in asked.items() if v is not None})  # type: ignore[arg-type]
    return mapper() if named == "mapper" and config is None else config


def check_settings(config: object) -> None:
    """Raise ``ArgumentError`` for what is no method's settings, such as its name."""
    if not (config is None or isinstance(config, Settings)):
        raise ArgumentError(
            f"the settings of a method are OptimizationConfig(), DirectionConfig() or a mapper, "
            f"got {config!r}: give method='direction', 'mapper' or 'optimize' for the usual ones"
        )


def _method_of(config: Settings | None) -> Method:
    if isinstance(config, SavedMapper):
        return "mapper"
    return "direction" if isinstance(config, DirectionConfig) else "optimize"


def _word(method: str) -> str:
    word = SPELLINGS.get(method, method) if isinstance(method, str) else method
    if word not in get_args(Method):
        raise ArgumentError(f"there is no method {method!r}: choose direction, mapper or optimize")
    return word

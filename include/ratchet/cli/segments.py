"""A model or one of its segments, as commands take it: `flight_delay`, `flight_delay/UA`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from include.ratchet.errors import ModelNotFoundError
from include.ratchet.spec import Model, ModelKey

if TYPE_CHECKING:
    from include.ratchet.pipeline.workspace import Workspace

KeyName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL[/SEGMENT]", help="Name of the model, and of one of its segments: flight_delay/UA.",
        show_default=False,
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What a caller named.

    Attributes:
        model: whose.
        key: of the segment, or of the whole model, which is the pooled one of a model divided into segments.
        is_fleet: whether it names a model divided into segments and none of them: all of them are meant where that
            makes sense. The pooled model alone is `MODEL/all`.
    """

    model: Model
    key: ModelKey
    is_fleet: bool

    @property
    def single(self) -> ModelKey:
        """The key, of a command that tells of one model.

        Raises:
            ModelNotFoundError: only segments have models, and none was named.
        """
        if self.key.is_pool and not self.model.spec.has_whole:
            message = f"{self.key} has no model of all its rows (segments.pool: false); name a segment: {self.key}/NAME"
            raise ModelNotFoundError(message)
        return self.key


def choose(workspace: Workspace, text: str) -> Choice:
    """The key that a caller named.

    Raises:
        ModelNotFoundError: no such model, or no such segment of it, with the near names.
    """
    from include.ratchet.rollout.keys import find_key

    named = ModelKey.parse(text)
    model = workspace.model(named.model)
    has_segment = bool(text.partition("/")[2])
    key = find_key(workspace.settings, model, named.segment if has_segment else None)
    return Choice(model, key, is_fleet=model.spec.segments is not None and not has_segment)

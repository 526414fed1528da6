"""Which version answers whom: the routes of a hand-over, as the prediction service follows them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from include.ratchet.settings import Settings
    from include.ratchet.spec import ModelKey
    from include.ratchet.spec.dependencies import HoldoutSpec
    from include.ratchet.spec.serving import Strategy

_BITS = 53
"""As many as a float holds exactly, so that every bucket is below 1."""


class Choice(NamedTuple):
    """What happens with one row.

    Attributes:
        version: the one that predicts.
        route: whether it answers, and as which; `defer` leaves the answer to a person, `pinned` was asked for by its
            number, whatever the route. Of `holdout` the answer is withheld, so that nobody acts on it.
        shadow: a further version that predicts off the response path and is only recorded.
    """

    version: int
    route: Literal["champion", "challenger", "defer", "pinned", "holdout"]
    shadow: int | None = None


@dataclass(frozen=True)
class Route:
    """How the rows of one model key are divided.

    Attributes:
        mode: of the present stage.
        champion: answers what the challenger does not.
        challenger: the version that production may pass to; None where there is none in hand.
        share: of the keys, from 0 to 1, that the challenger answers; in `defer`, that the model answers.
        salt: of the buckets, so that no two hand-overs try the same keys first.
        is_shadowed: the one of the two that does not answer predicts too, recorded only.
    """

    mode: Strategy
    champion: int
    challenger: int | None = None
    share: float = 0.0
    salt: str = ""
    is_shadowed: bool = False

    def choose(self, key: str, holdout: HoldoutSpec | None = None) -> Choice:
        """What happens with a row: the same for the same key, and for every key below a share once it was.

        A row that is held out is the champion's, whoever would have answered it; a version that is in its shadow, or
        in whose shadow it is, predicts it as well, so that both can be compared on it. What a person answers stays
        theirs.
        """
        chosen = self._divide(key)
        if holdout is None or chosen.route == "defer" or not is_held(holdout, key):
            return chosen
        return Choice(self.champion, "holdout", None if chosen.shadow is None else self.challenger)

    def _divide(self, key: str) -> Choice:
        if self.mode == "defer":
            is_answered = self.share > 0 and bucket_of(self.salt, key) < self.share
            return Choice(self.champion, "champion" if is_answered else "defer")
        if self.challenger is None or self.mode == "direct":
            return Choice(self.champion, "champion")
        if self.mode == "shadow":
            return Choice(self.champion, "champion", self.challenger)
        if self.share > 0 and bucket_of(self.salt, key) < self.share:
            return Choice(self.challenger, "challenger", self.champion if self.is_shadowed else None)
        return Choice(self.champion, "champion", self.challenger if self.is_shadowed else None)

    @property
    def versions(self) -> tuple[int, ...]:
        """All that must be loaded, the champion first: also one that answers nothing yet, or nothing any more."""
        if self.challenger is None or self.mode in ("direct", "defer"):
            return (self.champion,)
        return (self.champion, self.challenger)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Route:
        """The route back from its JSON form."""
        return cls(**content)


def is_held(holdout: HoldoutSpec, key: str) -> bool:
    """Whether a key is held out, whatever hand-over is going on: its buckets are none of a hand-over's."""
    return bucket_of(f"{holdout.salt}/holdout", key) < holdout.share


def bucket_of(salt: str, key: str) -> float:
    """Where a key lies in [0, 1), evenly spread and always the same."""
    # The salt's length is written first: no other salt and key give the same text.
    text = f"{len(salt)}:{salt}{key}".encode(errors="surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return (number >> (64 - _BITS)) / (1 << _BITS)


def read_routes(settings: Settings) -> dict[ModelKey, Route]:
    """The routes of every model key that has a champion, in one query; without a hand-over its mode is `direct`."""
    from sqlalchemy import and_, select

    from include.ratchet.registry.database import aliases, engine_of, rollouts
    from include.ratchet.registry.ledger import CHAMPION
    from include.ratchet.spec import ModelKey

    same = and_(aliases.c.model == rollouts.c.model, aliases.c.segment == rollouts.c.segment)
    query = (
        select(aliases.c.model, aliases.c.segment, aliases.c.version, rollouts.c.state["route"].label("route"))
        .select_from(aliases.outerjoin(rollouts, same))
        .where(aliases.c.alias == CHAMPION)
    )
    with engine_of(settings.database_url).connect() as connection:
        rows = connection.execute(query).all()
    return {ModelKey(model, segment): _route(champion, route) for model, segment, champion, route in rows}


def _route(champion: int, content: Mapping[str, Any] | None) -> Route:
    """A hand-over whose champion has moved meanwhile is void, but people go on doing what they did."""
    if not content:
        return Route("direct", champion)
    if content["champion"] == champion:
        return Route.from_dict(content)
    if content["mode"] == "defer":
        return Route.from_dict({**content, "champion": champion})
    return Route("direct", champion)

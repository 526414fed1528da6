"""How several people's labels of one row become the one that is learnt from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from include.ratchet.spec.base import Spec

ANNOTATIONS = "_annotations"
"""Name of the table of annotations; no table of a spec can have it."""
SOURCE = "source"
"""The labeller that the model's own source is."""

Rule = Literal["majority", "median", "unanimous", "latest", "first_of"]


class ReviewSpec(Spec):
    """The queue of rows whose label a person should look at."""

    max_rows: int = Field(default=200, ge=1)
    """At most so many likely errors join the queue at a time, the likeliest first."""
    folds: int = Field(default=5, ge=2, le=20)
    """Parts into which rows are cut, so that each is predicted by a model that has not seen its label."""


class AnnotationsSpec(Spec):
    """Labels that people give beside the source's, and which of them counts.

    Of each labeller the newest annotation counts; the label that the source gave is one of labeller `source`.
    A review stands above the rule.
    """

    rule: Rule
    """`majority`: what most say; `median`: of numbers; `unanimous`: what all say; `latest`: the newest;
    `first_of`: of the labellers who come first in `order`, what most say (of numbers the median)."""
    order: tuple[str, ...] = ()
    """Of `first_of`: labellers, or patterns such as `*@experts.org`; those that nothing matches do not count."""
    min_labellers: int = Field(default=1, ge=1)
    """With fewer a row has no label; `source` is one."""
    review: ReviewSpec = ReviewSpec()

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if (self.rule == "first_of") != bool(self.order):
            message = (
                f"rule {self.rule} with order {list(self.order)}; expected `order` with labellers for rule first_of, "
                "and none for another rule"
            )
            raise ValueError(message)
        return self

"""What a training set's labels are like: how its classes are divided, and how far the people behind them agree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from include.ratchet.labels.agreement import Agreement, measure_agreement
from include.ratchet.labels.balance import Balance, count_classes
from include.ratchet.labels.human import HumanLevel, measure_humans
from include.ratchet.labels.state import read_state
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from include.ratchet.training.split import Rows


@dataclass(frozen=True)
class LabelFacts:
    """What a training set's labels are like.

    Attributes:
        balance: of its classes; None of a regression.
        agreement: of its labellers; None where the source is the only one.
        human: what people reach; None where no row has labels of several.
    """

    balance: Balance | None
    agreement: Agreement | None = None
    human: HumanLevel | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "classes": self.balance.to_dict() if self.balance else None,
            "agreement": self.agreement.to_dict() if self.agreement else None,
            "human": self.human.to_dict() if self.human else None,
        }


def describe_labels(
    settings: Settings, model: Model, table: pa.Table, test: Rows, as_of: datetime, *, with_people: bool = True
) -> LabelFacts:
    """Describe the labels of a training set.

    Args:
        settings: where annotations are.
        model: whose.
        table: the snapshot's rows.
        test: row numbers of its test part.
        as_of: what was said of labels then or later is not seen.
        with_people: whether to read what people said, which is of the whole model and not of a segment.
    """
    balance = count_classes(model.spec, table, test)
    if not with_people or model.spec.label.annotations is None:
        return LabelFacts(balance)
    rulings = list(read_state(settings, model, as_of).rulings.values())
    return LabelFacts(balance, measure_agreement(model.spec, rulings), measure_humans(model.spec, rulings))

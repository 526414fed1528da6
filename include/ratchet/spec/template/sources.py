"""Where the rows come from. This one invents orders, the same ones every time; put yours in its place."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd


def orders(partition: Any, as_of: datetime) -> pd.DataFrame:
    """The orders of one partition as they could be known at an instant."""
    generator = np.random.default_rng(int(partition.start.timestamp()))
    size = 200
    price = generator.lognormal(3, 0.6, size).round(2)
    shop = generator.choice(["north", "south", "web"], size, p=[0.3, 0.3, 0.4])
    risk = 1 / (1 + np.exp(2.5 - 0.04 * price - 1.2 * (shop == "web")))
    minutes = np.sort(generator.integers(0, 24 * 60, size))
    return pd.DataFrame(
        {
            "order_id": [f"{partition.key}-{number:04d}" for number in range(size)],
            "ordered_at": [partition.start + timedelta(minutes=int(minute)) for minute in minutes],
            "shop": shop,
            "price": price,
            "is_returned": generator.random(size) < risk,
        }
    )

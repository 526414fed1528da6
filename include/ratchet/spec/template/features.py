"""What is known of an order when its prediction is made."""

from __future__ import annotations

from include.ratchet.features import Features, Tables, rolling


def features(t: Tables) -> Features:
    """The features, in the order in which models see them."""
    order = t.rows
    return Features(
        shop=order.shop,
        price=order.price,
        shop_return_rate_7d=rolling(t.history, by="shop", over="7d").mean("is_returned"),
    )

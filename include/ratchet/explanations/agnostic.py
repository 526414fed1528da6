"""Shapley values of anything that predicts: from every set of columns where they are few, else from random orders."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.ratchet.training.metrics import Floats

EVALUATIONS = 25_600
"""Predictions that explain one row: every set of 8 columns on a background of 100 rows."""
Predict = Callable[[pd.DataFrame], Floats]
"""(n_rows, n_outputs) of feature rows."""


def can_enumerate(columns: int, background: int) -> bool:
    """Whether every set of columns is asked for."""
    return columns < 20 and 2**columns * background <= EVALUATIONS


def enumerate_sets(predict: Predict, background: pd.DataFrame, row: pd.DataFrame) -> Floats:
    """Exact contributions to one row, (n_columns, n_outputs).

    Args:
        predict: what is explained.
        background: (n_background, n_columns).
        row: (1, n_columns).
    """
    columns, size = background.shape[1], len(background)
    sets = np.arange(2**columns)
    members = (sets[:, None] >> np.arange(columns)) & 1 == 1
    values = predict(_mix(background, row, members)).reshape(len(sets), size, -1).mean(axis=1)
    sizes = members.sum(axis=1)
    weights = np.array([factorial(k) * factorial(columns - k - 1) / factorial(columns) for k in range(columns)])
    found = np.zeros((columns, values.shape[1]))
    for column in range(columns):
        without = sets[~members[:, column]]
        gains = values[without | (1 << column)] - values[without]
        found[column] = (weights[sizes[without], None] * gains).sum(axis=0)
    return found


def sample_orders(
    predict: Predict, background: pd.DataFrame, row: pd.DataFrame, seed: int
) -> tuple[Floats, Floats]:  # fmt: skip
    """Estimated contributions to one row and their standard errors, (n_columns, n_outputs) each.

    Every background row is taken as often, each time in a random order of columns and in its reverse (Mitchell et al.
    2022, JMLR 23 (43), antithetic sampling), so that base and contributions sum to the prediction exactly.

    Args:
        predict: what is explained.
        background: (n_background, n_columns).
        row: (1, n_columns).
        seed: of the orders; the same for every row, so that a row's numbers do not depend on those beside it.
    """
    columns, size = background.shape[1], len(background)
    repeats = max(2, EVALUATIONS // (2 * (columns + 1) * size))
    generator = np.random.default_rng(seed)
    twice, draws = pd.concat([background, background], ignore_index=True), []
    for _ in range(repeats):
        orders = generator.permuted(np.tile(np.arange(columns), (size, 1)), axis=1)
        forward = np.argsort(orders, axis=1)
        ranks = np.concatenate([forward, columns - 1 - forward])
        # (n_steps, 2 * n_background, n_columns): after so many steps, which columns are the row's.
        members = ranks[None] < np.arange(columns + 1)[:, None, None]
        steps = predict(_mix_each(twice, row, members)).reshape(columns + 1, 2 * size, -1)
        # The step at which a column became the row's is its rank.
        gains = np.take_along_axis(np.diff(steps, axis=0), ranks.T[:, :, None], axis=0)
        draws.append((gains[:, :size] + gains[:, size:]) / 2)
    # Background rows are not drawn: what varies is the order within each.
    variance = np.var(draws, axis=0, ddof=1).mean(axis=1) / (repeats * size)
    return np.mean(draws, axis=(0, 2)), np.sqrt(variance)


def _mix(background: pd.DataFrame, row: pd.DataFrame, members: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Every background row for each set, with the set's columns from the row: (n_sets * n_background, n_columns)."""
    return _mix_each(background, row, np.repeat(members[:, None], len(background), axis=1))


def _mix_each(background: pd.DataFrame, row: pd.DataFrame, members: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """The same with sets of each background row's own: `members` is (n_sets, n_background, n_columns)."""
    size = len(background)
    places = np.where(members, size, np.arange(size)[:, None]).reshape(-1, members.shape[2])
    mixed = {}
    for column, name in enumerate(background.columns):
        known = np.concatenate([background[name].to_numpy(), row[name].to_numpy()])
        mixed[name] = known[places[:, column]]
    return pd.DataFrame(mixed)

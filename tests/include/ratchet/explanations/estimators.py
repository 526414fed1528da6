"""Rows with gaps, categories and a constant column, and estimators of every kind that is taken apart or asked."""

from __future__ import annotations

import itertools
from math import factorial
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("a", "b", "c", "shop", "size")


def make_rows(count: int = 400, seed: int = 3) -> pd.DataFrame:
    """Numbers, one of them with gaps, text with gaps, and a column that is always the same."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "a": draw.normal(size=count), "b": draw.normal(size=count), "c": draw.normal(size=count),
        "shop": draw.choice(np.array(["north", "south", "web", None], dtype=object), count), "size": np.ones(count),
    })  # fmt: skip
    frame.loc[draw.random(count) < 0.2, "b"] = np.nan
    return frame


def make_label(frame: pd.DataFrame, task: str) -> np.ndarray:
    value = (frame["a"] * frame["b"].fillna(2) + frame["c"] ** 2 + 1.5 * (frame["shop"] == "web")).to_numpy()
    if task == "regression":
        return value
    if task == "multiclass":
        return np.array(["low", "middle", "high"])[np.digitize(value, [0.5, 2])]
    return (value > 1).astype(int)


def pipeline(last: Any, *, one_hot: bool, gaps: bool) -> Any:
    """A last step behind encoders of text and, where it takes no gaps, an imputer that says where they were."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    text = OneHotEncoder(handle_unknown="ignore") if one_hot else OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    )  # fmt: skip
    numbers = "passthrough" if gaps else make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    prepare = make_column_transformer((text, ["shop"]), (numbers, ["size", "c", "b", "a"]))
    return make_pipeline(prepare, last)


def brute_force(value: Any, background: pd.DataFrame, row: pd.DataFrame) -> np.ndarray:
    """Shapley values by their definition: every set of columns, as a loop. (n_columns, n_outputs)."""
    names, mixtures = list(background.columns), {}
    for members in itertools.product([False, True], repeat=len(names)):
        mixed = background.copy()
        for name, inside in zip(names, members, strict=True):
            if inside:
                mixed[name] = np.array([row[name].iloc[0]] * len(mixed), dtype=mixed[name].dtype)
        mixtures[members] = mixed
    found = np.asarray(value(pd.concat(mixtures.values(), ignore_index=True)))
    worth = dict(zip(mixtures, found.reshape(len(mixtures), len(background), -1).mean(axis=1), strict=True))
    count, values = len(names), []
    for place in range(count):
        total = 0.0
        for members, before in worth.items():
            if not members[place]:
                inside = sum(members)
                after = worth[(*members[:place], True, *members[place + 1 :])]
                total = total + factorial(inside) * factorial(count - inside - 1) / factorial(count) * (after - before)
        values.append(total)
    return np.array(values)

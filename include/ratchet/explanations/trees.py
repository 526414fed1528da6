"""Decision trees of scikit-learn and LightGBM in one form: nodes with their conditions, leaves with their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.ratchet.explanations.encoding import NotSeparableError
from include.ratchet.training.metrics import Floats

_ZERO = 1e-35
"""What LightGBM takes for zero where zeros are missing values."""


@dataclass(frozen=True)
class Tree:
    """One tree. A node without children is a leaf; a row goes left where its value is at most the threshold.

    Attributes:
        column: (n_nodes,) encoded column that a node asks for.
        threshold: (n_nodes,).
        left: (n_nodes,) position of the left child; -1 of a leaf.
        right: (n_nodes,).
        is_missing_left: (n_nodes,) where missing values go.
        values: (n_nodes, n_outputs) what a leaf adds to the prediction.
        categories: by node that divides categories, those that go left.
        is_zero_missing: (n_nodes,) whether a zero counts as missing; None: nowhere.
    """

    column: npt.NDArray[np.int64]
    threshold: Floats
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    is_missing_left: npt.NDArray[np.bool_]
    values: Floats
    categories: dict[int, frozenset[int]] = field(default_factory=dict)
    is_zero_missing: npt.NDArray[np.bool_] | None = None

    def goes_left(self, rows: Floats) -> npt.NDArray[np.bool_]:
        """Whether each row would go left at each node, (n_rows, n_nodes)."""
        found = rows[:, self.column]
        is_missing = np.isnan(found)
        if self.is_zero_missing is not None:
            is_missing |= self.is_zero_missing & (np.abs(found) <= _ZERO)
        goes = found <= self.threshold
        for node, known in self.categories.items():
            goes[:, node] = np.isin(np.trunc(found[:, node]), list(known))
        return np.where(is_missing, self.is_missing_left, goes)


@dataclass(frozen=True)
class Ensemble:
    """Trees whose values sum, with what is added to them.

    Attributes:
        trees: of the ensemble.
        offset: (n_outputs,).
        order: columns in the order in which the trees number them; None: as they come.
        encoder: turns rows into what the trees compare, if the estimator does so itself.
        single: whether values are compared in single precision.
    """

    trees: tuple[Tree, ...]
    offset: Floats
    order: tuple[int, ...] | None = None
    encoder: Any = None
    single: bool = False

    def prepare(self, rows: Floats) -> Floats:
        """Rows as the trees compare them."""
        if self.encoder is not None:
            names = getattr(self.encoder, "feature_names_in_", None)
            given = rows if names is None else pd.DataFrame(rows, columns=list(names))
            return np.asarray(self.encoder.transform(given), dtype=np.float64)
        return rows.astype(np.float32).astype(np.float64) if self.single else rows


def read_trees(estimator: Any) -> Ensemble:
    """The trees of a fitted estimator.

    Raises:
        NotSeparableError: it is no ensemble of trees whose form is known.
    """
    if hasattr(estimator, "_predictors") and hasattr(estimator, "_baseline_prediction"):
        return _read_histogram(estimator)
    if hasattr(estimator, "booster_"):
        return _read_lightgbm(estimator.booster_.dump_model())
    if hasattr(estimator, "tree_"):
        return Ensemble((_read_tree(estimator.tree_, 1.0),), np.zeros(_width(estimator.tree_)), single=True)
    if hasattr(estimator, "estimators_") and type(estimator).__module__.startswith("sklearn.ensemble."):
        inside = np.asarray(estimator.estimators_, dtype=object)
        if all(hasattr(one, "tree_") for one in inside.ravel()):
            return _read_boosting(estimator) if inside.ndim == 2 else _read_forest(inside)
    message = f"{type(estimator).__name__} is no linear model and no ensemble of trees whose form is known"
    raise NotSeparableError(message)


def _width(tree: Any) -> int:
    return int(tree.value.shape[2])


def _read_tree(tree: Any, weight: float, width: int = 0, output: int = 0) -> Tree:
    """A tree of scikit-learn; a boosted one adds to one output of several."""
    values = np.asarray(tree.value[:, 0, :], dtype=np.float64) * weight
    if width:
        spread = np.zeros((len(values), width))
        spread[:, output] = values[:, 0]
        values = spread
    missing = np.asarray(tree.missing_go_to_left, dtype=bool)
    return Tree(np.maximum(tree.feature, 0).astype(np.int64), tree.threshold, tree.children_left.astype(np.int64),
                tree.children_right.astype(np.int64), missing, values)  # fmt: skip


def _read_forest(trees: npt.NDArray[Any]) -> Ensemble:
    found = tuple(_read_tree(one.tree_, 1 / len(trees)) for one in trees)
    return Ensemble(found, np.zeros(found[0].values.shape[1]), single=True)


def _read_boosting(estimator: Any) -> Ensemble:
    width = estimator.estimators_.shape[1]
    found = tuple(
        _read_tree(one.tree_, estimator.learning_rate, width, output)
        for stage in estimator.estimators_
        for output, one in enumerate(stage)
    )
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))
    return Ensemble(found, np.asarray(start, dtype=np.float64)[0], single=True)


def _read_histogram(estimator: Any) -> Ensemble:
    """Histogram boosting, which puts its categories first and numbers them by itself."""
    offset = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
    found = []
    for stage in estimator._predictors:
        for output, one in enumerate(stage):
            nodes = one.nodes
            is_leaf = nodes["is_leaf"].astype(bool)
            values = np.zeros((len(nodes), len(offset)))
            values[:, output] = nodes["value"]
            # At a leaf, and where categories divide, the threshold means nothing.
            split = np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf)
            categories = {int(node): _members(one.raw_left_cat_bitsets[nodes["bitset_idx"][node]]) for node in split}
            left, right = (np.where(is_leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
            found.append(Tree(
                nodes["feature_idx"].astype(np.int64), nodes["num_threshold"], left, right,
                nodes["missing_go_to_left"].astype(bool), values, categories,
            ))  # fmt: skip
    if estimator._preprocessor is None:
        return Ensemble(tuple(found), offset)
    is_category = np.asarray(estimator.is_categorical_, dtype=bool)
    order = (*np.flatnonzero(is_category).tolist(), *np.flatnonzero(~is_category).tolist())
    return Ensemble(tuple(found), offset, order, estimator._preprocessor)


def _members(bitset: npt.NDArray[np.uint32]) -> frozenset[int]:
    return frozenset(int(one) for one in np.flatnonzero(np.unpackbits(bitset.view(np.uint8), bitorder="little")))


def _read_lightgbm(dump: dict[str, Any]) -> Ensemble:
    width = int(dump["num_tree_per_iteration"])
    trees = tuple(_read_dumped(one["tree_structure"], width, place % width)
                  for place, one in enumerate(dump["tree_info"]))  # fmt: skip
    return Ensemble(trees, np.zeros(width))


def _read_dumped(root: dict[str, Any], width: int, output: int) -> Tree:
    nodes = list(_walk(root))
    place = {id(node): number for number, node in enumerate(nodes)}
    children = {side: np.array([place[id(node[f"{side}_child"])] if f"{side}_child" in node else -1 for node in nodes])
                for side in ("left", "right")}  # fmt: skip
    values = np.zeros((len(nodes), width))
    values[:, output] = [node.get("leaf_value", 0.0) for node in nodes]
    categories = {
        number: frozenset(int(one) for one in str(node["threshold"]).split("||"))
        for number, node in enumerate(nodes)
        if node.get("decision_type") == "=="
    }
    threshold = [0.0 if number in categories else float(node.get("threshold", 0.0))
                 for number, node in enumerate(nodes)]  # fmt: skip
    kinds = np.array([str(node.get("missing_type", "None")) for node in nodes])
    is_number = np.array([number not in categories for number in range(len(nodes))])
    # A missing value of a column that had none in training counts as zero; one among categories goes right.
    by_default = np.array([bool(node.get("default_left")) for node in nodes])
    missing = np.where(kinds == "None", np.array(threshold) >= 0, by_default) & is_number
    is_zero = (kinds == "Zero") & is_number
    column = np.array([int(node.get("split_feature", 0)) for node in nodes])
    return Tree(column, np.array(threshold), children["left"], children["right"], missing, values, categories,
                is_zero if is_zero.any() else None)  # fmt: skip


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for side in ("left_child", "right_child"):
        if side in node:
            yield from _walk(node[side])

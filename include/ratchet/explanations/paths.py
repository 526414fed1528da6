"""Exact interventional Shapley values of trees, leaf by leaf, for columns that may be encoded as several.

A leaf answers a mixture of a row and a background row if, on the way to it, every column's conditions hold in the one
that the column was taken from. So a leaf is a game of its own: it pays its value to the sets that hold all columns that
only the row satisfies (u) and none that only the background row satisfies (w), which has a closed form (Laberge and
Pequignot 2022, arXiv 2209.15123; the same as interventional TreeSHAP, Lundberg et al. 2020). Conditions on several
encoded columns of one column are one player's: the values are of the spec's columns, whatever the encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import lgamma

import numpy as np
import numpy.typing as npt

from include.ratchet.explanations.encoding import NotSeparableError, Sources
from include.ratchet.explanations.trees import Ensemble, Tree
from include.ratchet.training.metrics import Floats

LEAVES = 200_000
"""Of an ensemble that is taken apart; with more, a row takes a second, and the background hundreds of megabytes."""
_PLAYERS = 63
"""Columns that the way to one leaf may ask for: a bit of a number for each."""
_Bits = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class _Leaves:
    """A tree's leaves.

    Attributes:
        node: (n_conditions,) of each condition on the way to each leaf.
        is_left: (n_conditions,) which way leads to the leaf.
        bit: (n_conditions,) of the column that the node asks for, among those of this way.
        starts: (n_leaves,) where each leaf's conditions begin.
        players: (n_leaves, n_bits) the column of each bit; 0 where there is none.
        values: (n_leaves, n_outputs).
    """

    node: npt.NDArray[np.int64]
    is_left: npt.NDArray[np.bool_]
    bit: _Bits
    starts: npt.NDArray[np.int64]
    players: npt.NDArray[np.int64]
    values: Floats

    def violations(self, goes_left: npt.NDArray[np.bool_]) -> _Bits:
        """By row and leaf, the bits of columns of which a condition does not hold, (n_rows, n_leaves)."""
        broken = np.where(goes_left[:, self.node] == self.is_left, np.uint64(0), self.bit)
        return np.bitwise_or.reduceat(broken, self.starts, axis=1)


class TreeExplainer:
    """Attributes predictions of an ensemble to columns, against fixed background rows.

    Args:
        ensemble: of trees.
        background: (n_background, n_encoded).
        sources: by encoded column, the column that it comes from.
        columns: how many there are.

    Raises:
        NotSeparableError: there are too many leaves, or the way to one asks for too many columns.
    """

    def __init__(self, ensemble: Ensemble, background: Floats, sources: Sources, columns: int) -> None:
        leaves_in_all = sum(int((tree.left < 0).sum()) for tree in ensemble.trees)
        if leaves_in_all > LEAVES:
            message = f"its trees have {leaves_in_all} leaves; at most {LEAVES} are taken apart"
            raise NotSeparableError(message)
        self._ensemble, self._columns = ensemble, columns
        order = ensemble.order or range(len(sources))
        players = np.array([sources[place] for place in order], dtype=np.int64)
        rows = ensemble.prepare(background)
        self._constant = ensemble.offset.copy()
        self._parts: list[tuple[Tree, _Leaves, _Bits, npt.NDArray[np.uint8]]] = []
        for tree in ensemble.trees:
            if tree.left[0] < 0:
                self._constant = self._constant + tree.values[0]
                continue
            leaves = _read_leaves(tree, players)
            broken = leaves.violations(tree.goes_left(rows))
            self._parts.append((tree, leaves, broken, np.bitwise_count(broken)))
        self.base: Floats = self._constant + sum(
            one.values[np.nonzero(broken == 0)[1]].sum(axis=0) / len(rows) for _, one, broken, _ in self._parts
        )
        self._gain, self._loss = _weights(max((one.players.shape[1] for _, one, _, _ in self._parts), default=1))

    def predict(self, rows: Floats) -> Floats:
        """What encoded rows sum to, (n_rows, n_outputs)."""
        prepared = self._ensemble.prepare(rows)
        found = np.tile(self._constant, (len(rows), 1))
        for tree, leaves, _, _ in self._parts:
            reached = np.argmin(leaves.violations(tree.goes_left(prepared)), axis=1)  # the one that nothing violates
            found += leaves.values[reached]
        return found

    def attribute(self, rows: Floats) -> Floats:
        """Contributions of columns to encoded rows, (n_rows, n_columns, n_outputs)."""
        found = np.zeros((len(rows), self._columns, len(self.base)))
        prepared = self._ensemble.prepare(rows)
        for tree, leaves, others, counts in self._parts:
            own = leaves.violations(tree.goes_left(prepared))
            for row in range(len(rows)):
                self._add(found[row], leaves, own[row], others, counts)
        return found

    def _add(self, found: Floats, leaves: _Leaves, own: _Bits, others: _Bits, counts: npt.NDArray[np.uint8]) -> None:
        """Add what the leaves of one tree pay to the columns of one row."""
        # A leaf that neither reaches, or of which a column holds in neither, pays nothing.
        pairs, leaf = np.nonzero((own & others) == 0)
        by_row, by_other = counts[pairs, leaf], np.bitwise_count(own)[leaf]
        size, width = leaves.players.shape
        gain, loss = self._gain[by_row, by_other], self._loss[by_row, by_other]
        lost = np.bincount(leaf, loss, size)
        shares = np.empty((size, width))
        held = others[pairs, leaf]
        for place in range(width):
            bit = np.uint64(1 << place)
            won = np.bincount(leaf, gain * ((held & bit) != 0), size)
            shares[:, place] = won - lost * ((own & bit) != 0)
        shares /= len(others)
        players = leaves.players.ravel()
        for output in range(found.shape[1]):
            paid = (shares * leaves.values[:, output, None]).ravel()
            found[:, output] += np.bincount(players, paid, self._columns)


def _weights(most: int) -> tuple[Floats, Floats]:
    """What a column of the row gets of a leaf, and one of the background row loses: by u and w, each up to `most`."""
    gain, loss = np.zeros((most + 1, most + 1)), np.zeros((most + 1, most + 1))
    for u in range(most + 1):
        for w in range(most + 1):
            if u:
                gain[u, w] = np.exp(lgamma(u) + lgamma(w + 1) - lgamma(u + w + 1))
            if w:
                loss[u, w] = np.exp(lgamma(u + 1) + lgamma(w) - lgamma(u + w + 1))
    return gain, loss


def _read_leaves(tree: Tree, players: npt.NDArray[np.int64]) -> _Leaves:
    ways = list(_ways(tree))
    node = np.array([step for _, way in ways for step, _ in way], dtype=np.int64)
    is_left = np.array([side for _, way in ways for _, side in way], dtype=bool)
    bits, asked = [], []
    for _, way in ways:
        order = {int(one): None for one in players[tree.column[[step for step, _ in way]]]}
        place = {one: number for number, one in enumerate(order)}
        if len(place) > _PLAYERS:
            message = f"the way to a leaf asks for {len(place)} columns; at most {_PLAYERS} are taken apart"
            raise NotSeparableError(message)
        bits += [1 << place[int(players[tree.column[step]])] for step, _ in way]
        asked.append(list(order))
    width = max(map(len, asked))
    return _Leaves(
        node, is_left, np.array(bits, dtype=np.uint64),
        np.cumsum([0, *(len(way) for _, way in ways[:-1])]),
        np.array([[*one, *[0] * (width - len(one))] for one in asked], dtype=np.int64),
        tree.values[[leaf for leaf, _ in ways]],
    )  # fmt: skip


def _ways(tree: Tree) -> Iterator[tuple[int, list[tuple[int, bool]]]]:
    """Every leaf with the nodes that lead to it, and the side taken at each."""
    waiting: list[tuple[int, list[tuple[int, bool]]]] = [(0, [])]
    while waiting:
        node, way = waiting.pop()
        if tree.left[node] < 0:
            yield node, way
            continue
        waiting += [(int(tree.right[node]), [*way, (node, False)]), (int(tree.left[node]), [*way, (node, True)])]

"""Requests gather while a batch is predicted; what fills a batch does not wait for it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest

from include.ratchet.serving.batching import Batcher
from tests import waiting

wait_for = partial(waiting.wait_for, timeout_s=10, every_s=0.005)


class Held:
    """Batches that are predicted until they are let go, by how many rows each has."""

    def __init__(self):
        self.batches, self.go = [], threading.Event()

    def run(self, requests):
        self.batches.append([request.count for request in requests])
        assert self.go.wait(10)


@pytest.fixture
def held():
    return Held()


@pytest.fixture
def batcher(held):
    with ThreadPoolExecutor(3) as pool:
        yield Batcher(held.run, pool, max_rows=10, most=2)
        held.go.set()
        time.sleep(0.1)  # until what waits is in the pool


def submit(batcher, *counts):
    for count in counts:
        batcher.submit(SimpleNamespace(count=count))


def test_single_rows_wait_for_the_batch_before_and_go_together(held, batcher):
    submit(batcher, 1)
    wait_for(lambda: len(held.batches) == 1)
    submit(batcher, 1, 1, 1)
    time.sleep(0.1)
    assert held.batches == [[1]]
    held.go.set()
    wait_for(lambda: held.batches == [[1], [1, 1, 1]])


def test_a_full_batch_goes_beside_the_one_before_up_to_the_most_at_once(held, batcher):
    submit(batcher, 30)
    wait_for(lambda: len(held.batches) == 1)
    submit(batcher, 4, 5, 6)
    wait_for(lambda: len(held.batches) == 2)
    submit(batcher, 20)
    time.sleep(0.1)
    assert held.batches == [[30], [4, 5]]
    held.go.set()
    wait_for(lambda: sum(map(len, held.batches)) == 5)
    assert sorted(map(sum, held.batches[2:])) in ([6, 20], [26])


def test_it_starts_again_after_it_was_idle(held, batcher):
    held.go.set()
    for number in range(1, 6):
        submit(batcher, 12)
        wait_for(lambda number=number: len(held.batches) == number)
        wait_for(lambda: batcher._running == 0)
    assert held.batches == [[12]] * 5

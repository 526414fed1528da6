"""Every error has a parent to catch it by, is drawn in the tree, and survives the way between processes."""

from __future__ import annotations

import inspect
import pickle

import pytest

from include.ratchet import errors

KINDS = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.RatchetError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_is_drawn_has_a_stdlib_parent_and_survives_pickling(kind):
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__
    if kind is not errors.RatchetError:
        builtin = [base for base in kind.__mro__ if base.__module__ == "builtins" and base not in (Exception, object)]
        assert len(builtin) > 1
    again = pickle.loads(pickle.dumps(kind("what, where, found, expected")))  # noqa: S301
    assert (type(again), str(again)) == (kind, "what, where, found, expected")

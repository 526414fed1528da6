from __future__ import annotations

import pytest

from include.ratchet.errors import SpecError
from include.ratchet.spec import load_model
from include.ratchet.spec.scaffold import make_model


def test_key_cannot_be_masked(tmp_path):
    path = make_model(tmp_path, "order_returns") / "model.yaml"
    path.write_text(path.read_text() + "serving: {records: {mask: [price, order_id]}}\n")
    with pytest.raises(SpecError, match="serving.records.mask: order_id is a key, by which labels come"):
        load_model(path.parent)

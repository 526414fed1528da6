"""MLflow's formats, all with the answers that MLflow's own model gives."""

from __future__ import annotations

import pytest

from tests.include.ratchet.serving.conftest import MODEL, make_rows

pytestmark = pytest.mark.filterwarnings("default")
ROWS = make_rows(3)
COLUMNS = list(ROWS[0])


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": COLUMNS, "data": [[row[name] for name in COLUMNS] for row in ROWS]}},
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"instances": {name: [row[name] for row in ROWS] for name in COLUMNS}},
        {"inputs": {name: [row[name] for row in ROWS] for name in COLUMNS}},
    ],
    ids=["split", "records", "instances", "instances by column", "inputs"],
)
def test_every_format_is_answered(serve, body):
    served = serve()
    expected = [one["score"] for one in served.predict(ROWS).json()["predictions"]]
    for path in ("/invocations", f"/v1/models/{MODEL}/invocations"):
        answer = served.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert [positive for _, positive in answer.json()["predictions"]] == expected
        assert [sum(both) for both in answer.json()["predictions"]] == [1.0] * 3
    assert served.client.get("/ping").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {}, {"rows": ROWS}, {"inputs": ROWS, "instances": ROWS}, {"dataframe_split": {"columns": ["a"]}},
        {"dataframe_split": {"columns": ["shop"], "data": [["a", "b"]]}},
        {"inputs": {"shop": ["a", "b"], "price": [1]}},
        {"instances": 7}, {"dataframe_records": {"shop": "a"}},
    ],
)  # fmt: skip
def test_what_is_none_of_them_is_refused_in_mlflows_words(serve, body):
    answer = serve().client.post("/invocations", json=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error_code", "message"}

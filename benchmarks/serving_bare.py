"""The peer that most teams write first: FastAPI and `predict_proba`, on ready features, recording nothing.

python -m benchmarks.serving_bare MODEL PORT, where MODEL is a file of skops. Without FastAPI's own validation of every
field, which would only slow it down.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import uvicorn
from fastapi import FastAPI, Request

from include.ratchet.registry.formats import TRUSTED


def create_app(path: Path) -> FastAPI:
    """The service of one estimator."""
    import skops.io

    estimator, app = skops.io.load(path, trusted=list(TRUSTED)), FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, list[float]]:
        content = await request.json()
        frame = pd.DataFrame(content["data"], columns=content["columns"])
        return {"scores": estimator.predict_proba(frame)[:, 1].tolist()}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(Path(sys.argv[1])), port=int(sys.argv[2]), access_log=False, log_level="warning")

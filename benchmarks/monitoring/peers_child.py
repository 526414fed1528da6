"""NannyML and river on prepared streams; runs in an environment of its own and imports nothing of this project.

PYTHON peers_child.py LATE FOLDER... ; each folder has `reference.parquet` and `live.parquet`, and gets `alarms.json`.
"""

import json
import sys
import warnings
from pathlib import Path

import pandas as pd


def main() -> None:
    """Watch every stream."""
    warnings.filterwarnings("ignore")
    late = int(sys.argv[1])
    for name in sys.argv[2:]:
        folder = Path(name)
        reference, live = (pd.read_parquet(folder / f"{one}.parquet") for one in ("reference", "live"))
        found = {**watch_nannyml(reference, live, late), "river adwin": watch_adwin(reference, live, late)}
        (folder / "alarms.json").write_text(json.dumps(found))


def watch_nannyml(reference: pd.DataFrame, live: pd.DataFrame, late: int) -> dict[str, list[int]]:
    """Daily chunks, every threshold as the library has it."""
    import nannyml

    for frame in (reference, live):
        frame["at"] = pd.Timestamp("2025-01-06") + pd.to_timedelta(frame["day"], unit="D")
        frame["said"] = (frame["score"] >= 0.5).astype(int)
    columns = [name for name in reference.columns if name.startswith("x")]
    chunks = {"timestamp_column_name": "at", "chunk_period": "D"}
    drift = nannyml.UnivariateDriftCalculator(column_names=columns, **chunks)
    drift.fit(reference)
    told = drift.calculate(live).filter(period="analysis").to_df()
    flags = pd.concat(
        [told[name].xs("alert", axis=1, level=-1).any(axis=1) for name in columns], axis=1
    ).to_numpy().astype(bool)  # fmt: skip
    names = {"y_pred_proba": "score", "y_pred": "said", "y_true": "label", "metrics": ["roc_auc"]}
    estimator = nannyml.CBPE(problem_type="classification_binary", **names, **chunks)
    estimator.fit(reference)
    estimate = estimator.estimate(live).filter(period="analysis").to_df()
    realised = nannyml.PerformanceCalculator(problem_type="classification_binary", **names, **chunks)
    realised.fit(reference)
    metric = realised.calculate(live).filter(period="analysis").to_df()
    fallen = [day + late for day, one in enumerate(metric["roc_auc", "alert"]) if one]
    return {
        "flags": flags.tolist(),
        "nannyml estimate": [day for day, one in enumerate(estimate["roc_auc", "alert"]) if one],
        "nannyml metric": [day for day in fallen if day < len(flags)],
    }


def watch_adwin(reference: pd.DataFrame, live: pd.DataFrame, late: int) -> list[int]:
    """Errors of rows in the order of time, each known so many days later."""
    from river.drift import ADWIN

    detector, first, last = ADWIN(), int(live["day"].min()), int(live["day"].max())
    found = []
    for part in (reference, live):
        errors = ((part["score"] >= 0.5) != part["label"].astype(bool)).astype(int)
        for day, error in zip(part["day"].tolist(), errors.tolist(), strict=True):
            detector.update(error)
            if detector.drift_detected and first <= day <= last - late:
                found.append(day - first + late)
    return sorted(set(found))


if __name__ == "__main__":
    main()

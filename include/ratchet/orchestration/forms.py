"""What the trigger form of a training offers."""

from __future__ import annotations

from airflow.sdk import Param

from include.ratchet.spec import ModelSpec


def training_form(spec: ModelSpec) -> dict[str, Param]:
    """The parameters of a training; which segments, where the model is divided into some."""
    form = {
        "as_of": Param(None, type=["null", "string"], description="Know only what was known then: 2013-12-31"),
        "window": Param(None, type=["null", "string"], pattern=r"^\d+[mhdw]$", description="How far back: 180d"),
        "strategy": Param(None, enum=[None, "grid", "random", "tpe", "halving"], description="Of the search"),
        "trials": Param(None, type=["null", "integer"], minimum=1, description="Budget of the search"),
        "force": Param(False, type="boolean", description="Train even if nothing has changed"),
        "reason": Param(None, type=["null", "string"], description="Why; it is kept with the version"),
    }
    if spec.segments is not None:
        words = "Train only these segments, one a line; `all` is the pooled model"
        form["segments"] = Param(None, type=["null", "array"], items={"type": "string"}, description=words)
    return form

"""A fitted estimator as MLflow keeps it: a folder that `mlflow.pyfunc.load_model` loads anywhere."""

from __future__ import annotations

from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.ratchet.registry.formats import Format, trusted_types
from include.ratchet.registry.lineage import python_version
from include.ratchet.registry.versions import MODEL_FILES
from include.ratchet.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

ENVIRONMENT = "conda.yaml"
_REQUIREMENTS = ("scikit-learn", "lightgbm", "skops", "numpy", "pandas", "scipy")


def save_model(estimator: Any, form: Format, example: pd.DataFrame, spec: ModelSpec, folder: Path) -> None:
    """Save an estimator as MLflow itself does, with some rows as its example."""
    import mlflow

    mlflow.sklearn.save_model(
        estimator,
        str(folder),
        serialization_format=form,
        skops_trusted_types=_trusted(form, spec),
        signature=_signature(estimator, example, spec),
        input_example=example,
        pip_requirements=_requirements(),
        pyfunc_predict_fn=_predict_name(spec),
    )


def pack_model(
    estimator: Any, content: bytes, form: Format, example: pd.DataFrame, spec: ModelSpec, environment: bytes
) -> dict[str, bytes]:  # fmt: skip
    """The files of that folder that loading takes, around an estimator's bytes as they are.

    MLflow itself would make the bytes anew, load them to see whether it can, and look through all installed packages:
    for each of thousands of segments a tenth of a second. Of the environment it can do with one file instead of three.

    Args:
        estimator: what the bytes load as.
        content: the bytes.
        form: how they were made.
        example: some rows of its features.
        spec: the model's.
        environment: as `render_environment` gives it.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    file = MODEL_FILES[form]
    model = Model(signature=_signature(estimator, example, spec), model_size_bytes=len(content))
    # Where there is no `python_env.yaml`, MLflow takes the other file for pip too; but it wants a name for it.
    pyfunc.add_to_model(
        model, loader_module="mlflow.sklearn", model_path=file, conda_env=ENVIRONMENT, python_env="python_env.yaml",
        predict_fn=_predict_name(spec),
    )  # fmt: skip
    model.add_flavor(
        "sklearn", pickled_model=file, sklearn_version=installed("scikit-learn"), serialization_format=form, code=None,
        skops_trusted_types=_trusted(form, spec),
    )  # fmt: skip
    return {"MLmodel": model.to_yaml().encode(), file: content, ENVIRONMENT: environment}


def render_environment() -> bytes:
    """What a model needs: MLflow makes environments of conda from it, and those of pip as well."""
    import yaml

    packages = [f"mlflow=={installed('mlflow')}", *_requirements()]
    dependencies = [f"python={python_version()}", f"pip<={installed('pip')}", {"pip": packages}]
    content = {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": dependencies}
    return yaml.safe_dump(content, sort_keys=False).encode()


def _requirements() -> list[str]:
    return [f"{name}=={installed(name)}" for name in _REQUIREMENTS]


def _signature(estimator: Any, example: pd.DataFrame, spec: ModelSpec) -> ModelSignature:
    from mlflow.models import infer_signature

    return infer_signature(example, getattr(estimator, _predict_name(spec))(example))


def _predict_name(spec: ModelSpec) -> str:
    return "predict" if spec.task == "regression" else "predict_proba"


def _trusted(form: Format, spec: ModelSpec) -> list[str] | None:
    return trusted_types(spec) if form == "skops" else None

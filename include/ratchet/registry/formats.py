"""Fitted models as bytes: skops wherever it can hold them, anything else only with the spec's consent."""

from __future__ import annotations

import pickle
from typing import Any, Literal

from include.ratchet.errors import FormatNotAllowedError
from include.ratchet.spec import ModelSpec

Format = Literal["skops", "pickle", "cloudpickle"]
TRUSTED = (
    "collections.OrderedDict",
    "numpy.dtype",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.compose._column_transformer._RemainderColsList",
)
"""Types of well-known libraries that skops does not trust by itself; loading them runs none of the file's code."""


def dump_model(estimator: Any, spec: ModelSpec) -> tuple[bytes, Format]:
    """The estimator as bytes, and in which format.

    Raises:
        FormatNotAllowedError: skops cannot hold it and the spec allows nothing else.
    """
    import skops.io

    consent = spec.training.format
    try:
        content = skops.io.dumps(estimator)
        untrusted = set(skops.io.get_untrusted_types(data=content)) - set(trusted_types(spec))
        problem = f"it holds the types {', '.join(sorted(untrusted))}" if untrusted else None
    except Exception as error:  # skops raises whatever an object's own reduction raises
        content, problem = b"", f"{type(error).__name__}: {error}"
    if problem is None:
        return content, "skops"
    if "cloudpickle" in consent.allow:
        import cloudpickle

        return cloudpickle.dumps(estimator), "cloudpickle"
    if "pickle" in consent.allow:
        return pickle.dumps(estimator), "pickle"
    message = (
        f"{spec.name}: a {type(estimator).__name__} cannot be saved by skops: {problem}. List types you trust under "
        "training.format.trusted_types, or accept that loading may run code: training.format.allow: [cloudpickle]"
    )
    raise FormatNotAllowedError(message)


def load_model(content: bytes, form: Format, spec: ModelSpec) -> Any:
    """The estimator back from its bytes. What may be loaded is decided by the spec, never by the file.

    Raises:
        FormatNotAllowedError: the spec does not consent to the format or to a type in it.
    """
    if form == "skops":
        import skops.io

        untrusted = set(skops.io.get_untrusted_types(data=content)) - set(trusted_types(spec))
        if untrusted:
            names = ", ".join(sorted(untrusted))
            message = f"{spec.name}: the saved model holds {names}, which training.format.trusted_types does not list"
            raise FormatNotAllowedError(message)
        return skops.io.loads(content, trusted=trusted_types(spec))
    if form not in spec.training.format.allow:
        message = (
            f"{spec.name}: the model is saved by {form}, which can run code; training.format.allow does not list it"
        )
        raise FormatNotAllowedError(message)
    return pickle.loads(content)  # noqa: S301 - the spec's owner accepts it


def trusted_types(spec: ModelSpec) -> list[str]:
    """What skops may load for this model."""
    return [*TRUSTED, *spec.training.format.trusted_types]

"""Whether what a spec names is there and fits together, beyond the form of its YAML."""

from __future__ import annotations

from include.ratchet.errors import SpecError
from include.ratchet.features import context_names, feature_names, feature_query
from include.ratchet.spec import Model
from include.ratchet.spec.modules import load_function
from include.ratchet.training.fit import Candidate, build_estimator
from include.ratchet.training.proposals import CANDIDATE, fixed_points


def check_model(model: Model) -> None:
    """Load everything that the spec refers to: sources, features, each candidate, columns of slices and baselines.

    Raises:
        SpecError: something is missing or cannot be built; the message says where and what to do.
    """
    spec = model.spec
    for table in spec.table_names:
        function = spec.table(table).source.python
        if function is not None:
            load_function(model, "sources.py", function)
    feature_query(model)
    _check_columns(model)
    for point in fixed_points(spec, "tpe", len(spec.training.candidates)):
        name = point.pop(CANDIDATE)
        candidate = Candidate(name, {key.removeprefix(f"{name}."): value for key, value in point.items()})
        try:
            built = build_estimator(model, candidate)
        except Exception as error:
            message = f"{model.folder / 'estimator.py'}: candidate {name} with {candidate.params}: {error}"
            raise SpecError(message) from error
        if not hasattr(built, "fit"):
            message = (
                f"{model.folder / 'estimator.py'}: candidate {name}: found {built!r}; expected something with fit()"
            )
            raise SpecError(message)


def _check_columns(model: Model) -> None:
    evaluation, training = model.spec.evaluation, model.spec.training
    known = {*feature_names(model), *context_names(model), *model.spec.keys}
    used = {
        "evaluation.slices": evaluation.slices,
        "evaluation.sensitive": evaluation.sensitive,
        "training.baselines": tuple(name for baseline in training.baselines for name in baseline.rate),
    }
    for where, columns in used.items():
        for column in columns:
            if column not in known:
                message = (
                    f"{model.folder / 'model.yaml'}: {where}: found {column!r}; expected a feature or a column of the "
                    f"model's table that is known at prediction time: {', '.join(sorted(known))}"
                )
                raise SpecError(message)

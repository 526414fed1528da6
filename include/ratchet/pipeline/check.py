"""Whether what a spec names is there and fits together, beyond the form of its YAML."""

from __future__ import annotations

from include.ratchet.errors import SpecError
from include.ratchet.evaluation.business import check_business
from include.ratchet.features import feature_query
from include.ratchet.spec import Model
from include.ratchet.spec.modules import load_function
from include.ratchet.training.fit import Candidate, build_estimator
from include.ratchet.training.proposals import CANDIDATE, fixed_points


def check_model(model: Model) -> None:
    """Load everything that the spec refers to: sources, features and the columns that others name, values, candidates.

    Raises:
        SpecError: something is missing or cannot be built; the message says where and what to do.
    """
    spec = model.spec
    for table in spec.table_names:
        function = spec.table(table).source.python
        if function is not None:
            load_function(model, "sources.py", function)
    feature_query(model)
    check_business(spec)
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

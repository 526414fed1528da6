"""# Erase.

A person who asks to be forgotten is taken **out of all that is kept of the model**: landed tables with their past and
their quarantine, training sets, what versions keep of them, request records, scores, feedback, online features and
reports. A source that sends them again, or a log that comes late, does not bring them back. The certificate in the
ledger says what was done, which versions had learned from them and what can still be reproduced, and names nobody.

The form takes the `subject` as the column of `privacy.subject` has them, and the `reason`, which may not name them.
**Airflow keeps what is typed into a form** with the run: where that is too much, use `./ratchet erase`. `retrain` asks
for a training without them where a champion had learned from them.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.ratchet.orchestration import erasures
from include.ratchet.orchestration.assets import ERASE, dag_id, retraining_asset, tags
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import step
from include.ratchet.spec import ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's erasure."""

    @dag(
        dag_id=dag_id(ERASE, spec.name),
        description=f"Take a person out of all that is kept of {spec.name}",
        doc_md=__doc__,
        schedule=None,
        # Nothing runs by itself, and whoever asks should not find it waiting.
        is_paused_upon_creation=False,
        start_date=first_day(spec),
        catchup=False,
        max_active_runs=1,
        tags=tags(spec, ERASE),
        default_args=defaults(spec),
        params={
            "subject": Param("", type="string", description="As the column of `privacy.subject` has them"),
            "reason": Param("", type="string", description="Such as the number of their request"),
            "retrain": Param(False, type="boolean", description="Ask for a training without them"),
        },
    )
    def erase() -> None:
        step(erasures.ask, outlets=[retraining_asset(spec.name)])(spec.name, step(erasures.erase)(spec.name))

    erase()


for model in models_to_build(ERASE):
    if model.spec.privacy is not None:
        build(model.spec)

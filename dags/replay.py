"""# Replay.

Recorded requests are **answered again** by the version that answered them, from the features that were recorded: the
bits must be the same, or `compare` fails. Features are **computed again** from the tables as well, and what differs is
explained: online features that were older than the request, tables or code that changed since.

The form takes a `request_id`, or an interval of event times `from` and `to`, or both; of a model divided into segments
also a `segment`. `with_version` asks another version too, of that segment or else of the whole or pooled model: which
answers would change, and which of the two was better where labels have come.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.ratchet.orchestration import scores
from include.ratchet.orchestration.assets import REPLAY, dag_id, tags
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import step
from include.ratchet.spec import ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's replay."""

    @dag(
        dag_id=dag_id(REPLAY, spec.name),
        description=f"Answer recorded requests of {spec.name} again and compare",
        doc_md=__doc__,
        schedule=None,
        # Nothing runs by itself, and whoever asks should not find it waiting.
        is_paused_upon_creation=False,
        start_date=first_day(spec),
        catchup=False,
        max_active_runs=4,
        tags=tags(spec, REPLAY),
        default_args=defaults(spec),
        params={
            "request_id": Param(None, type=["null", "string"], description="Of one request, as its answer says"),
            "from": Param(None, type=["null", "string"], description="First event time: 2013-03-01"),
            "to": Param(None, type=["null", "string"], description="Event time before which they lie: 2013-03-08"),
            "segment": Param(None, type=["null", "string"], description="Rows of one segment, such as UA"),
            "with_version": Param(None, type=["null", "integer"], minimum=1, description="Another version to ask"),
            "records": Param(None, enum=[None, "requests", "scores"], description="Of the service, or of batches"),
        },
    )
    def replay() -> None:
        step(scores.compare)(step(scores.replay)(spec.name))

    replay()


for model in models_to_build(REPLAY):
    build(model.spec)

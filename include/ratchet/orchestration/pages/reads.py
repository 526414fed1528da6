"""The API's questions: what the pages show, as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from include.ratchet.errors import SpecError
from include.ratchet.orchestration.assets import REPLAY, dag_id
from include.ratchet.orchestration.connections import current_settings
from include.ratchet.orchestration.pages.access import KeyDep, check_read, readable, rights_of
from include.ratchet.orchestration.pages.caller import CallerDep
from include.ratchet.orchestration.pages.facts import read_dags
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelSpec, find_models, get_model
from include.ratchet.views import candidates, distributions, fleet, history, model, records, reports
from include.ratchet.views.health import Health

router = APIRouter()
LIMIT = 200
"""Rows of a page at most."""
Offset = Annotated[int, Query(ge=0, description="Rows to leave out.")]
Limit = Annotated[int, Query(ge=1, le=LIMIT, description="Rows of a page.")]


def read_place() -> Settings:
    """Where everything is."""
    return current_settings()


SettingsDep = Annotated[Settings, Depends(read_place)]


def _query(
    search: Annotated[str, Query(max_length=200, description="Words that the row has to hold.")] = "",
    health: Annotated[Health | None, Query(description="Only rows of this health.")] = None,
    sort: Annotated[fleet.Sort, Query(description="Rows without a value come last.")] = "health",
    descending: Annotated[bool, Query(description="The other way round.")] = False,
    offset: Offset = 0,
    limit: Limit = 50,
) -> fleet.FleetQuery:
    return fleet.FleetQuery(search, health, sort, descending, offset, limit)


QueryDep = Annotated[fleet.FleetQuery, Depends(_query)]


@router.get("/models", tags=["fleet"])
def list_models(query: QueryDep, settings: SettingsDep, session: SessionDep, user: GetUserDep) -> fleet.FleetPage:
    """Every model that the caller may see, one row each; of a divided one its worst segment speaks."""
    dags = read_dags(session)
    names = {folder.name for folder in find_models(settings.models_dir)} | set(dags)
    return fleet.read_fleet(settings, dags, readable(user, names), query)


@router.get("/models/{model}/segments", tags=["fleet"])
def list_segments(query: QueryDep, key: KeyDep, settings: SettingsDep, session: SessionDep) -> fleet.FleetPage:
    """The segments of a model that have a champion of their own."""
    return fleet.read_segments(settings, read_dags(session, key.model), key.model, query)


class ModelPage(BaseModel):
    """A model's page, and which actions the caller may take."""

    model: model.ModelView
    may: dict[str, bool]


@router.get("/models/{model}", tags=["model"])
def show_model(key: KeyDep, settings: SettingsDep, session: SessionDep, user: GetUserDep) -> ModelPage:
    """One model key: health, spec, aliases, hand-over, incidents, requests."""
    spec: ModelSpec | Exception
    try:
        spec = get_model(settings.models_dir, key.model).spec
    except SpecError as error:
        spec = error
    view = model.read_model(settings, read_dags(session, key.model), key, spec, datetime.now(UTC))
    return ModelPage(model=view, may=rights_of(user, key.model))


@router.get("/models/{model}/timeline", tags=["model"])
def show_timeline(key: KeyDep, settings: SettingsDep, offset: Offset = 0, limit: Limit = 50) -> history.Timeline:
    """What the ledger has of a model key, newest first."""
    return history.read_timeline(settings, key, offset, limit)


@router.get("/models/{model}/series", tags=["model"])
def show_series(
    key: KeyDep, settings: SettingsDep, until: datetime | None = None,
    count: Annotated[int, Query(ge=1, le=1000, description="Partitions, the newest first.")] = 180,
) -> history.Series:  # fmt: skip
    """The metric by partition: on labels, as estimated, what was to be expected, and what fired."""
    spec = _model(settings, key.model).spec
    return history.read_series(settings, key, spec, until or history.EVER, count)


@router.get("/models/{model}/drift", tags=["model"])
def show_drift(
    key: KeyDep, settings: SettingsDep, until: datetime | None = None,
    count: Annotated[int, Query(ge=1, le=400, description="Partitions, the newest first.")] = 60,
) -> history.HeatMap:  # fmt: skip
    """Drift of each column on each partition."""
    spec = _model(settings, key.model).spec
    return history.read_heat_map(settings, key, spec.monitoring.effect, until or history.EVER, count)


@router.get("/models/{model}/distribution", tags=["model"])
def show_distribution(key: KeyDep, settings: SettingsDep, partition: str, column: str) -> distributions.Distribution:
    """One column on one partition beside what the champion learned from."""
    return distributions.read_distribution(settings, _model(settings, key.model), key, partition, column)


@router.get("/models/{model}/candidates", tags=["model"])
def list_candidates(key: KeyDep, settings: SettingsDep, offset: Offset = 0, limit: Limit = 20) -> candidates.Candidates:
    """The judged versions, newest first."""
    return candidates.read_candidates(settings, key, offset, limit)


@router.get("/models/{model}/candidates/{version}", tags=["model"])
def show_candidate(key: KeyDep, settings: SettingsDep, version: int) -> candidates.CandidateDetails:
    """A version's gates, evaluation and lineage."""
    return candidates.read_candidate(settings, key, version)


@router.get("/models/{model}/reports", tags=["model"])
def list_reports(key: KeyDep, settings: SettingsDep) -> reports.Reports:
    """Pages that were drawn of a model: what moved, validations, the newest backtest."""
    return reports.read_reports(settings, key, _model(settings, key.model).spec.table_names)


def _check_records(model: str, user: GetUserDep) -> None:
    check_read(user, dag_id(REPLAY, model))


@router.get("/models/{model}/records", tags=["requests"], dependencies=[Depends(_check_records)])
def list_records(
    key: KeyDep, settings: SettingsDep, *, origin: records.Origin = "requests", request_id: str | None = None,
    record_key: Annotated[str | None, Query(description="By which labels come.")] = None,
    start: Annotated[datetime | None, Query(description="First event time.")] = None,
    end: Annotated[datetime | None, Query(description="Event time before which they lie.")] = None,
    version: int | None = None,
    low: Annotated[float | None, Query(description="Smallest score.")] = None,
    high: Annotated[float | None, Query(description="Largest score.")] = None,
    has_error: bool | None = None, offset: Offset = 0, limit: Limit = 50,
) -> records.Records:  # fmt: skip
    """Request records, newest event first. A model's name alone means all of its segments."""
    segment = None if key.is_pool else key.segment
    query = records.RecordQuery(origin, request_id, record_key, _aware(start), _aware(end), version, segment, low, high,
                                has_error, offset, limit)  # fmt: skip
    return records.find(settings, _model(settings, key.model), query)


@router.get("/models/{model}/record", tags=["requests"], dependencies=[Depends(_check_records)])
def show_record(
    key: KeyDep, settings: SettingsDep, request_id: str, row: int = 0, version: int | None = None,
    origin: records.Origin = "requests",
) -> records.RecordDetails:  # fmt: skip
    """Everything that was recorded of one prediction."""
    return records.read_record(settings, _model(settings, key.model), origin, request_id, row, version)


class RunState(BaseModel):
    """A run of Airflow, and of a replay what came of it."""

    state: str
    result: Any = None


@router.get("/models/{model}/runs/{dag}/{run}", tags=["runs"])
async def show_run(key: KeyDep, caller: CallerDep, dag: str, run: str) -> RunState:
    """How a run is; a replay's result once it has one."""
    found = await caller.get(f"/dags/{dag}/dagRuns/{_quote(run)}")
    result = None
    if dag == dag_id(REPLAY, key.model) and found["state"] in ("success", "failed"):
        path = f"/dags/{dag}/dagRuns/{_quote(run)}/taskInstances/replay/xcomEntries"
        entries = (await caller.get(path))["xcom_entries"]
        if any(one["key"] == "return_value" for one in entries):
            result = (await caller.get(f"{path}/return_value", deserialize=False))["value"]
    return RunState(state=found["state"], result=result)


def _model(settings: Settings, name: str) -> Model:
    return get_model(settings.models_dir, name)


def _aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _quote(text: str) -> str:
    return quote(text, safe="")

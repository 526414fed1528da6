"""From a task to what it made: the buttons on a task's page in Airflow.

A step knows what it made only while it runs, so it leaves the address as an XCom. The link, which stands in the DAG by
name only, reads it there. That holds for failed tasks too, whose pages matter most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink, get_current_context

from include.ratchet.orchestration.assets import TRAIN, dag_id
from include.ratchet.spec import ModelKey, ModelSpec

if TYPE_CHECKING:
    from include.ratchet.registry.versions import Version
    from include.ratchet.settings import Settings
    from include.ratchet.validation import ValidationReport

DOCS, VERSION, CARD, DRIFT = "Data Docs", "Model version", "Model card", "Drift report"
TRAINING, CAUSE, BACKTEST_REPORT = "Training", "What asked for it", "Backtest"
MODEL = "Model page"
VERSION_LINKS = (VERSION, CARD, MODEL)


class StepLink(BaseOperatorLink):  # type: ignore[misc]  # airflow is not typed
    """A button whose address the step leaves while it runs; without an address there is no button."""

    def __init__(self, name: str) -> None:
        """Take what is written on the button."""
        self._name = name

    @property
    def name(self) -> str:
        """What is written on the button."""
        return self._name

    @property
    def xcom_key(self) -> str:
        """Where the address lies. One class makes many links, so that its name alone would not do."""
        return link_key(self._name)

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address that the step left, called in the task's process when it has ended in whatever way."""
        left = ti_key.xcom_pull(task_ids=ti_key.task_id, key=self.xcom_key, map_indexes=ti_key.map_index)
        return str(left or "")


def link_key(name: str) -> str:
    """XCom key of a link's address."""
    return "link_" + name.lower().replace(": ", "_").replace(" ", "_")


def docs_link(model: str, table: str) -> str:
    """Name of the link to a validation page: short for the model's own table and its snapshot."""
    return DOCS if table in {model, "snapshot"} else f"{DOCS}: {table}"


def docs_links(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the links to the validation pages of everything that is landed for a model."""
    return tuple(docs_link(spec.name, table) for table in spec.table_names)


def attach(task: Any, names: tuple[str, ...]) -> Callable[..., Any]:
    """A decorated task whose operator, once it is called in a DAG, carries links of these names."""

    def call(*args: Any, **kwargs: Any) -> Any:
        made = task(*args, **kwargs)
        made.operator.operator_extra_links = tuple(StepLink(name) for name in names)
        return made

    return call


def link_docs(report: ValidationReport, settings: Settings) -> None:
    """Link the running task to a validation page."""
    from include.ratchet.data.blobs import open_blobs

    root = open_blobs(settings).address("validation")
    page = report.docs_path.removeprefix(root).strip("/")
    _leave(docs_link(report.model, report.table), f"{_base(settings)}/reports/{quote(page)}")


def link_version(version: Version, settings: Settings) -> None:
    """Link the running task to a version in MLflow, to its card and to how it was judged."""
    from include.ratchet.registry.versions import card_url

    card = urlsplit(card_url(version, settings))
    _leave(VERSION, version.url)
    _leave(CARD, card.path)
    link_model(version.key, settings, "candidates", version=version.number)


def link_model(key: ModelKey, settings: Settings, section: str, **more: Any) -> None:
    """Link the running task to a section of its model's page, in Airflow's own frame."""
    own = {} if key.is_pool else {"segment": key.segment}
    page = f"{_base(settings)}/model?{urlencode({'name': key.model, **own, **more}, quote_via=quote)}"
    _leave(MODEL, f"{_root(settings)}/plugin/models{page}#{section}")


def link_drift(key: ModelKey, partition: str, settings: Settings) -> None:
    """Link the running task to the report of what moved."""
    _leave(DRIFT, f"{_base(settings)}/drift/{key.slug}/{quote(partition)}/")


def link_backtest(folder: str, settings: Settings) -> None:
    """Link the running task to the page of a backtest."""
    _leave(BACKTEST_REPORT, f"{_base(settings)}/reports/{quote(folder.removeprefix('validation/'))}/index.html")


def link_training(model: str, settings: Settings) -> None:
    """Link the running task to the training that it asked for."""
    _leave(TRAINING, f"{_root(settings)}/dags/{dag_id(TRAIN, model)}/runs")


def link_cause(address: str) -> None:
    """Link the running task to the run that asked for it."""
    _leave(CAUSE, address)


def _base(settings: Settings) -> str:
    """Where our own pages are."""
    return f"{_root(settings)}/ratchet"


def _root(settings: Settings) -> str:
    """Within the server that shows the link, under whatever name a user reached it: a login holds for one name only."""
    return urlsplit(settings.airflow_url).path.rstrip("/")


def _leave(name: str, address: str) -> None:
    get_current_context()["ti"].xcom_push(key=link_key(name), value=address)

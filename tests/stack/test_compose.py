"""The stack of several machines: it does the demo's main job, outlives the death of each part, and is tight."""

from __future__ import annotations

import json
import re
import time

import httpx
import pytest

from include.ratchet.settings import PROJECT
from tests.stack.conftest import NAME, PARTS
from tests.stack.engine import docker, run
from tests.waiting import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.filterwarnings("default")]

MODEL = "flight_delay"
TRAIN = f"train_{MODEL}"
LEDGER = f"SELECT count(*) FROM ledger WHERE model = '{MODEL}' AND kind = '{{}}'"
CHAMPION = f"SELECT version FROM aliases WHERE model = '{MODEL}' AND alias = 'champion'"
FLIGHT = {
    "flight_id": "asked", "carrier": "UA", "flight_number": 1545, "tail_number": "N14228", "origin": "EWR",
    "destination": "IAH", "distance_miles": 1400, "scheduled_hour": 10,
    "scheduled_departure": "2013-02-12T15:00:00Z", "scheduled_arrival": "2013-02-12T18:00:00Z",
}  # fmt: skip


def test_every_part_is_confined(compose):
    for part in PARTS:
        for one in compose.containers(part):
            host = one["HostConfig"]
            assert host["ReadonlyRootfs"], part
            assert host["CapDrop"] == ["ALL"], part
            assert "no-new-privileges:true" in host["SecurityOpt"], part
            assert host["Memory"] > 0, part
            assert host["RestartPolicy"]["Name"] == "unless-stopped", part
            if part not in ("postgres", "store"):  # they become another user by themselves
                assert one["Config"]["User"] not in ("", "0", "root"), part
            for port in host["PortBindings"] or {}:
                assert all(binding["HostIp"] == "127.0.0.1" for binding in host["PortBindings"][port]), part


def test_images_hold_no_secret(compose):
    for variable in ("RATCHET_IMAGE", "SERVING_IMAGE"):
        image = json.loads(docker("inspect", compose.environ[variable]))[0]
        said = json.dumps(image["Config"]) + docker("history", "--no-trunc", compose.environ[variable])
        assert not [name for name, secret in compose.secrets.items() if secret in said]


def test_workers_parents_have_loaded_what_tasks_need(compose):
    """Before any task has run: so that those which are forked from them need not."""
    words = ("exec", "-T", "worker", "sh", "-c", "grep -l lib_lightgbm /proc/[0-9]*/maps | wc -l")
    assert int(compose(*words)) >= 1


def test_flights_lead_to_a_champion(compose):
    compose.run_dag(f"ingest_{MODEL}", {"first": "2013-01-01", "last": "2013-02-11"})
    compose.run_dag(TRAIN, {"as_of": "2013-02-12", "trials": 4})
    assert compose.psql("ratchet", CHAMPION) == "1\n"
    found = compose.python(
        "import json, mlflow; client = mlflow.MlflowClient(); "
        f"print(json.dumps(dict(client.get_registered_model('{MODEL}').aliases)))"
    )
    assert found == {"champion": "1"}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_predictions_are_answered_and_recorded(compose):
    words = ("python", "-m", "include.ratchet.cli", "key", "add", "test", "--json")
    said = compose("run", "--rm", "-T", "--no-deps", "prepare", *words)
    key = json.loads(said[said.index("{") :])["key"]
    url = f"http://{compose.environ['SERVING_PORT']}"

    def ask():
        body = {"rows": [FLIGHT]}
        return httpx.post(f"{url}/v1/models/{MODEL}/predict", json=body, headers=bearer(key), timeout=30)

    wait_for(lambda: ask().status_code == 200, 60, lambda: ask().text, every_s=1)
    assert ask().json()["predictions"][0]["version"] == 1
    metrics = httpx.get(f"{url}/metrics", headers=bearer(compose.secrets["RATCHET_METRICS_KEY"]))
    assert f'ratchet_predictions_total{{model="{MODEL}",route="champion",version="1"}}' in metrics.text


def test_the_next_day_is_scored_and_watched(compose):
    day = {"first": "2013-02-12", "last": "2013-02-12"}
    compose.run_dag(f"ingest_{MODEL}", day)
    compose.run_dag(f"score_{MODEL}", day)
    compose.run_dag(f"monitor_{MODEL}", {**day, "as_of": "2013-02-15"})
    assert compose.psql("ratchet", f"SELECT partition, version FROM looks WHERE model = '{MODEL}'") == "2013-02-12|1\n"


def test_users_of_airflow_see_the_models_and_order_what_their_role_may(compose):
    url, password = compose.environ["AIRFLOW_URL"], "a viewer's own"
    words = ("airflow", "users", "create", "--username", "vera", "--role", "Viewer", "--email", "vera@example.org",
             "--firstname", "Vera", "--lastname", "V", "--password", password)  # fmt: skip
    compose("run", "--rm", "-T", "--no-deps", "prepare", *words)
    order = {"reason": "the source is being moved", "once": "0123456789", "hours": 1}
    for name, secret, status in (("vera", password, 403), ("admin", compose.secrets["AIRFLOW_ADMIN_PASSWORD"], 200)):
        token = httpx.post(f"{url}/auth/token", json={"username": name, "password": secret}, timeout=60).json()
        headers = bearer(token["access_token"])
        models = httpx.get(f"{url}/ratchet/api/v1/models", headers=headers, timeout=60)
        assert [one["model"] for one in models.json()["rows"]] == [MODEL]
        silence = f"{url}/ratchet/api/v1/models/{MODEL}/silence"
        assert httpx.post(silence, json=order, headers=headers, timeout=60).status_code == status
    assert httpx.get(f"{url}/ratchet/api/v1/models", timeout=60).status_code == 401


@pytest.mark.parametrize(("user", "database", "query", "refusal"), [
    ("ratchet_serving", "ratchet", "DELETE FROM ledger", "permission denied"),
    ("ratchet_serving", "ratchet", "UPDATE ledger SET actor = 'nobody'", "permission denied"),
    ("ratchet_serving", "ratchet", "INSERT INTO api_keys (name) VALUES ('mine')", "permission denied"),
    ("ratchet_serving", "ratchet", "CREATE TABLE mine (a int)", "permission denied"),
    ("ratchet_serving", "airflow", "SELECT 1", "permission denied"),
    ("mlflow", "ratchet", "SELECT 1", "permission denied"),
    ("ratchet", "airflow", "SELECT 1", "permission denied"),
    ("airflow", "mlflow", "SELECT 1", "permission denied"),
])  # fmt: skip
def test_each_part_has_its_own_database_and_no_more(compose, user, database, query, refusal):
    with pytest.raises(AssertionError, match=refusal):
        compose.psql(database, query, user)


def kill_during(compose, as_of, victims):
    """Train, and let one part after another die meanwhile; the run's id."""
    run_id = compose.start(TRAIN, {"as_of": as_of, "trials": 6, "force": True})
    for part in victims:
        time.sleep(8)
        for one in compose.containers(part)[:1]:
            compose.crash(one)
    return run_id


@pytest.mark.parametrize(("as_of", "victims"), [
    ("2013-02-13", ("worker", "scheduler", "redis", "postgres")),
    ("2013-02-14", ("store", "mlflow", "api-server", "dag-processor", "triggerer", "serving")),
])  # fmt: skip
def test_a_training_outlives_the_death_of_parts(compose, as_of, victims):
    day = as_of[:-2] + f"{int(as_of[-2:]) - 1:02d}"
    compose.run_dag(f"ingest_{MODEL}", {"first": day, "last": day})
    before = {kind: int(compose.psql("ratchet", LEDGER.format(kind))) for kind in ("verdict", "promotion")}
    run_id = kill_during(compose, as_of, victims)
    assert compose.finish(TRAIN, run_id) == "success", compose.log_of_failed(TRAIN, run_id)
    after = {kind: int(compose.psql("ratchet", LEDGER.format(kind))) for kind in before}
    assert after["verdict"] == before["verdict"] + 1
    assert after["promotion"] <= before["promotion"] + 1
    versions = compose.python(
        "import json, mlflow; found = mlflow.MlflowClient().search_model_versions("
        f"\"tags.`ratchet.training` = '{run_id}'\"); print(json.dumps([one.version for one in found]))"
    )
    assert len(versions) == 1
    champion = compose.psql("ratchet", CHAMPION)
    promoted = after["promotion"] > before["promotion"]
    assert (champion.strip() == str(versions[0])) == promoted
    compose.wait_healthy()


def test_no_secret_is_in_a_log_or_a_result(compose):
    dumped = compose("exec", "-T", "postgres", "pg_dump", "-U", "postgres", "--data-only", "-t", "xcom", "-t", "log",
                     "-t", "dag_run", "airflow")  # fmt: skip
    assert "COPY public.xcom" in dumped
    logs = compose.python(
        "import json, os; from include.ratchet.data.store import open_client; "
        "client = open_client(dict(os.environ)); "
        "pages = client.get_paginator('list_objects_v2').paginate(Bucket='ratchet', Prefix='logs/'); "
        "keys = [one['Key'] for page in pages for one in page.get('Contents', ())]; "
        "print(json.dumps({key: client.get_object(Bucket='ratchet', Key=key)['Body'].read().decode() for key in keys}))"
    )
    assert len(logs) > 20
    everything = [dumped, *logs.values(), *(docker("logs", one["Name"]) for one in compose.containers())]
    assert [name for name, value in compose.secrets.items() if any(value in text for text in everything)] == []


def commands(title):
    """The commands of a section of the operations' manual, as a reader would run them."""
    manual = (PROJECT / "docs" / "operations.md").read_text()
    section = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", manual, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(r"```sh\n(.*?)```", section[1], re.DOTALL))


def test_what_was_saved_is_restored(compose, tmp_path):
    """By the manual's own commands: saved, everything lost, restored, and the champion answers again."""
    options = " ".join(f"-f {file}" for file in compose.files)
    compose_of_test = f"docker-compose -p {NAME} --project-directory {PROJECT} {options}"

    def follow(title):
        script = commands(title).replace("docker compose", compose_of_test).replace("ratchet_store", f"{NAME}_store")
        run("sh", "-euc", f"cd {tmp_path}\n{script}", environ=compose.environ)

    before = compose.psql("ratchet", "SELECT count(*) FROM ledger")
    follow("Back up")
    compose("down", "--volumes", "--timeout", "20")
    follow("Restore")
    compose("up", "--detach", "--no-build", "--scale", "worker=2")
    compose.wait_healthy()
    assert compose.psql("ratchet", "SELECT count(*) FROM ledger") == before
    compose.run_dag(f"score_{MODEL}", {"first": "2013-02-12", "last": "2013-02-12"})


def test_it_goes_down_clean(compose):
    compose("down", "--volumes", "--timeout", "30")
    label = f"label=com.docker.compose.project={NAME}"
    for what in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert docker(*what, "--quiet", "--filter", label).strip() == ""

"""A model's first days in Airflow's own tasks, in a process whose environment says where lineage goes."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Land a month, train, score a day: each in a run of its DAG; prints the state of every task."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    bag = DagBag("dags")
    DagBundlesManager().sync_bundles_to_db()
    states = {}
    for name, conf in json.loads(os.environ["RUNS"]):
        dag = bag.dags[name]
        # `dag.test` cannot look up the deadline that the database gave a number.
        dag.deadline = None
        lazy = LazyDeserializedDAG.from_dag(dag)
        SerializedDAG.bulk_write_to_db("dags-folder", None, [lazy])
        SerializedDagModel.write_dag(lazy, "dags-folder")
        run = dag.test(run_conf=conf)
        states[name] = {task.task_id: str(task.state) for task in run.get_task_instances()}
    loaded = sorted({"openlineage.client", "include.ratchet.exports.flows"} & set(sys.modules))
    sys.stdout.write(f"\nRESULT {json.dumps({'states': states, 'loaded': loaded})}\n")


if __name__ == "__main__":
    main()

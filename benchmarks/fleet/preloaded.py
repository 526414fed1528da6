"""What the process that batches are forked from has loaded, as Airflow's scheduler has."""

from include.ratchet.orchestration.preload import preload

preload(["airflow", "scheduler"])

"""Airflow imports this at every start. Parents of forked tasks load the heavy libraries here, once for all of them."""

from include.ratchet.orchestration.preload import preload

preload()

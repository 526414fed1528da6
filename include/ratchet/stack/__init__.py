"""The embedded stack: PostgreSQL, MLflow and Airflow on one machine, supervised as one.

A laptop's production. `layout` says where its files are, `components` what runs, `supervisor` keeps it running,
`control` starts, finds and stops it from another process, `client` speaks to Airflow's REST API.
"""

"""The engine: plain Python that takes a model from its spec through the whole life that follows.

Usable without Airflow; only `orchestration/` imports it. Imports point one way:
orchestration -> the lifecycle packages (data, validation, features, training, evaluation, registry, alerts)
-> spec, settings, errors.
"""

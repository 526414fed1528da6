"""The steps of a model's life, each a function of a request and what earlier steps left in the store.

The command line runs them one after another in its own process; Airflow runs each as a task. A step that is run twice,
or again after it was killed, gives the same result.
"""

"""The Models pages in Airflow's UI: an app below `/ratchet`, behind Airflow's own login and rights.

- `app`: puts them together: pages and scripts, the JSON API, errors
- `access`: who may see and do what
- `facts`: what Airflow knows of the models
- `caller`: Airflow's own API, called in the name of whoever asks
- `reads`: the API's questions
- `actions`: the API's orders
- `files`: validation pages, drift reports and model cards, which run no script or run it in a sandbox
"""

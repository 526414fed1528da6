"""The only package that imports airflow: what DAG files share, and what their tasks call."""

# Airflow, MLflow and the engine, from requirements.txt by its hashes: api-server, scheduler, dag-processor, triggerer,
# workers, MLflow's server and the containers in which models are trained are this one image with another command.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS environment
COPY requirements.txt .
# Behind a proxy with a certificate of its own: docker build --secret id=ca,src=FILE
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca; fi \
    && python3.11 -m venv /opt/venv \
    # The locked uv installs the rest, as the launcher does it.
    && awk '/^[^ #]/ {is_uv = /^uv==/} is_uv && !/^ *#/' requirements.txt > uv.txt \
    && /opt/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r uv.txt \
    && UV_LINK_MODE=copy /opt/venv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes \
        -r requirements.txt \
    && /opt/venv/bin/pip uninstall --yes --quiet uv pip setuptools

FROM ${PYTHON_IMAGE}
COPY packages.txt /tmp/packages.txt
RUN apt-get update \
    && xargs -a /tmp/packages.txt apt-get install --yes --no-install-recommends \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /tmp/packages.txt
RUN useradd --uid 10001 --create-home --home-dir /var/lib/ratchet --shell /usr/sbin/nologin ratchet \
    && install --directory --owner ratchet --group ratchet /opt/airflow
COPY --from=environment /opt/venv /opt/venv
WORKDIR /opt/ratchet
# The lock as well: a version says by which packages it was made.
COPY airflow_local_settings.py airflow_settings.yaml requirements.txt ./
COPY plugins plugins
COPY dags dags
COPY include include
RUN /opt/venv/bin/python -m compileall -q .
# What a version's card says of the code that made it; there is no checkout here to ask.
ARG GIT_COMMIT=unknown
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/ratchet \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/ratchet/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/ratchet/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    RATCHET_GIT_COMMIT=${GIT_COMMIT} \
    RATCHET_HOME=/var/lib/ratchet
USER 10001
CMD ["airflow", "version"]

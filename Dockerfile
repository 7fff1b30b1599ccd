# One image for the API and the worker, and from it one for operators' commands; the agent is
# installed on desks, not run from here.
FROM python:3.12-slim-bookworm AS packages
COPY requirements.lock /tmp/
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r /tmp/requirements.lock

FROM python:3.12-slim-bookworm AS cardflow
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin cardflow \
 && install -d -o cardflow -g cardflow -m 0700 /state
COPY --from=packages /venv /venv
WORKDIR /app
COPY cardflow cardflow
COPY workflows workflows
COPY activities activities
COPY api api
COPY cli cli
COPY migrations migrations
COPY policies policies
COPY worker.py ./
COPY deploy/bin bin
ENV PATH=/venv/bin:/app/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    CARDFLOW_STATE_DIR=/state
USER cardflow
CMD ["python", "-m", "api"]

# pg_dump takes no server that is newer than itself: this is Debian 12's, and the server's version.
FROM cardflow AS tools
USER root
RUN apt-get update \
 && apt-get install --yes --no-install-recommends postgresql-client-15 \
 && rm -rf /var/lib/apt/lists/*
USER cardflow
CMD ["cardflow", "--help"]

# Build: docker build -t mltrainer .        Serve: docker compose up
# A test holds every command of this file to what is in the project; no engine is needed for it.
FROM python:3.12-slim AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/mltrainer
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY mltrainer mltrainer
COPY notebooks notebooks
RUN uv sync --locked --no-dev --no-editable --extra boost --extra deep --extra server --extra alerts --extra encrypted --extra s3

FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 mltrainer && install -d -o mltrainer /state
COPY --from=build /opt/mltrainer /opt/mltrainer
ENV PATH=/opt/mltrainer/bin:$PATH MLTRAINER_HOME=/state/home MLTRAINER_OUT=/state/reports
USER mltrainer
WORKDIR /state
VOLUME /state
EXPOSE 8866
HEALTHCHECK --interval=60s --timeout=20s --start-period=60s CMD ["mltrainer", "health"]
CMD ["mltrainer", "serve", "--port", "8866"]

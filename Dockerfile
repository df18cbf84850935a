FROM python:3.12-slim

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY drawthings_mcp drawthings_mcp
RUN pip install --no-cache-dir --constraint constraints.txt .
RUN mkdir -p /data && chown 10001:10001 /data

ENV HOME=/data \
    DRAWTHINGS_OUTPUT_DIR=/data/pictures \
    DRAWTHINGS_STATE_DIR=/data/state
# Pictures, ids and keys; mount it, owned by the user below.
VOLUME /data
USER 10001:10001
ENTRYPOINT ["drawthings-mcp"]

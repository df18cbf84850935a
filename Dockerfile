# The server, or a Draw Things-compatible simulator: docker run IMAGE simulator --host 0.0.0.0
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
EXPOSE 7868
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7868/health', timeout=4)"]
ENTRYPOINT ["drawthings-mcp"]
# The port is mapped to this machine's; for others add --allow-host NAME, and a certificate in place of --insecure-lan.
CMD ["serve", "--http", "0.0.0.0:7868", "--insecure-lan", "--allow-host", "localhost"]

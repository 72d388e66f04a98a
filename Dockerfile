# One image for every role: `darkroom api`, `darkroom worker`, `darkroom migrate`. It holds neither
# uv nor the embedded servers; in production Postgres and Valkey are given by URL.
ARG PYTHON_IMAGE=python:3.13.14-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8

FROM ${PYTHON_IMAGE} AS builder
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/darkroom \
    UV_PYTHON_DOWNLOADS=0
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
# Dependencies first: this layer changes only with the lock, not with the source.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --extra results --no-install-project
COPY README.md LICENSE ./
COPY sql ./sql
COPY shared ./shared
COPY producer ./producer
COPY worker ./worker
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --extra results --no-editable

# The same base as the builder's, so that the environment's interpreter path holds.
FROM ${PYTHON_IMAGE} AS runtime
LABEL org.opencontainers.image.title="Darkroom" \
      org.opencontainers.image.description="An asynchronous job queue with a till: image generation jobs, charged when they succeed." \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/darkroom/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=builder /opt/darkroom /opt/darkroom
# For copies of images: a volume that is mounted here takes this owner.
RUN install -d -o 10001 -g 10001 /srv/images
WORKDIR /app
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["darkroom"]
CMD ["--help"]

# Magister as an image: from its source (BUILD_TYPE=source), or from the wheel in out/ (BUILD_TYPE=prebuilt).
# Any images made from Debian will do, in a release that brings Python 3.11 or newer; both of the same release.
ARG BUILD_IMAGE=debian:trixie-slim
ARG RUNTIME_IMAGE=debian:trixie-slim

FROM ${BUILD_IMAGE} AS build
ARG BUILD_TYPE=source
# for those behind a mirror or a proxy; neither reaches the image that runs
ARG PIP_INDEX_URL
ARG PIP_CERT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source

# what changes seldom first: the locked dependencies, each file checked by its hash, into an environment without pip
COPY requirements.lock ./
RUN /usr/bin/python3 -m venv /tools \
 && /usr/bin/python3 -m venv --without-pip /opt/magister \
 && /tools/bin/pip --python /opt/magister/bin/python install --quiet \
      --require-hashes --only-binary :all: --requirement requirements.lock

COPY . ./
RUN case "${BUILD_TYPE}" in \
      source) rm -rf out \
        && /tools/bin/pip install --quiet --require-hashes --requirement requirements-build.lock \
        && /tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir out . ;; \
      prebuilt) ls out/magister-*.whl >/dev/null 2>&1 \
        || { echo "BUILD_TYPE=prebuilt needs a wheel in out/: make build" >&2; exit 1; } ;; \
      *) echo "BUILD_TYPE is source or prebuilt, not ${BUILD_TYPE}" >&2; exit 1 ;; \
    esac \
 && /tools/bin/pip --python /opt/magister/bin/python install --quiet --no-deps --no-index out/magister-*.whl

FROM ${RUNTIME_IMAGE}
ARG USER_ID=1000
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
 && useradd --uid "${USER_ID}" --user-group --no-create-home --shell /bin/bash magister \
 && install --directory --owner magister --group magister --mode 0750 /home/magister
COPY --from=build /opt/magister /opt/magister
ENV PATH=/opt/magister/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# the native dependencies were chosen by the Python of the other image
RUN magister migrate --help >/dev/null && python -c 'import pydantic_core, psycopg, sqlalchemy' \
 || { echo "BUILD_IMAGE and RUNTIME_IMAGE bring different Pythons: take both from one release" >&2; exit 1; }

# The home is the volume: the database lies there wherever `database_url` is left as it is, even if it is empty in
# an .env, and magister.toml may be mounted into it.
USER magister
WORKDIR /home/magister
VOLUME /home/magister
EXPOSE 8555
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["magister", "health"]
ENTRYPOINT ["magister"]
CMD ["serve"]

# what changes with every commit last
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=https://github.com/unattended-backpack/magister
ARG VENDOR="Unattended Backpack, Inc."
ARG RUNTIME_IMAGE
LABEL org.opencontainers.image.title="magister" \
      org.opencontainers.image.description="Keeps a constant number of Vast.ai GPU boxes of one template alive." \
      org.opencontainers.image.licenses="AGPL-3.0-only" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.vendor="${VENDOR}" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

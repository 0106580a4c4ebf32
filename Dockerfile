# What runs in production: receiver, worker, beat, Flower, migrations and the operator's commands. Which of them a
# container is, its command says. The embedded servers and the simulator are for development, and not in here.
FROM python:3.12.13-slim-trixie AS builder

WORKDIR /app

# Before the code, which changes more often. Every package is checked against its hash, and comes as a wheel: there is no
# compiler here. The environment is without pip, which nothing needs at night.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --no-compile --only-binary=:all: --require-hashes -r requirements.lock

COPY pyproject.toml ./
COPY worker/ worker/
COPY tasks/ tasks/
COPY db/ db/
COPY migrations/ migrations/
COPY cli/ cli/
COPY stack/ stack/
# Compiled now, because nothing can be written later; by hash and not by time, so that the same sources make the same
# files. And a command for `docker compose exec worker attribution ...`.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib . \
    && printf '#!/bin/sh\ncd /app && exec python -m cli "$@"\n' > /opt/venv/bin/attribution \
    && chmod 755 /opt/venv/bin/attribution


FROM python:3.12.13-slim-trixie

LABEL org.opencontainers.image.title="engagement-attribution" \
      org.opencontainers.image.description="Credits opens, clicks and delivery reports of Azure's e-mail to their campaigns" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# The base's own pip goes, too.
RUN pip uninstall --yes --quiet --root-user-action=ignore pip \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin attribution

COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app

ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

# By number: Kubernetes cannot tell of a name that it is not root.
USER 10001:10001
EXPOSE 8080 5555 9464
STOPSIGNAL SIGTERM
# No HEALTHCHECK: each command has one of its own, and what runs the container knows which it gave.
ENTRYPOINT ["attribution"]
CMD ["--help"]

# What runs in production: receiver, worker, beat, Flower, migrations and the operator's commands. Which of them a
# container is, its command says. The embedded servers and the simulator are for development, and not in here.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin attribution

WORKDIR /app

# Before the code, which changes more often. Every package is checked against its hash.
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements.lock

COPY pyproject.toml ./
COPY worker/ worker/
COPY tasks/ tasks/
COPY db/ db/
COPY migrations/ migrations/
COPY cli/ cli/
COPY stack/ stack/
# Compiled now, because nothing can be written later; and a command for `docker compose exec worker attribution ...`.
RUN python -m compileall -q . \
    && printf '#!/bin/sh\ncd /app && exec python -m cli "$@"\n' > /usr/local/bin/attribution \
    && chmod 755 /usr/local/bin/attribution

USER attribution
EXPOSE 8080 5555
ENTRYPOINT ["attribution"]
CMD ["--help"]

"""Settings of the Celery worker, beat, Flower, and the operator's commands."""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, field_validator, model_validator

from worker.settings.common import CommonSettings
from worker.settings.reading import Comma, Duration, is_loopback, split

#: Shortest key of pseudonyms, in characters: it must not be guessed from a stolen table and a list of addresses.
SHORTEST_KEY = 32

#: A delivery report's status, or the beginning of an enhanced SMTP status, and the type of bounce that it is.
_BOUNCE_RULE = re.compile(r"(?:[A-Za-z]+|[245](?:\.(?:\d{1,3}|\*)){1,2}):(?:hard|soft|complaint)")


class WorkerSettings(CommonSettings):
    """Settings of the Celery worker, beat, Flower, and the operator's commands."""

    database_url: SecretStr = Field(
        description="PostgreSQL: postgresql://user:password@host:5432/name. With standbys: several hosts, with commas"
        " between them, and ?target_session_attrs=read-write."
    )
    broker_url: SecretStr | None = Field(
        None, description="Redis that holds Celery's queues, if it is to be another than the streams' one."
    )
    statement_timeout: Duration = Field(
        timedelta(seconds=15), gt=timedelta(0), description="Longest a statement may run before PostgreSQL ends it."
    )
    drain_processes: int = Field(1, ge=0, le=64, description="Processes each worker keeps draining the streams.")
    drain_batch_entries: int = Field(
        5000, ge=1, le=50_000, description="Most stream entries taken into one batch, which is one transaction."
    )
    drain_batch_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, description="Size of bodies at which a batch is cut; a larger body is one by itself."
    )
    claim_after: Duration = Field(
        timedelta(seconds=60),
        gt=timedelta(0),
        description="Idle time after which an unacknowledged entry is taken for abandoned.",
    )
    max_deliveries: int = Field(
        5,
        ge=4,
        description="Deliveries after which an entry that keeps ending its drain is quarantined."
        " The fourth is the first in which it is alone.",
    )
    park_schedule: Annotated[tuple[Duration, ...], Comma] = Field(
        tuple(timedelta(seconds=s) for s in (5, 15, 60, 300, 900, 3600, 21600)),
        description="Waits before each retry of a parked event, separated by commas; the last one repeats.",
    )
    park_jitter_percent: int = Field(
        10, ge=0, le=50, description="How far each wait strays, either way, so that retries spread out."
    )
    park_deadline: Duration = Field(
        timedelta(days=7),
        gt=timedelta(0),
        description="Age at which a parked event expires. It is revived if its message turns up.",
    )
    sweep_interval: Duration = Field(
        timedelta(seconds=2),
        gt=timedelta(0),
        description="How often due retries, and messages tracked behind our back, are looked for.",
    )
    sweep_limit: int = Field(5000, ge=1, description="Most parked events one sweep takes into a transaction.")
    alarm_share_percent: int = Field(
        10,
        ge=1,
        le=100,
        description="Share of events that cannot be read, or are of a type or status that is not known, above which"
        " there is an alarm and the drain slows down; likewise of engagement events without an internetMessageId, which"
        " slow nothing. With 100 there never is one.",
    )
    alarm_least: int = Field(200, ge=10, description="Least number of events that such a share is taken of.")
    alarm_window: Duration = Field(
        timedelta(hours=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=1),
        description="Time before now in which they are counted.",
    )
    alarm_slows_for: Duration = Field(
        timedelta(hours=12),
        ge=timedelta(0),
        le=timedelta(hours=20),
        description="Longest that an alarm slows the drain. Event Grid gives up on what it could not deliver for a day,"
        " so it must end before. 0 only raises the alarm.",
    )

    native_window: Duration = Field(
        timedelta(seconds=5),
        ge=timedelta(0),
        le=timedelta(minutes=5),
        description="How far a view or click that listmonk counted itself may lie from ours, either way, to be the same"
        " act, which is then counted once. 0 counts every act of ours beside listmonk's.",
    )
    personal_parameters: Annotated[tuple[str, ...], Comma] = Field(
        ("subscriber", "subscriber_uuid", "sub", "uid", "email", "recipient", "mc_eid", "vero_id", "_hsenc", "mkt_tok"),
        description="Query parameters that differ from reader to reader; clicked URLs are counted without them.",
    )
    bounce_types: Annotated[tuple[str, ...], Comma] = Field(
        (
            "FilteredSpam:complaint",
            "Quarantined:soft",
            "Suppressed:hard",
            "5.*:hard",
            "4.*:soft",
            "Bounced:hard",
            "Failed:soft",
        ),
        description="Which delivery reports are bounces, and of which type (`hard`, `soft`, `complaint`): by Azure's"
        " status, or by the beginning of the enhanced SMTP status. The first that fits decides; a status that is not"
        " named here is no bounce, whatever its code.",
    )
    recipients: Literal["hash", "plain"] = Field(
        "hash",
        description="How a recipient's address is stored: as a keyed hash, or as it came. Without a key there is no"
        " hash either, and recipients are not kept at all.",
    )
    recipient_key: SecretStr | None = Field(
        None,
        description="Key of those hashes, at least 32 characters. Keep it for good, and away from backups: what was"
        " hashed with another is not found by its address any more.",
    )
    recipient_old_keys: Annotated[tuple[SecretStr, ...], Comma] = Field(
        (),
        description="Earlier keys, separated by commas. Nothing is hashed with them any more; people are found by what"
        " was. Each is as long as the key.",
    )
    archive_retention: Duration = Field(
        timedelta(days=14),
        ge=timedelta(0),
        description="How long the bodies of drained batches are kept, for a replay. 0 keeps none.",
    )
    event_retention: Duration | None = Field(
        None,
        ge=timedelta(days=30),
        description="Age at which the events and messages of a campaign in which nothing has happened since are"
        " removed; its numbers stay. They are kept for ever if it is not set.",
    )
    parked_retention: Duration = Field(
        timedelta(days=90),
        ge=timedelta(days=1),
        description="How long events that have expired, and were never attributed, are kept.",
    )
    quarantine_retention: Duration = Field(
        timedelta(days=90), ge=timedelta(days=1), description="How long bytes that could not be read are kept."
    )
    webhook_retention: Duration = Field(
        timedelta(days=30),
        ge=timedelta(days=1),
        description="How long a batch for the webhook that was given up is kept for an operator to retry.",
    )
    journal_retention: Duration = Field(
        timedelta(days=365),
        ge=timedelta(days=1),
        description="How long a backfill or repair that is finished can be undone.",
    )
    erased_retention: Duration = Field(
        timedelta(days=30),
        ge=timedelta(days=2),
        description="How long hashes of what was erased are kept, so that a redelivery does not bring it back. Event"
        " Grid delivers again for a day.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address on which a worker serves its metrics.")
    metrics_port: int = Field(9464, ge=0, le=65535, description="Port on which it does. With 0 it serves none.")
    webhook_url: SecretStr | None = Field(
        None,
        description="Where attributed events are posted, signed after Standard Webhooks. Nowhere if it is not set.",
    )
    webhook_secrets: Annotated[tuple[SecretStr, ...], Comma] = Field(
        (),
        description="Secrets that sign those posts, separated by commas: `whsec_` and base64 of 24 to 64 bytes. Each"
        " signs, so that old and new are valid while you rotate.",
    )
    webhook_batch: int = Field(500, ge=1, le=10_000, description="Most events in one post.")
    webhook_timeout: Duration = Field(
        timedelta(seconds=15),
        gt=timedelta(0),
        le=timedelta(seconds=30),
        description="Time the other side has to answer.",
    )

    split_lists = field_validator(
        "park_schedule", "personal_parameters", "bounce_types", "webhook_secrets", "recipient_old_keys", mode="before"
    )(split)

    @field_validator("recipient_key")
    @classmethod
    def _is_strong(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(f"it is shorter than {SHORTEST_KEY} characters; make one with `openssl rand -hex 32`")
        return key

    @field_validator("recipient_old_keys")
    @classmethod
    def _were_strong(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < SHORTEST_KEY for key in keys):
            raise ValueError(f"one of them is shorter than {SHORTEST_KEY} characters, and never was a key")
        return keys

    @field_validator("webhook_url")
    @classmethod
    def _is_private(cls, value: SecretStr | None) -> SecretStr | None:
        """Insist on TLS: what is posted says who read what. A token in the URL stays out of every message."""
        if value is None:
            return None
        try:
            url = AnyHttpUrl(value.get_secret_value())
        except ValidationError:
            raise ValueError("it is no URL; write https://host/path") from None
        if url.scheme != "https" and not is_loopback((url.host or "").strip("[]")):
            raise ValueError("it must start with https://; http:// is for loopback addresses only")
        return SecretStr(str(url))

    @field_validator("webhook_secrets")
    @classmethod
    def _can_sign(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            prefix, underscore, key = secret.get_secret_value().partition("_")
            try:
                length = len(b64decode(key + "=" * (-len(key) % 4), validate=True))
            except ValueError:
                length = 0
            if prefix + underscore != "whsec_" or not 24 <= length <= 64:
                raise ValueError(
                    "each secret is whsec_ and the base64 of 24 to 64 random bytes; make one with"
                    ' `echo "whsec_$(openssl rand -base64 32)"`'
                )
        return secrets

    @model_validator(mode="after")
    def _webhook_is_signed(self) -> Self:
        if self.webhook_url and not self.webhook_secrets:
            raise ValueError("posts to ATTRIBUTION_WEBHOOK_URL must be signed: set ATTRIBUTION_WEBHOOK_SECRETS")
        return self

    @model_validator(mode="after")
    def _events_outlive_their_bodies(self) -> Self:
        if self.event_retention is not None and self.event_retention <= max(self.archive_retention, self.park_deadline):
            raise ValueError(
                "ATTRIBUTION_EVENT_RETENTION must be longer than ATTRIBUTION_ARCHIVE_RETENTION and"
                " ATTRIBUTION_PARK_DEADLINE, or a replay would bring back what was removed"
            )
        return self

    @field_validator("bounce_types")
    @classmethod
    def _are_rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [rule for rule in value if not _BOUNCE_RULE.fullmatch(rule)]:
            raise ValueError(f"{wrong[0]!r} is no rule such as Bounced:hard or 4.2.2:soft")
        return value

    @field_validator("personal_parameters")
    @classmethod
    def _are_lower_case(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in value)

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("it must start with postgresql://")
        return value

    @field_validator("park_schedule")
    @classmethod
    def _waits(cls, value: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
        if not value or min(value) <= timedelta(0):
            raise ValueError("it needs at least one wait, each longer than zero, such as 5,15,60")
        return value

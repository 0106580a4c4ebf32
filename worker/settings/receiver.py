"""Settings of the receiver."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator, model_validator

from worker.settings.common import CommonSettings
from worker.settings.reading import Comma, Duration, is_loopback, split

#: The application id under which Event Grid of Azure's public cloud signs in; Azure Government has another.
EVENT_GRID_APP_ID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"

#: Shortest secret that we accept, in characters: 16 random ones are beyond guessing over HTTP.
SHORTEST_SECRET = 16


class ReceiverSettings(CommonSettings):
    """Settings of the receiver. It needs no database."""

    host: str = Field("127.0.0.1", description="Address the receiver listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port the receiver listens on.")
    insecure: bool = Field(
        False, description="Let anyone post events and messages. Refused unless `host` is a loopback address."
    )
    event_secrets: Annotated[tuple[SecretStr, ...], Comma] = Field(
        (),
        description="Secrets, separated by commas, any of which lets a caller post events, as `?code=` or in the header"
        " `x-attribution-secret`. Keep old and new side by side while you rotate.",
    )
    message_secrets: Annotated[tuple[SecretStr, ...], Comma] = Field(
        (),
        description="The same for `POST /messages`, in `Authorization: Bearer` or `x-attribution-secret`."
        " While there is none, the route answers 404.",
    )
    entra_tenant_id: str | None = Field(None, description="Microsoft Entra tenant whose tokens are accepted on events.")
    entra_audience: str | None = Field(None, description="Audience a token must name: the application's id or id URI.")
    entra_app_ids: Annotated[tuple[str, ...], Comma] = Field(
        (EVENT_GRID_APP_ID,), description="Applications that may call: Event Grid's own id in the public cloud."
    )
    entra_role: str | None = Field(None, description="Role a token must carry, if you assign one.")
    entra_authority: AnyHttpUrl = Field(
        AnyHttpUrl("https://login.microsoftonline.com"), description="Where the tenant's signing keys are published."
    )
    webhook_origins: Annotated[tuple[str, ...], Comma] = Field(
        ("eventgrid.azure.net",), description="Origins granted in the CloudEvents handshake."
    )
    body_limit_bytes: int = Field(
        8 * 1024 * 1024, ge=2 * 1024 * 1024, description="Largest body accepted; Event Grid sends about 2 MiB at most."
    )
    body_timeout: Duration = Field(
        timedelta(seconds=10),
        gt=timedelta(0),
        description="Time a caller has to send the head of a request, and again to send its body.",
    )
    redis_timeout: Duration = Field(
        timedelta(seconds=2),
        gt=timedelta(0),
        description="Time Redis has to confirm an append before the caller is told 503.",
    )
    backlog_limit: int = Field(2_000_000, ge=1, description="Entries on a stream above which the receiver answers 503.")
    memory_limit_percent: int = Field(
        70, ge=1, le=100, description="Share of Redis's maxmemory in use above which the receiver answers 503."
    )

    split_lists = field_validator(
        "event_secrets", "message_secrets", "entra_app_ids", "webhook_origins", mode="before"
    )(split)

    @field_validator("event_secrets", "message_secrets")
    @classmethod
    def _are_long(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(secret.get_secret_value()) < SHORTEST_SECRET for secret in secrets):
            raise ValueError(
                f"a secret is shorter than {SHORTEST_SECRET} characters; make one with `openssl rand -hex 24`"
            )
        return secrets

    @model_validator(mode="after")
    def _callers_can_be_told_apart(self) -> Self:
        if self.insecure:
            if not is_loopback(self.host):
                raise ValueError("ATTRIBUTION_INSECURE is for loopback addresses only; set ATTRIBUTION_HOST=127.0.0.1")
            return self
        if bool(self.entra_tenant_id) != bool(self.entra_audience):
            raise ValueError("set both of ATTRIBUTION_ENTRA_TENANT_ID and ATTRIBUTION_ENTRA_AUDIENCE, or neither")
        if not self.event_secrets and not self.entra_tenant_id:
            raise ValueError(
                "anyone could post events: set ATTRIBUTION_EVENT_SECRETS, or ATTRIBUTION_ENTRA_TENANT_ID with"
                " ATTRIBUTION_ENTRA_AUDIENCE, or, on a loopback address only, ATTRIBUTION_INSECURE=true"
            )
        return self

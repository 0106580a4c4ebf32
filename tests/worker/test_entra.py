"""Event Grid's Entra tokens, against keys made here and served over loopback."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.worker.certificates import rsa_key
from tests.worker.entra_tenant import AUDIENCE, EVENT_GRID_APP_ID, TENANT_ID, Tenant, tenant
from tests.worker.receiving import Caller, ServeReceiver, entries, receiver_settings, serving
from worker.receiving.entra import EntraTokens, KeysUnavailable, SigningKeys, TokenRefused
from worker.streams import EVENTS

ROLE = "AzureEventGridSecureWebhookSubscriber"
EVENT = b'[{"id": "8a1f"}]'


@pytest.fixture
def entra() -> Iterator[Tenant]:
    with tenant() as served:
        yield served


def tokens(entra: Tenant, role: str | None = ROLE) -> EntraTokens:
    return EntraTokens(
        authority=entra.authority, tenant_id=TENANT_ID, audience=AUDIENCE, app_ids=[EVENT_GRID_APP_ID], role=role
    )


def judge(entra: Tenant, token: str, role: str | None = ROLE) -> None:
    asyncio.run(tokens(entra, role).verify(token))


def test_token_that_has_just_expired_is_taken_for_clocks_may_differ_by_a_minute(entra: Tenant) -> None:
    judge(entra, entra.token(exp=int(time.time()) - 30))


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"appid": None, "azp": EVENT_GRID_APP_ID, "ver": "2.0"},
        {"appid": EVENT_GRID_APP_ID.upper(), "tid": TENANT_ID.upper()},
        {"aud": ["somebody-else", AUDIENCE]},
    ],
    ids=["version 1", "version 2", "other case", "several audiences"],
)
def test_good_token_is_taken(claims: dict[str, Any], entra: Tenant) -> None:
    judge(entra, entra.token(**claims))


def test_version_2_issuer_is_the_authority(entra: Tenant) -> None:
    judge(entra, entra.token(iss=f"{entra.authority}/{TENANT_ID}/v2.0"))


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "api://another.example.com"}, "InvalidAudienceError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"iss": "https://sts.windows.net/99999999-2222-3333-4444-555555555555/"}, "InvalidIssuerError"),
        ({"iss": None}, "MissingRequiredClaimError"),
        ({"exp": 1_600_000_000}, "ExpiredSignatureError"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"nbf": 4_000_000_000}, "ImmatureSignatureError"),
        ({"tid": "99999999-2222-3333-4444-555555555555"}, "another tenant's"),
        ({"tid": None}, "another tenant's"),
        ({"appid": "99999999-2222-3333-4444-555555555555"}, "another application's"),
        ({"appid": None}, "another application's"),
        ({"roles": ["Reader"]}, "lacks the role"),
        ({"roles": ROLE}, "lacks the role"),
        ({"roles": None}, "lacks the role"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_token_is_refused_for(claims: dict[str, Any], why: str, entra: Tenant) -> None:
    with pytest.raises(TokenRefused, match=why):
        judge(entra, entra.token(**claims))


def test_role_is_not_asked_for_unless_it_is_set(entra: Tenant) -> None:
    judge(entra, entra.token(roles=None), role=None)


def test_signature_of_another_key_is_refused(entra: Tenant) -> None:
    forged = jwt.encode(entra.claims(), rsa_key(), "RS256", {"kid": "key-1"})
    with pytest.raises(TokenRefused, match="InvalidSignatureError"):
        judge(entra, forged)


def test_changed_claims_are_refused(entra: Tenant) -> None:
    header, _, signature = entra.token().split(".")
    claims = _encode(json.dumps(entra.claims(roles=[ROLE, "Admin"])).encode())
    with pytest.raises(TokenRefused, match="InvalidSignatureError"):
        judge(entra, f"{header}.{claims}.{signature}")


def test_token_without_signature_is_refused(entra: Tenant) -> None:
    unsigned = jwt.encode(entra.claims(), "", "none", {"kid": "key-1"})
    with pytest.raises(TokenRefused, match="not signed with RS256"):
        judge(entra, unsigned)


def test_public_key_taken_for_a_shared_secret_is_refused(entra: Tenant) -> None:
    """HS256 with the public key as its secret, which anybody can make."""
    public = entra.publish("key-2").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("HS256", "RS256"):
        head = _encode(json.dumps({"alg": algorithm, "typ": "JWT", "kid": "key-2"}).encode())
        signed = f"{head}.{_encode(json.dumps(entra.claims()).encode())}"
        forged = f"{signed}.{_encode(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"
        with pytest.raises(TokenRefused):
            judge(entra, forged)


def test_other_algorithms_are_refused(entra: Tenant) -> None:
    elliptic = jwt.encode(entra.claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "key-1"})
    longer = jwt.encode(entra.claims(), entra.publish("key-2"), "RS512", {"kid": "key-2"})
    for token in (elliptic, longer):
        with pytest.raises(TokenRefused, match="not signed with RS256"):
            judge(entra, token)


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "....", "ä.ö.ü", "e30.e30.", "x" * 100_000])
def test_what_is_no_token_is_refused(text: str, entra: Tenant) -> None:
    with pytest.raises(TokenRefused):
        judge(entra, text)
    assert entra.fetches == 0, "nobody is asked about it"


def test_token_without_key_id_is_refused(entra: Tenant) -> None:
    token = jwt.encode(entra.claims(), rsa_key(), "RS256")
    with pytest.raises(TokenRefused, match="key id"):
        judge(entra, token)


def test_token_that_was_verified_is_known_for_a_minute(entra: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr("worker.receiving.entra.time", lambda: now)

    async def scenario() -> None:
        nonlocal now
        judges = tokens(entra)
        long, short = entra.token(), entra.token(exp=int(now) + 30)
        decoded = []

        def count_and_decode(*args: Any, **options: Any) -> Any:
            decoded.append(1)
            return decode(*args, **options)

        monkeypatch.setattr("worker.receiving.entra.jwt.decode", count_and_decode)
        for _ in range(3):
            await judges.verify(long)
            await judges.verify(short)
        assert len(decoded) == 2

        now += 31
        await judges.verify(long)
        assert len(decoded) == 2
        await judges.verify(short)  # within the leeway, but no longer unseen
        assert len(decoded) == 3

        now += 30
        await judges.verify(long)
        assert len(decoded) == 4

    decode = jwt.decode
    asyncio.run(scenario())


def test_refused_token_is_judged_each_time(entra: Tenant) -> None:
    async def scenario() -> None:
        judges = tokens(entra)
        for _ in range(3):
            with pytest.raises(TokenRefused):
                await judges.verify(entra.token(aud="another"))

    asyncio.run(scenario())


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def keys_of(entra: Tenant, clock: Clock) -> SigningKeys:
    return SigningKeys(f"{entra.authority}/{TENANT_ID}/discovery/v2.0/keys", clock=clock)


def test_keys_are_fetched_once_an_hour(entra: Tenant) -> None:
    async def scenario() -> None:
        keys = keys_of(entra, clock := Clock())
        for _ in range(10):
            await keys.find("key-1")
        clock.seconds += 3599
        await keys.find("key-1")
        assert entra.fetches == 1

        clock.seconds += 2
        await keys.find("key-1")  # still the old one; the new one is fetched meanwhile
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        assert entra.fetches == 2

    asyncio.run(scenario())


def test_new_key_is_fetched_when_it_is_first_used(entra: Tenant) -> None:
    async def scenario() -> None:
        keys = keys_of(entra, clock := Clock())
        await keys.find("key-1")
        entra.publish("key-2")
        clock.seconds += 31
        assert (await keys.find("key-2")).key_id == "key-2"
        assert entra.fetches == 2

    asyncio.run(scenario())


def test_made_up_key_ids_cause_one_fetch_in_half_a_minute(entra: Tenant) -> None:
    async def scenario() -> None:
        keys = keys_of(entra, clock := Clock())
        for number in range(100):
            with pytest.raises(TokenRefused, match="no key of the tenant"):
                await keys.find(f"made-up-{number}")
        assert entra.fetches == 1

        clock.seconds += 31
        outcomes = await asyncio.gather(*(keys.find(f"made-up-{n}") for n in range(100)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {TokenRefused}
        assert entra.fetches == 2, "all of them waited for the same one"

    asyncio.run(scenario())


def test_withdrawn_key_is_no_longer_good(entra: Tenant) -> None:
    async def scenario() -> None:
        keys = keys_of(entra, clock := Clock())
        await keys.find("key-1")
        entra.publish("key-2")
        entra.withdraw("key-1")
        clock.seconds += 31
        await keys.find("key-2")
        with pytest.raises(TokenRefused):
            await keys.find("key-1")

    asyncio.run(scenario())


def test_known_keys_outlive_an_outage_of_entra_by_a_day(entra: Tenant) -> None:
    async def scenario() -> None:
        keys = keys_of(entra, clock := Clock())
        await keys.find("key-1")
        entra.is_down = True
        clock.seconds += 24 * 3600 - 1
        await keys.find("key-1")
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        clock.seconds += 2
        with pytest.raises(KeysUnavailable):
            await keys.find("key-1")

    asyncio.run(scenario())


def test_keys_that_cannot_be_had_are_our_trouble(entra: Tenant) -> None:
    async def scenario() -> None:
        entra.is_down = True
        keys = keys_of(entra, clock := Clock())
        for _ in range(10):
            with pytest.raises(KeysUnavailable):
                await keys.find("key-1")
        assert entra.fetches == 1, "an outage is not made worse"

        entra.is_down = False
        clock.seconds += 31
        await keys.find("key-1")

    asyncio.run(scenario())


def test_waiting_for_keys_holds_up_nobody_else(entra: Tenant) -> None:
    async def scenario() -> None:
        entra.delay.clear()
        keys = keys_of(entra, Clock())
        waiting = [asyncio.create_task(keys.find("key-1")) for _ in range(3)]
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(task.done() for task in waiting), "the loop turned a hundred times meanwhile"

        waiting[0].cancel()  # its caller left; the fetch goes on for the others
        entra.delay.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert [getattr(outcome, "key_id", None) for outcome in outcomes[1:]] == ["key-1"] * 2
        assert entra.fetches == 1

    asyncio.run(scenario())


# Through the receiver.


@pytest.fixture
def entra_caller(serve: ServeReceiver, redis_url: str, entra: Tenant) -> Caller:
    return serve(
        redis_url,
        event_secrets="",
        entra_tenant_id=TENANT_ID,
        entra_audience=AUDIENCE,
        entra_role=ROLE,
        entra_authority=entra.authority,
    )


def post(caller: Caller, token: str) -> int:
    return caller.send("POST", "/eventgrid", {"Authorization": f"Bearer {token}"}, EVENT).status


def test_event_with_a_good_token_is_stored(entra_caller: Caller, entra: Tenant, redis_client: redis.Redis) -> None:
    assert post(entra_caller, entra.token()) == 200
    assert entries(redis_client, EVENTS) == [{b"body": EVENT}]


def test_event_with_another_token_is_not(entra_caller: Caller, entra: Tenant, redis_client: redis.Redis) -> None:
    assert post(entra_caller, entra.token(aud="another")) == 404
    assert post(entra_caller, "ä.ö.ü") == 404
    assert entra_caller.send("POST", "/eventgrid", body=EVENT).status == 404
    assert entries(redis_client, EVENTS) == []


def test_outage_of_entra_is_answered_503_and_not_404(entra_caller: Caller, entra: Tenant) -> None:
    entra.is_down = True
    assert post(entra_caller, entra.token()) == 503


def test_secret_and_token_are_both_good(redis_url: str, entra: Tenant) -> None:
    settings = receiver_settings(
        redis_url, entra_tenant_id=TENANT_ID, entra_audience=AUDIENCE, entra_authority=entra.authority
    )
    with serving(settings) as caller:
        assert caller.post_events(EVENT).status == 200
        assert post(caller, entra.token()) == 200


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

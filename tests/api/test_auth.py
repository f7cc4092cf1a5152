"""Tokens that must be refused, and sessions that ended: a header in, a viewer or a refusal out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from account_world import MINUTE, NOW, World, Worlds, some_phone
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.auth import Authenticator, EndedSessions
from api.client_address import UNKNOWN, client_address, networks
from api.errors import RequestError
from api.jwks import MAX_BYTES, MIN_INTERVAL, OutsideKeys
from domain.access import Assurance, Role
from domain.account import ACCESS_LIFE, EndReason
from operations import account as operations
from operations.tokens import (
    LEEWAY,
    NOTICE,
    OVERLAP,
    ROTATION,
    InvalidKeySetError,
    Issuer,
    KeyRing,
    read_key_set,
)
from store.signing_keys import SigningKeyStore

OUTSIDE = Issuer("https://id.example.gov.cn", "mintong-app", is_own=False)


@pytest.fixture
def worlds(mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path) -> Worlds:
    return Worlds(mongodb_uri, redis_url, database_name, tmp_path)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Any:
        return self.now


def authenticator(world: World, clock: Clock, **outside: Any) -> tuple[Authenticator, EndedSessions]:
    ended = EndedSessions(world.identity.sessions, world.identity.redis, poll_s=0.05)
    return Authenticator(world.identity, ended, clock=clock, **outside), ended


def bearer(token: str) -> bytes:
    return b"Bearer " + token.encode()


async def refuses(auth: Authenticator, header: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        await auth.authenticate(header)
    assert caught.value.code == "INVALID_TOKEN"


def encoded(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_is_good_for_its_ten_minutes(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        clock = Clock()
        auth, _ = authenticator(world, clock)
        signed_in = await world.sign_in(some_phone())
        header = bearer(signed_in.access.token)
        viewer = await auth.authenticate(header)
        assert (viewer.account_id, viewer.session_id) == (signed_in.account.id, signed_in.session.id)
        assert await auth.authenticate(header) is viewer
        assert await auth.authenticate(b"bearer  " + signed_in.access.token.encode()) == viewer
        clock.now = NOW + ACCESS_LIFE - timedelta(seconds=1)
        assert await auth.authenticate(header) is viewer
        clock.now = NOW + ACCESS_LIFE
        await refuses(auth, header)
        await refuses(auth, header)  # nor when it is checked anew, within the leeway
        clock.now = NOW - LEEWAY - timedelta(seconds=1)
        await refuses(auth, header)

    worlds.run(work)


def test_forged_tokens_are_refused(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        clock = Clock()
        auth, _ = authenticator(world, clock)
        signed_in = await world.sign_in(some_phone())
        token = signed_in.access.token
        head, body, signature = token.split(".")
        header = json.loads(base64.urlsafe_b64decode(head + "=="))
        claims = jwt.decode(token, options={"verify_signature": False})
        public = world.identity.ring._keys[0].public
        key = Ed25519PrivateKey.from_private_bytes(world.identity.ring._keys[0].private)
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

        def own(changes: dict[str, Any], **headers: Any) -> str:
            known = {name: value for name, value in (claims | changes).items() if value is not None}
            return jwt.encode(known, key, algorithm="EdDSA", headers=header | headers)

        assert (await auth.authenticate(bearer(own({})))).session_id == signed_in.session.id
        forged = [
            "",
            "x",
            "..",
            token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"),
            f"{head}.{encoded(claims | {'roles': ['OPERATOR']})}.{signature}",
            f"{encoded(header | {'alg': 'none'})}.{body}.",
            f"{encoded({'alg': 'none', 'typ': 'at+jwt'})}.{body}.",
            own({"aud": "another"}),
            own({"aud": None}),
            own({"iss": "another"}),
            own({"exp": int(NOW.timestamp()) - 31}),
            own({"exp": None}),
            own({"exp": "soon"}),
            own({"exp": 1e300}),
            own({"nbf": int((NOW + MINUTE).timestamp())}),
            own({"iat": int((NOW + MINUTE).timestamp())}),
            own({"sub": ""}),
            own({"sid": None}),
            own({"roles": ["KING"]}),
            own({"lvl": 4}),
            own({}, typ="JWT"),
            own({}, kid="another"),
            own({}, crit=["b64"], b64=False),
            "A" * 9_000,
        ]
        for secret in (public, pem, base64.urlsafe_b64encode(public)):
            # Key confusion: the public key taken for a shared secret.
            signing = f"{encoded(header | {'alg': 'HS256'})}.{body}"
            mac = hmac.new(secret, signing.encode(), hashlib.sha256).digest()
            forged.append(f"{signing}.{encoded(mac)}")
        other = Ed25519PrivateKey.generate()
        forged.append(jwt.encode(claims, other, algorithm="EdDSA", headers=header))
        forged.append(signed_in.refresh_token or "")
        for each in forged:
            await refuses(auth, bearer(each))
        for raw in (b"", b"Bearer", b"Basic " + token.encode(), b"Bearer \xff", token.encode()):
            await refuses(auth, raw)

    worlds.run(work)


def test_an_ended_session_is_refused_at_once_and_in_every_process(worlds: Worlds) -> None:
    async def until(found: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not found():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def work(world: World) -> None:
        clock = Clock()
        auth, ended = authenticator(world, clock)
        heard = await world.sign_in(some_phone())
        await auth.authenticate(bearer(heard.access.token))
        listening = asyncio.create_task(ended._listen())
        redis = world.identity.redis
        while not (await redis.pubsub_numsub("mintong:sessions"))[0][1]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        viewer = await world.viewer(heard)
        await operations.end_session(world.identity, viewer, viewer.session_id, now=NOW)
        await until(lambda: heard.session.id in ended)
        await refuses(auth, bearer(heard.access.token))
        listening.cancel()
        # A process that heard nothing asks the store.
        auth, ended = authenticator(world, clock)
        await ended.poll(now=NOW + MINUTE)
        assert heard.session.id in ended
        await refuses(auth, bearer(heard.access.token))
        missed = await world.sign_in(some_phone())
        await operations.end_all_sessions(
            world.identity, missed.account.id, EndReason.SIGNED_OUT, now=NOW + MINUTE
        )
        await ended.poll(now=NOW + MINUTE)
        assert missed.session.id in ended
        await ended.poll(now=NOW + timedelta(hours=2))
        assert missed.session.id not in ended

    worlds.run(work)


def test_keys_rotate_with_notice_and_overlap(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        ring = world.identity.ring
        await ring.refresh(now=NOW)
        first = list(await ring.verifying(now=NOW))
        assert len(first) == 1
        due = NOW + ROTATION
        signed_in = await world.sign_in(some_phone(), now=due)
        published = [key["kid"] for key in (await ring.key_set(now=due))["keys"]]
        assert published[:1] == first
        assert len(published) == 2
        assert jwt.get_unverified_header(signed_in.access.token)["kid"] == first[0]
        active = due + NOTICE
        token = await ring.sign({"a": 1}, now=active)
        assert jwt.get_unverified_header(token)["kid"] == published[1]
        clock = Clock()
        clock.now = active
        await ring.refresh(now=active + OVERLAP - timedelta(seconds=1))
        assert list(await ring.verifying(now=active + OVERLAP - timedelta(seconds=1))) == published
        await ring.refresh(now=active + OVERLAP)
        assert list(await ring.verifying(now=active + OVERLAP)) == published[1:]
        key_set = json.dumps(await ring.key_set(now=active + OVERLAP)).encode()
        assert {key.algorithm for key in read_key_set(key_set).values()} == {"EdDSA"}
        assert b'"d"' not in key_set
        # A leaked key: the new one signs at once, the old one proves nothing any more.
        now = active + OVERLAP + MINUTE
        signed_in = await world.sign_in(some_phone(), now=now)
        await ring.rotate(now=now, at_once=True)
        clock.now = now
        auth, _ = authenticator(world, clock)
        await refuses(auth, bearer(signed_in.access.token))
        fresh = await operations.refresh(world.identity, signed_in.refresh_token or "", now=now)
        assert (await auth.authenticate(bearer(fresh.access.token))).account_id == signed_in.account.id

    worlds.run(work)


def test_another_process_reads_a_key_it_does_not_know(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        other = KeyRing(SigningKeyStore(world.database, world.cipher))
        await asyncio.gather(other.refresh(now=NOW), world.identity.ring.refresh(now=NOW))
        assert await other.key_set(now=NOW) == await world.identity.ring.key_set(now=NOW)
        await other.rotate(now=NOW, at_once=True)
        (kid,) = await other.verifying(now=NOW)
        assert not await world.identity.ring.has(kid, now=NOW + timedelta(seconds=4))
        assert await world.identity.ring.has(kid, now=NOW + timedelta(seconds=5))

    worlds.run(work)


# --- an outside issuer --------------------------------------------------------------------------------------


class Province:
    """An OIDC issuer: keys, tokens, and a key endpoint that can fail."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.kid = "p1"
        self.asked = 0
        self.answer: Callable[[], httpx.Response] = self.key_set

    def key_set(self) -> httpx.Response:
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return httpx.Response(200, json={"keys": [jwk | {"kid": self.kid, "use": "sig", "alg": "RS256"}]})

    def client(self) -> httpx.AsyncClient:
        def handle(_: httpx.Request) -> httpx.Response:
            self.asked += 1
            return self.answer()

        return httpx.AsyncClient(transport=httpx.MockTransport(handle))

    def token(self, algorithm: str = "RS256", **changes: Any) -> str:
        claims = {
            "iss": OUTSIDE.issuer,
            "aud": [OUTSIDE.audience, "other"],
            "sub": "350-1",
            "sid": "s1",
            "iat": int(NOW.timestamp()),
            "exp": int((NOW + timedelta(hours=8)).timestamp()),
        } | changes
        return jwt.encode(claims, self.key, algorithm=algorithm, headers={"kid": self.kid})


def outside(world: World, clock: Clock, province: Province) -> tuple[Authenticator, EndedSessions]:
    keys = OutsideKeys("https://id.example.gov.cn/jwks", timeout_s=1, client=province.client)
    return authenticator(world, clock, outside=OUTSIDE, outside_keys=keys)


def test_tokens_of_the_province_make_an_account_and_can_be_revoked(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        clock, province = Clock(), Province()
        auth, ended = outside(world, clock, province)
        viewer = await auth.authenticate(bearer(province.token(acr="L2")))
        assert (viewer.roles, viewer.assurance) == ({Role.CITIZEN}, Assurance.L2)
        assert viewer.expires_at == NOW + timedelta(hours=1)
        again = await auth.authenticate(bearer(province.token(acr="L3", iat=int(NOW.timestamp()) - 1)))
        assert (again.account_id, again.session_id, again.assurance) == (
            viewer.account_id,
            viewer.session_id,
            Assurance.L2,
        )
        assert (await auth.authenticate(bearer(province.token(sid="s2")))).assurance is Assurance.L1
        assert province.asked == 1
        stranger = await auth.authenticate(bearer(province.token(sub="350-2")))
        assert stranger.account_id != viewer.account_id
        await operations.end_session(world.identity, viewer, viewer.session_id, now=NOW)
        await ended.poll(now=NOW)
        await refuses(auth, bearer(province.token(acr="L2")))
        await refuses(auth, bearer(province.token(acr="L2", jti="another")))
        for changes in ({"aud": "other"}, {"iss": "mintong"}, {"exp": 1}, {"sub": None}):
            await refuses(auth, bearer(province.token(**changes)))
        for algorithm in ("PS256", "RS512"):
            await refuses(auth, bearer(province.token(algorithm)))

    worlds.run(work)


def test_keys_of_the_province_rotate_and_stay_while_it_is_away(worlds: Worlds) -> None:
    async def work(world: World) -> None:
        clock, province = Clock(), Province()
        auth, _ = outside(world, clock, province)
        await auth.authenticate(bearer(province.token()))
        old = province.token(jti="later")
        province.key, province.kid = rsa.generate_private_key(65537, 2048), "p2"
        for _ in range(20):
            await refuses(auth, bearer(province.token()))
        assert province.asked == 1  # strangers' key ids do not make this system ask
        clock.now = NOW + MIN_INTERVAL
        assert (await auth.authenticate(bearer(province.token()))).assurance is Assurance.L1
        assert province.asked == 2
        await refuses(auth, bearer(old))  # its key was withdrawn
        failures: list[Callable[[], httpx.Response]] = [
            lambda: httpx.Response(500),
            lambda: httpx.Response(200, content=b"<html>"),
            lambda: httpx.Response(200, json={"keys": []}),
            lambda: httpx.Response(200, content=b" " * (MAX_BYTES + 1)),
            lambda: httpx.Response(302, headers={"location": "https://elsewhere"}),
        ]
        for number, failure in enumerate(failures):
            province.answer = failure
            clock.now = NOW + timedelta(hours=1 + number)
            token = province.token(jti=str(number), exp=int((NOW + timedelta(days=1)).timestamp()))
            assert (await auth.authenticate(bearer(token))).account_id

    worlds.run(work)


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_only_sound_keys_are_read() -> None:
    weak = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key()))
    curve = json.loads(
        jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
    )
    shared = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct", "alg": "HS256"}
    read = read_key_set(
        jwks(
            weak | {"kid": "weak"},
            curve | {"kid": "good"},
            curve | {"kid": "mislabelled", "alg": "HS256"},
            curve | {"kid": "for encryption", "use": "enc"},
            curve,
            shared,
        )
    )
    assert {kid: key.algorithm for kid, key in read.items()} == {"good": "ES256"}
    for data in (
        b"",
        b"[]",
        b"{}",
        jwks(shared),
        jwks(*[curve | {"kid": str(n)} for n in range(21)]),
        jwks(curve | {"kid": "twice"}, curve | {"kid": "twice"}),
    ):
        with pytest.raises(InvalidKeySetError):
            read_key_set(data)


def test_addresses_are_believed_of_trusted_proxies_only() -> None:
    def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
        return {
            "client": (peer, 1) if peer else None,
            "headers": [(b"x-forwarded-for", each.encode()) for each in forwarded],
        }

    inside = networks(["10.0.0.0/8", "::1/128"])
    assert client_address(scope("1.2.3.4", "9.9.9.9"), inside) == "1.2.3.4"
    assert client_address(scope("10.0.0.1", "9.9.9.9"), ()) == "10.0.0.1"
    assert client_address(scope("10.0.0.1", "6.6.6.6, 9.9.9.9"), inside) == "9.9.9.9"
    assert client_address(scope("10.0.0.1", "6.6.6.6", "9.9.9.9, 10.0.0.2"), inside) == "9.9.9.9"
    assert client_address(scope("::1", "240e::1"), inside) == "240e::1"
    assert client_address(scope("10.0.0.1", "<script>"), inside) == "10.0.0.1"
    assert client_address(scope("10.0.0.1"), inside) == "10.0.0.1"
    assert client_address(scope(None), inside) == client_address(None, inside) == UNKNOWN

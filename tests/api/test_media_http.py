"""Uploads over real HTTP: what citizens get, and what attackers get."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import media_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_world import (
    Place,
    answer_of,
    code_of,
    form_of,
    leave,
    rss_bytes,
    serving_media,
    settings_for,
    some_account,
    some_address,
    talk,
)

from api.errors import RequestError
from api.media_body import FORM_BYTES, Pace, receive_file
from api.media_files import Part, requested_part
from domain.errors import DomainError
from domain.media import MediaFormat, MediaLimits
from store.media_spool import open_spool

JPEG = samples.jpeg()
MEGABYTE = b"\0" * (1 << 20)


@pytest.fixture(scope="module")
def place(
    mongodb_uri: str, redis_url: str, module_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("media")
    with serving_media(settings_for(mongodb_uri, redis_url, module_database, home)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_stays_on_the_disk(place: Place) -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while place.spooled and time.monotonic() < deadline:
        time.sleep(0.02)
    assert place.spooled == []


# --- citizens ---------------------------------------------------------------------------------------------


def test_a_photo_goes_in_and_a_clean_one_comes_out(place: Place) -> None:
    answer = place.upload(samples.jpeg(6), some_account())
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    assert set(shown) == {
        *("id", "kind", "contentType", "sizeBytes", "width", "height", "durationS"),
        *("url", "thumbnailUrl", "expiresAt", "keptUntil"),
    }
    assert (shown["kind"], shown["contentType"], shown["durationS"]) == ("IMAGE", "image/jpeg", None)
    assert (shown["width"], shown["height"]) == (480, 640)
    photo, thumbnail = place.read(shown["url"]), place.read(shown["thumbnailUrl"])
    for each in (photo, thumbnail):
        assert (each.status_code, each.headers["content-type"]) == (200, "image/jpeg")
        assert [trace for trace in samples.TRACES if trace in each.content] == []
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["content-security-policy"] == (
            "default-src 'none'; sandbox; frame-ancestors 'none'"
        )
        assert each.headers["content-disposition"] == f'inline; filename="{shown["id"]}.jpg"'
        assert each.headers["cache-control"].startswith("private, max-age=6")
    assert len(photo.content) == shown["sizeBytes"]
    etag = photo.headers["etag"]
    unchanged = place.read(shown["url"], if_none_match=etag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    head = place.http.head(shown["url"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(shown["sizeBytes"])


def test_the_same_again_is_the_same_and_for_others_another(place: Place) -> None:
    account = some_account()
    first = place.upload(JPEG, account)
    again = place.upload(JPEG, account)
    other = place.upload(JPEG, some_account())
    assert [each.status_code for each in (first, again, other)] == [201, 200, 201]
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert place.read(other.json()["url"]).content == place.read(first.json()["url"]).content


def test_bytes_alone_are_taken_too(place: Place) -> None:
    headers = {"authorization": f"Bearer {some_account()}", "content-type": "application/octet-stream"}
    answer = place.http.post("/media", content=JPEG, headers=headers)
    assert (answer.status_code, answer.json()["kind"]) == (201, "IMAGE")
    chunked = place.http.post("/media", content=iter([JPEG]), headers=headers)
    assert (chunked.status_code, code_of(chunked)) == (411, "LENGTH_REQUIRED")


def test_somebody_unknown_gets_a_token_that_holds_uploads_together(place: Place) -> None:
    first = place.upload(JPEG)
    token = first.json()["uploadToken"]
    assert first.status_code == 201
    assert place.upload(JPEG).json()["id"] != first.json()["id"]
    again = place.upload(JPEG, x_upload_token=token)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    for forged in ("x", token[:-1] + ("A" if token[-1] != "A" else "Q"), "A" * 43, "é" * 30):
        refused = place.http.post(
            "/media", files={"file": ("a", JPEG)}, headers={"x-upload-token": forged.encode("latin-1")}
        )
        assert (refused.status_code, code_of(refused)) == (400, "INVALID_UPLOAD_TOKEN")
    mutation = "mutation($i: DeleteMediaInput!) { deleteMedia(input: $i) { id userErrors { code field } } }"

    def delete(**given: str) -> Any:
        body = {"query": mutation, "variables": {"i": given}}
        return place.http.post("/graphql", json=body).json()["data"]["deleteMedia"]

    stranger = place.upload(samples.png()).json()["uploadToken"]
    unknown = {"id": None, "userErrors": [{"code": "MEDIA_NOT_FOUND", "field": "id"}]}
    assert delete(id=first.json()["id"], uploadToken=stranger) == unknown
    assert place.read(first.json()["url"]).status_code == 200
    deleted = {"id": first.json()["id"], "userErrors": []}
    assert delete(id=first.json()["id"], uploadToken=token) == deleted
    gone = place.read(first.json()["url"])
    assert (gone.status_code, code_of(gone)) == (404, "MEDIA_NOT_FOUND")


def test_a_citizen_sees_what_waits_and_deletes_it(place: Place) -> None:
    account = some_account()
    shown = place.upload(JPEG, account).json()
    headers = {"authorization": f"Bearer {account}"}
    query = "{ viewer { unattachedMedia { id kind contentType width url thumbnailUrl keptUntil } } }"

    def waiting() -> Any:
        answer = place.http.post("/graphql", json={"query": query}, headers=headers).json()
        return answer["data"]["viewer"]["unattachedMedia"]

    (one,) = waiting()
    assert (one["id"], one["kind"], one["contentType"], one["width"]) == (
        *(shown["id"], "IMAGE", "image/jpeg", 640),
    )
    assert place.read(one["url"]).status_code == 200
    assert place.read(one["thumbnailUrl"]).status_code == 200
    body = {"query": f'mutation {{ deleteMedia(input: {{id: "{shown["id"]}"}}) {{ id }} }}'}
    place.http.post("/graphql", json=body, headers=headers)
    assert waiting() == []


def test_a_video_is_read_in_parts(place: Place) -> None:
    shown = place.upload(samples.movie(seconds=1), some_account(), name="a.exe").json()
    assert (shown["kind"], shown["contentType"], shown["width"]) == ("VIDEO", "video/mp4", 320)
    assert shown["durationS"] == pytest.approx(1, abs=0.05)
    whole = place.read(shown["url"])
    assert whole.headers["accept-ranges"] == "bytes"
    part = place.read(shown["url"], range="bytes=10-29")
    assert (part.status_code, part.content) == (206, whole.content[10:30])
    assert part.headers["content-range"] == f"bytes 10-29/{len(whole.content)}"
    last = place.read(shown["url"], range="bytes=-5")
    assert (last.status_code, last.content) == (206, whole.content[-5:])
    none = place.read(shown["url"], range=f"bytes={len(whole.content)}-")
    assert (none.status_code, none.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")
    stale = place.read(shown["url"], range="bytes=0-1", if_range='"other"')
    assert (stale.status_code, len(stale.content)) == (200, len(whole.content))
    assert place.read(shown["thumbnailUrl"]).content.startswith(b"\xff\xd8")


def test_links_that_were_changed_lead_nowhere(place: Place) -> None:
    shown = place.upload(JPEG, some_account()).json()
    other = place.upload(samples.png(), some_account()).json()
    query = shown["url"].partition("?")[2]
    for link in (
        f"/media/{shown['id']}",
        shown["url"][:-2] + "xx",
        f"/media/{other['id']}?{query}",
        f"/media/{shown['id']}/thumbnail?{query}",
        shown["url"].replace("until=", "until=9"),
        f"{shown['url']}&a=1" + "&a=1" * 20,
    ):
        answer = place.read(link)
        assert (answer.status_code, code_of(answer)) == (403, "MEDIA_LINK"), link
    unknown = place.read(f"/media/{shown['id']}/original.html?{query}")
    assert (unknown.status_code, code_of(unknown)) == (404, "MEDIA_NOT_FOUND")
    assert place.http.delete(shown["url"]).status_code == 405


def test_words_are_in_two_languages_and_browsers_are_told_what_they_may(place: Place) -> None:
    chinese = place.upload(b"%PDF-1.7", some_account())
    english = place.upload(b"%PDF-1.7", some_account(), accept_language="en")
    assert "不支持此类文件" in chinese.json()["errors"][0]["message"]
    assert english.json()["errors"][0]["message"].startswith("Not a type that is taken")
    assert chinese.headers["x-request-id"] != english.headers["x-request-id"]
    wrong = place.http.get("/media")
    assert (wrong.status_code, wrong.headers["allow"], code_of(wrong)) == (405, "POST", "METHOD_NOT_ALLOWED")
    assert place.http.options("/media", headers={"origin": "https://evil.example"}).status_code == 204


# --- limits -----------------------------------------------------------------------------------------------


def test_nine_wait_and_a_tenth_is_refused(place: Place) -> None:
    account = some_account()
    photos = [samples.jpeg(size=(40 + number, 30)) for number in range(10)]
    assert [place.upload(photo, account).status_code for photo in photos[:9]] == [201] * 9
    refused = place.upload(photos[9], account)
    assert (refused.status_code, code_of(refused)) == (409, "TOO_MANY_MEDIA")
    assert place.upload(photos[0], account).status_code == 200


def test_an_address_may_send_so_much_without_signing_in(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    changes = {"media_address_limit": "2 per 1 hour", "media_account_limit": "3 per 1 hour; 9 per 1 day"}
    settings = settings_for(mongodb_uri, redis_url, database_name, tmp_path, **changes)
    with serving_media(settings) as strict:
        address, account = some_address(), some_account()
        answers = [strict.upload(b"no image", x_forwarded_for=address) for _ in range(3)]
        assert [each.status_code for each in answers] == [415, 415, 429]
        assert code_of(answers[2]) == "TOO_MANY_REQUESTS"
        assert 3_500 < int(answers[2].headers["retry-after"]) <= 3_600
        assert strict.upload(b"no image", x_forwarded_for=some_address()).status_code == 415
        assert [strict.upload(b"", account).status_code for _ in range(4)] == [415, 415, 415, 429]


def test_a_full_queue_says_when_to_come_again(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    settings = settings_for(
        mongodb_uri, redis_url, database_name, tmp_path, media_processes=1, media_waiting=0
    )
    with serving_media(settings) as small:
        stores = small.resources.stores
        assert stores is not None
        assert stores.media is not None
        stores.media.cleaner._inside = 1
        refused = small.upload(JPEG, some_account())
        assert (refused.status_code, code_of(refused)) == (503, "MEDIA_BUSY")
        assert refused.headers["retry-after"] == "10"
        stores.media.cleaner._inside = 0
        assert small.upload(JPEG, some_account()).status_code == 201


# --- hostile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        samples.SCRIPT,
        b"MZ\x90\x00" + b"\0" * 6_000,
        b"PK\x03\x04" + b"\0" * 6_000,
        b"#EXTM3U\nhttp://127.0.0.1/secret",
        b"",
    ],
)
def test_what_is_no_picture_and_no_sound_is_refused(place: Place, data: bytes) -> None:
    answer = place.upload(data, some_account(), name="photo.jpg")
    assert (answer.status_code, code_of(answer)) == (415, "MEDIA_TYPE")


def test_bombs_and_damage_have_codes_of_their_own(place: Place) -> None:
    for data, status, code in (
        (samples.png_bomb(50_000), 413, "MEDIA_TOO_LARGE"),
        (JPEG[:-3_000], 422, "MEDIA_DAMAGED"),
        (JPEG[:4] + MEGABYTE * 21, 413, "MEDIA_TOO_LARGE"),
        (samples.movie("mp4", "mpeg4", seconds=0.2), 415, "MEDIA_TYPE"),
    ):
        answer = place.upload(data, some_account())
        assert (answer.status_code, code_of(answer)) == (status, code)


def test_forms_that_are_none_are_refused(place: Place) -> None:
    headers = {"authorization": f"Bearer {some_account()}"}
    two = place.http.post("/media", files=[("a", ("a.jpg", JPEG)), ("b", ("b.jpg", JPEG))], headers=headers)
    assert (two.status_code, code_of(two)) == (400, "TOO_MANY_FILES")
    none = place.http.post("/media", files={"a": (None, b"text")}, headers=headers)
    assert (none.status_code, code_of(none)) == (400, "MEDIA_MISSING")
    boundary = b"xxBOUNDARYxx"
    part = b'--%b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' % boundary
    header = b"--%b\r\nX-Long: %b\r\n\r\n" % (boundary, b"a" * 100_000)
    many_headers = b"--%b\r\n%b\r\n" % (boundary, b"a: b\r\n" * 5_000)
    for body in (
        part * 10_000,
        header,
        many_headers,
        part.replace(b"\r\nb\r\n", b"\r\n" + b"b" * 60_000 + b"\r\n"),
        form_of(JPEG)[:-8],
        b"--" * 10_000,
        b"",
    ):
        content = {"content-type": f"multipart/form-data; boundary={boundary.decode()}"}
        answer = place.http.post("/media", content=body, headers={**headers, **content})
        assert (answer.status_code, code_of(answer)) == (400, "MALFORMED_UPLOAD"), body[:60]
    for boundary_text in ("", "; boundary=", "; boundary=" + "b" * 71):
        content = {"content-type": f"multipart/form-data{boundary_text}"}
        answer = place.http.post("/media", content=form_of(JPEG), headers={**headers, **content})
        assert (answer.status_code, code_of(answer)) == (400, "MALFORMED_UPLOAD")


async def pieces(count: int, peak: list[int], *, chunked: bool) -> AsyncIterator[bytes]:
    head = samples.movie(seconds=0.2, sound=False)[:4_096]
    yield (b"%x\r\n%b\r\n" % (len(head), head)) if chunked else head
    for _ in range(count):
        peak.append(rss_bytes())
        yield (b"100000\r\n" + MEGABYTE + b"\r\n") if chunked else MEGABYTE


def test_a_hundred_megabytes_are_cut_off_in_bounded_memory(place: Place) -> None:
    form = [f"authorization: Bearer {some_account()}", "content-type: multipart/form-data; boundary=bb"]

    async def stream() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        answer = asyncio.ensure_future(answer_of(reader))
        head = ["POST /media HTTP/1.1", "host: localhost", "transfer-encoding: chunked", *form]
        opening = b'--bb\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        writer.write(b"%x\r\n%b\r\n" % (len(opening), opening))
        async for piece in pieces(100, peak, chunked=True):
            if answer.done():
                break
            try:
                writer.write(piece)
                await writer.drain()
            except ConnectionError:
                break
        async with asyncio.timeout(20):
            received = await answer
        await leave(writer)
        return received

    place.upload(JPEG, some_account())
    peak: list[int] = []
    before, started = rss_bytes(), time.monotonic()
    received = asyncio.run(stream())
    assert b" 413 " in received[:20]
    assert b"MEDIA_TOO_LARGE" in received
    assert 48 <= len(peak) <= 60
    assert max(peak) - before < 32_000_000
    assert time.monotonic() - started < 20
    # One that says beforehand how much it will be is not read at all.
    declared = asyncio.run(talk(place.port, [*form, "content-length: 100000000"], []))
    assert b" 413 " in declared[:20]


def test_bodies_that_are_shorter_or_longer_than_they_say(place: Place) -> None:
    account = some_account()
    head = [f"authorization: Bearer {account}", "content-type: image/jpeg"]

    async def cut_off() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", place.port)
        lines = ["POST /media HTTP/1.1", "host: localhost", *head, f"content-length: {len(JPEG) + 50}"]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + JPEG)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    asyncio.run(cut_off())
    short = asyncio.run(talk(place.port, [*head, f"content-length: {len(JPEG) - 3_000}"], [JPEG]))
    # What comes behind the body is no request, and ends the connection.
    assert b"MEDIA_DAMAGED" in short or b"400" in short[:20] or short == b""
    for length in ("-1", "abc"):
        assert b"400" in asyncio.run(talk(place.port, [*head, f"content-length: {length}"], [JPEG]))[:20]
    query = "{ viewer { unattachedMedia { id } } }"
    mine = place.http.post(
        "/graphql", json={"query": query}, headers={"authorization": f"Bearer {account}"}
    ).json()
    assert mine["data"]["viewer"]["unattachedMedia"] == []


def test_a_slow_body_is_broken_off(
    mongodb_uri: str, redis_url: str, module_database: str, tmp_path: Path
) -> None:
    settings = settings_for(mongodb_uri, redis_url, module_database, tmp_path, upload_timeout_s=1)
    with serving_media(settings) as hasty:
        head = [
            f"authorization: Bearer {some_account()}",
            "content-type: image/jpeg",
            f"content-length: {len(JPEG)}",
        ]
        started = time.monotonic()
        drops = [JPEG[at : at + 50] for at in range(0, 3_000, 50)]
        received = asyncio.run(talk(hasty.port, head, drops, pause_s=0.1))
        assert b" 408 " in received[:20]
        assert b"UPLOAD_TOO_SLOW" in received
        assert b"connection: close" in received.lower()
        assert time.monotonic() - started < 6
        assert hasty.spooled == []


def test_the_pace() -> None:
    pace = Pace(grace_s=10, least_bytes_s=1_000, total_s=60)
    assert [pace.deadline_s(received) for received in (0, 5_000, 50_000, 10**9)] == [10, 15, 60, 60]


# --- the body alone ---------------------------------------------------------------------------------------


def receive(chunks: list[bytes], declared: bytes | None, content_type: str | None, root: Path) -> MediaFormat:
    messages: list[Any] = [
        {"type": "http.request", "body": chunk, "more_body": place < len(chunks) - 1}
        for place, chunk in enumerate(chunks)
    ]

    async def next_message() -> Any:
        return messages.pop(0)

    async def work() -> MediaFormat:
        async with open_spool(root) as spool:
            found = await receive_file(next_message, content_type, declared, spool, MediaLimits(), Pace())
            assert spool.source.read_bytes() == JPEG
            return found

    return asyncio.run(work())


def test_lengths_are_checked_whatever_the_server_has_checked(tmp_path: Path) -> None:
    size = len(JPEG)
    assert receive([JPEG], b"%d" % size, None, tmp_path) is MediaFormat.JPEG
    for declared, chunks in ((size + 1, [JPEG]), (size - 1, [JPEG]), (size - 1, [JPEG[:-1], JPEG[-1:]])):
        with pytest.raises(RequestError) as refused:
            receive(chunks, b"%d" % declared, None, tmp_path)
        assert refused.value.code == "LENGTH_MISMATCH"
    for declared_text in (b"9" * 16, b"%d" % (50_000_000 + FORM_BYTES + 1), b"+1"):
        with pytest.raises(DomainError):
            receive([JPEG], declared_text, None, tmp_path)


@pytest.mark.parametrize("step", [1, 7, 64, 1_000])
def test_a_form_may_come_in_any_pieces(step: int, tmp_path: Path) -> None:
    body = form_of(JPEG)
    chunks = [body[at : at + step] for at in range(0, len(body), step)]
    declared = b"%d" % len(body)
    assert (
        receive(chunks, declared, "multipart/form-data; boundary=xxBOUNDARYxx", tmp_path) is MediaFormat.JPEG
    )


@given(st.text(alphabet="bytes=-0123456789, ", max_size=30), st.integers(0, 100))
def test_a_range_is_within_the_file(header: str, size: int) -> None:
    part = requested_part(header, size)
    if part is not None and size:
        assert 0 <= part.first < part.end <= size


def test_ranges() -> None:
    asked = {
        "bytes=0-9": Part(0, 10),
        "bytes=90-": Part(90, 100),
        "bytes=90-500": Part(90, 100),
        "bytes=-10": Part(90, 100),
        "bytes=-500": Part(0, 100),
        "bytes=100-": None,
        "bytes=-0": None,
        "bytes=9-3": Part(0, 100),
        "bytes=0-1,5-6": Part(0, 100),
        "items=0-1": Part(0, 100),
        "bytes=-": Part(0, 100),
    }
    assert {header: requested_part(header, 100) for header in asked} == asked

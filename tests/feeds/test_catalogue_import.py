from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from import_world import counts, load, row, with_store, write_lines

from domain.catalogue import ServiceItem
from feeds.catalogue_import import CatalogueShrunkError, ImportProgress, import_catalogue
from feeds.catalogue_mapping import load_mapping
from feeds.catalogue_rows import UnreadableFileError
from feeds.catalogue_sources import FileSource, GeneratedSource, SourceError
from feeds.demo.catalogue import generate
from store.catalogue import CatalogueStore
from store.catalogue_imports import ImportRunningError

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "services"
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def _items(uri: str, name: str) -> dict[str, ServiceItem]:
    async def read(store: CatalogueStore) -> dict[str, ServiceItem]:
        return {item.id: item async for item in store.iterate_items()}

    return with_store(uri, name, read)


def _id(number: int) -> str:
    return f"{number:032x}"


def test_the_same_file_twice_changes_nothing(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [row(number) for number in range(25)])
    first = load(mongodb_uri, database_name, path)
    before = _items(mongodb_uri, database_name)
    second = load(mongodb_uri, database_name, path, full=True)
    assert counts(first) == (25, 25, 0, 0, 0, 0, 0, 0)
    assert counts(second) == (25, 0, 0, 25, 0, 0, 0, 0)
    assert (first.changed, second.changed) == (True, False)
    assert (first.guides, first.departments, first.divisions) == (1, 1, 1208 - 1)
    assert _items(mongodb_uri, database_name) == before
    assert len(before) == 25


def test_versions_only_rise(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    def step(version: int, name: str) -> tuple[int, ...]:
        path = write_lines(tmp_path / "a.jsonl", [row(1, task_version=version, task_name=name)])
        return counts(load(mongodb_uri, database_name, path))

    assert step(2, "二") == (1, 1, 0, 0, 0, 0, 0, 0)
    assert step(1, "一") == (1, 0, 0, 0, 1, 0, 0, 0)
    assert step(2, "二改") == (1, 0, 1, 0, 0, 0, 0, 0)
    assert step(3, "三") == (1, 0, 1, 0, 0, 0, 0, 0)
    assert _items(mongodb_uri, database_name)[_id(1)].name == "三"


def test_rows_of_one_item_merge_their_themes(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    filler = [row(number) for number in range(100, 2300)]  # so that the rows lie in different batches
    many = [row(1, user_topic_type="145"), *filler, row(1, user_topic_type="085"), row(2), row(2)]
    path = write_lines(tmp_path / "a.jsonl", many)
    report = load(mongodb_uri, database_name, path)
    assert counts(report) == (2204, 2202, 0, 0, 0, 2, 0, 0)
    item = _items(mongodb_uri, database_name)[_id(1)]
    assert (item.theme_codes, item.category_code) == (("N145", "N085"), "03")
    again = load(mongodb_uri, database_name, path)
    assert counts(again) == (2204, 0, 0, 2202, 0, 2, 0, 0)
    assert _items(mongodb_uri, database_name)[_id(1)] == item
    path = write_lines(tmp_path / "b.jsonl", [row(1, user_topic_type="085")])
    load(mongodb_uri, database_name, path)
    assert _items(mongodb_uri, database_name)[_id(1)].theme_codes == ("N085",)


def test_duplicates_keep_the_first_of_the_newest_version(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    rows: list[object] = [
        row(1, task_name="甲"),
        row(1, task_name="乙"),
        row(1, task_name="丙", task_version=2),
        row(1, task_name="丁"),
    ]
    report = load(mongodb_uri, database_name, write_lines(tmp_path / "a.jsonl", rows))
    assert counts(report) == (4, 1, 0, 0, 1, 2, 0, 0)
    assert _items(mongodb_uri, database_name)[_id(1)].name == "丙"


def test_rejects_are_listed_with_line_field_and_reason(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    rows: list[object] = [
        row(1),
        "<html><body>502 Bad Gateway</body></html>",
        row(2, task_type="77"),
        "",
        row(3, task_name=""),
        row(4),
    ]
    rejects = tmp_path / "rejects.jsonl"
    path = write_lines(tmp_path / "a.jsonl", rows)
    report = load(mongodb_uri, database_name, path, rejects=rejects)
    assert counts(report) == (5, 2, 0, 0, 0, 0, 3, 0)
    assert report.reasons == {"NOT_JSON": 1, "INVALID_VALUE:type": 1, "MISSING_VALUE:name": 1}
    listed = [json.loads(line) for line in rejects.read_text(encoding="utf-8").splitlines()]
    assert [(each["file"], each["line"], each["field"], each["code"]) for each in listed] == [
        (str(path), 2, "", "NOT_JSON"),
        (str(path), 3, "type", "INVALID_VALUE"),
        (str(path), 5, "name", "MISSING_VALUE"),
    ]
    assert all(each["reason"] for each in listed)


def test_a_full_load_withdraws_what_is_missing_but_not_too_much(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    everything = write_lines(tmp_path / "a.jsonl", [row(number) for number in range(20)])
    load(mongodb_uri, database_name, everything)
    some = write_lines(tmp_path / "b.jsonl", [row(number) for number in range(18)])
    assert counts(load(mongodb_uri, database_name, some, full=True)) == (18, 0, 0, 18, 0, 0, 0, 2)
    few = write_lines(tmp_path / "c.jsonl", [row(number) for number in range(10)])
    with pytest.raises(CatalogueShrunkError) as caught:
        load(mongodb_uri, database_name, few, full=True)
    assert caught.value.params == {"feed": "national", "missing": 8, "items": 18}
    assert len(_items(mongodb_uri, database_name)) == 18
    assert counts(load(mongodb_uri, database_name, few, full=True, force=True))[-1] == 8
    back = load(mongodb_uri, database_name, everything, full=True)
    assert counts(back) == (20, 0, 10, 10, 0, 0, 0, 0)


def test_a_dirty_row_does_not_withdraw_its_item(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    load(mongodb_uri, database_name, write_lines(tmp_path / "a.jsonl", [row(1), row(2)]))
    path = write_lines(tmp_path / "b.jsonl", [row(1), row(2, task_type="77")])
    assert counts(load(mongodb_uri, database_name, path, full=True)) == (2, 0, 0, 1, 0, 0, 1, 0)
    assert set(_items(mongodb_uri, database_name)) == {_id(1), _id(2)}


def test_operations_of_an_incremental_feed(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    def step(*rows: object) -> tuple[int, ...]:
        return counts(load(mongodb_uri, database_name, write_lines(tmp_path / "a.jsonl", list(rows))))

    assert step(row(1, cd_operation="I"), row(2), row(3)) == (3, 3, 0, 0, 0, 0, 0, 0)
    assert step(row(1, cd_operation="D"), row(9, cd_operation="D")) == (2, 0, 1, 1, 0, 0, 0, 1)
    assert set(_items(mongodb_uri, database_name)) == {_id(2), _id(3)}
    assert step(row(2, task_state="停用"), row(1, cd_operation="U")) == (2, 0, 2, 0, 0, 0, 0, 1)
    assert set(_items(mongodb_uri, database_name)) == {_id(1), _id(3)}
    assert step(row(3), row(3, cd_operation="D")) == (2, 0, 1, 0, 0, 1, 0, 1)


def test_an_operators_withdrawal_outlives_the_feed(
    mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    load(mongodb_uri, database_name, write_lines(tmp_path / "a.jsonl", [row(1), row(2)]))
    assert with_store(mongodb_uri, database_name, lambda store: store.withdraw([_id(1)], now=NOW)) == 1
    changed = write_lines(tmp_path / "b.jsonl", [row(1, task_name="新名称"), row(2)])
    assert counts(load(mongodb_uri, database_name, changed, full=True)) == (2, 0, 1, 1, 0, 0, 0, 0)
    assert set(_items(mongodb_uri, database_name)) == {_id(2)}
    assert with_store(mongodb_uri, database_name, lambda store: store.restore([_id(1)])) == 1
    assert _items(mongodb_uri, database_name)[_id(1)].name == "新名称"


def test_feeds_do_not_touch_each_others_items(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    own = tmp_path / "other.toml"
    own.write_text(
        'name = "other"\nfeed = "other"\n[fields]\nid = "i"\nname = "n"\n[constants]\ntype = "20"\n'
        'division = "350000"\ndepartment_name = "甲"\n[division]\ntables = ["fujian"]\n',
        encoding="utf-8",
    )
    load(mongodb_uri, database_name, write_lines(tmp_path / "a.jsonl", [row(1)]))
    path = write_lines(tmp_path / "b.jsonl", [{"i": _id(1), "n": "抢"}, {"i": "x", "n": "新"}])
    report = load(mongodb_uri, database_name, path, str(own), full=True)
    assert counts(report) == (2, 1, 0, 0, 0, 0, 1, 0)
    assert report.reasons == {"ID_OF_ANOTHER_FEED:id": 1}
    assert set(_items(mongodb_uri, database_name)) == {_id(1), "x"}


def test_a_folder_is_one_load(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_lines(folder / "b.jsonl", [row(2), row(1)])
    write_lines(folder / "a.jsonl", [row(1)])
    (folder / "notes.txt").write_text("no rows", encoding="utf-8")
    assert counts(load(mongodb_uri, database_name, folder, full=True)) == (3, 2, 0, 0, 0, 1, 0, 0)
    with pytest.raises(SourceError):
        load(mongodb_uri, database_name, tmp_path / "missing")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UnreadableFileError):
        load(mongodb_uri, database_name, tmp_path / "empty.jsonl")


class _StopError(Exception):
    pass


@pytest.mark.parametrize("kind", ["file", "generator"])
def test_a_stopped_import_goes_on_where_it_was(
    mongodb_uri: str, database_name: str, tmp_path: Path, kind: str
) -> None:
    rows = [row(number) if number % 500 else row(number, task_type="77") for number in range(1, 3501)]
    rows += [row(5, user_topic_type="145")]
    path = write_lines(tmp_path / "a.jsonl", list(rows))
    mapping = load_mapping("national")
    rejects = tmp_path / "rejects.jsonl"

    def source() -> FileSource | GeneratedSource:
        if kind == "file":
            return FileSource(path, mapping)
        return GeneratedSource("rows", lambda: iter(rows), fingerprint="rows")

    def stop(progress: ImportProgress) -> None:
        if progress.lines >= 2000:
            raise _StopError

    def run(progress: Callable[[ImportProgress], None] | None) -> object:
        return with_store(
            mongodb_uri,
            database_name,
            lambda store: import_catalogue(
                source(), mapping, store, full=True, rejects=rejects, progress=progress
            ),
        )

    with pytest.raises(_StopError):
        run(stop)
    seen: list[ImportProgress] = []
    report = run(seen.append)
    assert report.resumed  # type: ignore[attr-defined]
    assert [progress.lines for progress in seen] == [3000, 3501]
    assert counts(report) == (3501, 3493, 0, 0, 0, 1, 7, 0)  # type: ignore[arg-type]
    assert len(rejects.read_text(encoding="utf-8").splitlines()) == 7
    assert _items(mongodb_uri, database_name)[_id(5)].theme_codes == ("N085", "N145")
    again = run(None)
    assert counts(again) == (3501, 0, 0, 3493, 0, 1, 7, 0)  # type: ignore[arg-type]
    assert not again.resumed  # type: ignore[attr-defined]


_KILLED = """
import asyncio, sys
from pathlib import Path
from feeds.catalogue_import import import_catalogue
from store.catalogue import CatalogueStore
from store.connections import open_mongodb

async def main():
    async with open_mongodb(sys.argv[1], 30_000) as client:
        store = CatalogueStore(client[sys.argv[2]])
        tell = lambda progress: print(progress.lines, flush=True)
        await import_catalogue(Path(sys.argv[3]), "national", store, progress=tell)

asyncio.run(main())
"""


def test_a_killed_import_goes_on_where_it_was(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [row(number) for number in range(6000)])
    command = [sys.executable, "-c", _KILLED, mongodb_uri, database_name, str(path)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    report = load(mongodb_uri, database_name, path)
    assert report.resumed
    assert (report.lines, report.inserted + report.unchanged, report.rejected) == (6000, 6000, 0)
    assert len(_items(mongodb_uri, database_name)) == 6000


def test_one_import_per_feed_at_a_time(mongodb_uri: str, database_name: str) -> None:
    async def act(store: CatalogueStore) -> None:
        first = await store.imports.begin("national", "a", now=NOW)
        other = CatalogueStore(store._database).imports
        with pytest.raises(ImportRunningError):
            await other.begin("national", "a", now=NOW)
        await other.begin("another", "a", now=NOW)
        resumed = await other.begin("national", "a", now=NOW + timedelta(minutes=2))
        assert (resumed.id, resumed.resumed) == (first.id, True)
        await other.release(resumed, now=NOW)
        fresh = await store.imports.begin("national", "b", now=NOW + timedelta(minutes=3))
        assert not fresh.resumed

    with_store(mongodb_uri, database_name, act)


@pytest.fixture
def served() -> Iterator[Callable[[str, bytes, int], str]]:
    answers: dict[str, tuple[int, str, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def serve(kind: str, body: bytes, status: int = 200) -> str:
            path = f"/{len(answers)}"
            answers[path] = (status, kind, body)
            return f"http://127.0.0.1:{server.server_address[1]}{path}"

        yield serve
        server.shutdown()
        thread.join()


def test_addresses(
    mongodb_uri: str, database_name: str, served: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(address: str) -> tuple[int, ...]:
        report = with_store(
            mongodb_uri, database_name, lambda store: import_catalogue(address, "national", store)
        )
        return counts(report)

    body = b"".join(json.dumps(row(number)).encode() + b"\n" for number in range(3))
    assert fetch(served("application/x-ndjson", body)) == (3, 3, 0, 0, 0, 0, 0, 0)
    for kind, content, status, reason in (
        ("text/html", b"<html>", 200, "media type text/html"),
        ("text/csv", b"", 503, "answered 503"),
    ):
        with pytest.raises(SourceError) as caught:
            fetch(served(kind, content, status))
        assert reason in str(caught.value.params["reason"])
    monkeypatch.setattr("feeds.catalogue_sources.MAX_DOWNLOAD_BYTES", 100)
    with pytest.raises(SourceError, match="more than 100 bytes"):
        fetch(served("application/x-ndjson", body))


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the published samples are not beside the repository")
def test_a_countys_real_items_are_all_taken(mongodb_uri: str, database_name: str) -> None:
    path = SAMPLES / "sichuan_guangan_qianfeng_items.csv"
    report = load(mongodb_uri, database_name, path, "sichuan_guangan", full=True)
    assert counts(report) == (1135, 1135, 0, 0, 0, 0, 0, 0)
    assert (report.departments, report.divisions, report.dropped) == (34, 3, {})
    items = _items(mongodb_uri, database_name).values()
    assert {item.division_code for item in items} == {"511602"}
    assert len({item.category_code for item in items}) >= 18
    assert sum(item.category_code == "21" for item in items) < 1135 // 3


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the published samples are not beside the repository")
def test_a_foreign_list_with_another_shape_is_taken(mongodb_uri: str, database_name: str) -> None:
    report = load(mongodb_uri, database_name, SAMPLES / "uk_local_services_lgsl.csv", "uk_lgsl")
    assert counts(report) == (128, 128, 0, 0, 0, 0, 0, 0)


def test_the_demo_goes_through_the_import_without_a_reject(mongodb_uri: str, database_name: str) -> None:
    source = GeneratedSource("demo", partial(generate, 1, limit=1500), fingerprint="demo:1:1500")
    report = with_store(
        mongodb_uri, database_name, lambda store: import_catalogue(source, "national", store, full=True)
    )
    assert counts(report) == (1500, 1500, 0, 0, 0, 0, 0, 0)
    assert report.dropped == {}
    items = _items(mongodb_uri, database_name).values()
    assert len({item.category_code for item in items}) == 21
    assert all(len(item.implementation_code) == 31 and len(item.basic_code) == 12 for item in items)

"""A zoo on the hub, against a server that keeps repositories as the hub does."""

from __future__ import annotations

import base64
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import ibal
from ibal import hub
from ibal.cli.main import main
from ibal.options import ConfigError
from ibal.zoo import Zoo

SOURCES = Path(ibal.__file__).parents[2] / "zoo"
TEAM = "smac/3m/ibal-0"
PLACE = "hf:me/teams"


class Hub(http.server.ThreadingHTTPServer):
    """Repositories by name, each the files of its commits; ``meanwhile`` is run before a commit is taken."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.readers: list[str | None] = []
        self.meanwhile: Any = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub  # type: ignore[assignment]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, status: int, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            commits = self.server.repositories.get(self.path.removeprefix("/api/models/"))
            if commits is None:
                return self._answer(404, {"error": "no such repository"})
            return self._answer(200, {"id": "me/teams", "sha": f"{len(commits):040d}", "siblings": []})
        name, _, path = self.path[1:].partition("/resolve/main/")
        if path:
            self.server.readers.append(self.headers["Authorization"])
        commits = self.server.repositories.get(name) or [{}]
        return self._answer(200, commits[-1][path]) if path in commits[-1] else self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers["Authorization"] != "Bearer secret":
            return self._answer(403, {"error": "this token may not write"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            self.server.repositories.setdefault(f"{asked.get('organization') or 'me'}/{asked['name']}", [{}])
            return self._answer(200, {"url": f"{self.server.url}/me/teams"})
        if self.path.endswith("/preupload/main"):
            said = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]]  # fmt: skip
            return self._answer(200, {"files": said})
        commits = self.server.repositories[self.path.removeprefix("/api/models/").removesuffix("/commit/main")]
        lines = [json.loads(line) for line in body.decode().splitlines()]
        self.server.meanwhile()
        if (after := lines[0]["value"].get("parentCommit")) not in (None, f"{len(commits):040d}"):
            return self._answer(412, {"error": f"the newest commit is not {after}"})
        files = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines[1:]}
        commits.append(commits[-1] | files)
        done = {"commitUrl": f"{self.server.url}/me/teams/commit/x", "commitOid": f"{len(commits):040d}"}
        return self._answer(200, done | {"success": True})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    with Hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield served
        huggingface_hub.close_session()
        served.shutdown()
        thread.join()


def test_what_is_pushed_to_the_hub_is_played_from_there(server: Hub, tmp_path: Path, monkeypatch, capsys) -> None:
    file = str(Zoo(SOURCES).local(TEAM))
    assert main(["zoo", "push", TEAM, file, "--zoo", PLACE, "--licence", "Apache-2.0"]) == 0
    assert main(["zoo", "push", "smac/3m/again", file, "--zoo", PLACE]) == 0
    assert len(server.repositories["me/teams"]) == 3  # nothing, one team, two: a commit each
    capsys.readouterr()
    assert main(["zoo", "list", "--zoo", PLACE]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["smac/3m/again", TEAM]
    monkeypatch.setenv("IBAL_ZOO", PLACE)
    assert ibal.load_policy(f"zoo:{TEAM}").meta["seed"] == 0
    assert set(server.readers) == {"Bearer secret"}
    here = Zoo(tmp_path / "here")
    assert sorted(here.pull(Zoo(PLACE))) == ["smac/3m/again", TEAM]
    assert here.entries[TEAM]["licence"] == "Apache-2.0"


def test_a_folder_is_pulled_into_the_hub(server: Hub, tmp_path: Path) -> None:
    there = Zoo(PLACE)
    assert there.pull(Zoo(SOURCES), [TEAM]) == [TEAM]
    assert there.pull(Zoo(SOURCES), [TEAM]) == []
    assert there.entries[TEAM]["sha256"] == Zoo(SOURCES).entries[TEAM]["sha256"]


def test_a_push_beside_another_one_changes_nothing(server: Hub) -> None:
    team = Zoo(SOURCES).local(TEAM)
    Zoo(PLACE).add("smac/3m/first", team, {})
    commits = server.repositories["me/teams"]
    server.meanwhile = lambda: commits.append(commits[-1] | {"index.json": b"somebody else's"})
    with pytest.raises(ConfigError, match=r"hf:me/teams was not changed: .*412"):
        Zoo(PLACE).add("smac/3m/second", team, {})
    assert commits[-1]["index.json"] == b"somebody else's"


def test_what_the_hub_refuses_is_told_in_one_sentence(server: Hub, monkeypatch, capsys) -> None:
    team = str(Zoo(SOURCES).local(TEAM))
    monkeypatch.setenv("HF_TOKEN", "stranger")
    assert main(["zoo", "push", TEAM, team, "--zoo", PLACE]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "hf:me/teams was not changed" in said
    assert "HF_TOKEN" in said
    assert main(["zoo", "list", "--zoo", PLACE]) == 2
    assert "the zoo in hf:me/teams cannot be read" in capsys.readouterr().err


def test_a_hub_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(ConfigError, match="hf:me/teams was not changed: "):
        hub.head(PLACE)
    huggingface_hub.close_session()


@pytest.mark.parametrize("place", ["hf:", "hf:teams", "hf:me/", "hf:me/teams/more", "hf:../x", "hf:me/..", "hf:me/a b"])
def test_a_place_that_is_no_repository_is_told(place: str) -> None:
    with pytest.raises(ConfigError, match="is no repository of the hub; write hf:OWNER/NAME"):
        Zoo(place)


def test_writing_without_the_library_says_what_to_install(server: Hub, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"pip install 'ibal\[hub\]'"):
        hub.head(PLACE)

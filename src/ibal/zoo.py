"""Teams and attackers worth keeping: an index of names, hashes and facts, and files that lie beside it or elsewhere.

    ibal.load_policy("zoo:smac/8m/ibal-0")
    zoo = Zoo()              # $IBAL_ZOO (a folder, an URL, hf:owner/name of the hub), or that of the source tree
    zoo.entries["smac/8m/ibal-0"]["method"], zoo.local("smac/8m/ibal-0")

``index.json``: {"format": 1, "entries": {name: {"kind": "team" or "attacker", "file": …, "sha256": …,
"about_sha256": …, "env": …, "version": …, "licence": …, and what else is known}}}. Files are safetensors with a JSON
beside them; both are compared with the index before anybody reads them. An index may be a stranger's: it names files of
its zoo and no others. What comes over the network is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import ibal
from ibal import hub, reading
from ibal.files import appear_bytes, claimed, replace_text
from ibal.options import ConfigError
from ibal.registry import hint, quoted

PREFIX = "zoo:"
INDEX = "index.json"
FORMAT = 1
MOST = 512 * 2**20  # bytes of a file that is fetched
WAIT = 30.0  # seconds for a server
_ENTRY = {"kind": Literal["team", "attacker"], "file": str, "sha256": str, "about_sha256": str, "env": str}
_FACTS = {"attack": str, "version": str, "fitted": dict[str, Any], "claims": list[dict[str, Any]]}  # what some have


def is_name(text: object) -> bool:
    """Say whether a text names something of the zoo."""
    return isinstance(text, str) and text.startswith(PREFIX)


def bare(text: str) -> str:
    """Return the name of an entry, written with or without ``zoo:`` before it."""
    return text.removeprefix(PREFIX)


def local_team(text: str) -> Path:
    """Return the file of the team ``zoo:<name>``, fetched and checked. Raises ConfigError with the closest name."""
    zoo, name = Zoo(), bare(text)
    entry = zoo.entry(name)
    if entry["kind"] != "team":
        teams = [other for other, one in zoo.entries.items() if (one["kind"], one["env"]) == ("team", entry["env"])]
        raise ConfigError(
            f"{text} is an attacker, and a team was expected.{hint(name, teams)} List them: ibal zoo list --kind team "
            f"--env {entry['env']}; attackers are given with --attackers {text}"
        )
    return zoo.local(name)


class Zoo:
    """A zoo in a folder, behind an URL, or in a repository of the Hugging Face hub."""

    def __init__(self, where: str | Path | None = None) -> None:
        """Find it: ``where``, ``$IBAL_ZOO``, or the folder ``zoo`` of the sources. Raises ConfigError if there is
        none, or for what can be no place."""
        given = str(os.environ.get("IBAL_ZOO", "") if where is None else where)
        if (given or where is not None) and not _is_place(given):
            raise ConfigError(f"{quoted(given)} can be no zoo; name a folder, or an URL as https://example.org/zoo")
        beside = Path(ibal.__file__).parents[2] / "zoo"
        if not given and not (beside / INDEX).is_file():
            raise ConfigError("no zoo is known here; set IBAL_ZOO to the folder or the URL of one, or give --zoo")
        self.where = given or str(beside)
        self.on_hub = hub.is_hub(self.where)
        self._base = hub.url(self.where) if self.on_hub else self.where
        self.remote = self._base.startswith(("http://", "https://"))
        # The zoo of the sources names files of the repository around it; no other may leave its folder.
        self._of_sources = not self.remote and Path(self.where).resolve() == beside
        self._entries: dict[str, dict[str, Any]] | None = None

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """All entries by name. Raises ConfigError for an index that cannot be read."""
        if self._entries is None:
            try:
                content = self._content(INDEX, reading.TEXT)
                where = f"{self.where}/{INDEX}"
                table = reading.entries(
                    reading.parsed(content, where), where, {"format": int, "entries": dict[str, Any]}
                )
                if table["format"] != FORMAT:
                    raise reading.Unreadable(f"{where} has format {table['format']}; this version reads {FORMAT}")
                self._entries = {name: reading.entries(one, f'{where}: "{name}"', _ENTRY, _FACTS)
                                 for name, one in table["entries"].items()}  # fmt: skip
            except (OSError, http.client.HTTPException, reading.Unreadable) as error:
                raise ConfigError(f"the zoo in {self.where} cannot be read: {error}") from error
        return self._entries

    def entry(self, name: str) -> dict[str, Any]:
        """Return one entry. Raises ConfigError with the closest name."""
        if name not in self.entries:
            near = hint(name, self.entries)
            raise ConfigError(f"{self.where} has no {quoted(name)}.{near} List them: ibal zoo list")
        return self.entries[name]

    def attackers(self, under: str = "") -> dict[str, dict[str, Any]]:
        """Return the fitted attackers of that name or below it ("smac/3m"; "": all), in the order of their names.

        Raises ConfigError with the closest name where there is none.
        """
        held = {name: self.entries[name] for name in sorted(self.entries)
                if self.entries[name]["kind"] == "attacker" and "attack" in self.entries[name]}  # fmt: skip
        wanted = under.strip("/")
        found = {name: one for name, one in held.items() if f"{name}/".startswith(f"{wanted}/" if wanted else "")}
        if not found:
            near = hint(wanted, [*held, *{one["env"] for one in held.values()}])
            raise ConfigError(f"{self.where} has no attacker {quoted(wanted)}.{near} List them: ibal zoo list")
        return found

    def local(self, name: str) -> Path:
        """Return the weights of an entry as a file of this machine, with its JSON beside; both are as the index says.

        Raises ConfigError where they cannot be had, or are others.
        """
        entry = self.entry(name)
        if not self._of_sources and not _stays(entry["file"]):
            raise ConfigError(
                f"{name}: {self.where}/{INDEX} names the file {quoted(entry['file'])}, which is not inside that zoo; "
                "tell who publishes it"
            )
        if not self.remote:
            file = Path(self.where) / entry["file"]
            self._check(name, entry, _bytes(file), _bytes(file.with_suffix(".json")))
            return file
        folder = _cache() / entry["sha256"][:16]
        file = folder / f"{name.replace('/', '-')}.safetensors"
        if _is(file, entry["sha256"]) and _is(file.with_suffix(".json"), entry["about_sha256"]):
            return file
        try:
            held = self._content(entry["file"], MOST)
            about = self._content(str(PurePosixPath(entry["file"]).with_suffix(".json")), reading.TEXT)
        except (OSError, http.client.HTTPException) as error:
            raise ConfigError(f"{name} cannot be fetched from {self.where}: {error}") from error
        self._check(name, entry, held, about)
        folder.mkdir(parents=True, exist_ok=True)
        appear_bytes(file.with_suffix(".json"), about)
        appear_bytes(file, held)
        return file

    def _check(self, name: str, entry: Mapping[str, Any], held: bytes, about: bytes) -> None:
        for what, content, wanted in (("weights", held, "sha256"), ("description", about, "about_sha256")):
            if hashlib.sha256(content).hexdigest() != entry[wanted]:
                raise ConfigError(f"{name}: its {what} is not what {self.where}/{INDEX} says; fetch the zoo again")

    def _content(self, path: str, most: int) -> bytes:
        """Return the bytes of a file of the zoo. Raises OSError."""
        if not self.remote:
            return reading.content(Path(self.where) / path, most)
        url = urllib.parse.urljoin(f"{self._base.rstrip('/')}/", urllib.parse.quote(path))
        request = urllib.request.Request(url)
        if self.on_hub and (token := hub.token()):
            request.add_unredirected_header("Authorization", f"Bearer {token}")  # for the hub, not for whom it sends to
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as answer:
                content = answer.read(most + 1)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise
        if len(content) > most:
            raise OSError(f"{url} has more than {most:,} bytes")
        return content

    def add(self, name: str, file: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Put a bundle into a zoo that is a folder or on the hub, under a name; one of that name is replaced. Returns
        its entry.

        Raises ConfigError for what is no bundle, a name that is none, or a zoo that is behind an URL.
        """
        if self.remote and not self.on_hub:
            raise ConfigError(f"{self.where} is read only here; push into a folder, and publish that")
        parts = name.split("/")
        if not _stays(name) or len(parts) < 2 or any(part.startswith(".") or part != part.strip() for part in parts):
            raise ConfigError(f"{quoted(name)} is no name of a zoo; write <environment>/<name>, as smac/8m/ibal-0")
        path = f"files/{name}.safetensors"
        entry = described(file) | dict(facts) | {"file": path}
        world = entry["env"].replace(":", "/")
        if not name.startswith(f"{world}/"):
            raise ConfigError(
                f"{quoted(name)} does not begin with what {file} plays, {quoted(world)}, and a zoo is looked through "
                f"by environments; name it {quoted(f'{world}/{parts[-1]}')}"
            )
        file = file.with_suffix(".safetensors")
        held = {path: file.read_bytes(), f"files/{name}.json": file.with_suffix(".json").read_bytes()}
        if self.on_hub:
            after = hub.head(self.where)
            held[INDEX] = index_text({**self.known(), name: entry}).encode()
            hub.write(self.where, held, f"Add {name}", after)
        else:
            home = Path(self.where)
            home.mkdir(parents=True, exist_ok=True)
            with claimed(home):
                for place, content in sorted(held.items()):  # the JSON first: weights without one are no bundle
                    (home / place).parent.mkdir(parents=True, exist_ok=True)
                    appear_bytes(home / place, content)
                write_index(home / INDEX, {**self.known(), name: entry})
        self._entries = None
        return entry

    def known(self) -> dict[str, dict[str, Any]]:
        """Return the entries that there are now; none where there is no index yet."""
        self._entries = None
        try:
            return self.entries
        except ConfigError as error:
            missing = error.__cause__
            if isinstance(missing, FileNotFoundError) or getattr(missing, "code", None) == 404:
                return {}
            raise

    def pull(self, other: Zoo, names: Iterable[str] = ()) -> list[str]:
        """Copy entries of another zoo into this one, all or those named; what is here already is left. Returns the
        names of what came."""
        came: list[str] = []
        have = self.known()
        for name in list(names) or list(other.entries):
            entry = other.entry(name)
            if all(have.get(name, {}).get(part) == entry[part] for part in ("sha256", "about_sha256")):
                continue
            facts = {key: value for key, value in entry.items() if key not in ("file", "sha256", "about_sha256")}
            with tempfile.TemporaryDirectory() as aside:
                copy = Path(aside) / "x.safetensors"
                shutil.copyfile(other.local(name), copy)
                shutil.copyfile(other.local(name).with_suffix(".json"), copy.with_suffix(".json"))
                self.add(name, copy, facts)
            came.append(name)
        return came


def described(file: Path) -> dict[str, Any]:
    """Return the entry of a bundle, as far as its own JSON tells. Raises ConfigError for what is none."""
    if not file.name:
        raise ConfigError(f"{file} is no bundle: name its .safetensors file")
    file = file.with_suffix(".safetensors") if file.suffix == ".json" else file
    beside = file.with_suffix(".json")
    try:
        about = reading.table(beside, {"env": str})
        found = {
            "kind": "attacker" if "attack" in about else "team", "env": about["env"],
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "about_sha256": hashlib.sha256(beside.read_bytes()).hexdigest(),
        }  # fmt: skip
    except (OSError, reading.Unreadable) as error:
        raise ConfigError(f"{file} is no bundle: {error}") from error
    for name in ("version", "method", "attack", "seed", "env_steps", "config_hash"):
        if about.get(name) is not None:
            found[name] = about[name]
    if isinstance(about.get("versions"), dict):
        found["engine"] = str(about["versions"].get("ibal", ""))
    if isinstance(about.get("meta"), dict):  # to whom an attacker was fitted, and how well
        plain = {key: value for key, value in about["meta"].items() if isinstance(value, str | int | float)}
        found["fitted"] = plain | ({"check": about["meta"]["check"]} if "check" in about["meta"] else {})
    return found


def write_index(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write an index, sorted by name."""
    replace_text(path, index_text(entries))


def index_text(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of an index, sorted by name."""
    table = {"format": FORMAT, "entries": {name: entries[name] for name in sorted(entries)}}
    return json.dumps(table, indent=1, sort_keys=False, ensure_ascii=False) + "\n"


def _is_place(where: str) -> bool:
    """Say whether a text can be a folder's name or an URL."""
    try:
        if where.startswith(("http://", "https://")):
            parts = urllib.parse.urlsplit(where)
            _ = parts.port  # raises for what is no number
            return bool(parts.hostname) and where.isprintable() and " " not in where
        os.stat(where)
        return os.path.isdir(where)
    except FileNotFoundError:
        return bool(where)  # to be made by the first push
    except (ValueError, OSError):
        return False


def _stays(path: str) -> bool:
    """Say whether a path of an index is that of a file below the index, on any system and behind any server: no
    "../x", "/x", "//host/x", "http://host/x" or "C:x"."""
    parts = path.split("/")
    return not any(part in ("", ".", "..") or set(part) & set("\\:\0") for part in parts)


def _is(file: Path, sha256: str) -> bool:
    """Say whether a file is there and has this hash."""
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def _bytes(file: Path) -> bytes:
    try:
        return reading.content(file, MOST)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; the zoo's index names it") from error
    except reading.Unreadable as error:
        raise ConfigError(str(error)) from error


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ibal" / "zoo"

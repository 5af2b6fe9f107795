"""The probe lines of the samples, word for word, and what an installation replaces in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from tests.faults.harness import ROOT

KEEPALIVED = (ROOT / "packaging" / "keepalived" / "keepalived.conf").read_text()
MANIFEST = ROOT / "packaging" / "kubernetes" / "opentec.yaml"
KUBERNETES = ("startupProbe", "livenessProbe", "readinessProbe")


def manifests() -> dict[str, Any]:
    """The documents of the manifest by their kind."""
    found = [document for document in yaml.safe_load_all(MANIFEST.read_text()) if document]
    assert len({document["kind"] for document in found}) == len(found)
    return {document["kind"]: document for document in found}


def container() -> dict[str, Any]:
    """The one container that runs the server."""
    (found,) = manifests()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def keepalived_line() -> list[str]:
    """The words of the tracked script: keepalived runs it without a shell."""
    (script,) = re.findall(r'^\s*script "(.*)"$', KEEPALIVED, flags=re.MULTILINE)
    return shlex.split(script)


def kubernetes_line(probe: str) -> list[str]:
    """The words of a probe of the container."""
    words = container()[probe]["exec"]["command"]
    assert isinstance(words, list)
    return words


def kubernetes_environment() -> dict[str, str]:
    """What the container's processes find in their environment, the probes' included."""
    return {entry["name"]: entry["value"] for entry in container()["env"]}


def installed(words: list[str], places: Mapping[str, object]) -> list[str]:
    """The words with the sample's places replaced by those of an installation; each place must be there."""
    line = "\0".join(words)
    for name, place in places.items():
        before, found, after = _parted(line, name)
        assert found, f"{name} is not in {words}"
        line = f"{before}{place}{after}"
    return line.split("\0")


def _parted(line: str, name: str) -> tuple[str, bool, str]:
    """What is before and behind a word, or the value of a `key=value`, that is this name."""
    found = re.search(rf"(?<![^\0=]){re.escape(name)}(?=\0|$)", line)
    return (line[: found.start()], True, line[found.end() :]) if found else (line, False, "")

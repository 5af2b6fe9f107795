"""docs/adapters.md and examples/logfile-adapter: all that they say of keywords, formats and commands is so."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import typer

from opentec.adapters import conf as conf_module
from opentec.adapters.conf import UNUSED, AdapterConf, parse_conf, read_conf
from opentec.adapters.logfile.fmt import FORMATS, parse_formats, read_formats
from opentec.adapters.logfile.main import load
from opentec.adapters.logfile.pattern import PatternError, compile_string
from opentec.adapters.logfile.rotation import HELD_DELETED, HELD_FILES, SETTLED
from opentec.adapters.logfile.tail import LOGS
from opentec.adapters.logfile.trying import try_file, try_lines
from opentec.commands.cli import new_app
from opentec.commands.main import COMMANDS
from opentec.commands.main import load as load_command
from opentec.commands.names import TEC_NAMES
from opentec.events import load_classes
from opentec.events.errors import SourceErrors
from opentec.shipped import shipped

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adapters.md"
TEXT = PAGE.read_text()
EXAMPLE = ROOT / "examples" / "logfile-adapter"
FORMAT_FILE = "../../adapters/logfile/tecad_logfile.fmt"
LEAST = {"ServerLocation": "tec1", "NodeName": "web1", "BufEvtPath": "buffer", "LogSources": "log"}
REQUIRED = tuple(LEAST)


def blocks(kind: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def table(header: str) -> list[list[str]]:
    """The rows of the table that begins with this line, as cells."""
    _, found, rest = TEXT.partition(f"| {header} |\n")
    assert found, header
    rows = []
    for line in rest.split("\n")[1:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line[1:-1].split("|")])
    return rows


KEYWORDS = {row[0].strip("`"): row for row in table("keyword | default | TEC | meaning")}


# the configuration


def test_every_keyword_has_its_row_and_no_other() -> None:
    assert sorted(KEYWORDS) == sorted(conf_module._KEYWORDS)
    assert all(len(row) == 4 and row[1] and row[3] for row in KEYWORDS.values())


def test_every_unused_keyword_has_its_row_and_its_reason() -> None:
    assert {row[0].strip("`"): row[1] for row in table("keyword | why not")} == UNUSED


def test_the_defaults_are_those_of_the_program() -> None:
    default = parse_conf("", Path("a.conf"))
    named = parse_conf("NodeName=web1\nLabelHost=x\n", Path("a.conf"))
    found = {
        "ServerLocation": "-" if not default.servers else "?",
        "ServerPort": str(parse_conf("ServerLocation=tec1", Path("a.conf")).servers[0].port),
        "RetryInterval": f"{default.retry_interval:g}",
        "BufferEvents": default.buffering,
        "BufEvtPath": "-" if default.buffer_path is None else "?",
        "BufEvtMaxSize": str(default.buffer_max_kb),
        "LogSources": "-" if not default.log_sources else "?",
        "PollInterval": f"{default.poll_interval:g}",
        "ReadExisting": "YES" if default.read_existing else "NO",
        "FormatFile": FORMATS if default.format_file is None else "?",
        "EventMaxSize": str(default.event_max_size),
        "FilterMode": default.filter_mode,
        "Filter": "-" if not default.filters else "?",
        "UnmatchLog": "-" if default.unmatch_log is None else "?",
        "NodeName": default.node_name or "-",
        "FileScope": "NodeName" if named.file_scope == "web1" else "?",
        "AdapterHostname": "NodeName" if named.adapter_hostname == "web1" else "?",
        "LabelHost": "AdapterHostname"
        if parse_conf("AdapterHostname=a", Path("a.conf"), node="n").label_host == "a"
        else "?",
    }
    assert {keyword: row[1] for keyword, row in KEYWORDS.items()} == found


def test_the_choices_and_limits_are_those_of_the_program() -> None:
    for choice in get_args(conf_module.Buffering):
        assert f"`{choice}`" in KEYWORDS["BufferEvents"][3]
    limits = f"{conf_module.SMALLEST_EVENT} to {conf_module.LARGEST_EVENT}"
    assert limits in KEYWORDS["EventMaxSize"][3]
    assert f"less than {conf_module.SMALLEST_BUFFER} " in KEYWORDS["BufEvtMaxSize"][3]
    assert f"{LOGS:,} files" in KEYWORDS["LogSources"][3]
    assert f"at most {HELD_DELETED} deleted and {HELD_FILES} rotated" in TEXT
    assert f"after {SETTLED} polls" in TEXT


def test_the_keywords_that_must_be_given_are_named() -> None:
    with pytest.raises(SourceErrors) as caught:
        parse_conf("", Path("a.conf"), required=REQUIRED)
    missing = {error.message.split()[0] for error in caught.value.errors}
    sentence = re.search(r"file\. (`ServerLocation`.*?) must be given", TEXT, flags=re.DOTALL)
    assert sentence
    assert {word for word in re.findall(r"`(\w+)", sentence[1]) if word != "BufferEvents"} == missing == set(REQUIRED)


@pytest.mark.parametrize("block", blocks("conf"))
def test_every_configuration_of_the_page_is_right(block: str) -> None:
    conf = parse_conf(block, Path("/etc/opentec/tecad_logfile.conf"))
    assert not conf.notes


def test_the_configurations_that_are_whole_lack_nothing() -> None:
    whole = [block for block in blocks("conf") if "ServerLocation" in block]
    assert len(whole) == 2
    for block in whole:
        parse_conf(block, Path("/etc/opentec/tecad_logfile.conf"), required=REQUIRED)


def test_the_filters_of_the_page_do_what_it_says() -> None:
    (block,) = blocks("conf", TEXT.partition("### Filters")[2].partition("\n## ")[0])
    conf = parse_conf(block, Path("a.conf"))
    assert [rule.class_name for rule in conf.filters] == ["Cron_Job", "Session_Opened", "Logfile_Message"]
    assert conf.filters[1].matches("Session_Opened", {"user": "svc_backup"})
    assert not conf.filters[1].matches("Session_Opened", {"user": "a svc_backup"}), "the whole value"
    assert conf.filters[2].matches("Logfile_Message", {"msg": "a; b"})


@pytest.mark.parametrize("wrong", [pytest.param(row, id=row[0]) for row in table("in the configuration | said")])
def test_a_wrong_configuration_is_told_so(wrong: list[str]) -> None:
    line, said = wrong[0].strip("`"), wrong[1]
    rest = [f"{name}={value}" for name, value in LEAST.items() if not line.startswith(name)]
    with pytest.raises(SourceErrors) as caught:
        parse_conf("\n".join([*rest, line]), Path("a.conf"), required=REQUIRED)
    assert len(caught.value.errors) == 1
    assert said in str(caught.value)


# the formats


def test_every_format_file_of_the_page_is_right() -> None:
    assert len(blocks("fmt")) == 2
    known = load_classes(shipped("rules", "default", "TEC_CLASSES"))
    for block in blocks("fmt"):
        for format_ in parse_formats(block, "page.fmt"):
            if not format_.discards:
                assert {slot for slot, _ in format_.slots} <= set(known.get(format_.class_name).slots)


def test_late_binding_gives_what_the_page_says() -> None:
    formats = parse_formats(blocks("fmt")[1], "page.fmt")
    (tried,) = try_lines(AdapterConf(""), formats, [b"reboot of web1\n"], "log")
    assert tried.slots["msg"] == "reboot of web1 happened"
    assert f"`{tried.line}` gives the message `{tried.slots['msg']}`" in TEXT


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row[0]} {row[1]}") for row in table("format string | line | parts")]
)
def test_a_format_string_matches_what_the_page_says(row: list[str]) -> None:
    string, line, parts = row
    match = compile_string(string[1:-1]).match(line[1:-1])
    wanted = None if parts == "no match" else tuple(re.findall(r"`([^`]*)`", parts))
    assert (match and match.groups()) == wanted
    assert wanted is None or wanted


def test_every_specifier_has_its_row() -> None:
    rows = {row[0].strip("`") for row in table("specifier | matches")}
    with pytest.raises(PatternError) as caught:
        compile_string("%q")
    assert rows == set(re.findall(r"%[^ ;]+", caught.value.hint))


def test_every_value_of_the_table_can_be_written() -> None:
    for row in table("value | gives"):
        for value in re.findall(r"`([^`]*)`", row[0]):
            written = value.replace("$i", "$1")
            parse_formats(f"FORMAT A\n%s %s %s\nuser $1\nmsg {written}\nEND\n", "page.fmt")


@pytest.mark.parametrize(
    "wrong",
    [pytest.param(row, id=row[0]) for row in table("in a format with the string `%s` and the line `user $1` | said")],
)
def test_a_wrong_format_is_told_so(wrong: list[str]) -> None:
    with pytest.raises(SourceErrors) as caught:
        parse_formats(f"FORMAT A\n%s\nuser $1\n{wrong[0].strip('`')}\nEND\n", "page.fmt")
    assert wrong[1] in str(caught.value)


# the commands


def commands() -> set[str]:
    """What the page tells to run: commands of `tec`, with `tec` in front, and programs."""
    lines = [line for block in blocks("sh") for line in block.split("\n")]
    lines += re.findall(r"^ {4}(\S.*)$", TEXT, flags=re.MULTILINE) + re.findall(r"`([^`\n]+)`", TEXT)
    found = set()
    for words in map(str.split, lines):
        if words and words[0] == "tec":
            count = 2 if words[1] in ("adapter", "config") else 1
            found.add(" ".join(words[: 1 + count]))
        elif words and re.fullmatch(r"tecad_\w+|w(post|start|stop|state|tdump)\w+", words[0]):
            found.add(words[0])
    return found


def test_every_command_of_the_page_exists() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    known = {f"tec {name}" for name in COMMANDS} | (scripts.keys() & TEC_NAMES.keys())
    used = commands()
    assert {"tec init", "tec list", "tec adapter try", "tecad_logfile", "wtdumprl"} <= used
    assert used <= known


@pytest.mark.parametrize(("command", "heading"), [("adapter logfile", "## The program"), ("adapter try", "### Trying")])
def test_every_option_is_there_and_no_other(command: str, heading: str) -> None:
    app = new_app()
    app.command()(load_command(command))
    parameters = typer.main.get_command(app).params
    options = {option for each in parameters for option in each.opts if option.startswith("--")} - {"--debug"}
    part = TEXT[TEXT.index(heading) :].partition("\n#")[0]
    assert set(re.findall(r"(?<![\w-])--[a-z]+", part)) | {"--conf"} == options


def test_links_within_the_page_lead_somewhere() -> None:
    titles = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE
    )
    anchors = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}
    links = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert links
    assert links <= anchors


# the example, and what ships


def test_the_service_unit_of_the_page_is_the_shipped_one() -> None:
    unit = (shipped("adapters", "logfile") / "tecad_logfile.service").read_text().split("\n")
    (block,) = blocks("ini")
    assert set(block.split("\n")) <= set(unit)


def test_the_events_about_lost_lines_have_the_slots_that_the_page_names() -> None:
    known = load_classes(shipped("rules", "default", "TEC_CLASSES"))
    for name in ("TEC_LinesLost", "TEC_BufferOverflow"):
        assert name in TEXT
        assert {"file", "bytes", "lines", "msg"} <= set(known.get(name).slots)
    assert known.get("TEC_BufferDamaged")


def test_the_example_is_right() -> None:
    conf, formats = load(EXAMPLE / "tecad_logfile.conf")
    assert not conf.notes
    assert [each.place for each in formats] == [each.place for each in read_formats(EXAMPLE / FORMAT_FILE)]
    tried = list(try_file(conf, formats, EXAMPLE / "shop.log"))
    assert Counter(line.verdict for line in tried) == {"event": 29, "unmatched": 1}
    assert read_conf(EXAMPLE / "tecad_logfile.conf").log_sources == [str(EXAMPLE / "shop.log")]

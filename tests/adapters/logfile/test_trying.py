"""What `tec adapter try` shows."""

from __future__ import annotations

from pathlib import Path

from opentec.adapters.conf import AdapterConf
from opentec.adapters.filters import parse_filter
from opentec.adapters.logfile.fmt import parse_formats
from opentec.adapters.logfile.trying import Tried, try_file

FORMATS = parse_formats(
    """FORMAT Su_Failure
%t %s su: %s to %s failed
user $3
hostname LABEL
END
FORMAT *DISCARD*
noise
END
FORMAT Pair
one%ntwo
END
REGEX Any
^any \\w+
END
""",
    "x.fmt",
)


def tried(tmp_path: Path, text: str) -> list[Tried]:
    path = tmp_path / "log"
    path.write_text(text)
    conf = AdapterConf("a.conf", label_host="web1", filters=[parse_filter("Class=Any")])
    return list(try_file(conf, FORMATS, path))


def test_verdicts(tmp_path: Path) -> None:
    found = tried(tmp_path, "Mar  1 08:00:00 h su: alice to root failed\nnoise\none\ntwo\nany line\n")
    assert found[0] == Tried(
        1,
        "Mar  1 08:00:00 h su: alice to root failed",
        "event",
        "Su_Failure",
        "x.fmt:1",
        {"user": "alice", "hostname": "web1"},
        "",
    )
    assert [(each.verdict, each.class_name) for each in found[1:]] == [
        ("discarded", "*DISCARD*"),
        ("unmatched", ""),
        ("event", "Pair"),
        ("filtered", "Any"),
    ]


def test_the_nearest_format_is_named(tmp_path: Path) -> None:
    near, short, long, far = tried(
        tmp_path,
        "Mar  1 08:00:00 h su: alice to root succeeded\nMar  1 08:00:00 h\n"
        "Mar  1 08:00:00 h su: alice to root failed twice\n---\n",
    )
    assert (near.verdict, near.place) == ("unmatched", "x.fmt:1")
    assert near.why == "Su_Failure expects 'failed' where the line has ' succeeded'"
    assert short.why == "Su_Failure expects 'su: %s to %s failed' where the line ends"
    assert long.why == "Su_Failure expects 'its end' where the line has ' twice'"
    assert (far.place, far.why) == ("", "no format begins as this line does")

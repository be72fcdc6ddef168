"""JUnit XML: one suite with a case per objective or compared metric, as GitHub, GitLab and Jenkins read it."""

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from feed.console.printable import printable
from reports.layout import Case

NO_TIME_S: Final = "0"
"""The attribute is required (Jenkins' junit-10.xsd), and no case is timed: the run was measured long before."""
NONCHARACTERS: Final = re.compile("[\ufffe\uffff]")


def to_junit(suite: str, cases: Sequence[Case], created_at: str) -> bytes:
    """The XML in UTF-8. ``created_at``: when the run was measured, ISO 8601."""
    root = ElementTree.Element("testsuites")
    counts = {
        "tests": len(cases),
        "failures": sum(bool(case.failure) for case in cases),
        "errors": 0,
        "skipped": sum(case.is_skipped for case in cases),
    }
    about = {"name": suite, **{name: str(count) for name, count in counts.items()}}
    element = ElementTree.SubElement(root, "testsuite", about | {"time": NO_TIME_S, "timestamp": _text(created_at)})
    for case in cases:
        _add(element, case)
    ElementTree.indent(root)
    xml: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _add(suite: ElementTree.Element, case: Case) -> None:
    about = {"classname": _text(case.group), "name": _text(case.name), "time": NO_TIME_S}
    element = ElementTree.SubElement(suite, "testcase", about)
    if case.failure:
        text = _text(case.failure)
        ElementTree.SubElement(element, "failure", {"message": text}).text = text
    elif case.is_skipped:
        ElementTree.SubElement(element, "skipped", {"message": _text(case.skipped)})
    else:
        ElementTree.SubElement(element, "system-out").text = _text(case.measured)


def _text(text: str) -> str:
    """Without the characters that XML 1.0 (section 2.2) excludes."""
    return NONCHARACTERS.sub("?", printable(text))

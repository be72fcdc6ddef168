"""What is kept of mutants that no test kills: read, written and read again the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.survivors import Survivor, explained, function_of, lines_of, written

PURE = settings(deadline=None, derandomize=True, database=None)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])) | st.just('a\n"b"\\n')
DIFF = """--- bench/trial/x.py
+++ bench/trial/x.py
@@ -1,3 +1,3 @@
 def f(a):
-    return -a + 1
+    return +a + 1
"""


@PURE
@given(st.dictionaries(st.builds(Survivor, TEXTS, TEXTS, TEXTS), TEXTS, max_size=4))
def test_what_is_written_is_read(reasons: dict[Survivor, str]) -> None:
    assert explained(written(reasons)) == reasons


def test_a_function_is_known_by_its_mutant() -> None:
    assert (
        function_of("bench.trial.plausible.xǁRangeǁ__contains____mutmut_3")
        == "bench.trial.plausible.Range.__contains__"
    )
    assert function_of("bench.trial.metrics.x__rows__mutmut_12") == "bench.trial.metrics._rows"


def test_a_change_is_what_the_diff_takes_and_gives() -> None:
    assert (lines_of(DIFF, "-"), lines_of(DIFF, "+")) == ("return -a + 1", "return +a + 1")

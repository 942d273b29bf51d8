#!/usr/bin/env bash
# Hypothesis: whether derandomised examples are the same examples when other local modules are imported.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check hypothesis==6.170.15
cd "$place"
echo "NUMBERS = [314159, 271828, 161803, 141421]" > elsewhere.py
cat > examples.py <<'PROGRAM'
import sys

if "with" in sys.argv:
    import elsewhere  # noqa: F401  nothing of it is used

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

drawn = []


@settings(derandomize=True, database=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1_000_000))
def test(number):
    drawn.append(number)


test()
print(*drawn)
PROGRAM
venv/bin/python examples.py > once
venv/bin/python examples.py > again
venv/bin/python examples.py with > other
venv/bin/python - <<'PROGRAM'
import sys
from importlib.metadata import version

once, again, other = (list(map(int, open(name).read().split())) for name in ("once", "again", "other"))
foreign = {314159, 271828, 161803, 141421}
print(f"hypothesis {version('hypothesis')}: 300 integers up to a million, derandomize=True, no database")
print(f"the same program twice: {'equal' if once == again else 'different'} examples")
print(f"with one import more, of a module that nothing uses: {sum(a != b for a, b in zip(once, other))} of {len(once)} differ")
print(f"numbers among them that only that module's source has: {sorted(foreign & set(other))}; without it: {sorted(foreign & set(once))}")
print("One would expect derandomised examples to follow from the test alone. A test that runs alone and in a whole suite meets others.")
if once != again or once == other or not foreign & set(other) or foreign & set(once):
    sys.exit("this is no longer so")
PROGRAM

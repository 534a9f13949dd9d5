"""No test stays out of a run unnoticed: a skip for an unknown reason fails."""

import os
import subprocess
import sys
from pathlib import Path

import skips

FILES = {
    "known": f"import pytest\n\n@pytest.mark.skip(reason={skips.REASONS[0]!r})\ndef test_it(): pass",
    "inside": f"import pytest\n\ndef test_it(): pytest.skip({skips.REASONS[1]!r})",
    "expected": "import pytest\n\n@pytest.mark.xfail\ndef test_it(): assert False",
    "unknown": "import pytest\n\n@pytest.mark.skip(reason='too tired')\ndef test_it(): pass",
    "unknown_inside": "import pytest\n\ndef test_it(): pytest.skip('too tired')",
    "file": "import pytest\n\npytest.skip('too tired', allow_module_level=True)",
    "module": "import pytest\n\npytest.importorskip('no_such_module')",
}


def test_a_skip_for_an_unknown_reason_fails_and_one_for_a_known_reason_does_not(tmp_path: Path) -> None:
    for name, body in FILES.items():
        (tmp_path / f"test_{name}.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-rA", "--tb=no", "-c", os.devnull, "--continue-on-collection-errors"]
    environment = os.environ | {"PYTHONPATH": str(Path(skips.__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, "-p", "skips"], capture_output=True, text=True, cwd=tmp_path, env=environment)
    summary = done.stdout[done.stdout.index("short test summary info") :]
    outcomes = [line.split()[:2] for line in summary.splitlines()[1:-1]]
    failed = sorted(where.split("::")[0] for outcome, where in outcomes if outcome in ("FAILED", "ERROR"))
    assert failed == ["test_file.py", "test_module.py", "test_unknown.py", "test_unknown_inside.py"]
    assert " 2 skipped, 1 xfailed" in done.stdout.splitlines()[-1]

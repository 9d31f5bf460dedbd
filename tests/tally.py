"""Adds up what the test runs of all presets brought: tally.py RESULTS [FAILED_STEP...].

RESULTS holds PRESET.xml, written by ctest, and PRESET/NAME.json, written by each pytest run (see system/conftest.py),
whose tests are counted one by one, in place of ctest's one entry for the file if there is one. Ends with status 0 if nothing failed.
"""

import json
import pathlib
import sys
import xml.etree.ElementTree

results, failed_steps = pathlib.Path(sys.argv[1]), sys.argv[2:]
total = {"passed": 0, "failed": 0, "skipped": 0}
reasons, broken = {}, []


def count_pytest(preset, counts):
    pytest = json.loads(counts.read_text())
    for kind in total:
        total[kind] += len(pytest[kind])
    for test, reason in pytest["skipped"].items():
        reasons.setdefault(reason, []).append(f"{preset}: {test}")
    broken.extend(f"{preset}: {test}" for test in pytest["failed"])
    return pytest["failed"]


for report in sorted(results.glob("*.xml")):
    preset = report.stem
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        name, status = case.get("name"), case.get("status")
        counts = results / preset / (name.replace("system: ", "") + ".json")
        if name.startswith("system: ") and counts.exists():
            if not count_pytest(preset, counts) and status == "fail":
                total["failed"] += 1
                broken.append(f"{preset}: {name}")
        else:
            kind = {"run": "passed", "fail": "failed"}.get(status, "skipped")
            total[kind] += 1
            if kind == "failed":
                broken.append(f"{preset}: {name}")
            elif kind == "skipped":
                reasons.setdefault("see its output", []).append(f"{preset}: {name}")

for folder in sorted(results.iterdir()):
    if folder.is_dir() and not folder.with_suffix(".xml").exists():
        for counts in sorted(folder.glob("*.json")):
            count_pytest(folder.name, counts)

print()
for reason, tests in sorted(reasons.items()):
    print(f"skipped: {reason}: {', '.join(tests)}")
for test in broken:
    print(f"failed: {test}")
for step in failed_steps:
    print(f"failed: {step}")
print("{passed} passed, {failed} failed, {skipped} skipped".format(**total))
sys.exit(1 if total["failed"] or failed_steps or not total["passed"] else 0)

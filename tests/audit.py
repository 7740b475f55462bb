"""``make audit``: known vulnerabilities of the pinned packages, by pip-audit; needs the network: run it by schedule.

    python -m tests.audit PIP_AUDIT constraints.txt constraints-label-studio.txt

Exit status 1 for a vulnerability that ``audit-allowed.yaml`` does not name with a reason, for a name there that is found no more,
and for packages that could not be looked up: pip-audit itself passes over those, and is content without any network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ALLOWED = Path(__file__).with_name("audit-allowed.yaml")


def findings(reports: Sequence[Mapping[str, Any]], allowed: Mapping[str, str]) -> list[str]:
    """One line per trouble in pip-audit's JSON reports.

    allowed  number of a vulnerability, such as GHSA-… or CVE-… → why it does not concern us
    """
    lines, found, unknown = [], set(), []
    for package in [of for report in reports for of in report["dependencies"]]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for vulnerability in package.get("vulns", []):
            numbers = {vulnerability["id"], *vulnerability.get("aliases", [])}
            found |= numbers
            if not numbers & allowed.keys():
                fixed = ", ".join(vulnerability.get("fix_versions", [])) or "none yet"
                lines.append(f"{package['name']} {package['version']}: {vulnerability['id']}; fixed in {fixed}")
    if unknown:
        lines.append(f"{len(unknown)} packages could not be looked up, such as {unknown[0]}: is the network there?")
    else:
        lines += [f"{number} is allowed and found no more; take it out" for number in allowed if number not in found]
    return lines


def _report(program: str, constraints: str) -> Any:
    command = [program, "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "-r", constraints]
    run = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(run.stdout)
    except ValueError:
        sys.exit(f"{constraints}: pip-audit ended with {run.returncode} and no report: {run.stderr.strip()[-500:]}")


if __name__ == "__main__":
    program, *files = sys.argv[1:]
    troubles = findings([_report(program, file) for file in files], yaml.safe_load(ALLOWED.read_text()) or {})
    print("\n".join(troubles) or f"nothing known about the packages of {', '.join(files)}")
    sys.exit(bool(troubles))

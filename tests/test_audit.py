"""What `make audit` makes of pip-audit's reports."""

from __future__ import annotations

from typing import Any

from tests.audit import findings


def report(**package: Any) -> dict[str, Any]:
    return {"dependencies": [{"name": "a", "version": "1.0", "vulns": [], **package}]}


FOUND = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}


def test_a_vulnerability_is_named_with_its_fix_unless_it_is_allowed_by_any_of_its_numbers() -> None:
    assert findings([report(vulns=[FOUND])], {}) == ["a 1.0: PYSEC-1; fixed in 1.1"]
    assert findings([report(vulns=[FOUND])], {"CVE-1": "not called"}) == []
    assert findings([report()], {"CVE-1": "not called"}) == ["CVE-1 is allowed and found no more; take it out"]


def test_packages_that_could_not_be_looked_up_are_no_good_news() -> None:
    (line,) = findings([report(skip_reason="not found")], {"CVE-1": "not called"})
    assert "1 packages could not be looked up, such as a" in line

"""Frame rules read what the user wrote, and say the rule and the value that failed."""

from __future__ import annotations

from typing import Any

import pytest

from label_config.settings.frame_rules import FrameRules
from label_config.values.data_path import value_at
from label_config.values.written_address import written_address


def rules(**fields: Any) -> FrameRules:
    return FrameRules.model_validate(fields)


NUMBER = {"key": "image", "pattern": r"(\d+)\D*[.]jpg$"}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("/data/upload/1/mouse%203.jpg", 3),
        ("http://host/data/local-files/?d=a/mouse%203.jpg", 3),
        ("s3://bucket/Dog_test%20%288%29.jpg", 8),
        ("https://host/f_12.jpg?X-Amz-Signature=00ff&X-Amz-Date=20260101T000000Z", 12),
        ("https://host/f_12.jpg?sv=2026-01-01&sig=ab%3D", 12),
        ("/data/upload/1/50%2525_4.jpg", 4),
    ],
)
def test_addresses_are_read_decoded_and_without_signatures(value: str, number: int) -> None:
    assert rules(index=NUMBER).read({"image": value}).index == number


def test_what_an_address_says_besides_its_signature_stays() -> None:
    assert written_address("https://u:p@h/a%20b?n=3&token=x") == "https://h/a b?n=3"
    assert written_address("https://h/a?sv=1&n=3") == "https://h/a?sv=1&n=3", "short names mean Azure only beside its sig"
    assert written_address("100%25 sure?token=1") == "100%25 sure?token=1", "text that is no address is left alone"


@pytest.mark.parametrize(("value", "number"), [(12, 12), (12.0, 12), ("12.0", 12), ("007", 7), (0, 0)])
def test_numbers_as_tables_write_them(value: object, number: int) -> None:
    assert rules(index="n").read({"n": value}).index == number


@pytest.mark.parametrize(
    ("rule", "data", "words"),
    [
        ("n", {"n": -1}, "frames.index: expected a whole number from 0 to 18 digits, got '-1'"),
        ("n", {"n": "1" * 20}, "expected a whole number from 0 to 18 digits"),
        ("n", {"n": "frame 12"}, "got 'frame 12'; a pattern with the number in parentheses would find 12"),
        ("n", {"n": 2.5}, "got '2.5'"),
        ("n", {"n": float("nan")}, "expected text or a number in data['n'], got nan"),
        ("n", {"n": True}, "expected text or a number in data['n'], got True"),
        ("n", {"m": 1, "k": 2}, "expected 'n' in the task's data, got the keys k, m"),
        (NUMBER, {"image": "/x_7.JPG"}, "got '/x_7.JPG'; begin the pattern with (?i)"),
        (NUMBER, {"image": "/x.jpg"}, r"expected the pattern '(\d+)\D*[.]jpg$' in data['image'], got '/x.jpg'"),
        (NUMBER, {"image": "https://me:secret@h/x.jpg?Signature=s3cr3t"}, "got 'https://h/x.jpg'"),
    ],
)
def test_the_rule_and_the_value_that_failed_are_said(rule: Any, data: dict[str, Any], words: str) -> None:
    found = rules(index=rule).read(data)
    assert found.index is None
    assert words in str(found.refused["index"])
    assert "secret" not in str(found.refused["index"])


def test_a_sequence_that_the_store_cannot_hold_is_refused() -> None:
    for value in ("x" * 301, "a\nb", ""):
        found = rules(sequence="trial").read({"trial": value})
        assert found.sequence is None
        assert "frames.sequence" in str(found.refused["sequence"])


def test_values_inside_lists_and_mappings() -> None:
    data = {"images": [{"url": "/a_1.jpg"}, {"url": "/a_2.jpg"}], "files": {"image": "/b.jpg"}, "odd[0]": "whole key"}
    assert value_at(data, "images[1].url") == "/a_2.jpg"
    assert value_at(data, "files.image") == "/b.jpg"
    assert value_at(data, "odd[0]") == "whole key"
    assert [value_at(data, path) for path in ("images[2].url", "files.other", "files[0]", "images.url", "")] == [None] * 5
    assert rules(index={"key": "images[1].url", "pattern": r"_(\d)"}).read(data).index == 2

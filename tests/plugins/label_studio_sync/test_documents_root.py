"""The folder of the pictures is checked by what Label Studio says of it, in the words of every release that is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from label_config.settings.spec import Spec
from label_config.values import BadInputError
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.local_storage import check_documents_root

#: As recorded, with SAID for the folder that was asked about and SERVED for LOCAL_FILES_DOCUMENT_ROOT.
RECORDED = {
    "1.20.0": "Path SAID must start with LOCAL_FILES_DOCUMENT_ROOT=SERVED and must be a child, e.g.: SERVED/abc",
    "1.23.2 itself": 'Absolute local path "SAID" cannot be the same as LOCAL_FILES_DOCUMENT_ROOT="SERVED"',
    "1.23.2 other": 'Absolute local path "SAID" must be a subdirectory of LOCAL_FILES_DOCUMENT_ROOT="SERVED"',
    "unseen": "Path SAID does not exist",
    "off": "Serving local files can be dangerous, so it's disabled by default.",
}


def check(tmp_path: Path, words: str, served: Path) -> None:
    class Answers(Client):
        def storage_refusal(self, project: int, path: str) -> str | None:
            return RECORDED[words].replace("SAID", path).replace("SERVED", str(served))

    recording = {"sequence": "s", "views": {"left": str(tmp_path / "left.mp4")}}
    spec = Spec.model_validate({"label_studio": {"url": "http://a"}, "documents_root": str(tmp_path), "recordings": [recording]})
    client = Answers("http://a", "token")
    try:
        check_documents_root(spec, client, 1)
    finally:
        client.close()


@pytest.mark.parametrize("words", ["1.20.0", "1.23.2 itself"])
def test_the_very_folder_is_taken(tmp_path: Path, words: str) -> None:
    check(tmp_path, words, tmp_path)


@pytest.mark.parametrize("words", ["1.20.0", "1.23.2 other", "unseen"])
def test_another_folder_is_refused_with_the_one_that_is_wanted(tmp_path: Path, words: str) -> None:
    with pytest.raises(BadInputError, match="the very folder that Label Studio has as LOCAL_FILES_DOCUMENT_ROOT"):
        check(tmp_path, words, tmp_path.parent)


def test_serving_that_is_switched_off_says_how_to_switch_it_on(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="LOCAL_FILES_SERVING_ENABLED=true"):
        check(tmp_path, "off", tmp_path)

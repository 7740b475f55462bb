"""Commands that read or change the store alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

import plugins
from label_config.values import FrameKey, PointState, Pose2D, Provenance
from ml_backend.formats.coco import read_coco
from ml_backend.formats.dlc import read_dlc
from ml_backend.labels.edit_distance import edit_distance
from ml_backend.labels.snapshot import Snapshot
from ml_backend.project.label_problems import LabelProblem
from ml_backend.store import frames, generations, presence, projects, submissions, tasks, versions, work
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace
from plugins.cli.overview import duration
from tests.small_project import KEYPOINTS, VIEWS, add_version, pose_of, write_spec

Run = Callable[..., Result]


def said(result: Result) -> str:
    """What a command printed, when it went well."""
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def label(workspace: Workspace, index: int, moved_px: float = 4.0) -> None:
    """A person submits frame ``index`` and moves one of its six points."""
    shown = pose_of(index)
    xy, provenance = shown.xy_px.copy(), np.full(shown.state.shape, Provenance.ACCEPTED, dtype=np.int64)
    xy[0, 0, 0] += moved_px
    provenance[0, 0] = Provenance.PLACED
    submitted = Pose2D(xy, np.ones(shown.state.shape), shown.state, provenance)
    task = tasks.by_ls_id(workspace.store, 100 + index)
    assert task is not None
    row = {
        "ls_annotation_id": 500 + index,
        "task_id": task.id,
        "updated_at": "2026-01-01T00:00:00.000000Z",
        "cancelled": False,
        "poses": {"0": submitted.to_json()},
        "problems": [],
        "shown_generation": 1,
        "edit": {"0": edit_distance(shown, submitted).to_json()},
        "round": 0,
        "seen_at": time.time(),
    }
    submissions.save(workspace.store, [row])
    tasks.save(workspace.store, [{"ls_task_id": 100 + index, "is_labeled": True}])


def test_no_parallax_yaml_is_told_with_an_example(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "parallax.yaml: no such file" in result.stderr
    assert "label_studio:" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mistake_in_parallax_yaml_is_one_message(run: Run, tmp_path: Path) -> None:
    (tmp_path / "parallax.yaml").write_text("labelstudio: {}\n")
    result = run("status")
    assert result.exit_code == 1
    assert "did you mean 'label_studio'" in result.stderr


def test_a_project_that_was_not_set_up(run: Run, tmp_path: Path) -> None:
    write_spec(tmp_path)
    result = run("status")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "run `parallax init`" in result.stderr


def test_a_store_that_cannot_be_opened(run: Run, tmp_path: Path) -> None:
    write_spec(tmp_path, store="postgresql+psycopg://nobody@127.0.0.1:9/none")
    result = run("status")
    assert result.exit_code == 1
    assert "cannot be opened: connection" in result.stderr


def test_unexpected_errors_keep_their_traceback(run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr("plugins.cli.overview.overview", broken)
    assert isinstance(run("status").exception, ZeroDivisionError)


def test_another_package_of_the_same_name_is_noticed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "__path__", [str(tmp_path / "plugins")])
    result = run("version")
    assert result.exit_code == 1
    assert "another distribution" in result.stderr


def test_status_of_a_project_at_rest(run: Run, workspace: Workspace) -> None:
    text = said(run("status"))
    assert "7 'mice' on http://127.0.0.1:9" in text
    assert "0 annotations of 0 frames, of 6" in text
    assert "not enough yet: 0 of 20 new labelled frames" in text
    assert "px-1: 4.00 px on average on 0 validation frames" in text
    assert "px-1.1: 5 of 5 frames of the window are open" in text
    assert "nothing runs; start `parallax up`" in text
    assert "no advice yet" in text


def test_status_says_mean_and_median_their_unit_and_the_gate_in_its_own_words(run: Run, workspace: Workspace) -> None:
    figures: dict[str, Any] = {"validation_frames": 12, "validation_px": 17.25, "validation_median_px": 2.1, "gate": "the words"}
    figures |= {"validation_world": 0.4, "world_unit": "m"}
    add_version(workspace, "m-2", **figures, previous_px=18.0, previous_median_px=2.5)
    wanted = (
        "px-2: 17.25 px on average and 2.10 px in the median on 12 validation frames, the one before 18.00 px on average and "
        "2.50 px in the median; 0.40 m in 3-D on average; gate: the words"
    )
    assert wanted in said(run("status"))


def test_status_while_much_happens(run: Run, workspace: Workspace) -> None:
    store, project = workspace.store, workspace.store.project_id
    label(workspace, 0)
    label(workspace, 1, moved_px=6.0)
    job = work.claim(store.of_project(project), work.request(store.of_project(project), "retrain").id, "w")
    assert job is not None
    progress = {"stage": "train", "step": 30, "steps": 400, "eta_s": 125.0, "loss": 0.0123, "validation_px": 2.345}
    work.heartbeat(store, job, progress)
    work.request(store.of_project(project), "rescore")
    presence.beat(store, "sync")
    presence.tell(store.of_project(project), "task 3: two points for nose", level=EventLevel.WARNING)
    projects.change(store.of_project(project), halted="many labels went away")
    text = said(run("status"))
    assert "2 annotations of 2 frames" in text
    assert "not enough yet: 2 of 20 new labelled frames" in text
    # 12 points shown, 2 of them moved, by 4 and 6 px
    assert "of 12 points shown 83% were left, 17% moved, typically by 5.0 px, 0% removed; 0 added" in text
    assert "px-1.1: 3 of 5 frames of the window are open" in text
    assert "retrain train, 30 of 400, loss 0.0123, 2.35 px off on frames held out, about 2 min left" in text
    assert "rescore waits for a worker" in text
    assert re.search(r"sync \(\d+ s ago\)", text)
    assert "stopped many labels went away" in text
    assert "two points for nose" in text


def test_status_shows_a_failure_until_the_next_success(run: Run, workspace: Workspace) -> None:
    store, project = workspace.store, workspace.store.project_id
    job = work.claim(store.of_project(project), work.request(store.of_project(project), "retrain").id, "w")
    assert job is not None
    work.fail(store, job, "no picture can be read", again=False)
    assert "retrain failed: no picture can be read" in said(run("status"))
    job = work.claim(store.of_project(project), work.request(store.of_project(project), "retrain").id, "w")
    assert job is not None
    work.finish(store, job)
    assert "failed" not in said(run("status"))


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (86400 * 3, "3 d")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rollback_needs_a_known_version_with_files(run: Run, workspace: Workspace) -> None:
    result = run("rollback", "9")
    assert result.exit_code == 1
    assert "expected one of px-1" in result.stderr
    result = run("rollback", "px-1")  # its folder does not exist
    assert result.exit_code == 1
    assert not workspace.project.pinned


def test_rollback_pins_and_asks_for_an_order_and_unpin_lets_go(
    run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = workspace.project.live_version_id
    second = add_version(workspace, "m-2", validation_px=3.0)
    checked: list[Path] = []
    manifest = SimpleNamespace(skeleton=workspace.binding.skeleton)

    def read_manifest(folder: Path) -> Any:
        checked.append(folder)
        return manifest

    monkeypatch.setattr("ml_backend.pose.weights.read_manifest", read_manifest)
    assert workspace.project.live_version_id == second
    assert "px-1 is live and pinned" in said(run("rollback", "px-1"))
    assert (workspace.project.live_version_id, workspace.project.pinned) == (first, True)
    assert checked == [workspace.models / "m-1"]
    assert [job.kind for job in work.open_jobs(workspace.store)] == ["rescore"]
    assert not versions.publish(workspace.store, second, attempt=99)
    assert "unpinned" in said(run("unpin"))
    assert not workspace.project.pinned
    assert "no version is pinned" in said(run("unpin"))


def test_rollback_refuses_a_version_of_other_keypoints(run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = SimpleNamespace(skeleton=SimpleNamespace(keypoints=("nose",)))
    monkeypatch.setattr("ml_backend.pose.weights.read_manifest", lambda folder: manifest)
    result = run("rollback", "px-1")
    assert result.exit_code == 1
    assert "px-1 was trained before the keypoints changed" in " ".join(result.stderr.split())
    assert not workspace.project.pinned


def test_a_learning_rate_is_suggested_and_no_training_asked_for(
    run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_backend.pose.lr_finder import RangeTest

    found = RangeTest(np.array([1e-5, 1e-3, 0.1]), np.array([3.0, 2.0, 9.0]), 1e-3)
    monkeypatch.setattr("ml_backend.jobs.learning_rate.range_test", lambda workspace: found)
    assert run("train", "--find-lr").output.startswith("train.lr: 0.001 is where the loss falls fastest (3 rates from")
    assert not workspace.project.train_requested


def test_train_push_rescore_and_resume(run: Run, workspace: Workspace) -> None:
    store, project = workspace.store, workspace.store.project_id
    said(run("train"))
    assert workspace.project.train_requested
    projects.change(store.of_project(project), pushed_at=time.time())
    said(run("push"))
    assert (workspace.project.select_requested, workspace.project.pushed_at) == (True, None)
    said(run("rescore"))
    assert [job.kind for job in work.open_jobs(store)] == ["rescore"]
    assert "had not stopped" in said(run("resume"))
    projects.change(store.of_project(project), halted="many labels went away")
    presence.tell(store.of_project(project), "many labels went away", level=EventLevel.ERROR, key="labels lost")
    assert "training has stopped: many labels" in said(run("train"))
    assert "training goes on" in said(run("resume"))
    assert workspace.project.halted is None
    assert presence.list_events(store.of_project(project)) == []


def test_rescore_scores_anew_what_was_scored(run: Run, workspace: Workspace) -> None:
    store, live = workspace.store, workspace.project.live_version_id
    assert live is not None
    work.add_shards(
        store.of_project(workspace.store.project_id), live, 0, [{"sequence": "s", "frame_ids": [1], "halo_ids": [[], []]}]
    )
    shard = work.claim_shard(store, live, 0, "w")
    assert shard is not None
    work.close_shard(store, shard, path="shards/damaged.npz")
    said(run("rescore"))
    assert work.list_shards(store, live, 0) == []


def test_scores_are_listed(run: Run) -> None:
    from ml_backend.acquisition.score_registry import SCORES

    shown = {line.split()[0] for line in run("scores", "list").stdout.splitlines()[1:] if line[:1].strip()}
    assert shown >= set(SCORES)


def test_a_place_in_the_order_is_explained(run: Run, workspace: Workspace) -> None:
    assert "task 103 in px-1.1: place 4, score 0.6000 (0 is next): because" in said(run("scores", "explain", "103"))
    for task, words in (("105", "not in the current order px-1.1"), ("999", "not known")):
        result = run("scores", "explain", task)
        assert result.exit_code == 1
        assert words in result.stderr


def snapshot(workspace: Workspace) -> Snapshot:
    """Frame 0: all placed but the tail absent on the left and the paw filled by geometry; frame 1: the right view alone."""
    ids = frames.ids_by_key(workspace.store)
    keys = (FrameKey("s", 0), FrameKey("s", 1))
    xy = np.stack([pose_of(0).xy_px, pose_of(1).xy_px])
    state = np.full((2, len(VIEWS), len(KEYPOINTS)), PointState.VISIBLE, dtype=np.int64)
    provenance = np.full(state.shape, Provenance.PLACED, dtype=np.int64)
    state[0, 0, 1], xy[0, 0, 1] = PointState.ABSENT, np.nan
    provenance[0, 0, 2] = Provenance.GEOMETRY
    state[1, 0], xy[1, 0] = PointState.UNLABELLED, np.nan
    return Snapshot(
        frame_ids=np.array([ids[key] for key in keys]),
        keys=keys,
        split=np.array(["train", "train"]),
        annotations=((500, "t"), (501, "t")),
        xy_px=xy,
        state=state,
        provenance=provenance,
        xyz_world=np.full((2, len(KEYPOINTS), 3), np.nan),
        pseudo_ids=np.zeros(0, dtype=np.int64),
        pseudo_xy_px=np.zeros((0, *xy.shape[1:])),
        pseudo_weight=np.zeros(0),
        box_px=np.full((2, len(VIEWS), 4), np.nan),
        pseudo_box_px=np.zeros((0, len(VIEWS), 4)),
    )


def test_export_writes_what_people_said(run: Run, workspace: Workspace, tmp_path: Path) -> None:
    result = run("export", "coco", str(tmp_path / "labels.json"))
    assert result.exit_code == 1
    assert "no snapshot yet" in result.stderr
    taken = snapshot(workspace)
    path, _ = workspace.arrays.save("snapshots", taken.to_arrays())
    versions.save_snapshot(workspace.store, sha256=taken.sha256, path=path, n_frames=2)
    said(run("export", "coco", str(tmp_path / "labels.json")))
    found = {(label.key, label.view): label for label in read_coco(tmp_path / "labels.json").labels}
    assert len(found) == 3
    left = found[FrameKey("s", 0), "left"]
    assert left.state.tolist() == [PointState.VISIBLE, PointState.ABSENT, PointState.UNLABELLED]
    assert found[FrameKey("s", 1), "right"].xy_px == pytest.approx(pose_of(1).xy_px[1])
    said(run("export", "dlc", str(tmp_path / "dlc")))
    # What was written is understood by the same project.
    for file in ("labels.json", "dlc"):
        understood = said(run("import", str(tmp_path / file), "--dry-run"))
        assert f"{file}: labels of 2 frames of the project" in understood
        assert "dry run: nothing was changed" in understood
    (table,) = (tmp_path / "dlc" / "labeled-data" / "right").glob("*.csv")
    assert table.name == "CollectedData_parallax.csv"
    right = read_dlc(table)
    assert [label.key.index for label in right.labels if label.key] == [0, 1]
    assert right.labels[0].xy_px == pytest.approx(pose_of(0).xy_px[1])
    said(run("export", "lightning-pose", str(tmp_path / "lp")))
    assert sorted(file.name for file in (tmp_path / "lp").iterdir()) == ["left.csv", "right.csv"]
    result = run("export", "coco", str(tmp_path / "labels.json"))
    assert result.exit_code == 1
    assert "exists already" in result.stderr


def test_advice_rests_on_random_picks_alone(workspace: Workspace) -> None:
    from ml_backend.evaluation.stop_advice import stop_advice

    record = {"task_id": "s/3", "round": 0, "model_id": "px-1", "final": None, "components": [], "kind": "random"}
    picks = generations.list_picks(workspace.store, 1)
    order = [type(pick)(**{**vars(pick), "record": record if pick.rank == 3 else None}) for pick in picks]
    later = generations.add(workspace.store, workspace.project.live_version_id, order)
    generations.switch(workspace.store, later.number)
    label(workspace, 0, moved_px=100.0)
    assert stop_advice(workspace).frames == 0
    label(workspace, 3, moved_px=0.0)
    advice = stop_advice(workspace)
    assert (advice.frames, advice.figure) == (1, 1.0)


@pytest.mark.parametrize("command", [("init",), ("leave",), ("sync", "--once"), ("up",)])
def test_commands_that_call_label_studio_ask_for_a_token(run: Run, workspace: Workspace, command: tuple[str, ...]) -> None:
    result = run(*command)
    assert result.exit_code == 1
    assert "LABEL_STUDIO_API_KEY" in result.stderr


def test_label_studio_that_does_not_answer_is_one_line(run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a" * 40)
    result = run("leave", "--dry-run")
    assert result.exit_code == 1
    assert "did not answer" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_spec(tmp_path, store="sqlite:///file/below/project.sqlite3")
    result = run("restore", str(tmp_path / "file"))
    assert result.exit_code == 1
    assert "may this user read and write there" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_no_fix_is_cut_off_in_80_columns(run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from plugins.label_studio_sync.finding import Finding

    fix = "set ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false in Label Studio's environment, then restart it"
    seen = "the project has no ML backend with this address, and none answers at any other address that was tried"
    monkeypatch.setattr(
        "plugins.label_studio_sync.hop_checks.examine", lambda spec: [Finding("backend entry", "warning", seen, fix)]
    )
    monkeypatch.setenv("COLUMNS", "80")
    result = run("doctor")
    assert f"warning backend entry {seen} → {fix}" in said(result)
    assert max(map(len, result.stdout.splitlines())) <= 80
    presence.tell(workspace.store, f"{seen}: {fix}")
    text = said(run("status"))
    assert fix in text


def test_doctor_names_the_fix_and_fails(run: Run, workspace: Workspace) -> None:
    result = run("doctor")
    assert result.exit_code == 1
    assert "set LABEL_STUDIO_API_KEY" in result.stdout


def test_serve_and_workers_say_what_they_need(run: Run, workspace: Workspace) -> None:
    for command, words in (
        (("serve",), "no secret"),
        (("worker", "--queues", "infer"), "PARALLAX_REDIS_URL"),
        (("worker", "--queues", "predict"), "expected infer, train"),
    ):
        result = run(*command)
        assert result.exit_code == 1
        assert words in result.stderr


def test_alive_is_about_this_machine(run: Run, workspace: Workspace) -> None:
    import socket

    assert run("alive", "infer").exit_code == 1
    presence.beat(workspace.store, "infer@elsewhere:1")
    assert run("alive", "infer").exit_code == 1
    presence.beat(workspace.store, f"infer@{socket.gethostname()}:1")
    assert re.search(r"heard of \d+ s ago", said(run("alive", "infer")))
    assert run("alive", "train").exit_code == 1


def test_check_labels_lists_what_contradicts_with_its_task_and_writes_it(
    run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "nothing contradicts an annotated point" in said(run("check-labels"))
    entry = LabelProblem((100, 200), FrameKey("s", 4), "nose", "left", 41.26, "2 cameras see it at 3, 4")
    monkeypatch.setattr("ml_backend.project.label_problems.label_problems", lambda workspace: [entry])
    shown = said(run("check-labels", "--to", str(tmp_path / "problems.csv")))
    assert re.search(r"100, 200\s+\S*s\S*4\S*\s+left\s+nose\s+41\.3 px\s+2 cameras", shown)
    assert "1 in all, 1 shown" in shown
    written = (tmp_path / "problems.csv").read_text(encoding="utf-8").splitlines()
    assert written[1] == '100 200,s,4,left,nose,41.26,px,"2 cameras see it at 3, 4"'

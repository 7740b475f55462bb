"""The demo: a Label Studio, a project, the loop under ``parallax up``, and an oracle who labels round after round."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml
from rich.console import Console

from label_config.settings.recording_settings import RecordingSettings as RecordingSpec
from label_config.settings.skeleton_files import skeleton_to_mapping
from label_config.settings.spec import load_spec
from label_config.values import ParallaxError
from ml_backend.recordings import open_recording
from ml_backend.store import presence, versions
from ml_backend.store.statuses import WorkStatus
from ml_backend.store.workspace import Workspace
from plugins.cli.processes.ports import free_port
from plugins.demo.annotator_session import Annotator
from plugins.demo.demo_recordings import DemoRecording
from plugins.demo.held_out_error import HeldOut, PseudoError, held_out_error, pseudo_error, random_arm
from plugins.demo.memory import PeakMemory
from plugins.demo.oracle import Oracle
from plugins.demo.platform import Platform
from plugins.demo.queue_check import QueueCheck
from plugins.demo.several_figures import project_of_tasks, settings_of
from plugins.demo.subject_figures import SubjectFigures, subject_figures
from plugins.label_studio_sync import adoption_plan, set_up
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.webhook_and_backend import connect

#: Rounds after the first, and frames labelled in each; of a small recording fewer.
ROUNDS, BATCH, SMALL_BATCH = 4, 16, 6
SMALL_POOL = 100
ROUND_TIMEOUT_S = 300.0
#: Somebody is waiting: fewer steps than a project takes whose people label meanwhile.
QUICK = {"steps_first": 900, "steps_round": 700}


@dataclass
class RoundRow:
    """One line of the table."""

    round: int
    labels: int
    version: str
    error: HeldOut
    shown: int
    untouched: int
    pseudo: PseudoError
    subjects: SubjectFigures | None = None
    random: HeldOut | None = None


@dataclass
class Demo:
    """Everything that the demo started, and what it saw."""

    folder: Path
    source: DemoRecording
    seed: int
    console: Console
    platform: Platform
    up: subprocess.Popen[bytes] | None = None
    workspace: Workspace | None = None
    client: Client | None = None
    rows: list[RoundRow] = field(default_factory=list)
    check: QueueCheck | None = None
    memory: PeakMemory | None = None
    batch: int = BATCH
    rounds: int = ROUNDS

    def run(self) -> None:
        """Set up, then label round after round."""
        self._start_platform()
        workspace, client = self._init()
        self._start_loop(workspace)
        oracle = self._oracle(client)
        project = workspace.project.ls_project_id
        self.check = QueueCheck(workspace)
        sizes = {view: ref.size_px for view, ref in self.source.held_out[0].images.items() if ref.size_px is not None}
        served = self._wait_for_version(client, project, "")
        for round_ in range(self.rounds + 1):
            if not self._label(oracle, project, sizes, served, delete=round_ == 1):
                self.console.print("every task of the recording is labelled")
                break
            served = self._wait_for_version(client, project, served)
            self._measure(round_, oracle)

    def _start_platform(self) -> None:
        with self.console.status("Label Studio starts"):
            self.platform.start()
        self.console.print(f"Label Studio   {self.platform.url}   {self.platform.email}   {self.platform.password}")

    def _init(self) -> tuple[Workspace, Client]:
        port = free_port()
        entry = RecordingSpec.model_validate(self.source.entry)
        self.batch = BATCH if len(open_recording(entry).frames) > SMALL_POOL else SMALL_BATCH
        config = {
            "schema_version": 1,
            "label_studio": {"url": self.platform.url, "title": f"Parallax demo: {self.source.title}"},
            "backend": {"url": f"http://127.0.0.1:{port}", "port": port},
            "documents_root": str(self.platform.documents),
            "skeleton": skeleton_to_mapping(self.source.skeleton),
            "views": list(self.source.views),
            "recordings": [self.source.entry],
            "train": {"min_new_frames": self.batch, "max_wait_minutes": 2, "seed": self.seed, **QUICK},
            "selection": {"window": 100},
            "validation": {"block_frames": 10, "guard_frames": 2},
            "sync": {"tick_seconds": 5},
        }
        os.environ["LABEL_STUDIO_API_KEY"] = self.platform.token
        os.environ["PARALLAX_SECRET"] = self.platform.token[::-1]
        if self.source.tasks:
            client = Client(self.platform.url, self.platform.token)
            config |= settings_of(self.source)
            config["label_studio"] |= {"project": project_of_tasks(client, self.source)}  # type: ignore[operator]
        path = self.folder / "parallax.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        spec = load_spec(path)
        self.client = Client(spec.label_studio.url, self.platform.token)
        plan = adoption_plan.understand(spec, self.client)
        for line in (*plan.lines, *(f"will {change}" for change in plan.changes)):
            self.console.print(f"  {line}", style="dim")
        self.workspace = set_up.carry_out(plan, os.environ["PARALLAX_SECRET"])
        config["label_studio"] |= {"project": self.workspace.project.ls_project_id}  # type: ignore[operator]
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return self.workspace, self.client

    def _start_loop(self, workspace: Workspace) -> None:
        command = [sys.executable, "-m", "plugins.cli.main", "--config", str(self.folder / "parallax.yaml"), "up"]
        with (self.folder / "parallax.log").open("wb") as log:
            self.up = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.memory = PeakMemory(self.up.pid)
        deadline = time.monotonic() + 60
        with self.console.status("backend, workers and sync start"):
            while time.monotonic() < deadline and not self._backend_answers(workspace):
                self._check_alive()
                time.sleep(0.3)
        if self.client is not None:
            connect(workspace, self.client, os.environ["PARALLAX_SECRET"])

    def _backend_answers(self, workspace: Workspace) -> bool:
        try:
            return httpx.get(f"{workspace.spec.backend.url}/health", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def _check_alive(self) -> None:
        if self.up is not None and self.up.poll() is not None:
            tail = (self.folder / "parallax.log").read_text(errors="replace")[-3000:]
            raise ParallaxError(f"`parallax up` stopped with status {self.up.returncode}; the end of its log:\n{tail}")

    def _oracle(self, client: Client) -> Oracle:
        annotator = Annotator(self.platform.url, f"oracle{self.seed}@parallax.test", "oracle-password-1")
        annotator.sign_up(str(client.call("GET", "api/invite")["token"]))
        return Oracle(annotator, self.source, self.seed)

    def _wait_for_version(self, client: Client, project: int, last: str) -> str:
        """Until annotators are served an order of another model than ``last``; its name."""
        deadline = time.monotonic() + ROUND_TIMEOUT_S
        with self.console.status("training, scoring the pool, choosing what to label next") as status:
            while time.monotonic() < deadline:
                self._check_alive()
                name = str(client.project(project).get("model_version") or "")
                if name.startswith("px-") and name.split(".")[0] != last.split(".")[0]:
                    return name
                status.update(self._progress())
                time.sleep(0.5)
        events = [event.text for event in presence.list_events(self._ws.store, 5)] if self.workspace else []
        raise ParallaxError(f"no new order within {ROUND_TIMEOUT_S:.0f} s; last events: {events}")

    @property
    def _ws(self) -> Workspace:
        assert self.workspace is not None
        return self.workspace

    def _progress(self) -> str:
        from ml_backend.store import work

        for job in work.list_jobs(self._ws.store, 3):
            if job.status is WorkStatus.RUNNING and job.progress:
                p = job.progress
                steps = f" {p['step']}/{p['steps']}" if "steps" in p else ""
                loss = f", loss {p['loss']:.4f}, {p['eta_s']:.0f} s left" if "loss" in p else ""
                return f"{job.kind}: {p.get('stage', '')}{steps}{loss}"
        return "waiting for the next tick"

    def _label(self, oracle: Oracle, project: int, sizes: dict[str, tuple[int, int]], version: str, *, delete: bool) -> bool:
        assert self.check is not None
        before = len(oracle.submitted)
        if delete and oracle.submitted:
            self.check.gone.discard(oracle.delete_one())
            before -= 1
        with self.console.status("the oracle labels") as status:
            while len(oracle.submitted) - before < self.batch:
                if not oracle.label_next(project, sizes):
                    return False
                self.check.note(version, oracle.served[-1])
                status.update(f"the oracle labels: {len(oracle.submitted) - before} of {self.batch}")
        return True

    def _measure(self, round_: int, oracle: Oracle) -> None:
        workspace = self._ws
        live = versions.live(workspace.store)
        assert live is not None
        done = [row for row in oracle.served if "moved" in row][-self.batch :]
        row = RoundRow(
            round=round_,
            labels=len(oracle.submitted),
            version=f"px-{live.number}",
            error=held_out_error(self.source, workspace.models / live.path),
            shown=sum(item["moved"] + item["kept"] for item in done),
            untouched=sum(item["kept"] for item in done),
            pseudo=pseudo_error(workspace, self.source, live),
            subjects=subject_figures(workspace, self.source, live) if self.source.truth.subjects > 1 else None,
        )
        self.rows.append(row)
        world = f", {row.error.world:.4g} {row.error.unit}" if row.error.world == row.error.world else ""
        self.console.print(f"round {round_}: {row.labels} labels, {row.version}, held-out error {row.error.px:.2f} px{world}")

    def compare_with_random(self) -> None:
        """Train the same recipe on as many random frames."""
        workspace = self._ws
        pool = open_recording(workspace.spec.recordings[0]).frames
        budgets = [row.labels for row in self.rows]
        with self.console.status("the same budget in random order, for comparison"):
            errors = random_arm(workspace, self.source, pool, budgets, self.folder / "random", self.seed)
        for row, error in zip(self.rows, errors, strict=True):
            row.random = error

    def stop(self) -> None:
        """Stop what was started here, and only that."""
        if self.up is not None and self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
            try:
                self.up.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(self.up.pid, signal.SIGKILL)
        self.platform.stop()


def prepare(folder: Path) -> None:
    """An empty folder for this run; what an earlier one left there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

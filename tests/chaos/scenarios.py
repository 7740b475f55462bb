"""What may go wrong, by name; each scenario breaks one loop of its own and says what must hold afterwards."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import redis

from ml_backend.store import generations, projects, versions
from tests.chaos.harness import BATCH, RECOVERY_S, Loop, wait_until
from tests.chaos.invariants import check_invariants, check_recoveries, checkpoint_step


@dataclass(frozen=True)
class Scenario:
    """``quick`` ones run in every test run; ``own_platform`` ones break Label Studio and therefore get one of their own."""

    run: Callable[[Loop], None]
    quick: bool = False
    own_platform: bool = False
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)


SCENARIOS: dict[str, Scenario] = {}


def scenario(**options: Any) -> Callable[[Callable[[Loop], None]], Callable[[Loop], None]]:
    """Register a function under its own name, in words."""

    def register(run: Callable[[Loop], None]) -> Callable[[Loop], None]:
        SCENARIOS[run.__name__.replace("_", " ")] = Scenario(run, **options)
        return run

    return register


# --- kill -9 ---------------------------------------------------------------------------------------------------------

#: Where each process dies, once.  The first three cover most and run in every test run.
KILLS: tuple[dict[str, str], ...] = (
    {"worker": "training:2", "sync": "served"},
    {"worker": "published", "sync": "chunk:2"},
    {"worker": "write snapshots", "sync": "cleaning:3"},
    {"worker": "taken:2", "sync": "pulled:3"},
    {"worker": "retrain claimed", "sync": "tasks imported"},
    {"worker": "snapshot taken", "sync": "tasks imported:3"},
    {"worker": "training:1", "sync": "chunk:1"},
    {"worker": "training:5", "sync": "imported"},
    {"worker": "write checkpoint.safetensors:1", "sync": "imported:2"},
    {"worker": "write checkpoint.safetensors:3", "sync": "switched"},
    {"worker": "write weights.safetensors", "sync": "served:2"},
    {"worker": "write manifest.json", "sync": "chunk:5"},
    {"worker": "trained", "sync": "chunk:6"},
    {"worker": "version noted", "sync": "marked:4"},
    {"worker": "published:2", "sync": "cleaning"},
    {"worker": "retrain done", "sync": "tasks:2"},
    {"worker": "rescore claimed", "sync": "switched:2"},
    {"worker": "shard scored", "sync": "served:3"},
    {"worker": "rescore done", "sync": "cleaning:6"},
    {"worker": "order noted", "sync": "tasks"},
    {"worker": "select done:2", "sync": "imported:3"},
    {"worker": "select claimed", "sync": "pulled"},
)
QUICK_KILLS = 3


def _killed(plan: dict[str, str]) -> Callable[[Loop], None]:
    def two_rounds(loop: Loop) -> None:
        for name in ("serve", "worker", "sync"):
            loop.start(name, plan.get(name))
        loop.two_rounds()
        loop.until("everything has died and recovered", lambda: len(loop.recoveries) == len(plan))
        loop.until("nothing is left to do", loop.is_quiet)
        check_recoveries(loop, dict.fromkeys(plan, 1))
        check_invariants(loop)

    return two_rounds


for _i, _plan in enumerate(KILLS):
    _words = ", ".join(f"{process} killed at {place}" for process, place in _plan.items())
    SCENARIOS[_words] = Scenario(_killed(_plan), quick=_i < QUICK_KILLS)


@scenario()
def training_goes_on_from_its_checkpoint(loop: Loop) -> None:
    """At most one interval between checkpoints (0.5 s) is done again."""
    loop.start("sync")
    loop.start("worker", "training:5")  # step 100 of 120
    loop.until("the first order is served", lambda: loop.serves_model(0))
    loop.label(BATCH)
    wait_until("the worker is dead", loop.processes["worker"].look, 120, loop.describe)
    died = loop.processes["worker"].deaths[0][0]
    saved_at = max(path.stat().st_mtime for path in loop.workspace.models.glob("*/checkpoint.safetensors"))
    kept = checkpoint_step(loop.workspace.models)
    assert kept is not None
    assert 0 < kept <= 100
    assert died - saved_at < 0.5 + 2.0, "the checkpoint is older than the interval (2 s for a slow machine)"
    loop.start("worker")
    seen = set()

    def trained() -> bool:
        step = checkpoint_step(loop.workspace.models)
        if step is not None:
            seen.add(step)
        return loop.serves_model(1)

    loop.until("the order of the first model is served", trained)
    assert min(seen) >= kept, f"training began again before step {kept}: checkpoints at {sorted(seen)}"
    loop.until("nothing is left to do", loop.is_quiet)
    check_invariants(loop)


# --- several processes, pauses ---------------------------------------------------------------------------------------


@scenario()
def of_two_sync_processes_one_acts(loop: Loop) -> None:
    """The other one says so once, and takes over when the first is killed in the middle of a push."""
    loop.start("sync", "chunk:5")
    loop.until("the first one leads", lambda: loop.leader() == loop.owner("sync"))
    loop.start("standby")
    loop.start("worker")
    loop.until("the first order is served", lambda: loop.serves_model(0))
    assert loop.processes["standby"].log.read_text().splitlines() == ["another sync process leads"]
    loop.label(BATCH)
    # Not revived: the other one has to take over.
    wait_until("the first one is dead", lambda: loop.processes["sync"].look(), 240, loop.describe)
    died = time.monotonic()
    loop.until("the other one leads", lambda: loop.leader() == loop.owner("standby"))
    assert time.monotonic() - died <= RECOVERY_S
    loop.until("the order of the first model is served", lambda: loop.serves_model(1))
    loop.until("nothing is left to do", loop.is_quiet)
    check_invariants(loop)


@scenario()
def a_paused_sync_does_no_harm_when_it_wakes(loop: Loop) -> None:
    """It stops in the middle of a push; another one takes over and finishes; then the first goes on."""
    loop.start("worker")
    loop.start("sync", "chunk:6:STOP")
    loop.until("the first order is served", lambda: loop.serves_model(0))
    loop.label(BATCH)
    loop.until("sync is paused", lambda: loop.is_paused("sync"))
    loop.start("standby")
    loop.until("the order of the first model is served", lambda: loop.serves_model(1))
    before = loop.served()
    loop.wake("sync")
    loop.until("it has noticed", lambda: "another sync process took over" in loop.processes["sync"].log.read_text())
    assert loop.served() == before
    loop.until("nothing is left to do", loop.is_quiet)
    check_invariants(loop)


@scenario(quick=True)
def a_paused_worker_publishes_nothing_when_it_wakes(loop: Loop) -> None:
    """Its model is trained; another worker takes the job over and publishes; the first one's publish is refused."""
    loop.start("sync")
    loop.start("worker", "version noted:1:STOP")
    loop.until("the first order is served", lambda: loop.serves_model(0))
    loop.label(BATCH)
    loop.until("the worker is paused", lambda: loop.is_paused("worker"))
    loop.start("spare")
    loop.until("the order of the first model is served", lambda: loop.serves_model(1))
    published = loop.workspace.project
    loop.wake("worker")
    loop.until("it was refused", lambda: any("was not published" in text for text in loop.events()))
    after = loop.workspace.project
    assert (after.live_version_id, after.live_attempt) == (published.live_version_id, published.live_attempt)
    assert [row.status for row in versions.list_versions(loop.workspace.store)] == ["published"]
    loop.until("nothing is left to do", loop.is_quiet)
    check_invariants(loop)


# --- Redis, webhook --------------------------------------------------------------------------------------------------


@scenario(quick=True)
def redis_loses_everything_while_a_model_trains(loop: Loop) -> None:
    """``SHUTDOWN NOSAVE`` in the middle of a training; later the queue is emptied under a job that waits in it."""
    loop.start("sync")
    loop.start("worker", "training:3:STOP")
    loop.until("the first order is served", lambda: loop.serves_model(0))
    loop.label(BATCH)
    loop.until("training stands half-way", lambda: loop.is_paused("worker"))
    loop.redis.shut_down()
    loop.wake("worker")
    loop.until("the model is live", lambda: loop.workspace.project.live_version_id is not None)
    loop.redis.start()
    back = time.monotonic()
    loop.until("its rescan is taken up", lambda: any(job.tries for job in loop.jobs("rescore")))
    assert time.monotonic() - back <= RECOVERY_S
    loop.until("the order of the first model is served", lambda: loop.serves_model(1))
    loop.until("nothing is left to do", loop.is_quiet)
    assert len(versions.list_versions(loop.workspace.store)) == 1
    loop.pause("worker")
    loop.label(BATCH)
    loop.until("a training waits", lambda: any(job.status == "pending" for job in loop.jobs("retrain")))
    with redis.Redis(port=loop.redis.port) as client:
        loop.until("its message waits", lambda: client.llen("rq:queue:train"))
        client.flushall()
    loop.wake("worker")
    woken = time.monotonic()
    loop.until("it is taken up", lambda: loop.jobs("retrain")[-1].tries)
    assert time.monotonic() - woken <= RECOVERY_S
    loop.until("the order of the second model is served", lambda: loop.serves_model(2))
    loop.until("nothing is left to do", loop.is_quiet)
    check_invariants(loop)


@scenario(quick=True)
def without_a_webhook_labels_are_found_within_a_minute(loop: Loop) -> None:
    """Nobody listens at the webhook's address, and sync ticks as seldom as it does by default."""
    loop.start("sync")
    loop.start("worker")
    loop.until("the first order is served", lambda: loop.serves_model(0))
    loop.end("sync")
    loop.change(sync={"tick_seconds": 30})
    loop.start("sync")
    loop.until("sync has looked", lambda: loop.leader() == loop.owner("sync"))
    loop.label(BATCH)
    labelled = time.monotonic()
    loop.until("a training is asked for", lambda: loop.jobs("retrain"))
    assert time.monotonic() - labelled <= 60.0


@scenario()
def a_storm_of_webhooks_ends_in_one_training(loop: Loop) -> None:
    """Every event a hundred times, in any order, ten at a time: while it lasts every model is served before the next one is
    trained, and what is left of it is one training."""
    for name in ("serve", "worker", "sync"):
        loop.start(name)
    loop.until("the backend answers", loop.backend_answers)
    loop.until("the first order is served", lambda: loop.serves_model(0))
    loop.label(BATCH)
    project = {"id": loop.number}
    events = [{"action": "ANNOTATION_CREATED", "project": project, "annotation": {"id": n}} for n in loop.submitted]
    events += [{"action": "ANNOTATION_UPDATED", "project": project}, {"action": "START_TRAINING", "project": project}]
    storm = events * 100
    random.Random(0).shuffle(storm)
    started = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(lambda body: loop.rings(body).status_code, storm))
    assert set(codes) == {202}
    print(f"{len(storm)} events in {time.monotonic() - started:.1f} s")
    begun = len(loop.jobs("retrain"))
    loop.until("no training is asked for", lambda: not loop.workspace.project.train_requested and loop.is_quiet())
    trained = len(loop.jobs("retrain"))
    assert max(begun, 1) <= trained <= begun + 1
    assert loop.serves_model(trained)
    orders = generations.list_generations(loop.workspace.store)
    assert len({row.version_id for row in orders if row.version_id and row.switched_at}) == trained, "one was never served"
    check_invariants(loop)


# --- Label Studio, disk, config --------------------------------------------------------------------------------------


@scenario(own_platform=True, settings={"selection": {"window": 30}, "sync": {"chunk": 3}})
def label_studio_restarts_during_a_push(loop: Loop) -> None:
    """Away in the middle of a push, back later at the same address."""
    loop.start("worker")
    loop.start("sync", "chunk:3:STOP")
    loop.until("sync is paused", lambda: loop.is_paused("sync"))
    loop.platform.stop()
    loop.wake("sync")
    loop.until("sync says that Label Studio is away", lambda: any("did not answer" in text for text in loop.events()))
    loop.platform.start()
    loop.annotator.log_in()
    loop.until("the first order is served", lambda: loop.serves_model(0))
    loop.label(BATCH)
    loop.until("the order of the first model is served", lambda: loop.serves_model(1))
    loop.until("nothing is left to do", loop.is_quiet)
    assert not any("did not answer" in text for text in loop.events()), "the complaint is over"
    check_invariants(loop)


@scenario(settings={"train": {"network_args": {"width": 48, "decoder": 144}}})  # larger than the database and its log
def a_full_disk_leaves_the_old_model_in_service(loop: Loop) -> None:
    """No file may grow to the size of a model: training fails with a clear message; with room again it works."""
    loop.start("sync")
    loop.start("worker")
    loop.until("the first order is served", lambda: loop.serves_model(0))
    loop.label(BATCH)
    loop.until("the order of the first model is served", lambda: loop.serves_model(1))
    loop.until("nothing is left to do", loop.is_quiet)
    live = loop.workspace.project.live_version_id
    weights = min(path.stat().st_size for path in loop.workspace.models.glob("*/weights.safetensors"))
    worker = loop.processes["worker"].popen
    assert worker is not None
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (weights - 1, resource.RLIM_INFINITY))
    loop.label(BATCH)
    wait_until("the training is given up", lambda: loop.jobs("retrain")[-1].status == "failed", 240, loop.describe)
    error = loop.jobs("retrain")[-1].error or ""
    assert "too large" in error.lower(), error
    assert any("retrain failed" in text for text in loop.events())
    assert loop.workspace.project.live_version_id == live
    assert loop.served().startswith("px-1.")
    assert not list(loop.workspace.models.glob("*/.*")), "half a file was left behind"
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    loop.label(BATCH)
    loop.may_fail = True
    loop.until("the order of the second model is served", lambda: loop.serves_model(2))
    loop.until("nothing is left to do", loop.is_quiet)
    check_invariants(loop)


@scenario()
def the_labelling_config_changes_on_the_way(loop: Loop) -> None:
    """A keypoint is renamed: everything stands still with a message; renamed back, it goes on.  One more label does no harm."""
    loop.start("sync")
    loop.start("worker", "training:3:STOP")
    loop.until("the first order is served", lambda: loop.serves_model(0))
    config = loop.client.project(loop.number)["label_config"]
    name = loop.studio.skeleton.keypoints[-1]
    loop.client.change_project(loop.number, label_config=config.replace(f'value="{name}"', 'value="renamed"'))
    projects.change(loop.workspace.store, pull_requested=True)
    loop.until("it is said", lambda: any("no longer fits" in text and name in text for text in loop.events()))
    loop.client.change_project(loop.number, label_config=config)
    loop.label(BATCH)
    loop.until("training stands half-way", lambda: loop.is_paused("worker"))
    more = config.replace(f'<Label value="{name}"', f'<Label value="one more" background="#000000"/><Label value="{name}"')
    assert more != config
    loop.client.change_project(loop.number, label_config=more)
    loop.wake("worker")
    loop.until("the order of the first model is served", lambda: loop.serves_model(1))
    loop.label(BATCH)
    loop.until("the order of the second model is served", lambda: loop.serves_model(2))
    loop.until("nothing is left to do", loop.is_quiet)
    assert not any("no longer fits" in text for text in loop.events())
    check_invariants(loop)

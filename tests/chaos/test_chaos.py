"""Real processes are killed, paused and deprived; the loop recovers, and nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from plugins.demo.platform import Platform
from tests.chaos.conftest import MakeLoop
from tests.chaos.scenarios import SCENARIOS
from tests.label_studio import fresh_platform

pytestmark = [pytest.mark.chaos, pytest.mark.ls, pytest.mark.redis]

PARAMETERS = [pytest.param(name, marks=[] if it.quick else [pytest.mark.slow], id=name) for name, it in SCENARIOS.items()]


@pytest.mark.timeout(1800)  # a scenario may have to wait for its turn
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_loop_recovers(
    name: str,
    request: pytest.FixtureRequest,
    make_loop: MakeLoop,
    together: Callable[[str, Callable[[], None]], Future[None]],
    platform: Platform,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def run(chosen: str) -> None:
        it = SCENARIOS[chosen]
        server = platform
        if it.own_platform:
            server = fresh_platform(platform.program, tmp_path_factory.mktemp("own-label-studio"))
            server.start()
        try:
            with make_loop(chosen, server, **it.settings) as loop:
                it.run(loop)
        finally:
            if it.own_platform:
                server.stop()

    def start(chosen: str) -> Future[None]:
        return together(chosen, lambda: run(chosen))

    # All scenarios of this run start together, a few at a time; each test then waits for its own.
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    for test in (test for test in tests if test.originalname == request.function.__name__):
        start(str(test.callspec.params["name"]))
    start(name).result()

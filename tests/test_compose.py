"""docker-compose.yml as docker-compose itself reads it, and the script that makes the databases."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from label_config.settings.spec import load_spec

ROOT = Path(__file__).resolve().parents[1]
SECRETS = [line.removesuffix("=") for line in (ROOT / ".env.example").read_text().splitlines() if re.fullmatch(r"[A-Z_]+=", line)]
SECRETS.remove("TORCH_INDEX")
OURS = {"cpu": ["backend", "sync", "infer", "train"], "gpu": ["backend", "sync", "infer-gpu", "train-gpu"]}
SHARED = {"postgres", "redis", "folders", "label-studio"}


def compose(*arguments: str, missing: str | None = None) -> subprocess.CompletedProcess[str]:
    """``docker-compose`` with .env.example and a value for each of its secrets."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    environment = {**os.environ, **{name: f"{name.lower()}-value" for name in SECRETS}}
    if missing is not None:
        del environment[missing]
    command = [program, "--env-file", str(ROOT / ".env.example"), "-f", str(ROOT / "docker-compose.yml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


@cache
def services(profile: str) -> dict[str, Any]:
    """The services of one profile."""
    run = compose("--profile", profile, "config")
    assert run.returncode == 0, run.stderr
    every = yaml.safe_load(run.stdout)["services"]
    return {name: service for name, service in every.items() if profile in service.get("profiles", [profile])}


@pytest.mark.parametrize("profile", OURS)
def test_a_profile_has_its_services_and_docker_compose_takes_it(profile: str) -> None:
    found = services(profile)
    assert found.keys() == SHARED | set(OURS[profile])
    for name in found.keys() - {"folders"}:
        assert found[name]["healthcheck"]["test"], name
        assert found[name]["restart"] == "unless-stopped", name
    for name in OURS[profile]:
        service = found[name]
        # docker-compose prints a dollar that it has resolved twice; one that is left over was not resolved
        assert "${" not in yaml.safe_dump(service)
        assert {"documents:/documents:rw", "parallax:/project/.parallax:rw"} <= set(service["volumes"])
        assert service["environment"]["PARALLAX_REDIS_URL"] == "redis://:redis_password-value@redis:6379/0"
        assert service["depends_on"]["label-studio"] == {"condition": "service_healthy"}
    roles = {name: found[name]["command"] for name in OURS[profile]}
    suffix = "-gpu" if profile == "gpu" else ""
    assert roles == {
        "backend": ["serve"],
        "sync": ["sync"],
        f"infer{suffix}": ["worker", "--queues", "infer"],
        f"train{suffix}": ["worker", "--queues", "train"],
    }


def test_only_the_gpu_profile_asks_for_a_gpu() -> None:
    for profile, wanted in (("cpu", set[str]()), ("gpu", {"infer-gpu", "train-gpu"})):
        assert {name for name, service in services(profile).items() if "deploy" in service} == wanted


def test_label_studio_reports_to_nobody_and_reaches_the_backend() -> None:
    found = services("cpu")["label-studio"]
    assert found["image"] == "heartexlabs/label-studio:1.23.2"
    settings = found["environment"]
    for name in ("ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED", "COLLECT_ANALYTICS", "LATEST_VERSION_CHECK"):
        assert settings[name] == "false"
    for name in ("SENTRY_DSN", "FRONTEND_SENTRY_DSN"):
        assert settings[name] == ""
    assert settings["LABEL_STUDIO_HOST"] == "http://localhost:8080"
    assert settings["LOCAL_FILES_DOCUMENT_ROOT"] == "/documents"
    assert "documents:/documents:rw" in found["volumes"]
    assert settings["LABEL_STUDIO_USER_TOKEN"] == "label_studio_api_key-value"


def test_neither_redis_nor_the_databases_are_published() -> None:
    found = services("cpu")
    assert {name for name, service in found.items() if "ports" in service} == {"label-studio", "backend"}
    assert found["backend"]["ports"] == ["127.0.0.1:9090:9090/tcp"]
    assert "redis_password-value" not in str(found["redis"]["command"])


def test_a_secret_that_is_missing_is_named() -> None:
    content = (ROOT / "docker-compose.yml").read_text()
    assert {name for name in SECRETS if f"${{{name}:?set it in .env}}" in content} == set(SECRETS)
    assert not re.findall(r"\$\{\w*(?:SECRET|PASSWORD|KEY)\w*(?::-|\})", content), "a secret with a default, or with none"
    run = compose("--profile", "cpu", "config", missing="REDIS_PASSWORD")
    assert run.returncode != 0
    assert "REDIS_PASSWORD" in run.stderr


def test_the_settings_for_the_containers_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PARALLAX_SECRET", "PARALLAX_REDIS_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    spec = load_spec(ROOT / "docker" / "parallax.yaml")
    assert spec.label_studio.url == "http://label-studio:8080"
    assert f"LABEL_STUDIO_HOST={spec.label_studio.public_url}" in (ROOT / ".env.example").read_text().splitlines()
    assert spec.backend.url == "http://backend:9090"
    assert spec.documents_root == "/documents"
    assert make_url(spec.store).password is None


def test_the_image_runs_without_root_and_copies_every_package() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER 1001:0" in lines
    assert lines.index("USER 1001:0") < lines.index('ENTRYPOINT ["parallax", "-c", "/project/parallax.yaml"]')
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    assert copied == {"constraints.txt", "pyproject.toml", "README.md", "label_config", "ml_backend", "plugins"}
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed


@pytest.mark.postgres
def test_each_has_a_database_that_the_other_cannot_open(postgres_url: str, tmp_path: Path) -> None:
    """The script as it is, with other role names: the test server has a role ``parallax`` already."""
    url = make_url(postgres_url)
    script = tmp_path / "init.sh"
    script.write_text((ROOT / "docker/postgres-init.sh").read_text().replace("\nmake ", "\nmake test_"))
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([*map(str, debian), os.environ["PATH"]]),
        "PGHOST": str(url.host),
        "PGPORT": str(url.port),
        "POSTGRES_USER": str(url.username),
        "LABEL_STUDIO_DB_PASSWORD": 'it\'s a "quoted" one',
        "PARALLAX_DB_PASSWORD": "b",
    }
    run = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for role, other in (("test_labelstudio", "test_parallax"), ("test_parallax", "test_labelstudio")):
        own = create_engine(url.set(username=role, database=role))
        with own.connect() as connection:
            connection.execute(text("CREATE TABLE mine (id int)"))
        own.dispose()
        foreign = create_engine(url.set(username=role, database=other))
        with pytest.raises(OperationalError, match="permission denied"), foreign.connect():
            pass
        foreign.dispose()

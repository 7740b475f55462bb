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
OF_OURS = {"label_studio_api_key", "redis_url", "parallax_db_password"}
#: Service → the secrets that it may read.
SECRETS = {
    "postgres": {"postgres_password", "label_studio_db_password", "parallax_db_password"},
    "redis": {"redis_password"},
    "folders": set[str](),
    "proxy": set[str](),
    "label-studio": {"label_studio_db_password", "label_studio_password", "label_studio_api_key"},
    **{name: {*OF_OURS, "parallax_secret"} for name in ("backend", "sync")},
    **dict.fromkeys(("infer", "train", "infer-gpu", "train-gpu"), OF_OURS),
}
#: Service → what it may do that an ordinary process may not.
CAPABILITIES = {"folders": ["CHOWN"], "proxy": ["NET_BIND_SERVICE"]}
OURS = {"cpu": ["backend", "sync", "infer", "train"], "gpu": ["backend", "sync", "infer-gpu", "train-gpu"]}
SHARED = {"postgres", "redis", "folders", "label-studio", "proxy"}


def compose(*arguments: str, env_file: Path = ROOT / ".env.example") -> subprocess.CompletedProcess[str]:
    """``docker-compose`` with .env.example."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    command = [program, "--env-file", str(env_file), "-f", str(ROOT / "docker-compose.yml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


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
        assert service["environment"]["PARALLAX_REDIS_URL_FILE"] == "/run/secrets/redis_url"
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
    assert settings["LABEL_STUDIO_HOST"] == settings["CSRF_TRUSTED_ORIGINS"] == "https://localhost"
    assert settings["LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK"] == "true"
    assert settings["LOCAL_FILES_DOCUMENT_ROOT"] == "/documents"
    assert "documents:/documents:rw" in found["volumes"]


def test_neither_redis_nor_the_databases_are_published() -> None:
    found = services("cpu")
    assert {name for name, service in found.items() if "ports" in service} == {"proxy", "backend"}
    assert found["backend"]["ports"] == ["127.0.0.1:9090:9090/tcp"]
    assert re.findall(r"\b(443|80)\b", str(found["proxy"]["ports"]))


@pytest.mark.parametrize("profile", OURS)
def test_every_service_has_its_own_secrets_and_no_others(profile: str) -> None:
    found = services(profile)
    assert {name: {of["source"] for of in service.get("secrets", [])} for name, service in found.items()} == {
        name: SECRETS[name] for name in found
    }
    for name, service in found.items():
        environment = service.get("environment", {})
        files = {value.removeprefix("/run/secrets/") for variable, value in environment.items() if variable.endswith("_FILE")}
        assert files <= SECRETS[name], name
        plain = [variable for variable in environment if not variable.endswith("_FILE")]
        assert [variable for variable in plain if re.search("PASSWORD|SECRET|USER_TOKEN|_API_KEY", variable)] == [], name


@pytest.mark.parametrize("profile", OURS)
def test_no_service_may_do_more_than_it_needs(profile: str) -> None:
    for name, service in services(profile).items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("cap_add", []) == CAPABILITIES.get(name, []), name
        assert service.get("read_only", False) is (name != "label-studio"), name
    assert {name: service["user"] for name, service in services(profile).items() if "user" in service} == {
        "postgres": "70:70",
        "redis": "999:1000",
    }


def test_images_can_be_named_by_digest(tmp_path: Path) -> None:
    """The script writes them; here is one that it could have written."""
    text = (ROOT / ".env.example").read_text()
    names = re.findall(r"^([A-Z_]+_IMAGE)=", text, flags=re.MULTILINE)
    assert names == re.findall(r"[A-Z_]+_IMAGE", (ROOT / "docker/pin-images.sh").read_text())[: len(names)]
    pinned = tmp_path / "env"
    pinned.write_text(re.sub(r"^([A-Z_]+_IMAGE)=.*$", rf"\1=some/image@sha256:{'a' * 64}", text, flags=re.MULTILINE))
    run = compose("--profile", "cpu", "config", env_file=pinned)
    assert run.returncode == 0, run.stderr
    images = {service["image"] for service in yaml.safe_load(run.stdout)["services"].values()}
    assert images == {f"some/image@sha256:{'a' * 64}", "parallax:cpu", "parallax:gpu"}


def test_the_secrets_are_made_once_and_closed(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run(["sh", str(ROOT / "docker/make-secrets.sh")], cwd=tmp_path, check=True, capture_output=True)
        made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert made.keys() == set().union(*SECRETS.values())
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert made["redis_url"] == f"redis://:{made['redis_password']}@redis:6379/0"
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch("[0-9a-f]{40}", value) for name, value in made.items() if name != "redis_url")
    (tmp_path / "secrets" / "parallax_secret").write_text("mine")
    subprocess.run(["sh", str(ROOT / "docker/make-secrets.sh")], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "secrets" / "parallax_secret").read_text() == "mine"


def test_a_program_gets_its_secrets_from_files_and_nothing_else_is_read(tmp_path: Path) -> None:
    script = tmp_path / "with-secrets.sh"
    script.write_text(
        (ROOT / "docker/with-secrets.sh").read_text().replace("\\/run\\/secrets", str(tmp_path).replace("/", "\\/"))
    )
    (tmp_path / "a").write_text("it's $HOME `id`\n")
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD_FILE": str(tmp_path / "a"), "SSL_CERT_FILE": "/etc/ssl/a"}
    run = subprocess.run(["sh", str(script), "env"], env=environment, capture_output=True, text=True, check=True)
    assert "PGPASSWORD=it's $HOME `id`" in run.stdout.splitlines()
    assert "SSL_CERT_FILE=/etc/ssl/a" in run.stdout.splitlines()


def test_the_settings_for_the_containers_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PARALLAX_SECRET", "PARALLAX_REDIS_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    spec = load_spec(ROOT / "docker" / "parallax.yaml")
    assert spec.label_studio.url == "http://label-studio:8080"
    assert (
        f"SITE={(spec.label_studio.public_url or '').removeprefix('https://')}"
        in (ROOT / ".env.example").read_text().splitlines()
    )
    assert spec.backend.url == "http://backend:9090"
    assert spec.documents_root == "/documents"
    assert make_url(spec.store).password is None


def test_the_image_runs_without_root_and_copies_every_package() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER 1001:0" in lines
    assert lines.index("USER 1001:0") < lines.index(
        'ENTRYPOINT ["/usr/local/bin/with-secrets.sh", "parallax", "-c", "/project/parallax.yaml"]'
    )
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    ours = {"constraints.txt", "pyproject.toml", "README.md", "label_config", "ml_backend", "plugins"}
    assert copied == ours | {"docker/with-secrets.sh"}
    assert (ROOT / "docker/with-secrets.sh").stat().st_mode & 0o111 == 0o111
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
        "LABEL_STUDIO_DB_PASSWORD_FILE": str(tmp_path / "a"),
        "PARALLAX_DB_PASSWORD_FILE": str(tmp_path / "b"),
    }
    (tmp_path / "a").write_text('it\'s a "quoted" one')
    (tmp_path / "b").write_text("b")
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

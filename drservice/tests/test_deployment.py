"""Compose file, image file and locks say what the code says."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from drservice.celery import app
from drservice.settings.celery import QUEUES
from drservice.settings.env import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"SECRET_KEY", "MASTER_KEY", "MONGODB_PASSWORD", "MONGODB_ROOT_PASSWORD",
           "MONGODB_REPLICA_KEY", "REDIS_PASSWORD"}  # fmt: skip
OURS = {"web", "beat", "worker-inference", "worker-training"}
SUBSTITUTION = re.compile(r"\$\{(\w+)(?P<rule>:[?-])?")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def compose_text() -> str:
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def services(compose_text) -> dict[str, dict]:
    return yaml.safe_load(compose_text)["services"]


def queues_of(service: dict) -> list[str]:
    command = service.get("command", [])
    return [command[place + 1] for place, word in enumerate(command) if word == "-Q"]


def test_compose_runs_exactly_the_parts_of_the_design(services):
    assert services.keys() == OURS | {"mongo", "redis"}


def test_compose_workers_take_exactly_the_queues_of_the_code(services):
    taken = [queue for service in services.values() for queue in queues_of(service)]
    assert sorted(taken) == sorted(QUEUES)
    for name in ("beat", "worker-inference", "worker-training"):
        command = services[name]["command"]
        assert command[:4] == ["celery", "-A", app.main, "beat" if name == "beat" else "worker"]
    assert "--pool=threads" in services["worker-inference"]["command"]


def test_compose_gives_every_part_exactly_the_environment_that_the_code_reads(services):
    for name in OURS:
        assert services[name]["environment"].keys() == VARIABLES.keys() | {"DJANGO_SETTINGS_MODULE"}
        assert services[name]["environment"]["DJANGO_SETTINGS_MODULE"] == "drservice.settings.prod"


def test_compose_holds_no_secret_and_refuses_to_start_without_one(compose_text):
    rules = {}
    for found in SUBSTITUTION.finditer(compose_text):
        rules.setdefault(found.group(1), set()).add(found.group("rule"))
    assert {name for name, rule in rules.items() if rule == {":?"}} == SECRETS | {"ALLOWED_HOSTS"}
    assert all(rule in ({":?"}, {":-"}) for rule in rules.values())
    example = re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert {name for name, _ in example} == rules.keys()
    assert not any(value for name, value in example if name in SECRETS)


def test_compose_mongo_is_a_current_replica_set_with_authentication(services):
    mongo = services["mongo"]
    assert tuple(map(int, mongo["image"].removeprefix("mongo:").split("."))) >= (8, 0)
    replica_set = mongo["command"][mongo["command"].index("--replSet") + 1]
    assert "--keyFile" in mongo["command"]
    assert mongo["environment"]["MONGO_INITDB_ROOT_PASSWORD"]
    for name in OURS:
        address = services[name]["environment"]["MONGODB_URI"]
        assert f"replicaSet={replica_set}" in address
        assert "mongodb://drservice:${MONGODB_PASSWORD" in address


def test_compose_mongo_gives_the_service_its_own_database_alone(compose_text):
    made = yaml.safe_load(compose_text)["configs"]["mongo-user"]["content"]
    assert set(re.findall(r'role: "(\w+)"', made)) == {"readWrite", "dbAdmin"}
    assert set(re.findall(r'db: "(\w+)"', made)) == {"drservice"}


def test_compose_redis_keeps_an_append_only_file_and_asks_for_a_password(services):
    words = shlex.split(services["redis"]["command"][-1])
    assert words[words.index("--appendonly") + 1] == "yes"
    assert "--requirepass" in words
    for name in OURS:
        assert services[name]["environment"]["REDIS_URL"].startswith("redis://:${REDIS_PASSWORD")


def test_compose_keeps_records_off_the_network_and_in_volumes(services, compose_text):
    assert [name for name, service in services.items() if "ports" in service] == ["web"]
    assert services["web"]["ports"][0].startswith("127.0.0.1:")
    volumes = yaml.safe_load(compose_text)["volumes"]
    for name in ("mongo", "redis"):
        assert services[name]["volumes"][0].split(":")[0] in volumes


def test_compose_builds_stages_of_the_image_file_and_web_has_no_torch(services):
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)\n((?:(?!^FROM).*\n)*)",
                             (ROOT / "Dockerfile").read_text(), re.MULTILINE))  # fmt: skip
    for name in OURS:
        target = services[name]["build"]["target"]
        assert target == ("worker" if name.startswith("worker") else "web")
        packages = "training" if target == "worker" else "web"
        assert f"--require-hashes -r requirements/{packages}.txt" in stages[target]
    assert "drservice.asgi:application" in stages["web"]
    assert "torch" not in pins("web")
    assert "torch" in pins("worker")


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {found.group(1): found.group(2) for found in PIN.finditer(text)}


@pytest.mark.parametrize(("part", "whole"), [("web", "worker"), ("worker", "run"), ("run", "dev")])
def test_lock_is_part_of_the_larger_lock(part, whole):
    assert pins(part).items() <= pins(whole).items()


@pytest.mark.parametrize("name", ["web", "worker", "training", "run", "dev"])
def test_lock_has_a_hash_for_every_pin_and_names_no_package_host(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert all("--hash=sha256:" in block for block in blocks)
    assert len(blocks) == len(PIN.findall(text))
    assert "://" not in text
    assert "--index" not in text


def test_lock_answers_every_package_that_is_asked_for():
    for source in sorted((ROOT / "requirements").glob("*.in")):
        asked = re.findall(r"^([a-z0-9][a-z0-9_-]+)", source.read_text(), re.MULTILINE)
        assert set(asked) <= pins("dev").keys(), source.name

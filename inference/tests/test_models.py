"""The registry: only what proves itself gets in, and the champion moves by one update."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection

from inference.champion_services import model_promote, model_rollback
from inference.engine import artefact
from inference.engine.testing import make_tiny_artefact
from inference.errors import ModelRefused, ModelUnavailable
from inference.model_files import ARTEFACT_FILES, local_directory
from inference.models import ModelVersion
from inference.selectors import champion_alias, model_by_label
from inference.services import model_register
from inference.tests.factories import flip_byte, flip_stored_byte, make_model

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_settings(settings, tmp_path) -> None:
    settings.VAR_DIR = tmp_path / "var"
    settings.INFERENCE_DEVICE = "torch-cpu"


def champion_label() -> str:
    return champion_alias().model.label


def test_artefact_files_are_those_that_the_engine_writes():
    assert set(ARTEFACT_FILES) == {artefact.WEIGHTS, artefact.MANIFEST, artefact.CARD}


def test_registered_model_carries_what_a_card_needs_and_comes_back_byte_for_byte(tmp_path):
    directory = make_tiny_artefact(tmp_path / "model", seed=3)

    model = model_register(directory=directory)

    assert (model.label, model.architecture) == ("for-tests:1", "tiny_cnn")
    assert model.sha256 == artefact.weights_sha256(directory)
    stored = ModelVersion.objects.get(pk=model.pk)
    assert stored.manifest["operating_point"]["referable_threshold"] == 0.5
    assert stored.manifest["preprocessing"]["size_px"] == [64, 48]
    local = local_directory(stored)
    for name in ARTEFACT_FILES:
        assert (local / name).read_bytes() == (directory / name).read_bytes()
    assert [path.name for path in local.parent.iterdir()] == [stored.digest]


def test_registering_twice_is_registering_once_and_another_model_needs_another_version(tmp_path):
    first = make_tiny_artefact(tmp_path / "first", seed=1)
    other = make_tiny_artefact(tmp_path / "other", seed=2)

    assert model_register(directory=first).pk == model_register(directory=first).pk
    with pytest.raises(ModelRefused, match="new version"):
        model_register(directory=other)
    assert ModelVersion.objects.count() == 1


@pytest.mark.parametrize("name", ARTEFACT_FILES)
def test_model_with_a_missing_file_is_refused(tmp_path, name):
    directory = make_tiny_artefact(tmp_path / "model")
    (directory / name).unlink()

    with pytest.raises(ModelRefused, match=name):
        model_register(directory=directory)


def test_model_that_is_not_what_it_says_is_refused(tmp_path):
    flipped = make_tiny_artefact(tmp_path / "flipped")
    flip_byte(flipped / artefact.WEIGHTS)
    with pytest.raises(ModelRefused, match="weights differ"):
        model_register(directory=flipped)

    drifted = make_tiny_artefact(tmp_path / "drifted")
    manifest = json.loads((drifted / artefact.MANIFEST).read_text())
    manifest["test_vector"]["scores"][0] += 0.5
    (drifted / artefact.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelRefused, match="other scores"):
        model_register(directory=drifted)
    assert not ModelVersion.objects.exists()


def test_damaged_local_copy_is_fetched_again_and_a_damaged_store_is_refused(tmp_path):
    model = make_model(tmp_path / "model")
    local = local_directory(model)
    flip_byte(local / artefact.WEIGHTS)

    assert artefact.weights_sha256(local_directory(model)) == model.sha256

    flip_stored_byte(model, artefact.WEIGHTS)
    assert local_directory(model) == local, "the good copy serves"
    flip_byte(local / artefact.WEIGHTS)
    with pytest.raises(ModelUnavailable, match="differs from what was registered"):
        local_directory(model)
    assert not local.exists()

    weights = next(file for file in model.files if file.name == artefact.WEIGHTS)
    default_storage.delete(weights.stored)
    with pytest.raises(ModelUnavailable, match="missing from the store"):
        local_directory(model)


def test_champion_moves_forward_and_back_by_command(tmp_path, capsys):
    with pytest.raises(ModelRefused, match="no champion before"):
        model_rollback()
    for version in ("1", "2", "3"):
        directory = make_tiny_artefact(tmp_path / version, seed=int(version), version=version)
        call_command("register_model", str(directory))
    call_command("promote_model", "for-tests:1")
    call_command("promote_model", "for-tests:2")
    call_command("promote_model", "for-tests:2")
    call_command("promote_model", "for-tests:3")
    capsys.readouterr()
    call_command("models")
    listed = capsys.readouterr().out.splitlines()
    standings = {line.split()[0]: line.partition(":")[2] for line in listed if "tiny_cnn" in line}
    assert standings["for-tests:3"].endswith("  champion")
    assert standings["for-tests:2"].endswith("  former champion")
    assert standings["for-tests:1"].endswith("  former champion")

    call_command("rollback_model")
    assert champion_label() == "for-tests:2"
    call_command("rollback_model")
    assert champion_label() == "for-tests:1"
    with pytest.raises(CommandError, match="no champion before"):
        call_command("rollback_model")
    with pytest.raises(CommandError, match="No model is registered as for-tests:9"):
        call_command("promote_model", "for-tests:9")
    with pytest.raises(CommandError, match="MODEL_CARD.md|manifest.json|weights"):
        call_command("register_model", str(tmp_path))


def test_promotions_at_the_same_time_never_overwrite_each_other(tmp_path):
    models = [make_model(tmp_path / f"m{n}", seed=n, version=str(n)) for n in range(4)]

    def promote(model: ModelVersion) -> bool:
        try:
            return bool(model_promote(model=model))
        except ModelRefused:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        moved = list(pool.map(promote, models))

    alias = champion_alias()
    assert alias.revision == sum(moved)
    assert len(alias.former) == sum(moved) - 1
    assert alias.model_id not in alias.former
    assert model_by_label(alias.model.label).pk == alias.model_id

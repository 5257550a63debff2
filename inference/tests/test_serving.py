"""Which model is served: none before it is verified, never two for one case, never a worse one."""

import pytest
from bson import ObjectId

from inference import serving
from inference.champion_services import model_promote
from inference.errors import ModelUnavailable
from inference.models import ModelVersion
from inference.serving import NO_CHAMPION, ModelKeeper, ServedModel
from inference.tests.paced import PacedGrader

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT_S = 10


class Loader:
    """Stand in for the engine: load everything but what is broken, and count."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.broken: set[str] = set()

    def __call__(self, model: ModelVersion) -> ServedModel:
        self.loaded.append(model.version)
        if model.version in self.broken:
            raise ModelUnavailable(f"Version {model.version} is broken.")
        grader = PacedGrader()
        grader.version = f"m-{model.version}"
        return ServedModel(grader, model.pk)


def promoted(version: str) -> ModelVersion:
    model = ModelVersion(pk=ObjectId(), name="m", version=version, manifest={})
    model.save(force_insert=True)
    model_promote(model=model)
    return model


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def keeper(loader):
    keeper = ModelKeeper(loader)
    yield keeper
    keeper.close()


def test_keeper_says_what_to_do_until_a_model_is_promoted(keeper, loader):
    keeper.follow()
    assert (keeper.served, keeper.trouble) == (None, NO_CHAMPION)

    promoted("1")
    keeper.follow()
    keeper.follow()

    assert (keeper.served.version, keeper.trouble, loader.loaded) == ("m-1", "", ["1"])


def test_new_champion_takes_over_and_a_case_keeps_the_one_it_began_with(keeper):
    promoted("1")
    keeper.follow()
    with keeper.in_use() as first:
        promoted("2")
        keeper.follow()
        with keeper.in_use() as second:
            assert (first.version, second.version) == ("m-1", "m-2")
        assert first.batcher.submit(b"")
        graded = first.batcher.submit(b"").result(TIMEOUT_S)
        assert graded.model_version == "m-1", "the old one serves those who hold it"
    assert first.batcher.join(TIMEOUT_S), "and is released when nobody does"
    assert second.batcher.submit(b"").result(TIMEOUT_S).model_version == "m-2"


def test_champion_that_does_not_load_never_replaces_one_that_does(keeper, loader, monkeypatch):
    promoted("1")
    keeper.follow()
    loader.broken.add("2")
    promoted("2")
    keeper.follow()
    keeper.follow()
    assert (keeper.served.version, keeper.trouble) == ("m-1", "Version 2 is broken.")
    assert loader.loaded == ["1", "2"], "it is not tried again at every look"

    monkeypatch.setattr(serving, "RETRY_S", 0)
    keeper._retry_at_s = 0
    keeper.follow()
    assert loader.loaded == ["1", "2", "2"]
    loader.broken.clear()
    keeper.follow()
    assert (keeper.served.version, keeper.trouble) == ("m-2", "")


def test_unexpected_trouble_is_logged_once_and_does_not_end_the_worker(keeper, monkeypatch, caplog):
    def unreachable():
        raise ConnectionError("no database")

    monkeypatch.setattr(serving, "champion_alias", unreachable)
    keeper.follow()
    keeper.follow()

    assert "could not be loaded (ConnectionError)" in keeper.trouble
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_next_promotion_is_taken_up_at_once_after_a_broken_one(keeper, loader):
    loader.broken.add("1")
    promoted("1")
    keeper.follow()
    with pytest.raises(ModelUnavailable, match="Version 1 is broken"), keeper.in_use():
        pass

    promoted("2")
    keeper.follow()

    assert (keeper.served.version, keeper.trouble) == ("m-2", "")

"""Find the first event of each audit chain that was changed, removed, moved or cut off."""

from bson import ObjectId
from django.core.management.base import BaseCommand, CommandError

from accounts.audit import store
from accounts.audit.anchors import anchors_of
from accounts.audit.chain import BEGINNING, Place, Verdict
from accounts.audit.verification import chain_check
from accounts.models import Hospital
from accounts.selectors import hospital_by_name

PLATFORM_TITLE = "The platform"


class Command(BaseCommand):
    help = (
        "Verify the audit trail. Exits with 1 and names the first bad event when a chain was "
        "tampered with. --head proves, with a head that was kept elsewhere, that no end is missing."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("hospital", nargs="?", help="a hospital's name, or its id")
        parser.add_argument("--all", action="store_true", help="every chain; so without a name")
        parser.add_argument("--platform", action="store_true", help="the platform's own chain")
        parser.add_argument(
            "--head", action="append", default=[], help="a head kept elsewhere, as 1234:hash"
        )
        parser.add_argument(
            "--since", help="a head that an earlier run has vouched for: only verify what follows"
        )

    def handle(self, *args, hospital, platform, head, since, **options) -> None:
        chains = chains_named(hospital, platform)
        if (head or since) and len(chains) != 1:
            raise CommandError("--head and --since belong to one chain: name the hospital too.")
        kept, since = [_place(one) for one in head], _place(since) if since else BEGINNING
        bad = [self._report(title, pk, kept, since) for pk, title in chains.items()]
        if any(bad):
            raise CommandError(f"{sum(bad)} of {len(chains)} chains do not hold.")

    def _report(self, title: str, pk: ObjectId | None, kept: list[Place], since: Place) -> bool:
        """Print what is found in one chain; return whether it is bad."""
        noted = [] if pk is None else anchors_of(pk, after=since.seq)
        found = chain_check(pk, kept=[place.hash for place in [*kept, *noted]], since=since)
        if found.fault is not None:
            self.stderr.write(f"{title}: {found.fault}.")
            return True
        self.stdout.write(f"{title}: {_in_words(found, since)}")
        return False


def _in_words(found: Verdict, since: Place) -> str:
    if not found.events:
        return "no events yet."
    place = Place(found.events, found.hash)
    return f"{found.events - since.seq} events hold. Head: {place}"


def chains_named(name: str | None, platform: bool) -> dict:
    """Return the chains to verify, each with what people call it."""
    if platform:
        return {None: PLATFORM_TITLE}
    if name:
        hospital = _hospital(name)
        return {hospital.pk: hospital.name}
    named = {one.pk: one.name for one in Hospital.objects.order_by("name")}
    stray = {pk: f"Unknown hospital {pk}" for pk in store.chains() if pk not in named}
    return {**named, **stray, None: PLATFORM_TITLE}


def _hospital(name: str) -> Hospital:
    hospital = hospital_by_name(name)
    if hospital is None and ObjectId.is_valid(name):
        hospital = Hospital.objects.filter(pk=ObjectId(name)).first()
    if hospital is None:
        raise CommandError("There is no hospital with this name or id.")
    return hospital


def _place(text: str) -> Place:
    try:
        return Place.read(text)
    except ValueError as error:
        raise CommandError(str(error)) from error

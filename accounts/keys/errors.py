"""What can be wrong with a key. Every text says what to do and holds nothing secret."""

from drservice.common.errors import ServiceFault


class KeyFault(ServiceFault):
    """A key is missing, wrong or gone."""


class MasterKeyFault(KeyFault):
    """No master key is set, or none that opens what is stored here."""


class KeyDestroyed(KeyFault):
    """The hospital's key has been destroyed: nothing is read or written with it any more."""

    def __init__(self) -> None:
        super().__init__(
            "The key of this hospital has been destroyed: what names its patients can't be read "
            "any more, and nothing new can be saved."
        )


class KeyConflict(KeyFault):
    """Somebody else changed the hospital's key at the same moment."""

    def __init__(self) -> None:
        super().__init__("Somebody else changed this hospital's key just now. Try again.")


class SealBroken(KeyFault):
    """A sealed text was altered, cut, or sealed for another purpose."""

    def __init__(self) -> None:
        super().__init__(
            "A sealed text is damaged and can't be opened. Restore the record from a backup."
        )


class UnreadableRefused(KeyFault):
    """Somebody tried to save the word that stands in for what can't be read."""

    def __init__(self) -> None:
        super().__init__("What can't be read was not saved. Enter it anew.")

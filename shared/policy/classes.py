"""What a tool can do, in the words that policies, pins, grants and records use."""

from enum import StrEnum


class ToolClass(StrEnum):
    """The class of a tool; set by an operator, never by what a server says of itself."""

    READ = "read"
    """Looks, and changes nothing."""
    DRAFT = "draft"
    """Prepares what somebody else still has to send or apply."""
    WRITE = "write"
    """Changes something inside."""
    EXTERNAL_SEND = "external_send"
    """Lets something leave: mail, a post, a payment."""
    ADMIN = "admin"
    """Changes who may do what, or the system itself."""
    BREAK_GLASS = "break_glass"
    """For emergencies: a reason and a second person, and everybody hears of it."""

    @property
    def changes(self) -> bool:
        """Does a call leave the world other than it was?"""
        return self is not ToolClass.READ and self is not ToolClass.DRAFT


IN_ORDER = tuple(ToolClass)
"""From the least to the most dangerous."""

"""The demo's approver: a user with the role, in the group that the client's policy names."""

from pathlib import Path

from tests.helpers.stage import Stage, StageError

GROUP = "approvers"


class Approver:
    """Decides as a user, with a token of their own: the relay's operator is nobody in particular.

    `key` is the file of the key they sign with, where the client's policy lists one.
    """

    def __init__(self, stage: Stage, name: str, key: Path | None = None) -> None:
        self._stage = stage
        self._name = name
        self._key = key
        self._token = stage.folder / f"{name}-token"

    async def arrive(self) -> None:
        """Become a user who may approve."""
        await self._stage.run(
            *("tunnel-relay", "user", "add", self._name, "--no-password"),
            *("--role", "approver", "--group", GROUP),
        )
        said = await self._stage.run("tunnel-relay", "user", "token", self._name, lines=1)
        self._token.touch(mode=0o600)
        self._token.write_text(said.splitlines()[0])

    async def approve(self, waiting: str, *expected: str) -> None:
        """Look at a request and say yes; raises StageError unless `expected` is all shown."""
        as_me = ("--token", f"file:{self._token}")
        shown = await self._stage.run("tunnel-relay", "approval", "show", waiting, *as_me, lines=26)
        missing = [text for text in expected if text not in shown]
        if missing:
            raise StageError(f"the approver is not shown {missing}")
        signing = () if self._key is None else ("--key", str(self._key))
        await self._stage.run(
            "tunnel-relay", "approval", "approve", waiting, *as_me, *signing, "--yes"
        )

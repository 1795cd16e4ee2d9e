"""Equal parts of a list of videos, one for each process or machine, numbered by `--task_index` and `--num_tasks`."""

from __future__ import annotations

from dataclasses import dataclass

from tc3net.common.errors import UserError


@dataclass(frozen=True)
class Part:
    """One of `total` equal parts of the work.

    Raises:
        UserError: an index outside 0 .. total - 1.
    """

    index: int = 0
    total: int = 1

    def __post_init__(self) -> None:
        if self.total < 1 or not 0 <= self.index < self.total:
            raise UserError(
                f"--task_index={self.index} with --num_tasks={self.total}; expected an index from 0 to --num_tasks - 1."
            )

    def videos(self, count: int) -> range:
        """Its positions among `count` videos; parts differ by one video at most."""
        return range(self.index * count // self.total, (self.index + 1) * count // self.total)

"""Several processes that train one model, each on its rows of every batch.

All processes draw the same batch from the same keyed generator, and each encodes its own rows. The loss of a
process is its share of the loss of the whole batch: the shares sum to that loss, and so do their gradients.
Contrastive embeddings are gathered, so that each row has the rows of all processes as negatives. A
convolutional stem normalises over the rows of one process, and hard or shuffled negatives come from the
process's own rows, as in ALBEF.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator


class Ranks:
    """This process among `count`; without an accelerator the only one, for which every method is trivial."""

    def __init__(self, accelerator: Accelerator | None = None) -> None:
        self._accelerator: Any = accelerator  # None only where `count` is 1
        self.index = 0 if accelerator is None else int(accelerator.process_index)
        self.count = 1 if accelerator is None else int(accelerator.num_processes)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.index == 0

    def mine(self, n: int) -> slice:
        """This process's rows of n."""
        return slice(n * self.index // self.count, n * (self.index + 1) // self.count)

    def share(self, n: int) -> float:
        """This process's part of the sum of all processes' n: the weight of its mean in the mean of all."""
        if self.count == 1:
            return 1.0
        total = self.summed(torch.tensor([float(n)], device=self._accelerator.device))
        return n / max(1.0, float(total))

    def joined(self, rows: Tensor) -> Tensor:
        """The rows of all processes, [count x B, ...] from [B, ...] of each; gradients flow back."""
        return rows if self.count == 1 else _Joined.apply(rows, self)  # type: ignore[no-untyped-call]

    def summed(self, value: Tensor) -> Tensor:
        """The sum over all processes, without a gradient."""
        alone = value.detach()
        return alone if self.count == 1 else self._accelerator.reduce(alone, reduction="sum")

    def gathered(self, rows: Tensor) -> Tensor:
        """As `joined`, without a gradient."""
        own = rows.detach()
        return own if self.count == 1 else self._accelerator.gather(own.contiguous())

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every parameter the sum of its gradients over all processes."""
        if self.count == 1:
            return
        parameters = list(parameters)
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        totals = self.summed(flat).split([p.numel() for p in parameters])
        for parameter, total in zip(parameters, totals, strict=True):
            parameter.grad = total.view_as(parameter).clone()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks, ctx.n = ranks, len(rows)
        return ranks.gathered(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        start = ctx.ranks.index * ctx.n
        return ctx.ranks.summed(gradient.contiguous())[start : start + ctx.n], None

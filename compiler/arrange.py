"""Puts the weights of a panel into the order that an instruction set's own products read them in (compiler/isa.py).

A permutation within each panel: sizes, headers and values stay, and so do the integers' sums and the order of floats'
inputs. The golden hash is computed from the usual order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .arithmetic import PANEL
from .formats import Format, Table
from .isa import Isa, Order
from .plan import Plan


def arrange(plan: Plan, tables: Sequence[Table], isas: Sequence[Isa]) -> tuple[Table, ...]:
    """The tables of a build for these instruction sets, which must agree on an order."""
    (*others, isa) = isas
    assert not isa.orders or not others, "an order of one's own needs a build of one's own"
    formats = {operation.name: kernel.format for operation in plan.network.operations for kernel in plan.kernels
               if operation.is_product and kernel.name == operation.kernel}  # fmt: skip
    found = []
    for table in tables:
        used = formats.get(table.name)
        order = isa.order(used.name) if used else None
        found.append(_arranged(table, used, order) if used and order else table)
    return tuple(found)


def _arranged(table: Table, used: Format, order: Order) -> Table:
    panels = len(table.data)
    data = table.data.reshape(panels, -1)
    header, body = data[:, : used.header], data[:, used.header :]
    by_input = body.reshape(panels, -1, PANEL, used.neighbours).transpose(0, 2, 1, 3).reshape(panels, PANEL, -1)
    step, shuffle = len(order.shuffle), list(order.shuffle)
    groups = by_input.reshape(panels, PANEL // order.outputs, order.outputs, -1, step)[..., shuffle]
    body = groups.transpose(0, 1, 3, 2, 4).reshape(panels, -1)
    inputs = groups.shape[3] * step
    layout = f"{used.name}, [panels: {panels}][header][{PANEL // order.outputs}][inputs: {inputs // step}]"
    layout += f"[outputs: {order.outputs}][inputs {','.join(map(str, shuffle))}]"
    return replace(table, data=np.concatenate([header, body], axis=1), layout=layout)

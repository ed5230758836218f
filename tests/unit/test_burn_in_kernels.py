"""The kernels of the burn-in, thread by thread: what they compute is what is computed here."""

from __future__ import annotations

import pytest
from ptx_machine import MASK64, Machine, bits, kernels, rounded

from nodeproof.node.burn_in.kernels import (
    FMA_LANES,
    FMA_UNROLLED,
    cut,
    mixed,
    ptx,
    unit,
)

KERNELS = kernels(ptx())
DATA, RESULT, COUNT = 1 << 40, 1 << 20, 150
GRID, THREADS = (2, 1), 32
"""Fewer threads than elements, so that every thread goes round."""


def looped(name: str, seed: int, machine: Machine, count: int = COUNT) -> None:
    machine.launch(KERNELS[name], GRID, THREADS, DATA, seed, count, RESULT)


def test_nothing_is_written_beside() -> None:
    machine = Machine()
    looped("fill_u32", 3, machine)
    assert sorted(machine.memory) == [DATA + 4 * index for index in range(COUNT)]


@pytest.mark.parametrize("seed", [1, 2, 0xFFFFFFFF])
def test_fill_u32(seed: int) -> None:
    machine = Machine()
    looped("fill_u32", seed, machine)
    assert [machine.memory[DATA + 4 * at] for at in range(COUNT)] == [
        mixed(at, seed) for at in range(COUNT)
    ]


def test_fill_f32() -> None:
    machine = Machine()
    looped("fill_f32", 1, machine)
    assert all(machine.memory[DATA + 4 * at] == unit(at, 1) for at in range(COUNT))


def test_fill_bf16() -> None:
    machine = Machine()
    looped("fill_bf16", 2, machine)
    assert sorted(machine.memory) == [DATA + 2 * index for index in range(COUNT)]
    assert all(machine.memory[DATA + 2 * at] == bits(cut(unit(at, 2))) >> 16 for at in range(COUNT))


@pytest.mark.parametrize("broken", [(), (0,), (3, 149), (63, 64, 65)])
def test_check_u32(broken: tuple[int, ...]) -> None:
    machine = Machine()
    looped("fill_u32", 7, machine)
    for at in broken:
        machine.memory[DATA + 4 * at] ^= 1 << 9
    looped("check_u32", 7, machine)
    assert machine.memory[RESULT] == len(broken)


def test_digest_u32() -> None:
    machine = Machine()
    looped("fill_u32", 7, machine)
    looped("digest_u32", 0, machine)
    wanted = sum(mixed(at, mixed(at, 7) ^ at) for at in range(COUNT)) & MASK64
    assert machine.memory[RESULT] == wanted


def test_digest_sees_a_swap() -> None:
    machine = Machine()
    looped("fill_u32", 7, machine)
    first, second = machine.memory[DATA], machine.memory[DATA + 4]
    looped("digest_u32", 0, machine)
    before = machine.memory.pop(RESULT)
    machine.memory[DATA], machine.memory[DATA + 4] = second, first
    looped("digest_u32", 0, machine)
    assert machine.memory[RESULT] != before


@pytest.mark.parametrize("n", [1, 7, 12])
def test_gemm_f32(n: int) -> None:
    machine, b, c = Machine(), DATA + (1 << 20), DATA + (2 << 20)
    for at in range(n * n):
        machine.memory[DATA + 4 * at] = unit(at, 1)
        machine.memory[b + 4 * at] = unit(at, 2)
    machine.launch(KERNELS["gemm_f32"], (1, n), 16, DATA, b, c, n)
    for column in range(n):
        for row in range(n):
            wanted = sum(unit(row + k * n, 1) * unit(k + column * n, 2) for k in range(n))
            assert machine.memory[c + 4 * (row + column * n)] == pytest.approx(wanted, abs=1e-5)
    assert len([place for place in machine.memory if place >= c]) == n * n


def test_fma_f32() -> None:
    machine, steps = Machine(), 4 * FMA_UNROLLED
    machine.launch(KERNELS["fma_f32"], (2, 1), 4, DATA, 1.0, 1.0, steps)
    assert machine.memory == {DATA + 4 * at: float(steps * FMA_LANES) for at in range(8)}


def test_fma_f32_uses_what_it_is_given() -> None:
    machine, steps = Machine(), FMA_UNROLLED
    machine.launch(KERNELS["fma_f32"], (1, 1), 1, DATA, 0.5, 1.0, steps)
    wanted = 0.0
    for _ in range(steps):
        wanted = rounded(wanted * 0.5 + 1)
    assert machine.memory[DATA] == wanted * FMA_LANES

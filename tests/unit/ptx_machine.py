"""A machine for the PTX of the burn-in: one thread after the other, memory in a table.

It knows the instructions that stand there and no others, and raises KeyError for the rest. Their
meaning is that of NVIDIA's "Parallel Thread Execution ISA", section 9.7.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

_ENTRY = re.compile(r"\.visible \.entry (\w+)\(([^)]*)\)\s*\{(.*?)\n\}", re.S)
_LABEL = re.compile(r"^(\w+):\s*", re.M)
MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
Number = Any


def rounded(value: float) -> float:
    """Return a number as fp32 has it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def bits(value: float) -> int:
    return int(struct.unpack("I", struct.pack("f", value))[0])


class Kernel:
    """One entry, parsed."""

    def __init__(self, parameters: str, body: str) -> None:
        self.parameters = re.findall(r"\.param \.\w+ (\w+)", parameters)
        self.steps: list[tuple[str, str, list[str]]] = []
        self.labels: dict[str, int] = {}
        for text in _LABEL.sub(r"LABEL \1;", body).split(";"):
            words = text.split(None, 1)
            if not words or words[0] == ".reg":
                continue
            if words[0] == "LABEL":
                self.labels[words[1]] = len(self.steps)
                continue
            guard = ""
            if words[0].startswith("@"):
                guard, words = words[0][1:], words[1].split(None, 1)
            rest = words[1] if len(words) > 1 else ""
            self.steps.append((guard, words[0], [one.strip() for one in rest.split(",") if one]))


def kernels(text: str) -> dict[str, Kernel]:
    """Return the entries of a PTX text."""
    return {name: Kernel(parameters, body) for name, parameters, body in _ENTRY.findall(text)}


ALU: dict[str, Callable[..., Number]] = {
    "mul.wide.u32": lambda a, b: a * b,
    "cvt.u64.u32": lambda a: a,
    "cvt.u32.u64": lambda a: a & MASK32,
    "cvt.u16.u32": lambda a: a & 0xFFFF,
    "cvt.rn.f32.u32": lambda a: rounded(float(a)),
    "cvta.to.global.u64": lambda a: a,
    "mov.u32": lambda a: a,
    "mov.u64": lambda a: a,
    "mov.f32": lambda a: a,
    "mov.b32": bits,
    "add.u64": lambda a, b: (a + b) & MASK64,
    "add.u32": lambda a, b: (a + b) & MASK32,
    "add.f32": lambda a, b: rounded(a + b),
    "shl.b64": lambda a, b: (a << b) & MASK64,
    "shr.u32": lambda a, b: a >> b,
    "xor.b32": lambda a, b: a ^ b,
    "mad.lo.u32": lambda a, b, c: (a * b + c) & MASK32,
    "mul.lo.u32": lambda a, b: (a * b) & MASK32,
    "fma.rn.f32": lambda a, b, c: rounded(a * b + c),
    "setp.ge.u64": lambda a, b: a >= b,
    "setp.ge.u32": lambda a, b: a >= b,
    "setp.lt.u32": lambda a, b: a < b,
    "setp.ne.u32": lambda a, b: a != b,
}


class Machine:
    """Memory by address, in words as they were stored."""

    def __init__(self) -> None:
        self.memory: dict[int, Number] = {}

    def launch(self, kernel: Kernel, grid: tuple[int, int], block: int, *given: Number) -> None:
        """Run all threads of a grid."""
        arguments = dict(zip(kernel.parameters, given, strict=True))
        for row in range(grid[1]):
            for group in range(grid[0]):
                for thread in range(block):
                    place = {
                        **{"%ctaid.x": group, "%ctaid.y": row, "%tid.x": thread},
                        **{"%ntid.x": block, "%nctaid.x": grid[0]},
                    }
                    self._thread(kernel, place, arguments)

    def _thread(
        self, kernel: Kernel, registers: dict[str, Number], given: dict[str, Number]
    ) -> None:
        at = 0
        while at < len(kernel.steps):
            guard, name, words = kernel.steps[at]
            at += 1
            if guard and not registers[guard]:
                continue
            if name == "ret":
                return
            if name == "bra":
                at = kernel.labels[words[0]]
            elif name.startswith("ld.param."):
                registers[words[0]] = given[words[1].strip("[]")]
            elif name.startswith("ld.global."):
                registers[words[0]] = self.memory[registers[words[1].strip("[]")]]
            elif name.startswith("st.global."):
                self.memory[registers[words[0].strip("[]")]] = registers[words[1]]
            elif name == "red.global.add.u64":
                place = registers[words[0].strip("[]")]
                self.memory[place] = (self.memory.get(place, 0) + registers[words[1]]) & MASK64
            else:
                values = [_value(word, registers) for word in words[1:]]
                registers[words[0]] = ALU[name](*values)


def _value(word: str, registers: dict[str, Number]) -> Number:
    if word.startswith("%"):
        return registers[word]
    if word.startswith("0f"):
        return struct.unpack("f", struct.pack("I", int(word[2:], 16)))[0]
    return int(word, 0)

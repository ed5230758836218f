"""The kernels of the burn-in, as PTX that the driver compiles, and the same computed here.

What is computed is a function of the index, so that any element can be computed again.
"""

from __future__ import annotations

import ctypes

SEED_A, SEED_B, SEED_MEMORY = 1, 2, 3
BLOCK = 256
"""Threads of a block."""
FMA_STEPS, FMA_LANES, FMA_UNROLLED = 4096, 8, 8
"""Steps of a thread, sums that it keeps, and steps between two looks at its counter."""

# x = i * odd + seed, mixed twice; the same as `mixed` below.
_MIX = """
 mad.lo.u32 %x, %i, 0x9E3779B1, %seed; shr.u32 %y, %x, 15; xor.b32 %x, %x, %y;
 mul.lo.u32 %x, %x, 0x85EBCA77; shr.u32 %y, %x, 13; xor.b32 %x, %x, %y;"""
# 24 bits of it as a number in [-1, 1), exactly: bits * 2**-23 - 1.
_UNIT = """
 shr.u32 %x, %x, 8; cvt.rn.f32.u32 %f, %x; fma.rn.f32 %f, %f, 0f34000000, 0fBF800000;"""
_LOOP = """
.visible .entry NAME(.param .u64 out, .param .u32 seed, .param .u64 n, .param .u64 result)
{
 .reg .pred %end, %bad; .reg .b16 %h;
 .reg .b32 %x, %y, %i, %seed, %a, %b, %c, %d; .reg .f32 %f;
 .reg .b64 %out, %n, %at, %p, %step, %result, %sum, %wide;
 ld.param.u64 %out, [out]; ld.param.u32 %seed, [seed]; ld.param.u64 %n, [n];
 ld.param.u64 %result, [result];
 cvta.to.global.u64 %out, %out; cvta.to.global.u64 %result, %result;
 mov.u32 %a, %ctaid.x; mov.u32 %b, %ntid.x; mov.u32 %c, %tid.x; mov.u32 %d, %nctaid.x;
 mul.wide.u32 %at, %a, %b; cvt.u64.u32 %p, %c; add.u64 %at, %at, %p;
 mul.wide.u32 %step, %d, %b; mov.u64 %sum, 0;
NEXT:
 setp.ge.u64 %end, %at, %n; @%end bra DONE;
 cvt.u32.u64 %i, %at; shl.b64 %p, %at, SHIFT; add.u64 %p, %out, %p;BODY
 add.u64 %at, %at, %step; bra NEXT;
DONE:END
 ret;
}
"""
_ADD = " red.global.add.u64 [%result], %sum;"
_LOOPS = (
    ("fill_f32", "2", _MIX + _UNIT + " st.global.f32 [%p], %f;", ""),
    (
        "fill_bf16",
        "1",
        _MIX + _UNIT + " mov.b32 %x, %f; shr.u32 %x, %x, 16; cvt.u16.u32 %h, %x;"
        " st.global.u16 [%p], %h;",
        "",
    ),
    ("fill_u32", "2", _MIX + " st.global.u32 [%p], %x;", ""),
    (
        "check_u32",
        "2",
        _MIX + " ld.global.u32 %y, [%p]; setp.ne.u32 %bad, %x, %y; @%bad add.u64 %sum, %sum, 1;",
        _ADD,
    ),
    (
        "digest_u32",
        "2",
        " ld.global.u32 %y, [%p]; xor.b32 %seed, %y, %i;"
        + _MIX
        + " cvt.u64.u32 %wide, %x; add.u64 %sum, %sum, %wide;",
        _ADD,
    ),
)
_GEMM = """
.visible .entry gemm_f32(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)
{
 .reg .pred %end; .reg .b32 %i, %j, %n, %k, %x, %y; .reg .f32 %u, %v, %sum;
 .reg .b64 %a, %b, %c, %down, %p;
 ld.param.u64 %a, [a]; ld.param.u64 %b, [b]; ld.param.u64 %c, [c]; ld.param.u32 %n, [n];
 cvta.to.global.u64 %a, %a; cvta.to.global.u64 %b, %b; cvta.to.global.u64 %c, %c;
 mov.u32 %x, %ctaid.x; mov.u32 %y, %ntid.x; mov.u32 %i, %tid.x; mad.lo.u32 %i, %x, %y, %i;
 mov.u32 %j, %ctaid.y; setp.ge.u32 %end, %i, %n; @%end bra OUT;
 mul.wide.u32 %p, %i, 4; add.u64 %a, %a, %p; mul.wide.u32 %down, %n, 4;
 mul.wide.u32 %p, %j, %n; shl.b64 %p, %p, 2; add.u64 %b, %b, %p; add.u64 %c, %c, %p;
 mul.wide.u32 %p, %i, 4; add.u64 %c, %c, %p; mov.f32 %sum, 0f00000000; mov.u32 %k, 0;
STEP:
 ld.global.f32 %u, [%a]; ld.global.f32 %v, [%b]; fma.rn.f32 %sum, %u, %v, %sum;
 add.u64 %a, %a, %down; add.u64 %b, %b, 4; add.u32 %k, %k, 1;
 setp.lt.u32 %end, %k, %n; @%end bra STEP;
 st.global.f32 [%c], %sum;
OUT:
 ret;
}
"""
_FMA_STEP = "\n".join(f" fma.rn.f32 %x{lane}, %x{lane}, %a, %b;" for lane in range(FMA_LANES))
_FMA_STEPS = "\n".join([_FMA_STEP] * FMA_UNROLLED)
_FMA = f"""
.visible .entry fma_f32(.param .u64 out, .param .f32 a, .param .f32 b, .param .u32 steps)
{{
 .reg .pred %more; .reg .b32 %i, %j, %k, %n; .reg .f32 %a, %b, %x<{FMA_LANES}>;
 .reg .b64 %out, %p;
 ld.param.u64 %out, [out]; ld.param.f32 %a, [a]; ld.param.f32 %b, [b]; ld.param.u32 %n, [steps];
 cvta.to.global.u64 %out, %out;
 mov.u32 %i, %ctaid.x; mov.u32 %j, %ntid.x; mov.u32 %k, %tid.x; mad.lo.u32 %i, %i, %j, %k;
{"".join(f" mov.f32 %x{lane}, 0f00000000;" for lane in range(FMA_LANES))}
 mov.u32 %k, 0;
STEP:
{_FMA_STEPS}
 add.u32 %k, %k, {FMA_UNROLLED}; setp.lt.u32 %more, %k, %n; @%more bra STEP;
{"".join(f" add.f32 %x0, %x0, %x{lane};" for lane in range(1, FMA_LANES))}
 mul.wide.u32 %p, %i, 4; add.u64 %p, %out, %p; st.global.f32 [%p], %x0;
 ret;
}}
"""


def ptx() -> str:
    """Return the kernels; PTX of this version runs on Pascal and everything later."""
    text = ".version 6.0\n.target sm_60\n.address_size 64\n"
    for name, shift, body, end in _LOOPS:
        loop = _LOOP.replace("NAME", name).replace("SHIFT", shift)
        text += loop.replace("BODY", body).replace("END", end)
    return text + _GEMM + _FMA


def mixed(index: int, seed: int) -> int:
    """Return the 32 bits of one element, as the kernels make them."""
    x = (index * 0x9E3779B1 + seed) & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x85EBCA77 & 0xFFFFFFFF
    return x ^ x >> 13


def unit(index: int, seed: int) -> float:
    """Return one element of a matrix, in [-1, 1)."""
    return (mixed(index, seed) >> 8) * 2.0**-23 - 1


def cut(value: float) -> float:
    """Return what is left of a number in bfloat16, as the kernels cut it."""
    bits = ctypes.c_uint32.from_buffer_copy(ctypes.c_float(value)).value & 0xFFFF0000
    return ctypes.c_float.from_buffer_copy(ctypes.c_uint32(bits)).value

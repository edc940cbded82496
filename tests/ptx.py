"""PTX, as NVRTC emits it, to C++ for the shim (tests/cuda): so the compiler's output runs, inline assembly included.

A register is a variable, a branch a goto, a kernel a function of its parameter's address. What the machine does for a
thread alone is written out here; what concerns others (shared memory, barriers, shuffles, flags, the kernel before) is
the shim's, with its checks. tests/cuda/ptx.h has the rest: memory, whose every access must be inside of some buffer,
and the arithmetic that C++ has no operator for. An instruction that is not known is an error.

Every barrier, wait, flag, shuffle and address is a site, in the order of the text, where the running program can break
the code in one way: `shim_set_mutant` says which, from 1 on. So one build has all mutants.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PTX_SITES = 1 << 16  # at most
TYPES = {"u": "uint{}_t", "s": "int{}_t", "b": "uint{}_t"}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "hi": ">", "hs": ">="}
OPERATORS = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}
SPECIAL = {
    "%tid.x": "(uint32_t)shim_current.thread",
    "%ctaid.x": "(uint32_t)shim_current.block_x",
    "%ctaid.y": "(uint32_t)shim_current.block_y",
    "%nctaid.x": "(uint32_t)shim_current.blocks",
}


@dataclass(frozen=True)
class Site:
    """A place where the code can be broken: the kernel, what is broken, and the instruction."""

    kernel: str
    kind: str
    text: str


class UnknownPtxError(Exception):
    """An instruction or a declaration that the translator does not know."""


def c_type(name: str) -> str:
    """Of a PTX type such as u32."""
    if name in ("f32", "f64", "pred"):
        return {"f32": "float", "f64": "double", "pred": "bool"}[name]
    return TYPES[name[0]].format(name[1:])


class Translator:
    """Of a module."""

    def __init__(self, text: str) -> None:
        self.sites: list[Site] = []
        self._shared: dict[str, str] = {}  # arrays: C++ of their size in bytes
        self._kernel = ""
        self._types: dict[str, str] = {}  # of registers
        functions = [self._function(*found) for found in _kernels(re.sub(r"//.*", "", text))]
        for name, size in re.findall(r"^(?:\.extern )?\.shared [^;]*?(\w+)\[(\d*)\];", text, re.MULTILINE):
            self._shared[name] = size or "shim_launch_bytes"
        arrays = [f"static ptx_array {name}_array({n}, [] {{ return (size_t){size}; }});\n"
                  for n, (name, size) in enumerate(self._shared.items(), 1)]  # fmt: skip
        declared = [f"static const uint64_t {name} = (uint64_t){n} << 24;\n" for n, name in enumerate(self._shared, 1)]
        self.text = "\n".join(['#include "ptx.h"\n', *arrays, *declared, *functions])

    def _site(self, kind: str, text: str) -> str:
        """Whether this site, which it notes, is as it was, in C++."""
        self.sites.append(Site(self._kernel, kind, text))
        return f"ptx_as_it_is({len(self.sites)})"

    def _function(self, name: str, body: str) -> str:
        self._kernel, self._types = name, {}
        lines = [
            f'extern "C" void {name}(const void *parameter) {{',
            f"  const uint64_t {name}_param_0 = (uint64_t)parameter;",
        ]
        for statement in _statements(body):
            lines.append("  " + self._statement(statement))
        return "\n".join([*lines, "}\n"])

    def _statement(self, text: str) -> str:
        if text in ("{", "}"):
            return text
        if text.startswith("."):
            return self._declaration(text)
        if text.endswith(":"):
            return text.replace("$", "") + " (void)0;"
        predicate = re.match(r"@(!?)%(\w+)\s+(.*)", text, re.DOTALL)
        if predicate:
            return f"if ({predicate[1]}{predicate[2]}) {{ {self._instruction(predicate[3])} }}"
        return self._instruction(text)

    def _declaration(self, text: str) -> str:
        register = re.match(r"\.reg \.(\w+)\s+(.*)", text)
        if register:
            found: list[str] = []
            for name in register[2].split(","):
                many = re.fullmatch(r"%(\w+)<(\d+)>", name.strip())
                found += [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name.strip().lstrip("%")]
            self._types.update(dict.fromkeys(found, register[1]))
            return f"{c_type(register[1])} {', '.join(found)};"
        shared = re.match(r"\.shared \.align \d+ \.b8 (\w+)\[(\d+)\]", text)
        if shared:
            self._shared[shared[1]] = shared[2]
            return ""
        if text.startswith((".pragma", ".loc")):
            return ""
        raise UnknownPtxError(f"{self._kernel}: {text}")

    # ---- operands ----

    def _value(self, text: str, kind: str) -> str:
        """An operand as a value of a PTX type."""
        text = text.strip()
        if re.fullmatch(r"0[fF][0-9a-fA-F]{8}", text):
            return f"ptx_bits<float>(0x{text[2:]}u)"
        if text in SPECIAL:
            return f"({c_type(kind)})({SPECIAL[text]})"
        if re.fullmatch(r"-?\d+", text):
            return f"({c_type(kind)}){text}{'ll' if kind.endswith('64') else ''}" if kind != "pred" else text
        name = text.lstrip("%")
        if not re.fullmatch(r"\w+", name):
            raise UnknownPtxError(f"{self._kernel}: operand {text}")
        own = self._types.get(name, "u64")
        if own == kind or (own == "b" + kind[1:] and kind[0] == "u"):
            return name
        if own == "pred" or kind == "pred":
            raise UnknownPtxError(f"{self._kernel}: {name} is {own}, not {kind}")
        if (own[0] == "f") != (kind[0] == "f"):
            return f"ptx_bits<{c_type(kind)}>({name})"
        return f"({c_type(kind)}){name}"

    def _assign(self, to: str, kind: str, value: str) -> str:
        """Assigns a value of a PTX type."""
        name = to.strip().lstrip("%")
        own = self._types[name]
        if (own[0] == "f") != (kind[0] == "f") and own != "pred":
            return f"{name} = ptx_bits<{c_type(own)}>({value});"
        return f"{name} = ({c_type(own)})({value});"

    def _address(self, text: str, opcode: str) -> str:
        found = re.fullmatch(r"\[\s*([%\w]+)\s*(?:\+\s*(-?\d+))?\s*\]", text.strip())
        if not found:
            raise UnknownPtxError(f"{self._kernel}: address {text}")
        as_it_is = self._site("index", f"{opcode} {text.strip()}")
        return f"{self._value(found[1], 'u64')} + ({found[2] or 0}) + ({as_it_is} ? 0 : 4)"

    # ---- instructions ----

    def _instruction(self, text: str) -> str:
        opcode, rest = [*text.split(maxsplit=1), ""][:2]
        parts, kind = opcode.split("."), opcode.split(".")[-1]
        operands = _operands(rest)
        method = getattr(self, f"_{parts[0]}", None)
        if method:
            return str(method(parts, kind, operands, opcode))
        if parts[0] in OPERATORS and kind not in ("hi", "wide"):
            return self._arithmetic(parts, kind, operands)
        raise UnknownPtxError(f"{self._kernel}: {text}")

    def _arithmetic(self, parts: Sequence[str], kind: str, operands: Sequence[str]) -> str:
        if kind == "pred":
            a, b = (operand.lstrip("%") for operand in operands[1:])
            return f"{operands[0].lstrip('%')} = {a} {OPERATORS[parts[0]]} {b};"
        if set(parts[1:-1]) - {"rn", "lo"}:
            raise UnknownPtxError(f"{self._kernel}: {'.'.join(parts)}")
        kind = kind.replace("s", "u")  # the same bits, and no overflow
        a, b = (self._value(operand, kind) for operand in operands[1:])
        if kind == "u16":
            a, b = f"(uint32_t){a}", f"(uint32_t){b}"
        return self._assign(operands[0], kind, f"{a} {OPERATORS[parts[0]]} {b}")

    def _mul(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if "wide" not in parts and "hi" not in parts:
            return self._arithmetic(parts, kind, operands)
        bits, sign = int(kind[1:]), kind[0]
        wide = f"{sign}{2 * bits}"
        product = " * ".join(f"({c_type(wide)}){self._value(operand, kind)}" for operand in operands[1:])
        return self._assign(
            operands[0], wide if "wide" in parts else kind, product if "wide" in parts else f"({product}) >> {bits}"
        )

    def _mad(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if parts[1] not in ("lo", "wide"):
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        wide = f"{kind[0]}{2 * int(kind[1:])}" if parts[1] == "wide" else kind.replace("s", "u")
        a, b = (f"({c_type(wide)}){self._value(operand, kind)}" for operand in operands[1:3])
        return self._assign(operands[0], wide, f"{a} * {b} + {self._value(operands[3], wide)}")

    def _fma(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if opcode != "fma.rn.f32":
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        return self._assign(operands[0], kind, f"fmaf({', '.join(self._value(o, kind) for o in operands[1:])})")

    def _unary(self, expression: str, kind: str, operands: Sequence[str]) -> str:
        return self._assign(operands[0], kind, expression.format(self._value(operands[1], kind)))

    def _div(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if opcode != "div.rn.f32" and kind[0] == "f":
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        return self._assign(operands[0], kind, " / ".join(self._value(operand, kind) for operand in operands[1:]))

    def _rem(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return self._assign(operands[0], kind, " % ".join(self._value(operand, kind) for operand in operands[1:]))

    def _rounded(self, expression: str, kind: str, operands: Sequence[str], opcode: str) -> str:
        if not opcode.endswith(".rn.f32"):
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        return self._unary(expression, kind, operands)

    def _sqrt(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return self._rounded("sqrtf({})", kind, operands, opcode)

    def _rcp(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return self._rounded("1.0f / {}", kind, operands, opcode)

    def _neg(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return self._unary("-{}" if kind[0] == "f" else "0 - {}", kind.replace("s", "u"), operands)

    def _abs(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return self._unary("fabsf({})" if kind == "f32" else "std::abs({})", kind, operands)

    def _not(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return self._unary("!{}" if kind == "pred" else "~{}", kind, operands)

    def _mov(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        to, value = operands
        if to.startswith("{"):
            half = f"b{int(kind[1:]) // 2}"
            low, high = _operands(to[1:-1])
            whole = self._value(value, kind)
            return f"{self._assign(low, half, whole)} {self._assign(high, half, f'{whole} >> {half[1:]}')}"
        if value.startswith("{"):
            half = f"b{int(kind[1:]) // 2}"
            low, high = (f"({c_type(kind)}){self._value(part, half)}" for part in _operands(value[1:-1]))
            return self._assign(to, kind, f"{low} | {high} << {half[1:]}")
        return self._assign(to, kind, self._value(value, kind))

    def _selp(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        a, b = (self._value(operand, kind) for operand in operands[1:3])
        return self._assign(operands[0], kind, f"{operands[3].lstrip('%')} ? {a} : {b}")

    def _setp(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if len(parts) != 3:
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        a, b = (self._value(operand, kind) for operand in operands[1:])
        name = parts[1]
        if kind[0] == "f" and name.endswith("u"):  # or one of them is no number
            return (
                f"{operands[0].lstrip('%')} = {a} {COMPARISONS[name[:-1]]} {b} || ptx_is_nan({a}) || ptx_is_nan({b});"
            )
        if name in ("num", "nan"):
            return f"{operands[0].lstrip('%')} = (ptx_is_nan({a}) || ptx_is_nan({b})) == {int(name == 'nan')};"
        ordered = f" && !ptx_is_nan({a}) && !ptx_is_nan({b})" if kind[0] == "f" and name == "ne" else ""
        return f"{operands[0].lstrip('%')} = {a} {COMPARISONS[name]} {b}{ordered};"

    def _bfi(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        values = [self._value(operands[1], kind), self._value(operands[2], kind)]
        counts = [self._value(operand, "u32") for operand in operands[3:]]
        return self._assign(operands[0], kind, f"ptx_insert({', '.join([*values, *counts])})")

    def _prmt(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if opcode != "prmt.b32":
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        values = ", ".join(self._value(operand, "b32") for operand in operands[1:])
        return self._assign(operands[0], kind, f"ptx_choose({values})")

    def _min(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        a, b = (self._value(operand, kind) for operand in operands[1:])
        return self._assign(operands[0], kind, f"ptx_{parts[0]}({a}, {b})")

    _max = _min

    def _shl(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        kind = kind if parts[0] == "shr" else kind.replace("s", "u")
        a, count = self._value(operands[1], kind), self._value(operands[2], "u32")
        return self._assign(operands[0], kind, f"ptx_{parts[0]}<{c_type(kind)}>({a}, {count})")

    _shr = _shl

    def _cvt(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        to, modes = parts[-2], parts[1:-2]
        if kind == "f16" and to == "f32" and not modes:
            return self._assign(operands[0], to, f"shim_widen({self._value(operands[1], 'b16')})")
        if to == "f16" and kind == "f32" and modes == ["rn"]:
            return self._assign(operands[0], "b16", f"narrow({self._value(operands[1], kind)})")
        if modes and not (modes == ["rn"] and to == "f32" and kind[0] != "f"):
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        value = f"({c_type(to)}){self._narrow(operands[1], kind)}"
        return self._assign(operands[0], to, value)

    def _narrow(self, operand: str, kind: str) -> str:
        """An operand of a type that may be narrower than its register."""
        return self._value(operand, kind)

    def _cvta(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if opcode != "cvta.to.global.u64":
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        return self._assign(operands[0], "u64", self._value(operands[1], "u64"))

    def _ld(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        names = _operands(operands[0].strip("{}"))
        if "relaxed" in parts:
            if not re.fullmatch(r"ld\.relaxed\.(gpu|sys)\.global(\.v4)?\.u32", opcode):
                raise UnknownPtxError(f"{self._kernel}: {opcode}")
            call = f"ptx_look_{parts[2]}<{len(names)}>({self._address(operands[1], opcode)})"
            looks = [self._assign(name, kind, f"ptx_value[{i}]") for i, name in enumerate(names)]
            return f"{{ const auto ptx_value = {call}; {' '.join(looks)} }}"
        space = {"shared": "shared", "param": "parameter"}.get(parts[1], "global")
        if set(parts[1:-1]) - {"shared", "param", "global", "v2", "v4"}:
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        c, address = c_type(kind), self._address(operands[1], opcode)
        loads = [self._assign(name, kind, f"ptx_value[{i}]") for i, name in enumerate(names)]
        return f"{{ const auto ptx_value = ptx_load_{space}<{c}, {len(names)}>({address}); {' '.join(loads)} }}"

    def _st(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        values = [self._value(name, kind) for name in _operands(operands[1].strip("{}"))]
        if "release" in parts:
            if opcode not in ("st.release.gpu.u32", "st.release.sys.global.u32"):
                raise UnknownPtxError(f"{self._kernel}: {opcode}")
            as_it_is, address = self._site("release", f"{opcode} {operands[0]}"), self._address(operands[0], opcode)
            return f"ptx_release_{parts[2]}({address}, {values[0]}, {as_it_is});"
        if "relaxed" in parts:
            if opcode not in ("st.relaxed.gpu.global.u32", "st.relaxed.sys.global.u32"):
                raise UnknownPtxError(f"{self._kernel}: {opcode}")
            return f"ptx_show_{parts[2]}({self._address(operands[0], opcode)}, {values[0]});"
        if opcode == "st.shared::cluster.u32":
            return f"ptx_store_cluster({self._address(operands[0], opcode)}, {values[0]});"
        if set(parts[1:-1]) - {"shared", "global", "v2", "v4"}:
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        c, address = c_type(kind), self._address(operands[0], opcode)
        space = "shared" if "shared" in parts else "global"
        return f"ptx_store_{space}<{c}, {len(values)}>({address}, {{{', '.join(values)}}});"

    def _fence(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if opcode not in ("fence.acq_rel.gpu", "fence.acq_rel.sys"):
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        function = "shim_fence" if parts[2] == "gpu" else "shim_fence_of_host"
        return f"if ({self._site('acquire', opcode)}) {function}();"

    def _nanosleep(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return "shim_rest();"

    def _bar(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if opcode != "bar.sync" or operands != ["0"]:
            raise UnknownPtxError(f"{self._kernel}: {opcode} {operands}")
        return f"if ({self._site('barrier', opcode)}) shim_barrier();"

    def _mma(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        integers = re.fullmatch(r"mma\.sync\.aligned\.m16n8k32\.row\.col\.s32\.s8\.([su])8\.s32", opcode)
        if not integers and opcode != "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32":
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        kind, function = "f32", "multiply_add"
        if integers:
            kind, function = "s32", f"multiply_add_integers<{'true' if integers[1] == 'u' else 'false'}>"
        to, weights, inputs, sums = (_operands(operand.strip("{}")) for operand in operands)
        given = ", ".join(self._value(name, kind) for name in sums)
        words = ", ".join(self._value(name, "u32") for name in weights)
        others = ", ".join(self._value(name, "u32") for name in inputs)
        results = " ".join(self._assign(name, kind, f"ptx_sums[{i}]") for i, name in enumerate(to))
        begin = f"{c_type(kind)} ptx_sums[4] = {{{given}}};"
        return f"{{ {begin} {function}(ptx_sums, {{{words}}}, {others}); {results} }}"

    def _mapa(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if opcode != "mapa.shared::cluster.u32":
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        address, block = (self._value(operand, kind) for operand in operands[1:])
        return self._assign(operands[0], kind, f"ptx_address_in({address}, {block})")

    def _barrier(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if opcode not in ("barrier.cluster.arrive", "barrier.cluster.wait"):
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        return f"if ({self._site('barrier', opcode)}) shim_cluster_{parts[2]}();"

    def _shfl(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        # The last are the bits of the lane that stay, and which lanes take part: registers, as a rule, not looked into.
        if opcode != "shfl.sync.bfly.b32":
            raise UnknownPtxError(f"{self._kernel}: {opcode}")
        to, _, valid = operands[0].partition("|")
        value, mask, segment, lanes = (self._value(operand, "b32") for operand in operands[1:5])
        as_it_is = self._site("shuffle", f"{opcode} {operands[2]}")
        shuffled = f"ptx_shuffle({value}, {as_it_is} ? {mask} : 0, {segment}, {lanes})"
        return self._assign(to, "b32", shuffled) + (f" {valid.lstrip('%')} = true;" if valid else "")

    def _griddepcontrol(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        if parts[1] == "wait":
            return f"if ({self._site('wait', opcode)}) shim_wait_for_previous();"
        return "start_next();"

    def _bra(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return f"goto {operands[0].replace('$', '')};"

    def _ret(self, parts: Sequence[str], kind: str, operands: Sequence[str], opcode: str) -> str:
        return "return;"

    _exit = _ret


def _kernels(text: str) -> Iterator[tuple[str, str]]:
    """Names and bodies."""
    for found in re.finditer(r"\.visible \.entry (\w+)\([^)]*\)[^{]*\{", text):
        depth, end = 1, found.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield found[1], text[found.end() : end - 1]


def _statements(body: str) -> Iterator[str]:
    """Instructions and declarations without their semicolons; labels; braces of a scope."""
    for found in re.finditer(r"\s*(?:([$\w]+:)|((?:\{|\})(?=\s))|([^;]+);)", body):
        yield next(text.strip() for text in found.groups() if text)


def _operands(text: str) -> list[str]:
    return [part.strip() for part in re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", text)]

"""The machine code of kernels, read: on stored texts, and on what is compiled here."""

import platform
from inspect import signature

import pytest

from kernels import inspect
from kernels._tile import VECTOR_BYTES

# A loop around a loop; the inner one keeps an accumulator on the stack.
X86 = """
_ZN7kernels8_product12rows_productB3v89B70c8:
	pushq	%rbp
	movq	%rsp, %rbp
.LBB0_1:
	movq	8(%rsp), %rax
.LBB0_2:                                # the hot one
	vmovups	(%rdi,%rax,4), %ymm0
	vbroadcastss	4(%rsi), %ymm1
	vfmadd231ps	%ymm0, %ymm1, %ymm2
	vfmadd231ps	32(%rdi), %ymm1, %ymm3
	vmovups	-64(%rbp), %ymm4
	vfmadd231ps	%ymm0, %ymm1, %ymm4
	vmovups	%ymm4, -64(%rbp)
	vdivps	%ymm1, %ymm0, %ymm5
	prefetcht0	(%rdx)
	leaq	8(%rdx), %rdx
	addq	$1, (%rcx)
	cmpq	$7, (%rcx)
	callq	*%r11
	jne	.LBB0_2
	decq	%r8
	jne	.LBB0_1
	retq
_ZN7cpython7kernels3run:
.LBB1_1:
	vfmadd231pd	%zmm0, %zmm1, %zmm2
	jmp	.LBB1_1
"""

INTEL = """
scalar:
.LBB0_1:
	vmovss	xmm0, dword ptr [rdi + 4*rax]
	vandps	xmm0, xmm0, xmmword ptr [rip + .LCPI0_0]
	vfmadd213ss	xmm0, xmm1, xmm2
	vmovss	dword ptr [rsp + 8], xmm0
	cmp	qword ptr [rdx], 7
	jb	.LBB0_1
"""

AARCH64 = """
_ZN7kernels8_product12rows_productB3v89B70c8:
	sub	sp, sp, #64
.LBB0_1:
	ldp	q0, q1, [x0], #32
	ldr	s2, [x1, #4]
	fmla	v16.4s, v0.4s, v2.s[0]
	fmla	v17.4s, v1.4s, v2.s[0]
	ldr	q3, [sp, #16]
	fadd	v3.4s, v3.4s, v0.4s
	str	q3, [sp, #16]
	prfm	pldl1keep, [x3]
	bl	expf
	subs	x4, x4, #1
	b.ne	.LBB0_1
	tbnz	w5, #0, .LBB0_3
.LBB0_2:
	fmadd	d0, d1, d2, d0
	cbnz	x4, .LBB0_2
.LBB0_3:
	ret
"""


def counts(loop):
    return tuple(loop.counts[key] for key in inspect.COUNTS)


def test_the_innermost_loop_of_x86_is_counted():
    (hot,) = inspect.find_loops(X86)
    assert hot.function == "rows_product"
    assert hot.lines[0].startswith(".LBB0_2:") and hot.lines[-1].strip() == "jne\t.LBB0_2"
    # bytes, FMA, other vector, div+sqrt, loads, stores, spills, calls, instructions
    assert counts(hot) == (32, 3, 1, 1, 6, 2, 2, 1, 14)


def test_a_scalar_loop_in_intel_syntax_is_as_wide_as_a_number():
    (hot,) = inspect.find_loops(INTEL)
    assert counts(hot) == (4, 1, 1, 0, 3, 1, 1, 0, 6)


def test_aarch64_is_counted():
    hot, scalar = inspect.find_loops(AARCH64)
    assert counts(hot) == (16, 2, 1, 0, 3, 1, 2, 1, 11)
    assert counts(scalar) == (8, 1, 0, 0, 0, 0, 0, 0, 2)


def test_of_equal_tiles_the_one_with_more_accumulators_is_hot():
    low, high = (
        "\n".join(["tile:", f".LBB{n}_1:"] + [f"\tvfmadd231ps\t%zmm30, %zmm31, %zmm{i % n}" for i in range(8)] + [f"\tjne\t.LBB{n}_1"]) for n in (4, 8)
    )
    assert inspect.find_loops(low + "\n" + high)[0].lines[0] == ".LBB8_1:"


def hot_loop(name, dtype="float32"):
    return inspect.find_loops(inspect._assembly(inspect._prepare(name, dtype, inspect.ROWS)[1]))[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_tile_of_a_network_keeps_its_sums_in_registers(dtype):
    hot = hot_loop("rows_product", dtype)
    assert hot.function == "rows_product"
    assert hot.counts["bytes"] == VECTOR_BYTES
    assert hot.counts["FMA"] >= 8 * len(hot.accumulators)
    assert hot.counts["stores"] == hot.counts["calls"] == 0


@pytest.mark.parametrize("name", ["dropout_task", "loss_task"])
def test_no_loop_of_a_task_does_arithmetic_on_single_numbers_only(name):
    loops = inspect.find_loops(inspect._assembly(inspect._prepare(name, "float32", inspect.ROWS)[1]))
    assert any(loop.counts["other vector"] > 10 for loop in loops)
    single = [loop for loop in loops if 0 < loop.counts["bytes"] < 16 and loop.counts["FMA"] == 0 and loop.counts["instructions"] > 60]
    assert not single, [loop.lines for loop in single]


def test_the_code_that_numba_shows_is_the_code_read():
    dispatcher = inspect.PUBLIC["relu_forward"].compiled
    fresh = type(dispatcher)(dispatcher.py_func, targetoptions=dispatcher.targetoptions)
    arguments = inspect._public_arguments("relu_forward", "float32", 4)
    fresh(*arguments)
    (shown,) = fresh.inspect_asm().values()
    expected, actual = inspect.find_loops(shown)[0], hot_loop("relu_forward")
    assert counts(actual) == counts(expected)


def test_the_report_of_an_elementwise_kernel(capsys):
    inspect.main(["relu_forward"])
    title, head, hot, *_, speed = capsys.readouterr().out.splitlines()
    assert title.startswith("relu_forward float32, made for ")
    assert head.split()[:2] == ["bytes", "FMA"]
    assert int(hot.split()[0]) >= 16 and hot.split()[-1] == "relu_forward"
    assert " ns an element, " in speed and "of a copy" in speed


def test_the_report_of_a_product_shows_its_code(capsys):
    inspect.main(["columns_product", "--asm"])
    lines = capsys.readouterr().out.splitlines()
    assert "of the FMA peak of a core" in lines[3]
    assert lines[4].endswith(":") and "fm" in "".join(lines[5:])


# Of the kernels with the same parameters, one: what they are called with comes from the names of the parameters.
ONE_OF_EACH = {tuple(signature(kernel).parameters): name for name, kernel in inspect.PUBLIC.items()}


@pytest.mark.parametrize("name", [*sorted(ONE_OF_EACH.values()), *inspect.TASKS])
def test_kernels_run_on_arguments_made_from_their_parameters_names(name):
    assert hot_loop(name).counts["instructions"] > 0


def test_without_a_name_the_names_are_listed(capsys):
    inspect.main([])
    assert capsys.readouterr().out.split() == inspect.NAMES


@pytest.mark.parametrize(("name", "nearest"), [("tanh_foward", "tanh_forward"), ("rows_produkt", "rows_product")])
def test_a_wrong_name_gets_the_nearest(name, nearest, capsys):
    with pytest.raises(SystemExit) as stop:
        inspect.main([name])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"NAME must be a kernel with a loop of its own; got {name!r}. Did you mean {nearest!r}?\n"


def test_another_machine_is_named(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert "The machine code of riscv64 is not read" in inspect.report("relu_forward")

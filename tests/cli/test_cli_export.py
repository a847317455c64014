"""`fastadam export`: PTX that stands alone, the comment on its launch, and errors."""

import numpy as np
import pytest

import fastadam as fa
from fastadam.cli import main
from fastadam.cli.export import command as export
from fastadam.kernels import transforms as stages
from fastadam.kernels.formats import ROUND
from fastadam.memory.dtypes import named

SEED = 3


def exported(capsys, *arguments):
    """The comment and the code that `export` prints."""
    assert main(["export", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines(keepends=True)
    comment = [line for line in lines if line.startswith("//")]
    return "".join(comment), "".join(lines[len(comment) :])


def test_export_lists_all_options():
    assert {*export.OPTIONS} == {
        name
        for name in (*stages.OPTIONS, stages.ZERO_GRADS)
        if not name.startswith(ROUND) and name != stages.TOUCHED
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ptx", "adamwz"], "unknown optimizer 'adamwz'; did you mean AdamW"),
        (["--cc", "9"], "'9' is not a compute capability such as 9.0"),
        (["--params", "int8"], "'float32', 'float64'"),
        (["--options", "ema,clip"], "'clip' is not one of clip_value"),
        (["--options", "float16", "bfloat16"], "give one"),
        (["--options", "float16", "--params", "float64"], "for float32 parameters"),
        (["--state", "int4"], "'int8'"),
        (["--compensation", "kahan"], "for bfloat16 parameters"),
        (["--rounding", "stochastic"], "for bfloat16 and float16 parameters"),
        (["--ptx", "sgd:momentum"], "'momentum' is not NAME=VALUE"),
        (["--ptx", "sgd:momentum=-1"], "momentum=-1"),
        (["--ptx", "sgd:nesterov=True"], "requires a momentum"),
        (["--ptx", "sgd:mass=1"], "'mass'"),
        (["--ptx", "sgd:lr=fast"], "lr='fast'"),
        (["--ptx", "sgd:lr=1", "--hyper", "lr=2"], "lr is given twice"),
        (["--ptx", "sgd:clip_norm=1"], "'clip_norm'"),
        (["--grads", "float64"], "grads='float64' is for float64 parameters"),
        (["--ptx", "rmsprop:centered=True", "--state", "int8"], "leave state_dtype out"),
        (["--ptx", "rmsprop", "--hyper", "centered=True", "--state", "int8"], "state_dtype='int8'"),
        (["-o", "."], "--output: '.' is a folder"),
        (["-o", "no/such/file.ptx"], "does not exist; create it"),
    ],
)
def test_export_names_bad_values(arguments, message, capsys):
    assert main(["export", "--ptx", "sgd", *arguments]) == 2
    shown = capsys.readouterr()
    *_, last = shown.err.splitlines()
    assert last.startswith("fastadam export: error: ")
    assert message in last
    assert shown.out == ""


def test_export_without_a_compiler_says_what_to_install(capsys, monkeypatch):
    from numba import cuda

    from fastadam.cuda import compiler

    def fail(*args, **kwargs):
        raise RuntimeError("libNVVM cannot be found.\nDo this\nand that")

    monkeypatch.setattr(cuda, "compile_ptx", fail)
    monkeypatch.setattr(compiler, "assembled", fail)
    compiler._library.cache_clear()
    assert main(["export", "--ptx", "adamw"]) == 2
    assert capsys.readouterr().err == (
        "fastadam export: error: no compiler for CUDA (libNVVM cannot be found.); "
        'run: pip install "fastadam[ptx]"\n'
    )


@pytest.mark.ptx
def test_exported_ptx_stands_alone(capsys, tmp_path):
    header = tmp_path / "adamw.h"
    comment, code = exported(capsys, "--ptx", "ADAMW", "--header", str(header))
    assert '#define FASTADAM_ADAMW_FLOAT32_ENTRY "fastadam_adamw_float32"' in header.read_text()
    assert code.strip().startswith(".version")
    assert ".target sm_90" in code
    assert ".visible .entry fastadam_adamw_float32(" in code
    assert code.count(".entry") == 1
    assert code.count(".param .u64") == 1
    for left_out in (".extern", "Numba", "_ZN", ".global .align", "//"):
        assert left_out not in code
    assert "exactly 256 threads" in comment
    assert all(len(line) <= 101 for line in comment.splitlines())


def rows_told(comment):
    """The lines of its tables that begin with an offset, by name."""
    shown = [line.split(maxsplit=3)[1:] for line in comment.splitlines()]
    return {words[1]: words for words in shown if len(words) == 3 and words[0].isdigit()}


@pytest.mark.ptx
def test_the_comment_of_an_export_tells_the_tables(capsys):
    """It describes the tables that a launch packs."""
    comment, _ = exported(capsys, "--ptx", "adamw:lr=0.5", "--options", "ema,mask", "zero_grads")
    columns = ["param", "grad", "exp_avg", "exp_avg_sq", "mask", "ema", "ema_comp"]
    rule = fa.AdamW.rule
    rows = rows_told(comment)
    assert list(rows) == [*columns, *rule.hyper]
    assert [int(rows[name][0]) for name in columns] == [8 * k for k in range(1, 8)]
    assert [int(rows[name][0]) for name in rule.hyper] == [4 * k for k in range(len(rule.hyper))]
    assert "row 8 int64:" in " ".join(comment.split())
    assert rows["grad"][2] == "float32, an array, read, then set to zero"
    assert rows["mask"][2] == "uint8, an array, read"
    assert rows["ema_comp"][2] == "float32, one number for all elements, read"
    opt = fa.AdamW(np.ones(1, np.float32), lr=0.5)
    constants = opt.hyper(opt.param_groups[0], 1)
    for name, number in constants.items():
        assert float(rows[name][2].split()[-1]) == pytest.approx(number, rel=1e-8)


@pytest.mark.ptx
@pytest.mark.parametrize(
    ("hyper", "entry", "states"),
    [
        (["lr=0.5"], "fastadam_sgd_float32", 0),
        (["momentum=0.9"], "fastadam_sgd_float32_momentum", 1),
        (["momentum=0.9", "nesterov=True"], "fastadam_sgd_float32_momentum_nesterov", 1),
    ],
)
def test_hyperparameters_choose_the_exported_kernel(hyper, entry, states, capsys):
    comment, code = exported(capsys, "--ptx", f"sgd:{','.join(hyper)}")
    assert f".entry {entry}(" in code
    assert comment.count("momentum_buffer") == states
    assert all(word in comment.splitlines()[0] for word in hyper)


@pytest.mark.ptx
def test_the_comment_of_an_export_tells_what_codes_mean(capsys):
    low = ["--params", "bfloat16", "--grads", "float32", "--state", "int8"]
    low += ["--compensation", "split8", "--rounding", "stochastic"]
    comment, code = exported(capsys, "--ptx", "adamw", *low)
    entry = "fastadam_adamw_bfloat16_grads_float32_state_int8_split8_stochastic"
    assert f".entry {entry}(" in code
    assert all(len(line) <= 101 for line in comment.splitlines())
    rows = rows_told(comment)
    moments = [
        f"{name}{part}" for name in fa.AdamW.rule.state for part in ("", "_scale", "_dither")
    ]
    columns = ["param", "compensation", "grad", *moments, "noise"]
    assert list(rows)[: len(columns)] == columns
    assert [int(rows[name][0]) for name in columns] == [8 * k for k in range(1, 11)]
    assert rows["param"][2] == "bfloat16, an array, read and written"
    assert rows["grad"][2] == "float32, an array, read"
    assert rows["exp_avg_scale"][2] == "float32, one number for 256 elements, read and written"
    assert rows["exp_avg_dither"][2] == "uint32, one number for all elements, read"
    assert "row 11 int64:" in " ".join(comment.split())
    for told in ("a multiple of 256", "(compensation << 8)", "(255 << 20)", "The noise is"):
        assert told in comment
    plain, _ = exported(capsys, "--ptx", "adamw")
    assert "a multiple of 4" in plain
    for left_out in ("int8", "compensation", "noise"):
        assert left_out not in plain


def test_codes_mean_what_an_export_says():
    """The formulas of the comment, against what the library decodes."""
    rng = np.random.default_rng(SEED)
    param = np.ones(1000, named("bfloat16"))
    opt = fa.AdamW(param, state_dtype="int8", compensation="split8", min_quantized_size=0)
    grad = rng.standard_normal(1000) * 10.0 ** rng.integers(-20, 3, 1000)
    opt.step(grad.astype(param.dtype))
    decoded = opt.dequantized_state()["state"][0]
    for name in fa.AdamW.rule.state:
        codes = opt.state[name][0].view(np.uint8).astype(np.int64)
        scales = np.repeat(opt.state[name + "_scale"][0], 256)[:1000]
        signed = scales < 0
        top = np.where(signed, 127, 255)
        lowest = np.maximum(np.abs(scales).view(np.int32) - (top << 20), 0)
        bits = lowest + ((codes & top) << 20)
        values = bits.astype(np.int32).view(np.float32) * np.where(signed & (codes > 127), -1, 1)
        np.testing.assert_array_equal(np.where(codes == 0, 0, values), decoded[name])
        assert signed.any() == (name == "exp_avg")
    rest = opt.state["compensation"][0].astype(np.int64) << 8
    bits = (param.view(np.uint16).astype(np.int64) << 16) + rest
    np.testing.assert_array_equal(bits.astype(np.uint32).view(np.float32), opt.master())


@pytest.mark.ptx
def test_export_writes_a_file(capsys, tmp_path):
    path = tmp_path / "adam.ptx"
    words = ["--ptx", "adam", "--params", "float64", "--cc", "8.0", "-o", str(path)]
    assert main(["export", *words]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "fastadam_adam_float64" in shown.err
    assert ".target sm_80" in path.read_text()


@pytest.mark.ptx
@pytest.mark.parametrize("capability", ["1.0", "99.0"])
def test_export_refuses_what_the_compiler_does_not_know(capability, capsys):
    assert main(["export", "--ptx", "sgd", "--cc", capability]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"fastadam export: error: --cc {capability} ")


@pytest.mark.ptx
def test_earlier_spellings_make_the_same_kernel(capsys):
    new = exported(capsys, "--ptx", "sgd:momentum=0.9", "--params", "float64")
    assert exported(capsys, "--ptx", "sgd", "--hyper", "momentum=0.9", "--dtype", "float64") == new

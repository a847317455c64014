"""`fastadam.minimize`, beside a loop of one's own and with wrong arguments."""

import numpy as np
import pytest

import fastadam as fa


def sphere(x):
    return (x**2).sum(), 2 * x


@pytest.mark.parametrize(("optimizer", "hyper"), [(fa.Adam, {"lr": 0.1}), ("sgd", {"lr": 0.25})])
def test_the_points_are_those_of_a_loop(optimizer, hyper):
    x0 = np.array([1.0, -2.0])
    result = fa.minimize(sphere, x0, optimizer, steps=7, **hyper)
    x, values = x0.copy(), []
    opt = (fa.SGD if optimizer == "sgd" else optimizer)(x, **hyper)
    for _ in range(7):
        values.append(sphere(x)[0])
        opt.step(2 * x)
    np.testing.assert_array_equal(result.x, x)
    assert result.history == [*values, sphere(x)[0]]
    assert (result.nit, result.fun, result.success) == (7, result.history[-1], True)
    assert result.grad_norm == pytest.approx(2 * np.linalg.norm(x))
    np.testing.assert_array_equal(x0, [1, -2])


@pytest.mark.parametrize(
    ("x0", "dtype", "shape"),
    [
        ([1, 2], "float64", (2,)),
        ((1.0, np.float32(2)), "float64", (2,)),
        (3, "float64", ()),
        (np.arange(3), "float64", (3,)),
        (np.ones((3, 2), np.float32).T, "float32", (2, 3)),
    ],
)
def test_forms_of_a_point(x0, dtype, shape):
    result = fa.minimize(lambda x: (float((x * x).sum()), 2.0 * x), x0, "SGD", lr=0.25, steps=1)
    assert (result.x.dtype, result.x.shape) == (dtype, shape)
    np.testing.assert_array_equal(result.x, 0.5 * np.asarray(x0))


def test_trees_and_a_gradient_that_is_the_point():
    def value_and_grad(tree):
        return sum((leaf**2).sum() / 2 for leaf in (tree["w"], tree["b"][0])), tree

    tree = {"w": np.ones((2, 2)), "b": [np.ones(3, np.float32)]}
    for x0 in (tree, fa.flatten({"w": np.ones((2, 2)), "b": [np.ones(3)]})):
        result = fa.minimize(value_and_grad, x0, "SGD", lr=0.5, steps=2)
        assert (result.x["w"].tolist(), result.x["b"][0].tolist()) == ([[0.25] * 2] * 2, [0.25] * 3)


def test_when_it_stops():
    found = fa.minimize(sphere, [1.0], "SGD", lr=0.25, tol=0.1)
    assert (found.success, found.nit) == (True, 5)
    assert "at most tol=0.1" in found.message
    short = fa.minimize(sphere, [1.0], "SGD", lr=0.25, tol=0.1, steps=3)
    assert (short.success, short.nit) == (False, 3)
    assert "tol=0.1 is not reached" in short.message
    seen = []
    fa.minimize(sphere, [1.0], "SGD", lr=0.25, steps=3, callback=lambda r: seen.append(r.fun))
    assert seen == [1, 0.25, 0.0625, 0.015625]
    told = fa.minimize(sphere, [1.0], "SGD", lr=0.25, callback=lambda result: result.nit == 2)
    assert (told.success, told.nit, told.fun) == (True, 2, 0.0625)
    assert fa.minimize(sphere, [1.0], steps=0).nit == 0
    for value_and_grad in (lambda x: (np.nan, x), lambda x: (1.0, x * np.inf)):
        lost = fa.minimize(value_and_grad, [1.0])
        assert (lost.success, lost.nit) == (False, 0)
        assert "not finite" in lost.message


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"optimizer": "adamm"}, ValueError, "did you mean Adam"),
        ({"optimizer": fa.SGD(np.ones(1))}, TypeError, "must be a class"),
        ({"optimizer": fa.Optimizer}, TypeError, "Optimizer defines none"),
        ({"learning_rate": 1}, TypeError, "unexpected keyword 'learning_rate'"),
        ({"lr": "1"}, TypeError, "lr='1' must be a number"),
        ({"steps": -1}, ValueError, r"steps=-1 must be >= 0"),
        ({"tol": -1}, ValueError, r"tol=-1 must be >= 0"),
        ({"callback": lambda result: "x"}, TypeError, r"callback\(\) returned='x'"),
        ({"x0": "hello"}, TypeError, "x0 holds 'hello'"),
        ({"x0": []}, ValueError, "no array"),
        ({"x0": np.ones(2, complex)}, TypeError, "complex"),
        ({"x0": np.ma.ones(2)}, TypeError, "masked|Masked"),
        ({"value_and_grad": 3}, TypeError, "value_and_grad=3 is not a function"),
        ({"callback": 3}, TypeError, "callback=3 is not a function"),
        ({"value_and_grad": lambda x: x.sum()}, TypeError, "return a value and a gradient"),
        ({"value_and_grad": lambda x: (x, x)}, TypeError, "value=.* must be a number"),
        ({"value_and_grad": lambda x: (1.0, x[:1])}, ValueError, r"shape \(1,\), but x has \(2,\)"),
        ({"value_and_grad": lambda x: (1.0, None)}, ValueError, r"shape \(\)"),
        ({"value_and_grad": lambda x: (1.0, x * 1j)}, TypeError, "give real numbers"),
        ({"value_and_grad": lambda x: (1.0, np.ma.array(x))}, TypeError, "MaskedArray"),
        ({"x0": {"w": np.ones(2)}, "value_and_grad": lambda x: (1.0, {"v": 1})}, ValueError, "'v'"),
    ],
)
def test_what_is_refused(keywords, error, message):
    with pytest.raises(error, match=message):
        fa.minimize(**{"value_and_grad": sphere, "x0": np.ones(2)} | keywords)

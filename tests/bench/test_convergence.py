"""The comparisons of convergence: fair, reproducible, drawn from the data."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE, CHART = "bench/results/convergence.csv", "docs/assets/convergence.png"
SCORES, CURVES = "bench/results/characters.csv", "docs/assets/characters.png"
PAGE = "docs/optimizers/index.md"
QUICK = ["--epochs", "2", "--seeds", "1"]


@pytest.fixture(scope="module")
def script():
    """A function that imports a module of bench/."""
    for package in ("matplotlib", "rich", "sklearn", "threadpoolctl"):
        pytest.importorskip(package)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module


@pytest.fixture(scope="module")
def convergence(script):
    return script("convergence")


@pytest.fixture(scope="module")
def curves(script):
    return script("curves")


@pytest.fixture(scope="module")
def characters(script):
    pytest.importorskip("torch")
    return script("characters")


@pytest.fixture
def repository(tmp_path):
    for path in (TABLE, CHART, PAGE):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / PAGE).write_text("before\n<!-- characters -->\n<!-- /characters -->\nafter\n")
    return tmp_path


def numbers(root, table=TABLE):
    """A table without what is said of the machine."""
    return [line for line in (root / table).read_text().splitlines() if not line.startswith("#")]


def test_all_are_trained_alike_and_the_same_every_time(
    convergence, curves, repository, monkeypatch
):
    rates = convergence.RATES[4:6]
    monkeypatch.setattr(convergence, "RATES", rates)
    assert convergence.main(QUICK, repository) == 0
    first = numbers(repository)
    _, epochs = convergence.from_csv((repository / TABLE).read_text(), convergence.Epoch)
    last = [(e.optimizer, e.lr) for e in epochs if e.epoch == 2]
    assert last == [(name, lr) for name in convergence.NAMES for lr in rates]
    chosen = curves.chosen(epochs)
    assert [e.lr for e in epochs if e.epoch == 1] == [chosen[n] for n in convergence.NAMES]
    assert all(0 < e.valid_accuracy < 1 and e.train_loss > 0 for e in epochs)

    assert convergence.main(["--check"], repository) == 0
    assert convergence.main(QUICK, repository) == 0
    assert numbers(repository) == first


def test_the_chart_follows_the_table(convergence, repository, capsys):
    (repository / TABLE).write_text((ROOT / TABLE).read_text())
    outcomes = [convergence.main([option], repository) for option in ("--check", "--draw")]
    assert (*outcomes, convergence.main(["--check"], repository)) == (1, 0, 0)
    said = capsys.readouterr().out.split()
    assert said == ["stale:", CHART, "wrote", CHART, "fresh:", CHART]


def test_the_least_mean_of_the_last_epoch_is_chosen(convergence, curves):
    def epochs(lr, *losses, number=3):
        return [
            convergence.Epoch("Lion", lr, seed, number, 0.1, loss, 0.9)
            for seed, loss in enumerate(losses)
        ]

    diverged = epochs(1.0, 0.1, float("nan"))
    earlier = epochs(0.3, 0.0, 0.0, number=2)
    runs = diverged + earlier + epochs(0.3, 0.2, 0.5) + epochs(0.1, 0.4, 0.2)
    assert curves.chosen(runs) == {"Lion": 0.1}


@pytest.mark.parametrize("option", ["--epochs", "--seeds"])
def test_it_refuses_to_do_nothing(convergence, option, capsys):
    with pytest.raises(SystemExit):
        convergence.main([option, "0"])
    assert "0 is less than 1" in capsys.readouterr().err


def test_a_transformer_is_trained_alike_and_the_same_every_time(
    characters, repository, monkeypatch, capsys
):
    every = characters.contenders(2)
    few = {name: every[name]._replace(rates=(0.1, 1e-3)) for name in ("torch.optim.AdamW", "AdamW")}
    monkeypatch.setattr(characters, "contenders", lambda steps: few)
    quick = ["--steps", "2", "--seeds", "1"]
    assert characters.main(quick, repository) == 0
    first, page = numbers(repository, SCORES), (repository / PAGE).read_text()
    _, scores = characters.from_csv((repository / SCORES).read_text(), characters.Score)
    split = len(scores) // 2  # of the same gradients in the first step: updates differ by rounding
    for one, other in zip(scores[:split], scores[split:], strict=True):
        assert (one.lr, one.step) == (other.lr, other.step)
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
    assert page.startswith("before\n")
    assert "| AdamW | defaults | " in page
    assert characters.main(["--check"], repository) == 0
    assert characters.main(quick, repository) == 0
    assert numbers(repository, SCORES) == first

    (repository / SCORES).write_text((ROOT / SCORES).read_text())
    assert characters.main(["--check"], repository) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [f"stale: {CURVES}", f"stale: {PAGE}"]


def test_every_contender_updates_each_parameter_once(characters):
    for name, contender in characters.contenders(300).items():
        model = characters.model_of(5)
        opts = contender.make(model, lr=contender.rates[0], **contender.hyper)
        found = [p for opt in opts for group in opt.param_groups for p in group["params"]]
        assert sorted(map(id, found)) == sorted(map(id, model.parameters())), name

"""The comparison of convergence: fair, reproducible, drawn from the data."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE, CHART = "bench/results/convergence.csv", "docs/assets/convergence.png"
QUICK = ["--epochs", "2", "--seeds", "1"]


@pytest.fixture(scope="module")
def convergence():
    for package in ("matplotlib", "rich", "sklearn", "threadpoolctl"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location("convergence", ROOT / "bench/convergence.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path):
    for path in (TABLE, CHART):
        (tmp_path / path).parent.mkdir(parents=True)
    return tmp_path


def numbers(root):
    """The table without what is said of the machine."""
    return [line for line in (root / TABLE).read_text().splitlines() if not line.startswith("#")]


def test_all_are_trained_alike_and_the_same_every_time(convergence, repository, monkeypatch):
    rates = convergence.RATES[4:6]
    monkeypatch.setattr(convergence, "RATES", rates)
    assert convergence.main(QUICK, repository) == 0
    first = numbers(repository)
    _, epochs = convergence.from_csv((repository / TABLE).read_text(), convergence.Epoch)
    last = [(e.optimizer, e.lr) for e in epochs if e.epoch == 2]
    assert last == [(name, lr) for name in convergence.NAMES for lr in rates]
    chosen = convergence.chosen(epochs)
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


def test_the_least_mean_of_the_last_epoch_is_chosen(convergence):
    def epochs(lr, *losses, number=3):
        return [
            convergence.Epoch("Lion", lr, seed, number, 0.1, loss, 0.9)
            for seed, loss in enumerate(losses)
        ]

    diverged = epochs(1.0, 0.1, float("nan"))
    earlier = epochs(0.3, 0.0, 0.0, number=2)
    runs = diverged + earlier + epochs(0.3, 0.2, 0.5) + epochs(0.1, 0.4, 0.2)
    assert convergence.chosen(runs) == {"Lion": 0.1}


@pytest.mark.parametrize("option", ["--epochs", "--seeds"])
def test_it_refuses_to_do_nothing(convergence, option, capsys):
    with pytest.raises(SystemExit):
        convergence.main([option, "0"])
    assert "0 is less than 1" in capsys.readouterr().err

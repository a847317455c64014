"""Handwritten digits with PyTorch: one import changes the optimizer.

pip install "fastadam[torch,demo]" && python examples/digits.py
"""

import argparse

import torch
from sklearn.datasets import load_digits

from fastadam.torch import AdamW


def data() -> tuple[torch.Tensor, ...]:
    """Pictures and labels, for training and for testing."""
    pictures, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pictures, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(x))
    return x[order[:1400]], y[order[:1400]], x[order[1400:]], y[order[1400:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--epochs", type=int, default=15, help="times through the data (default: %(default)s)"
    )
    epochs = parser.parse_args().epochs
    torch.manual_seed(0)
    x, y, test_x, test_y = data()
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.Linear(128, 10))
    opt = AdamW(model.parameters(), lr=3e-3, clip_norm=1.0, ema_decay=0.95)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=epochs)
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(x)).split(64):
            opt.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            opt.step()
        schedule.step()
        with torch.no_grad(), opt.swap_ema():  # the average of the weights is better than the last
            accuracy = (model(test_x).argmax(1) == test_y).float().mean()
        print(
            f"epoch {epoch}: loss {loss:.3f}, grad_norm {opt.info.grad_norm:.2f}, "
            f"accuracy {accuracy:.1%}"
        )


if __name__ == "__main__":
    main()

"""Lightning's Trainer with an optimizer of fastadam.

pip install "fastadam[clients]" && python examples/with_lightning.py
"""

import argparse

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from fastadam.torch import AdamW


class Regression(lightning.LightningModule):
    """A small network that learns a sine."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(1, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1)
        )

    def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
        x, y = batch
        return torch.nn.functional.mse_loss(self.net(x), y)

    def configure_optimizers(self) -> dict[str, object]:
        opt = AdamW(self.parameters(), lr=1e-2, weight_decay=0.0)
        return {"optimizer": opt, "lr_scheduler": torch.optim.lr_scheduler.StepLR(opt, 20)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--epochs", type=int, default=30, help="times through the data (default: %(default)s)"
    )
    torch.manual_seed(0)
    x = torch.linspace(-3, 3, 512)[:, None]
    trainer = lightning.Trainer(
        max_epochs=parser.parse_args().epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Regression()
    trainer.fit(model, DataLoader(TensorDataset(x, x.sin()), batch_size=64, shuffle=True))
    print(f"error {(model.net(x) - x.sin()).abs().max():.3f}")


if __name__ == "__main__":
    main()

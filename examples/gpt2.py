"""A GPT with random weights on random tokens: time per step with fastadam and with PyTorch.

pip install "fastadam[torch]" && python examples/gpt2.py --size gpt2
"""

import argparse
import time

import torch
from torch import nn

import fastadam.torch

SIZES = {"tiny": (2, 64, 2, 256, 32), "gpt2": (12, 768, 12, 50257, 128)}


class GPT(nn.Module):
    """Decoder blocks, and an output that is tied to the embedding, as in GPT-2."""

    def __init__(self, layers: int, width: int, heads: int, tokens: int, length: int) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(tokens, width), nn.Embedding(length, width)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width), False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(length)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens) + self.position.weight[: tokens.shape[1]]
        return self.blocks(x, mask=self.mask, is_causal=True) @ self.embedding.weight.T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    size = "of the model; gpt2 has 124 million parameters and takes 4 GB (default: %(default)s)"
    parser.add_argument("--size", choices=SIZES, default="tiny", help=size)
    steps = "with each optimizer; the first of fastadam compiles (default: %(default)s)"
    parser.add_argument("--steps", type=int, default=5, help=steps)
    args = parser.parse_args()
    *_, tokens, length = SIZES[args.size]
    for optimizer in (fastadam.torch.AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        model = GPT(*SIZES[args.size])
        opt = optimizer(model.parameters(), lr=3e-4)
        batch = torch.randint(0, tokens, (2, length))
        for step in range(1, args.steps + 1):
            logits = model(batch)
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
            opt.zero_grad()
            loss.backward()
            start = time.perf_counter()
            opt.step()
            milliseconds = 1e3 * (time.perf_counter() - start)
            print(f"{optimizer.__module__}: step {step}, loss {loss:.4f}, {milliseconds:.2f} ms")


if __name__ == "__main__":
    main()

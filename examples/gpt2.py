"""A GPT with random weights on random tokens: time per step with fastadam and with PyTorch.

pip install "fastadam[torch]" && python examples/gpt2.py --size gpt2
"""

import argparse
import time

import torch

import fastadam.torch
from fastadam.bench.gpt import GPT, SIZES


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
            loss = model.loss(batch)
            opt.zero_grad()
            loss.backward()
            start = time.perf_counter()
            opt.step()
            milliseconds = 1e3 * (time.perf_counter() - start)
            print(f"{optimizer.__module__}: step {step}, loss {loss:.4f}, {milliseconds:.2f} ms")


if __name__ == "__main__":
    main()

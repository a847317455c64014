"""Classify bags of words in PyTorch: the table of the words has sparse gradients.

    python examples/embedding_bag.py --steps 300

A text is forty words of a large vocabulary; each class prefers words of its own. A step updates the
rows of the words that its batch has, and leaves the rest of the table alone.
"""

import argparse

import torch

import fastadam.torch

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300, help="default: 300")
parser.add_argument("--batch", type=int, default=64, help="default: 64")
chosen = parser.parse_args()

VOCABULARY, CLASSES, LENGTH, WIDTH, OWN = 200_000, 8, 40, 32, 0.3
torch.manual_seed(0)


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts and their classes; common words have small numbers."""
    labels = torch.randint(CLASSES, (size,))
    words = (VOCABULARY * torch.rand(size, LENGTH) ** 4).long()
    own = torch.rand(size, LENGTH) < OWN
    return torch.where(own, words // CLASSES * CLASSES + labels[:, None], words), labels


words = torch.nn.EmbeddingBag(VOCABULARY, WIDTH, mode="mean", sparse=True)
classes = torch.nn.Linear(WIDTH, CLASSES)
optimizers = [
    fastadam.torch.SparseAdam(words.parameters(), lr=0.01),
    fastadam.torch.AdamW(classes.parameters(), lr=0.01),
]
for step in range(1, chosen.steps + 1):
    texts, labels = batch(chosen.batch)
    loss = torch.nn.functional.cross_entropy(classes(words(texts)), labels)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    if step % max(1, chosen.steps // 5) == 0:
        print(f"step {step}: loss {loss.item():.2f}")

with torch.no_grad():
    texts, labels = batch(2000)
    right = (classes(words(texts)).argmax(dim=1) == labels).float().mean()
print(f"accuracy {100 * right:.0f} %, by chance {100 / CLASSES:.0f} %")

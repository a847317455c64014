"""A model of GPT-2's shape with random weights."""

import torch
from torch import nn

# layers, width, heads, different tokens, length of a row
SIZES = {"smoke": (1, 8, 1, 32, 8), "tiny": (2, 64, 2, 256, 32), "gpt2": (12, 768, 12, 50257, 128)}


class GPT(nn.Module):  # type: ignore[misc]
    """Decoder blocks, and an output that is tied to the embedding, as in GPT-2."""

    def __init__(self, layers: int, width: int, heads: int, tokens: int, length: int) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(tokens, width), nn.Embedding(length, width)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width), False)
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The logits of the next token at each place."""
        x = self.embedding(tokens) + self.position.weight[: tokens.shape[1]]
        logits: torch.Tensor = (
            self.blocks(x, mask=self.mask, is_causal=True) @ self.embedding.weight.T
        )
        return logits

    def loss(self, tokens: torch.Tensor) -> torch.Tensor:
        """The cross entropy of each token after those before it."""
        logits = self(tokens)[:, :-1].flatten(0, 1).float()
        return nn.functional.cross_entropy(logits, tokens[:, 1:].flatten())

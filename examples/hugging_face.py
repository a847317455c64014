"""Hugging Face's Trainer with an optimizer of fastadam; nothing is downloaded.

pip install "fastadam[clients]" && python examples/hugging_face.py
"""

import argparse
import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from fastadam.torch import AdamW


def rows(count: int, length: int = 32) -> list[dict[str, torch.Tensor]]:
    """Sequences of consecutive tokens with a random start, which a model can learn."""
    starts = torch.randint(0, 64, (count, 1))
    tokens = (starts + torch.arange(length)) % 64
    return [{"input_ids": row, "labels": row} for row in tokens]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="of training (default: %(default)s)")
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=64,
            n_positions=32,
            n_embd=64,
            n_layer=2,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                logging_steps=max(1, steps // 4),
                lr_scheduler_type="cosine",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=rows(512),
            optimizer_cls_and_kwargs=(AdamW, {"lr": 3e-3}),
        )
        trainer.train()
    print(f"loss {trainer.state.log_history[-1]['train_loss']:.3f}")


if __name__ == "__main__":
    main()

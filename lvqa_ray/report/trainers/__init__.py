"""Export formats of model trainers: supervised fine-tuning, rewarded training, and evaluation."""

"""A causal or a sequence-to-sequence language model that writes drafts, and its fine-tuning by LoRA."""

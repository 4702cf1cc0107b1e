"""From a manifest to batches: which samples (plan), how cut (transform), how they arrive (loader)."""

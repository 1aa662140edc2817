"""What ``huggingface`` does once it loads: heavy modules, imported from the component's methods only."""

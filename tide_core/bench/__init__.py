"""What generation costs: a fixed protocol, each model in a process of its own, teacher and student side by side."""

"""What is optimised: each method owns its loss and its optimiser, the trainer owns everything else."""

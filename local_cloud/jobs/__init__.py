"""What happens to a job on its machine: the order it gets, the agent that carries it out."""

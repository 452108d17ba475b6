"""What a built network costs on this machine: counts, latency, memory, power, and the environment they belong to."""

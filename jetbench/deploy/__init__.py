"""What ships: a network as a file for another runtime, and whether that file computes what the network computes."""

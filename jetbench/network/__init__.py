"""Networks without torch: the layers, operations, costs and design problems of an architecture."""

"""DNS lists: their zones, what their answers mean, and the listings of clients."""

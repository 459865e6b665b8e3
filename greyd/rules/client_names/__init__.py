"""What the host name of a client reveals: a pool of dial-up hosts, an address, a customer."""

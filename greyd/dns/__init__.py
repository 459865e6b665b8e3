"""Who is the client? DNS lookups, SPF, DNS lists, and the evidence they give."""

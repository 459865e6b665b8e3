"""The state of the sources of evidence: DNS lists and the resolver are up, checked, or off."""

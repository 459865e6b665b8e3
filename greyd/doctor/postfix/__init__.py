"""What ``greyd doctor`` checks of Postfix."""

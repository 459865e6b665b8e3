"""The checks of Postfix's configuration. Apart from ``postconf``, everything here is pure."""

"""Reads Postfix's configuration: main.cf, master.cf and the restriction lists in them."""

"""The rules that an administrator defines for particular senders and recipients."""

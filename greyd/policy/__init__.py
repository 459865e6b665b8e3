"""One request's way: from the bytes that Postfix sends to the reply."""

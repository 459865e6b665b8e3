"""The store in Redis: alone, with Sentinels, or as a Cluster."""
